//! The identity file: who this node is and how far it has come (rule 22). Replaced as a whole.

use prost::Message as _;
use slimcluster_core::raft::Configuration;
use slimcluster_core::storage::{Abandoned, Identity, Phase};
use slimcluster_core::types::{COUNTER_MAX, StoreId};
use slimcluster_core::{ClusterUuid, Generation, NodeId};

use crate::device::Directory;
use crate::error::WalError;
use crate::frame;

/// The file's name.
pub(crate) const NAME: &str = "identity";

const MAGIC: [u8; 8] = *b"slimself";

/// What the identity file holds: the identity, and how far the rest of the store had come when it was written. A store that has
/// less than that has lost something.
#[derive(Clone, Debug)]
pub(crate) struct IdentityFile {
    pub identity: Identity,
    /// The last complete, synced batch of the log.
    pub log_batch: u64,
    /// The write number of the hard state.
    pub hard_state_number: u64,
}

impl IdentityFile {
    /// Reads the file. Anything but a sound one is damage: it exists since before the first promise.
    pub fn read(directory: &Directory) -> Result<Self, WalError> {
        let file = directory.open(NAME)?;
        file.drop_cache()?;
        let body = frame::read(&file, MAGIC, 0)?;
        body.and_then(|body| decode(&body)).ok_or_else(|| file.damaged(0, "the identity cannot be read"))
    }

    /// Puts it in the place of the file, durably.
    pub fn replace(&self, directory: &Directory) -> Result<(), WalError> {
        directory.replace(NAME, &frame::encode(MAGIC, &encode(self))?)
    }
}

fn encode(file: &IdentityFile) -> Vec<u8> {
    let identity = &file.identity;
    let phase = match &identity.phase {
        Phase::Fresh => PhaseRecord { kind: 1, configuration: None, uuid: None },
        Phase::Promised(set) => PhaseRecord { kind: 2, configuration: Some(set.encode().to_vec()), uuid: None },
        Phase::Formed { uuid, baseline } => PhaseRecord {
            kind: 3,
            configuration: Some(baseline.encode().to_vec()),
            uuid: Some(uuid.to_bytes().to_vec()),
        },
        Phase::JoinOnly { uuid } => PhaseRecord { kind: 4, configuration: None, uuid: Some(uuid.to_bytes().to_vec()) },
    };
    let abandoned = identity.abandoned.iter().map(|abandoned| AbandonedRecord {
        node: abandoned.node.to_bytes().to_vec(),
        set: abandoned.set.iter().map(|node| node.to_bytes().to_vec()).collect(),
    });
    let record = IdentityRecord {
        node: identity.node.to_bytes().to_vec(),
        store: identity.store.to_bytes().to_vec(),
        cluster_id: identity.cluster_id.clone(),
        generation: identity.generation.0,
        phase: Some(phase),
        abandoned: abandoned.collect(),
        log_batch: file.log_batch,
        hard_state_number: file.hard_state_number,
    };
    record.encode_to_vec()
}

fn decode(body: &[u8]) -> Option<IdentityFile> {
    let record = IdentityRecord::decode(body).ok()?;
    // No writer reaches the bound: this start gets the next number, and peers must still take it.
    if record.generation >= COUNTER_MAX {
        return None;
    }
    let phase = record.phase?;
    let configuration = || Configuration::decode(phase.configuration.as_deref()?).ok();
    let uuid = || Some(ClusterUuid::from_bytes(phase.uuid.as_deref()?.try_into().ok()?));
    let phase = match phase.kind {
        1 => Phase::Fresh,
        2 => Phase::Promised(configuration()?),
        3 => Phase::Formed { uuid: uuid()?, baseline: configuration()? },
        4 => Phase::JoinOnly { uuid: uuid()? },
        _ => return None,
    };
    let node = |bytes: Vec<u8>| Some(NodeId::from_bytes(bytes.try_into().ok()?));
    let mut abandoned = Vec::with_capacity(record.abandoned.len());
    for entry in record.abandoned {
        let set = entry.set.into_iter().map(node).collect::<Option<Vec<_>>>()?;
        abandoned.push(Abandoned { node: node(entry.node)?, set });
    }
    let identity = Identity {
        node: node(record.node)?,
        store: StoreId::from_bytes(record.store.try_into().ok()?),
        cluster_id: record.cluster_id,
        generation: Generation(record.generation),
        phase,
        abandoned,
    };
    Some(IdentityFile { identity, log_batch: record.log_batch, hard_state_number: record.hard_state_number })
}

#[derive(Clone, PartialEq, prost::Message)]
struct IdentityRecord {
    #[prost(bytes = "vec", tag = "1")]
    node: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    store: Vec<u8>,
    #[prost(string, tag = "3")]
    cluster_id: String,
    #[prost(uint64, tag = "4")]
    generation: u64,
    #[prost(message, optional, tag = "5")]
    phase: Option<PhaseRecord>,
    #[prost(message, repeated, tag = "6")]
    abandoned: Vec<AbandonedRecord>,
    #[prost(uint64, tag = "7")]
    log_batch: u64,
    #[prost(uint64, tag = "8")]
    hard_state_number: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PhaseRecord {
    /// 1 fresh, 2 promised, 3 formed, 4 join only.
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(bytes = "vec", optional, tag = "2")]
    configuration: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    uuid: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AbandonedRecord {
    #[prost(bytes = "vec", tag = "1")]
    node: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    set: Vec<Vec<u8>>,
}
