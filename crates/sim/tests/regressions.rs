//! Every plan that failed once holds for ever. A file is added for each bug that the simulator finds, after it is mended.

use std::path::Path;

use slimcluster_sim::{Plan, RunOptions, run_plan};

#[test]
fn every_plan_that_failed_once_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let entries = std::fs::read_dir(&folder).expect("the folder of the regressions");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(!paths.is_empty(), "no regressions in {}", folder.display());
    let mut failures = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a text");
        let comment: String =
            text.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        let fails = |reason: String| format!("{} fails again. It says of itself:\n{comment}\n{reason}", path.display());
        match Plan::from_text(&text) {
            Ok(plan) => {
                failures.extend(run_plan(&plan, RunOptions::default()).err().map(|failure| fails(failure.to_string())))
            }
            Err(error) => failures.push(fails(error.to_string())),
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n\n{}", failures.len(), paths.len(), failures.join("\n\n"));
}
