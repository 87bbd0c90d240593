//! A failure is made small: still the same failure, and short enough to read. Needs the feature `mutants`, for something that fails.

#![cfg(feature = "mutants")]

use slimcluster_core::mutants::Mutant;
use slimcluster_sim::shrink::{Budget, Shrunk, shrink};
use slimcluster_sim::swarm::Profile;
use slimcluster_sim::{Failure, Plan, RunOptions, registers, run_plan, run_seeds};

const SESSION_DEDUP_SKIPPED: RunOptions =
    RunOptions { detail: slimcluster_sim::Detail::Hash, profile: None, mutant: Some(Mutant::SessionDedupSkipped) };

/// The first failure on worlds of more than three nodes, so that there is something to take away.
fn found() -> Failure {
    let mut from = 0;
    loop {
        let (_, failures) = run_seeds(from..from + 200, 2, SESSION_DEDUP_SKIPPED, true);
        let failure = failures.into_iter().next().expect("a mutant that every second seed catches");
        if failure.plan.swarm.nodes > 3 {
            return failure;
        }
        from = failure.seed + 1;
    }
}

fn made_small(failure: &Failure, threads: usize) -> Shrunk {
    let budget = Budget { threads, time: std::time::Duration::from_secs(600), ..Budget::default() };
    shrink(failure, SESSION_DEDUP_SKIPPED, &registers, budget)
}

#[test]
fn a_failure_is_made_small_and_stays_the_same_failure() {
    let found = found();
    let shrunk = made_small(&found, 2);
    let text = shrunk.to_text();
    println!("seed {} of {} strikes, in {} runs:\n{text}", found.seed, found.plan.strikes.len(), shrunk.runs);
    assert!(shrunk.complete, "{} runs", shrunk.runs);
    let plan = Plan::from_text(&text).expect("its own text");
    assert_eq!(&plan, shrunk.plan());
    assert!(plan.swarm.nodes <= 3, "{} nodes", plan.swarm.nodes);
    assert!(plan.strikes.len() <= 5, "{} strikes", plan.strikes.len());
    assert!(text.lines().count() <= 30, "{} lines", text.lines().count());

    let again = run_plan(&plan, SESSION_DEDUP_SKIPPED).expect_err("a plan that fails");
    assert_eq!(again.violation.property, found.violation.property);
    run_plan(&plan, RunOptions::default()).expect("without the mutant nothing is wrong");
}

#[test]
fn a_failure_of_swim_alone_is_made_small_as_well() {
    let options =
        RunOptions { profile: Some(Profile::Gossip), mutant: Some(Mutant::RefutationSkipped), ..RunOptions::default() };
    let found =
        run_seeds(0..200, 2, options, true).1.into_iter().next().expect("a mutant that every fifth seed catches");
    let shrunk = shrink(&found, options, &registers, Budget { threads: 2, ..Budget::default() });
    let swarm = &shrunk.plan().swarm;
    assert!(swarm.members < found.plan.swarm.members && swarm.members <= 8, "{} members", swarm.members);
    assert_eq!(swarm.acts.len(), 1, "{:?}", swarm.acts);
    assert_eq!(run_plan(shrunk.plan(), options).unwrap_err().violation.property, found.violation.property);
}

#[test]
fn what_comes_out_does_not_depend_on_the_threads() {
    let found = found();
    assert_eq!(made_small(&found, 1).to_text(), made_small(&found, 3).to_text());
}

#[test]
fn a_budget_is_kept_and_said() {
    let found = found();
    let shrunk =
        shrink(&found, SESSION_DEDUP_SKIPPED, &registers, Budget { runs: 10, threads: 2, ..Budget::default() });
    assert!(!shrunk.complete && shrunk.runs <= 11, "{} runs", shrunk.runs);
    assert!(shrunk.to_text().contains("the time was up"));
}
