//! What never goes back (R6): term, vote within a term, commit and applied index of a process; and, across its restarts, the
//! terms that a node has stated. applied <= commit <= last, always.

use std::collections::BTreeMap;

use slimcluster_core::{HardState, Index, NodeId, Term};

use super::{Verdict, Violation};
use crate::network::Endpoint;

/// Where a process stands after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Term and vote, durable or not.
    pub hard_state: HardState,
    /// The end of the log.
    pub last: Index,
    /// The commit index.
    pub commit: Index,
    /// The applied index.
    pub applied: Index,
}

/// The highest of everything.
#[derive(Debug, Default)]
pub struct Monotonic {
    /// By place: what the present process was seen at.
    positions: BTreeMap<usize, (Endpoint, NodeId, Position)>,
    /// The highest term that each node has stated to others.
    stated: BTreeMap<NodeId, Term>,
}

impl Monotonic {
    /// The process of `node` stands here after a step.
    pub fn on_step(&mut self, endpoint: Endpoint, node: NodeId, is: Position) -> Verdict {
        let before = self.positions.insert(endpoint.place, (endpoint, node, is));
        if !(is.applied <= is.commit && is.commit <= is.last) {
            return Err(Violation::of("applied <= commit <= last", format!("node {node:?}: {is:?}")));
        }
        // A process that takes a new id starts afresh under it (rule 24).
        let Some((.., was)) = before.filter(|(start, id, _)| (*start, *id) == (endpoint, node)) else { return Ok(()) };
        let (old, new) = (was.hard_state, is.hard_state);
        let vote_stays = old.term != new.term || old.vote.is_none() || old.vote == new.vote;
        if old.term <= new.term && vote_stays && was.commit <= is.commit && was.applied <= is.applied {
            return Ok(());
        }
        Err(Violation::of("nothing goes back", format!("node {node:?} went from {was:?} to {is:?}")))
    }

    /// The node states `term` in a message.
    pub fn on_stated(&mut self, node: NodeId, term: Term) -> Verdict {
        let highest = self.stated.entry(node).or_insert(term);
        if term < *highest {
            let detail = format!("node {node:?} states term {term} after {highest}");
            return Err(Violation::of("nothing goes back", detail));
        }
        *highest = term;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);

    fn position(term: u64, vote: Option<u128>, [applied, commit, last]: [u64; 3]) -> Position {
        let hard_state = HardState { term: Term(term), vote: vote.map(NodeId) };
        Position { hard_state, last: Index(last), commit: Index(commit), applied: Index(applied) }
    }

    #[test]
    fn each_step_back_is_found() {
        let first = position(2, Some(1), [3, 4, 5]);
        let endpoint = Endpoint { place: 0, start: 1 };
        let after = |is| {
            let mut monotonic = Monotonic::default();
            monotonic.on_step(endpoint, NODE, first).unwrap();
            monotonic.on_step(endpoint, NODE, is)
        };
        after(position(2, Some(1), [3, 4, 4])).unwrap();
        after(position(3, None, [4, 4, 6])).unwrap();
        for wrong in [
            position(1, None, [3, 4, 5]),
            position(2, Some(2), [3, 4, 5]),
            position(2, None, [3, 4, 5]),
            position(2, Some(1), [3, 3, 5]),
            position(2, Some(1), [2, 4, 5]),
            position(2, Some(1), [5, 4, 5]),
            position(2, Some(1), [3, 6, 5]),
        ] {
            assert!(after(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_restart_may_forget_what_nobody_was_told_and_nothing_else() {
        let mut monotonic = Monotonic::default();
        monotonic.on_step(Endpoint { place: 0, start: 1 }, NODE, position(3, Some(1), [2, 2, 2])).unwrap();
        monotonic.on_stated(NODE, Term(2)).unwrap();
        monotonic.on_step(Endpoint { place: 0, start: 2 }, NODE, position(2, None, [1, 1, 2])).unwrap();
        monotonic.on_stated(NODE, Term(2)).unwrap();
        assert!(monotonic.on_stated(NODE, Term(1)).is_err());
    }
}
