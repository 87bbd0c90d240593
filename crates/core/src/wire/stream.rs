//! Frames in a stream of bytes, each behind its length (u32, little endian).
//!
//! A stream comes in pieces of any size, and may end behind any byte: a frame is given when all of it is there, and what is not
//! whole never is.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::frame::{FRAME_BYTES_MAX, FrameError};

/// Bytes of a length.
pub const LENGTH_BYTES: usize = 4;

/// Puts a frame of at most [`FRAME_BYTES_MAX`] behind what is to be sent.
pub fn put_frame(stream: &mut BytesMut, frame: &[u8]) {
    stream.put_u32_le(frame.len() as u32);
    stream.put_slice(frame);
}

/// Takes the next whole frame off what has arrived; none while it is not there. Its length is judged before room is made for it.
///
/// # Errors
/// [`FrameError::TooLong`]: no peer sends this, and where the next frame begins cannot be known. The link is to be closed.
pub fn take_frame(arrived: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = arrived.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong);
    }
    if arrived.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    arrived.advance(LENGTH_BYTES);
    Ok(Some(arrived.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(arrived: &mut BytesMut) -> Vec<Bytes> {
        std::iter::from_fn(|| take_frame(arrived).unwrap()).collect()
    }

    #[test]
    fn a_stream_that_ends_behind_any_byte_gives_the_frames_before_it() {
        let frames = ["abc", "", "d", "efghi"];
        let mut stream = BytesMut::new();
        let mut ends = Vec::new();
        for frame in frames {
            put_frame(&mut stream, frame.as_bytes());
            ends.push(stream.len());
        }
        for end in 0..=stream.len() {
            let whole = ends.iter().filter(|at| **at <= end).count();
            let mut arrived = BytesMut::from(&stream[..end]);
            assert_eq!(taken(&mut arrived), frames[..whole], "a stream of {end} bytes");
            // The rest of it comes later, as if nothing had been asked for in between.
            arrived.extend_from_slice(&stream[end..]);
            assert_eq!(taken(&mut arrived), frames[whole..], "what comes behind {end} bytes");
            assert!(arrived.is_empty());
        }
    }

    #[test]
    fn a_long_frame_is_refused_before_it_arrives() {
        let length = FRAME_BYTES_MAX as u32;
        assert_eq!(take_frame(&mut BytesMut::from(&length.to_le_bytes()[..])), Ok(None));
        let length = (length + 1).to_le_bytes();
        assert_eq!(take_frame(&mut BytesMut::from(&length[..])), Err(FrameError::TooLong));
    }
}
