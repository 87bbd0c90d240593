//! The test of the tests: a cluster that lacks one safeguard must be caught, within a thousand seeds of the profile that is named
//! for it here. A mutant that nothing catches is a missing check, load or fault, and no bad mutant.
//!
//! A mutant is caught when a seed fails with it and passes without it: a seed that fails anyway proves nothing, and is said.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use slimcluster_core::mutants::Mutant;

use crate::checkers::Violation;
use crate::run::{run_seed, run_seeds};
use crate::swarm::Profile;
use crate::world::RunOptions;

/// Seeds within which each mutant must be caught.
pub const SEEDS_MAX: u64 = 1_000;

/// Where a mutant must be caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In worlds of this profile.
    Worlds(Profile),
    /// By a test of another package, which this command runs, because it needs what no world here has.
    Test(&'static str),
}

/// Where `mutant` must be caught.
pub fn home(mutant: Mutant) -> Home {
    match mutant {
        // Sweeps over every crash state of a small log show these, one disk at a time.
        _ if mutant.name().starts_with("wal-") => {
            Home::Test("cargo test -p slimcluster-wal --features mutants --test mutants")
        }
        _ if mutant.name().starts_with("swim-") => Home::Worlds(Profile::Gossip),
        // A late answer must find a process that asks under the same number.
        Mutant::NumbersBeginAgain => Home::Worlds(Profile::Churn),
        _ => Home::Worlds(Profile::General),
    }
}

/// The mutants that a world must catch.
pub fn of_worlds() -> impl Iterator<Item = (Mutant, Profile)> {
    Mutant::ALL.iter().filter_map(|&mutant| match home(mutant) {
        Home::Worlds(profile) => Some((mutant, profile)),
        Home::Test(_) => None,
    })
}

/// What a hunt for one mutant found.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The mutant.
    pub mutant: Mutant,
    /// How many seeds it took, or how many were tried in vain.
    pub seeds: u64,
    /// The seed that fails because of it, and what was seen there; none if it survives.
    pub caught: Option<(u64, Violation)>,
    /// Seeds that fail with it, and without it as well.
    pub anyway: Vec<u64>,
    /// How long it took, on this machine.
    pub took: Duration,
}

impl Hunt {
    /// Runs `seeds` in worlds of `profile` without the safeguard, until one fails because of that.
    pub fn run(mutant: Mutant, profile: Profile, seeds: Range<u64>, threads: usize) -> Self {
        let began = Instant::now();
        let healthy = RunOptions { profile: Some(profile), ..RunOptions::default() };
        let options = RunOptions { mutant: Some(mutant), ..healthy };
        let (mut next, mut caught, mut anyway) = (seeds.start, None, Vec::new());
        while next < seeds.end && caught.is_none() {
            let (_, failures) = run_seeds(next..seeds.end, threads, options, true);
            let Some(failure) = failures.into_iter().next() else { break };
            next = failure.seed + 1;
            match run_seed(failure.seed, healthy) {
                Ok(_) => caught = Some((failure.seed, failure.violation)),
                Err(_) => anyway.push(failure.seed),
            }
        }
        let end = if caught.is_some() { next } else { seeds.end };
        Hunt { mutant, seeds: end - seeds.start, caught, anyway, took: began.elapsed() }
    }

    /// Whether the mutant was caught.
    pub fn is_caught(&self) -> bool {
        self.caught.is_some()
    }
}

impl fmt::Display for Hunt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<32} {:>5} {:>6.1} s  ", self.mutant.name(), self.seeds, self.took.as_secs_f64())?;
        match &self.caught {
            Some((seed, violation)) => write!(f, "caught by seed {seed}: {violation}")?,
            None => write!(f, "SURVIVES")?,
        }
        if !self.anyway.is_empty() {
            write!(f, " (these seeds fail without it as well: {:?})", self.anyway)?;
        }
        Ok(())
    }
}

/// The whole of several hunts, as one line of JSON.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    mutants: u64,
    caught: u64,
    slowest: Option<Mutant>,
    slowest_seeds: u64,
}

impl Tally {
    /// Adds a hunt.
    pub fn add(&mut self, hunt: &Hunt) {
        self.mutants += 1;
        if hunt.is_caught() {
            self.caught += 1;
            if hunt.seeds > self.slowest_seeds {
                (self.slowest, self.slowest_seeds) = (Some(hunt.mutant), hunt.seeds);
            }
        }
    }

    /// Whether every mutant was caught.
    pub fn is_complete(&self) -> bool {
        self.caught == self.mutants
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { mutants, caught, slowest, slowest_seeds } = self;
        let slowest = slowest.map_or("", Mutant::name);
        write!(
            f,
            "{{\"mutants\":{mutants},\"caught\":{caught},\"slowest\":\"{slowest}\",\"slowest_seeds\":{slowest_seeds}}}"
        )
    }
}
