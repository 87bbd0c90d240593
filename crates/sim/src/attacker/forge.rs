//! What the attacker makes of what it has heard: bytes that look like a datagram or a frame, and are none.

use bytes::Bytes;
use slimcluster_core::node::message::{Hello, PeerMessage};
use slimcluster_core::random::Random;
use slimcluster_core::swim::{Body, Message, Seq};
use slimcluster_core::types::COUNTER_MAX;
use slimcluster_core::wire::{
    Assembler, Codec, Envelope, FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX, cluster_tag, decode_datagram,
    decode_peer_message, encode_datagram, encode_peer_message,
};
use slimcluster_core::{Generation, NodeId};

use super::tape::Tape;
use crate::lifecycle::CLUSTER_ID;

/// Where the checksum of a datagram stands, and where its body begins.
const DATAGRAM_CHECKSUM: usize = 40;
const DATAGRAM_BODY: usize = 44;
/// Where the checksum of a frame stands, and where its part begins.
const FRAME_CHECKSUM: usize = 4;
const FRAME_PART: usize = 8;
/// The flag of a frame that begins a message.
const FIRST: u8 = 1;
/// The longest datagram that UDP carries.
const UDP_BYTES_MAX: u64 = 65_507;

/// Bytes that no node takes for a datagram.
pub(super) fn datagram(rng: &mut Random, tape: &Tape) -> Bytes {
    let pair = [datagram_heard(rng, tape), datagram_heard(rng, tape)];
    let forged = twisted(rng, &pair, |bytes| (bytes.len() >= DATAGRAM_BODY).then_some(DATAGRAM_CHECKSUM));
    if decode_datagram(cluster_tag(CLUSTER_ID), &forged).is_err() {
        return forged;
    }
    // It came out as one by chance, or nothing was changed.
    forged.slice(..forged.len().min(DATAGRAM_BODY - 1))
}

fn datagram_heard(rng: &mut Random, tape: &Tape) -> Bytes {
    tape.datagrams.pick(rng).map(|heard| heard.what.1.clone()).unwrap_or_default()
}

/// A question of nobody: well-formed, and its answer is longer than it.
pub(super) fn question(rng: &mut Random) -> Bytes {
    let envelope = Envelope {
        cluster_tag: cluster_tag(CLUSTER_ID),
        sender: NodeId(rng.next_u128()),
        generation: Generation(1 + rng.below(COUNTER_MAX)),
    };
    let seq = Seq(rng.next());
    let body = if rng.chance(1, 2) { Body::SyncRequest { seq, after: None } } else { Body::Ping { seq, target: None } };
    encode_datagram(codec(rng), &envelope, &Message { body, updates: Vec::new() })
}

fn codec(rng: &mut Random) -> Codec {
    if rng.chance(1, 2) { Codec::Json } else { Codec::Protobuf }
}

/// Frames of which no node makes a greeting.
pub(super) fn frames(rng: &mut Random, tape: &Tape) -> Vec<Bytes> {
    let heard = |rng: &mut Random| tape.frames.pick(rng).cloned().unwrap_or_default();
    let forged = match rng.below(6) {
        // A message of the middle of a conversation, as it was said.
        0 => heard(rng),
        1 => noise(rng, FRAME_BYTES_MAX as u64 + 100),
        // It announces more than it has.
        2 => sealed_frame(0b11, &[&u32::MAX.to_le_bytes()[..], &noise(rng, 200)].concat()),
        // It begins, and does not end.
        3 => sealed_frame(FIRST, &noise(rng, 200)),
        4 => {
            let part = vec![0; HANDSHAKE_BYTES_MAX / 2 + 1];
            return vec![sealed_frame(FIRST, &part), sealed_frame(0, &part)];
        }
        _ => {
            let pair = [heard(rng), heard(rng)];
            twisted(rng, &pair, |bytes| (bytes.len() >= FRAME_PART).then_some(FRAME_CHECKSUM))
        }
    };
    let message = Assembler::unproven().push(&forged).ok().flatten().map(decode_peer_message);
    match message {
        Some(Ok(PeerMessage::Hello(_))) => vec![forged.slice(..FRAME_PART - 1)],
        _ => vec![forged],
    }
}

