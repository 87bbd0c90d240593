//! Opening a store: making a new one, or finding again what an earlier process left.
//!
//! Whatever is recovered may sit in the page cache only, never synced by the process that wrote it. So recovery ends with a sync
//! of every file that it keeps and of the directory, before anyone may speak of what it found (rule 1).

use std::sync::Arc;

use bytes::BytesMut;
use slimcluster_core::situations::{Situation, sometimes};
use slimcluster_core::storage::{Identity, LogSummary, Phase, Recovered};
use slimcluster_core::{Generation, GroupId, HardState};

use crate::device::Directory;
use crate::error::WalError;
use crate::hard_state::{self, HardStateFile};
use crate::identity::{self, IdentityFile};
use crate::inspect::Seen;
use crate::mutants::mutant;
use crate::options::{FreshIds, Options};
use crate::reader::{Live, Shared};
use crate::record::{Link, RecordKind, RecordWriter};
use crate::replay::Replay;
use crate::scan::{self, End, SegmentFile};
use crate::segment::{self, Checkpoint};
use crate::wal::{Current, Next, Parts, Wal};
use crate::{Disk, peers};

/// The least that makes sense: a head, a checkpoint and some records.
const SEGMENT_BYTES_MIN: u64 = 4096;

/// See [`Wal::open`].
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    options: Options,
    cluster_id: &str,
    fresh: FreshIds,
) -> Result<(Wal, Recovered), WalError> {
    if options.segment_bytes < SEGMENT_BYTES_MIN {
        let bytes = options.segment_bytes;
        return Err(WalError::Invariant(format!("segments of {bytes} bytes, the least is {SEGMENT_BYTES_MIN}")));
    }
    let directory = Directory::new(disk, options.planted());
    directory.lock()?;
    let names = directory.list()?;
    if !names.iter().any(|name| name == identity::NAME) {
        create(&directory, &options, cluster_id, fresh, &names)?;
    }
    let found = find(&directory, &directory.list()?, options.tail_bytes_max, &mut |_| {})?;
    let expected = cluster_id.to_owned();
    if found.identity.identity.cluster_id != expected {
        let found = found.identity.identity.cluster_id;
        return Err(WalError::OtherCluster { directory: directory.path(), found, expected });
    }
    keep(directory, options, found)
}

/// What a directory holds, verified, before anything is changed.
pub(crate) struct Contents {
    pub identity: IdentityFile,
    pub hard_state: HardStateFile,
    pub segments: Vec<SegmentFile>,
    pub replay: Replay,
    pub end: End,
}

