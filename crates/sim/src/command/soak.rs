//! `soak`: fresh seeds until the time is up.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use slimcluster_core::situations::Situation;
use slimcluster_sim::{Failure, Totals, run_each};

use super::arguments::Arguments;
use super::say::say;
use super::usage::USAGE;
use super::{base, failing};

/// How often it says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// From this length on a run is judged by what it reached as well: a rare situation comes about once in some hundred seeds, so a
/// thousandth of a day says nothing of it.
const LONG: Duration = Duration::from_secs(30 * 60);
/// A long run that reached a situation less often has not shown much about it.
const REACHED_MIN: u64 = 10;
/// A long run that did less in the middle of its seeds was no load (rule 43).
const ACKNOWLEDGED_MEDIAN_MIN: u64 = 500;
/// And one in which less was done while things went wrong has shown faults, and no work in the middle of them.
const ACKNOWLEDGED_IN_FAULTS_MEDIAN_MIN: u64 = 200;
/// Nor was there much to bear if less went wrong.
const FAULTS_MEDIAN_MIN: u64 = 100;

pub(super) fn run(arguments: &Arguments) -> Result<bool, String> {
    let minutes = arguments.count("--minutes")?.ok_or(USAGE)?;
    let base = arguments.text("--seed-base").map_or_else(base::fresh, base::named);
    let (options, threads) = (arguments.run_options()?, arguments.threads()?);
    say!("{minutes} minutes of fresh seeds, from {base} on");
    let began = Instant::now();
    let length = Duration::from_secs(minutes.saturating_mul(60));
    let (mut totals, mut failed) = (Totals::default(), None::<Box<Failure>>);
    let mut said = began;
    let core_time = run_each(base.., threads, options, |_, outcome| {
        match outcome {
            Ok(report) => totals.add(&report),
            Err(failure) if failed.as_ref().is_some_and(|first| first.seed < failure.seed) => {}
            Err(failure) => failed = Some(failure),
        }
        if said.elapsed() >= PROGRESS_EVERY {
            said = Instant::now();
            say!("{}", progress(&totals, began.elapsed()));
        }
        if failed.is_some() || began.elapsed() >= length { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let judged = began.elapsed() >= LONG;
    if let Some(failure) = &failed {
        failing::make_small(failure, options, threads);
    }
    say!("{totals}");
    let complaints = if judged { complaints(&totals) } else { Vec::new() };
    for complaint in &complaints {
        say!("{complaint}");
    }
    say!("{}", last_line(&totals, core_time, usize::from(failed.is_some())));
    Ok(failed.is_none() && complaints.is_empty())
}

fn progress(totals: &Totals, took: Duration) -> String {
    format!(
        "{:>6.0} s: {} seeds, {:.0} per minute, {:.1} virtual hours, {} of {} situations, {} faults: {}",
        took.as_secs_f64(),
        totals.seeds,
        totals.seeds as f64 * 60.0 / took.as_secs_f64(),
        totals.virtual_hours(),
        totals.situations_reached(),
        Situation::ALL.len(),
        totals.sums.faults.total(),
        totals.faults()
    )
}

/// What a long run must have done and has not.
fn complaints(totals: &Totals) -> Vec<String> {
    let rare = totals.rarer_than(REACHED_MIN).into_iter();
    let mut complaints: Vec<String> = rare
        .map(|situation| format!("reached less than {REACHED_MIN} times: {situation:?}, {}", situation.describe()))
        .collect();
    let medians = [
        ("acknowledged appends", totals.acknowledged_median(), ACKNOWLEDGED_MEDIAN_MIN),
        ("appends under faults", totals.acknowledged_in_faults_median(), ACKNOWLEDGED_IN_FAULTS_MEDIAN_MIN),
        ("faults", totals.faults_median(), FAULTS_MEDIAN_MIN),
    ];
    let light = medians.into_iter().filter(|(_, median, least)| median < least);
    complaints.extend(light.map(|(what, median, least)| format!("a median of {median} {what}, {least} is the least")));
    complaints
}

/// The figures for a program; numbers only, so that nothing needs to be escaped.
fn last_line(totals: &Totals, core_time: Duration, failures: usize) -> String {
    format!(
        "{{\"seeds\":{},\"virtual_hours\":{:.2},\"speedup\":{:.1},\"acked_median\":{},\"faults\":{},\
         \"situations_reached\":{},\"situations\":{},\"failures\":{failures}}}",
        totals.seeds,
        totals.virtual_hours(),
        totals.speedup(core_time),
        totals.acknowledged_median(),
        totals.sums.faults.total(),
        totals.situations_reached(),
        Situation::ALL.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_that_did_nothing_is_not_good() {
        let complaints = complaints(&Totals::default());
        assert_eq!(complaints.len(), Situation::ALL.len() + 3);
        assert!(complaints[0].contains("LeaderElected"), "{complaints:?}");
    }

    #[test]
    fn the_last_line_is_for_programs() {
        let line = last_line(&Totals::default(), Duration::ZERO, 1);
        let names = ["seeds", "virtual_hours", "speedup", "acked_median", "faults", "situations_reached", "situations"];
        assert!(names.iter().all(|name| line.contains(&format!("\"{name}\":"))), "{line}");
        assert!(line.starts_with("{\"seeds\":0,") && line.ends_with("\"failures\":1}"), "{line}");
    }
}
