//! What is done about a failure: it is printed, made small, and the small plan is written to a file.

use std::path::PathBuf;

use slimcluster_sim::shrink::{Budget, shrink};
use slimcluster_sim::{Failure, RunOptions, registers};

use super::say::say;

/// Prints the failure, makes its plan small, prints that and writes it to `seed-N.toml` in the present folder.
pub(super) fn make_small(failure: &Failure, options: RunOptions, threads: usize) {
    say!("{failure}\n\nmaking it small ...");
    let budget = Budget { threads, ..Budget::default() };
    let shrunk = shrink(failure, options, &registers, budget);
    let text = shrunk.to_text();
    say!("{} runs:\n\n{text}", shrunk.runs);
    let path = PathBuf::from(format!("seed-{}.toml", failure.seed));
    match std::fs::write(&path, text) {
        Ok(()) => say!("written to {}; once it is mended, keep the file in crates/sim/regressions", path.display()),
        Err(error) => say!("not written to {}: {error}", path.display()),
    }
}
