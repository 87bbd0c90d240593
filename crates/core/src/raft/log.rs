//! The log as the core sees it: what must be known of every entry (terms, configurations), and the newest runs themselves.
//!
//! Terms and configurations of the whole log stay in memory, so that a vote, a check of `prev` or a commit never waits for
//! storage. Runs are kept as far as the cache's bound allows; older ones are fetched.

use std::collections::VecDeque;

use super::configuration::Configuration;
use super::io::Fatal;
use crate::storage::LogSummary;
use crate::{Index, LogId, LogTime, Run, Term};

/// The log of one group.
// Invariant: the cache is contiguous and ends where the summary ends.
#[derive(Debug)]
pub(super) struct Log {
    summary: LogSummary,
    baseline: Configuration,
    cache: VecDeque<Run>,
    cache_bytes: usize,
    cache_bytes_max: usize,
    truncations: u64,
}

/// Where runs can be had.
pub(super) enum Lookup {
    /// Here they are: contiguous from the index asked for, at least one entry.
    Cached(Vec<Run>),
    /// In storage, and not beyond this index.
    Stored(Index),
}

impl Log {
    /// From what storage recovered; the tail must end where the summary ends.
    pub(super) fn new(
        summary: LogSummary,
        baseline: Configuration,
        tail: Vec<Run>,
        cache_bytes_max: usize,
    ) -> Result<Self, Fatal> {
        let mut chain = tail.first().map_or(summary.chain(), |run| run.header().chain);
        let mut end = tail.first().map_or(summary.last().index, |run| run.first().prev());
        for run in &tail {
            let known = run.first() > summary.base().index && summary.term_at(run.first()) == Some(run.term());
            if !known || run.first() != end.next() || run.header().chain != chain {
                return Err(Fatal::new(format!("storage recovered {run:?}, which does not fit its log")));
            }
            (end, chain) = (run.last(), run.chain_end());
        }
        if end != summary.last().index || chain != summary.chain() {
            return Err(Fatal::new(format!(
                "storage recovered a tail up to {end}, its log ends at {}",
                summary.last()
            )));
        }
        let cache_bytes = tail.iter().map(Run::encoded_len).sum();
        Ok(Log { summary, baseline, cache: tail.into(), cache_bytes, cache_bytes_max, truncations: 0 })
    }

    /// The log starts after this entry; everything up to it is committed.
    pub(super) fn base(&self) -> LogId {
        self.summary.base()
    }

    /// The last entry; the base when there is none.
    pub(super) fn last(&self) -> LogId {
        self.summary.last()
    }

    /// Hash of everything up to and including the last entry.
    pub(super) fn chain(&self) -> u64 {
        self.summary.chain()
    }

    /// Log time of the last entry.
    pub(super) fn log_time(&self) -> LogTime {
        self.summary.log_time()
    }

    /// How often entries were cut off: tells whether what was asked of storage may have changed since.
    pub(super) fn truncations(&self) -> u64 {
        self.truncations
    }

