//! ReadIndex (thesis 6.4): a read is linearizable once a quorum has answered a round that began after the read arrived.
//!
//! Rounds are numbered by the leader's term and its one counter, never by the caller, so an answer to an earlier round, or of an
//! earlier leadership, can confirm nothing. One round is on its way at a time and serves every read that waited when it began.

use super::io::ReadId;
use crate::Index;

/// The reads of one leadership.
#[derive(Debug, Default)]
pub(super) struct Reads {
    waiting: Vec<ReadId>,
    asked: Option<Asked>,
}

/// Reads that wait for a quorum to answer `round`, or a later one.
#[derive(Debug)]
struct Asked {
    round: u64,
    index: Index,
    reads: Vec<ReadId>,
}

impl Reads {
    /// How many reads are not answered.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.asked.as_ref().map_or(0, |asked| asked.reads.len())
    }

    /// A read arrived.
    pub(super) fn push(&mut self, id: ReadId) {
        self.waiting.push(id);
    }

    /// Whether a round should begin.
    pub(super) fn wants_round(&self) -> bool {
        self.asked.is_none() && !self.waiting.is_empty()
    }

    /// A round begins; the commit index stands at `index`.
    pub(super) fn begin(&mut self, round: u64, index: Index) {
        self.asked = Some(Asked { round, index, reads: std::mem::take(&mut self.waiting) });
    }

    /// The reads that a quorum has confirmed, and their index. `is_answered(round)`: a quorum has heard that round or a later one.
    pub(super) fn confirmed(&mut self, is_answered: impl Fn(u64) -> bool) -> Option<(Vec<ReadId>, Index)> {
        let asked = self.asked.take_if(|asked| is_answered(asked.round))?;
        Some((asked.reads, asked.index))
    }

    /// Leadership is lost.
    pub(super) fn drain(&mut self) -> Vec<ReadId> {
        let mut reads = self.asked.take().map_or_else(Vec::new, |asked| asked.reads);
        reads.append(&mut self.waiting);
        reads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_joins_the_round_that_begins_after_it() {
        let mut reads = Reads::default();
        reads.push(ReadId(1));
        assert!(reads.wants_round());
        reads.begin(7, Index(3));
        reads.push(ReadId(2));
        assert!(!reads.wants_round());
        assert_eq!(reads.confirmed(|round| round <= 6), None);
        assert_eq!(reads.confirmed(|round| round <= 7), Some((vec![ReadId(1)], Index(3))));
        assert!(reads.wants_round());
        reads.begin(8, Index(4));
        reads.push(ReadId(3));
        assert_eq!(reads.len(), 2);
        assert_eq!(reads.drain(), [ReadId(2), ReadId(3)]);
        assert_eq!(reads.len(), 0);
    }
}
