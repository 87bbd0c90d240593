//! Runs plans and seeds, one or many.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use slimcluster_core::situations;

use crate::checkers::Violation;
use crate::core_time::CoreTime;
use crate::gossip::Cluster;
use crate::panics;
use crate::plan::Plan;
use crate::registers::RegisterLoad;
use crate::report::{Failure, Report};
use crate::trace::Detail;
use crate::workload::Workload;
use crate::world::{RunOptions, World};

/// What became of a run.
pub type Outcome = Result<Report, Box<Failure>>;

/// Runs one seed, as [`run_plan`] does.
pub fn run_seed(seed: u64, options: RunOptions) -> Outcome {
    run_plan(&Plan::draw(seed, options.profile), options)
}

/// Runs a plan with the load of our own seeds. A failure is run a second time, with the text that the report needs.
pub fn run_plan(plan: &Plan, options: RunOptions) -> Outcome {
    run_workload(plan, options, &registers)
}

/// Runs a plan as [`run_plan`] does, each time with a fresh workload.
pub fn run_workload(plan: &Plan, options: RunOptions, workload: &dyn Fn(&Plan) -> Box<dyn Workload>) -> Outcome {
    match run_once(plan, options, workload(plan), u64::MAX) {
        Err(_) if options.detail == Detail::Hash => {
            let again = || run_once(plan, options.with_detail(Detail::Tail), workload(plan), u64::MAX);
            panics::silently(again).and_then(|_| Err(Box::new(unlike_itself(plan))))
        }
        outcome => outcome,
    }
}

fn unlike_itself(plan: &Plan) -> Failure {
    Failure {
        seed: plan.seed,
        plan: plan.clone(),
        violation: Violation::of("determinism", "it failed once and passed when it ran again"),
        at: 0,
        world: String::new(),
        nodes: Vec::new(),
        lines: Vec::new(),
        mutant: None,
    }
}

/// The workload of our own seeds.
pub fn registers(plan: &Plan) -> Box<dyn Workload> {
    Box::new(RegisterLoad::new(plan.swarm.keys, plan.swarm.padding).with_long_commands(plan.swarm.long_command))
}

/// Runs a plan once, to its end or to the virtual time `until`.
pub(crate) fn run_once(plan: &Plan, options: RunOptions, workload: Box<dyn Workload>, until: u64) -> Outcome {
    let seed = plan.seed;
    if plan.swarm.members > 0 {
        return run_gossip(plan, options, until);
    }
    let mut world = World::new(plan.clone(), workload, options);
    situations::take();
    match panics::naming(seed, || world.run(until)) {
        Ok(()) => {
            Ok(Report { seed, hash: world.trace.hash(), stats: world.final_stats(), situations: situations::take() })
        }
        Err(violation) => Err(Box::new(Failure {
            seed,
            plan: plan.clone(),
            violation,
            at: world.now,
            world: world.describe(),
            nodes: panics::spared(AssertUnwindSafe(|| world.describe_nodes())),
            lines: world.trace.lines().map(str::to_owned).collect(),
            mutant: world.mutant_name(),
        })),
    }
}

/// A world of SWIM alone.
fn run_gossip(plan: &Plan, options: RunOptions, until: u64) -> Outcome {
    let seed = plan.seed;
    let mut cluster = Cluster::new(plan, options);
    situations::take();
    #[cfg(feature = "mutants")]
    let _planted = slimcluster_core::mutants::plant(options.mutant);
    match panics::naming(seed, || cluster.run(until)) {
        Ok(()) => Ok(Report {
            seed,
            hash: cluster.trace.hash(),
            stats: cluster.final_stats(),
            situations: situations::take(),
        }),
        Err(violation) => Err(Box::new(Failure {
            seed,
            plan: plan.clone(),
            violation,
            at: cluster.now,
            world: format!("{:?}; {:?}", plan.swarm, cluster.stats),
            nodes: panics::spared(AssertUnwindSafe(|| cluster.describe_members())),
            lines: cluster.trace.lines().map(str::to_owned).collect(),
            mutant: options.mutant_name(),
        })),
    }
}

/// Runs seeds on `threads` threads and hands each outcome to `judge`, in the order in which they end, until `judge` breaks or the
/// seeds are used up. What has begun then is run to its end and judged as well, so that of several failing seeds the first in the
/// order of `seeds` is always among those judged. Returns the core time that the threads used.
pub fn run_each(
    seeds: impl Iterator<Item = u64> + Send,
    threads: usize,
    options: RunOptions,
    judge: impl FnMut(u64, Outcome) -> ControlFlow<()> + Send,
) -> Duration {
    let (seeds, judge) = (Mutex::new(Some(seeds.fuse())), Mutex::new(judge));
    let work = || {
        let began = CoreTime::now();
        loop {
            // A thread that finds a lock poisoned goes on to its end; the panic is that of another, and is passed on below.
            let next = seeds.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(Iterator::next);
            let Some(seed) = next else { return began.elapsed() };
            let outcome = run_seed(seed, options);
            if judge.lock().unwrap_or_else(PoisonError::into_inner)(seed, outcome).is_break() {
                *seeds.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic))).sum()
    })
}

/// Runs `seeds` on `threads` threads; stops early at a failure if `stop_at_failure`. Reports come back in the order of the seeds.
pub fn run_seeds(
    seeds: std::ops::Range<u64>,
    threads: usize,
    options: RunOptions,
    stop_at_failure: bool,
) -> (Vec<Report>, Vec<Failure>) {
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    run_each(seeds, threads, options, |_, outcome| match outcome {
        Ok(report) => {
            reports.push(report);
            ControlFlow::Continue(())
        }
        Err(failure) => {
            failures.push(*failure);
            if stop_at_failure { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    });
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
