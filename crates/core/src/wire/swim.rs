//! The body of a SWIM datagram: one set of mirror structs, written as Protobuf or as JSON.
//!
//! Exactly one of the optional message fields is set. In Protobuf that is what `oneof` puts on the wire; in JSON it reads
//! `{"ping":{..},"updates":[..]}`. A field that this build does not know is skipped in both.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::lists::{Field, Lists};
use super::{Codec, Drop};
use crate::swim::{
    Body, HTTP_BYTES_MAX, Incarnation, Key, MemberState, Message, Meta, NAME_BYTES_MAX, RESTARTING_MAX, Record, Seq,
    Update, is_plain, is_usable,
};
use crate::types::COUNTER_MAX;
use crate::{Generation, NodeId};

pub(super) fn encode(codec: Codec, message: &Message) -> Vec<u8> {
    let mirror = MessageMirror {
        updates: message.updates.iter().map(UpdateMirror::from).collect(),
        ..MessageMirror::from(&message.body)
    };
    match codec {
        Codec::Protobuf => mirror.encode_to_vec(),
        // The mirror has string keys only and no fallible serializer: this cannot fail.
        Codec::Json => serde_json::to_vec(&mirror).unwrap_or_default(),
    }
}

pub(super) fn decode(codec: Codec, body: &[u8]) -> Result<Message, Drop> {
    let mirror = match codec {
        Codec::Protobuf if !LISTS.are_plausible(body) => return Err(Drop::Malformed),
        Codec::Protobuf => MessageMirror::decode(body).map_err(|_| Drop::Malformed)?,
        Codec::Json => serde_json::from_slice(body).map_err(|_| Drop::Malformed)?,
    };
    mirror.try_into()
}

pub(super) fn protobuf_head_bytes(body: &Body) -> usize {
    MessageMirror::from(body).encoded_len()
}

pub(super) fn protobuf_update_bytes(update: &Update) -> usize {
    let bytes = UpdateMirror::from(update).encoded_len();
    1 + prost::length_delimiter_len(bytes) + bytes
}

pub(super) fn json_head_bytes(body: &Body) -> usize {
    json_bytes(&MessageMirror::from(body)) + r#","updates":[]"#.len()
}

pub(super) fn json_update_bytes(update: &Update) -> usize {
    json_bytes(&UpdateMirror::from(update)) + ",".len()
}

/// The updates.
static LISTS: Lists = Lists(&[Field::list(15)]);

