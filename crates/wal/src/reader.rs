//! Reading runs back.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use slimcluster_core::storage::Fetched;
use slimcluster_core::types::StoreId;
use slimcluster_core::{GroupId, Index, Run};

use crate::WalError;
use crate::device::{StoreFile, Window};
use crate::index::{RunIndex, Stretch};
use crate::mutants::mutant;
use crate::record::{self, RecordKind};

/// Read ahead of a fetch: a stretch, so that most fetches are one system call.
const REACH: usize = 64 << 10;

/// What the writer and the readers share. The lock is held for look-ups only, never while the disk works.
#[derive(Default)]
pub(crate) struct Shared {
    pub live: RwLock<Live>,
    /// Set once, when the store is poisoned.
    pub poisoned: OnceLock<String>,
}

/// What can be read.
#[derive(Default)]
pub(crate) struct Live {
    pub index: RunIndex,
    pub files: BTreeMap<u64, StoreFile>,
}

/// Reads durable runs back. Cheap to clone, usable from any thread; never waits for a sync of the writer.
#[derive(Clone)]
pub struct WalReader {
    store: StoreId,
    shared: Arc<Shared>,
}

impl WalReader {
    pub(crate) fn new(store: StoreId, shared: Arc<Shared>) -> Self {
        WalReader { store, shared }
    }

    /// The runs from `first` to `last`, as many as fit `bytes_max`, but at least one entry. No runs when `first` is not in the log.
    ///
    /// Each record is verified again; a bad one is [`WalError::Damaged`] and loses nothing that was not lost before.
    pub fn fetch(&self, group: GroupId, first: Index, last: Index, bytes_max: usize) -> Result<Fetched, WalError> {
        if let Some(reason) = self.shared.poisoned.get() {
            return Err(WalError::Poisoned { reason: reason.clone() });
        }
        let mut fetched = Fetched { group, first, runs: Vec::new() };
        if group != GroupId::DEFAULT || first > last {
            return Ok(fetched);
        }
        let mut gathering = Gathering { next: first, last, bytes_left: bytes_max, runs: Vec::new() };
        for (stretch, file) in self.covering(first, last, bytes_max as u64) {
            if !self.read_stretch(&stretch, &file, &mut gathering)? {
                break;
            }
        }
        fetched.runs = gathering.runs;
        Ok(fetched)
    }

    /// The stretches and their files, copied out so that the lock is free while they are read.
    fn covering(&self, first: Index, last: Index, bytes_max: u64) -> Vec<(Stretch, StoreFile)> {
        let live = self.shared.live.read().unwrap_or_else(PoisonError::into_inner);
        let stretches = live.index.covering(first, last, bytes_max);
        stretches.iter().filter_map(|stretch| Some((*stretch, live.files.get(&stretch.segment)?.clone()))).collect()
    }

    /// Takes what is wanted from one stretch; false when nothing more is.
    ///
    /// The writer may cut the log meanwhile: records are never overwritten, so what is read is what stood there at the look-up.
    fn read_stretch(&self, stretch: &Stretch, file: &StoreFile, gathering: &mut Gathering) -> Result<bool, WalError> {
        let mut window = Window::new(file, stretch.end, REACH);
        let mut offset = stretch.offset;
        while gathering.next <= stretch.last && gathering.next <= gathering.last {
            let read = if mutant!(file.planted, FetchNotVerified) { record::parse } else { record::read };
            let found = read(&mut window, offset)?
                .filter(|(header, _)| header.store == self.store && header.use_number == stretch.segment);
            let Some((header, body)) = found else {
                return Err(file.damaged(offset, "a record of the log no longer verifies"));
            };
            if header.kind == RecordKind::Splice as u8 {
                let run = Run::decode(Bytes::copy_from_slice(body))
                    .map_err(|error| file.damaged(offset, error.to_string()))?;
                if run.first() > gathering.next {
                    return Err(file.damaged(offset, format!("entry {} is missing", gathering.next)));
                }
                let wanted = run.slice(gathering.next, stretch.last.min(gathering.last));
                if let Some(run) = wanted
                    && !gathering.add(run)
                {
                    return Ok(false);
                }
            }
            offset = header.end();
        }
        Ok(gathering.next <= gathering.last)
    }
}

/// Runs on their way to the asker.
struct Gathering {
    next: Index,
    last: Index,
    bytes_left: usize,
    runs: Vec<Run>,
}

impl Gathering {
    /// Adds as much of `run` as fits, and at least one entry in all; false when no more fits.
    fn add(&mut self, run: Run) -> bool {
        let fits = run.encoded_len() <= self.bytes_left;
        let head = if fits { run } else { run.head_within(self.bytes_left) };
        if self.runs.is_empty() || head.encoded_len() <= self.bytes_left {
            self.bytes_left = self.bytes_left.saturating_sub(head.encoded_len());
            self.next = head.last().next();
            self.runs.push(head);
        }
        fits
    }
}
