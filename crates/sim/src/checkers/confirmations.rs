//! Confirmations (R9; thesis 6.4): a leader lets a read see its commit index only after a quorum has answered it since the read began.
//!
//! [`super::reads`] watches the effect, a stale read, which takes a leader that was deposed without hearing of it, just then. The
//! cause shows at the first read. Judged are reads that began at the leader itself: whom another node asked is not seen here.

use std::collections::BTreeMap;

use slimcluster_core::{NodeId, Term};

use super::{Verdict, Violation};

/// When each node last answered each leader.
#[derive(Debug, Default)]
pub struct Confirmations {
    /// By leader: its latest term, and when each node last said that it follows it there.
    answers: BTreeMap<NodeId, (Term, BTreeMap<NodeId, u64>)>,
}

impl Confirmations {
    /// At `now` a node answers `leader`, which it follows in `term`.
    pub fn on_answer(&mut self, now: u64, node: NodeId, leader: NodeId, term: Term) {
        let (latest, answers) = self.answers.entry(leader).or_default();
        if *latest < term {
            (*latest, *answers) = (term, BTreeMap::new());
        }
        if *latest == term {
            answers.insert(node, now);
        }
    }

    /// A read that began at `began` with `leader`, which led `term` then and still does, with these voters, is let through.
    pub fn check(&self, leader: NodeId, term: Term, began: u64, voters: &[NodeId]) -> Verdict {
        let answers = self.answers.get(&leader).filter(|(latest, _)| *latest == term).map(|(_, answers)| answers);
        let said = |voter: &NodeId| answers.and_then(|answers| answers.get(voter)).is_some_and(|at| *at >= began);
        let count = voters.iter().filter(|voter| **voter == leader || said(voter)).count();
        if count * 2 > voters.len() {
            return Ok(());
        }
        let detail = format!(
            "node {leader:?} lets a read of {began} us through in term {term}, with {count} of {} voters heard since",
            voters.len()
        );
        Err(Violation::of("confirmed reads", detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_no_quorum_has_confirmed_is_found() {
        let [leader, second, third] = [NodeId(1), NodeId(2), NodeId(3)];
        let mut confirmations = Confirmations::default();
        let check = |confirmations: &Confirmations, term, began| {
            confirmations.check(leader, Term(term), began, &[leader, second, third])
        };
        confirmations.check(leader, Term(1), 5, &[leader]).unwrap();
        assert!(check(&confirmations, 1, 5).is_err(), "nobody was heard");
        confirmations.on_answer(10, second, leader, Term(1));
        check(&confirmations, 1, 10).unwrap();
        assert!(check(&confirmations, 1, 11).is_err(), "heard before the read began");
        confirmations.on_answer(12, third, leader, Term(2));
        confirmations.on_answer(12, second, leader, Term(1));
        assert!(check(&confirmations, 1, 11).is_err(), "in a term that has passed");
        check(&confirmations, 2, 11).unwrap();
    }
}
