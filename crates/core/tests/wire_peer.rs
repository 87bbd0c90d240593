//! Every message on a link, under both encodings: pinned bytes, round trips, and hostile bytes.
//!
//! `UPDATE_GOLDEN=1 cargo test -p slimcluster-core` rewrites the pinned bytes.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use slimcluster_core::node::bootstrap;
use slimcluster_core::node::io::Meta;
use slimcluster_core::node::message::{Forward, ForwardRefused, Hello, PeerMessage, Refusal};
use slimcluster_core::raft;
use slimcluster_core::random::Random;
use slimcluster_core::wire::{Assembler, Codec, decode_peer_message, encode_peer_message};
use slimcluster_core::{
    Block, ClusterUuid, Durability, Generation, GroupId, Index, LogId, LogTime, MachineId, NodeId, Nonce, Run,
    RunHeader, RunKind, SessionId, Term, WallTime,
};

const GROUP: GroupId = GroupId::DEFAULT;

fn run() -> Run {
    let header = RunHeader {
        group: GROUP,
        kind: RunKind::Command,
        codec: 1,
        command_version: 1,
        term: Term(3),
        first: Index(8),
        machine: MachineId(2),
        log_time: LogTime(500),
        wall_time: WallTime(1_700_000_000_000_000),
        chain: 0x1122_3344_5566_7788,
    };
    let blocks = vec![Block { session: SessionId(5), first_number: 10, count: 2, acked_below: 9 }];
    Run::commands(header, blocks, [&b"add"[..], b"reset"]).expect("two commands in a block of two")
}

fn hello() -> Hello {
    Hello {
        cluster_id: "sample".to_owned(),
        uuid: Some(ClusterUuid(0xc1)),
        from: NodeId(0xa1),
        to: Some(NodeId(0xa2)),
        name: "n1".to_owned(),
        address: "127.0.0.1:60001".parse().expect("an address"),
        generation: Generation(4),
        nonce: Nonce(77),
        last: LogId::new(Term(3), Index(9)),
        meta: Meta { http: Some("127.0.0.1:8081".to_owned()), consensus: true },
        bootstrap: Some(bootstrap::Hello {
            name: "n1".to_owned(),
            node_count: 3,
            durability: Durability::Fsync,
            revision: 2,
            claim: bootstrap::Claim::Formed { uuid: ClusterUuid(0xc1), members: vec![NodeId(0xa1), NodeId(0xa2)] },
        }),
    }
}

fn messages() -> Vec<(&'static str, PeerMessage)> {
    let raft = |message| PeerMessage::Raft { group: GROUP, message };
    let last = LogId::new(Term(2), Index(7));
    vec![
        ("hello", PeerMessage::Hello(Box::new(hello()))),
        ("welcome", PeerMessage::Welcome(Box::new(Hello { uuid: None, to: None, bootstrap: None, ..hello() }))),
        ("refused", PeerMessage::Refused(Refusal { cluster_id: "other".to_owned(), reason: "no".to_owned() })),
        (
            "bootstrap promises",
            PeerMessage::Bootstrap(bootstrap::Message::Promises {
                uuid: ClusterUuid(0xc1),
                promised: vec![NodeId(0xa1), NodeId(0xa2)],
            }),
        ),
        ("pre-vote", raft(raft::Message::PreVote(raft::PreVote { term: Term(3), last }))),
        (
            "pre-vote response",
            raft(raft::Message::PreVoteResponse(raft::PreVoteResponse {
                term: Term(3),
                asked: Term(2),
                granted: true,
            })),
        ),
        ("request vote", raft(raft::Message::RequestVote(raft::RequestVote { term: Term(3), last, released: true }))),
        (
            "request vote response",
            raft(raft::Message::RequestVoteResponse(raft::RequestVoteResponse { term: Term(3), granted: false })),
        ),
        (
            "append entries",
            raft(raft::Message::AppendEntries(raft::AppendEntries {
                term: Term(3),
                prev: last,
                prev_chain: 0x1122_3344_5566_7788,
                leader_commit: Index(6),
                round: 12,
                runs: vec![run()],
            })),
        ),
        (
            "append entries response",
            raft(raft::Message::AppendEntriesResponse(raft::AppendEntriesResponse {
                term: Term(3),
                round: 12,
                match_index: Index(5),
                conflict: Some(raft::Conflict { rejected: Index(7), hint: LogId::new(Term(1), Index(6)) }),
            })),
        ),
        ("resign", raft(raft::Message::Resign(raft::Resign { term: Term(3), successor: true }))),
        ("forward", PeerMessage::Forward(Forward { run: run(), number: 6 })),
        (
            "forward refused",
            PeerMessage::ForwardRefused(ForwardRefused {
                group: GROUP,
                number: 6,
                term: Term(3),
                kind: RunKind::Command,
                overloaded: true,
            }),
        ),
        ("read index", PeerMessage::ReadIndex { group: GROUP, id: 9 }),
        ("read index response", PeerMessage::ReadIndexResponse { group: GROUP, id: 9, index: Some(Index(8)) }),
    ]
}

