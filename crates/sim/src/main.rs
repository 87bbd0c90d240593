//! Runs seeds by hand: `slimcluster-sim seeds 1000`, `slimcluster-sim replay 42 --trace`, `slimcluster-sim mutants`.

use std::process::ExitCode;
use std::time::Instant;

use slimcluster_sim::{Detail, Failure, Report, RunOptions, median, run_seed, run_seeds};

const USAGE: &str = "\
usage: slimcluster-sim seeds N [--base B] [--keep-going] [--mutant NAME]   run the seeds B .. B+N
       slimcluster-sim replay SEED [--trace] [--mutant NAME]               run one seed again, with every event
       slimcluster-sim mutants [--seeds N] [--base B] [--only NAME]        each safeguard left out must be missed within N seeds
The last, and --mutant, need the feature `mutants`.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.first().map(String::as_str) {
        Some("seeds") => seeds(&words[1..]),
        Some("replay") => replay(&words[1..]),
        Some("mutants") => mutants(&words[1..]),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
    }
}

fn seeds(words: &[String]) -> Result<bool, String> {
    let count = number(words.first().ok_or(USAGE)?)?;
    let base = option(words, "--base")?.map(number).transpose()?.unwrap_or_default();
    let keep_going = words.iter().any(|word| word == "--keep-going");
    let options = options(words)?;
    let began = Instant::now();
    let (reports, failures) = run_seeds(base..base + count, threads(), options, !keep_going);
    if keep_going {
        summarise_failures(&failures);
    } else {
        failures.iter().take(1).for_each(|failure| println!("{failure}\n"));
    }
    summarise(&reports, began);
    Ok(failures.is_empty())
}

fn replay(words: &[String]) -> Result<bool, String> {
    let seed = number(words.first().ok_or(USAGE)?)?;
    let detail = if words.iter().any(|word| word == "--trace") { Detail::Print } else { Detail::Tail };
    match run_seed(seed, options(words)?.with_detail(detail)) {
        Ok(report) => {
            println!("seed {seed} is good: trace {:016x}, {:?}", report.hash, report.stats);
            Ok(true)
        }
        Err(failure) => {
            println!("{failure}");
            Ok(false)
        }
    }
}

#[cfg(feature = "mutants")]
fn mutants(words: &[String]) -> Result<bool, String> {
    use slimcluster_core::mutants::Mutant;
    use slimcluster_sim::mutants::{Hunt, SEEDS_MAX, Tally, of_worlds};

    let count = option(words, "--seeds")?.map(number).transpose()?.unwrap_or(SEEDS_MAX);
    let base = option(words, "--base")?.map(number).transpose()?.unwrap_or_default();
    let only =
        option(words, "--only")?.map(|name| name.parse::<Mutant>()).transpose().map_err(|error| format!("{error}"))?;
    let mut tally = Tally::default();
    for (mutant, profile) in of_worlds().filter(|(mutant, _)| only.is_none_or(|only| only == *mutant)) {
        let hunt = Hunt::run(mutant, profile, base..base + count, threads());
        println!("{hunt}");
        tally.add(&hunt);
    }
    println!("{tally}");
    Ok(tally.is_complete())
}

#[cfg(not(feature = "mutants"))]
fn mutants(_: &[String]) -> Result<bool, String> {
    Err("build with `--features mutants`".to_owned())
}

#[cfg(feature = "mutants")]
fn options(words: &[String]) -> Result<RunOptions, String> {
    let mutant = option(words, "--mutant")?.map(|name| name.parse()).transpose();
    Ok(RunOptions { mutant: mutant.map_err(|error| format!("{error}"))?, ..RunOptions::default() })
}

#[cfg(not(feature = "mutants"))]
fn options(words: &[String]) -> Result<RunOptions, String> {
    match option(words, "--mutant")? {
        Some(_) => Err("build with `--features mutants`".to_owned()),
        None => Ok(RunOptions::default()),
    }
}

fn option<'a>(words: &'a [String], name: &str) -> Result<Option<&'a String>, String> {
    match words.iter().position(|word| word == name) {
        None => Ok(None),
        Some(at) => words.get(at + 1).map(Some).ok_or_else(|| format!("{name} needs a value\n{USAGE}")),
    }
}

fn number(word: &String) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word:?} is not a number\n{USAGE}"))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn summarise(reports: &[Report], began: Instant) {
    let sum = |value: fn(&Report) -> u64| reports.iter().map(value).sum::<u64>();
    let (took, time) = (began.elapsed().as_secs_f64(), sum(|report| report.stats.time) as f64 / 1e6);
    println!(
        "{} good seeds in {took:.1} s: {time:.0} virtual seconds ({:.0} x real time), {} events, {} faults, {} crashes, {} leaders",
        reports.len(),
        time / took,
        sum(|report| report.stats.events),
        sum(|report| report.stats.faults.total()),
        sum(|report| report.stats.crashes),
        sum(|report| report.stats.elections),
    );
    println!(
        "{} starts ({} crashed while recovering), {} batches on disk, {} reads of the log, {} acknowledgements looked up on media, \
         {} unknown outcomes, {} refusals, {} nodes left out of their cluster",
        sum(|report| report.stats.starts),
        sum(|report| report.stats.recovery_crashes),
        sum(|report| report.stats.writes),
        sum(|report| report.stats.fetches),
        sum(|report| report.stats.media_checks),
        sum(|report| report.stats.unknown),
        sum(|report| report.stats.refused),
        sum(|report| report.stats.left_out),
    );
    println!(
        "median per seed: {} appends acknowledged, {} reads, {} faults, all well {} ms after the cold restart",
        median(reports.iter().map(|report| report.stats.acknowledged)),
        median(reports.iter().map(|report| report.stats.reads)),
        median(reports.iter().map(|report| report.stats.faults.total())),
        median(reports.iter().map(|report| report.stats.restarted_after)) / 1_000,
    );
}

fn summarise_failures(failures: &[Failure]) {
    for failure in failures {
        println!("seed {} at {:.3} s: {}", failure.seed, failure.at as f64 / 1e6, failure.violation);
    }
}
