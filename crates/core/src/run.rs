//! The run: consecutive entries of one term in their final byte layout, the unit of work everywhere.
//!
//! The same bytes go to the sockets, to the log on disk and to `apply`. A run is sliced at an entry boundary without copying:
//! the header and the blocks are small values, the lengths and the data are shared buffers.
//!
//! Layout (little-endian), version 1:
//!
//! ```text
//! version u8 | kind u8 | codec u8 | 0 u8 | command_version u32 | group u64 | term u64 | first u64 | machine u64
//! log_time u64 | wall_time u64 | chain u64 | blocks u32 | count u32 | data_len u32
//! blocks   x { session u64, first_number u64, count u32, acked_below u64 }
//! count    x { length u32 }
//! data
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{CommandId, GroupId, Index, LogId, LogTime, MachineId, SessionId, Term, WallTime};

/// The version of the layout above.
const VERSION: u8 = 1;
/// Bytes before the blocks.
const HEADER_BYTES: usize = 76;
/// Bytes of one block.
const BLOCK_BYTES: usize = 28;

/// What the entries of a run are. Only [`RunKind::Command`] runs have more than one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RunKind {
    /// Commands of the application, opaque bytes.
    Command = 1,
    /// A configuration (`raft::Configuration`), in force from the moment it is appended.
    Configuration = 2,
    /// The empty entry with which a leader opens its term.
    Noop = 3,
    /// A session opened or closed (`machine::SessionEntry`).
    Session = 4,
    /// A name that gets its machine id (`machine::MachineEntry`).
    Machine = 5,
}

impl RunKind {
    pub(crate) fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => RunKind::Command,
            2 => RunKind::Configuration,
            3 => RunKind::Noop,
            4 => RunKind::Session,
            5 => RunKind::Machine,
            _ => return None,
        })
    }
}

/// Consecutive commands of one session within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The session that the commands belong to.
    pub session: SessionId,
    /// The number of the block's first command in its session.
    pub first_number: u64,
    /// How many commands.
    pub count: u32,
    /// The owner has the replies of all numbers below this one (rule 14).
    pub acked_below: u64,
}

/// The fields that all entries of a run share (rule 36).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunHeader {
    /// The log that the run belongs to.
    pub group: GroupId,
    /// What the entries are.
    pub kind: RunKind,
    /// The id of the command codec; 0 for runs that hold no commands.
    pub codec: u8,
    /// The version of the command's type, by which apply is gated.
    pub command_version: u32,
    /// The term of every entry.
    pub term: Term,
    /// The index of the first entry.
    pub first: Index,
    /// The machine that the commands are for; 0 for runs that hold no commands.
    pub machine: MachineId,
    /// Log time, equal for the whole run.
    pub log_time: LogTime,
    /// The leader's wall time.
    pub wall_time: WallTime,
    /// Hash of everything before `first`.
    pub chain: u64,
}

/// Why bytes are not a run. The bytes are dropped whole; nothing of them is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Fewer bytes than the header announces, or more.
    #[error("the run's length does not match its header")]
    Length,
    /// A layout version that this build does not know.
    #[error("run layout version {0} is not known")]
    Version(u8),
    /// A kind that this build does not know.
    #[error("run kind {0} is not known")]
    Kind(u8),
    /// Counts, terms or indices that no writer produces.
    #[error("the run contradicts itself: {0}")]
    Contradiction(&'static str),
}

/// Consecutive entries of one term. Never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Run {
    header: RunHeader,
    blocks: Vec<Block>,
    /// `count` little-endian u32.
    lengths: Bytes,
    data: Bytes,
    // Derived: the hash of everything up to and including the last entry.
    chain_end: u64,
}

impl Run {
    /// A run of one entry that is not a command.
    pub fn single(header: RunHeader, payload: Bytes) -> Self {
        let mut lengths = BytesMut::with_capacity(4);
        lengths.put_u32_le(payload.len() as u32);
        Run::assemble(header, Vec::new(), lengths.freeze(), payload)
    }

