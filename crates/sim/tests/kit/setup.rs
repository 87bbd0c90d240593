//! What cannot be run is one clear error, and nothing runs.

use std::panic::{catch_unwind, set_hook, take_hook};
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use slimcluster_sim::{ApplyContext, Faults, Sim, StateMachine};

#[derive(Default, Serialize, Deserialize)]
struct Sum(u64);

impl StateMachine for Sum {
    type Command = u64;
    type Reply = u64;

    fn apply(&mut self, _: &ApplyContext, add: u64) -> u64 {
        self.0 = self.0.wrapping_add(add);
        self.0
    }
}

#[test]
fn a_test_that_cannot_run_says_why() {
    let said = |sim: Sim<Sum>| sim.check(|rng| rng.next()).expect_err("it ran").to_string();
    let cases = [
        (said(Sim::nodes(0)), "the test cannot run: nodes(0): a simulated cluster has 1 to 9 nodes"),
        (said(Sim::nodes(10)), "the test cannot run: nodes(10): a simulated cluster has 1 to 9 nodes"),
        (
            said(Sim::nodes(3).clients(0)),
            "the test cannot run: clients(0): without a client there are no commands, and 12 is the most",
        ),
        (
            said(Sim::nodes(3).clients(13)),
            "the test cannot run: clients(13): without a client there are no commands, and 12 is the most",
        ),
        (said(Sim::nodes(3).seeds(5..5)), "the test cannot run: seeds(5..5): the range is empty, no seed would run"),
        (
            said(Sim::nodes(3).duration(Duration::ZERO)),
            "the test cannot run: duration(0ns): it is above zero and at most 3600s",
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(said, expected);
    }
}

/// What meets no fault shows little: the cluster is formed before they begin.
#[test]
fn commands_are_applied_while_faults_last() {
    for seed in 0..10 {
        let runs = Sim::<Sum>::nodes(3).seed(seed).run(|rng| rng.next());
        assert!(runs.commands_under_faults > 0, "seed {seed}: {runs}");
        println!("seed {seed}: {runs}");
    }
}

/// The last thing that was said, however long.
#[derive(Default, Serialize, Deserialize)]
struct Said(Vec<u8>);

impl StateMachine for Said {
    type Command = Vec<u8>;
    type Reply = ();

    fn apply(&mut self, _: &ApplyContext, said: Vec<u8>) {
        self.0 = said;
    }
}

#[test]
fn a_command_that_no_cluster_takes_is_named() {
    let sim = Sim::<Said>::nodes(3).seed(7).duration(Duration::from_secs(2));
    let failure = sim.check(|_| vec![1; 2 << 20]).expect_err("it was taken").to_string();
    assert!(failure.starts_with("seed 7 fails: a load\n"), "{failure}");
    assert!(failure.contains("is the most: send what is larger in several commands"), "{failure}");
}

#[test]
fn a_panic_of_the_closure_that_draws_is_said_to_be_its_own() {
    let sim = Sim::<Sum>::nodes(3).seed(7).duration(Duration::from_secs(2));
    let failure = sim.check(|_| panic!("nothing to {}", "draw")).expect_err("it went on").to_string();
    assert!(failure.starts_with("seed 7 fails: no panic\n"), "{failure}");
    assert!(failure.contains("the test's own closure that draws commands panicked: nothing to draw\n"), "{failure}");
}

#[test]
fn the_last_seed_is_a_seed() {
    let runs = Sim::<Sum>::nodes(1).seeds(5..5).seed(u64::MAX).duration(Duration::from_secs(1)).run(|rng| rng.next());
    assert_eq!(runs.seeds, 1);
}

#[test]
fn a_failure_points_at_the_line_of_the_test() {
    static BLAMED: Mutex<Option<(String, u32)>> = Mutex::new(None);
    // Whatever the kit itself does about panics is done by now.
    Sim::<Sum>::nodes(1).seed(0).duration(Duration::from_secs(1)).run(|rng| rng.next());
    let (before, ours) = (take_hook(), std::thread::current().id());
    set_hook(Box::new(move |panic| match panic.location().filter(|_| std::thread::current().id() == ours) {
        Some(location) => *BLAMED.lock().unwrap() = Some((location.file().to_owned(), location.line())),
        None => before(panic),
    }));
    let line = line!() + 1;
    let failed = catch_unwind(|| Sim::<Sum>::nodes(0).run(|rng| rng.next()));
    assert!(failed.is_err());
    assert_eq!(*BLAMED.lock().unwrap(), Some((file!().to_owned(), line)));
}

#[test]
fn clusters_of_any_size_run() {
    for nodes in [1, 2, 5, 9] {
        let runs = Sim::<Sum>::nodes(nodes).seeds(0..6).duration(Duration::from_secs(5)).run(|rng| rng.next());
        println!("{nodes} nodes: {runs}");
        assert!(runs.commands > 150, "{nodes} nodes: {runs}");
    }
    let calm = Sim::<Sum>::nodes(3).seed(7).faults(Faults::none()).run(|rng| rng.next());
    assert_eq!(calm.seeds, 1);
    assert_eq!(calm.faults, 0, "{calm}");
}

#[test]
fn the_most_clients_are_not_too_many_to_judge() {
    let runs = Sim::<Sum>::nodes(3).seeds(0..6).clients(12).run(|rng| rng.next());
    println!("{runs}");
    assert!(runs.commands > 300 * runs.seeds, "{runs}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || Sim::<Sum>::nodes(3).seed(11).run(|rng| rng.next());
    assert_eq!(run(), run());
}
