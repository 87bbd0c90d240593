//! Messages on links: the mirror of `node::PeerMessage` that Protobuf and JSON are derived from.
//!
//! The head of a message is one of these structs; the runs of AppendEntries and Forward follow it as they are. Unknown fields are
//! skipped, so that a newer build may add some. Terms, generations and ids are checked here, once.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::frame::{Assembled, FrameError, split};
use super::lists::{Field, Lists};
use super::{Codec, bootstrap, hex};
use crate::node::io::Meta;
use crate::node::message::{Forward, ForwardRefused, Hello, PeerMessage, Refusal};
use crate::raft::{self, AppendEntries, AppendEntriesResponse, Conflict};
use crate::types::COUNTER_MAX;
use crate::{ClusterUuid, Generation, GroupId, Index, LogId, NodeId, Nonce, Run, RunKind, Term};

/// The longest name or cluster id that a peer may state, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Encodes a message as the frames that carry it, in order.
pub fn encode_peer_message(codec: Codec, message: &PeerMessage) -> Vec<Bytes> {
    let (head, runs) = to_head(message);
    let body: Vec<Bytes> = if runs.is_empty() {
        Vec::new()
    } else {
        let mut bytes = BytesMut::with_capacity(runs.iter().map(Run::encoded_len).sum());
        for run in runs {
            run.encode(&mut bytes);
        }
        vec![bytes.freeze()]
    };
    split(codec, &encode_head(codec, &head), &body)
}

/// Decodes a message that was put together from its frames.
pub fn decode_peer_message(message: Assembled) -> Result<PeerMessage, FrameError> {
    let head = decode_head(message.codec, &message.head).ok_or(FrameError::Malformed)?;
    from_head(head, message.body).ok_or(FrameError::Malformed)
}

/// The lists in a head: those of the two greetings, and those of bootstrap.
static LISTS: Lists = Lists(&[
    Field::leading_to(1, Lists(&[Field::leading_to(12, bootstrap::HELLO_LISTS)])),
    Field::leading_to(2, Lists(&[Field::leading_to(12, bootstrap::HELLO_LISTS)])),
    Field::leading_to(4, bootstrap::LISTS),
]);

fn encode_head(codec: Codec, head: &Head) -> Vec<u8> {
    match codec {
        Codec::Protobuf => head.encode_to_vec(),
        // Only maps with keys that are not text can fail here, and a head has none.
        Codec::Json => serde_json::to_vec(head).unwrap_or_default(),
    }
}

