//! The contract of a codec: ours keep it, those of the wire too, and each of its cases catches a codec that does not.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use slimcluster::contract::{self, CodecContract};
use slimcluster::{Codec, CodecError, Index, NodeId, Term};
use slimcluster_core::machine::{Json, Postcard};
use slimcluster_core::node::message::{Forward, PeerMessage, Refusal};
use slimcluster_core::raft::{self, AppendEntries, AppendEntriesResponse, Conflict, RequestVote};
use slimcluster_core::swim::{Body, Incarnation, Key, MemberState, Message, Meta, Record, Seq, Update};
use slimcluster_core::wire::{self, Assembler, Envelope, cluster_tag};
use slimcluster_core::{
    Block, Generation, GroupId, LogId, LogTime, MachineId, Run, RunHeader, RunKind, SessionId, WallTime,
};

/// A command with every kind of part that serde has a form for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Command {
    Reset,
    Add(i64),
    Rename { from: String, to: Option<String> },
    Import(BTreeMap<String, Vec<u64>>),
    Nested(Vec<Vec<Command>>),
    Blob(Vec<u8>, f64, [u16; 3], char, u128),
}

fn commands() -> Vec<Command> {
    let import = (0..20).map(|n| (format!("key {n}"), vec![u64::MAX, n, 0])).collect();
    vec![
        Command::Reset,
        Command::Add(i64::MIN),
        Command::Rename { from: "\"quoted\" \u{1f980}".to_owned(), to: None },
        Command::Import(import),
        Command::Nested(vec![vec![], vec![Command::Reset, Command::Add(5)]]),
        Command::Blob(vec![0, 255, 7], -0.1, [1, 2, 65_535], '\u{10ffff}', u128::MAX),
        Command::Blob(vec![9; 3000], 0.0, [0; 3], 'x', 0),
    ]
}

/// The greatest number of bytes that this thread held beyond what it held before.
fn peak_bytes(work: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(work).bytes_max
}

#[test]
fn postcard_keeps_the_contract() {
    contract::codec(|| Postcard, commands())
        .built_in()
        .peak_bytes(peak_bytes)
        .written_before(vec![1, 84], Command::Add(42))
        .written_later(vec![6])
        .check();
}

#[test]
fn json_keeps_the_contract() {
    contract::codec(|| Json, commands())
        .built_in()
        .peak_bytes(peak_bytes)
        .written_before(r#"{"Add":42}"#, Command::Add(42))
        .written_later(r#"{"Multiply":2}"#)
        .check();
}

/// Whether checksums are made right before they are judged, so that garbage comes as far as the decoders behind them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checksums {
    AsTheyCome,
    Mended,
}

/// Puts the right checksum of all other bytes to `at`.
fn mend(bytes: &mut [u8], at: usize) {
    if bytes.len() >= at + 4 {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..at]), &bytes[at + 4..]);
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

/// The messages between nodes, as one codec of their own: the frames of a message with their lengths.
struct Links(wire::Codec, Checksums);

impl Codec<PeerMessage> for Links {
    fn id(&self) -> u8 {
        200
    }

    fn encode(&self, message: &PeerMessage) -> Result<Bytes, CodecError> {
        let mut bytes = BytesMut::new();
        for frame in wire::encode_peer_message(self.0, message) {
            bytes.put_u32_le(frame.len() as u32);
            bytes.put_slice(&frame);
        }
        Ok(bytes.freeze())
    }

    fn decode(&self, bytes: &[u8]) -> Result<PeerMessage, CodecError> {
        let refused = |error: &dyn ToString| CodecError(error.to_string());
        let (mut rest, mut assembler) = (Bytes::copy_from_slice(bytes), Assembler::default());
        while rest.len() >= 4 {
            let length = rest.get_u32_le() as usize;
            if length > rest.len() {
                break;
            }
            let mut frame = BytesMut::from(rest.split_to(length));
            if self.1 == Checksums::Mended {
                mend(&mut frame, 4);
            }
            let message = assembler.push(&frame.freeze()).map_err(|error| refused(&error))?;
            if let Some(message) = message {
                let decoded = wire::decode_peer_message(message).map_err(|error| refused(&error))?;
                return if rest.is_empty() { Ok(decoded) } else { Err(refused(&"more than one message")) };
            }
        }
        Err(refused(&"a message is cut short"))
    }
}

fn run(commands: &[&[u8]]) -> Run {
    let header = RunHeader {
        group: GroupId::DEFAULT,
        kind: RunKind::Command,
        codec: 1,
        command_version: 1,
        term: Term(3),
        first: Index(8),
        machine: MachineId(2),
        log_time: LogTime(500),
        wall_time: WallTime(1_700_000_000_000_000),
        chain: 77,
    };
    let count = commands.len() as u32;
    let block = Block { session: SessionId(5), first_number: 10, count, acked_below: 9 };
    Run::commands(header, vec![block], commands.iter().copied()).unwrap()
}

