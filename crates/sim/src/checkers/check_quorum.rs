//! Check-quorum (Raft dissertation, section 6.2): a leader whom no quorum answers any more steps down, by its own clock and soon.

use std::collections::BTreeMap;
use std::time::Duration;

use slimcluster_core::{Instant, NodeId, Term, raft};

use super::{Verdict, Violation};

/// Who has answered a leader, and when by its own clock.
#[derive(Debug, Default)]
pub struct Contacts {
    term: Option<Term>,
    since: Instant,
    answered: BTreeMap<NodeId, Instant>,
}

impl Contacts {
    /// The leader of `term` takes an answer of `voter`.
    pub fn on_answer(&mut self, term: Term, voter: NodeId, at: Instant) {
        if self.term == Some(term) {
            self.answered.insert(voter, at);
        }
    }

    /// At `now` the node has handled everything that has arrived and judged its deadlines. `leads`: the term, if it leads one.
    pub fn check(
        &mut self,
        node: NodeId,
        leads: Option<Term>,
        voters: impl Iterator<Item = NodeId>,
        now: Instant,
    ) -> Verdict {
        if leads.is_none() || leads != self.term {
            (self.term, self.since) = (leads, now);
            self.answered.clear();
            return Ok(());
        }
        let options = raft::Options::lan();
        // It looks once per heartbeat.
        let patience: Duration = options.election_timeout_max + options.heartbeat_interval;
        let is_recent = |at: Instant| now.since(at) <= patience;
        if is_recent(self.since) {
            return Ok(());
        }
        let in_touch = |voter: NodeId| voter == node || self.answered.get(&voter).is_some_and(|at| is_recent(*at));
        let (touched, all) =
            voters.fold((0, 0), |(touched, all), voter| (touched + u32::from(in_touch(voter)), all + 1));
        if 2 * touched > all {
            return Ok(());
        }
        let detail = format!("node {node} leads in {leads:?} and has been answered by no quorum for {patience:?}");
        Err(Violation::of("a leader without a quorum steps down", detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_nobody_answers_is_found_and_one_that_a_quorum_answers_is_not() {
        let (voters, term) = ([NodeId(1), NodeId(2), NodeId(3)], Term(4));
        let at = |millis: u64| Instant::from_micros(1_000 * millis);
        let mut contacts = Contacts::default();
        let check =
            |contacts: &mut Contacts, millis| contacts.check(NodeId(1), Some(term), voters.into_iter(), at(millis));
        check(&mut contacts, 100).unwrap();
        check(&mut contacts, 500).unwrap();
        contacts.on_answer(term, NodeId(3), at(500));
        check(&mut contacts, 900).unwrap();
        assert!(check(&mut contacts, 1_500).is_err());
        contacts.on_answer(Term(3), NodeId(3), at(1_500));
        assert!(check(&mut contacts, 1_500).is_err(), "an answer to an earlier leadership");
        contacts.check(NodeId(1), None, voters.into_iter(), at(1_500)).unwrap();
        check(&mut contacts, 1_600).unwrap();
    }
}
