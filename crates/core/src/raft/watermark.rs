//! How far the log is durable, when completions arrive late and entries may be gone by then (rule 10).

use std::collections::VecDeque;

use super::io::Fatal;
use crate::mutants::mutant;
use crate::situations::{Situation, sometimes};
use crate::{Index, WriteSeq};

/// Numbers the writes of a group and tells what their completions prove.
// Invariant: `pending` is sorted by `seq`, all in `written < seq <= issued`; no `end` lies beyond the log's end.
#[derive(Debug)]
pub(super) struct Watermark {
    durable: Index,
    written: WriteSeq,
    issued: WriteSeq,
    pending: VecDeque<Pending>,
}

/// A write that is not durable yet, and where the log ended with it: clipped when what it wrote is cut off again.
#[derive(Debug)]
struct Pending {
    seq: WriteSeq,
    end: Option<Index>,
}

impl Watermark {
    /// After recovery, whose last act is a sync: the log is durable to its end.
    pub(super) fn new(durable: Index) -> Self {
        Watermark { durable, written: WriteSeq(0), issued: WriteSeq(0), pending: VecDeque::new() }
    }

    /// The log is durable up to here.
    pub(super) fn durable(&self) -> Index {
        self.durable
    }

    /// Every write up to this number is durable.
    pub(super) fn written(&self) -> WriteSeq {
        self.written
    }

    /// The number of the next write; `end` is where its runs end, if it has any.
    pub(super) fn issue(&mut self, end: Option<Index>) -> WriteSeq {
        self.issued = self.issued.next();
        self.pending.push_back(Pending { seq: self.issued, end });
        self.issued
    }

    /// The entries beyond `kept` are gone: neither the watermark nor a late completion may cover them.
    pub(super) fn truncate(&mut self, kept: Index) {
        self.durable = self.durable.min(kept);
        if self.claimed() > kept {
            sometimes(Situation::WriteOutlivedItsEntries);
        }
        for pending in self.pending.iter_mut().filter(|_| !mutant!(PendingWritesNotClipped)) {
            pending.end = pending.end.map(|end| end.min(kept));
        }
    }

    /// Every write up to `seq` is durable.
    pub(super) fn complete(&mut self, seq: WriteSeq) -> Result<(), Fatal> {
        if seq > self.issued {
            return Err(Fatal::new(format!("write {seq} was acknowledged, but only {} were asked for", self.issued)));
        }
        while let Some(pending) = self.pending.front()
            && pending.seq <= seq
        {
            self.durable = self.durable.max(pending.end.unwrap_or_default());
            self.pending.pop_front();
        }
        self.written = self.written.max(seq);
        Ok(())
    }

    /// The highest end that a pending write claims.
    pub(super) fn claimed(&self) -> Index {
        self.pending.iter().filter_map(|pending| pending.end).fold(self.durable, Index::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_are_cumulative() {
        let mut watermark = Watermark::new(Index(4));
        assert_eq!(watermark.issue(Some(Index(6))), WriteSeq(1));
        assert_eq!(watermark.issue(None), WriteSeq(2));
        assert_eq!(watermark.issue(Some(Index(9))), WriteSeq(3));
        watermark.complete(WriteSeq(2)).unwrap();
        assert_eq!((watermark.durable(), watermark.written()), (Index(6), WriteSeq(2)));
        watermark.complete(WriteSeq(1)).unwrap();
        assert_eq!((watermark.durable(), watermark.written()), (Index(6), WriteSeq(2)));
        watermark.complete(WriteSeq(3)).unwrap();
        assert_eq!(watermark.durable(), Index(9));
        assert!(watermark.complete(WriteSeq(4)).is_err());
    }

    #[test]
    fn a_late_completion_does_not_cover_what_was_cut_off() {
        // 5..=8 is on its way when 6 is replaced; 6 and 7 of the new term follow in the second write.
        let mut watermark = Watermark::new(Index(4));
        watermark.issue(Some(Index(8)));
        watermark.truncate(Index(5));
        watermark.issue(Some(Index(7)));
        watermark.complete(WriteSeq(1)).unwrap();
        assert_eq!(watermark.durable(), Index(5));
        watermark.complete(WriteSeq(2)).unwrap();
        assert_eq!(watermark.durable(), Index(7));
    }

    #[test]
    fn truncation_lowers_what_was_durable() {
        let mut watermark = Watermark::new(Index(9));
        watermark.truncate(Index(3));
        assert_eq!(watermark.durable(), Index(3));
        assert_eq!(watermark.claimed(), Index(3));
    }
}
