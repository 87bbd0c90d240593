//! `shrink`: a failing seed or plan is made small.

use slimcluster_sim::run_plan;

use super::arguments::Arguments;
use super::{failing, replay};

pub(super) fn run(arguments: &Arguments) -> Result<bool, String> {
    let options = arguments.run_options()?;
    match run_plan(&replay::plan(arguments, options)?, options) {
        Ok(report) => Err(format!("seed {} is good: there is nothing to make smaller", report.seed)),
        Err(failure) => {
            failing::make_small(&failure, options, arguments.threads()?);
            Ok(false)
        }
    }
}
