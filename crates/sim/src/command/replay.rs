//! `replay`: one seed or plan again.

use slimcluster_sim::{Detail, Plan, RunOptions, run_plan};

use super::arguments::Arguments;
use super::say::say;
use super::usage::USAGE;

pub(super) fn run(arguments: &Arguments) -> Result<bool, String> {
    let options = arguments.run_options()?;
    let plan = plan(arguments, options)?;
    let detail = if arguments.has("--trace") { Detail::Print } else { Detail::Tail };
    match run_plan(&plan, options.with_detail(detail)) {
        Ok(report) => {
            say!("seed {} is good: trace {:016x}, {:?}", plan.seed, report.hash, report.stats);
            Ok(true)
        }
        Err(failure) => {
            say!("{failure}");
            Ok(false)
        }
    }
}

/// The plan that the word alone names: a seed, or a file that holds a plan.
pub(super) fn plan(arguments: &Arguments, options: RunOptions) -> Result<Plan, String> {
    let name = arguments.alone().ok_or(USAGE)?;
    let plan = match name.parse() {
        Ok(seed) => Plan::draw(seed, options.profile),
        Err(_) => {
            let text = std::fs::read_to_string(name)
                .map_err(|error| format!("{name:?} is neither a seed nor a file that can be read: {error}"))?;
            Plan::from_text(&text).map_err(|error| format!("{name}: {error}"))?
        }
    };
    plan.check().map_err(|error| format!("{name}: {error}"))?;
    Ok(plan)
}
