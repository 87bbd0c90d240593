//! What a run leaves behind: counts when it was good, everything that helps when it was not.

use std::collections::BTreeMap;
use std::fmt;

use slimcluster_core::situations;

use crate::checkers::Violation;
use crate::plan::Plan;
use crate::swarm::Profile;

/// What happened in a run, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events of the world.
    pub events: u64,
    /// Virtual microseconds.
    pub time: u64,
    /// Operations that clients began.
    pub operations: u64,
    /// Appends that were acknowledged.
    pub acknowledged: u64,
    /// Those of them that were acknowledged while things went wrong.
    pub acknowledged_in_faults: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Appends that were certainly not applied.
    pub refused: u64,
    /// Operations whose clients never learned, or not at once, what became of them.
    pub unknown: u64,
    /// Strikes, and what network and disks did by themselves.
    pub faults: FaultCounts,
    /// Processes that were started.
    pub starts: u64,
    /// Processes that were ended.
    pub crashes: u64,
    /// Starts that died while they recovered.
    pub recovery_crashes: u64,
    /// Leaders that were elected.
    pub elections: u64,
    /// Batches that were made durable.
    pub writes: u64,
    /// Runs that were read back from the log.
    pub fetches: u64,
    /// Acknowledgements that were looked up on the media.
    pub media_checks: u64,
    /// Appends that any replica applied.
    pub applied: u64,
    /// Nodes that gave up waiting for a cluster that the others had formed, and can only be taken in again.
    pub left_out: u64,
    /// How long a healthy majority took to work, in virtual microseconds; 0 where none had formed a cluster.
    pub majority_after: u64,
    /// How long after everything was healed all was as it should be, in virtual microseconds.
    pub settled_after: u64,
    /// The same after the cold restart of all nodes.
    pub restarted_after: u64,
    /// Datagrams that members of worlds of SWIM alone sent.
    pub datagrams: u64,
    /// Microseconds times members in which nobody was in trouble: whoever was taken for dead then was so by mistake.
    pub watched: u64,
}

impl Stats {
    /// Adds the numbers of another run.
    pub fn add(&mut self, other: &Stats) {
        // Every field by name: one that is added above is not forgotten here.
        let Stats {
            events,
            time,
            operations,
            acknowledged,
            acknowledged_in_faults,
            reads,
            refused,
            unknown,
            faults,
            starts,
            crashes,
            recovery_crashes,
            elections,
            writes,
            fetches,
            media_checks,
            applied,
            left_out,
            majority_after,
            settled_after,
            restarted_after,
            datagrams,
            watched,
        } = other;
        self.faults.add(faults);
        for (sum, value) in [
            (&mut self.events, events),
            (&mut self.time, time),
            (&mut self.operations, operations),
            (&mut self.acknowledged, acknowledged),
            (&mut self.acknowledged_in_faults, acknowledged_in_faults),
            (&mut self.reads, reads),
            (&mut self.refused, refused),
            (&mut self.unknown, unknown),
            (&mut self.starts, starts),
            (&mut self.crashes, crashes),
            (&mut self.recovery_crashes, recovery_crashes),
            (&mut self.elections, elections),
            (&mut self.writes, writes),
            (&mut self.fetches, fetches),
            (&mut self.media_checks, media_checks),
            (&mut self.applied, applied),
            (&mut self.left_out, left_out),
            (&mut self.majority_after, majority_after),
            (&mut self.settled_after, settled_after),
            (&mut self.restarted_after, restarted_after),
            (&mut self.datagrams, datagrams),
            (&mut self.watched, watched),
        ] {
            *sum += value;
        }
    }
}

/// How many faults of each kind: strikes by their class, and what network and disks do by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts(BTreeMap<&'static str, u64>);

/// Faults of single packets, counted by bursts: what goes wrong with many at a time is one fault (rule 43).
#[derive(Clone, Debug, Default)]
pub struct Bursts {
    counts: FaultCounts,
    /// When the last burst of each kind began.
    began: BTreeMap<&'static str, u64>,
}

impl Bursts {
    /// How long a burst lasts, in virtual microseconds.
    const TIME: u64 = 100_000;

    /// One more of a kind, at `now`.
    pub fn count(&mut self, now: u64, kind: &'static str) {
        let began = self.began.get(kind);
        if began.is_none_or(|began| now >= began + Bursts::TIME) {
            self.began.insert(kind, now);
            self.counts.count(kind);
        }
    }

    /// The bursts so far.
    pub fn counts(&self) -> &FaultCounts {
        &self.counts
    }
}

impl FaultCounts {
    /// One more of a kind.
    pub fn count(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    /// As many more as `other` has.
    pub fn add(&mut self, other: &FaultCounts) {
        for (kind, count) in &other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    /// Of all kinds together.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each kind that there was, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }
}

/// A good run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The hash of everything that happened.
    pub hash: u64,
    /// Its numbers.
    pub stats: Stats,
    /// How often each situation came about.
    pub situations: situations::Counts,
}

/// A run in which a property did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What was run: the same plan fails again.
    pub plan: Plan,
    /// The property, and what was seen.
    pub violation: Violation,
    /// When, in virtual microseconds.
    pub at: u64,
    /// The world, in one line.
    pub world: String,
    /// Each node.
    pub nodes: Vec<String>,
    /// The last things that happened.
    pub lines: Vec<String>,
    /// The safeguard that was left out, if any.
    pub mutant: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} fails after {}.{:06} s", self.seed, self.at / 1_000_000, self.at % 1_000_000)?;
        writeln!(f, "  {}", self.violation)?;
        writeln!(f, "\n  {}", self.world)?;
        for node in &self.nodes {
            writeln!(f, "  {node}")?;
        }
        writeln!(f)?;
        for line in &self.lines {
            writeln!(f, "  {line}")?;
        }
        write!(f, "\nreplay: {}", self.replay())
    }
}

impl Failure {
    /// The command that runs it again.
    pub fn replay(&self) -> String {
        let mut command = "cargo run --release -p slimcluster-sim".to_owned();
        if self.mutant.is_some() {
            command += " --features mutants";
        }
        let drawn = |profile| Plan::draw(self.seed, profile) == self.plan;
        if drawn(None) {
            command += &format!(" -- replay {} --trace", self.seed);
        } else if let Some((_, name, _)) = Profile::ALL.iter().find(|(profile, ..)| drawn(Some(*profile))) {
            command += &format!(" -- replay {} --profile {name} --trace", self.seed);
        } else {
            command += " -- replay FILE.toml --trace";
        }
        match &self.mutant {
            Some(mutant) => format!("{command} --mutant {mutant}"),
            None => command,
        }
    }
}