    /// A run of the commands of `blocks`, in their order.
    ///
    /// The blocks' counts must add up to the number of commands, which must not be zero.
    pub fn commands<'a>(
        header: RunHeader,
        blocks: Vec<Block>,
        commands: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, RunError> {
        let (mut lengths, mut data) = (BytesMut::new(), BytesMut::new());
        for command in commands {
            lengths.put_u32_le(command.len() as u32);
            data.put_slice(command);
        }
        let count = lengths.len() / 4;
        if count == 0 || blocks.iter().map(|b| b.count as usize).sum::<usize>() != count {
            return Err(RunError::Contradiction("blocks and commands differ in number"));
        }
        Ok(Run::assemble(header, blocks, lengths.freeze(), data.freeze()))
    }

    fn assemble(header: RunHeader, blocks: Vec<Block>, lengths: Bytes, data: Bytes) -> Self {
        let mut run = Run { header, blocks, lengths, data, chain_end: 0 };
        run.chain_end = run.entries().fold(header.chain, |chain, entry| entry.chain(&run.header, chain));
        run
    }

    /// The fields that all entries share.
    pub fn header(&self) -> &RunHeader {
        &self.header
    }

    /// The log that the run belongs to.
    pub fn group(&self) -> GroupId {
        self.header.group
    }

    /// What the entries are.
    pub fn kind(&self) -> RunKind {
        self.header.kind
    }

    /// The term of every entry.
    pub fn term(&self) -> Term {
        self.header.term
    }

    /// How many entries; at least one.
    pub fn count(&self) -> u64 {
        (self.lengths.len() / 4) as u64
    }

    /// Index of the first entry.
    pub fn first(&self) -> Index {
        self.header.first
    }

    /// Index of the last entry.
    pub fn last(&self) -> Index {
        Index(self.header.first.0 + self.count() - 1)
    }

    /// Id of the last entry.
    pub fn last_id(&self) -> LogId {
        LogId::new(self.header.term, self.last())
    }

    /// Hash of everything up to and including the last entry: the `chain` of the run that follows.
    pub fn chain_end(&self) -> u64 {
        self.chain_end
    }

    /// Hash of everything up to and including the entry at `index`, which must be `first - 1` or stand in the run.
    pub fn chain_at(&self, index: Index) -> Option<u64> {
        if index > self.last() || index.next() < self.first() {
            return None;
        }
        let count = (index.0 + 1 - self.first().0) as usize;
        Some(self.entries().take(count).fold(self.header.chain, |chain, entry| entry.chain(&self.header, chain)))
    }

