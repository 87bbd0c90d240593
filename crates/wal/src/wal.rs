//! The writer.

use std::sync::{Arc, PoisonError};

use bytes::BytesMut;
use slimcluster_core::storage::{Identity, KnownPeer, LogSummary, Recovered, Write};
use slimcluster_core::{GroupId, HardState, Run};

use crate::device::{Directory, StoreFile, is_out_of_space};
use crate::hard_state::HardStateFile;
use crate::identity::{self, IdentityFile};
use crate::index::Location;
use crate::mutants::mutant;
use crate::reader::Shared;
use crate::record::{self, Link, RecordKind, RecordWriter};
use crate::segment::{self, Checkpoint};
use crate::{Disk, FreshIds, Options, WalError, WalReader, peers, recovery, replay};

/// A step of preparing the next segment writes at least this much: a millisecond or two of disk time.
const PREPARE_BYTES_MIN: u64 = 1 << 20;
/// The write buffer is kept between batches up to this size; one large batch does not hold its memory for ever.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// Whether the log may grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Space {
    /// It may.
    Free,
    /// It should not: nothing has failed, but new commands must be refused until it says free again.
    Full {
        /// Why, for people.
        why: String,
    },
}

/// The writer of a store. Owned by one thread; every call is synchronous.
pub struct Wal {
    parts: Parts,
    buffer: BytesMut,
    full: Option<String>,
}

/// What recovery hands to the writer.
// Invariant: everything up to `link` is synced; `log` is what the records up to there add up to.
pub(crate) struct Parts {
    pub directory: Directory,
    pub options: Options,
    pub identity: Identity,
    pub hard_state: HardStateFile,
    pub log: LogSummary,
    pub link: Link,
    pub current: Current,
    pub next: Option<Next>,
    /// Bytes of the segments before the current one.
    pub closed_bytes: u64,
    pub shared: Arc<Shared>,
    pub needs_idle_record: bool,
}

/// The segment that is written to.
pub(crate) struct Current {
    pub number: u64,
    pub file: StoreFile,
    pub length: u64,
    pub used: u64,
}

/// The segment that comes after it: so many zeros of it are written and synced.
pub(crate) struct Next {
    pub number: u64,
    pub file: StoreFile,
    pub zeroed: u64,
}

/// Where a batch goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Current,
    Next,
}

/// What a record of a batch holds.
enum Body<'a> {
    Splice(&'a Run),
    Empty,
}

