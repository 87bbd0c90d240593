//! What the log's records add up to.

use std::collections::VecDeque;

use bytes::Bytes;
use slimcluster_core::Run;
use slimcluster_core::storage::LogSummary;
use slimcluster_core::{GroupId, Index};

use crate::error::WalError;
use crate::index::{Location, RunIndex};
use crate::mutants::mutant;
use crate::record::RecordKind;
use crate::scan::Found;
use crate::segment::Checkpoint;

/// State rebuilt from the records in order.
pub(crate) struct Replay {
    pub log: LogSummary,
    pub index: RunIndex,
    pub tail: Tail,
    /// The highest write number of the hard state that a record names.
    pub hard_state_number: u64,
    /// Whether the last record is an empty one.
    pub ends_empty: bool,
}

impl Replay {
    /// Starts from the log that a store of this identity has before its first run.
    pub fn new(log: LogSummary, tail_bytes_max: usize) -> Self {
        let tail = Tail { runs: VecDeque::new(), bytes: 0, bytes_max: tail_bytes_max };
        Replay { log, index: RunIndex::default(), tail, hard_state_number: 0, ends_empty: false }
    }

    /// Adds a record. One that cannot follow what came before it is damage, however well it verifies.
    pub fn record(&mut self, found: &Found<'_>) -> Result<(), WalError> {
        let damaged = |what: String| Err(found.file.damaged(found.header.offset, what));
        self.ends_empty = found.kind == RecordKind::Empty;
        self.hard_state_number = self.hard_state_number.max(found.header.hard_state_number);
        match found.kind {
            RecordKind::Checkpoint => {
                let Some(checkpoint) = Checkpoint::decode(found.body) else {
                    return damaged("the checkpoint cannot be read".to_owned());
                };
                // The base changes with the identity, and only while the log is empty: before the first run there is nothing
                // to compare with.
                let log = &self.log;
                if log.last() != log.base() && (checkpoint.last, checkpoint.chain) != (log.last(), log.chain()) {
                    return damaged(format!("the log stands at {}, the checkpoint at {}", log.last(), checkpoint.last));
                }
            }
            RecordKind::Empty => {
                if !found.body.is_empty() {
                    return damaged("an empty batch that is not empty".to_owned());
                }
            }
            RecordKind::Splice => {
                let run = match Run::decode(Bytes::copy_from_slice(found.body)) {
                    Ok(run) => run,
                    Err(error) => return damaged(error.to_string()),
                };
                if let Err(reason) = splice(&mut self.log, &run) {
                    return damaged(reason);
                }
                self.index.splice(Location {
                    segment: found.segment,
                    offset: found.header.offset,
                    end: found.header.end(),
                    first: run.first(),
                    last: run.last(),
                });
                if mutant!(found.file.planted, SpliceDoesNotCut) {
                    self.tail.runs.push_back(run);
                } else {
                    self.tail.splice(run);
                }
            }
            RecordKind::Relocated => return damaged("a relocated run, which this build does not write".to_owned()),
        }
        Ok(())
    }
}

/// Splices `run` into `log`, if it continues the log's own chain.
pub(crate) fn splice(log: &mut LogSummary, run: &Run) -> Result<(), String> {
    if run.group() != GroupId::DEFAULT {
        return Err(format!("a run of group {}, which this build does not keep", run.group()));
    }
    if run.first() == log.last().index.next() && run.header().chain != log.chain() {
        return Err(format!("{run:?} does not continue the history of the log before it"));
    }
    log.splice(run).map_err(|error| error.to_string())
}

/// The newest runs, bounded in bytes.
// Invariant: contiguous, up to the end of the log.
pub(crate) struct Tail {
    runs: VecDeque<Run>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    fn splice(&mut self, run: Run) {
        while self.runs.back().is_some_and(|last| last.last() >= run.first()) {
            let Some(last) = self.runs.pop_back() else { break };
            self.bytes -= last.encoded_len();
            if let Some(kept) = last.slice(Index(0), run.first().prev()) {
                self.bytes += kept.encoded_len();
                self.runs.push_back(kept);
            }
        }
        self.bytes += run.encoded_len();
        self.runs.push_back(run);
        while self.bytes > self.bytes_max && self.runs.len() > 1 {
            if let Some(oldest) = self.runs.pop_front() {
                self.bytes -= oldest.encoded_len();
            }
        }
    }

    /// The newest run.
    pub fn last(&self) -> Option<&Run> {
        self.runs.back()
    }

    pub fn into_runs(self) -> Vec<Run> {
        self.runs.into()
    }
}
