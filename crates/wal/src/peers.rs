//! The file of known peers: lets a node that is restarted without seeds find its cluster. A damaged one is a lost comfort only.

use prost::Message as _;
use slimcluster_core::storage::KnownPeer;
use slimcluster_core::types::COUNTER_MAX;
use slimcluster_core::{Generation, NodeId, Nonce};

use crate::device::Directory;
use crate::error::WalError;
use crate::frame;

/// The file's name.
pub(crate) const NAME: &str = "peers";

const MAGIC: [u8; 8] = *b"slimpeer";

/// What the file says; nothing if it cannot be read, for whatever reason.
pub(crate) fn read(directory: &Directory) -> Vec<KnownPeer> {
    let body = directory.open(NAME).and_then(|file| {
        file.drop_cache()?;
        frame::read(&file, MAGIC, 0)
    });
    let Ok(Some(body)) = body else {
        return Vec::new();
    };
    let Ok(record) = PeersRecord::decode(body.as_slice()) else {
        return Vec::new();
    };
    record.peers.into_iter().filter_map(decode).collect()
}

/// Puts `peers` in the place of the file.
pub(crate) fn replace(directory: &Directory, peers: &[KnownPeer]) -> Result<(), WalError> {
    let record = PeersRecord { peers: peers.iter().map(encode).collect() };
    directory.replace(NAME, &frame::encode(MAGIC, &record.encode_to_vec())?)
}

fn encode(peer: &KnownPeer) -> PeerRecord {
    PeerRecord {
        id: peer.id.to_bytes().to_vec(),
        name: peer.name.clone(),
        address: peer.address.to_string(),
        generation: peer.generation.0,
        nonce: peer.nonce.0,
    }
}

fn decode(record: PeerRecord) -> Option<KnownPeer> {
    Some(KnownPeer {
        id: NodeId::from_bytes(record.id.try_into().ok()?),
        name: record.name,
        address: record.address.parse().ok()?,
        generation: Some(Generation(record.generation)).filter(|generation| generation.0 <= COUNTER_MAX)?,
        nonce: Nonce(record.nonce),
    })
}

#[derive(Clone, PartialEq, prost::Message)]
struct PeersRecord {
    #[prost(message, repeated, tag = "1")]
    peers: Vec<PeerRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PeerRecord {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    address: String,
    #[prost(uint64, tag = "4")]
    generation: u64,
    #[prost(fixed64, tag = "5")]
    nonce: u64,
}
