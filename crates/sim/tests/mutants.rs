//! The test of the tests: a cluster that lacks one safeguard must be caught. Needs the feature `mutants`.

#![cfg(feature = "mutants")]

use slimcluster_core::mutants::Mutant;
use slimcluster_sim::{RunOptions, run_seeds};

#[test]
fn each_missing_safeguard_is_noticed_within_a_thousand_seeds() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for mutant in Mutant::ALL.iter().copied() {
        let options = RunOptions { mutant: Some(mutant), ..RunOptions::default() };
        let (_, failures) = run_seeds(0..1_000, threads, options, true);
        let failure = failures.first().unwrap_or_else(|| panic!("nobody missed the safeguard of {mutant}"));
        println!("{mutant} is caught by seed {}: {}", failure.seed, failure.violation);
    }
}
