//! Frames on a link: a message cut into parts of at most 64 KiB, each with a header and a checksum of its own (rule 35).
//!
//! ```text
//! version u8 | codec u8 | key id u8 (0: in the clear) | flags u8 (1: first part, 2: last part) | crc32c u32 | part
//! message = head length u32 | head | body
//! ```
//!
//! The head is Protobuf or JSON, named by the codec byte and decoded only after the checksum held; the body is the bytes of runs,
//! unchanged. Between the parts of a long message, short ones may pass. How frames follow each other in a stream is [`super::stream`]'s.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Codec;
use crate::mutants::mutant;

/// The most bytes of one frame, without its length prefix: a heartbeat never waits behind more (rule 35).
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of one message in assembly, per link: a run of the largest entry and its companions fit.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most bytes of one message before a link has proven its peer: a greeting with its texts, and the ids of a founding set, fits several
/// times. Whoever can reach the port can make a node hold so much, and some six times as much while it decodes it: below the 64 KiB that
/// a link may cost before its peer is proven.
pub const HANDSHAKE_BYTES_MAX: usize = 8 * 1024;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 8;
const PART_BYTES_MAX: usize = FRAME_BYTES_MAX - HEADER_BYTES;
const FIRST: u8 = 1;
const LAST: u8 = 2;

/// Why a frame was refused. The link that brought it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its header.
    #[error("a frame is shorter than its header")]
    TooShort,
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("a frame is longer than {FRAME_BYTES_MAX} bytes")]
    TooLong,
    /// Another format version, or another protocol altogether.
    #[error("format version {0} is not spoken here")]
    Version(u8),
    /// A codec byte that no build writes.
    #[error("codec {0} is not known")]
    Codec(u8),
    /// Sealed with a key, which this build cannot open.
    #[error("the frame is sealed with key {0}, which is not known here")]
    KeyId(u8),
    /// The bytes are not those that were sent.
    #[error("the checksum of a frame does not hold")]
    Checksum,
    /// A continuation without a beginning, or a beginning within a message.
    #[error("the parts of a message are out of order")]
    OutOfOrder,
    /// The parts add up to more than [`MESSAGE_BYTES_MAX`], or [`HANDSHAKE_BYTES_MAX`] before the peer is proven.
    #[error("a message is longer than {0} bytes")]
    MessageTooLong(usize),
    /// The message contradicts its own lengths or cannot be decoded.
    #[error("a message cannot be decoded")]
    Malformed,
}

/// Cuts a message into frames, ready to be sent in order.
pub fn split(codec: Codec, head: &[u8], body: &[Bytes]) -> Vec<Bytes> {
    let total = 4 + head.len() + body.iter().map(Bytes::len).sum::<usize>();
    let mut frames = Vec::with_capacity(total / PART_BYTES_MAX + 1);
    let mut current = begin(codec, total.min(PART_BYTES_MAX));
    current.put_u32_le(head.len() as u32);
    for mut rest in std::iter::once(head).chain(body.iter().map(|bytes| &bytes[..])) {
        while !rest.is_empty() {
            let room = FRAME_BYTES_MAX - current.len();
            if room == 0 {
                let full = std::mem::replace(&mut current, begin(codec, rest.len().min(PART_BYTES_MAX)));
                frames.push(finish(full, frames.is_empty(), false));
                continue;
            }
            let taken = rest.len().min(room);
            current.put_slice(&rest[..taken]);
            rest = &rest[taken..];
        }
    }
    frames.push(finish(current, frames.is_empty(), true));
    frames
}

fn begin(codec: Codec, part_bytes: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + part_bytes);
    frame.put_slice(&[VERSION, codec.id(), 0, 0, 0, 0, 0, 0]);
    frame
}

fn finish(mut frame: BytesMut, first: bool, last: bool) -> Bytes {
    frame[3] = if first { FIRST } else { 0 } | if last { LAST } else { 0 };
    let crc = checksum(&frame);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    frame.freeze()
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[HEADER_BYTES..])
}

/// A message put together again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// How the head is encoded.
    pub codec: Codec,
    /// The head.
    pub head: Bytes,
    /// The bytes of runs.
    pub body: Bytes,
}

/// Puts the frames of one link together. Holds at most one unfinished message of at most [`MESSAGE_BYTES_MAX`], of at most
/// [`HANDSHAKE_BYTES_MAX`] on an [unproven](Assembler::unproven) link.
#[derive(Debug)]
pub struct Assembler {
    unfinished: Option<(Codec, BytesMut)>,
    message_bytes_max: usize,
}

impl Default for Assembler {
    /// For a link whose peer has proven itself.
    fn default() -> Self {
        Assembler { unfinished: None, message_bytes_max: MESSAGE_BYTES_MAX }
    }
}

impl Assembler {
    /// For a link of which nothing is known yet.
    pub fn unproven() -> Self {
        Assembler { unfinished: None, message_bytes_max: HANDSHAKE_BYTES_MAX }
    }