fn peer_messages() -> Vec<PeerMessage> {
    let raft = |message| PeerMessage::Raft { group: GroupId::DEFAULT, message };
    let (term, last) = (Term(3), LogId::new(Term(3), Index(7)));
    let append = |runs| AppendEntries { term, prev: last, prev_chain: 77, leader_commit: Index(6), round: 12, runs };
    let conflict = Some(Conflict { rejected: Index(9), hint: last });
    let response = AppendEntriesResponse { term, round: 12, match_index: Index(7), conflict };
    let run = run(&[b"add", b"", &[5; 70_000]]);
    vec![
        PeerMessage::Refused(Refusal { cluster_id: "shop".to_owned(), reason: "another cluster".to_owned() }),
        raft(raft::Message::RequestVote(RequestVote { term, last, released: true })),
        raft(raft::Message::AppendEntries(append(Vec::new()))),
        raft(raft::Message::AppendEntries(append(vec![run.clone()]))),
        raft(raft::Message::AppendEntriesResponse(response)),
        PeerMessage::Forward(Forward { run, number: 4 }),
        PeerMessage::ReadIndexResponse { group: GroupId::DEFAULT, id: 1 << 40, index: Some(Index(7)) },
    ]
}

#[test]
fn the_frames_of_both_encodings_keep_the_contract() {
    for encoding in [wire::Codec::Protobuf, wire::Codec::Json] {
        for checksums in [Checksums::AsTheyCome, Checksums::Mended] {
            contract::codec(move || Links(encoding, checksums), peer_messages()).peak_bytes(peak_bytes).check();
        }
    }
}

/// SWIM's datagrams, as a codec of their own.
struct Datagrams(wire::Codec, Checksums);

impl Codec<Message> for Datagrams {
    fn id(&self) -> u8 {
        201
    }

    fn encode(&self, message: &Message) -> Result<Bytes, CodecError> {
        let envelope = Envelope { cluster_tag: cluster_tag("shop"), sender: NodeId(7), generation: Generation(3) };
        Ok(wire::encode_datagram(self.0, &envelope, message))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Message, CodecError> {
        let mut datagram = bytes.to_vec();
        if self.1 == Checksums::Mended {
            mend(&mut datagram, 40);
        }
        let decoded = wire::decode_datagram(cluster_tag("shop"), &datagram.into());
        decoded.map(|(_, message)| message).map_err(|reason| CodecError(reason.to_string()))
    }
}

fn datagrams() -> Vec<Message> {
    let record = Record {
        generation: Generation(4),
        version: 2,
        name: "n1".to_owned(),
        address: "[::1]:60001".parse().unwrap(),
        meta: Meta { http: Some("127.0.0.1:8080".to_owned()), consensus: true },
        restarting: None,
    };
    let key = Key::alive(Generation(4), Incarnation(1));
    let age = std::time::Duration::ZERO;
    let alive = Update { id: NodeId(1), key, record: Some(record), age };
    let dead = Update { id: NodeId(2), key: key.seen_as(MemberState::Dead), record: None, age };
    let (seq, updates) = (Seq(u64::MAX), vec![alive, dead]);
    let observed = "10.0.0.9:4000".parse().unwrap();
    let bodies = [
        (Body::Ping { seq, target: Some((NodeId(1), Generation(4))) }, updates.clone()),
        (Body::Ack { seq: Seq(0) }, Vec::new()),
        (Body::PingReq { seq, target: NodeId(u128::MAX) }, Vec::new()),
        (Body::SyncResponse { seq, next: None, observed }, updates),
    ];
    bodies.into_iter().map(|(body, updates)| Message { body, updates }).collect()
}

#[test]
fn the_datagrams_of_both_encodings_keep_the_contract() {
    for encoding in [wire::Codec::Protobuf, wire::Codec::Json] {
        for checksums in [Checksums::AsTheyCome, Checksums::Mended] {
            contract::codec(move || Datagrams(encoding, checksums), datagrams()).peak_bytes(peak_bytes).check();
        }
    }
}

/// One promise that a codec breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    ForgetsNames,
    CountsItsCalls,
    NeedsItsOwnTable,
    BuiltInId,
    PanicsOnGarbage,
    ReadsWhatItCannotWrite,
    BelievesLengths,
    NewForm,
    TakesTheUnknownForAReset,
}

/// A codec of the test's own with perhaps one thing wrong.
struct Flawed {
    flaw: Option<Flaw>,
    calls: AtomicU32,
    table: std::sync::Mutex<HashMap<u32, Command>>,
}

impl Codec<Command> for Flawed {
    fn id(&self) -> u8 {
        if self.flaw == Some(Flaw::BuiltInId) { 1 } else { 128 }
    }