    /// The term of the entry at `index`; none below the base and beyond the end.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        self.summary.term_at(index)
    }

    /// The id of the entry at `index`; `LogId::ZERO`, which proves nothing, below the base.
    pub(super) fn id_at(&self, index: Index) -> LogId {
        self.term_at(index).map_or(LogId::ZERO, |term| LogId::new(term, index))
    }

    /// The last entry at or before `index` whose term is at most `term`; the base if there is none. Both sides of a conflict
    /// skip with it whatever the other cannot hold (paper 5.3).
    pub(super) fn last_not_above(&self, term: Term, index: Index) -> LogId {
        let index = index.min(self.last().index);
        if let Some(at) = self.term_at(index).filter(|at| *at <= term) {
            return LogId::new(at, index);
        }
        let starts = self.summary.terms();
        let next = starts.partition_point(|start| start.term <= term);
        match (next.checked_sub(1).and_then(|at| starts.get(at)), starts.get(next)) {
            (Some(start), Some(after)) if start.first <= index => LogId::new(start.term, after.first.prev().min(index)),
            _ => self.base(),
        }
    }

    /// The last entry of `run` up to which all of it stands in this log already: same index and term is same entry.
    pub(super) fn last_matching(&self, run: &Run) -> Option<Index> {
        if self.term_at(run.first()) != Some(run.term()) {
            return None;
        }
        let starts = self.summary.terms();
        let next = starts.partition_point(|start| start.term <= run.term());
        let end = starts.get(next).map_or(self.last().index, |after| after.first.prev());
        Some(end.min(run.last()))
    }

    /// Hash of everything up to and including `index`, if that can be told without storage.
    pub(super) fn chain_at(&self, index: Index) -> Option<u64> {
        if index == self.last().index {
            return Some(self.chain());
        }
        if index == self.base().index {
            return Some(self.summary.base_chain());
        }
        let at = self.cache.partition_point(|run| run.last() < index);
        self.cache.get(at).and_then(|run| run.chain_at(index))
    }

    /// The configuration in force: the last in the log, committed or not (thesis 4.1).
    pub(super) fn configuration(&self) -> &Configuration {
        self.summary.configurations().last().map_or(&self.baseline, |(_, configuration)| configuration)
    }

    /// The configuration that was in force at `index`.
    pub(super) fn configuration_at(&self, index: Index) -> &Configuration {
        let newest = self.summary.configurations().iter().rev().find(|(at, _)| *at <= index);
        newest.map_or(&self.baseline, |(_, configuration)| configuration)
    }

    /// The entries from `first` to `last`, as many as fit `bytes_max`, at least one.
    pub(super) fn read(&self, first: Index, last: Index, bytes_max: usize) -> Lookup {
        let cached_from = self.cache.front().map_or(self.last().index.next(), Run::first);
        if first < cached_from {
            return Lookup::Stored(last.min(cached_from.prev()));
        }
        let at = self.cache.partition_point(|run| run.last() < first);
        let wanted = self.cache.iter().skip(at).map_while(|run| run.slice(first, last));
        Lookup::Cached(within(wanted, bytes_max))
    }

    /// Whether `run`, read back from storage, is what stands in this log.
    pub(super) fn holds(&self, run: &Run) -> bool {
        run.first() > self.base().index && self.last_matching(run) == Some(run.last())
    }

    /// Adds `run` at its place and forgets whatever stood there and behind. The caller has made sure that nothing committed
    /// goes and tells the watermark.
    pub(super) fn splice(&mut self, run: Run) -> Result<(), Fatal> {
        let first = run.first();
        if self.chain_at(first.prev()).is_some_and(|chain| chain != run.header().chain) {
            return Err(Fatal::new(format!("{run:?} does not continue the chain of the log before it")));
        }
        let is_truncation = first <= self.last().index;
        self.summary.splice(&run).map_err(|error| Fatal::new(format!("cannot splice {run:?}: {error}")))?;
        if is_truncation {
            self.truncations += 1;
            while let Some(cached) = self.cache.back().filter(|cached| cached.last() >= first).cloned() {
                self.cache.pop_back();
                self.cache_bytes -= cached.encoded_len();
                if let Some(kept) = cached.slice(cached.first(), first.prev()) {
                    self.cache_bytes += kept.encoded_len();
                    self.cache.push_back(kept);
                }
            }
        }
        self.cache_bytes += run.encoded_len();
        self.cache.push_back(run);
        Ok(())
    }

    /// Drops the oldest runs beyond the bound, as far as storage can give them back.
    pub(super) fn evict(&mut self, durable: Index) {
        while self.cache_bytes > self.cache_bytes_max
            && let Some(oldest) = self.cache.front()
            && oldest.last() <= durable
        {
            self.cache_bytes -= oldest.encoded_len();
            self.cache.pop_front();
        }
    }

    /// What the struct's invariant says, at the cache's ends.
    pub(super) fn check(&self) -> Result<(), Fatal> {
        let newest: Vec<&Run> = self.cache.iter().rev().take(2).collect();
        let ends_well =
            newest.first().is_none_or(|run| run.last_id() == self.last() && run.chain_end() == self.chain());
        let is_contiguous = newest.windows(2).all(|pair| pair[1].last().next() == pair[0].first());
        if ends_well && is_contiguous {
            return Ok(());
        }
        Err(Fatal::new(format!("the cached runs {newest:?} do not end where the log ends, at {}", self.last())))
    }
}

