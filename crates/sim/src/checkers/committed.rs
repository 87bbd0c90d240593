//! State machine safety (R4): no two nodes ever apply different entries at one index, and nobody leaves one out.
//!
//! What comes out is the committed log, one line per entry, which durability and completeness are judged by.

use slimcluster_core::{Index, LogId, NodeId, Run, Term};

use super::log_matching::chained;
use super::{Verdict, Violation};

/// The first index that is ever applied: the founding configuration is entry 1.
const FIRST: Index = Index(2);

/// An entry that some node has applied, hence committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The entry.
    pub id: LogId,
    /// The hash of the history up to and including it.
    pub chain: u64,
    /// It was committed in this term at the latest.
    pub by: Term,
}

/// The committed log of a cluster.
#[derive(Debug, Default)]
pub struct CommittedLog {
    /// From [`FIRST`] on.
    entries: Vec<Committed>,
}

impl CommittedLog {
    /// A process of `node`, in `term`, was told to apply `run`, after everything below `next`. Returns how many entries of the
    /// committed log were known before: what lies beyond was applied for the first time.
    pub fn on_apply(&mut self, node: NodeId, term: Term, next: Index, run: &Run) -> Result<usize, Violation> {
        let known = self.entries.len();
        if run.first() != next || next > self.last().next() {
            let detail = format!("node {node:?} applies {run:?} where {next} is next");
            return Err(Violation::of("contiguous apply", detail));
        }
        for (id, chain) in chained(run) {
            match self.at(id.index) {
                None => self.entries.push(Committed { id, chain, by: term }),
                Some(first) => same(node, (id, chain), first)?,
            }
        }
        Ok(known)
    }

    /// The entry at `index`.
    pub fn at(&self, index: Index) -> Option<&Committed> {
        index.0.checked_sub(FIRST.0).and_then(|at| self.entries.get(at as usize))
    }

    /// The entries after the first `known`.
    pub fn after(&self, known: usize) -> &[Committed] {
        self.entries.get(known..).unwrap_or_default()
    }

    /// The last entry that was committed in a lower term than `term` for certain.
    pub fn last_before(&self, term: Term) -> Option<&Committed> {
        // Terms of commitment are upper bounds: whoever applied first may have done so late.
        self.entries.iter().rev().find(|entry| entry.by < term)
    }

    /// The highest committed index.
    pub fn last(&self) -> Index {
        Index(FIRST.0 - 1 + self.entries.len() as u64)
    }
}

fn same(node: NodeId, (id, chain): (LogId, u64), first: &Committed) -> Verdict {
    if (id, chain) == (first.id, first.chain) {
        return Ok(());
    }
    let detail = format!("node {node:?} applies {id} where {} was applied", first.id);
    Err(Violation::of("state machine safety", detail))
}

#[cfg(test)]
mod tests {
    use super::super::sample::run;
    use super::*;

    #[test]
    fn another_entry_and_a_hole_are_found() {
        let (node, term) = (NodeId(1), Term(1));
        let mut log = CommittedLog::default();
        assert_eq!(log.on_apply(node, term, Index(2), &run(2, 1, 7)), Ok(0));
        assert_eq!(log.on_apply(NodeId(2), term, Index(2), &run(2, 1, 7)), Ok(1));
        assert_eq!(log.last(), Index(2));
        assert!(log.on_apply(node, term, Index(2), &run(2, 1, 8)).is_err(), "another history");
        assert!(log.on_apply(node, term, Index(2), &run(2, 2, 7)).is_err(), "another term");
        assert!(log.on_apply(node, term, Index(3), &run(4, 1, 7)).is_err(), "not what is next");
        assert!(log.on_apply(node, term, Index(4), &run(4, 1, 7)).is_err(), "a hole");
    }
}
