//! What many runs did together.

use std::fmt;
use std::time::Duration;

use slimcluster_core::situations::{Counts, Situation};

use crate::report::{Report, Stats};
use crate::run::median;

/// The sums of good runs, and what is told of their middle.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Good seeds.
    pub seeds: u64,
    /// Sums; times are virtual microseconds.
    pub sums: Stats,
    /// How often each situation came about, in the order of [`Situation::ALL`].
    pub situations: Counts,
    /// Of each seed: appends acknowledged, those under faults, reads, faults. A few words per seed, and a day has some hundred thousand.
    middles: [Vec<u64>; 4],
}

impl Default for Totals {
    fn default() -> Self {
        Totals { seeds: 0, sums: Stats::default(), situations: [0; Situation::ALL.len()], middles: Default::default() }
    }
}

impl Totals {
    /// Takes in one more good run.
    pub fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.sums.add(&report.stats);
        for (sum, count) in self.situations.iter_mut().zip(&report.situations) {
            *sum += count;
        }
        let Stats { acknowledged, acknowledged_in_faults, reads, faults, .. } = &report.stats;
        let middles = [*acknowledged, *acknowledged_in_faults, *reads, faults.total()];
        for (values, value) in self.middles.iter_mut().zip(middles) {
            values.push(value);
        }
    }

    /// The median of the appends that a seed had acknowledged.
    pub fn acknowledged_median(&self) -> u64 {
        median(self.middles[0].iter().copied())
    }

    /// The median of those of them that were acknowledged while things went wrong.
    pub fn acknowledged_in_faults_median(&self) -> u64 {
        median(self.middles[1].iter().copied())
    }

    /// The median of the reads that a seed had answered.
    pub fn reads_median(&self) -> u64 {
        median(self.middles[2].iter().copied())
    }

    /// The median of the faults of a seed.
    pub fn faults_median(&self) -> u64 {
        median(self.middles[3].iter().copied())
    }

    /// The situations that came about less than `times` times.
    pub fn rarer_than(&self, times: u64) -> Vec<Situation> {
        let counted = Situation::ALL.iter().zip(&self.situations);
        counted.filter(|(_, count)| **count < times).map(|(situation, _)| *situation).collect()
    }

    /// How many situations came about at all.
    pub fn situations_reached(&self) -> usize {
        Situation::ALL.len() - self.rarer_than(1).len()
    }

    /// The virtual time of all runs.
    pub fn virtual_time(&self) -> Duration {
        Duration::from_micros(self.sums.time)
    }

    /// The same in hours.
    pub fn virtual_hours(&self) -> f64 {
        self.virtual_time().as_secs_f64() / 3_600.0
    }

    /// Virtual time per `core_time`, the time that the runs computed; 0 of none.
    pub fn speedup(&self, core_time: Duration) -> f64 {
        let seconds = core_time.as_secs_f64();
        if seconds > 0.0 { self.virtual_time().as_secs_f64() / seconds } else { 0.0 }
    }

    /// The faults by kind, in one line.
    pub fn faults(&self) -> String {
        self.sums.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { events, crashes, elections, starts, recovery_crashes, .. } = &self.sums;
        let Stats { writes, fetches, media_checks, unknown, refused, left_out, faults, .. } = &self.sums;
        writeln!(
            f,
            "{} good seeds, {:.2} virtual hours: {events} events, {} faults, {crashes} crashes, {elections} leaders",
            self.seeds,
            self.virtual_hours(),
            faults.total()
        )?;
        writeln!(
            f,
            "{starts} starts ({recovery_crashes} crashed while recovering), {writes} batches on disk, {fetches} reads of the log, \
             {media_checks} acknowledgements looked up on media, {unknown} unknown outcomes, {refused} refusals, \
             {left_out} nodes left out of their cluster"
        )?;
        writeln!(f, "faults: {}", self.faults())?;
        let hours = self.sums.watched as f64 / 3.6e9;
        if hours > 0.0 {
            // None was seen, or the run had failed: with 95 % confidence the rate is below three in that time.
            writeln!(f, "no false positive in {hours:.1} member-hours, so less than {:.4} per hour", 3.0 / hours)?;
        }
        write!(
            f,
            "median per seed: {} appends acknowledged ({} under faults), {} reads, {} faults; {} of {} situations reached",
            self.acknowledged_median(),
            self.acknowledged_in_faults_median(),
            self.reads_median(),
            self.faults_median(),
            self.situations_reached(),
            Situation::ALL.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(acknowledged: u64, reached: bool) -> Report {
        let mut stats = Stats { acknowledged, time: 60_000_000, ..Stats::default() };
        stats.faults.count("lost-packet");
        let mut situations = [0; Situation::ALL.len()];
        situations[0] = u64::from(reached);
        Report { seed: 1, hash: 0, stats, situations }
    }

    #[test]
    fn runs_add_up() {
        let mut totals = Totals::default();
        for (acknowledged, reached) in [(5, true), (9, false), (7, true)] {
            totals.add(&report(acknowledged, reached));
        }
        assert_eq!((totals.seeds, totals.acknowledged_median(), totals.sums.acknowledged), (3, 7, 21));
        assert_eq!((totals.situations_reached(), totals.situations[0]), (1, 2));
        assert_eq!(totals.rarer_than(3).len(), Situation::ALL.len());
        assert_eq!(totals.faults(), "lost-packet 3");
        assert_eq!(totals.speedup(Duration::from_secs(2)), 90.0);
        assert_eq!(totals.speedup(Duration::ZERO), 0.0);
    }
}