/// Reads and verifies the whole store, changing nothing. `visit` sees what is sound, as it is read.
pub(crate) fn find(
    directory: &Directory,
    names: &[String],
    tail_bytes_max: usize,
    visit: &mut dyn FnMut(Seen<'_>),
) -> Result<Contents, WalError> {
    if !names.iter().any(|name| name == identity::NAME) {
        return Err(directory.damaged(identity::NAME, 0, "the file is missing"));
    }
    let identity = IdentityFile::read(directory)?;
    visit(Seen::Identity(&identity.identity));
    let store = identity.identity.store;
    if !names.iter().any(|name| name == hard_state::NAME) {
        return Err(directory.damaged(hard_state::NAME, 0, "the file of term and vote is missing"));
    }
    let hard_state = HardStateFile::open(directory, store)?;
    visit(Seen::HardState { state: hard_state.state(), number: hard_state.number() });
    let segments = scan::segments(directory, names)?;
    let mut replay = Replay::new(identity.identity.phase.founding_log(GroupId::DEFAULT), tail_bytes_max);
    let end = scan::log(directory, store, &segments, &mut |record| {
        replay.record(&record)?;
        let header = &record.header;
        visit(Seen::Record {
            segment: record.segment,
            offset: header.offset,
            bytes: header.end() - header.offset,
            batch: header.batch,
            ends_batch: header.is_last(),
            kind: record.kind,
            run: replay.tail.last().filter(|_| record.kind == RecordKind::Splice),
        });
        Ok(())
    })?;
    // Each file says how far the others had come when it was last written: one that is behind has lost something.
    let ignored = mutant!(directory.planted, SyncedBatchIgnored);
    let log_batch = if ignored { 0 } else { hard_state.log_batch().max(identity.log_batch) };
    if end.link.complete_batch() < log_batch {
        let name = segments.get(end.at).map_or("", |segment| segment.file.name());
        let what = format!("the log ends with batch {}, but batch {log_batch} was synced", end.link.complete_batch());
        return Err(directory.damaged(name, end.offset, what));
    }
    let number = replay.hard_state_number.max(identity.hard_state_number);
    if hard_state.number() < number {
        let what = format!("the newest term and vote are write {}, but write {number} was synced", hard_state.number());
        return Err(hard_state.file().damaged(0, what));
    }
    Ok(Contents { identity, hard_state, segments, replay, end })
}

/// Cuts a torn tail, makes what was found durable, and starts a new generation.
fn keep(directory: Directory, options: Options, found: Contents) -> Result<(Wal, Recovered), WalError> {
    let Contents { mut identity, hard_state, segments, replay, end } = found;
    let mut kept: Vec<&SegmentFile> = Vec::new();
    let mut live = Live { index: replay.index, files: Default::default() };
    let (mut current, mut next, mut closed_bytes) = (None, None, 0);
    for (at, segment) in segments.iter().enumerate() {
        let file = &segment.file;
        let from = if at == end.at { end.offset } else { 0 };
        if end.torn.contains(&at) && !mutant!(directory.planted, TornTailKept) {
            sometimes(Situation::TornTailCut);
            if at > end.at {
                sometimes(Situation::TornSegmentBoundary);
            }
            file.write_zeros(from, segment.length)?;
            file.sync()?;
        }
        if at < end.at {
            closed_bytes += segment.length;
        } else if at == end.at {
            let (number, length) = (segment.number, segment.length);
            current = Some(Current { number, file: file.clone(), length, used: end.offset });
        } else if current.as_ref().is_some_and(|current| current.number + 1 == segment.number) {
            next = Some(Next { number: segment.number, file: file.clone(), zeroed: segment.length });
        } else {
            directory.remove(file.name())?;
            continue;
        }
        live.files.insert(segment.number, file.clone());
        kept.push(segment);
    }
    let Some(current) = current else {
        return Err(WalError::Invariant("the log ends in no segment".to_owned()));
    };
    if !mutant!(directory.planted, RecoverySyncSkipped) {
        hard_state.file().sync()?;
        for segment in kept {
            segment.file.sync()?;
        }
        directory.sync()?;
    }

    identity.identity.generation = identity.identity.generation.next();
    let recovered = Recovered {
        identity: identity.identity.clone(),
        hard_state: hard_state.state(),
        log: replay.log.clone(),
        tail: replay.tail.into_runs(),
        peers: peers::read(&directory),
    };
    let shared = Shared { live: live.into(), poisoned: Default::default() };
    let mut wal = Wal::assemble(Parts {
        directory,
        options,
        identity: identity.identity,
        hard_state,
        log: replay.log,
        link: end.link,
        current,
        next,
        closed_bytes,
        shared: Arc::new(shared),
        needs_idle_record: !replay.ends_empty,
    });
    wal.close_torn_batch()?;
    wal.write_identity()?;
    Ok((wal, recovered))
}

/// Makes a new store. The identity comes last: as soon as it is there, everything else is.
fn create(
    directory: &Directory,
    options: &Options,
    cluster_id: &str,
    fresh: FreshIds,
    names: &[String],
) -> Result<(), WalError> {
    remove_unfinished(directory, names)?;
    let hard_state = HardStateFile::create(directory, fresh.store)?;

    let (number, length) = (1, segment::length(1, options.segment_bytes));
    let first = directory.create(&segment::name(number))?;
    first.write_zeros(0, length)?;
    let header = segment::Header { store: fresh.store, use_number: number, number, length };
    let mut buffer = BytesMut::new();
    header.encode(&mut buffer);
    let checkpoint = Checkpoint::new(HardState::default(), &LogSummary::default());
    let mut writer = RecordWriter::new(buffer, 0, fresh.store, number, Link::START, hard_state.number());
    writer.push(RecordKind::Checkpoint, true, |body| checkpoint.encode(body))?;
    first.write_all(&writer.buffer, 0)?;
    first.sync()?;
    directory.sync()?;

    let identity = Identity {
        node: fresh.node,
        store: fresh.store,
        cluster_id: cluster_id.to_owned(),
        generation: Generation(0),
        phase: Phase::Fresh,
        abandoned: Vec::new(),
    };
    IdentityFile { identity, log_batch: 1, hard_state_number: 1 }.replace(directory)
}

/// Removes what a crash left of an earlier attempt to make the store. Files that hold anything more belonged to a store whose
/// identity was lost since, and must not be touched.
fn remove_unfinished(directory: &Directory, names: &[String]) -> Result<(), WalError> {
    let lost = |name: &str| {
        directory.damaged(identity::NAME, 0, format!("the identity is missing, but {name} holds data of a store"))
    };
    for segment in scan::segments(directory, names)? {
        let mut is_data = |header: &crate::record::Header| {
            header.batch > 1 || header.kind != RecordKind::Checkpoint as u8 || segment.number != 1
        };
        if scan::search(&segment, 0, &mut is_data)?.found.is_some() {
            return Err(lost(segment.file.name()));
        }
    }
    let has_hard_state = names.iter().any(|name| name == hard_state::NAME);
    if has_hard_state && !HardStateFile::is_untouched(directory)? {
        return Err(lost(hard_state::NAME));
    }
    let unfinished = names.iter().filter(|name| segment::number(name).is_some() || *name == hard_state::NAME);
    for name in unfinished {
        directory.remove(name)?;
    }
    directory.sync()
}
