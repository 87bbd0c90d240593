//! `seeds`: so many seeds from a base, as CI does for every commit.

use std::ops::ControlFlow;
use std::time::Instant;

use slimcluster_core::situations::Situation;
use slimcluster_sim::{Failure, Totals, run_each};

use super::arguments::{Arguments, count};
use super::say::say;
use super::usage::USAGE;
use super::{base, failing};

pub(super) fn run(arguments: &Arguments) -> Result<bool, String> {
    let count = count("seeds", arguments.alone().ok_or(USAGE)?)?;
    let base = arguments.text("--base").map_or(0, base::named);
    let (options, threads) = (arguments.run_options()?, arguments.threads()?);
    let keep_going = arguments.has("--keep-going");
    say!("{count} seeds from {base} on");
    let began = Instant::now();
    let (mut totals, mut failures) = (Totals::default(), Vec::<Failure>::new());
    let core_time = run_each(base..base.saturating_add(count), threads, options, |_, outcome| {
        match outcome {
            Ok(report) => totals.add(&report),
            Err(failure) => failures.push(*failure),
        }
        if failures.is_empty() || keep_going { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    failures.sort_by_key(|failure| failure.seed);
    match failures.first() {
        Some(failure) if !keep_going => failing::make_small(failure, options, threads),
        _ => {
            for Failure { seed, at, violation, .. } in &failures {
                say!("seed {seed} fails after {}.{:06} s: {violation}", at / 1_000_000, at % 1_000_000);
            }
        }
    }
    say!("{totals}");
    say!(
        "{:.0} s, of which {:.0} core-seconds in worlds: {:.0} x real time per core",
        began.elapsed().as_secs_f64(),
        core_time.as_secs_f64(),
        totals.speedup(core_time)
    );
    let unreached: Vec<&str> = totals.rarer_than(1).into_iter().map(Situation::describe).collect();
    if !unreached.is_empty() {
        say!("not reached: {}", unreached.join("; "));
    }
    Ok(failures.is_empty())
}