    /// The hash of everything up to and including each entry, in order.
    pub fn chains(&self) -> impl Iterator<Item = (Index, u64)> + '_ {
        self.entries().scan(self.header.chain, |chain, entry| {
            *chain = entry.chain(&self.header, *chain);
            Some((entry.index, *chain))
        })
    }

    /// The sessions' shares of the run, in order; empty unless the run holds commands.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The entries in order.
    pub fn entries(&self) -> Entries<'_> {
        self.entries_from(Cursor::default())
    }

    /// The entries from a place that an earlier iteration over this very run reached.
    pub fn entries_from(&self, at: Cursor) -> Entries<'_> {
        Entries { run: self, at }
    }

    /// The payload of a run of one entry; the first payload otherwise.
    pub fn payload(&self) -> Bytes {
        self.entries().next().map(|entry| entry.payload).unwrap_or_default()
    }

    /// The entries from `first` to `last`, without copying their bytes. None when the two do not overlap.
    pub fn slice(&self, first: Index, last: Index) -> Option<Run> {
        let (first, last) = (first.max(self.first()), last.min(self.last()));
        if first > last {
            return None;
        }
        if first == self.first() && last == self.last() {
            return Some(self.clone());
        }
        let (skip, count) = ((first.0 - self.first().0) as usize, (last.0 - first.0 + 1) as usize);
        let mut chain = self.header.chain;
        let (mut start, mut end) = (0, 0);
        let mut blocks: Vec<Block> = Vec::new();
        let (mut block_at, mut taken) = (usize::MAX, 0usize);
        for entry in self.entries().take(skip + count) {
            let at = entry.index.0 - self.first().0;
            if (at as usize) < skip {
                chain = entry.chain(&self.header, chain);
                start = entry.offset + entry.payload.len();
                end = start;
                continue;
            }
            end = entry.offset + entry.payload.len();
            taken += 1;
            if let Some((position, block)) = entry.block {
                if position == block_at {
                    if let Some(current) = blocks.last_mut() {
                        current.count += 1;
                    }
                } else {
                    block_at = position;
                    blocks.push(Block { first_number: entry.command.map_or(0, |c| c.number), count: 1, ..block });
                }
            }
        }
        debug_assert_eq!(taken, count);
        let header = RunHeader { first, chain, ..self.header };
        let lengths = self.lengths.slice(skip * 4..(skip + count) * 4);
        Some(Run::assemble(header, blocks, lengths, self.data.slice(start..end)))
    }

    /// Cuts off the entries that do not fit `bytes_max` encoded bytes; at least one entry stays.
    pub fn head_within(&self, bytes_max: usize) -> Run {
        let mut bytes = HEADER_BYTES + self.blocks.len() * BLOCK_BYTES;
        if self.encoded_len() <= bytes_max {
            return self.clone();
        }
        let mut last = self.first();
        for entry in self.entries() {
            bytes += 4 + entry.payload.len();
            if bytes > bytes_max && entry.index > self.first() {
                break;
            }
            last = entry.index;
        }
        self.slice(self.first(), last).unwrap_or_else(|| self.clone())
    }

    /// Length of the encoded form in bytes.
    pub fn encoded_len(&self) -> usize {
        HEADER_BYTES + self.blocks.len() * BLOCK_BYTES + self.lengths.len() + self.data.len()
    }

    /// Appends the encoded form to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        let h = &self.header;
        out.reserve(self.encoded_len());
        out.put_u8(VERSION);
        out.put_u8(h.kind as u8);
        out.put_u8(h.codec);
        out.put_u8(0);
        out.put_u32_le(h.command_version);
        out.put_u64_le(h.group.0);
        out.put_u64_le(h.term.0);
        out.put_u64_le(h.first.0);
        out.put_u64_le(h.machine.0);
        out.put_u64_le(h.log_time.0);
        out.put_u64_le(h.wall_time.0);
        out.put_u64_le(h.chain);
        out.put_u32_le(self.blocks.len() as u32);
        out.put_u32_le((self.lengths.len() / 4) as u32);
        out.put_u32_le(self.data.len() as u32);
        for block in &self.blocks {
            out.put_u64_le(block.session.0);
            out.put_u64_le(block.first_number);
            out.put_u32_le(block.count);
            out.put_u64_le(block.acked_below);
        }
        out.put_slice(&self.lengths);
        out.put_slice(&self.data);
    }

    /// The encoded form in a buffer of its own.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.encode(&mut out);
        out.freeze()
    }

    /// Takes one run off the front of `bytes` without copying its commands.
    ///
    /// Every length is checked against the bytes that are there before anything is reserved.
    pub fn decode_from(bytes: &mut Bytes) -> Result<Run, RunError> {
        if bytes.len() < HEADER_BYTES {
            return Err(RunError::Length);
        }
        let mut head = bytes.slice(..HEADER_BYTES);
        match head.get_u8() {
            VERSION => {}
            other => return Err(RunError::Version(other)),
        }
        let kind = head.get_u8();
        let kind = RunKind::from_u8(kind).ok_or(RunError::Kind(kind))?;
        let codec = head.get_u8();
        // Kept for a later version: bytes that mean nothing would let one run have two forms.
        if head.get_u8() != 0 {
            return Err(RunError::Contradiction("a reserved byte is set"));
        }
        let command_version = head.get_u32_le();
        let header = RunHeader {
            kind,
            codec,
            command_version,
            group: GroupId(head.get_u64_le()),
            term: Term(head.get_u64_le()),
            first: Index(head.get_u64_le()),
            machine: MachineId(head.get_u64_le()),
            log_time: LogTime(head.get_u64_le()),
            wall_time: WallTime(head.get_u64_le()),
            chain: head.get_u64_le(),
        };
        let (block_count, count, data_len) = (head.get_u32_le(), head.get_u32_le(), head.get_u32_le());
        // 64-bit sums: three u32 products cannot overflow them.
        let blocks_len = block_count as u64 * BLOCK_BYTES as u64;
        let lengths_len = count as u64 * 4;
        let total = HEADER_BYTES as u64 + blocks_len + lengths_len + u64::from(data_len);
        if total > bytes.len() as u64 {
            return Err(RunError::Length);
        }
        let contradiction = |what| Err(RunError::Contradiction(what));
        if count == 0 {
            return contradiction("no entries");
        }
        if header.first.0 == 0 || header.first.0.checked_add(u64::from(count)).is_none() {
            return contradiction("index out of range");
        }
        if kind != RunKind::Command && (count != 1 || block_count != 0) {
            return contradiction("several entries of a kind that stands alone");
        }
        let mut rest = bytes.split_to(total as usize);
        rest.advance(HEADER_BYTES);
        let mut blocks = Vec::with_capacity(block_count as usize);
        let mut commands = 0u64;
        for _ in 0..block_count {
            let block = Block {
                session: SessionId(rest.get_u64_le()),
                first_number: rest.get_u64_le(),
                count: rest.get_u32_le(),
                acked_below: rest.get_u64_le(),
            };
            if block.count == 0 || block.first_number.checked_add(u64::from(block.count)).is_none() {
                return contradiction("a block out of range");
            }
            commands += u64::from(block.count);
            blocks.push(block);
        }
        if kind == RunKind::Command && commands != u64::from(count) {
            return contradiction("blocks and commands differ in number");
        }
        let lengths = rest.split_to(lengths_len as usize);
        let sum: u64 = lengths.chunks_exact(4).map(|l| u64::from(u32::from_le_bytes([l[0], l[1], l[2], l[3]]))).sum();
        if sum != u64::from(data_len) {
            return contradiction("lengths and data differ");
        }
        Ok(Run::assemble(header, blocks, lengths, rest))
    }

    /// Decodes `bytes`, which must hold exactly one run.
    pub fn decode(mut bytes: Bytes) -> Result<Run, RunError> {
        let run = Run::decode_from(&mut bytes)?;
        if bytes.is_empty() { Ok(run) } else { Err(RunError::Length) }
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}[{}..{}]@{}", self.kind(), self.first(), self.last(), self.term())
    }
}

