//! Messages on links, one target per family, so that each keeps a corpus of its own.
//!
//! An input is: which message of the family (one byte), which encoding (one byte), the record (a piece), and the bytes of runs (the rest). The
//! head's envelope, a tag and a length, is put around the record here.

use bytes::Bytes;
use slimcluster_core::node::bootstrap;
use slimcluster_core::node::message::{Hello, PeerMessage};
use slimcluster_core::raft::{self, AppendEntries};
use slimcluster_core::types::COUNTER_MAX;
use slimcluster_core::wire::{
    Assembled, Assembler, Codec, HANDSHAKE_BYTES_MAX, MESSAGE_BYTES_MAX, decode_peer_message, encode_peer_message,
};

use crate::draw::Draw;
use crate::gossip::UNAUTHENTICATED_BYTES_MAX;
use crate::{allocations, bounds};

/// The messages by their tags in Protobuf, counted from 1, and their names in JSON.
pub const KINDS: [&str; 15] = [
    "hello",
    "welcome",
    "refused",
    "bootstrap",
    "pre_vote",
    "pre_vote_response",
    "request_vote",
    "request_vote_response",
    "append_entries",
    "append_entries_response",
    "resign",
    "forward",
    "forward_refused",
    "read_index",
    "read_index_response",
];

/// The kinds of each target.
pub const HANDSHAKE: [usize; 3] = [1, 2, 3];
/// See [`HANDSHAKE`].
pub const BOOTSTRAP: [usize; 1] = [4];
/// See [`HANDSHAKE`].
pub const RAFT: [usize; 7] = [5, 6, 7, 8, 9, 10, 11];
/// See [`HANDSHAKE`].
pub const REQUESTS: [usize; 4] = [12, 13, 14, 15];

/// The longest text in a handshake.
const NAME_BYTES_MAX: usize = 255;
/// Ids in one list, and sets in one message.
const IDS_MAX: usize = 1_024;
const ABANDONED_MAX: usize = 64;

/// Hello, Welcome and Refused: what an unproven link may carry.
pub fn handshake(bytes: &[u8]) {
    // What is longer is refused before it is decoded.
    if bytes.len() > HANDSHAKE_BYTES_MAX {
        return;
    }
    judge(&HANDSHAKE, bytes, |_| UNAUTHENTICATED_BYTES_MAX);
}

/// What nodes say while a cluster forms.
pub fn bootstrap(bytes: &[u8]) {
    judge(&BOOTSTRAP, bytes, authenticated);
}

/// Raft: votes, entries and their answers.
pub fn raft(bytes: &[u8]) {
    judge(&RAFT, bytes, authenticated);
}

/// Forwarded commands, questions for the read index, and their answers.
pub fn requests(bytes: &[u8]) {
    judge(&REQUESTS, bytes, authenticated);
}

/// A proven peer may make a node hold a few times what it sends, and no more: the elements of lists are small, and vectors double.
fn authenticated(input_bytes: usize) -> usize {
    4_096 + 8 * input_bytes
}

fn judge(kinds: &[usize], bytes: &[u8], held_max: impl Fn(usize) -> usize) {
    let mut draw = Draw::new(bytes);
    let kind = kinds[draw.below(kinds.len())];
    let codec = if draw.u8() & 1 == 0 { Codec::Protobuf } else { Codec::Json };
    let (record, body) = (draw.piece(), Bytes::copy_from_slice(draw.rest()));
    let received = Assembled { codec, head: head(kind, codec, record), body };
    let held_max = held_max(received.head.len() + received.body.len());
    let copy = received.clone();
    let decoded = allocations::within(held_max, "decoding a message", || decode_peer_message(copy));
    let Ok(message) = decoded else { return };
    check_bounds(&message);
    for codec in [Codec::Protobuf, Codec::Json] {
        let assembled = assemble(codec, &message);
        if let Some(assembled) = assembled {
            assert_eq!(decode_peer_message(assembled), Ok(message.clone()), "{codec:?}");
        }
    }
}

