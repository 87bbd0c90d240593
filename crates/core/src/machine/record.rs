//! The durable form of a host's replicated state. Additive changes only.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use super::host::{Named, Replicated};
use super::session::{Session, Sessions, WINDOW_NUMBERS};
use super::typed::MachineError;
use crate::types::COUNTER_MAX;
use crate::{Generation, Index, MachineId, NodeId, SessionId};

/// The version of the form; a higher one is refused.
const VERSION: u32 = 1;

/// A host's state, read back.
pub(super) struct HostState {
    pub(super) replicated: Replicated,
    /// The states of the machines that a command was applied to.
    pub(super) states: BTreeMap<MachineId, Bytes>,
}

/// Everything is written in the order of its keys: equal states give equal bytes.
pub(super) fn encode(replicated: &Replicated, states: &BTreeMap<MachineId, Bytes>) -> Bytes {
    let machines = replicated.machines.iter().map(|(id, named)| MachineRecord {
        id: id.0,
        name: named.name.clone(),
        state: states.get(id).cloned(),
    });
    let sessions = replicated.sessions.iter().map(|(id, session)| SessionRecord {
        id: id.0,
        node: session.node.to_bytes().to_vec(),
        generation: session.generation.0,
        acked_below: session.acked_below,
        replies: session
            .replies
            .iter()
            .map(|(number, (index, reply))| ReplyRecord { number: *number, index: index.0, reply: reply.clone() })
            .collect(),
        applied: session
            .applied
            .iter()
            .map(|(number, index)| AppliedRecord { number: *number, index: index.0 })
            .collect(),
    });
    HostRecord {
        version: VERSION,
        applied: replicated.applied.0,
        machines: machines.collect(),
        sessions: sessions.collect(),
    }
    .encode_to_vec()
    .into()
}

pub(super) fn decode(bytes: &[u8]) -> Result<HostState, MachineError> {
    let record = HostRecord::decode(bytes).map_err(|_| MachineError::Malformed("not the state of a host"))?;
    if record.version != VERSION {
        return Err(MachineError::Malformed("a version that this build does not know"));
    }
    if record.applied > COUNTER_MAX {
        return Err(MachineError::Malformed("an index out of range"));
    }
    let (mut machines, mut states) = (BTreeMap::new(), BTreeMap::new());
    for MachineRecord { id, name, state } in record.machines {
        if machines.values().any(|named: &Named| named.name == name) {
            return Err(MachineError::Malformed("a machine name that stands there twice"));
        }
        let named = Named { name, touched: state.is_some() };
        if machines.insert(MachineId(id), named).is_some() {
            return Err(MachineError::Malformed("a machine id that stands there twice"));
        }
        states.extend(state.map(|state| (MachineId(id), state)));
    }
    let mut sessions = Sessions::default();
    for record in record.sessions {
        let id = SessionId(record.id);
        if !sessions.restore(id, decode_session(record)?) {
            return Err(MachineError::Malformed("a session that stands there twice"));
        }
    }
    Ok(HostState { replicated: Replicated { applied: Index(record.applied), sessions, machines }, states })
}

fn decode_session(record: SessionRecord) -> Result<Session, MachineError> {
    let node = record.node.try_into().map_err(|_| MachineError::Malformed("a node id of another length"))?;
    let (mut replies, mut applied) = (BTreeMap::new(), BTreeMap::new());
    let end = record.acked_below.saturating_add(WINDOW_NUMBERS);
    let in_window = |number: u64| (record.acked_below..end).contains(&number);
    for ReplyRecord { number, index, reply } in record.replies {
        if !in_window(number) || replies.insert(number, (Index(index), reply)).is_some() {
            return Err(MachineError::Malformed("a reply outside its session's window, or twice"));
        }
    }
    for AppliedRecord { number, index } in record.applied {
        if !in_window(number) || replies.contains_key(&number) || applied.insert(number, Index(index)).is_some() {
            return Err(MachineError::Malformed("a number outside its session's window, or twice"));
        }
    }
    let generation = Generation(record.generation);
    Ok(Session::restored(NodeId::from_bytes(node), generation, record.acked_below, replies, applied))
}

#[derive(Clone, PartialEq, prost::Message)]
struct HostRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    applied: u64,
    #[prost(message, repeated, tag = "3")]
    machines: Vec<MachineRecord>,
    #[prost(message, repeated, tag = "4")]
    sessions: Vec<SessionRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MachineRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
    /// Absent until the first command.
    #[prost(bytes = "bytes", optional, tag = "3")]
    state: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SessionRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(bytes = "vec", tag = "2")]
    node: Vec<u8>,
    #[prost(uint64, tag = "3")]
    generation: u64,
    #[prost(uint64, tag = "4")]
    acked_below: u64,
    #[prost(message, repeated, tag = "5")]
    replies: Vec<ReplyRecord>,
    #[prost(message, repeated, tag = "6")]
    applied: Vec<AppliedRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReplyRecord {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint64, tag = "2")]
    index: u64,
    #[prost(bytes = "bytes", tag = "3")]
    reply: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AppliedRecord {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint64, tag = "2")]
    index: u64,
}