fn decode_head(codec: Codec, bytes: &[u8]) -> Option<Head> {
    match codec {
        Codec::Protobuf if !LISTS.are_plausible(bytes) => None,
        Codec::Protobuf => Head::decode(bytes).ok(),
        Codec::Json => serde_json::from_slice(bytes).ok(),
    }
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct Head {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    message: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[prost(message, tag = "1")]
    Hello(HelloRecord),
    #[prost(message, tag = "2")]
    Welcome(HelloRecord),
    #[prost(message, tag = "3")]
    Refused(RefusalRecord),
    #[prost(message, tag = "4")]
    Bootstrap(bootstrap::BootstrapRecord),
    #[prost(message, tag = "5")]
    PreVote(VoteRecord),
    #[prost(message, tag = "6")]
    PreVoteResponse(VoteResponseRecord),
    #[prost(message, tag = "7")]
    RequestVote(VoteRecord),
    #[prost(message, tag = "8")]
    RequestVoteResponse(VoteResponseRecord),
    #[prost(message, tag = "9")]
    AppendEntries(AppendEntriesRecord),
    #[prost(message, tag = "10")]
    AppendEntriesResponse(AppendEntriesResponseRecord),
    #[prost(message, tag = "11")]
    Resign(ResignRecord),
    #[prost(message, tag = "12")]
    Forward(ForwardRecord),
    #[prost(message, tag = "13")]
    ForwardRefused(ForwardRefusedRecord),
    #[prost(message, tag = "14")]
    ReadIndex(ReadIndexRecord),
    #[prost(message, tag = "15")]
    ReadIndexResponse(ReadIndexResponseRecord),
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct HelloRecord {
    #[prost(string, tag = "1")]
    cluster_id: String,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(with = "hex")]
    uuid: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    #[serde(with = "hex")]
    from: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    #[serde(with = "hex")]
    to: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(string, tag = "6")]
    address: String,
    #[prost(uint64, tag = "7")]
    generation: u64,
    #[prost(uint64, tag = "8")]
    nonce: u64,
    #[prost(message, required, tag = "9")]
    last: LogIdRecord,
    #[prost(string, optional, tag = "10")]
    http: Option<String>,
    #[prost(bool, tag = "11")]
    consensus: bool,
    #[prost(message, optional, tag = "12")]
    bootstrap: Option<bootstrap::HelloRecord>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct RefusalRecord {
    #[prost(string, tag = "1")]
    cluster_id: String,
    #[prost(string, tag = "2")]
    reason: String,
}

#[derive(Clone, Copy, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct LogIdRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    index: u64,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct VoteRecord {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(message, required, tag = "3")]
    last: LogIdRecord,
    #[prost(bool, tag = "4")]
    released: bool,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct VoteResponseRecord {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, tag = "3")]
    asked: u64,
    #[prost(bool, tag = "4")]
    granted: bool,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct AppendEntriesRecord {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(message, required, tag = "3")]
    prev: LogIdRecord,
    #[prost(uint64, tag = "4")]
    prev_chain: u64,
    #[prost(uint64, tag = "5")]
    leader_commit: u64,
    #[prost(uint64, tag = "6")]
    round: u64,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct AppendEntriesResponseRecord {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, tag = "3")]
    round: u64,
    #[prost(uint64, tag = "4")]
    match_index: u64,
    #[prost(message, optional, tag = "5")]
    conflict: Option<ConflictRecord>,
}

