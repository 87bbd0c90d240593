//! Trying candidates: on all threads at once, within a budget, with a result that does not depend on who was faster.

use std::time::{Duration, Instant};

use crate::panics;
use crate::plan::Plan;
use crate::report::Failure;
use crate::run::run_once;
use crate::trace::Detail;
use crate::workload::Workload;
use crate::world::{RunOptions, SECOND};

/// What a simpler plan does not break until the original would have failed, and so much later, it does not break (virtual microseconds).
const PATIENCE: u64 = 2 * SECOND;

/// How much may be spent on one failure.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Runs, those included that were begun in vain beside one that was taken.
    pub runs: usize,
    /// Real time. A search that it ends depends on the speed of the machine; [`crate::shrink::Shrunk::complete`] tells.
    pub time: Duration,
    /// Threads that run candidates.
    pub threads: usize,
}

impl Default for Budget {
    /// Enough for nearly every failure: most take some hundred runs of less than a tenth of a second each.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Budget { runs: 5_000, time: Duration::from_secs(240), threads }
    }
}

/// The best plan so far, and what is left of the budget.
pub(super) struct Trials<'a> {
    pub(super) best: Plan,
    /// When the best plan fails, in virtual microseconds.
    pub(super) fails_at: u64,
    /// How many other seeds each candidate is tried with, if its own passes.
    pub(super) other_seeds: u64,
    property: &'static str,
    options: RunOptions,
    workload: &'a (dyn Fn(&Plan) -> Box<dyn Workload> + Sync),
    pub(super) runs: usize,
    runs_max: usize,
    threads: usize,
    deadline: Instant,
}

impl<'a> Trials<'a> {
    pub(super) fn new(
        failure: &Failure,
        options: RunOptions,
        workload: &'a (dyn Fn(&Plan) -> Box<dyn Workload> + Sync),
        budget: Budget,
    ) -> Self {
        Trials {
            best: failure.plan.clone(),
            fails_at: failure.at,
            other_seeds: 0,
            property: failure.violation.property,
            options: options.with_detail(Detail::Hash),
            workload,
            runs: 0,
            runs_max: budget.runs,
            threads: budget.threads.max(1),
            deadline: Instant::now() + budget.time,
        }
    }

    /// Whether the budget is used up.
    pub(super) fn spent(&self) -> bool {
        self.runs >= self.runs_max || Instant::now() >= self.deadline
    }

    /// Tries `candidates` in their order. The first that breaks the same property becomes the best plan, and its place is returned.
    pub(super) fn first(&mut self, candidates: &[Plan]) -> Option<usize> {
        let simpler = |(_, candidate): &(usize, &Plan)| **candidate != self.best && candidate.check().is_ok();
        let numbered: Vec<(usize, &Plan)> = candidates.iter().enumerate().filter(simpler).collect();
        let with_seed = |seed| numbered.iter().map(move |(number, plan)| (*number, Plan { seed, ..(*plan).clone() }));
        let as_they_are = numbered.iter().map(|(number, plan)| (*number, (*plan).clone()));
        let numbered: Vec<(usize, Plan)> = as_they_are.chain((1..=self.other_seeds).flat_map(with_seed)).collect();
        for some in numbered.chunks(self.threads) {
            if self.spent() {
                return None;
            }
            self.runs += some.len();
            let failures: Vec<Option<u64>> = std::thread::scope(|scope| {
                let this = &*self;
                let running: Vec<_> = some.iter().map(|(_, plan)| scope.spawn(|| this.fails_at(plan))).collect();
                // A candidate that panics outside of its world is none.
                running.into_iter().map(|run| run.join().ok().flatten()).collect()
            });
            if let Some(((number, plan), at)) =
                some.iter().zip(failures).find_map(|(candidate, at)| Some((candidate, at?)))
            {
                (self.best, self.fails_at) = (plan.clone(), at);
                return Some(*number);
            }
        }
        None
    }

    /// With how many of the seeds `1..=seeds` the best plan fails.
    pub(super) fn count(&self, seeds: u64) -> usize {
        let plans: Vec<Plan> = (1..=seeds).map(|seed| Plan { seed, ..self.best.clone() }).collect();
        let parts = plans.chunks(plans.len().div_ceil(self.threads).max(1));
        std::thread::scope(|scope| {
            let running: Vec<_> = parts
                .map(|part| scope.spawn(|| part.iter().filter(|plan| self.fails_at(plan).is_some()).count()))
                .collect();
            running.into_iter().filter_map(|part| part.join().ok()).sum()
        })
    }

    /// When `plan` breaks the property, if it does.
    fn fails_at(&self, plan: &Plan) -> Option<u64> {
        let until = self.fails_at.max(plan.swarm.faults_for) + PATIENCE;
        let outcome = panics::silently(|| run_once(plan, self.options, (self.workload)(plan), until));
        outcome.err().filter(|failure| failure.violation.property == self.property).map(|failure| failure.at)
    }
}
