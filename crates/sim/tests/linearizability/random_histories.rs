//! Histories of up to eight operations, good and bad ones, judged twice.

use slimcluster_core::random::Random;
use slimcluster_sim::linearizability::{Failure, History, OperationId, Options, Window, check};

use crate::brute_force::{explains, is_linearizable, some_order};
use crate::subjects::{Bag, Log, Registers, Subject};

const OPERATIONS_MAX: u64 = 8;

#[derive(Debug, Default)]
struct Counts {
    linearizable: u64,
    not: u64,
    with_unknown: u64,
    unknown_needed: u64,
    settled: u64,
    contradicted: u64,
    condemned_by_the_log: u64,
}

/// A history, and the order of what took effect before anything was falsified.
fn draw<S: Subject>(rng: &mut Random) -> (History<S::Input, S::Output>, Vec<OperationId>) {
    let operations = 1 + rng.below(OPERATIONS_MAX);
    let span = 1 + rng.below(3 * operations);
    let (mut history, mut effects) = (History::default(), Vec::new());
    let mut times = Vec::new();
    for number in 0..operations {
        let invoked = rng.below(span);
        let returned = invoked + rng.below(1 + span / 2);
        let mut effect = invoked + rng.below(returned - invoked + 1);
        let id = history.invoke(number, S::draw_input(rng, number), invoked);
        let fate = rng.below(8);
        if fate == 0 {
            effect += rng.below(span);
        }
        if fate != 1 && !(fate == 0 && rng.chance(1, 2)) {
            effects.push((effect, id));
        }
        times.push((fate, invoked, returned));
    }
    effects.sort_unstable();
    let order: Vec<OperationId> = effects.into_iter().map(|(_, id)| id).collect();

    let falsify = rng.chance(5, 6).then(|| rng.below(operations) as usize);
    let mut states = std::collections::BTreeMap::new();
    let model = S::default();
    let mut outputs: Vec<Option<S::Output>> = times.iter().map(|_| None).collect();
    for id in &order {
        let input = &history.operations()[id.0].input;
        let key = model.key(input);
        let state = states.remove(&key).unwrap_or_else(|| model.initial(&key));
        let (next, output) = S::respond(&state, input);
        states.insert(key, next);
        outputs[id.0] = Some(output);
    }
    for (at, ((fate, invoked, returned), output)) in times.into_iter().zip(outputs).enumerate() {
        let falsified = falsify == Some(at);
        match (fate, output) {
            (0, _) => {}
            (1, None) if !falsified => history.refused(OperationId(at)),
            // It was never applied, and is said to have been.
            (_, None) => history.returned(OperationId(at), S::draw_output(rng), returned),
            (_, Some(_)) if falsified && rng.chance(1, 4) => history.refused(OperationId(at)),
            (_, Some(_)) if falsified && rng.chance(1, 2) => {
                history.returned(OperationId(at), S::draw_output(rng), returned);
            }
            // It returned before it took effect, perhaps.
            (_, Some(output)) if falsified => history.returned(OperationId(at), output, invoked),
            (_, Some(output)) => history.returned(OperationId(at), output, returned),
        }
    }
    (history, order)
}

/// The order that the checker gives holds; of a contradiction, exactly the end is where the history becomes one.
fn judge<S: Subject>(history: &History<S::Input, S::Output>) -> bool {
    let operations = history.operations();
    let model = S::default();
    let good = is_linearizable(&model, operations);
    match check(&model, history, Options::default()) {
        Ok(found) => {
            assert!(good, "no order explains this, and one was found: {operations:#?}");
            for order in &found.orders {
                let order: Vec<usize> = order.operations.iter().map(|id| id.0).collect();
                assert!(explains(&model, operations, &order), "{order:?} does not explain {operations:#?}");
            }
            let placed: usize = found.orders.iter().map(|order| order.operations.len()).sum();
            assert!(placed >= operations.iter().filter(|operation| operation.due().is_some()).count());
        }
        Err(Failure::NotLinearizable(window)) => {
            assert!(!good, "an order explains this, and none was found: {operations:#?}");
            assert_window::<S>(history, &window);
        }
        Err(other) => panic!("{other}: {operations:#?}"),
    }
    good
}

fn assert_window<S: Subject>(history: &History<S::Input, S::Output>, window: &Window) {
    let operations = history.operations();
    let model = S::default();
    let key = |at: &usize| format!("{:?}", model.key(&operations[*at].input)) == window.key;
    let of_key: Vec<usize> = (0..operations.len()).filter(key).filter(|at| !operations[*at].is_refused()).collect();
    let order_of = |required: &dyn Fn(u64) -> bool| {
        let (required, optional): (Vec<usize>, Vec<usize>) =
            of_key.iter().partition(|at| operations[**at].due().is_some_and(required));
        some_order(&model, operations, &required, &optional)
    };
    assert!(order_of(&|due| due < window.horizon), "it was a contradiction before: {window}\n{operations:#?}");
    assert!(!order_of(&|due| due <= window.horizon), "it is not a contradiction yet: {window}\n{operations:#?}");
    let order: Vec<usize> = window.order.iter().map(|id| id.0).collect();
    assert!(explains(&model, operations, &order), "{order:?} is no order: {window}\n{operations:#?}");
    assert_eq!(operations[window.fits_nowhere.0].due(), Some(window.horizon));
    assert!(!order.contains(&window.fits_nowhere.0));
    assert!(window.rows.iter().any(|row| row.id == window.fits_nowhere));
    assert!(window.to_string().contains("fits nowhere"));
}

fn differential<S: Subject>(seed: u64, histories: u64) -> Counts {
    let mut rng = Random::new(seed);
    let mut counts = Counts::default();
    for _ in 0..histories {
        let (mut history, committed) = draw::<S>(&mut rng);
        let good = judge::<S>(&history);
        *(if good { &mut counts.linearizable } else { &mut counts.not }) += 1;
        if history.unknown() > 0 {
            counts.with_unknown += 1;
            let required: Vec<usize> =
                (0..history.operations().len()).filter(|at| history.operations()[*at].due().is_some()).collect();
            counts.unknown_needed +=
                u64::from(good && !some_order(&S::default(), history.operations(), &required, &[]));
        }
        match history.resolve(&committed) {
            Ok(()) => {
                assert_eq!(history.unknown(), 0);
                counts.settled += 1;
                let still_good = judge::<S>(&history);
                assert!(good || !still_good, "what the log settles cannot excuse a contradiction");
                counts.condemned_by_the_log += u64::from(good && !still_good);
            }
            Err(_) => counts.contradicted += 1,
        }
    }
    println!("{}: {histories} histories, {counts:?}", std::any::type_name::<S>());
    counts
}

/// Prints the counts with `--nocapture`.
#[test]
fn a_hundred_thousand_small_histories_are_judged_as_by_brute_force() {
    for counts in [differential::<Registers>(1, 50_000), differential::<Log>(2, 25_000), differential::<Bag>(3, 25_000)]
    {
        let total = counts.linearizable + counts.not;
        assert!(counts.linearizable * 5 > total && counts.not * 5 > total, "one verdict is rare: {counts:?}");
        assert!(counts.with_unknown * 4 > total && counts.unknown_needed * 100 > total, "too few unknown: {counts:?}");
        assert!(counts.settled * 4 > total && counts.contradicted > 0 && counts.condemned_by_the_log > 0, "{counts:?}");
    }
}
