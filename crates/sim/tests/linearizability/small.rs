//! Single histories: the words of a failure, and its kinds.

use slimcluster_sim::linearizability::{Failure, History, OperationId, Options, check};

use crate::subjects::{Answer, Register, Registers};

type Registered = History<Register, Answer>;

fn write(history: &mut Registered, client: u64, value: u64, invoked: u64, returned: Option<u64>) {
    let id = history.invoke(client, Register::Write { key: 7, value }, invoked);
    if let Some(at) = returned {
        history.returned(id, Answer::Written, at);
    }
}

fn read(history: &mut Registered, client: u64, value: u64, invoked: u64, returned: u64) {
    let id = history.invoke(client, Register::Read { key: 7 }, invoked);
    history.returned(id, Answer::Value(value), returned);
}

fn failure(history: &Registered) -> Failure {
    check(&Registers, history, Options::default()).unwrap_err()
}

#[test]
fn a_stale_read_is_shown_with_the_writes_before_it() {
    let mut history = Registered::default();
    write(&mut history, 1, 1, 0, Some(10));
    write(&mut history, 2, 2, 5, Some(20));
    write(&mut history, 3, 9, 8, None);
    read(&mut history, 1, 2, 30, 40);
    read(&mut history, 2, 1, 50, 60);
    write(&mut history, 1, 4, 70, Some(80));
    let expected = "\
not linearizable: no order explains key 7 up to time 60
  place  client
      1       1  |==|        Write { key: 7, value: 1 } -> Written
      2       2   |==|       Write { key: 7, value: 2 } -> Written
      -       3    |------?  Write { key: 7, value: 9 }, outcome unknown
      3       1       ||     Read { key: 7 } -> Value(2)
      -       2         ||   Read { key: 7 } -> Value(1)   <- fits nowhere
  an order of all that had returned before has 3 places; such orders end in 2 or 9";
    let text = failure(&history).to_string();
    assert_eq!(text, expected, "\n{text}\n");
}

#[test]
fn real_time_is_kept_and_concurrency_excuses() {
    let history = |read_began| {
        let mut history = Registered::default();
        write(&mut history, 1, 1, 0, Some(10));
        read(&mut history, 2, 0, read_began, 20);
        history
    };
    check(&Registers, &history(10), Options::default()).unwrap();
    assert!(matches!(failure(&history(11)), Failure::NotLinearizable(_)));
}

#[test]
fn what_nobody_knows_may_happen_late_or_never() {
    let mut history = Registered::default();
    write(&mut history, 1, 1, 0, None);
    read(&mut history, 2, 0, 10, 20);
    let never = check(&Registers, &history, Options::default()).unwrap();
    assert_eq!(never.orders[0].operations, [OperationId(1)]);
    read(&mut history, 2, 1, 30, 40);
    let late = check(&Registers, &history, Options::default()).unwrap();
    assert_eq!(late.orders[0].operations, [OperationId(1), OperationId(0), OperationId(2)]);
    read(&mut history, 2, 0, 50, 60);
    assert!(matches!(failure(&history), Failure::NotLinearizable(_)), "and it happens once");
}

#[test]
fn what_was_refused_did_not_happen() {
    let mut history = Registered::default();
    let id = history.invoke(1, Register::Write { key: 7, value: 1 }, 0);
    read(&mut history, 2, 1, 10, 20);
    check(&Registers, &history, Options::default()).unwrap();
    history.refused(id);
    assert!(matches!(failure(&history), Failure::NotLinearizable(_)));
}

#[test]
fn to_run_out_of_work_is_no_proof() {
    // Twenty writes at once, and a read of what none of them wrote: two to the power of twenty situations.
    let mut history = Registered::default();
    for value in 1..=20 {
        write(&mut history, value, value, 0, Some(10));
    }
    read(&mut history, 0, 99, 5, 10);
    let text = check(&Registers, &history, Options { work_max: 100_000 }).unwrap_err();
    assert!(matches!(text, Failure::Inconclusive { operations: 21, unknown: 0, work_max: 100_000, .. }), "{text}");
    assert!(text.to_string().starts_with("inconclusive: work_max = 100000 is used up at key 7 with 21 operations"));
}

#[test]
fn what_cannot_have_happened_is_not_judged() {
    let mut history = Registered::default();
    read(&mut history, 0, 0, 5, 4);
    let text = failure(&history).to_string();
    assert_eq!(text, "this is no history: operation 0 returned at 4, before it was invoked at 5");
}

/// The same situation, reached with one unknown operation or with the other, goes on in different ways.
#[test]
fn which_unknown_operation_was_used_makes_a_difference() {
    let (written, swapped) = (Register::Write { key: 7, value: 1 }, Register::Swap { key: 7, from: 0, to: 1 });
    for unknown in [[&written, &swapped], [&swapped, &written]] {
        let mut history = Registered::default();
        for (client, input) in unknown.into_iter().enumerate() {
            history.invoke(client as u64, input.clone(), 0);
        }
        // The first read is explained by either; only the write explains the second.
        read(&mut history, 5, 1, 10, 20);
        write(&mut history, 5, 2, 30, Some(40));
        read(&mut history, 5, 1, 50, 60);
        check(&Registers, &history, Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// The situation after the first three is found with the unknown write used up before it is found without.
#[test]
fn a_situation_found_at_a_price_is_worth_finding_for_less() {
    let mut history = Registered::default();
    write(&mut history, 0, 1, 0, None);
    write(&mut history, 1, 1, 1, Some(10));
    write(&mut history, 2, 2, 1, Some(11));
    read(&mut history, 3, 1, 1, 12);
    read(&mut history, 3, 1, 20, 30);
    write(&mut history, 3, 3, 40, Some(50));
    read(&mut history, 3, 1, 60, 70);
    let found = check(&Registers, &history, Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
    let order: Vec<usize> = found.orders[0].operations.iter().map(|id| id.0).collect();
    assert_eq!(order, [2, 1, 3, 4, 5, 0, 6]);
}