impl Wal {
    /// Opens the store, or makes one where there is none, and raises the generation of its identity by one, durably.
    ///
    /// `fresh` is used only when the directory is new. Fails without changing anything when the directory is in use, belongs
    /// to another cluster id or is damaged.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        cluster_id: &str,
        fresh: FreshIds,
    ) -> Result<(Wal, Recovered), WalError> {
        recovery::open(disk, options, cluster_id, fresh)
    }

    pub(crate) fn assemble(parts: Parts) -> Wal {
        Wal { parts, buffer: BytesMut::new(), full: None }
    }

    /// Makes the batch durable, in order: one sync for all its runs, one more when term or vote change (rule 4), an identity by
    /// its own durable replacement.
    ///
    /// On `Ok` everything is durable. [`WalError::Full`] leaves the store working: nothing of the batch may be taken for durable,
    /// and the same batch may be tried again. Any other error poisons the store: every later call returns [`WalError::Poisoned`].
    pub fn write(&mut self, batch: &[Write]) -> Result<(), WalError> {
        self.check_poison()?;
        let result = self.write_batch(batch);
        self.poison_on_error(result)
    }

    /// Whether the last thing written is not yet followed by a record (rule 3).
    pub fn needs_idle_record(&self) -> bool {
        self.parts.needs_idle_record && self.parts.shared.poisoned.get().is_none()
    }

    /// Writes one empty batch if [`Wal::needs_idle_record`]. Called when nothing was written for 100 ms. Without space it does
    /// nothing.
    ///
    /// Until then the rot of the last batch cannot be told from a write that was torn; the empty batch also names the newest
    /// hard state.
    pub fn idle(&mut self) -> Result<(), WalError> {
        self.check_poison()?;
        if !self.parts.needs_idle_record {
            return Ok(());
        }
        if mutant!(self.parts.directory.planted, IdleRecordSkipped) {
            return Ok(());
        }
        let result = self.append(&[Body::Empty], None);
        match self.poison_on_error(result) {
            Err(error) if error.is_retryable() => Ok(()),
            result => {
                self.parts.needs_idle_record = false;
                result
            }
        }
    }

    /// Goes on preparing the next segment when the current one is half full: a bounded step, so that no commit waits long. Called
    /// after each write was acknowledged, and about once a second while the space is full. A full disk is no error here.
    pub fn prepare_segment(&mut self) -> Result<Space, WalError> {
        self.check_poison()?;
        let current = &self.parts.current;
        let beyond = current.used.saturating_sub(current.length / 2);
        let length = segment::length(current.number + 1, self.parts.options.segment_bytes);
        let done = self.parts.next.as_ref().map_or(0, |next| next.zeroed);
        if (beyond > 0 || self.full.is_some()) && done < length {
            // Twice as fast as the current segment fills, so that it is always ready in time.
            let goal = length.min((2 * beyond).max(done + PREPARE_BYTES_MIN));
            let result = self.extend_next(goal);
            self.poison_on_error(result)?;
        }
        Ok(self.space())
    }

    /// Whether the log may grow, as of the last write or preparation.
    pub fn space(&self) -> Space {
        let bytes = self.parts.closed_bytes + self.parts.current.used;
        let bytes_max = self.parts.options.log_bytes_max;
        if let Some(why) = &self.full {
            Space::Full { why: why.clone() }
        } else if bytes >= bytes_max {
            let path = self.parts.directory.path();
            Space::Full { why: format!("the log in {path} has reached its limit: {bytes} of {bytes_max} bytes") }
        } else {
            Space::Free
        }
    }

    /// A reader of what is durable.
    pub fn reader(&self) -> WalReader {
        WalReader::new(self.parts.identity.store, self.parts.shared.clone())
    }

    /// Replaces the file of known peers. A full disk loses the new list only; any other failure poisons the store.
    pub fn remember_peers(&mut self, peers: &[KnownPeer]) -> Result<(), WalError> {
        self.check_poison()?;
        match peers::replace(&self.parts.directory, peers) {
            // The old list is still there, and nothing else depends on it.
            Err(error) if is_out_of_space(&error) => Ok(()),
            result => self.poison_on_error(result),
        }
    }

    fn write_batch(&mut self, batch: &[Write]) -> Result<(), WalError> {
        let mut hard_state = None;
        let mut bodies = Vec::new();
        for write in batch {
            if write.group != GroupId::DEFAULT {
                return Err(WalError::Invariant(format!("a write of group {}", write.group)));
            }
            if let Some(identity) = &write.identity {
                // In order: what came before is durable before the identity says so.
                self.append(&bodies, hard_state.take())?;
                bodies.clear();
                self.adopt(identity)?;
            }
            hard_state = write.hard_state.or(hard_state);
            bodies.extend(write.runs.iter().map(Body::Splice));
        }
        self.append(&bodies, hard_state)
    }

    /// Replaces the identity. The log of a node that becomes part of a cluster starts after its founding configuration.
    fn adopt(&mut self, identity: &Identity) -> Result<(), WalError> {
        let parts = &self.parts;
        if identity.store != parts.identity.store {
            return Err(WalError::Invariant(format!("an identity of another store, {}", identity.store)));
        }
        let founding = identity.phase.founding_log(GroupId::DEFAULT);
        let begins_anew = founding.base() != parts.log.base() || founding.base_chain() != parts.log.base_chain();
        if begins_anew && parts.log.last() != parts.log.base() {
            return Err(WalError::Invariant("a new beginning for a log that is not empty".to_owned()));
        }
        match self.replace_identity(identity) {
            // The old identity still stands, and nothing depends on the new one yet (rule 6).
            Err(error) if is_out_of_space(&error) => {
                self.parts.directory.remove_replacement(identity::NAME)?;
                return Err(WalError::Full { directory: self.parts.directory.path(), reason: error.to_string() });
            }
            result => result?,
        }
        let parts = &mut self.parts;
        if begins_anew {
            parts.log = founding;
            parts.shared.live.write().unwrap_or_else(PoisonError::into_inner).index.clear();
        }
        parts.identity = identity.clone();
        Ok(())
    }

    /// Writes the identity, with how far the rest of the store has come.
    pub(crate) fn write_identity(&mut self) -> Result<(), WalError> {
        self.replace_identity(&self.parts.identity)
    }

    fn replace_identity(&self, identity: &Identity) -> Result<(), WalError> {
        let parts = &self.parts;
        let file = IdentityFile {
            identity: identity.clone(),
            log_batch: parts.link.complete_batch(),
            hard_state_number: parts.hard_state.number(),
        };
        file.replace(&parts.directory)
    }

    /// Ends a batch of which recovery found only the beginning, so that the next one has a number of its own.
    pub(crate) fn close_torn_batch(&mut self) -> Result<(), WalError> {
        if self.parts.link.complete || mutant!(self.parts.directory.planted, TornBatchNotClosed) {
            return Ok(());
        }
        self.append(&[Body::Empty], None)
    }

    /// Writes the hard state, if it changes, and then one batch of records, each synced before the next step.
    fn append(&mut self, bodies: &[Body<'_>], hard_state: Option<HardState>) -> Result<(), WalError> {
        if mutant!(self.parts.directory.planted, HardStateAfterRecords) && hard_state.is_some() && !bodies.is_empty() {
            self.append(bodies, None)?;
            return self.append(&[], hard_state);
        }
        // First of all the room: when there is none, nothing has happened yet.
        let size = bodies.iter().map(|body| record::size_of_record(body.len())).sum();
        let room = if bodies.is_empty() { Room::Current } else { self.make_room(size)? };
        if let Some(state) = hard_state.filter(|state| *state != self.parts.hard_state.state()) {
            self.parts.hard_state.write(state, self.parts.link.complete_batch())?;
            self.parts.needs_idle_record = true;
        }
        if bodies.is_empty() {
            return Ok(());
        }

        let before = Checkpoint::new(self.parts.hard_state.state(), &self.parts.log);
        for body in bodies {
            if let Body::Splice(run) = body {
                replay::splice(&mut self.parts.log, run).map_err(WalError::Invariant)?;
                self.parts.needs_idle_record = true;
            }
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.reserve(size as usize + segment::HEADER_BYTES + segment::CHECKPOINT_BYTES_MAX as usize);
        let (mut writer, start) = self.batch_writer(room, buffer, &before)?;
        let locations = self.lay_out(&mut writer, bodies)?;

        let current = &mut self.parts.current;
        current.file.write_all(&writer.buffer, start)?;
        current.file.sync()?;
        current.used = start + writer.buffer.len() as u64;
        self.parts.link = Link { crc: writer.last_crc(), batch: self.parts.link.next_batch(), complete: true };
        if writer.buffer.capacity() <= BUFFER_BYTES_MAX {
            self.buffer = writer.buffer;
        }
        let mut live = self.parts.shared.live.write().unwrap_or_else(PoisonError::into_inner);
        for location in locations {
            live.index.splice(location);
        }
        Ok(())
    }

    /// A writer at the place where the batch goes, and that place. Moves on to the next segment if need be.
    fn batch_writer(
        &mut self,
        room: Room,
        mut buffer: BytesMut,
        before: &Checkpoint,
    ) -> Result<(RecordWriter, u64), WalError> {
        let parts = &mut self.parts;
        let (store, link, hard_state_number) = (parts.identity.store, parts.link, parts.hard_state.number());
        if room == Room::Current {
            let (start, number) = (parts.current.used, parts.current.number);
            return Ok((RecordWriter::new(buffer, start, store, number, link, hard_state_number), start));
        }
        let Some(Next { number, file, zeroed: length }) = parts.next.take() else {
            return Err(WalError::Invariant("the next segment was not prepared".to_owned()));
        };
        parts.closed_bytes += parts.current.length;
        parts.current = Current { number, file, length, used: 0 };
        segment::Header { store, use_number: number, number, length }.encode(&mut buffer);
        let mut writer = RecordWriter::new(buffer, 0, store, number, link, hard_state_number);
        writer.push(RecordKind::Checkpoint, false, |body| before.encode(body))?;
        Ok((writer, 0))
    }

    /// Lays out the batch's records; returns where the runs among them go.
    fn lay_out(&self, writer: &mut RecordWriter, bodies: &[Body<'_>]) -> Result<Vec<Location>, WalError> {
        let segment = self.parts.current.number;
        let mut locations = Vec::with_capacity(bodies.len());
        for (at, body) in bodies.iter().enumerate() {
            let last = at + 1 == bodies.len();
            match body {
                Body::Splice(run) => {
                    let offset = writer.push(RecordKind::Splice, last, |body| run.encode(body))?;
                    let end = offset + record::size_of_record(run.encoded_len());
                    locations.push(Location { segment, offset, end, first: run.first(), last: run.last() });
                }
                Body::Empty => {
                    writer.push(RecordKind::Empty, last, |_| {})?;
                }
            }
        }
        Ok(locations)
    }

    /// Finds room for records of `size` bytes. [`WalError::Full`] when the next segment is needed and cannot be made.
    fn make_room(&mut self, size: u64) -> Result<Room, WalError> {
        let current = &self.parts.current;
        if size <= current.length.saturating_sub(current.used) {
            return Ok(Room::Current);
        }
        // A batch never spans segments: one that is larger than a segment gets one of its own size.
        let least = segment::HEADER_BYTES as u64 + segment::CHECKPOINT_BYTES_MAX + size;
        let usual = segment::length(current.number + 1, self.parts.options.segment_bytes);
        self.extend_next(usual.max(least.next_multiple_of(4096)))?;
        match &self.full {
            None => Ok(Room::Next),
            Some(reason) => Err(WalError::Full { directory: self.parts.directory.path(), reason: reason.clone() }),
        }
    }

    /// Claims the next segment up to `goal` bytes: zeros, written and synced. When the disk is full what was claimed is given back
    /// and `full` says why.
    fn extend_next(&mut self, goal: u64) -> Result<(), WalError> {
        let result = self.claim_next(goal);
        match result {
            Err(error) if is_out_of_space(&error) => {
                self.full = Some(error.to_string());
                let name = segment::name(self.parts.current.number + 1);
                self.parts.next = None;
                self.parts
                    .shared
                    .live
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .files
                    .remove(&(self.parts.current.number + 1));
                if self.parts.directory.list()?.contains(&name) {
                    self.parts.directory.remove(&name)?;
                }
                Ok(())
            }
            Ok(is_complete) => {
                if is_complete {
                    self.full = None;
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn claim_next(&mut self, goal: u64) -> Result<bool, WalError> {
        let parts = &mut self.parts;
        let number = parts.current.number + 1;
        let (file, zeroed, is_new) = match &parts.next {
            Some(next) => (next.file.clone(), next.zeroed, false),
            None => (parts.directory.create(&segment::name(number))?, 0, true),
        };
        if zeroed < goal {
            file.write_zeros(zeroed, goal)?;
            file.sync()?;
        }
        if is_new {
            if !mutant!(parts.directory.planted, SegmentNameNotSynced) {
                parts.directory.sync()?;
            }
            parts.shared.live.write().unwrap_or_else(PoisonError::into_inner).files.insert(number, file.clone());
        }
        parts.next = Some(Next { number, file, zeroed: zeroed.max(goal) });
        Ok(goal >= segment::length(number, parts.options.segment_bytes))
    }

    fn check_poison(&self) -> Result<(), WalError> {
        match self.parts.shared.poisoned.get() {
            Some(reason) => Err(WalError::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn poison_on_error<T>(&mut self, result: Result<T, WalError>) -> Result<T, WalError> {
        if let Err(error) = &result
            && !error.is_retryable()
        {
            // Only the first reason counts.
            let _ = self.parts.shared.poisoned.set(error.to_string());
        }
        result
    }
}

impl Body<'_> {
    /// Bytes of the record's body.
    fn len(&self) -> usize {
        match self {
            Body::Splice(run) => run.encoded_len(),
            Body::Empty => 0,
        }
    }
}
