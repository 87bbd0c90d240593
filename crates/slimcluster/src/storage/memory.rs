//! Storage that ends with the process.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use slimcluster_core::storage::{Fetched, Identity, KnownPeer, LogSummary, Phase, Recovered, Write};
use slimcluster_core::{Durability, Generation, GroupId, HardState, Index, Run};

use super::{OpenOptions, Opened, Storage, StorageError, StorageReader, StorageWriter};

/// Keeps everything in memory (ephemeral): the node is a new one at each start, and what a majority of nodes forgets at the same time
/// is gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

// The same limit as that of the log on disk: until compaction exists the log only grows.
const LOG_BYTES_MAX: usize = 1 << 30;

impl Storage for Memory {
    fn open(&self, options: &OpenOptions) -> Result<Opened, StorageError> {
        let log = Arc::new(RwLock::new(Log::default()));
        let identity = Identity {
            node: options.node,
            store: options.store,
            cluster_id: options.cluster_id.clone(),
            generation: Generation(1),
            phase: Phase::Fresh,
            abandoned: Vec::new(),
        };
        let recovered = Recovered {
            identity,
            hard_state: HardState::default(),
            log: LogSummary::default(),
            tail: Vec::new(),
            peers: Vec::new(),
        };
        Ok(Opened { recovered, writer: Box::new(Writer(Arc::clone(&log))), reader: Arc::new(Reader(log)) })
    }

    fn durability(&self) -> Durability {
        Durability::Ephemeral
    }

    fn describe(&self) -> String {
        "memory: nothing survives the end of the process".to_owned()
    }
}

/// The runs by their first index.
// Invariant: the runs are contiguous, do not overlap, begin behind the base of `summary` and end with it.
#[derive(Default)]
struct Log {
    runs: BTreeMap<Index, Run>,
    bytes: usize,
    summary: LogSummary,
    /// The first failure: nothing is taken or given out any more (rule 2).
    failed: Option<String>,
}

impl Log {
    /// Executes one write; says what is wrong with it if no correct caller asks for it.
    fn execute(&mut self, write: &Write) -> Result<(), String> {
        if write.group != GroupId::DEFAULT {
            return Err(format!("a write of group {}", write.group));
        }
        if let Some(identity) = &write.identity {
            let founding = identity.phase.founding_log(GroupId::DEFAULT);
            if (founding.base(), founding.base_chain()) != (self.summary.base(), self.summary.base_chain()) {
                if !self.runs.is_empty() {
                    return Err("a new beginning for a log that is not empty".to_owned());
                }
                self.summary = founding;
            }
        }
        for run in &write.runs {
            self.summary.splice(run).map_err(|error| error.to_string())?;
            self.splice(run.clone());
        }
        Ok(())
    }

    fn check(&self) -> Result<(), StorageError> {
        let refuse =
            |reason: &String| Err(StorageError::Failed(format!("the storage in memory has stopped: {reason}")));
        self.failed.as_ref().map_or(Ok(()), refuse)
    }

    /// Cuts off what stands at `run.first()` and behind, then adds the run.
    fn splice(&mut self, run: Run) {
        let first = run.first();
        for (_, cut) in self.runs.split_off(&first) {
            self.bytes -= cut.encoded_len();
        }
        let head = self.runs.last_entry().filter(|last| last.get().last() >= first).map(|last| last.remove());
        if let Some(before) = head {
            self.bytes -= before.encoded_len();
            if let Some(kept) = before.slice(before.first(), first.prev()) {
                self.insert(kept);
            }
        }
        self.insert(run);
    }

    fn insert(&mut self, run: Run) {
        self.bytes += run.encoded_len();
        self.runs.insert(run.first(), run);
    }

    /// As [`StorageReader::fetch`]; nothing if `first` is not in the log.
    fn read(&self, first: Index, last: Index, bytes_max: usize) -> Vec<Run> {
        let mut runs = Vec::new();
        let Some((&start, _)) = self.runs.range(..=first).next_back() else { return runs };
        if first > last || first > self.summary.last().index {
            return runs;
        }
        let mut left = bytes_max;
        for run in self.runs.range(start..=last).map(|(_, run)| run) {
            let Some(run) = run.slice(run.first().max(first), run.last().min(last)) else { continue };
            let bytes = run.encoded_len();
            if bytes > left {
                if runs.is_empty() {
                    runs.push(run.head_within(left));
                }
                break;
            }
            left -= bytes;
            runs.push(run);
        }
        runs
    }
}

struct Writer(Arc<RwLock<Log>>);

impl StorageWriter for Writer {
    fn write(&mut self, batch: &[Write]) -> Result<(), StorageError> {
        let mut log = self.0.write().unwrap_or_else(PoisonError::into_inner);
        log.check()?;
        for write in batch {
            if let Err(reason) = log.execute(write) {
                log.failed = Some(reason);
                return log.check();
            }
        }
        Ok(())
    }

    fn full(&self) -> Option<String> {
        let log = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (log.bytes >= LOG_BYTES_MAX)
            .then(|| format!("the log in memory has reached its limit of {LOG_BYTES_MAX} bytes"))
    }

    fn remember_peers(&mut self, _: &[KnownPeer]) -> Result<(), StorageError> {
        Ok(())
    }
}

struct Reader(Arc<RwLock<Log>>);

impl StorageReader for Reader {
    fn fetch(&self, group: GroupId, first: Index, last: Index, bytes_max: usize) -> Result<Fetched, StorageError> {
        let log = self.0.read().unwrap_or_else(PoisonError::into_inner);
        log.check()?;
        let runs = if group == GroupId::DEFAULT { log.read(first, last, bytes_max) } else { Vec::new() };
        Ok(Fetched { group, first, runs })
    }
}