/// One entry of a run, borrowed from it.
#[derive(Clone, Debug)]
pub struct EntryRef {
    /// The entry's position.
    pub index: Index,
    /// Whose command it is; none for entries that are not commands.
    pub command: Option<CommandId>,
    /// The owner has the replies of all numbers below this one.
    pub acked_below: u64,
    /// The bytes of the command, or the payload of another kind.
    pub payload: Bytes,
    offset: usize,
    block: Option<(usize, Block)>,
}

impl EntryRef {
    /// The chain after this entry. Made only of what the entry itself determines, so that it does not depend on slicing.
    fn chain(&self, header: &RunHeader, before: u64) -> u64 {
        let mut head = [0u8; 80];
        let (session, number) = self.command.map_or((0, 0), |c| (c.session.0, c.number));
        let fields = [
            header.group.0,
            header.term.0,
            self.index.0,
            u64::from(header.kind as u8) | u64::from(header.codec) << 8 | u64::from(header.command_version) << 32,
            header.machine.0,
            header.log_time.0,
            header.wall_time.0,
            session,
            number,
            self.acked_below,
        ];
        for (slot, field) in head.chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        xxh3_64_with_seed(&self.payload, xxh3_64_with_seed(&head, before))
    }
}

/// A place between two entries of one run, to go on from. The default is before the first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    next: usize,
    offset: usize,
    block: usize,
    in_block: u32,
}

