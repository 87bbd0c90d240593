//! The payloads of entries that are not commands. They stand in the log for ever.

use std::fmt::Debug;

use bytes::Bytes;
use slimcluster_core::machine::{MachineEntry, SessionEntry};
use slimcluster_core::raft::Configuration;
use slimcluster_core::types::COUNTER_MAX;

use crate::allocations;

/// A session opened or closed.
pub fn session(bytes: &[u8]) {
    let decoded = judge(bytes, |bytes| SessionEntry::decode(bytes).ok(), SessionEntry::encode);
    if let Some(SessionEntry::Open { generation, .. }) = decoded {
        assert!(generation.0 <= COUNTER_MAX);
    }
}

/// A machine that gets its id.
pub fn machine(bytes: &[u8]) {
    let decoded = judge(bytes, |bytes| MachineEntry::decode(bytes).ok(), MachineEntry::encode);
    assert!(decoded.is_none_or(|entry| !entry.name.is_empty()));
}

/// A configuration of voters and learners.
pub fn configuration(bytes: &[u8]) {
    let decoded = judge(bytes, |bytes| Configuration::decode(bytes).ok(), Configuration::encode);
    let Some(configuration) = decoded else { return };
    assert!(configuration.nodes().is_sorted_by(|a, b| a.id < b.id));
    assert!(configuration.voters().next().is_some());
    assert!(configuration.is_joint() || configuration.outgoing_voters().next().is_none());
    for node in configuration.nodes() {
        assert_eq!(configuration.get(node.id), Some(node));
        assert_eq!(configuration.nodes().iter().filter(|other| other.name == node.name).count(), 1);
    }
}

/// What decodes encodes to a form that decodes to the same, and encodes to the same bytes again.
fn judge<T: PartialEq + Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Option<T>,
    encode: impl Fn(&T) -> Bytes,
) -> Option<T> {
    // A list of empty messages takes two bytes for each, and the vector that takes them doubles.
    let value = allocations::within(1_024 + 128 * bytes.len(), "decoding a payload", || decode(bytes))?;
    let encoded = encode(&value);
    let again = decode(&encoded).expect("own bytes decode");
    assert_eq!(again, value);
    assert_eq!(encode(&again), encoded);
    Some(value)
}