#[derive(Clone, Copy, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct ConflictRecord {
    #[prost(uint64, tag = "1")]
    rejected: u64,
    #[prost(message, required, tag = "2")]
    hint: LogIdRecord,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct ResignRecord {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(bool, tag = "3")]
    successor: bool,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct ForwardRecord {
    #[prost(uint64, tag = "1")]
    number: u64,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct ForwardRefusedRecord {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    number: u64,
    #[prost(uint64, tag = "3")]
    term: u64,
    #[prost(uint32, tag = "4")]
    kind: u32,
    #[prost(bool, tag = "5")]
    overloaded: bool,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct ReadIndexRecord {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    id: u64,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct ReadIndexResponseRecord {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    id: u64,
    #[prost(uint64, optional, tag = "3")]
    index: Option<u64>,
}

fn to_head(message: &PeerMessage) -> (Head, &[Run]) {
    let mut runs: &[Run] = &[];
    let kind = match message {
        PeerMessage::Hello(hello) => Kind::Hello(hello_record(hello)),
        PeerMessage::Welcome(hello) => Kind::Welcome(hello_record(hello)),
        PeerMessage::Refused(refusal) => {
            Kind::Refused(RefusalRecord { cluster_id: refusal.cluster_id.clone(), reason: refusal.reason.clone() })
        }
        PeerMessage::Bootstrap(message) => Kind::Bootstrap(message.into()),
        PeerMessage::Raft { group, message } => {
            if let raft::Message::AppendEntries(append) = message {
                runs = &append.runs;
            }
            raft_record(group.0, message)
        }
        PeerMessage::Forward(forward) => {
            runs = std::slice::from_ref(&forward.run);
            Kind::Forward(ForwardRecord { number: forward.number })
        }
        PeerMessage::ForwardRefused(refused) => Kind::ForwardRefused(ForwardRefusedRecord {
            group: refused.group.0,
            number: refused.number,
            term: refused.term.0,
            kind: refused.kind as u32,
            overloaded: refused.overloaded,
        }),
        PeerMessage::ReadIndex { group, id } => Kind::ReadIndex(ReadIndexRecord { group: group.0, id: *id }),
        PeerMessage::ReadIndexResponse { group, id, index } => Kind::ReadIndexResponse(ReadIndexResponseRecord {
            group: group.0,
            id: *id,
            index: index.map(|index| index.0),
        }),
    };
    (Head { message: Some(kind) }, runs)
}

fn raft_record(group: u64, message: &raft::Message) -> Kind {
    let vote = |term: Term, last: LogId, released| VoteRecord { group, term: term.0, last: last.into(), released };
    match message {
        raft::Message::PreVote(m) => Kind::PreVote(vote(m.term, m.last, false)),
        raft::Message::RequestVote(m) => Kind::RequestVote(vote(m.term, m.last, m.released)),
        raft::Message::PreVoteResponse(m) => {
            Kind::PreVoteResponse(VoteResponseRecord { group, term: m.term.0, asked: m.asked.0, granted: m.granted })
        }
        raft::Message::RequestVoteResponse(m) => {
            Kind::RequestVoteResponse(VoteResponseRecord { group, term: m.term.0, asked: 0, granted: m.granted })
        }
        raft::Message::AppendEntries(m) => Kind::AppendEntries(AppendEntriesRecord {
            group,
            term: m.term.0,
            prev: m.prev.into(),
            prev_chain: m.prev_chain,
            leader_commit: m.leader_commit.0,
            round: m.round,
        }),
        raft::Message::AppendEntriesResponse(m) => Kind::AppendEntriesResponse(AppendEntriesResponseRecord {
            group,
            term: m.term.0,
            round: m.round,
            match_index: m.match_index.0,
            conflict: m.conflict.as_ref().map(|c| ConflictRecord { rejected: c.rejected.0, hint: c.hint.into() }),
        }),
        raft::Message::Resign(m) => Kind::Resign(ResignRecord { group, term: m.term.0, successor: m.successor }),
    }
}

fn from_head(head: Head, mut body: Bytes) -> Option<PeerMessage> {
    let mut runs = Vec::new();
    while !body.is_empty() {
        let run = Run::decode_from(&mut body).ok()?;
        term(run.term().0)?;
        runs.push(run);
    }
    let raft = |group: u64, message| Some(PeerMessage::Raft { group: GroupId(group), message });
    match head.message? {
        Kind::Hello(record) => Some(PeerMessage::Hello(Box::new(hello(record)?))),
        Kind::Welcome(record) => Some(PeerMessage::Welcome(Box::new(hello(record)?))),
        Kind::Refused(record) => Some(PeerMessage::Refused(Refusal {
            cluster_id: name(record.cluster_id)?,
            reason: if record.reason.len() <= 1024 { record.reason } else { return None },
        })),
        Kind::Bootstrap(record) => Some(PeerMessage::Bootstrap(record.try_into().ok()?)),
        Kind::PreVote(m) => {
            raft(m.group, raft::Message::PreVote(raft::PreVote { term: term(m.term)?, last: log_id(m.last)? }))
        }
        Kind::RequestVote(m) => raft(
            m.group,
            raft::Message::RequestVote(raft::RequestVote {
                term: term(m.term)?,
                last: log_id(m.last)?,
                released: m.released,
            }),
        ),
        Kind::PreVoteResponse(m) => raft(
            m.group,
            raft::Message::PreVoteResponse(raft::PreVoteResponse {
                term: term(m.term)?,
                asked: term(m.asked)?,
                granted: m.granted,
            }),
        ),
        Kind::RequestVoteResponse(m) => raft(
            m.group,
            raft::Message::RequestVoteResponse(raft::RequestVoteResponse { term: term(m.term)?, granted: m.granted }),
        ),
        Kind::AppendEntries(m) => raft(
            m.group,
            raft::Message::AppendEntries(AppendEntries {
                term: term(m.term)?,
                prev: log_id(m.prev)?,
                prev_chain: m.prev_chain,
                leader_commit: Index(m.leader_commit),
                round: m.round,
                runs,
            }),
        ),
        Kind::AppendEntriesResponse(m) => raft(
            m.group,
            raft::Message::AppendEntriesResponse(AppendEntriesResponse {
                term: term(m.term)?,
                round: m.round,
                match_index: Index(m.match_index),
                conflict: match m.conflict {
                    Some(c) => Some(Conflict { rejected: Index(c.rejected), hint: log_id(c.hint)? }),
                    None => None,
                },
            }),
        ),
        Kind::Resign(m) => {
            raft(m.group, raft::Message::Resign(raft::Resign { term: term(m.term)?, successor: m.successor }))
        }
        Kind::Forward(m) => match <[Run; 1]>::try_from(runs) {
            Ok([run]) => Some(PeerMessage::Forward(Forward { run, number: m.number })),
            Err(_) => None,
        },
        Kind::ForwardRefused(m) => Some(PeerMessage::ForwardRefused(ForwardRefused {
            group: GroupId(m.group),
            number: m.number,
            term: term(m.term)?,
            kind: u8::try_from(m.kind).ok().and_then(RunKind::from_u8)?,
            overloaded: m.overloaded,
        })),
        Kind::ReadIndex(m) => Some(PeerMessage::ReadIndex { group: GroupId(m.group), id: m.id }),
        Kind::ReadIndexResponse(m) => {
            Some(PeerMessage::ReadIndexResponse { group: GroupId(m.group), id: m.id, index: m.index.map(Index) })
        }
    }
}

fn hello_record(hello: &Hello) -> HelloRecord {
    HelloRecord {
        cluster_id: hello.cluster_id.clone(),
        uuid: hello.uuid.map(|uuid| uuid.to_bytes().to_vec()).unwrap_or_default(),
        from: hello.from.to_bytes().to_vec(),
        to: hello.to.map(|to| to.to_bytes().to_vec()).unwrap_or_default(),
        name: hello.name.clone(),
        address: hello.address.to_string(),
        generation: hello.generation.0,
        nonce: hello.nonce.0,
        last: hello.last.into(),
        http: hello.meta.http.clone(),
        consensus: hello.meta.consensus,
        bootstrap: hello.bootstrap.as_ref().map(Into::into),
    }
}

fn hello(record: HelloRecord) -> Option<Hello> {
    let address: SocketAddr = record.address.parse().ok()?;
    if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
        return None;
    }
    Some(Hello {
        cluster_id: name(record.cluster_id)?,
        uuid: optional(&record.uuid)?.map(ClusterUuid::from_bytes),
        from: NodeId::from_bytes(record.from.try_into().ok()?),
        to: optional(&record.to)?.map(NodeId::from_bytes),
        name: name(record.name)?,
        address,
        generation: Generation(record.generation).within()?,
        nonce: Nonce(record.nonce),
        last: log_id(record.last)?,
        meta: Meta {
            http: record.http.map(name).map_or(Some(None), |http| http.map(Some))?,
            consensus: record.consensus,
        },
        bootstrap: record.bootstrap.map(TryInto::try_into).transpose().ok()?,
    })
}

fn name(text: String) -> Option<String> {
    (text.len() <= NAME_BYTES_MAX).then_some(text)
}

/// 16 bytes, or none for the empty field; anything else is malformed.
fn optional(bytes: &[u8]) -> Option<Option<[u8; 16]>> {
    if bytes.is_empty() { Some(None) } else { bytes.try_into().ok().map(Some) }
}

fn term(term: u64) -> Option<Term> {
    (term <= COUNTER_MAX).then_some(Term(term))
}

fn log_id(record: LogIdRecord) -> Option<LogId> {
    Some(LogId::new(term(record.term)?, Index(record.index)))
}

impl From<LogId> for LogIdRecord {
    fn from(id: LogId) -> Self {
        LogIdRecord { term: id.term.0, index: id.index.0 }
    }
}

impl Generation {
    fn within(self) -> Option<Self> {
        (self.0 <= COUNTER_MAX).then_some(self)
    }
}