/// Iterates over the entries of a run.
pub struct Entries<'a> {
    run: &'a Run,
    at: Cursor,
}

impl Entries<'_> {
    /// The place before the entry that comes next.
    pub fn cursor(&self) -> Cursor {
        self.at
    }
}

impl Iterator for Entries<'_> {
    type Item = EntryRef;

    fn next(&mut self) -> Option<EntryRef> {
        let at = self.at.next * 4;
        let length = self.run.lengths.get(at..at + 4)?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let index = Index(self.run.first().0 + self.at.next as u64);
        let (mut command, mut acked_below, mut current) = (None, 0, None);
        if let Some(block) = self.run.blocks.get(self.at.block) {
            let number = block.first_number + u64::from(self.at.in_block);
            command = Some(CommandId { session: block.session, number });
            acked_below = block.acked_below;
            current = Some((self.at.block, *block));
            self.at.in_block += 1;
            if self.at.in_block == block.count {
                self.at.block += 1;
                self.at.in_block = 0;
            }
        }
        let offset = self.at.offset;
        let payload = self.run.data.slice(offset..offset + length);
        self.at.next += 1;
        self.at.offset += length;
        Some(EntryRef { index, command, acked_below, payload, offset, block: current })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(first: u64) -> RunHeader {
        RunHeader {
            group: GroupId::DEFAULT,
            kind: RunKind::Command,
            codec: 1,
            command_version: 1,
            term: Term(3),
            first: Index(first),
            machine: MachineId(2),
            log_time: LogTime(10),
            wall_time: WallTime(20),
            chain: 77,
        }
    }

    fn sample() -> Run {
        let blocks = vec![
            Block { session: SessionId(5), first_number: 10, count: 2, acked_below: 9 },
            Block { session: SessionId(6), first_number: 1, count: 3, acked_below: 1 },
        ];
        let commands: [&[u8]; 5] = [b"a", b"", b"ccc", b"dd", b"e"];
        Run::commands(header(100), blocks, commands).unwrap()
    }

    #[test]
    fn a_run_survives_encoding() {
        let run = sample();
        assert_eq!(Run::decode(run.to_bytes()).unwrap(), run);
        assert_eq!(run.to_bytes().len(), run.encoded_len());
    }

    #[test]
    fn slices_keep_numbers_and_chain() {
        let run = sample();
        for first in 100..=104 {
            for last in first..=104 {
                let slice = run.slice(Index(first), Index(last)).unwrap();
                assert_eq!((slice.first().0, slice.last().0), (first, last));
                assert_eq!(Some(slice.header().chain), run.chain_at(Index(first - 1)));
                assert_eq!(Some(slice.chain_end()), run.chain_at(Index(last)));
                let whole: Vec<_> = run.entries().filter(|e| (first..=last).contains(&e.index.0)).collect();
                for (a, b) in slice.entries().zip(&whole) {
                    assert_eq!((a.command, &a.payload, a.index), (b.command, &b.payload, b.index));
                }
                assert_eq!(Run::decode(slice.to_bytes()).unwrap(), slice);
            }
        }
        assert_eq!(run.slice(Index(1), Index(99)), None);
    }

    #[test]
    fn a_run_has_one_form() {
        let mut bytes = sample().to_bytes().to_vec();
        bytes[3] = 1;
        assert_eq!(Run::decode(bytes.into()), Err(RunError::Contradiction("a reserved byte is set")));
    }

    #[test]
    fn every_truncation_and_every_flipped_length_is_refused_or_harmless() {
        let bytes = sample().to_bytes();
        for end in 0..bytes.len() {
            assert!(Run::decode(bytes.slice(..end)).is_err());
        }
        for at in 0..HEADER_BYTES + 2 * BLOCK_BYTES {
            let mut broken = bytes.to_vec();
            broken[at] = 0xff;
            let _ = Run::decode(broken.into());
        }
    }
}
