//! `mutants`: how many seeds pass until each missing safeguard is noticed.

use super::arguments::Arguments;

#[cfg(not(feature = "mutants"))]
pub(super) fn run(_: &Arguments) -> Result<bool, String> {
    Err("mutants needs a build with `--features mutants`".to_owned())
}

#[cfg(feature = "mutants")]
pub(super) fn run(arguments: &Arguments) -> Result<bool, String> {
    use slimcluster_core::mutants::Mutant;
    use slimcluster_sim::mutants::{Home, Hunt, SEEDS_MAX, Tally, home, of_worlds};

    use super::say::say;

    let seeds = arguments.count("--seeds")?.unwrap_or(SEEDS_MAX);
    let base = arguments.text("--base").map_or(0, super::base::named);
    let only = arguments.text("--only").map(str::parse::<Mutant>).transpose().map_err(|error| error.to_string())?;
    let threads = arguments.threads()?;
    if let Some((only, Home::Test(command))) = only.map(|only| (only, home(only))) {
        return Err(format!("{only} needs what no world here has; it is caught by: {command}"));
    }
    let mutants: Vec<_> = of_worlds().filter(|(mutant, _)| only.is_none_or(|only| only == *mutant)).collect();
    say!("at most {seeds} seeds for each of {} mutants, from {base} on", mutants.len());
    let mut tally = Tally::default();
    for (mutant, profile) in mutants {
        let hunt = Hunt::run(mutant, profile, base..base.saturating_add(seeds), threads);
        say!("{hunt}");
        tally.add(&hunt);
    }
    say!("{tally}");
    Ok(tally.is_complete())
}
