//! The first inputs of each target, so that a fuzzer starts behind the first checks: the golden vectors of the wire, and values of the
//! library in their encoded form.

use bytes::{BufMut, BytesMut};
use slimcluster_core::machine::{MachineEntry, SessionEntry};
use slimcluster_core::raft::{Configuration, ConfiguredNode, Standing};
use slimcluster_core::wire::{LENGTH_BYTES, put_frame};
use slimcluster_core::{Durability, Generation, NodeId, SessionId};

use crate::peer::{BOOTSTRAP, HANDSHAKE, KINDS, RAFT, REQUESTS};
use crate::{bounds, host, store};

/// A first input of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The target.
    pub target: &'static str,
    /// A name for its file.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

const DATAGRAMS: &str = include_str!("../../../crates/core/testvectors/datagram.txt");
const PEER_MESSAGES: &str = include_str!("../../../crates/core/testvectors/peer.txt");

/// Bytes of a frame before the head's length, and of that length.
const FRAME_HEADER_BYTES: usize = 8;
const HEAD_LENGTH_BYTES: usize = 4;

/// Every seed.
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, bytes) in vectors(DATAGRAMS) {
        let target = if name == "announcement" { "announcement" } else { "gossip_datagram" };
        seeds.push(Seed { target, name, bytes });
    }
    for (name, bytes) in vectors(PEER_MESSAGES) {
        // On a proven link; as it stands; its bytes as a piece.
        let frame = [&[1, 0][..], &piece(&bytes)].concat();
        seeds.push(Seed { target: "link_frames", name: name.clone(), bytes: frame });
        seeds.push(Seed { target: "stream", name: name.clone(), bytes: divided(&bytes) });
        seeds.extend(peer_message(&name, &bytes).into_iter().flatten());
    }
    seeds.extend(long_messages());
    seeds.extend(entries());
    seeds.extend(hosts_and_stores());
    let at_the_bounds: Vec<Seed> = seeds.iter().flat_map(at_the_bounds).collect();
    seeds.extend(at_the_bounds);
    seeds
}

/// The same input with its numbers at the edge of what is allowed, where the target's input is a message or holds one at a known place.
fn at_the_bounds(seed: &Seed) -> Vec<Seed> {
    const ENVELOPE_BYTES: usize = 44;
    let bytes = &seed.bytes[..];
    let variants: Vec<Vec<u8>> = match seed.target {
        "session_entry" | "identity_file" | "peers_file" | "host_restore" => bounds::protobuf(bytes),
        "hard_state_file" => {
            let Some((even, odd)) = pieces(bytes) else { return Vec::new() };
            let odd = bounds::protobuf(odd).into_iter().map(|odd| [piece(even), odd].concat());
            bounds::protobuf(even).into_iter().map(|even| piece(&even)).chain(odd).collect()
        }
        "gossip_datagram" => {
            let Some((envelope, body)) = bytes.split_at_checked(ENVELOPE_BYTES) else { return Vec::new() };
            moved(envelope[7] == 2, body).into_iter().map(|body| [envelope, &body].concat()).collect()
        }
        "handshake" | "bootstrap_message" | "raft_message" | "leader_request" => {
            let Some((selectors, rest)) = bytes.split_at_checked(2) else { return Vec::new() };
            let Some((record, body)) = pieces(rest) else { return Vec::new() };
            moved(selectors[1] == 1, record).iter().map(|record| [selectors, &piece(record), body].concat()).collect()
        }
        _ => Vec::new(),
    };
    let named =
        |(number, bytes)| Seed { target: seed.target, name: format!("{} at a bound {number}", seed.name), bytes };
    variants.into_iter().enumerate().map(named).collect()
}

fn moved(is_json: bool, message: &[u8]) -> Vec<Vec<u8>> {
    match std::str::from_utf8(message) {
        Ok(text) if is_json => bounds::json(text).into_iter().map(String::into_bytes).collect(),
        _ => bounds::protobuf(message),
    }
}

