//! The hard state file: term and vote in two alternating slots (rule 4).
//!
//! A write goes to the slot that does not hold the state in force, so a torn write leaves that one intact.

use prost::Message as _;
use slimcluster_core::types::{COUNTER_MAX, StoreId};
use slimcluster_core::{GroupId, HardState, NodeId, Term};

use crate::device::{Directory, StoreFile};
use crate::error::WalError;
use crate::frame;
use crate::mutants::mutant;

/// The file's name.
pub(crate) const NAME: &str = "hardstate";

const MAGIC: [u8; 8] = *b"slimvote";
/// A page each, so that no torn page holds both.
const SLOT_BYTES: u64 = 4096;

/// One slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    store: StoreId,
    number: u64,
    log_batch: u64,
    state: HardState,
}

/// The open file and what is in force.
pub(crate) struct HardStateFile {
    file: StoreFile,
    slot: Slot,
}

impl HardStateFile {
    /// Makes the file of a new store, synced; its name is not durable yet.
    pub fn create(directory: &Directory, store: StoreId) -> Result<Self, WalError> {
        let file = directory.create(NAME)?;
        // Written to its full length at once: later syncs then change no length.
        file.write_zeros(0, 2 * SLOT_BYTES)?;
        let slot = Slot { store, number: 0, log_batch: 0, state: HardState::default() };
        let mut created = HardStateFile { file, slot };
        created.write(HardState::default(), 0)?;
        Ok(created)
    }

    /// Reads the newest slot that verifies. Without any this node cannot know what it promised: damage.
    pub fn open(directory: &Directory, store: StoreId) -> Result<Self, WalError> {
        let file = directory.open(NAME)?;
        file.drop_cache()?;
        let (first, second) = (read_slot(&file, 0)?, read_slot(&file, 1)?);
        let slot = match (first, second) {
            (Some(a), Some(b)) if a.number == b.number => {
                return Err(file.damaged(0, "both slots claim to be the same write"));
            }
            (Some(a), Some(b)) => {
                if a.number > b.number {
                    a
                } else {
                    b
                }
            }
            (Some(slot), None) | (None, Some(slot)) => slot,
            (None, None) => return Err(file.damaged(0, "neither slot of term and vote can be read")),
        };
        if slot.store != store {
            return Err(file.damaged(0, "it belongs to another data directory"));
        }
        Ok(HardStateFile { file, slot })
    }

    /// Whether a file found without an identity holds nothing but the state that a new one starts with.
    pub fn is_untouched(directory: &Directory) -> Result<bool, WalError> {
        let file = directory.open(NAME)?;
        file.drop_cache()?;
        let slots = [read_slot(&file, 0)?, read_slot(&file, 1)?];
        Ok(slots.iter().flatten().all(|slot| slot.number <= 1 && slot.state == HardState::default()))
    }

    /// Writes and syncs `state`; a term that [`HardStateFile::open`] would not take for one is refused. `log_batch` is the last log
    /// batch that is synced: a log recovered short of it is damaged.
    pub fn write(&mut self, state: HardState, log_batch: u64) -> Result<(), WalError> {
        if state.term.0 > COUNTER_MAX {
            return Err(WalError::Invariant(format!("term {}, the highest is {COUNTER_MAX}", state.term)));
        }
        let slot = Slot { number: self.slot.number + 1, log_batch, state, ..self.slot };
        let bytes = frame::encode(MAGIC, &encode(&slot))?;
        self.file.write_all(&bytes, place(&self.file, slot.number) * SLOT_BYTES)?;
        self.file.sync()?;
        self.slot = slot;
        Ok(())
    }

    pub fn file(&self) -> &StoreFile {
        &self.file
    }

    pub fn state(&self) -> HardState {
        self.slot.state
    }

    /// The write number of the state in force.
    pub fn number(&self) -> u64 {
        self.slot.number
    }

    /// The last log batch that was synced when the state in force was written.
    pub fn log_batch(&self) -> u64 {
        self.slot.log_batch
    }
}

fn read_slot(file: &StoreFile, slot: u64) -> Result<Option<Slot>, WalError> {
    let body = frame::read(file, MAGIC, slot * SLOT_BYTES)?;
    // A slot holds the writes of its own parity only: another one was misdirected.
    Ok(body.and_then(|body| decode(&body)).filter(|found| place(file, found.number) == slot))
}

/// The slot of the write with this number: never the one that holds the write before it.
fn place(file: &StoreFile, number: u64) -> u64 {
    if mutant!(file.planted, SingleHardStateSlot) { 0 } else { number % 2 }
}

fn encode(slot: &Slot) -> Vec<u8> {
    let group = GroupRecord {
        group: GroupId::DEFAULT.0,
        term: slot.state.term.0,
        vote: slot.state.vote.map(|node| node.to_bytes().to_vec()),
    };
    let record = SlotRecord {
        store: slot.store.to_bytes().to_vec(),
        number: slot.number,
        log_batch: slot.log_batch,
        groups: vec![group],
    };
    record.encode_to_vec()
}

fn decode(body: &[u8]) -> Option<Slot> {
    let record = SlotRecord::decode(body).ok()?;
    let group = record.groups.into_iter().find(|group| group.group == GroupId::DEFAULT.0)?;
    // Numbers that no writer reaches would overflow the next one.
    if group.term > COUNTER_MAX || record.number > COUNTER_MAX {
        return None;
    }
    let vote = match group.vote {
        Some(bytes) => Some(NodeId::from_bytes(bytes.try_into().ok()?)),
        None => None,
    };
    Some(Slot {
        store: StoreId::from_bytes(record.store.try_into().ok()?),
        number: record.number,
        log_batch: record.log_batch,
        state: HardState { term: Term(group.term), vote },
    })
}

#[derive(Clone, PartialEq, prost::Message)]
struct SlotRecord {
    #[prost(bytes = "vec", tag = "1")]
    store: Vec<u8>,
    #[prost(uint64, tag = "2")]
    number: u64,
    #[prost(uint64, tag = "3")]
    log_batch: u64,
    #[prost(message, repeated, tag = "4")]
    groups: Vec<GroupRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GroupRecord {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(bytes = "vec", optional, tag = "3")]
    vote: Option<Vec<u8>>,
}
