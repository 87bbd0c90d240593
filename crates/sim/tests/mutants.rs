//! The test of the tests: a cluster that lacks one safeguard must be caught. Needs the feature `mutants`.

#![cfg(feature = "mutants")]

use slimcluster_sim::mutants::{Hunt, SEEDS_MAX, Tally, of_worlds};

#[test]
fn each_missing_safeguard_is_noticed_within_a_thousand_seeds() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut tally = Tally::default();
    for (mutant, profile) in of_worlds() {
        let hunt = Hunt::run(mutant, profile, 0..SEEDS_MAX, threads);
        println!("{hunt}");
        tally.add(&hunt);
    }
    println!("{tally}");
    assert!(tally.is_complete(), "a safeguard is missed by nobody: see above");
}
