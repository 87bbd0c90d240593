//! The commands, and which runs when.

use super::arguments::Arguments;
use super::say::say;
use super::{mutants, replay, seeds, shrink, situations, soak};

pub(super) const USAGE: &str = "\
usage: slimcluster-sim seeds N [--base BASE] [--keep-going]       run N seeds; a failure is made small and written to a file
       slimcluster-sim soak --minutes N [--seed-base BASE]        run fresh seeds until the time is up or one fails
       slimcluster-sim replay SEED | FILE.toml [--trace]          run one seed or plan again, with every event
       slimcluster-sim shrink SEED | FILE.toml                    make a failing seed or plan small
       slimcluster-sim situations [N] [--base BASE]               which situations N seeds reach, and how often
       slimcluster-sim mutants [--seeds N] [--only NAME] [--base BASE]   seeds until each missing safeguard is noticed
BASE is a number or any other text, such as a commit, and names the first seed. All but `replay`
take --threads N; all but `mutants`, which knows them of each mutant, take --profile NAME (the kind of world, else drawn by each
seed) and, built with `--features mutants`, --mutant NAME (a safeguard to leave out).
Exit code 0: all was good; 1: something failed; 2: it could not be tried.";

/// Runs the command that `words` ask for; false when something failed.
pub fn run(words: &[String]) -> Result<bool, String> {
    let Some((command, words)) = words.split_first() else { return Err(USAGE.to_owned()) };
    match command.as_str() {
        "seeds" => seeds::run(&Arguments::of_runs(words, &["--base"], &["--keep-going"])?),
        "soak" => soak::run(&Arguments::of_runs(words, &["--minutes", "--seed-base"], &[])?),
        "replay" => replay::run(&Arguments::read(words, &["--profile", "--mutant"], &["--trace"])?),
        "shrink" => shrink::run(&Arguments::of_runs(words, &[], &[])?),
        "situations" => situations::run(&Arguments::of_runs(words, &["--base"], &[])?),
        "mutants" => mutants::run(&Arguments::read(words, &["--seeds", "--only", "--base", "--threads"], &[])?),
        "help" | "--help" | "-h" => {
            say!("{USAGE}");
            Ok(true)
        }
        other => Err(format!("there is no command {other:?}\n{USAGE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_would_ignore_is_refused() {
        for words in [
            ["mutants", "--mutant", "half-elects"],
            ["mutants", "--profile", "gossip"],
            ["soak", "--base", "1"],
            ["replay", "--threads", "2"],
        ] {
            let error = run(&words.map(str::to_owned)).unwrap_err();
            assert!(error.starts_with(&format!("{:?} means nothing here", words[1])), "{words:?}: {error}");
        }
    }
}
