//! The same seed is the same run, event by event.

use slimcluster_sim::swarm::Profile;
use slimcluster_sim::{RunOptions, run_seed};

/// One in a hundred of the thousand seeds that `tests/seeds.rs` runs.
const SEEDS: u64 = 10;
const EVERY: u64 = 100;

#[test]
fn the_same_seed_gives_the_same_trace_twice() {
    for seed in (0..SEEDS).map(|number| 7 + number * EVERY) {
        let run = || run_seed(seed, RunOptions::default()).unwrap_or_else(|failure| panic!("{failure}"));
        let (first, second) = (run(), run());
        assert_eq!(first, second, "seed {seed}");
        assert!(first.stats.events > 10_000, "seed {seed} did next to nothing: {:?}", first.stats);
    }
}

#[test]
fn a_world_of_swim_alone_gives_the_same_trace_twice() {
    let options = RunOptions { profile: Some(Profile::Gossip), ..RunOptions::default() };
    for seed in 0..5 {
        let run = || run_seed(seed, options).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(run(), run(), "seed {seed}");
    }
}

#[test]
fn text_does_not_change_what_happens() {
    use slimcluster_sim::Detail;
    let run = |detail| run_seed(5, RunOptions::default().with_detail(detail)).map(|report| report.hash);
    let (silent, verbose) = (run(Detail::Hash), run(Detail::Tail));
    assert_eq!(silent.map_err(|failure| failure.to_string()), verbose.map_err(|failure| failure.to_string()));
}
