//! Frames of a link, put together to messages.

use bytes::Bytes;
use slimcluster_core::wire::{Assembled, Assembler, FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};

use crate::draw::Draw;
use crate::{allocations, seal};

/// Frames as they may arrive on one link, in turn: each is a piece of the input, as it stands, sealed, or repeated.
pub fn assembler(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let (mut assembler, mut model) = (Assembler::default(), Model::default());
    // The buffer of an unfinished message grows by doubling, and both buffers exist while it does.
    let held_max = 4 * (MESSAGE_BYTES_MAX + FRAME_BYTES_MAX);
    allocations::within(held_max, "the frames of one link", || {
        while !draw.is_empty() {
            let (how, piece) = (draw.u8(), draw.piece());
            let sealed = if how & 1 == 1 { seal::link_frame(piece) } else { None };
            let frame = Bytes::from(sealed.unwrap_or_else(|| piece.to_vec()));
            // Repetition makes long messages out of short inputs.
            for _ in 0..=(how >> 4) {
                let done = assembler.push(&frame);
                assert_eq!(done.clone().ok(), model.push(&frame), "{done:?} for {frame:?}");
                if done.is_err() {
                    return;
                }
            }
        }
    });
}

/// The same by another way: parts are kept as they come and judged at the end. None where the link must be closed.
#[derive(Default)]
struct Model {
    parts: Vec<Bytes>,
    codec: u8,
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
            return message(frame[1], &part).map(Some);
        }
        if is_first != self.parts.is_empty() {
            return None;
        }
        if is_first {
            self.codec = frame[1];
        }
        self.parts.push(part);
        if self.parts.iter().map(Bytes::len).sum::<usize>() > MESSAGE_BYTES_MAX {
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
