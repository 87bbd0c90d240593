//! The payloads of session and machine entries. They stand in the log for ever: additive changes only.

use bytes::Bytes;
use prost::Message as _;

use crate::types::COUNTER_MAX;
use crate::{Generation, NodeId, SessionId};

/// The payload of a `RunKind::Session` entry (rule 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEntry {
    /// Opens the session of one process start of one node; its id is the entry's index.
    Open {
        /// The owner.
        node: NodeId,
        /// The owner's process start.
        generation: Generation,
    },
    /// Ends a session: its owner is out of touch, or said good-bye.
    Close {
        /// Which.
        session: SessionId,
    },
}

/// The payload of a `RunKind::Machine` entry: the name gets the entry's index as its machine id, unless it has one (rule 37).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineEntry {
    /// The machine's name.
    pub name: String,
}

/// Bytes that no build known here writes. In a committed entry: apply halts, since skipping it would make replicas differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload cannot be read: {0}")]
pub struct EntryError(&'static str);

impl SessionEntry {
    /// The durable form.
    pub fn encode(&self) -> Bytes {
        let record = match *self {
            SessionEntry::Open { node, generation } => SessionRecord {
                open: Some(OpenRecord { node: node.to_bytes().to_vec(), generation: generation.0 }),
                close: None,
            },
            SessionEntry::Close { session } => {
                SessionRecord { open: None, close: Some(CloseRecord { session: session.0 }) }
            }
        };
        record.encode_to_vec().into()
    }

    /// From the durable form.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let record = SessionRecord::decode(bytes).map_err(|_| EntryError("not a session entry"))?;
        match (record.open, record.close) {
            (Some(open), None) => {
                let node = open.node.try_into().map_err(|_| EntryError("a node id of another length"))?;
                if open.generation > COUNTER_MAX {
                    return Err(EntryError("a generation out of range"));
                }
                Ok(SessionEntry::Open { node: NodeId::from_bytes(node), generation: Generation(open.generation) })
            }
            (None, Some(close)) => Ok(SessionEntry::Close { session: SessionId(close.session) }),
            _ => Err(EntryError("neither opened nor closed, or both")),
        }
    }
}

impl MachineEntry {
    /// The durable form.
    pub fn encode(&self) -> Bytes {
        MachineRecord { name: self.name.clone() }.encode_to_vec().into()
    }

    /// From the durable form.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let record = MachineRecord::decode(bytes).map_err(|_| EntryError("not a machine entry"))?;
        if record.name.is_empty() {
            return Err(EntryError("a machine without a name"));
        }
        Ok(MachineEntry { name: record.name })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct SessionRecord {
    #[prost(message, optional, tag = "1")]
    open: Option<OpenRecord>,
    #[prost(message, optional, tag = "2")]
    close: Option<CloseRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OpenRecord {
    #[prost(bytes = "vec", tag = "1")]
    node: Vec<u8>,
    #[prost(uint64, tag = "2")]
    generation: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CloseRecord {
    #[prost(uint64, tag = "1")]
    session: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MachineRecord {
    #[prost(string, tag = "1")]
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // Golden vectors: these bytes stand in logs. A change here is a change of format.
    #[test]
    fn entries_have_their_golden_bytes() {
        let open = SessionEntry::Open { node: NodeId(0xabcd), generation: Generation(300) };
        assert_eq!(hex(&open.encode()), "0a150a100000000000000000000000000000abcd10ac02");
        let close = SessionEntry::Close { session: SessionId(7) };
        assert_eq!(hex(&close.encode()), "12020807");
        let machine = MachineEntry { name: "counter".to_owned() };
        assert_eq!(hex(&machine.encode()), "0a07636f756e746572");
        for entry in [open, close, SessionEntry::Open { node: NodeId(0), generation: Generation(0) }] {
            assert_eq!(SessionEntry::decode(&entry.encode()), Ok(entry));
        }
        assert_eq!(MachineEntry::decode(&machine.encode()), Ok(machine));
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&b""[..], b"\xff", b"\x0a\x00", b"\x0a\x00\x12\x00"] {
            assert!(SessionEntry::decode(bytes).is_err(), "{bytes:?}");
        }
        assert!(MachineEntry::decode(b"").is_err());
        assert!(MachineEntry::decode(b"\x0a\x01\xff").is_err());
    }
}
