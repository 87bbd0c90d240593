//! Opening a data directory from bytes, and from a sound one that was damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use slimcluster_core::storage::{KnownPeer, LogSummary, Recovered, Write};
use slimcluster_core::types::StoreId;
use slimcluster_core::{
    Block, Generation, GroupId, HardState, LogId, LogTime, MachineId, NodeId, Nonce, Run, RunHeader, RunKind,
    SessionId, Term, WallTime, WriteSeq,
};
use slimcluster_wal::{FreshIds, Inspection, Options, Seen, Wal, WalError, inspect};

use crate::disk::MemoryDisk;
use crate::draw::Draw;
use crate::{allocations, seal};

pub(crate) const CLUSTER_ID: &str = "sample";
pub(crate) const FRESH: FreshIds = FreshIds { node: NodeId(7), store: StoreId(0x1122) };
/// The least that a store accepts, so that short logs span several segments.
const SEGMENT_BYTES: u64 = 4_096;
/// Bytes of a segment before its first record.
const SEGMENT_HEADER_BYTES: u64 = 64;

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn segment_name(number: u64) -> String {
    format!("log-{number:016x}")
}

/// A directory of files that may hold anything: as they come, or sealed so that checksums and links hold.
pub fn directory(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let mut files = Files::new();
    let mut previous = 0;
    while !draw.is_empty() && files.len() < 8 {
        let (which, piece) = (draw.u8(), draw.piece());
        let number = u64::from(which >> 4) + 1;
        let (name, content) = match which % 16 {
            0 => ("identity".to_owned(), piece.to_vec()),
            1 | 2 => ("identity".to_owned(), seal::small_file(b"slimself", piece)),
            3 => ("hardstate".to_owned(), piece.to_vec()),
            4 | 5 => ("hardstate".to_owned(), hard_state_slots(piece, draw.piece())),
            6 => ("peers".to_owned(), seal::small_file(b"slimpeer", piece)),
            7 => ("identity.new".to_owned(), piece.to_vec()),
            8 => (segment_name(number), piece.to_vec()),
            9 => (String::from_utf8_lossy(piece).into_owned(), Vec::new()),
            _ => {
                let (segment, crc) = seal::segment(piece, number, FRESH.store.to_bytes(), previous);
                previous = crc;
                (segment_name(number), segment)
            }
        };
        files.insert(name, content);
    }
    judge(&files);
}

/// Two slots of the hard state file.
pub(crate) fn hard_state_slots(first: &[u8], second: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 8_192];
    for (slot, body) in [first, second].into_iter().enumerate().filter(|(_, body)| !body.is_empty()) {
        let framed = seal::small_file(b"slimvote", body);
        let length = framed.len().min(4_096);
        file[slot * 4_096..slot * 4_096 + length].copy_from_slice(&framed[..length]);
    }
    file
}

