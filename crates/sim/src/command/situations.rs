//! `situations`: what some seeds reach, and how often.

use std::ops::ControlFlow;

use slimcluster_core::situations::Situation;
use slimcluster_sim::{Totals, run_each};

use super::arguments::{Arguments, count};
use super::base;
use super::say::say;

/// As many seeds as one waits for, on a machine of two cores.
const SEEDS: u64 = 200;

pub(super) fn run(arguments: &Arguments) -> Result<bool, String> {
    let seeds = arguments.alone().map_or(Ok(SEEDS), |text| count("situations", text))?;
    let base = arguments.text("--base").map_or(0, base::named);
    let (mut totals, mut failures) = (Totals::default(), 0);
    run_each(base..base.saturating_add(seeds), arguments.threads()?, arguments.run_options()?, |_, outcome| {
        match outcome {
            Ok(report) => totals.add(&report),
            Err(failure) => {
                say!("{failure}");
                failures += 1;
            }
        }
        ControlFlow::Continue(())
    });
    for (situation, count) in Situation::ALL.iter().zip(&totals.situations) {
        say!("{count:>12}  {:<32} {}", format!("{situation:?}"), situation.describe());
    }
    let (reached, all) = (totals.situations_reached(), Situation::ALL.len());
    say!("{reached} of {all} situations reached in {seeds} seeds from {base} on");
    Ok(failures == 0 && reached == all)
}
