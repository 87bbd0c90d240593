//! Election safety (R1): at most one leader per term, and at most one vote per node identity and term, whatever crashes between.

use std::collections::BTreeMap;

use slimcluster_core::{NodeId, Term};

use super::{Verdict, Violation};

/// Every leader and every vote so far.
#[derive(Debug, Default)]
pub struct Elections {
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(NodeId, Term), NodeId>,
}

impl Elections {
    /// `node` leads in `term`.
    pub fn on_leader(&mut self, node: NodeId, term: Term) -> Verdict {
        let first = *self.leaders.entry(term).or_insert(node);
        if first == node {
            return Ok(());
        }
        Err(Violation::of("election safety", format!("nodes {first:?} and {node:?} both lead in term {term}")))
    }

    /// `node` voted for `candidate` in `term`: its disk holds the vote, or it has told the candidate.
    pub fn on_vote(&mut self, node: NodeId, term: Term, candidate: NodeId) -> Verdict {
        let first = *self.votes.entry((node, term)).or_insert(candidate);
        if first == candidate {
            return Ok(());
        }
        let detail = format!("node {node:?} voted for {first:?} and for {candidate:?} in term {term}");
        Err(Violation::of("one vote per term", detail))
    }

    /// Who led `term`, as far as anybody has.
    pub fn leader(&self, term: Term) -> Option<NodeId> {
        self.leaders.get(&term).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leaders_and_two_votes_are_found() {
        let mut elections = Elections::default();
        elections.on_leader(NodeId(1), Term(1)).unwrap();
        elections.on_leader(NodeId(1), Term(1)).unwrap();
        elections.on_leader(NodeId(2), Term(2)).unwrap();
        assert!(elections.on_leader(NodeId(2), Term(1)).is_err());
        elections.on_vote(NodeId(3), Term(1), NodeId(1)).unwrap();
        elections.on_vote(NodeId(3), Term(2), NodeId(2)).unwrap();
        assert!(elections.on_vote(NodeId(3), Term(1), NodeId(2)).is_err());
    }
}