/// As many of the entries as fit `bytes_max`, at least one.
pub(super) fn within(wanted: impl IntoIterator<Item = Run>, bytes_max: usize) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut room = bytes_max;
    for run in wanted {
        let fitting = run.head_within(room);
        let bytes = fitting.encoded_len();
        if bytes > room && !runs.is_empty() {
            break;
        }
        let is_cut = fitting.last() < run.last();
        room = room.saturating_sub(bytes);
        runs.push(fitting);
        if is_cut {
            break;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Block, GroupId, MachineId, RunHeader, RunKind, SessionId, WallTime};

    fn run(log: &Log, term: u64, first: u64, count: u32) -> Run {
        let header = RunHeader {
            group: GroupId::DEFAULT,
            kind: RunKind::Command,
            codec: 1,
            command_version: 1,
            term: Term(term),
            first: Index(first),
            machine: MachineId(1),
            log_time: LogTime(0),
            wall_time: WallTime(0),
            chain: log.chain_at(Index(first - 1)).unwrap_or(0),
        };
        let block = Block { session: SessionId(1), first_number: first, count, acked_below: 0 };
        let commands: Vec<Bytes> = (0..count).map(|_| Bytes::from_static(b"0123456789")).collect();
        Run::commands(header, vec![block], commands.iter().map(|c| c.as_ref())).unwrap()
    }

    /// Runs of (term, count), one after the other.
    fn filled(runs: &[(u64, u32)]) -> Log {
        let mut log = Log::new(LogSummary::default(), Configuration::default(), Vec::new(), 1 << 20).unwrap();
        for &(term, count) in runs {
            let next = run(&log, term, log.last().index.0 + 1, count);
            log.splice(next).unwrap();
        }
        log
    }

    fn cached(lookup: Lookup) -> Vec<(u64, u64)> {
        match lookup {
            Lookup::Cached(runs) => runs.iter().map(|run| (run.first().0, run.last().0)).collect(),
            Lookup::Stored(last) => panic!("stored up to {last}"),
        }
    }

    #[test]
    fn hints_skip_the_terms_that_the_other_side_cannot_hold() {
        // 1..=3 in term 1, 4..=5 in term 4, 6..=9 in term 6.
        let log = filled(&[(1, 3), (4, 2), (6, 4)]);
        let cases = [
            ((9, 9), (6, 9)),
            ((6, 9), (6, 9)),
            ((6, 7), (6, 7)),
            ((5, 9), (4, 5)),
            ((4, 4), (4, 4)),
            ((3, 9), (1, 3)),
            ((1, 2), (1, 2)),
            ((0, 9), (0, 0)),
            ((9, 99), (6, 9)),
        ];
        for ((term, index), (at, expected)) in cases {
            let found = log.last_not_above(Term(term), Index(index));
            assert_eq!(found, LogId::new(Term(at), Index(expected)), "term {term} index {index}");
        }
    }

    #[test]
    fn reading_is_bounded_by_bytes_but_gives_one_entry() {
        let log = filled(&[(1, 3), (2, 3)]);
        assert_eq!(cached(log.read(Index(1), Index(6), 1 << 20)), [(1, 3), (4, 6)]);
        assert_eq!(cached(log.read(Index(2), Index(5), 1 << 20)), [(2, 3), (4, 5)]);
        assert_eq!(cached(log.read(Index(2), Index(6), 1)), [(2, 2)]);
        let one_run = log.cache[0].encoded_len();
        assert_eq!(cached(log.read(Index(1), Index(6), one_run + 1)), [(1, 3)]);
    }

    #[test]
    fn only_durable_runs_are_evicted_and_the_rest_is_still_read() {
        let mut log = filled(&[(1, 3), (1, 3), (2, 3)]);
        log.cache_bytes_max = 1;
        log.evict(Index(4));
        assert!(matches!(log.read(Index(3), Index(9), 1 << 20), Lookup::Stored(Index(3))));
        assert_eq!(cached(log.read(Index(4), Index(9), 1 << 20)), [(4, 6), (7, 9)]);
        log.evict(Index(9));
        assert!(matches!(log.read(Index(9), Index(9), 1 << 20), Lookup::Stored(Index(9))));
        // The chain goes on where nothing is cached, and the cache starts afresh.
        let next = run(&log, 2, 10, 2);
        log.splice(next).unwrap();
        assert_eq!(cached(log.read(Index(10), Index(11), 1 << 20)), [(10, 11)]);
        log.check().unwrap();
    }

    #[test]
    fn a_splice_cuts_runs_in_the_middle() {
        let mut log = filled(&[(1, 3), (2, 4)]);
        let replacement = run(&log, 3, 5, 1);
        log.splice(replacement).unwrap();
        assert_eq!(log.last(), LogId::new(Term(3), Index(5)));
        assert_eq!(log.truncations(), 1);
        assert_eq!(cached(log.read(Index(1), Index(5), 1 << 20)), [(1, 3), (4, 4), (5, 5)]);
        log.check().unwrap();
        let bytes: usize = log.cache.iter().map(Run::encoded_len).sum();
        assert_eq!(log.cache_bytes, bytes);
    }

    #[test]
    fn what_stands_in_the_log_is_recognised_by_its_terms() {
        let log = filled(&[(1, 3), (2, 4)]);
        let mut other = filled(&[(1, 2)]);
        let longer = run(&other, 1, 3, 4);
        assert_eq!(log.last_matching(&longer), Some(Index(3)));
        assert!(!log.holds(&longer));
        other.splice(longer).unwrap();
        let foreign = run(&other, 9, 5, 1);
        assert_eq!(log.last_matching(&foreign), None);
        let Lookup::Cached(own) = log.read(Index(4), Index(6), 1 << 20) else { panic!() };
        assert!(own.iter().all(|run| log.holds(run)));
    }

    #[test]
    fn a_run_with_another_history_is_refused() {
        let mut log = filled(&[(1, 3)]);
        let next = run(&log, 2, 4, 1);
        let forked = Run::single(RunHeader { chain: next.header().chain ^ 1, ..*next.header() }, Bytes::new());
        assert!(log.splice(forked).is_err());
        assert!(log.splice(next).is_ok());
    }
}
