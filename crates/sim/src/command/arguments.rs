//! The words after a command: at most one that stands alone, options with a value, flags without.

use std::collections::BTreeMap;
use std::str::FromStr;

use slimcluster_sim::RunOptions;
use slimcluster_sim::swarm::Profile;

use super::usage::USAGE;

/// What is asked of worlds, by every command that runs them as its words say.
const OF_RUNS: &[&str] = &["--profile", "--threads", "--mutant"];

/// What stands after a command.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    alone: Option<String>,
    /// By name; a flag has no value.
    options: BTreeMap<String, Option<String>>,
}

impl Arguments {
    /// Reads `words` for a command that takes these options and flags, and what is asked of worlds.
    pub(super) fn of_runs(words: &[String], options: &[&str], flags: &[&str]) -> Result<Self, String> {
        Arguments::read(words, &[OF_RUNS, options].concat(), flags)
    }

    /// Reads `words` for a command that takes these options and flags, and no others: what it would ignore is refused.
    pub(super) fn read(words: &[String], options: &[&str], flags: &[&str]) -> Result<Self, String> {
        let mut arguments = Arguments::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let name = word.as_str();
            if flags.contains(&name) {
                arguments.options.insert(word.clone(), None);
            } else if options.contains(&name) {
                let value = words.next().filter(|value| !value.is_empty() && !value.starts_with("--"));
                let value = value.ok_or_else(|| format!("{name} needs a value\n{USAGE}"))?;
                arguments.options.insert(word.clone(), Some(value.clone()));
            } else if name.starts_with('-') || arguments.alone.is_some() {
                return Err(format!("{name:?} means nothing here\n{USAGE}"));
            } else {
                arguments.alone = Some(word.clone());
            }
        }
        Ok(arguments)
    }

    /// The word that stands alone.
    pub(super) fn alone(&self) -> Option<&str> {
        self.alone.as_deref()
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.options.contains_key(flag)
    }

    pub(super) fn text(&self, option: &str) -> Option<&str> {
        self.options.get(option)?.as_deref()
    }

    /// A number above zero.
    pub(super) fn count(&self, option: &str) -> Result<Option<u64>, String> {
        self.text(option).map(|text| count(option, text)).transpose()
    }

    /// On how many threads worlds run: one per core, unless asked otherwise.
    pub(super) fn threads(&self) -> Result<usize, String> {
        let asked = self.count("--threads")?.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        Ok(asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)))
    }

    /// What is asked of every run.
    pub(super) fn run_options(&self) -> Result<RunOptions, String> {
        let profile = self.text("--profile").map(Profile::from_str).transpose()?;
        self.with_mutant(RunOptions { profile, ..RunOptions::default() })
    }

    #[cfg(feature = "mutants")]
    fn with_mutant(&self, options: RunOptions) -> Result<RunOptions, String> {
        let mutant = self.text("--mutant").map(str::parse).transpose();
        Ok(RunOptions { mutant: mutant.map_err(|error| format!("{error}"))?, ..options })
    }

    #[cfg(not(feature = "mutants"))]
    fn with_mutant(&self, options: RunOptions) -> Result<RunOptions, String> {
        match self.text("--mutant") {
            Some(_) => Err("--mutant needs a build with `--features mutants`".to_owned()),
            None => Ok(options),
        }
    }
}

/// The number above zero that `text` is.
pub(super) fn count(name: &str, text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err(format!("{name} must be above zero")),
        Ok(count) => Ok(count),
        Err(_) => Err(format!("{name}: {text:?} is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Arguments, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Arguments::of_runs(&words, &["--base"], &["--trace"])
    }

    #[test]
    fn words_are_told_apart() {
        let arguments = read("--base 12 7 --trace --threads 3").unwrap();
        assert_eq!((arguments.alone(), arguments.text("--base")), (Some("7"), Some("12")));
        assert_eq!(
            (arguments.has("--trace"), arguments.threads(), arguments.count("--base")),
            (true, Ok(3), Ok(Some(12)))
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("7 8", "\"8\" means nothing"),
            ("--bogus 1", "\"--bogus\" means nothing"),
            ("--base", "--base needs a value"),
            ("--base --trace", "--base needs a value"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(said), "{text}: {error}");
        }
        assert_eq!(read("--threads 0").unwrap().threads(), Err("--threads must be above zero".to_owned()));
        assert_eq!(read("--base x").unwrap().count("--base"), Err("--base: \"x\" is not a number".to_owned()));
        assert!(read("--profile thunder").unwrap().run_options().unwrap_err().contains("thunder"));
    }
}