    fn encode(&self, command: &Command) -> Result<Bytes, CodecError> {
        match (self.flaw, command) {
            (Some(Flaw::ForgetsNames), Command::Rename { from, .. }) => {
                Postcard.encode(&Command::Rename { from: from.clone(), to: Some("somebody".to_owned()) })
            }
            (Some(Flaw::CountsItsCalls), _) => {
                let mut bytes = vec![self.calls.fetch_add(1, Ordering::Relaxed) as u8];
                bytes.extend_from_slice(&Postcard.encode(command)?);
                Ok(bytes.into())
            }
            (Some(Flaw::NeedsItsOwnTable), _) => {
                let mut table = self.table.lock().unwrap();
                let known = table.iter().find(|(_, other)| *other == command).map(|(number, _)| *number);
                let number = known.unwrap_or(table.len() as u32);
                table.insert(number, command.clone());
                Ok(Bytes::copy_from_slice(&number.to_le_bytes()))
            }
            (Some(Flaw::ReadsWhatItCannotWrite), Command::Add(n)) if *n != i64::MIN => {
                Err(CodecError("no other number can be written".to_owned()))
            }
            _ => Postcard.encode(command),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<Command, CodecError> {
        match self.flaw {
            Some(Flaw::CountsItsCalls) => Postcard.decode(bytes.get(1..).unwrap_or_default()),
            Some(Flaw::NeedsItsOwnTable) => {
                let number =
                    bytes.try_into().map(u32::from_le_bytes).map_err(|_| CodecError("no number".to_owned()))?;
                self.table.lock().unwrap().get(&number).cloned().ok_or_else(|| CodecError("not known".to_owned()))
            }
            Some(Flaw::PanicsOnGarbage) => Ok(Postcard.decode(bytes).unwrap()),
            Some(Flaw::BelievesLengths) => {
                let length = bytes.first_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length) >> 3);
                drop(Vec::<u8>::with_capacity(length as usize));
                Postcard.decode(bytes)
            }
            Some(Flaw::NewForm) => Postcard.decode(bytes.strip_prefix(b"2").unwrap_or_default()),
            Some(Flaw::TakesTheUnknownForAReset) => Ok(Postcard.decode(bytes).unwrap_or(Command::Reset)),
            _ => Postcard.decode(bytes),
        }
    }
}

fn flawed(flaw: Option<Flaw>) -> CodecContract<Command> {
    let make = move || Flawed { flaw, calls: AtomicU32::new(0), table: std::sync::Mutex::default() };
    let contract = contract::codec(make, commands()).peak_bytes(peak_bytes);
    contract.written_before(vec![1, 84], Command::Add(42)).written_later(vec![6])
}

#[test]
fn each_case_catches_a_codec_that_breaks_it() {
    use Flaw::*;
    let caught_by = [
        (ForgetsNames, "a_command_survives"),
        (CountsItsCalls, "equal_commands_have_equal_bytes"),
        (NeedsItsOwnTable, "a_codec_has_no_state"),
        (BuiltInId, "the_id_is_the_codecs_own"),
        (PanicsOnGarbage, "garbage_is_refused_or_read_but_never_a_panic"),
        (ReadsWhatItCannotWrite, "what_can_be_read_can_be_written_and_read_again"),
        (BelievesLengths, "garbage_costs_little_memory"),
        (NewForm, "what_earlier_releases_wrote_is_read"),
        (TakesTheUnknownForAReset, "what_later_releases_write_is_refused"),
    ];
    for (flaw, case) in caught_by {
        let report = flawed(Some(flaw)).only(case).report();
        assert_eq!(report.breached(), [case], "{flaw:?}: {report}");
    }
    let sound = flawed(None).report();
    sound.assert_kept();
    let names = sound.names().into_iter();
    let uncaught: Vec<&str> = names.filter(|name| caught_by.iter().all(|(_, case)| case != name)).collect();
    assert!(uncaught.is_empty(), "nothing shows that these cases can fail: {uncaught:?}");
}

/// A map whose order is drawn anew for each value, as a state machine's author may well put into a command.
struct Maps;

impl Codec<HashMap<String, u32>> for Maps {
    fn id(&self) -> u8 {
        129
    }

    fn encode(&self, command: &HashMap<String, u32>) -> Result<Bytes, CodecError> {
        Postcard.encode(command)
    }

    fn decode(&self, bytes: &[u8]) -> Result<HashMap<String, u32>, CodecError> {
        Postcard.decode(bytes)
    }
}

#[test]
fn a_command_with_a_randomly_seeded_map_has_other_bytes_each_time() {
    let command: HashMap<String, u32> = (0..50).map(|n| (n.to_string(), n)).collect();
    let report = contract::codec(|| Maps, [command]).report();
    assert!(report.breached().contains(&"equal_commands_have_equal_bytes"), "{report}");
}
