//! The test of the tests: a cluster that lacks one safeguard must be caught, within a thousand seeds of the profile that is named
//! for it here. A mutant that nothing catches is a missing check, load or fault, and no bad mutant.
//!
//! A mutant is caught when a seed fails with it and passes without it: a seed that fails anyway proves nothing.

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
    /// By a test of another package, because it needs what no world here has.
    Test(&'static str),
}

/// Where `mutant` must be caught.
pub fn home(mutant: Mutant) -> Home {
    match mutant {
        // Sweeps over every crash state of a small log show these, one disk at a time.
        _ if mutant.name().starts_with("wal-") => Home::Test("crates/wal/tests/mutants.rs"),
        _ if mutant.name().starts_with("swim-") => Home::Worlds(Profile::Gossip),
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
    /// What became of it.
    pub verdict: Verdict,
    /// How long it took, on this machine.
    pub took: Duration,
}

/// What became of a mutant.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// This seed fails, and passes without the mutant.
    Caught(u64, Violation),
    /// No seed fails.
    Survives,
    /// This seed fails with the mutant, and without it as well: the fault is not the mutant's.
    FailsAnyway(u64, Violation),
}

impl Hunt {
    /// Runs `seeds` in worlds of `profile` without the safeguard, until one fails.
    pub fn run(mutant: Mutant, profile: Profile, seeds: Range<u64>, threads: usize) -> Self {
        let began = Instant::now();
        let (first, count) = (seeds.start, seeds.end - seeds.start);
        let healthy = RunOptions { profile: Some(profile), ..RunOptions::default() };
        let options = RunOptions { mutant: Some(mutant), ..healthy };
        let (_, failures) = run_seeds(seeds, threads, options, true);
        let (seeds, verdict) = match failures.into_iter().next() {
            None => (count, Verdict::Survives),
            Some(failure) => {
                let verdict = match run_seed(failure.seed, healthy) {
                    Ok(_) => Verdict::Caught(failure.seed, failure.violation),
                    Err(anyway) => Verdict::FailsAnyway(failure.seed, anyway.violation),
                };
                (failure.seed - first + 1, verdict)
            }
        };
        Hunt { mutant, seeds, verdict, took: began.elapsed() }
    }

    /// Whether the mutant was caught.
    pub fn is_caught(&self) -> bool {
        matches!(self.verdict, Verdict::Caught(..))
    }
}

impl fmt::Display for Hunt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hunt { mutant, seeds, verdict, took } = self;
        write!(f, "{:<32} {seeds:>5} {:>6.1} s  ", mutant.name(), took.as_secs_f64())?;
        match verdict {
            Verdict::Caught(seed, violation) => write!(f, "caught by seed {seed}: {violation}"),
            Verdict::Survives => write!(f, "SURVIVES"),
            Verdict::FailsAnyway(seed, violation) => write!(f, "NOT JUDGED: seed {seed} fails without it: {violation}"),
        }
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
