//! The record: one framed write, with enough in its header to be told from anything else that a disk may serve in its place (rule 3).

use bytes::{BufMut, BytesMut};
use slimcluster_core::types::StoreId;

use crate::device::Window;
use crate::error::WalError;

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 64;
/// Every record starts at a multiple of this.
pub(crate) const ALIGNMENT: u64 = 8;

const FLAG_LAST: u8 = 1;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// The state before the first batch of a segment.
    Checkpoint = 1,
    /// A run that goes to its place and cuts off whatever stands there and behind.
    Splice = 2,
    /// A run copied forward: never truncates, loses against any later record of its indices. Reserved, not yet written.
    Relocated = 3,
    /// Nothing but the link: it follows the last data when the log is idle, and closes a batch that was torn.
    Empty = 4,
}

impl RecordKind {
    pub(crate) fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => RecordKind::Checkpoint,
            2 => RecordKind::Splice,
            3 => RecordKind::Relocated,
            4 => RecordKind::Empty,
            _ => return None,
        })
    }
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub crc: u32,
    pub length: u32,
    pub store: StoreId,
    pub use_number: u64,
    pub offset: u64,
    pub batch: u64,
    /// The write number of the hard state in force: one that is older than its own log says is damaged.
    pub hard_state_number: u64,
    pub previous: u32,
    pub kind: u8,
    pub flags: u8,
}

impl Header {
    /// Splits the header's bytes into fields; none of them is believed yet.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let mut fields = Fields(bytes);
        Some(Header {
            crc: fields.u32()?,
            length: fields.u32()?,
            store: StoreId::from_bytes(fields.take()?),
            use_number: fields.u64()?,
            offset: fields.u64()?,
            batch: fields.u64()?,
            hard_state_number: fields.u64()?,
            previous: fields.u32()?,
            kind: fields.take::<1>()?[0],
            flags: fields.take::<1>()?[0],
        })
    }

    /// Whether it ends its batch.
    pub fn is_last(&self) -> bool {
        self.flags & FLAG_LAST != 0
    }

    /// Whether a later build may have written it: nothing in this one knows what it means.
    pub fn is_unknown(&self) -> bool {
        RecordKind::from_u8(self.kind).is_none() || self.flags & !FLAG_LAST != 0
    }

    /// Where the next record starts.
    pub fn end(&self) -> u64 {
        self.offset + size_of_record(self.length as usize)
    }
}

/// Bytes that a record with a body of this length takes, padding included.
pub(crate) fn size_of_record(body: usize) -> u64 {
    ((HEADER_BYTES + body) as u64).next_multiple_of(ALIGNMENT)
}

/// The record at `offset`, if one verifies there: its checksum holds and it says that it belongs there.
pub(crate) fn read<'w>(window: &'w mut Window<'_>, offset: u64) -> Result<Option<(Header, &'w [u8])>, WalError> {
    let Some((header, _)) = parse(window, offset)? else {
        return Ok(None);
    };
    let Some(record) = window.bytes(offset, size_of_record(header.length as usize) as usize)? else {
        return Ok(None);
    };
    // The checksum covers everything behind itself, the padding too.
    let covered = record.get(4..).unwrap_or_default();
    if crc32c::crc32c(covered) != header.crc {
        return Ok(None);
    }
    Ok(record.get(HEADER_BYTES..HEADER_BYTES + header.length as usize).map(|body| (header, body)))
}

/// The header and the body at `offset`, if the header says that it belongs there. Nothing else of them is to be believed.
///
/// The length is checked against the file before the body is read.
pub(crate) fn parse<'w>(window: &'w mut Window<'_>, offset: u64) -> Result<Option<(Header, &'w [u8])>, WalError> {
    let Some(header) = window.bytes(offset, HEADER_BYTES)?.and_then(Header::parse) else {
        return Ok(None);
    };
    let size = size_of_record(header.length as usize);
    if header.offset != offset || offset.checked_add(size).is_none_or(|end| end > window.end()) {
        return Ok(None);
    }
    let record = window.bytes(offset, size as usize)?;
    Ok(record.and_then(|record| record.get(HEADER_BYTES..)?.get(..header.length as usize)).map(|body| (header, body)))
}

/// Lays out the records of one batch for one write.
pub(crate) struct RecordWriter {
    pub buffer: BytesMut,
    // Where in the segment the buffer's first byte goes.
    start: u64,
    store: StoreId,
    use_number: u64,
    batch: u64,
    hard_state_number: u64,
    previous: u32,
}

impl RecordWriter {
    /// A writer of the batch that follows `link`, under the hard state of write `hard_state_number`. `buffer` goes to `start` in its
    /// segment.
    pub fn new(
        buffer: BytesMut,
        start: u64,
        store: StoreId,
        use_number: u64,
        link: Link,
        hard_state_number: u64,
    ) -> Self {
        let (batch, previous) = (link.next_batch(), link.crc);
        RecordWriter { buffer, start, store, use_number, batch, hard_state_number, previous }
    }

    /// Adds a record whose body `put` appends; returns its offset in the segment.
    pub fn push(&mut self, kind: RecordKind, last: bool, put: impl FnOnce(&mut BytesMut)) -> Result<u64, WalError> {
        let at = self.buffer.len();
        let offset = self.start + at as u64;
        self.buffer.put_u64_le(0);
        self.buffer.put_slice(&self.store.to_bytes());
        self.buffer.put_u64_le(self.use_number);
        self.buffer.put_u64_le(offset);
        self.buffer.put_u64_le(self.batch);
        self.buffer.put_u64_le(self.hard_state_number);
        self.buffer.put_u32_le(self.previous);
        self.buffer.put_u8(kind as u8);
        self.buffer.put_u8(if last { FLAG_LAST } else { 0 });
        self.buffer.put_u16_le(0);
        put(&mut self.buffer);
        let body = self.buffer.len() - at - HEADER_BYTES;
        let length = u32::try_from(body).map_err(|_| WalError::Invariant(format!("a record of {body} bytes")))?;
        self.buffer.resize(at + size_of_record(body) as usize, 0);
        let Some(record) = self.buffer.get_mut(at..) else {
            return Err(WalError::Invariant("a record outside of its buffer".to_owned()));
        };
        if let Some(field) = record.get_mut(4..8) {
            field.copy_from_slice(&length.to_le_bytes());
        }
        let crc = crc32c::crc32c(record.get(4..).unwrap_or_default());
        if let Some(field) = record.get_mut(..4) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
        self.previous = crc;
        Ok(offset)
    }

    /// The checksum of the last record, for the next one to link to.
    pub fn last_crc(&self) -> u32 {
        self.previous
    }
}

/// The last record of the log as far as it is known: what the next one must link to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its checksum.
    pub crc: u32,
    /// Its batch.
    pub batch: u64,
    /// Whether it ended its batch.
    pub complete: bool,
}

impl Link {
    /// Before the first record.
    pub const START: Link = Link { crc: 0, batch: 0, complete: true };

    /// The batch that the following record belongs to: the only one that can be torn.
    pub fn next_batch(&self) -> u64 {
        if self.complete { self.batch + 1 } else { self.batch }
    }

    /// The last batch that is complete.
    pub fn complete_batch(&self) -> u64 {
        self.next_batch() - 1
    }

    /// The link after `header`.
    pub fn after(header: &Header) -> Link {
        Link { crc: header.crc, batch: header.batch, complete: header.is_last() }
    }
}

/// Takes little-endian fields off the front of bytes that may be too short.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
