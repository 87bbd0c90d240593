//! Frames of a link: taken off its stream, and put together to messages.

use bytes::{Bytes, BytesMut};
use slimcluster_core::wire::{
    Assembled, Assembler, FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX, LENGTH_BYTES, MESSAGE_BYTES_MAX, put_frame, take_frame,
};

use crate::draw::Draw;
use crate::{allocations, seal};

/// A stream that arrives in pieces. Which frames it gives does not depend on where it was divided; put together again they are its beginning;
/// and what is kept of a frame that is not whole is what has arrived of it.
pub fn stream(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let mut pieces = Vec::new();
    while !draw.is_empty() {
        pieces.push(draw.piece());
    }
    let whole = pieces.concat();
    let (mut at_once, mut in_pieces) = (BytesMut::from(&whole[..]), BytesMut::new());
    let expected = frames_of(&mut at_once);
    let (mut frames, mut is_refused) = (Vec::new(), false);
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        in_pieces.extend_from_slice(piece);
        // An empty frame is four bytes, and a handle of it eight times as much.
        let held_max = 32 * whole.len() + 4_096;
        let (more, refused) = allocations::within(held_max, "taking frames", || frames_of(&mut in_pieces));
        frames.extend(more);
        if refused {
            is_refused = true;
            break;
        }
        assert!(in_pieces.len() < LENGTH_BYTES + FRAME_BYTES_MAX, "{} bytes wait for the rest", in_pieces.len());
    }
    assert_eq!((&frames, is_refused), (&expected.0, expected.1), "{pieces:?}");
    let mut again = BytesMut::new();
    frames.iter().for_each(|frame| put_frame(&mut again, frame));
    assert_eq!(Some(&again[..]), whole.get(..again.len()));
}

/// All whole frames, and whether what follows them is refused.
fn frames_of(arrived: &mut BytesMut) -> (Vec<Bytes>, bool) {
    let mut frames = Vec::new();
    loop {
        match take_frame(arrived) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, false),
            Err(_) => return (frames, true),
        }
    }
}

/// Frames as they may arrive on one link, in turn. The first byte says whether its peer is proven; then each frame is a piece of the input, as it
/// stands or sealed, once or up to a few thousand times.
pub fn assembler(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let (mut assembler, message_bytes_max) = match draw.bool() {
        true => (Assembler::default(), MESSAGE_BYTES_MAX),
        false => (Assembler::unproven(), HANDSHAKE_BYTES_MAX),
    };
    let mut model = Model { message_bytes_max, ..Model::default() };
    while !draw.is_empty() {
        let (how, piece) = (draw.u8(), draw.piece());
        let sealed = if how & 1 == 1 { seal::link_frame(piece) } else { None };
        let frame = Bytes::from(sealed.unwrap_or_else(|| piece.to_vec()));
        // Repetition makes long messages out of short inputs.
        for _ in 0..1 << (how >> 4).min(12) {
            // The buffer of an unfinished message grows by doubling, and both buffers exist while it does.
            let held_max = 3 * message_bytes_max;
            let done = allocations::within(held_max, "taking a frame", || assembler.push(&frame));
            assert_eq!(done.clone().ok(), model.push(&frame), "{done:?} for {frame:?}");
            if done.is_err() {
                return;
            }
        }
    }
}

/// The same by another way: parts are kept as they come and judged at the end. None where the link must be closed.
#[derive(Default)]
struct Model {
    parts: Vec<Bytes>,
    bytes: usize,
    codec: u8,
    message_bytes_max: usize,
}

impl Model {
    fn push(&mut self, frame: &Bytes) -> Option<Option<Assembled>> {
        let is_sound = frame.len() >= 8
            && frame.len() <= FRAME_BYTES_MAX
            && frame[0] == 1
            && matches!(frame[1], 1 | 2)
            && frame[2] == 0
            && seal::link_frame(frame).as_deref() == Some(&frame[..]);
        if !is_sound {
            return None;
        }
        let (is_first, is_last, part) = (frame[3] & 1 != 0, frame[3] & 2 != 0, frame.slice(8..));
        if is_first && is_last {
            // It may pass between the parts of another.
            return message(frame[1], &part).filter(|_| part.len() <= self.message_bytes_max).map(Some);
        }
        if is_first != self.parts.is_empty() {
            return None;
        }
        if is_first {
            (self.codec, self.bytes) = (frame[1], 0);
        }
        self.bytes += part.len();
        self.parts.push(part);
        if self.bytes > self.message_bytes_max {
            return None;
        }
        if !is_last {
            return Some(None);
        }
        let whole = std::mem::take(&mut self.parts).concat();
        message(self.codec, &whole.into()).map(Some)
    }
}

fn message(codec: u8, bytes: &Bytes) -> Option<Assembled> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let codec = slimcluster_core::wire::Codec::from_id(codec)?;
    (length <= bytes.len() - 4).then(|| Assembled {
        codec,
        head: bytes.slice(4..4 + length),
        body: bytes.slice(4 + length..),
    })
}
