//! Reading the log from its first record to its end, and telling a torn end from damage (rule 3).
//!
//! The log ends at the first record that does not verify and link. Batch k+1 is written only after batch k is synced: so if a
//! record of a batch behind the one that ends here verifies anywhere, what ends here had been synced, and is damaged.

use slimcluster_core::types::StoreId;

use crate::device::{Directory, StoreFile, Window};
use crate::error::WalError;
use crate::mutants::mutant;
use crate::record::{self, ALIGNMENT, Header, Link, RecordKind};
use crate::segment;

/// Read ahead of a scan: few system calls, little memory.
const REACH: usize = 256 << 10;

/// A segment file as found in the directory.
pub(crate) struct SegmentFile {
    pub number: u64,
    pub file: StoreFile,
    pub length: u64,
}

/// A record on its way to whoever rebuilds state from the log.
pub(crate) struct Found<'a> {
    pub segment: u64,
    pub file: &'a StoreFile,
    pub header: Header,
    pub kind: RecordKind,
    pub body: &'a [u8],
}

/// Where the log ends, and what stands behind it.
#[derive(Debug)]
pub(crate) struct End {
    /// Position in the list of segments.
    pub at: usize,
    /// Where the next record goes.
    pub offset: u64,
    pub link: Link,
    /// Positions of the segments that hold anything but zeros behind the end: a torn tail.
    pub torn: Vec<usize>,
}

/// Opens every segment file, in order of their numbers, with its cache dropped (rule 2).
pub(crate) fn segments(directory: &Directory, names: &[String]) -> Result<Vec<SegmentFile>, WalError> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    let mut segments = Vec::with_capacity(numbers.len());
    for number in numbers {
        let file = directory.open(&segment::name(number))?;
        file.drop_cache()?;
        let length = file.len()?;
        segments.push(SegmentFile { number, file, length });
    }
    Ok(segments)
}

/// Shows every record of the log to `visit`, in order, and finds its end.
pub(crate) fn log(
    directory: &Directory,
    store: StoreId,
    segments: &[SegmentFile],
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), WalError>,
) -> Result<End, WalError> {
    let mut end: Option<End> = None;
    let mut expected = 1;
    for (at, segment) in segments.iter().enumerate() {
        let mut window = Window::new(&segment.file, segment.length, REACH);
        let Some(header) = segment::Header::read(&segment.file, &mut window)? else {
            break;
        };
        if header.store != store {
            return Err(segment.file.damaged(0, "it belongs to another data directory"));
        }
        if header.number != segment.number {
            return Err(segment.file.damaged(0, format!("it is {} under a wrong name", segment::name(header.number))));
        }
        if segment.length < header.length {
            let what = format!("it has {} of its {} bytes", segment.length, header.length);
            return Err(segment.file.damaged(segment.length, what));
        }
        if segment.number != expected {
            break;
        }
        expected += 1;
        let link = end.as_ref().map_or(Link::START, |end| end.link);
        let Some(found) = segment_records(segment, &header, at, link, &mut window, visit)? else {
            break;
        };
        end = Some(found);
    }
    let Some(mut end) = end else {
        // The first segment is made before the identity, so its head was durable.
        return Err(directory.damaged(&segment::name(1), 0, "the head of the log is missing or cannot be read"));
    };
    for (at, segment) in segments.iter().enumerate().skip(end.at) {
        let from = if at == end.at { end.offset } else { 0 };
        let torn = end.link.next_batch();
        let blind = mutant!(directory.planted, DamageTakenForTorn);
        let mut is_later = |header: &Header| header.store == store && header.batch > torn && !blind;
        let rest = search(segment, from, &mut is_later)?;
        if let Some(later) = rest.found {
            let ending = &segments.get(end.at).map_or(segment, |segment| segment).file;
            let what = format!(
                "batch {torn} does not verify here, but {} holds the later batch {} at offset {}",
                segment.file.name(),
                later.batch,
                later.offset
            );
            return Err(ending.damaged(end.offset, what));
        }
        if rest.is_dirty {
            // A segment is made when the one before it is in use: only the next one can hold a torn batch.
            if at > end.at + 1 || segment.number > expected {
                return Err(segment.file.damaged(0, "the log ends before this segment, which is not empty"));
            }
            end.torn.push(at);
        }
    }
    Ok(end)
}

/// Shows the records of one segment. None if not even its checkpoint continues the log.
fn segment_records(
    segment: &SegmentFile,
    head: &segment::Header,
    at: usize,
    mut link: Link,
    window: &mut Window<'_>,
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), WalError>,
) -> Result<Option<End>, WalError> {
    let start = segment::HEADER_BYTES as u64;
    let mut offset = start;
    loop {
        let record = record::read(window, offset)?.filter(|(header, _)| {
            let is_of_this_use =
                header.use_number == head.use_number || mutant!(segment.file.planted, UseNumberNotChecked);
            let is_linked = header.previous == link.crc || mutant!(segment.file.planted, LinkNotChecked);
            header.store == head.store && is_of_this_use && is_linked && header.batch == link.next_batch()
        });
        let Some((header, body)) = record else {
            break;
        };
        let Some(kind) = RecordKind::from_u8(header.kind).filter(|_| !header.is_unknown()) else {
            return Err(segment.file.damaged(offset, "a record of a kind that this build does not know"));
        };
        if (kind == RecordKind::Checkpoint) != (offset == start) {
            return Err(segment.file.damaged(offset, "a checkpoint stands at the head of a segment and nowhere else"));
        }
        visit(Found { segment: segment.number, file: &segment.file, header, kind, body })?;
        link = Link::after(&header);
        offset = header.end();
    }
    Ok((offset > start).then_some(End { at, offset, link, torn: Vec::new() }))
}

/// What a search came upon.
pub(crate) struct Searched {
    /// The first record that was asked for.
    pub found: Option<Header>,
    /// Whether there was any byte that is not zero.
    pub is_dirty: bool,
}

/// Searches for a record that verifies, at every place where one may stand from `from` on, whatever is around it.
pub(crate) fn search(
    segment: &SegmentFile,
    from: u64,
    wanted: &mut dyn FnMut(&Header) -> bool,
) -> Result<Searched, WalError> {
    let mut ahead = Window::new(&segment.file, segment.length, REACH);
    let mut closer = Window::new(&segment.file, segment.length, record::HEADER_BYTES);
    let mut searched = Searched { found: None, is_dirty: false };
    let mut position = from;
    while position < segment.length {
        let length = (segment.length - position).min(REACH as u64) as usize;
        let Some(chunk) = ahead.bytes(position, length)? else {
            break;
        };
        if chunk.iter().any(|byte| *byte != 0) {
            searched.is_dirty = true;
            let mut offset = position.next_multiple_of(ALIGNMENT);
            while offset < position + length as u64 {
                // The offset field tells a record from other bytes; what lies over the chunk's end is looked at with the next one.
                let at = (offset - position) as usize + 32;
                let field = chunk.get(at..at + 8);
                if field.is_none_or(|field| *field == offset.to_le_bytes())
                    && let Some((header, _)) = record::read(&mut closer, offset)?
                    && wanted(&header)
                {
                    searched.found = Some(header);
                    return Ok(searched);
                }
                offset += ALIGNMENT;
            }
        }
        position += length as u64;
    }
    Ok(searched)
}
