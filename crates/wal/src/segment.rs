//! The segment: one file of the log, and the state that stands at its head.

use bytes::{BufMut, BytesMut};
use prost::Message as _;
use slimcluster_core::storage::LogSummary;
use slimcluster_core::types::StoreId;
use slimcluster_core::{GroupId, HardState, Index, LogId, Term};

use crate::device::{StoreFile, Window};
use crate::error::WalError;
use crate::record::Fields;

/// Bytes of a segment's own header; the first record follows. The layout of these bytes is the same in every format version.
pub(crate) const HEADER_BYTES: usize = 64;
/// More than a checkpoint of one group takes, its record header included.
pub(crate) const CHECKPOINT_BYTES_MAX: u64 = 512;

const MAGIC: [u8; 8] = *b"slimlog\n";
const VERSION: u32 = 1;
const PREFIX: &str = "log-";

/// The name of the file of segment `number`.
pub(crate) fn name(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

/// The number of the segment whose file has this name; none for other files.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    // One name per number: `log-1` and `log-0000000000000001` must not be two files of one segment.
    (self::name(number) == name).then_some(number)
}

/// Length of a segment file: the first ones are small, so that a new node starts at once and a small log stays small.
pub(crate) fn length(number: u64, segment_bytes: u64) -> u64 {
    const FIRST_BYTES: u64 = 4 << 20;
    let doublings = number.saturating_sub(1).min(20) as u32;
    (FIRST_BYTES << doublings).min(segment_bytes).next_multiple_of(4096)
}

/// What the head of a segment file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub store: StoreId,
    /// Raised at each use of a file. Files are not reused yet, so it equals `number`.
    pub use_number: u64,
    pub number: u64,
    pub length: u64,
}

impl Header {
    pub fn encode(&self, out: &mut BytesMut) {
        let start = out.len();
        out.put_slice(&MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(0);
        out.put_slice(&self.store.to_bytes());
        out.put_u64_le(self.use_number);
        out.put_u64_le(self.number);
        out.put_u64_le(self.length);
        out.put_u32_le(0);
        let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
        out.put_u32_le(crc);
    }

    /// The header of `file`, if it verifies. A version that this build does not know is an error only when the rest is sound.
    pub fn read(file: &StoreFile, window: &mut Window<'_>) -> Result<Option<Header>, WalError> {
        let Some(bytes) = window.bytes(0, HEADER_BYTES)? else {
            return Ok(None);
        };
        let Some((covered, crc)) = bytes.split_last_chunk::<4>() else {
            return Ok(None);
        };
        if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
            return Ok(None);
        }
        let mut fields = Fields(covered);
        let parsed = (|| {
            let (magic, version, _) = (fields.take::<8>()?, fields.u32()?, fields.u32()?);
            let header = Header {
                store: StoreId::from_bytes(fields.take()?),
                use_number: fields.u64()?,
                number: fields.u64()?,
                length: fields.u64()?,
            };
            (magic == MAGIC).then_some((version, header))
        })();
        match parsed {
            None => Ok(None),
            Some((VERSION, header)) => Ok(Some(header)),
            Some((version, _)) => Err(file.unknown_version(version)),
        }
    }
}

/// The state before the first batch of a segment: what a reader needs who no longer has the earlier segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub hard_state: HardState,
    pub base: LogId,
    pub base_chain: u64,
    pub last: LogId,
    pub chain: u64,
}

impl Checkpoint {
    pub fn new(hard_state: HardState, log: &LogSummary) -> Self {
        Checkpoint { hard_state, base: log.base(), base_chain: log.base_chain(), last: log.last(), chain: log.chain() }
    }

    pub fn encode(&self, out: &mut BytesMut) {
        let group = GroupRecord {
            group: GroupId::DEFAULT.0,
            term: self.hard_state.term.0,
            vote: self.hard_state.vote.map(|node| node.to_bytes().to_vec()),
            base_term: self.base.term.0,
            base_index: self.base.index.0,
            base_chain: self.base_chain,
            last_term: self.last.term.0,
            last_index: self.last.index.0,
            chain: self.chain,
        };
        let record = CheckpointRecord { groups: vec![group] };
        out.put_slice(&record.encode_to_vec());
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let record = CheckpointRecord::decode(bytes).ok()?;
        let group = record.groups.into_iter().find(|group| group.group == GroupId::DEFAULT.0)?;
        let vote = match group.vote {
            Some(bytes) => Some(slimcluster_core::NodeId::from_bytes(bytes.try_into().ok()?)),
            None => None,
        };
        Some(Checkpoint {
            hard_state: HardState { term: Term(group.term), vote },
            base: LogId::new(Term(group.base_term), Index(group.base_index)),
            base_chain: group.base_chain,
            last: LogId::new(Term(group.last_term), Index(group.last_index)),
            chain: group.chain,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckpointRecord {
    #[prost(message, repeated, tag = "1")]
    groups: Vec<GroupRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GroupRecord {
    #[prost(uint64, tag = "1")]
    group: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(bytes = "vec", optional, tag = "3")]
    vote: Option<Vec<u8>>,
    #[prost(uint64, tag = "4")]
    base_term: u64,
    #[prost(uint64, tag = "5")]
    base_index: u64,
    #[prost(fixed64, tag = "6")]
    base_chain: u64,
    #[prost(uint64, tag = "7")]
    last_term: u64,
    #[prost(uint64, tag = "8")]
    last_index: u64,
    #[prost(fixed64, tag = "9")]
    chain: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_match() {
        assert_eq!(number(&name(0x1f)), Some(0x1f));
        for other in
            ["log-1f", "log-", "identity", "log-00000000000000zz", "log-+00000000000001f", "log-000000000000001F"]
        {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn the_first_segments_are_small() {
        assert_eq!(length(1, 64 << 20), 4 << 20);
        assert_eq!(length(5, 64 << 20), 64 << 20);
        assert_eq!(length(u64::MAX, 64 << 20), 64 << 20);
        assert_eq!(length(1, 16 << 10), 16 << 10);
    }
}
