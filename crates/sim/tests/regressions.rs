//! Every plan that failed once holds for ever. A file is added for each bug that the simulator finds, after it is mended.
//!
//! A failure that hangs on a coincidence is a coincidence of one version: any change of what a run draws destroys it, and the plan
//! shows nothing any more. So each plan runs under some other seeds as well. Who adds a file undoes the repair, counts the seeds that
//! fail, and says so in the file; a plan that fails with one seed only wants more strikes of the kind that matters.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use slimcluster_sim::{Plan, RunOptions, run_plan};

/// Each plan runs under its own seed and the seeds 1 to this.
const OTHER_SEEDS: u64 = 16;

#[test]
fn every_plan_that_failed_once_holds() {
    let paths = paths();
    let mut runs = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a text");
        let plan = Plan::from_text(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let seeds = std::iter::once(plan.seed).chain((1..=OTHER_SEEDS).filter(|seed| *seed != plan.seed));
        runs.extend(seeds.map(|seed| (path, Plan { seed, ..plan.clone() })));
    }
    let (count, runs, failures) = (runs.len(), Mutex::new(runs), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let next = runs.lock().expect("no panic under it").pop();
            let Some((path, plan)) = next else { return };
            if let Err(failure) = run_plan(&plan, RunOptions::default()) {
                failures.lock().expect("no panic under it").push((path, failure));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("no panic under it");
    for (path, failure) in &failures {
        let text = std::fs::read_to_string(path).expect("a text");
        let comment: String =
            text.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        println!(
            "{} fails again, with the seed {}. It says of itself:\n{comment}\n{failure}\n",
            path.display(),
            failure.seed
        );
    }
    assert!(failures.is_empty(), "{} of {count} runs of {} plans fail: see above", failures.len(), paths.len());
}

fn paths() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let entries = std::fs::read_dir(&folder).expect("the folder of the regressions");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(!paths.is_empty(), "no regressions in {}", folder.display());
    paths
}
