//! Where each entry stands on disk, without remembering every record.
//!
//! A *stretch* is a piece of one segment that, read forward, yields consecutive live entries. It grows with the log up to a bound
//! and is never extended over a cut, so a reader who starts at its head meets no entry that was truncated away before its end.

use slimcluster_core::Index;

/// A stretch grows to about this many bytes: at most that much is read in vain to reach an entry, and the index of a log of
/// a gigabyte takes less than a megabyte.
const STRETCH_BYTES: u64 = 64 << 10;

/// A piece of a segment.
// Invariant: `first <= last`; the records between `offset` and `end` hold `first..=last` in order, and perhaps more behind `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub first: Index,
    pub last: Index,
    pub segment: u64,
    pub offset: u64,
    pub end: u64,
    sealed: bool,
}

/// The stretches of one log.
// Invariant: sorted by `first`, contiguous, disjoint.
#[derive(Debug, Default)]
pub(crate) struct RunIndex {
    stretches: Vec<Stretch>,
}

/// A record of a run on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Location {
    pub segment: u64,
    pub offset: u64,
    pub end: u64,
    pub first: Index,
    pub last: Index,
}

impl RunIndex {
    /// Adds a record and forgets whatever stood at its first index and behind.
    pub fn splice(&mut self, record: Location) {
        let mut cut = false;
        while self.stretches.pop_if(|stretch| stretch.first >= record.first).is_some() {
            cut = true;
        }
        if let Some(stretch) = self.stretches.last_mut() {
            if stretch.last >= record.first {
                stretch.last = record.first.prev();
                cut = true;
            }
            // What stands between its live end and this record is dead: nothing may be appended to it any more.
            stretch.sealed |= cut;
            let room = stretch.end - stretch.offset < STRETCH_BYTES;
            if !stretch.sealed && room && stretch.segment == record.segment {
                stretch.last = record.last;
                stretch.end = record.end;
                return;
            }
        }
        let Location { segment, offset, end, first, last } = record;
        self.stretches.push(Stretch { first, last, segment, offset, end, sealed: false });
    }

    /// The stretches that hold `first..=last` as far as the log has it, up to about `bytes_max` bytes behind the first one. None when
    /// `first` is not in the log.
    pub fn covering(&self, first: Index, last: Index, bytes_max: u64) -> &[Stretch] {
        let after = self.stretches.partition_point(|stretch| stretch.first <= first);
        let Some(from) = after.checked_sub(1) else {
            return &[];
        };
        let found = self.stretches.get(from..).unwrap_or_default();
        if found.first().is_none_or(|stretch| stretch.last < first) {
            return &[];
        }
        let mut bytes = 0u64;
        let count = found.iter().take_while(|stretch| {
            let wanted = stretch.first <= last && bytes <= bytes_max;
            // The first one may be entered at its end, so it does not count.
            if stretch.first > first {
                bytes += stretch.end - stretch.offset;
            }
            wanted
        });
        let count = count.count();
        found.get(..count).unwrap_or_default()
    }

    pub fn clear(&mut self) {
        self.stretches.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(segment: u64, offset: u64, first: u64, last: u64) -> Location {
        Location { segment, offset, end: offset + 100, first: Index(first), last: Index(last) }
    }

    fn ranges(index: &RunIndex) -> Vec<(u64, u64, u64)> {
        index.stretches.iter().map(|s| (s.first.0, s.last.0, s.offset)).collect()
    }

    #[test]
    fn consecutive_records_share_a_stretch_within_one_segment() {
        let mut index = RunIndex::default();
        index.splice(record(1, 0, 2, 4));
        index.splice(record(1, 100, 5, 9));
        assert_eq!(ranges(&index), [(2, 9, 0)]);
        index.splice(record(2, 64, 10, 10));
        assert_eq!(ranges(&index), [(2, 9, 0), (10, 10, 64)]);
    }

    #[test]
    fn nothing_is_appended_to_a_stretch_that_was_cut() {
        let mut index = RunIndex::default();
        index.splice(record(1, 0, 1, 10));
        index.splice(record(1, 100, 11, 20));
        index.splice(record(1, 200, 15, 15));
        assert_eq!(ranges(&index), [(1, 14, 0), (15, 15, 200)]);
        // The whole of the new stretch goes: what is left of the old one must stay as it is.
        index.splice(record(1, 300, 15, 16));
        assert_eq!(ranges(&index), [(1, 14, 0), (15, 16, 300)]);
        index.splice(record(1, 400, 1, 1));
        assert_eq!(ranges(&index), [(1, 1, 400)]);
    }

    #[test]
    fn a_stretch_that_lost_its_successor_is_not_extended() {
        let mut index = RunIndex::default();
        index.splice(record(1, 0, 1, 1));
        index.splice(Location { end: 100 + STRETCH_BYTES, ..record(1, 100, 2, 2) });
        index.splice(record(1, 100_000, 3, 3));
        assert_eq!(index.stretches.len(), 2);
        index.splice(record(1, 100_100, 3, 3));
        assert_eq!(ranges(&index), [(1, 2, 0), (3, 3, 100_100)]);
        index.splice(record(1, 100_200, 2, 2));
        assert_eq!(ranges(&index), [(1, 1, 0), (2, 2, 100_200)]);
    }

    #[test]
    fn lookups_stop_at_bytes_and_ends() {
        let mut index = RunIndex::default();
        for segment in 1..=4 {
            index.splice(record(segment, 0, segment * 10, segment * 10 + 9));
        }
        let firsts = |first, last, bytes| -> Vec<u64> {
            index.covering(Index(first), Index(last), bytes).iter().map(|s| s.first.0).collect()
        };
        assert_eq!(firsts(15, 100, 1000), [10, 20, 30, 40]);
        assert_eq!(firsts(15, 25, 1000), [10, 20]);
        assert_eq!(firsts(15, 100, 50), [10, 20]);
        assert_eq!(firsts(9, 100, 1000), [0u64; 0]);
        assert_eq!(firsts(50, 100, 1000), [0u64; 0]);
    }
}
