//! A thousand worlds of sixty virtual seconds each. A failure names its seed and the command that replays it.

use std::time::Instant;

use slimcluster_sim::{RunOptions, median, run_seeds};

/// What a seed must have done, in the middle of all seeds, to count as work (rule 43).
const ACKNOWLEDGED_MEDIAN_MIN: u64 = 500;
/// And while things went wrong.
const ACKNOWLEDGED_IN_FAULTS_MEDIAN_MIN: u64 = 200;
/// And what must have gone wrong.
const FAULTS_MEDIAN_MIN: u64 = 100;

#[test]
fn a_thousand_seeds_hold_every_property() {
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let base = std::env::var("SIM_BASE").ok().and_then(|base| base.parse().ok()).unwrap_or(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let began = Instant::now();
    let (reports, failures) = run_seeds(base..base + seeds, threads, RunOptions::default(), true);
    if let Some(failure) = failures.first() {
        panic!("{failure}");
    }
    let middle = |value: fn(&slimcluster_sim::Stats) -> u64| median(reports.iter().map(|report| value(&report.stats)));
    let (acknowledged, faults) = (middle(|stats| stats.acknowledged), middle(|stats| stats.faults.total()));
    let in_faults = middle(|stats| stats.acknowledged_in_faults);
    let time: u64 = reports.iter().map(|report| report.stats.time).sum::<u64>() / 1_000_000;
    println!(
        "{seeds} seeds: median of {acknowledged} acknowledged appends ({in_faults} under faults) and {faults} faults; \
         {time} virtual seconds in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    assert!(acknowledged >= ACKNOWLEDGED_MEDIAN_MIN, "the load is too light to mean anything");
    assert!(in_faults >= ACKNOWLEDGED_IN_FAULTS_MEDIAN_MIN, "too little work was done in the middle of faults");
    assert!(faults >= FAULTS_MEDIAN_MIN, "too little went wrong to mean anything");
}