/// A piece as `Draw::piece` takes it, and what is behind.
fn pieces(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

/// A stream of this frame, an empty one, and a length that no frame has, which arrives in three pieces.
fn divided(frame: &[u8]) -> Vec<u8> {
    let mut stream = BytesMut::new();
    for frame in [frame, &[]] {
        put_frame(&mut stream, frame);
    }
    stream.put_u32_le(u32::MAX);
    let (start, rest) = stream.split_at(LENGTH_BYTES / 2);
    let (middle, end) = rest.split_at(rest.len() / 2);
    [start, middle, end].map(piece).concat()
}

/// Messages of many parts, up to the limit of a link whose peer is not proven and of one whose peer is, and a little beyond.
fn long_messages() -> impl Iterator<Item = Seed> {
    const REPEATED: u8 = 12 << 4;
    const SEALED: u8 = 1;
    const FIRST: u8 = 1;
    const LAST: u8 = 2;
    let frame = |how: u8, flags: u8, bytes: usize| {
        let frame = [&[1, 1, 0, flags, 0, 0, 0, 0][..], &vec![0; bytes]].concat();
        [&[SEALED | how][..], &piece(&frame)].concat()
    };
    // 4,096 parts of 1,023 bytes, and what is missing to 4 MiB; the first part holds the head's length.
    let long =
        |last: usize| [&[1][..], &frame(0, FIRST, 96), &frame(REPEATED, 0, 1_023), &frame(0, LAST, last)].concat();
    let short = |last: usize| [&[0][..], &frame(0, FIRST, 384), &frame(4 << 4, 0, 999), &frame(0, LAST, last)].concat();
    [
        ("longest", long(4_000)),
        ("too long", long(4_001)),
        ("longest unproven", short(16)),
        ("too long unproven", short(17)),
        ("overtaken", [&[1][..], &frame(0, FIRST, 10), &frame(0, FIRST | LAST, 4), &frame(0, LAST, 10)].concat()),
    ]
    .into_iter()
    .map(|(name, bytes)| Seed { target: "link_frames", name: name.to_owned(), bytes })
}

/// Name and bytes of each line, the encoding part of the name.
fn vectors(text: &str) -> impl Iterator<Item = (String, Vec<u8>)> {
    text.lines().filter_map(|line| {
        let (name, hex) = line.rsplit_once(" | ")?;
        let bytes = hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        Some((name.replace(" | ", " "), bytes.collect::<Option<Vec<u8>>>()?))
    })
}

/// The input that makes a message target see the message of a golden frame, and the runs that it carries.
fn peer_message(name: &str, frame: &[u8]) -> Option<Vec<Seed>> {
    let codec = *frame.get(1)?;
    let message = frame.get(FRAME_HEADER_BYTES..)?;
    let head_bytes = u32::from_le_bytes(*message.first_chunk()?) as usize;
    let (head, body) = message.get(HEAD_LENGTH_BYTES..)?.split_at_checked(head_bytes)?;
    let (kind, record) = if codec == 1 {
        let varint = head.get(1..)?.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        (usize::from(head[0] >> 3), head.get(1 + varint..)?)
    } else {
        let text = std::str::from_utf8(head).ok()?;
        let (kind, record) = text.strip_prefix("{\"message\":{\"")?.split_once("\":")?;
        (KINDS.iter().position(|known| *known == kind)? + 1, record.strip_suffix("}}")?.as_bytes())
    };
    let families: [(&str, &[usize]); 4] = [
        ("handshake", &HANDSHAKE),
        ("bootstrap_message", &BOOTSTRAP),
        ("raft_message", &RAFT),
        ("leader_request", &REQUESTS),
    ];
    let (target, kinds) = families.into_iter().find(|(_, kinds)| kinds.contains(&kind))?;
    let selector = kinds.iter().position(|known| *known == kind)? as u8;
    let bytes = [&[selector, codec - 1][..], &piece(record), body].concat();
    let mut seeds = vec![Seed { target, name: name.to_owned(), bytes }];
    if !body.is_empty() && codec == 1 {
        seeds.push(Seed { target: "run", name: name.to_owned(), bytes: body.to_vec() });
    }
    Some(seeds)
}

fn entries() -> Vec<Seed> {
    let open = SessionEntry::Open { node: NodeId(0xabcd), generation: Generation(300) };
    let close = SessionEntry::Close { session: SessionId(7) };
    let machine = MachineEntry { name: "counter".to_owned() };
    let standings = [Standing::Voter, Standing::Learner, Standing::Incoming, Standing::Outgoing, Standing::Demoting];
    let nodes = standings.into_iter().zip(1..).map(|(standing, id)| ConfiguredNode {
        id: NodeId(id),
        name: format!("n{id}"),
        durability: Durability::Fsync,
        standing,
    });
    let joint = Configuration::new(nodes.collect()).map(|configuration| configuration.encode()).unwrap_or_default();
    [
        ("session_entry", "open", open.encode()),
        ("session_entry", "close", close.encode()),
        ("machine_entry", "counter", machine.encode()),
        ("configuration_entry", "joint", joint),
    ]
    .into_iter()
    .map(|(target, name, bytes)| Seed { target, name: name.to_owned(), bytes: bytes.to_vec() })
    .collect()
}

/// A snapshot, a short log, and the files of a small store.
fn hosts_and_stores() -> Vec<Seed> {
    const FRAME_BYTES: usize = 20;
    const SEGMENT_HEADER_BYTES: usize = 64;
    let files = store::sample().1;
    let file = |name: &str| files.get(name).cloned().unwrap_or_default();
    let body = |bytes: &[u8]| {
        let length =
            bytes.get(12..16).map_or(0, |length| u32::from_le_bytes([length[0], length[1], length[2], length[3]]));
        bytes.get(FRAME_BYTES..FRAME_BYTES + length as usize).unwrap_or_default().to_vec()
    };
    let identity = body(&file("identity"));
    let hard_state = file("hardstate");
    let (even, odd) = hard_state.split_at(hard_state.len() / 2);
    let (even, odd) = (body(even), body(odd));
    let segment = file(&store::segment_name(1));
    let records = segment.get(SEGMENT_HEADER_BYTES..).unwrap_or_default();
    let used = records.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1).next_multiple_of(8);
    let whole = [&[1][..], &piece(&identity), &[4], &piece(&even), &piece(&odd), &[10], &piece(&records[..used])];
    [
        ("host_restore", "snapshot", host::sample_snapshot().to_vec()),
        ("host_apply", "commands", host::sample_runs()),
        ("store_directory", "sound", whole.concat()),
        ("store_directory", "empty", Vec::new()),
        // Two runs, an idle batch, a vote, a run; then one bit of the first file.
        ("store_damage", "bit", vec![5, 4, 1, 20, 36, 2, 30, 1, 3, 2, 7, 4, 0, 9, 1, 0, 100, 0, 3, 0]),
        ("identity_file", "sound", identity),
        ("hard_state_file", "sound", [piece(&even), odd].concat()),
        ("peers_file", "empty", Vec::new()),
        ("peers_file", "two", body(&file("peers"))),
        ("simulator_plan", "calm", vec![1, 0]),
        ("simulator_plan", "crashes", vec![2, 0, 200, 8, 6, 1, 200, 8, 7, 2, 100, 1, 0, 3, 200, 8, 10, 4]),
        // A follower: two peers introduce themselves, one sends entries; time passes, and what was written is durable.
        (
            "node",
            "follower",
            vec![0, 6, 0, 0, 0, 1, 9, 6, 1, 0, 0, 1, 9, 17, 0, 0, 1, 0, 0, 0, 0, 0, 0, 12, 1, 0, 1, 0],
        ),
        // A single voter elects itself and takes a command.
        (
            "node",
            "leader",
            vec![2, 1, 0, 1, 0, 12, 1, 0, 12, 13, 0, 0, 1, 0, 12, 13, 3, 3, 2, b'a', b'b', 12, 1, 0, 12],
        ),
        ("node", "fresh", vec![1, 6, 0, 3, 1, 1, 1, 6, 1, 3, 1, 1, 1, 1, 0, 12, 1, 0, 12]),
    ]
    .into_iter()
    .map(|(target, name, bytes)| Seed { target, name: name.to_owned(), bytes })
    .collect()
}

/// Bytes as `Draw::piece` takes them.
pub(crate) fn piece(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
    [&(bytes.len() as u16).to_le_bytes(), bytes].concat()
}