fn json_bytes(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail; see `encode`.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct MessageMirror {
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ping: Option<PingMirror>,
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<SeqMirror>,
    #[prost(message, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ping_req: Option<PingReqMirror>,
    #[prost(message, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<SeqMirror>,
    #[prost(message, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_request: Option<SyncRequestMirror>,
    #[prost(message, optional, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_response: Option<SyncResponseMirror>,
    // The high tag leaves room for messages below 15, which take one byte.
    #[prost(message, repeated, tag = "15")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    updates: Vec<UpdateMirror>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct PingMirror {
    #[prost(fixed64, tag = "1")]
    seq: u64,
    #[prost(bytes = "vec", optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_id")]
    target: Option<Vec<u8>>,
    #[prost(uint64, tag = "3")]
    generation: u64,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct SeqMirror {
    #[prost(fixed64, tag = "1")]
    seq: u64,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct PingReqMirror {
    #[prost(fixed64, tag = "1")]
    seq: u64,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(with = "id")]
    target: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct SyncRequestMirror {
    #[prost(fixed64, tag = "1")]
    seq: u64,
    #[prost(bytes = "vec", optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_id")]
    after: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct SyncResponseMirror {
    #[prost(fixed64, tag = "1")]
    seq: u64,
    #[prost(bytes = "vec", optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_id")]
    next: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "3")]
    #[serde(with = "address")]
    observed: Vec<u8>,
}

// Small, and never without its id: a datagram full of these is decoded before anything is known of its sender.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
struct UpdateMirror {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "id")]
    id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    #[serde(default)]
    generation: u64,
    #[prost(uint64, tag = "3")]
    #[serde(default)]
    incarnation: u64,
    #[prost(uint32, tag = "4")]
    #[serde(default, with = "state")]
    state: u32,
    #[prost(message, optional, boxed, tag = "5")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<Box<RecordMirror>>,
    #[prost(uint64, tag = "6")]
    #[serde(default, skip_serializing_if = "is_zero")]
    age_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct RecordMirror {
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(bytes = "vec", tag = "4")]
    #[serde(with = "address")]
    address: Vec<u8>,
    #[prost(string, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    #[prost(bool, tag = "6")]
    consensus: bool,
    #[prost(uint64, optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none")]
    restarting_ms: Option<u64>,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl From<&Body> for MessageMirror {
    fn from(body: &Body) -> Self {
        let id = |node: &NodeId| node.to_bytes().to_vec();
        let mut mirror = MessageMirror::default();
        match body {
            Body::Ping { seq, target } => {
                mirror.ping = Some(PingMirror {
                    seq: seq.0,
                    target: target.as_ref().map(|(node, _)| id(node)),
                    generation: target.map_or(0, |(_, generation)| generation.0),
                });
            }
            Body::Ack { seq } => mirror.ack = Some(SeqMirror { seq: seq.0 }),
            Body::PingReq { seq, target } => mirror.ping_req = Some(PingReqMirror { seq: seq.0, target: id(target) }),
            Body::Gone { seq } => mirror.gone = Some(SeqMirror { seq: seq.0 }),
            Body::SyncRequest { seq, after } => {
                mirror.sync_request = Some(SyncRequestMirror { seq: seq.0, after: after.as_ref().map(id) });
            }
            Body::SyncResponse { seq, next, observed } => {
                let next = next.as_ref().map(id);
                mirror.sync_response = Some(SyncResponseMirror { seq: seq.0, next, observed: pack(*observed) });
            }
        }
        mirror
    }
}

impl From<&Update> for UpdateMirror {
    fn from(update: &Update) -> Self {
        UpdateMirror {
            id: update.id.to_bytes().to_vec(),
            generation: update.key.generation.0,
            incarnation: update.key.incarnation.0,
            state: update.key.rank as u32,
            record: update.record.as_ref().map(|record| Box::new(RecordMirror::from(record))),
            age_ms: millis(update.age),
        }
    }
}

impl From<&Record> for RecordMirror {
    fn from(record: &Record) -> Self {
        RecordMirror {
            generation: record.generation.0,
            version: record.version,
            name: record.name.clone(),
            address: pack(record.address),
            http: record.meta.http.clone(),
            consensus: record.meta.consensus,
            restarting_ms: record.restarting.map(millis),
        }
    }
}

impl TryFrom<MessageMirror> for Message {
    type Error = Drop;

    fn try_from(mirror: MessageMirror) -> Result<Self, Drop> {
        let MessageMirror { ping, ack, ping_req, gone, sync_request, sync_response, updates } = mirror;
        let body = match (ping, ack, ping_req, gone, sync_request, sync_response) {
            (Some(ping), None, None, None, None, None) => {
                let generation = Generation(counter(ping.generation)?);
                let target = ping.target.map(|id| node(&id)).transpose()?.map(|id| (id, generation));
                Body::Ping { seq: Seq(ping.seq), target }
            }
            (None, Some(ack), None, None, None, None) => Body::Ack { seq: Seq(ack.seq) },
            (None, None, Some(req), None, None, None) => {
                Body::PingReq { seq: Seq(req.seq), target: node(&req.target)? }
            }
            (None, None, None, Some(gone), None, None) => Body::Gone { seq: Seq(gone.seq) },
            (None, None, None, None, Some(request), None) => {
                let after = request.after.map(|id| node(&id)).transpose()?;
                Body::SyncRequest { seq: Seq(request.seq), after }
            }
            (None, None, None, None, None, Some(response)) => Body::SyncResponse {
                seq: Seq(response.seq),
                next: response.next.map(|id| node(&id)).transpose()?,
                observed: unpack(&response.observed).ok_or(Drop::Malformed)?,
            },
            (None, None, None, None, None, None) => return Err(Drop::UnknownMessage),
            _ => return Err(Drop::Malformed),
        };
        let updates = updates.into_iter().map(Update::try_from).collect::<Result<_, _>>()?;
        Ok(Message { body, updates })
    }
}

impl TryFrom<UpdateMirror> for Update {
    type Error = Drop;

    fn try_from(mirror: UpdateMirror) -> Result<Self, Drop> {
        let rank = *STATES.get(mirror.state as usize).ok_or(Drop::Malformed)?;
        let generation = Generation(counter(mirror.generation)?);
        let key = Key::alive(generation, Incarnation(counter(mirror.incarnation)?)).seen_as(rank);
        let record = mirror.record.map(|record| Record::try_from(*record)).transpose()?;
        // A record of a process start that the opinion does not know of is nothing that an honest member sends.
        if record.as_ref().is_some_and(|record| record.generation > generation) {
            return Err(Drop::Malformed);
        }
        Ok(Update { id: node(&mirror.id)?, key, record, age: Duration::from_millis(mirror.age_ms.min(AGE_MS_MAX)) })
    }
}

impl TryFrom<RecordMirror> for Record {
    type Error = Drop;

    fn try_from(mirror: RecordMirror) -> Result<Self, Drop> {
        let address = unpack(&mirror.address).filter(|address| is_usable(*address)).ok_or(Drop::Malformed)?;
        let plain_name = is_plain(&mirror.name, NAME_BYTES_MAX);
        let plain_http = mirror.http.as_ref().is_none_or(|http| is_plain(http, HTTP_BYTES_MAX));
        let restarting = mirror.restarting_ms.map(Duration::from_millis);
        if !plain_name || !plain_http || restarting.is_some_and(|time| time > RESTARTING_MAX) {
            return Err(Drop::Malformed);
        }
        Ok(Record {
            generation: Generation(counter(mirror.generation)?),
            version: counter(mirror.version)?,
            name: mirror.name,
            address,
            meta: Meta { http: mirror.http, consensus: mirror.consensus },
            restarting,
        })
    }
}

fn counter(value: u64) -> Result<u64, Drop> {
    if value > COUNTER_MAX { Err(Drop::Malformed) } else { Ok(value) }
}

fn node(bytes: &[u8]) -> Result<NodeId, Drop> {
    bytes.try_into().map(NodeId::from_bytes).map_err(|_| Drop::Malformed)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(AGE_MS_MAX).min(AGE_MS_MAX)
}

/// The address bytes (4 or 16), then the port, big-endian.
fn pack(address: SocketAddr) -> Vec<u8> {
    let mut bytes = match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend(address.port().to_be_bytes());
    bytes
}

fn unpack(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
    };
    Some(SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(*port)))
}

