//! Confirmations (R9; thesis 6.4): a leader lets a read see its commit index only after a quorum has answered it since the read began,
//! and another node only after a leader has answered it since.
//!
//! [`super::reads`] watches the effect, a stale read, which takes a leader that was deposed without hearing of it, just then. The
//! cause shows at the first read.

use std::collections::BTreeMap;

use slimcluster_core::{Index, NodeId, Term};

use super::{Verdict, Violation};

/// When each node last answered each leader.
#[derive(Debug, Default)]
pub struct Confirmations {
    /// By leader: its latest term, and when each node last said that it follows it there.
    answers: BTreeMap<NodeId, (Term, BTreeMap<NodeId, u64>)>,
    /// By node: the read indices that it was told, and when.
    told: BTreeMap<NodeId, Vec<(u64, Index)>>,
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

    /// At `now` a leader tells `reader` that its reads may see everything up to `index`.
    pub fn on_told(&mut self, now: u64, reader: NodeId, index: Index) {
        self.told.entry(reader).or_default().push((now, index));
    }

    /// A read that began at `began` with `reader`, which does not lead, is let through with this index.
    pub fn check_told(&self, reader: NodeId, began: u64, index: Index) -> Verdict {
        let told = self.told.get(&reader).into_iter().flatten().rev();
        let mut since = told.take_while(|(at, _)| *at >= began);
        if since.any(|(_, told)| *told == index) {
            return Ok(());
        }
        let detail =
            format!("node {reader:?} lets a read of {began} us through at {index}, which nobody has told it since");
        Err(Violation::of("confirmed reads", detail))
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
    fn a_read_that_no_leader_has_answered_since_it_began_is_found() {
        let mut confirmations = Confirmations::default();
        assert!(confirmations.check_told(NodeId(1), 5, Index(3)).is_err(), "nobody was asked");
        confirmations.on_told(10, NodeId(1), Index(3));
        confirmations.on_told(20, NodeId(1), Index(4));
        confirmations.check_told(NodeId(1), 5, Index(3)).unwrap();
        confirmations.check_told(NodeId(1), 20, Index(4)).unwrap();
        assert!(confirmations.check_told(NodeId(1), 11, Index(3)).is_err(), "told before the read began");
        assert!(confirmations.check_told(NodeId(2), 5, Index(3)).is_err(), "another was told");
    }

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