    /// Takes the next frame; returns the message that it completes. After an error the link must be closed.
    pub fn push(&mut self, frame: &Bytes) -> Result<Option<Assembled>, FrameError> {
        if frame.len() < HEADER_BYTES {
            return Err(FrameError::TooShort);
        }
        if frame.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong);
        }
        if frame[0] != VERSION {
            return Err(FrameError::Version(frame[0]));
        }
        let codec = Codec::from_id(frame[1]).ok_or(FrameError::Codec(frame[1]))?;
        if frame[2] != 0 {
            return Err(FrameError::KeyId(frame[2]));
        }
        let stated = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]);
        if stated != checksum(frame) && !mutant!(FrameChecksumSkipped) {
            return Err(FrameError::Checksum);
        }
        let part = frame.slice(HEADER_BYTES..);
        let held = self.unfinished.as_ref().filter(|_| frame[3] & FIRST == 0).map_or(0, |(_, message)| message.len());
        if held + part.len() > self.message_bytes_max {
            return Err(FrameError::MessageTooLong(self.message_bytes_max));
        }
        match (frame[3] & FIRST != 0, frame[3] & LAST != 0) {
            (true, true) => assembled(codec, part).map(Some),
            (true, false) if self.unfinished.is_none() => {
                let mut message = BytesMut::with_capacity(part.len() * 2);
                message.put_slice(&part);
                self.unfinished = Some((codec, message));
                Ok(None)
            }
            (false, last) => {
                let (codec, mut message) = self.unfinished.take().ok_or(FrameError::OutOfOrder)?;
                message.put_slice(&part);
                if last {
                    return assembled(codec, message.freeze()).map(Some);
                }
                self.unfinished = Some((codec, message));
                Ok(None)
            }
            _ => Err(FrameError::OutOfOrder),
        }
    }
}

fn assembled(codec: Codec, mut message: Bytes) -> Result<Assembled, FrameError> {
    if message.len() < 4 {
        return Err(FrameError::Malformed);
    }
    let head_len = message.get_u32_le() as usize;
    if head_len > message.len() {
        return Err(FrameError::Malformed);
    }
    let head = message.split_to(head_len);
    Ok(Assembled { codec, head, body: message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(frames: &[Bytes]) -> Assembled {
        let mut assembler = Assembler::default();
        let mut done = None;
        for frame in frames {
            assert!(done.is_none());
            done = assembler.push(frame).unwrap();
        }
        done.unwrap()
    }

    #[test]
    fn messages_of_every_size_around_a_frame_survive() {
        for size in [0, 1, PART_BYTES_MAX - 9, PART_BYTES_MAX - 8, PART_BYTES_MAX - 7, PART_BYTES_MAX, 200_000] {
            let body = Bytes::from(vec![7u8; size]);
            let frames = split(Codec::Json, b"head", std::slice::from_ref(&body));
            assert!(frames.iter().all(|frame| frame.len() <= FRAME_BYTES_MAX));
            let message = whole(&frames);
            assert_eq!((&message.head[..], message.body, message.codec), (&b"head"[..], body, Codec::Json));
        }
    }

    #[test]
    fn short_messages_pass_between_the_parts_of_a_long_one() {
        let long = split(Codec::Protobuf, b"long", &[Bytes::from(vec![1u8; 150_000])]);
        let short = split(Codec::Protobuf, b"short", &[]);
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(&long[0]).unwrap(), None);
        assert_eq!(&assembler.push(&short[0]).unwrap().unwrap().head[..], b"short");
        assert_eq!(assembler.push(&long[1]).unwrap(), None);
        assert_eq!(assembler.push(&long[2]).unwrap().unwrap().body.len(), 150_000);
    }

    #[test]
    fn each_flipped_bit_is_noticed() {
        let frame = split(Codec::Protobuf, b"head", &[Bytes::from_static(b"body")]).remove(0);
        for bit in 0..frame.len() * 8 {
            let mut broken = frame.to_vec();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(Assembler::default().push(&broken.into()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn parts_out_of_order_and_endless_messages_are_refused() {
        let long = split(Codec::Protobuf, b"", &[Bytes::from(vec![1u8; 150_000])]);
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(&long[1]), Err(FrameError::OutOfOrder));
        assert_eq!(assembler.push(&long[0]), Ok(None));
        assert_eq!(assembler.push(&long[0]), Err(FrameError::OutOfOrder));
        let mut assembler = Assembler::default();
        assembler.push(&long[0]).unwrap();
        let refused = (0..100).find_map(|_| assembler.push(&long[1]).err());
        assert_eq!(refused, Some(FrameError::MessageTooLong(MESSAGE_BYTES_MAX)));
    }

    #[test]
    fn an_unproven_link_carries_greetings_and_nothing_longer() {
        let message = |bytes: usize| split(Codec::Protobuf, b"", &[Bytes::from(vec![1u8; bytes])]);
        let fits = message(HANDSHAKE_BYTES_MAX - 4);
        assert!(matches!(Assembler::unproven().push(&fits[0]), Ok(Some(_))));
        let too_long = Err(FrameError::MessageTooLong(HANDSHAKE_BYTES_MAX));
        for bytes in [HANDSHAKE_BYTES_MAX - 3, 60_000, 150_000] {
            assert_eq!(Assembler::unproven().push(&message(bytes)[0]), too_long);
        }
        // In small parts, too.
        let mut assembler = Assembler::unproven();
        let part = |flags, bytes: usize| {
            let mut frame = begin(Codec::Protobuf, bytes);
            frame.put_bytes(0, bytes);
            finish(frame, flags, false)
        };
        assert_eq!(assembler.push(&part(true, 5_000)), Ok(None));
        assert_eq!(assembler.push(&part(false, HANDSHAKE_BYTES_MAX - 5_000)), Ok(None));
        assert_eq!(assembler.push(&part(false, 1)), too_long);
    }
}