/// A head that holds `record` as the message of this kind.
pub fn head(kind: usize, codec: Codec, record: &[u8]) -> Bytes {
    match codec {
        Codec::Protobuf => {
            let mut head = vec![(kind as u8) << 3 | 2];
            head.extend(bounds::encoded(record.len() as u64));
            head.extend(record);
            head.into()
        }
        Codec::Json => {
            let (before, behind) = (format!("{{\"message\":{{\"{}\":", KINDS[kind - 1]), b"}}");
            [before.as_bytes(), record, behind].concat().into()
        }
    }
}

/// The message as a peer puts it together; none if it is longer than any peer would take it.
fn assemble(codec: Codec, message: &PeerMessage) -> Option<Assembled> {
    let frames = encode_peer_message(codec, message);
    if frames.iter().map(Bytes::len).sum::<usize>() > MESSAGE_BYTES_MAX {
        return None;
    }
    let mut assembler = Assembler::default();
    let (last, others) = frames.split_last().expect("a message has a frame");
    for frame in others {
        assert_eq!(assembler.push(frame), Ok(None));
    }
    let done = assembler.push(last).expect("own frames are sound");
    Some(done.expect("the last frame completes the message"))
}

fn check_bounds(message: &PeerMessage) {
    match message {
        PeerMessage::Hello(hello) | PeerMessage::Welcome(hello) => check_hello(hello),
        PeerMessage::Refused(refusal) => {
            assert!(refusal.cluster_id.len() <= NAME_BYTES_MAX && refusal.reason.len() <= 1_024);
        }
        PeerMessage::Raft { message, .. } => {
            assert!(message.term().0 <= COUNTER_MAX, "{message:?}");
            match message {
                raft::Message::PreVote(m) => assert!(m.last.term.0 <= COUNTER_MAX),
                raft::Message::PreVoteResponse(m) => assert!(m.asked.0 <= COUNTER_MAX),
                raft::Message::RequestVote(m) => assert!(m.last.term.0 <= COUNTER_MAX),
                raft::Message::AppendEntries(AppendEntries { prev, runs, .. }) => {
                    assert!(prev.term.0 <= COUNTER_MAX && runs.iter().all(|run| run.term().0 <= COUNTER_MAX));
                }
                raft::Message::AppendEntriesResponse(m) => {
                    assert!(m.conflict.as_ref().is_none_or(|conflict| conflict.hint.term.0 <= COUNTER_MAX));
                }
                raft::Message::RequestVoteResponse(_) | raft::Message::Resign(_) => {}
            }
        }
        PeerMessage::Bootstrap(message) => check_bootstrap(message),
        PeerMessage::Forward(forward) => assert!(forward.run.term().0 <= COUNTER_MAX),
        PeerMessage::ForwardRefused(refused) => assert!(refused.term.0 <= COUNTER_MAX),
        PeerMessage::ReadIndex { .. } | PeerMessage::ReadIndexResponse { .. } => {}
    }
}

fn check_hello(hello: &Hello) {
    assert!(hello.generation.0 <= COUNTER_MAX && hello.last.term.0 <= COUNTER_MAX, "{hello:?}");
    let texts = [Some(&hello.cluster_id), Some(&hello.name), hello.meta.http.as_ref()];
    assert!(texts.into_iter().flatten().all(|text| text.len() <= NAME_BYTES_MAX), "{hello:?}");
    let ip = hello.address.ip();
    assert!(hello.address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast(), "{hello:?}");
    if let Some(hello) = &hello.bootstrap {
        check_bootstrap(&bootstrap::Message::Hello(hello.clone()));
    }
}

fn check_bootstrap(message: &bootstrap::Message) {
    match message {
        bootstrap::Message::Hello(hello) => {
            assert!(!hello.name.is_empty() && hello.name.len() <= NAME_BYTES_MAX);
            if let bootstrap::Claim::Formed { members, .. } = &hello.claim {
                assert!(members.len() <= IDS_MAX);
            }
        }
        bootstrap::Message::Promises { promised, .. } => assert!(promised.len() <= IDS_MAX),
        bootstrap::Message::Abandoned(abandoned) => {
            assert!(abandoned.len() <= ABANDONED_MAX && abandoned.iter().all(|a| a.set.len() <= IDS_MAX));
        }
    }
}
