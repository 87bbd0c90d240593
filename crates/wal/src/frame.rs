//! The frame around what the small files hold: `magic 8 | version u32 | length u32 | crc32c u32 | body`.
//!
//! The checksum covers everything but itself. The layout of the frame is the same in every format version.

use bytes::{BufMut, BytesMut};

use crate::device::{StoreFile, Window};
use crate::error::WalError;
use crate::record::Fields;

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 20;
/// No small file is longer than this: it bounds what is read into memory.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;

const VERSION: u32 = 1;

/// Frames `body`.
pub(crate) fn encode(magic: [u8; 8], body: &[u8]) -> Result<BytesMut, WalError> {
    let length = body.len();
    if HEADER_BYTES + length > FILE_BYTES_MAX {
        return Err(WalError::Invariant(format!("a file of {length} bytes, at most {FILE_BYTES_MAX} are written")));
    }
    let mut out = BytesMut::with_capacity(HEADER_BYTES + length);
    out.put_slice(&magic);
    out.put_u32_le(VERSION);
    out.put_u32_le(length as u32);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), body);
    out.put_u32_le(crc);
    out.put_slice(body);
    Ok(out)
}

/// The body of the frame at `offset` of `file`; none if none verifies there.
pub(crate) fn read(file: &StoreFile, magic: [u8; 8], offset: u64) -> Result<Option<Vec<u8>>, WalError> {
    let mut window = Window::new(file, file.len()?, 4096);
    let Some(head) = window.bytes(offset, HEADER_BYTES)? else {
        return Ok(None);
    };
    let covered = crc32c::crc32c(head.get(..16).unwrap_or_default());
    let mut fields = Fields(head);
    let (Some(found), Some(version), Some(length), Some(crc)) =
        (fields.take::<8>(), fields.u32(), fields.u32(), fields.u32())
    else {
        return Ok(None);
    };
    if found != magic || length as usize > FILE_BYTES_MAX {
        return Ok(None);
    }
    let Some(body) = window.bytes(offset + HEADER_BYTES as u64, length as usize)? else {
        return Ok(None);
    };
    if crc32c::crc32c_append(covered, body) != crc {
        return Ok(None);
    }
    // Only a sound frame is believed when it says that it comes from the future.
    if version == VERSION { Ok(Some(body.to_vec())) } else { Err(file.unknown_version(version)) }
}