/// In the order of their wire numbers.
const STATES: [MemberState; 4] = [MemberState::Alive, MemberState::Suspect, MemberState::Dead, MemberState::Left];
const STATE_NAMES: [&str; 4] = ["alive", "suspect", "dead", "left"];
/// Older than any tombstone (30 days): what is older need not be told apart.
const AGE_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;

/// Ids in JSON: 32 hex digits.
mod id {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use crate::NodeId;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match <[u8; 16]>::try_from(bytes) {
            Ok(bytes) => serializer.collect_str(&NodeId::from_bytes(bytes)),
            Err(_) => serializer.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id: NodeId = text.parse().map_err(|_| de::Error::custom("not an id"))?;
        Ok(id.to_bytes().to_vec())
    }
}

/// As `id`, for a field that may be absent.
mod optional_id {
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::id::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        super::id::deserialize(deserializer).map(Some)
    }
}

/// Addresses in JSON: `ip:port`.
mod address {
    use std::net::SocketAddr;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        super::unpack(bytes).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        SocketAddr::deserialize(deserializer).map(super::pack)
    }
}

/// Member states in JSON: their names.
mod state {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use super::STATE_NAMES;

    pub(super) fn serialize<S: Serializer>(state: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(STATE_NAMES.get(*state as usize).copied().unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = String::deserialize(deserializer)?;
        let state = STATE_NAMES.iter().position(|name| *name == text);
        state.map(|state| state as u32).ok_or_else(|| de::Error::custom("not a member state"))
    }
}