fn decode(frames: &[Bytes]) -> Option<PeerMessage> {
    let mut assembler = Assembler::default();
    let mut assembled = None;
    for frame in frames {
        assembled = assembler.push(frame).ok()?;
    }
    decode_peer_message(assembled?).ok()
}

#[test]
fn every_message_has_its_golden_bytes_and_survives() {
    let mut text = String::new();
    for (name, message) in messages() {
        for codec in [Codec::Protobuf, Codec::Json] {
            let frames = encode_peer_message(codec, &message);
            assert_eq!(decode(&frames), Some(message.clone()), "{name} as {codec:?}");
            let hex: String = frames.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{name} | {codec:?} | {hex}").expect("writing to a string");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testvectors/peer.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the vectors can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, expected) in text.lines().zip(golden.lines()) {
        assert_eq!(
            line, expected,
            "an encoding changed; if that is meant: UPDATE_GOLDEN=1 cargo test -p slimcluster-core"
        );
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "messages without golden bytes");
}

#[test]
fn json_on_the_wire_is_readable() {
    let frames = encode_peer_message(Codec::Json, &messages()[0].1);
    let text = String::from_utf8_lossy(&frames[0]);
    assert!(text.contains(r#""name":"n1""#) && text.contains("00000000000000000000000000a1"), "{text}");
}

#[test]
fn counters_out_of_range_and_bad_addresses_are_refused() {
    let term = raft::Message::Resign(raft::Resign { term: Term((1 << 48) + 1), successor: false });
    let bad = [
        PeerMessage::Raft { group: GROUP, message: term },
        PeerMessage::Hello(Box::new(Hello { generation: Generation(u64::MAX), ..hello() })),
        PeerMessage::Hello(Box::new(Hello { name: "n".repeat(256), ..hello() })),
        PeerMessage::Hello(Box::new(Hello { address: "0.0.0.0:1".parse().expect("an address"), ..hello() })),
        PeerMessage::Hello(Box::new(Hello { address: "127.0.0.1:0".parse().expect("an address"), ..hello() })),
    ];
    for message in bad {
        for codec in [Codec::Protobuf, Codec::Json] {
            assert_eq!(decode(&encode_peer_message(codec, &message)), None, "{message:?}");
        }
    }
}

/// Bytes that pass the checksum may still be nonsense: heads and bodies are damaged before they are framed.
#[test]
fn damaged_messages_are_refused_or_read_and_never_panic() {
    let mut rng = Random::new(7);
    for (_, message) in messages() {
        for codec in [Codec::Protobuf, Codec::Json] {
            let whole = encode_peer_message(codec, &message);
            for _ in 0..300 {
                let mut frame = whole[0].to_vec();
                for _ in 0..=rng.below(3) {
                    let at = 8 + rng.below(frame.len() as u64 - 8) as usize;
                    frame[at] = rng.next() as u8;
                }
                let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..]);
                frame[4..8].copy_from_slice(&crc.to_le_bytes());
                let _ = decode(&[frame.into()]);
            }
        }
    }
}
