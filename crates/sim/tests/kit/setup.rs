//! What cannot be run is one clear error, and nothing runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use slimcluster_core::machine::{ApplyContext, StateMachine};
use slimcluster_sim::{Faults, Sim};

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
            "the test cannot run: clients(0): without a client there are no commands, and 32 is the most",
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

#[test]
fn clusters_of_any_size_run() {
    for nodes in [1, 2, 5, 9] {
        let runs = Sim::<Sum>::nodes(nodes).seeds(0..2).duration(Duration::from_secs(5)).run(|rng| rng.next());
        println!("{nodes} nodes: {runs}");
        assert!(runs.commands > 50, "{nodes} nodes: {runs}");
    }
    let calm = Sim::<Sum>::nodes(3).seed(7).faults(Faults::none()).run(|rng| rng.next());
    assert_eq!(calm.seeds, 1);
    assert_eq!(calm.faults, 0, "{calm}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || Sim::<Sum>::nodes(3).seed(11).run(|rng| rng.next());
    assert_eq!(run(), run());
}
