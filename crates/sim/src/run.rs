//! Runs seeds, one or many, and judges the whole.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use slimcluster_core::situations;

use crate::checkers::Violation;
use crate::plan::Plan;
use crate::registers::RegisterLoad;
use crate::report::{Failure, Report};
use crate::trace::Detail;
use crate::world::{RunOptions, World};

/// Runs one seed. A failure is run a second time, with the text that the report needs.
pub fn run_seed(seed: u64, options: RunOptions) -> Result<Report, Box<Failure>> {
    run_plan(&Plan::draw(seed, options.profile), options)
}

/// Runs a plan as [`run_seed`] does, with the load of our own seeds.
pub fn run_plan(plan: &Plan, options: RunOptions) -> Result<Report, Box<Failure>> {
    let seed = plan.seed;
    match run_once(plan, options) {
        Ok(report) => Ok(report),
        Err(_) if options.detail == Detail::Hash => match run_once(plan, options.with_detail(Detail::Tail)) {
            Err(failure) => Err(failure),
            Ok(_) => Err(Box::new(Failure {
                seed,
                violation: Violation::of("determinism", "the seed failed once and passed when it ran again"),
                at: 0,
                world: String::new(),
                nodes: Vec::new(),
                lines: Vec::new(),
                mutant: None,
            })),
        },
        Err(failure) => Err(failure),
    }
}

fn run_once(plan: &Plan, options: RunOptions) -> Result<Report, Box<Failure>> {
    let seed = plan.seed;
    let load = RegisterLoad::new(plan.swarm.keys, plan.swarm.padding);
    let mut world = World::new(plan.clone(), Box::new(load), options);
    situations::take();
    // A panic in the code under test is a failure like any other, and must name its seed.
    let verdict = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation::of("no panic", text.unwrap_or_default()))
    });
    match verdict {
        Ok(()) => {
            Ok(Report { seed, hash: world.trace.hash(), stats: world.final_stats(), situations: situations::take() })
        }
        Err(violation) => Err(Box::new(Failure {
            seed,
            violation,
            at: world.now,
            world: world.describe(),
            nodes: catch_unwind(AssertUnwindSafe(|| world.describe_nodes())).unwrap_or_default(),
            lines: world.trace.lines().map(str::to_owned).collect(),
            mutant: world.mutant_name(),
        })),
    }
}

/// Runs `seeds` on `threads` threads; stops early at a failure if `stop_at_failure`. Reports come back in the order of the seeds.
pub fn run_seeds(
    seeds: std::ops::Range<u64>,
    threads: usize,
    options: RunOptions,
    stop_at_failure: bool,
) -> (Vec<Report>, Vec<Failure>) {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let results = Mutex::new((Vec::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let result = run_seed(seed, options);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(report) => results.0.push(report),
                        Err(failure) => {
                            results.1.push(*failure);
                            stop.fetch_or(stop_at_failure, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let (mut reports, mut failures): (Vec<Report>, Vec<Failure>) =
        results.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|report| report.seed);
    failures.sort_by_key(|failure| failure.seed);
    (reports, failures)
}

/// The value in the middle; 0 of none.
pub fn median(values: impl IntoIterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.into_iter().collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
