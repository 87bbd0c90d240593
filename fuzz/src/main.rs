//! One binary for all targets: the environment variable `FUZZ_TARGET` says which. libFuzzer owns `main`.

#![no_main]

use std::hint::black_box;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use libfuzzer_sys::fuzz_target;
use slimcluster_fuzz_targets::{Target, allocations, find};

static TARGET: OnceLock<Target> = OnceLock::new();
static PEAK: AtomicUsize = AtomicUsize::new(0);

fuzz_target!(|bytes: &[u8]| {
    let target = TARGET.get_or_init(|| match std::env::var("FUZZ_TARGET").map(|name| find(&name)) {
        Ok(Some(target)) => target,
        _ => panic!("FUZZ_TARGET must name a target; `cargo run -p slimcluster-fuzz-targets -- list` shows them"),
    });
    (target.run)(bytes);
    let peak = allocations::take_peak();
    reward(peak);
    if PEAK.fetch_max(peak, Ordering::Relaxed) < peak {
        // `fuzz/run` shows the last of these.
        eprintln!("peak allocation: {peak}");
    }
});

/// Lets the fuzzer see memory as it sees code: its counters tell 1, 2, 3, 4, 8, 16, 32 and 128 rounds of a loop apart, so an input that holds
/// more than all before it is kept and worked on.
fn reward(peak: usize) {
    for round in 0..(peak >> 10).min(255) {
        black_box(round);
    }
    for round in 0..(peak >> 14).min(255) {
        black_box(round);
    }
}