/// A greeting.
pub(super) fn greeting(rng: &mut Random, hello: Hello) -> Vec<Bytes> {
    encode_peer_message(codec(rng), &PeerMessage::Hello(Box::new(hello)))
}

/// One of the two, cut, mixed with the other, or with some bits changed; half of them with a checksum that holds. `seal`: where it
/// stands, if there is room for one.
fn twisted(rng: &mut Random, heard: &[Bytes; 2], seal: impl Fn(&[u8]) -> Option<usize>) -> Bytes {
    let mut bytes = heard[0].to_vec();
    match rng.below(5) {
        0 => return noise(rng, 1_600),
        1 => return noise(rng, UDP_BYTES_MAX),
        2 => bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize),
        3 => {
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            bytes.extend(heard[1].iter().skip(rng.below(heard[1].len() as u64 + 1) as usize));
        }
        _ => {
            for _ in 0..=rng.below(8) {
                let at = rng.below(bytes.len().max(1) as u64) as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.next() as u8;
                }
            }
        }
    }
    if let Some(at) = seal(&bytes).filter(|_| rng.chance(1, 2)) {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..at]), &bytes[at + 4..]);
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }
    bytes.into()
}

fn noise(rng: &mut Random, bytes_max: u64) -> Bytes {
    let bytes = rng.below(bytes_max + 1) as usize;
    (0..bytes.div_ceil(8)).flat_map(|_| rng.next().to_le_bytes()).take(bytes).collect()
}

fn sealed_frame(flags: u8, part: &[u8]) -> Bytes {
    let mut frame = vec![1, 1, 0, flags, 0, 0, 0, 0];
    let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..FRAME_CHECKSUM]), part);
    frame[FRAME_CHECKSUM..].copy_from_slice(&crc.to_le_bytes());
    frame.extend_from_slice(part);
    frame.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use slimcluster_core::wire::{Drop, FrameError};

    use super::*;

    fn tape() -> Tape {
        let mut tape = Tape::new(Random::new(1));
        let mut rng = Random::new(2);
        for _ in 0..20 {
            tape.hear_datagram(0, ([10, 0, 0, 1], 7_000).into(), question(&mut rng));
            let asked = PeerMessage::ReadIndex { group: slimcluster_core::GroupId::DEFAULT, id: rng.next() };
            encode_peer_message(Codec::Protobuf, &asked).into_iter().for_each(|frame| tape.hear_frame(frame));
        }
        tape
    }

    #[test]
    fn no_forged_datagram_decodes_and_every_check_of_the_envelope_meets_some() {
        let (tape, mut rng) = (tape(), Random::new(3));
        let drops: BTreeSet<Drop> = (0..20_000)
            .filter_map(|_| decode_datagram(cluster_tag(CLUSTER_ID), &datagram(&mut rng, &tape)).err())
            .collect();
        use Drop::*;
        let all = [TooShort, TooLong, Magic, Version, Kind, KeyId, Codec, OtherCluster, Checksum, Malformed];
        assert!(all.iter().all(|drop| drops.contains(drop)), "{drops:?}");
    }

    #[test]
    fn a_question_is_answered_by_whoever_hears_it() {
        let bytes = question(&mut Random::new(4));
        assert!(decode_datagram(cluster_tag(CLUSTER_ID), &bytes).is_ok());
    }

    #[test]
    fn forged_frames_are_no_greeting_and_fail_in_every_way() {
        let (tape, mut rng) = (tape(), Random::new(5));
        let mut kinds = BTreeSet::new();
        for _ in 0..5_000 {
            let mut assembler = Assembler::unproven();
            for frame in frames(&mut rng, &tape) {
                match assembler.push(&frame).and_then(|done| done.map(decode_peer_message).transpose()) {
                    Ok(Some(PeerMessage::Hello(_))) => panic!("a greeting"),
                    Ok(_) => {}
                    Err(FrameError::Version(_)) => drop(kinds.insert("version")),
                    Err(error) => drop(kinds.insert(match error {
                        FrameError::TooShort => "short",
                        FrameError::TooLong => "long",
                        FrameError::Checksum => "checksum",
                        FrameError::MessageTooLong(_) => "much",
                        FrameError::Malformed => "malformed",
                        _ => "other",
                    })),
                }
            }
        }
        let all = ["version", "short", "long", "checksum", "much", "malformed", "other"];
        assert!(all.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    }
}