/// What holds for every directory: looking changes nothing and foretells opening; a refusal changes nothing; a second opening finds what
/// the first one found. Returns what was recovered.
pub(crate) fn judge(files: &Files) -> Option<Recovered> {
    let disk = MemoryDisk::of(files);
    let inspected = look(&disk);
    assert_eq!(&disk.files(), files, "looking changes nothing");

    let held_max = (2 << 20) + 16 * files.values().map(Vec::len).sum::<usize>();
    let (wal, recovered) = match allocations::within(held_max, "opening a store", || open(&disk)) {
        Ok(opened) => opened,
        Err(error) => {
            assert_untouched(files, &disk, &error);
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    match &inspected {
        Ok(inspection) => {
            let (looked, found) = (&inspection.log, &recovered.log);
            assert_eq!((looked.last(), looked.chain()), (found.last(), found.chain()), "looking foretells opening");
            assert_eq!(inspection.peers, recovered.peers);
        }
        // A directory without an identity: a new store, or one that a crash left half made.
        Err(_) => assert!(!files.contains_key("identity"), "{inspected:?}"),
    }
    check_tail(&recovered);
    read_back(&wal, &recovered.log);

    drop(wal);
    let (mut wal, again) = open(&disk).expect("what was opened once opens again");
    assert_eq!(again.identity.generation, recovered.identity.generation.next());
    let stable = |found: &Recovered| (found.hard_state, found.log.clone(), found.tail.clone(), found.peers.clone());
    assert_eq!(stable(&again), stable(&recovered), "a second opening finds the same");
    write_on(&mut wal, &again.log);
    Some(recovered)
}

pub(crate) fn open(disk: &MemoryDisk) -> Result<(Wal, Recovered), WalError> {
    let options = Options { segment_bytes: SEGMENT_BYTES, ..Options::default() };
    Wal::open(Arc::new(disk.clone()), options, CLUSTER_ID, FRESH)
}

fn look(disk: &MemoryDisk) -> Result<Inspection, WalError> {
    let mut batch = 0;
    inspect(Arc::new(disk.clone()), &mut |seen| {
        if let Seen::Record { batch: next, .. } = seen {
            assert!(next >= batch, "batches come in order");
            batch = next;
        }
    })
}

/// A refusal that says that nothing was changed has changed nothing.
fn assert_untouched(files: &Files, disk: &MemoryDisk, error: &WalError) {
    if matches!(error, WalError::Damaged(_) | WalError::Version { .. } | WalError::OtherCluster { .. }) {
        // A store that was never finished is cleared away and made anew before it is read.
        assert!(&disk.files() == files || !files.contains_key("identity"), "{error} changed something");
    }
}

fn check_tail(recovered: &Recovered) {
    let (first, last) = (recovered.tail.first(), recovered.tail.last());
    assert!(recovered.tail.windows(2).all(|pair| pair[0].last().next() == pair[1].first()), "{:?}", recovered.tail);
    if let (Some(first), Some(last)) = (first, last) {
        assert!(first.first() > recovered.log.base().index);
        assert_eq!((last.last_id(), last.chain_end()), (recovered.log.last(), recovered.log.chain()));
    } else {
        assert_eq!(recovered.log.last(), recovered.log.base());
    }
}

/// Every entry of the log is there, in terms that the summary knows.
fn read_back(wal: &Wal, log: &LogSummary) {
    let reader = wal.reader();
    let mut next = log.base().index.next();
    while next <= log.last().index {
        let fetched = reader.fetch(GroupId::DEFAULT, next, log.last().index, 300).expect("a recovered log is read");
        assert!(!fetched.runs.is_empty(), "entry {next} of {log:?}");
        for run in &fetched.runs {
            assert_eq!(run.first(), next);
            assert_eq!(log.term_at(run.first()), Some(run.term()));
            next = run.last().next();
        }
    }
}

/// The store goes on where it stands.
fn write_on(wal: &mut Wal, log: &LogSummary) {
    let run = run_of(log, log.last().term.max(Term(1)), &[b"on"]);
    match wal.write(&[write(None, vec![run.clone()])]) {
        Ok(()) => {
            let last = run.last();
            let fetched = wal.reader().fetch(GroupId::DEFAULT, last, last, 1_000).expect("what was written is read");
            assert_eq!(fetched.runs, [run]);
        }
        // The disk of this test has a largest file.
        Err(error) => assert!(error.is_retryable(), "{error}"),
    }
}

/// A run of commands that continues `log`.
fn run_of(log: &LogSummary, term: Term, commands: &[&[u8]]) -> Run {
    let first = log.last().index.next();
    let header = RunHeader {
        group: GroupId::DEFAULT,
        kind: RunKind::Command,
        codec: 1,
        command_version: 1,
        term,
        first,
        machine: MachineId(3),
        log_time: LogTime(first.0),
        wall_time: WallTime(9),
        chain: log.chain(),
    };
    let block = Block { session: SessionId(2), first_number: 1, count: commands.len() as u32, acked_below: 1 };
    Run::commands(header, vec![block], commands.iter().copied()).expect("blocks and commands agree")
}

fn write(hard_state: Option<HardState>, runs: Vec<Run>) -> Write {
    Write { seq: WriteSeq(1), group: GroupId::DEFAULT, identity: None, hard_state, runs }
}

/// A sound store as the input has it, then bytes of it changed: what was written is found, or the damage is named (D2).
pub fn damage(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let disk = MemoryDisk::default();
    let (states, hard_states) = write_history(&disk, &mut draw);
    let sound = disk.files();
    let mut files = sound.clone();
    while !draw.is_empty() {
        edit(&mut files, &mut draw);
    }
    let Some(recovered) = judge(&files) else { return };

    assert!(hard_states.contains(&recovered.hard_state), "{:?} was never written", recovered.hard_state);
    let batches = batches(&sound);
    let is_changed = |place: &Place| {
        let range = place.offset as usize..(place.offset + place.bytes) as usize;
        files.get(&place.file).and_then(|file| file.get(range.clone())) != sound[&place.file].get(range)
    };
    let changed: BTreeSet<u64> =
        batches.iter().filter(|(_, places)| places.iter().any(is_changed)).map(|(batch, _)| *batch).collect();
    // Up to the first changed batch all is there; what lies behind it may be gone only if nothing of it was left to tell.
    let Some(first) = changed.first().copied() else {
        assert_eq!(Some(&found(&recovered)), states.values().next_back(), "no record was changed");
        return;
    };
    let kept = states.range(..first).next_back().map(|(_, state)| *state);
    assert_eq!(Some(found(&recovered)), kept, "batch {first} is the first that was changed");
    let survivor = batches.range(first + 1..).find(|(_, places)| !places.iter().all(is_changed));
    assert!(survivor.is_none(), "the log was cut before batch {first}, but {survivor:?} stands behind it");
}

/// The log's end and chain.
fn found(recovered: &Recovered) -> State {
    (recovered.log.last(), recovered.log.chain())
}

/// Where a record stands.
#[derive(Clone, Debug)]
struct Place {
    file: String,
    offset: u64,
    bytes: u64,
}

/// The records of a sound store by batch.
fn batches(files: &Files) -> BTreeMap<u64, Vec<Place>> {
    let mut batches = BTreeMap::<u64, Vec<Place>>::new();
    inspect(Arc::new(MemoryDisk::of(files)), &mut |seen| {
        if let Seen::Record { segment, offset, bytes, batch, .. } = seen {
            // What stands before the first record, the head of its segment, is written with it.
            let start = if offset == SEGMENT_HEADER_BYTES { 0 } else { offset };
            let place = Place { file: segment_name(segment), offset: start, bytes: offset + bytes - start };
            batches.entry(batch).or_default().push(place);
        }
    })
    .expect("the store is sound");
    batches
}

type State = (LogId, u64);
/// The log's end and chain after each batch.
type States = BTreeMap<u64, State>;

/// Writes what the input says. Returns the state of the log by batch, and every hard state that ever was.
fn write_history(disk: &MemoryDisk, draw: &mut Draw<'_>) -> (States, Vec<HardState>) {
    let (mut wal, recovered) = open(disk).expect("a new store");
    let mut log = recovered.log;
    // The first batch is the checkpoint of the first segment.
    let mut states = States::from([(1, (log.last(), log.chain()))]);
    let mut hard_states = vec![HardState::default()];
    let mut batch = 1;
    for _ in 0..draw.below(12) {
        let action = draw.u8();
        match action % 8 {
            0 => {
                drop(wal);
                (wal, _) = open(disk).expect("a sound store");
            }
            1 => {
                batch += u64::from(wal.needs_idle_record());
                wal.idle().expect("an empty batch");
            }
            2 => {
                wal.prepare_segment().expect("space");
            }
            3 => {
                let term = Term(u64::from(draw.u8()));
                let state = HardState { term, vote: Some(NodeId(u128::from(draw.u8()))) };
                wal.write(&[write(Some(state), Vec::new())]).expect("a vote");
                hard_states.push(state);
            }
            _ => {
                let (count, length) = (1 + draw.below(3), draw.below(256) * (1 + usize::from(action >> 5)));
                let command = vec![action; length];
                let commands: Vec<&[u8]> = (0..count).map(|_| &command[..]).collect();
                let run = run_of(&log, log.last().term.max(Term(1)), &commands);
                log.splice(&run).expect("it continues the log");
                wal.write(&[write(None, vec![run])]).expect("a run");
                batch += 1;
            }
        }
        states.insert(batch, (log.last(), log.chain()));
    }
    (states, hard_states)
}

/// Changes one stretch of bytes of one file.
fn edit(files: &mut Files, draw: &mut Draw<'_>) {
    let names: Vec<String> = files.keys().cloned().collect();
    let Some(name) = names.get(draw.below(names.len())) else { return };
    let (how, place, length) = (draw.u8(), usize::from(draw.u16()), usize::from(draw.u8()));
    // What a misdirected write brings comes from another place of the store.
    let other = names.get(draw.below(names.len())).map(|name| files[name].clone()).unwrap_or_default();
    let Some(file) = files.get_mut(name) else { return };
    let at = place.checked_rem(file.len()).unwrap_or(0);
    let end = (at + length).min(file.len());
    match how % 4 {
        0 => file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (length % 8)),
        1 => file[at..end].fill(0),
        2 => file[at..end].fill(draw.u8()),
        _ => {
            let from = usize::from(draw.u16()) % other.len().max(1);
            let copied = other.get(from..).unwrap_or_default();
            let count = copied.len().min(end - at);
            file[at..at + count].copy_from_slice(&copied[..count]);
        }
    }
}

/// The files of a small sound store, as bodies that [`directory`] seals, for its first input.
pub(crate) fn sample() -> (MemoryDisk, Files) {
    let disk = MemoryDisk::default();
    if let Ok((mut wal, recovered)) = open(&disk) {
        let run = run_of(&recovered.log, Term(1), &[b"one", b"two"]);
        let state = HardState { term: Term(1), vote: Some(NodeId(7)) };
        // A seed that could not be made would be missed by the tests of this crate.
        let _ = wal.write(&[write(Some(state), vec![run])]);
        let peer = |id: u8| KnownPeer {
            id: NodeId(id.into()),
            name: format!("n{id}"),
            address: ([127, 0, 0, id], 7_000).into(),
            generation: Generation(3),
            nonce: Nonce(9),
        };
        let _ = wal.remember_peers(&[peer(1), peer(2)]);
    }
    let files = disk.files();
    (disk, files)
}
