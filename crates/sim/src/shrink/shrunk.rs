//! What shrinking leaves: a small plan, why it fails, and the text to keep.

use super::trials::Trials;
use crate::plan::Plan;
use crate::report::Failure;
use crate::run::run_workload;
use crate::workload::Workload;
use crate::world::RunOptions;

/// Under so many other seeds the small plan is tried, to see how much hangs on its own.
pub const SEEDS_COUNTED: u64 = 16;

/// A failing plan, made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// How the small plan fails.
    pub failure: Failure,
    /// The seed that it came from.
    pub found_by: u64,
    /// With how many of [`SEEDS_COUNTED`] other seeds the small plan fails as well: a plan that fails with none hangs on a coincidence
    /// of this version of the simulator, and will not guard another.
    pub fails_with: usize,
    /// Runs that it took.
    pub runs: usize,
    /// Whether nothing smaller was left to try; else the budget ended first.
    pub complete: bool,
}

impl Shrunk {
    pub(super) fn of(
        original: &Failure,
        trials: &Trials<'_>,
        options: RunOptions,
        workload: &dyn Fn(&Plan) -> Box<dyn Workload>,
    ) -> Self {
        let failure = match run_workload(&trials.best, options, workload) {
            Err(failure) => *failure,
            // What failed and does not fail again is the worse news: the original says so.
            Ok(_) => original.clone(),
        };
        let fails_with = trials.count(SEEDS_COUNTED);
        Shrunk { failure, fails_with, found_by: original.seed, runs: trials.runs, complete: !trials.spent() }
    }

    /// The small plan.
    pub fn plan(&self) -> &Plan {
        &self.failure.plan
    }

    /// The plan as it is kept in `regressions/`, with what is known of the failure above it.
    pub fn to_text(&self) -> String {
        let Failure { violation, at, mutant, .. } = &self.failure;
        let mut comment = format!("{}: {}\n", violation.property, violation.detail);
        comment += &format!("After {}.{:06} s; found by seed {}", at / 1_000_000, at % 1_000_000, self.found_by);
        if let Some(mutant) = mutant {
            comment += &format!(" with the mutant {mutant}");
        }
        comment += if self.complete { ".\n" } else { "; not as small as it could be, the time was up.\n" };
        comment += &format!("It fails with {} of the seeds 1 to {SEEDS_COUNTED}.\n", self.fails_with);
        comment += &self.failure.replay();
        self.failure.plan.to_text(&comment)
    }
}
