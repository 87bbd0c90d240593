//! The datagram: a hand-written envelope around one SWIM message or one multicast announcement.
//!
//! Layout, version 1 (numbers little-endian, ids as their 16 bytes):
//!
//! ```text
//! magic "SLIM" | version u8 | kind u8 | key id u8 (0: not encrypted) | codec u8 | cluster tag 8 bytes | sender 16 bytes
//! generation u64 | crc32c u32 of all other bytes | body
//! ```
//!
//! The checks go from cheap to dear, and the body is decoded only after all of them: what belongs to another cluster costs a comparison.

use std::fmt;

use bytes::{BufMut as _, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

use super::{Codec, swim};
use crate::mutants::mutant;
use crate::swim::{Message, Sizer};
use crate::types::COUNTER_MAX;
use crate::{Generation, NodeId};

/// Whose datagram it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Which cluster it is for; see [`cluster_tag`].
    pub cluster_tag: [u8; 8],
    /// Who sent it.
    pub sender: NodeId,
    /// Which process start of the sender.
    pub generation: Generation,
}

/// What a node says on the multicast group. Its host is the datagram's source (rule 34).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Who announces itself.
    pub node: NodeId,
    /// The port on which it listens.
    pub port: u16,
}

/// Why a datagram was dropped. It had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Drop {
    /// Shorter than the envelope.
    TooShort,
    /// Longer than any node sends.
    TooLong,
    /// Not ours at all.
    Magic,
    /// A format version that this build does not know.
    Version,
    /// Not a kind that belongs here: an announcement among messages, or the reverse.
    Kind,
    /// Encrypted with a key that this node does not have.
    KeyId,
    /// An encoding that this build does not know.
    Codec,
    /// From a cluster with another cluster id.
    OtherCluster,
    /// Garbled on the way.
    Checksum,
    /// The body does not decode, or holds a value out of bounds.
    Malformed,
    /// A message of a type that this build does not know.
    UnknownMessage,
}

impl fmt::Display for Drop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Drop::TooShort => "too short",
            Drop::TooLong => "too long",
            Drop::Magic => "not a SlimCluster datagram",
            Drop::Version => "unknown format version",
            Drop::Kind => "of the wrong kind",
            Drop::KeyId => "encrypted with an unknown key",
            Drop::Codec => "in an unknown encoding",
            Drop::OtherCluster => "from another cluster",
            Drop::Checksum => "garbled",
            Drop::Malformed => "malformed",
            Drop::UnknownMessage => "of an unknown message type",
        })
    }
}

/// What tells the datagrams of two clusters apart: derived from the cluster id, eight bytes long.
pub fn cluster_tag(cluster_id: &str) -> [u8; 8] {
    xxh3_64(cluster_id.as_bytes()).to_le_bytes()
}

/// Encodes a SWIM message. Its length is at most what the [`sizer`] of the same codec says.
pub fn encode_datagram(codec: Codec, envelope: &Envelope, message: &Message) -> Bytes {
    enclose(Kind::Swim, codec, envelope, &swim::encode(codec, message))
}

/// Decodes a SWIM message of the cluster of `cluster_tag`, in whichever encoding it came.
pub fn decode_datagram(cluster_tag: [u8; 8], bytes: &Bytes) -> Result<(Envelope, Message), Drop> {
    let (envelope, codec, body) = open(Kind::Swim, cluster_tag, bytes)?;
    Ok((envelope, swim::decode(codec, body)?))
}

/// Encodes an announcement for the multicast group.
pub fn encode_announcement(cluster_tag: [u8; 8], generation: Generation, announcement: &Announcement) -> Bytes {
    let envelope = Envelope { cluster_tag, sender: announcement.node, generation };
    enclose(Kind::Announcement, Codec::Protobuf, &envelope, &announcement.port.to_le_bytes())
}

/// Decodes an announcement of the cluster of `cluster_tag`.
pub fn decode_announcement(cluster_tag: [u8; 8], bytes: &Bytes) -> Result<Announcement, Drop> {
    let (envelope, _, body) = open(Kind::Announcement, cluster_tag, bytes)?;
    // A longer body is a later version's: the port stays where it is.
    match body.first_chunk::<2>().map(|port| u16::from_le_bytes(*port)) {
        Some(port) if port != 0 => Ok(Announcement { node: envelope.sender, port }),
        _ => Err(Drop::Malformed),
    }
}

/// Measures SWIM messages in one encoding, so that SWIM fills datagrams without knowing it.
pub fn sizer(codec: Codec) -> Sizer {
    match codec {
        Codec::Protobuf => {
            Sizer { head: |body| ENVELOPE_BYTES + swim::protobuf_head_bytes(body), update: swim::protobuf_update_bytes }
        }
        Codec::Json => {
            Sizer { head: |body| ENVELOPE_BYTES + swim::json_head_bytes(body), update: swim::json_update_bytes }
        }
    }
}

/// What a datagram carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Swim = 1,
    Announcement = 2,
}

fn enclose(kind: Kind, codec: Codec, envelope: &Envelope, body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(ENVELOPE_BYTES + body.len());
    bytes.put_slice(&MAGIC);
    bytes.put_slice(&[VERSION, kind as u8, 0, codec.id()]);
    bytes.put_slice(&envelope.cluster_tag);
    bytes.put_slice(&envelope.sender.to_bytes());
    bytes.put_u64_le(envelope.generation.0);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), body);
    bytes.put_u32_le(crc);
    bytes.put_slice(body);
    bytes.freeze()
}

fn open(kind: Kind, cluster_tag: [u8; 8], bytes: &[u8]) -> Result<(Envelope, Codec, &[u8]), Drop> {
    if bytes.len() > RECEIVED_BYTES_MAX {
        return Err(Drop::TooLong);
    }
    let (head, body) = bytes.split_first_chunk::<ENVELOPE_BYTES>().ok_or(Drop::TooShort)?;
    let [m0, m1, m2, m3, version, kind_id, key_id, codec_id, rest @ ..] = head;
    if [*m0, *m1, *m2, *m3] != MAGIC {
        return Err(Drop::Magic);
    }
    if *version != VERSION {
        return Err(Drop::Version);
    }
    if *key_id != 0 {
        return Err(Drop::KeyId);
    }
    let short = |_| Drop::TooShort;
    let tag: [u8; 8] = rest[..8].try_into().map_err(short)?;
    if tag != cluster_tag && !mutant!(ClusterTagNotCompared) {
        return Err(Drop::OtherCluster);
    }
    let sender = NodeId::from_bytes(rest[8..24].try_into().map_err(short)?);
    let generation = u64::from_le_bytes(rest[24..32].try_into().map_err(short)?);
    let crc = u32::from_le_bytes(rest[32..36].try_into().map_err(short)?);
    if crc32c::crc32c_append(crc32c::crc32c(&head[..ENVELOPE_BYTES - 4]), body) != crc {
        return Err(Drop::Checksum);
    }
    if *kind_id != kind as u8 {
        return Err(Drop::Kind);
    }
    let codec = Codec::from_id(*codec_id).ok_or(Drop::Codec)?;
    if generation > COUNTER_MAX {
        return Err(Drop::Malformed);
    }
    Ok((Envelope { cluster_tag: tag, sender, generation: Generation(generation) }, codec, body))
}

const MAGIC: [u8; 4] = *b"SLIM";
const VERSION: u8 = 1;
const ENVELOPE_BYTES: usize = 44;
/// The longest datagram that is looked at: an Ethernet frame's worth. Nodes send at most 1,232 bytes unless told otherwise.
const RECEIVED_BYTES_MAX: usize = 1_500;
