//! Campaigns: a term is opened with the promise of a quorum (thesis 9.6), a vote goes to a log that lacks nothing (R5; paper 5.4.1), a
//! quorum's votes of that very term elect (R1), and a leader's own vote is on its disk like every other (R10).
//!
//! Each is the cause of what [`super::elections`] and [`super::durability`] watch the effect of. The effect takes bad luck, the
//! cause shows at the first election; and a term opened without need deposes a leader, which no other property forbids.

use std::collections::{BTreeMap, BTreeSet};

use slimcluster_core::{HardState, LogId, NodeId, Term};

use super::{Verdict, Violation};

/// Votes are remembered for so many terms below the latest that was won; no node stands still for longer.
const TERMS_KEPT: u64 = 64;

/// What was promised and asked before the elections of a cluster.
#[derive(Debug, Default)]
pub struct Campaigns {
    /// Who said to a node, while it stood in this term, that it would vote for it in the next.
    promises: BTreeMap<(NodeId, Term), BTreeSet<NodeId>>,
    /// The node was named as successor by the leader of this term, which resigned.
    named: BTreeSet<(NodeId, Term)>,
    /// Where the log of a candidate ended when it asked for votes in this term.
    asked: BTreeMap<(NodeId, Term), LogId>,
    /// Where the log of a node ended at most when it asked for promises in this term.
    wished: BTreeMap<(NodeId, Term), LogId>,
    /// Who said to a candidate that it has its vote in this term.
    votes: BTreeMap<(NodeId, Term), BTreeSet<NodeId>>,
    /// The highest term that the node has opened.
    opened: BTreeMap<NodeId, Term>,
}

impl Campaigns {
    /// `asker`, which stands in `term` with a log that ends in `last`, asks who would vote for it in the next.
    pub fn on_wish(&mut self, asker: NodeId, term: Term, last: LogId) {
        let highest = self.wished.entry((asker, term)).or_insert(last);
        *highest = last.max(*highest);
    }

    /// `node` promises a vote to `asker`, which stands in the term `asked`. When it decided so its log ended in `own`, or beyond.
    pub fn on_promise(&mut self, (node, own): (NodeId, Option<LogId>), asker: NodeId, asked: Term) -> Verdict {
        self.promises.entry((asker, asked)).or_default().insert(node);
        match (self.wished.get(&(asker, asked)), own) {
            (Some(last), Some(own)) if *last < own => {
                let detail = format!("node {node:?} with {own} would vote for {asker:?}, whose log ends in {last}");
                Err(Violation::of("votes for the fuller log", detail))
            }
            _ => Ok(()),
        }
    }

    /// The leader of `term` resigns and names its successor.
    pub fn on_named(&mut self, successor: NodeId, term: Term) {
        self.named.insert((successor, term));
    }

    /// `candidate` asks for votes in `term` with a log that ends in `last`.
    pub fn on_asked(&mut self, candidate: NodeId, term: Term, last: LogId) {
        self.asked.insert((candidate, term), last);
    }

    /// `node` has voted for itself in `term`, in a configuration of these voters.
    pub fn on_opened(&mut self, node: NodeId, term: Term, voters: &[NodeId]) -> Verdict {
        if self.opened.get(&node).is_some_and(|opened| *opened >= term) {
            return Ok(());
        }
        self.opened.insert(node, term);
        let before = Term(term.0.saturating_sub(1));
        let promised = self.promises.remove(&(node, before)).unwrap_or_default();
        self.promises.retain(|(asker, asked), _| *asker != node || *asked > before);
        self.wished.retain(|(asker, asked), _| *asker != node || *asked > before);
        if self.named.remove(&(node, before)) {
            return Ok(());
        }
        let count = voters.iter().filter(|voter| **voter == node || promised.contains(voter)).count();
        if count * 2 > voters.len() {
            return Ok(());
        }
        let detail = format!("node {node:?} opens term {term}, as {count} of {} voters would have it", voters.len());
        Err(Violation::of("pre-vote", detail))
    }

    /// `node`, whose log ends in `own`, tells `candidate` that it has its vote in `term`.
    pub fn on_vote(&mut self, node: NodeId, own: LogId, candidate: NodeId, term: Term) -> Verdict {
        self.votes.entry((candidate, term)).or_default().insert(node);
        // What it has heard from the winner since it voted is no reason against the vote.
        let Some(last) = self.asked.get(&(candidate, term)).filter(|_| own.term < term) else { return Ok(()) };
        if *last >= own {
            return Ok(());
        }
        let detail =
            format!("node {node:?} with {own} votes for {candidate:?}, whose log ends in {last}, in term {term}");
        Err(Violation::of("votes for the fuller log", detail))
    }

    /// `node` leads `term`, with these voters; its disk holds this.
    pub fn on_elected(&mut self, node: NodeId, term: Term, held: HardState, voters: &[NodeId]) -> Verdict {
        if held != (HardState { term, vote: Some(node) }) {
            let detail = format!("node {node:?} leads in term {term} while its disk holds {held:?}");
            return Err(Violation::of("answers after the disk", detail));
        }
        let votes = self.votes.remove(&(node, term)).unwrap_or_default();
        // A winner that stood still meanwhile may be seen to lead after those of later terms.
        let is_kept = |asked: Term| asked.0 + TERMS_KEPT >= term.0;
        self.votes.retain(|(_, asked), _| is_kept(*asked));
        self.asked.retain(|(_, asked), _| is_kept(*asked));
        let count = voters.iter().filter(|voter| **voter == node || votes.contains(voter)).count();
        if count * 2 > voters.len() {
            return Ok(());
        }
        let detail = format!("node {node:?} leads in term {term} by {count} votes of {}", voters.len());
        Err(Violation::of("elected by a quorum", detail))
    }
}

/// What is known of a node's gate (rules 8, 9): whether what it says now was decided in its present step, and the log that it had then.
#[derive(Debug, Default)]
pub struct Gate {
    /// Where its log ended after its last step.
    last: LogId,
    /// In this step it changed term or vote: what it says was decided before, and what it decides now waits for the disk.
    is_closing: bool,
    /// It has said something since it last changed term or vote, so nothing waits any more.
    is_open: bool,
    has_spoken: bool,
}

impl Gate {
    /// The node wants another term or vote on its disk.
    pub fn on_hard_state(&mut self) {
        (self.is_closing, self.is_open, self.has_spoken) = (true, false, false);
    }

    /// The node says something. Returns where its log ended at least when it decided to, if that is known; its log ends in `now`.
    pub fn on_said(&mut self, now: LogId) -> Option<LogId> {
        self.has_spoken |= !self.is_closing;
        self.is_open.then(|| self.last.min(now))
    }

    /// The step ends, and the log in `last`.
    pub fn on_step(&mut self, last: LogId) {
        (self.last, self.is_closing, self.is_open) = (last, false, self.has_spoken);
    }
}

#[cfg(test)]
mod tests {
    use slimcluster_core::Index;

    use super::*;

    const VOTERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
    const NODE: NodeId = NodeId(1);

    #[test]
    fn a_term_opened_without_promises_is_found() {
        let mut campaigns = Campaigns::default();
        assert!(campaigns.on_opened(NODE, Term(2), &VOTERS).is_err(), "nobody promised");
        campaigns.on_promise((NodeId(2), None), NODE, Term(2)).unwrap();
        campaigns.on_opened(NODE, Term(3), &VOTERS).unwrap();
        campaigns.on_opened(NODE, Term(3), &VOTERS).unwrap();
        assert!(campaigns.on_opened(NODE, Term(4), &VOTERS).is_err(), "the promise was for the term before");
        campaigns.on_named(NODE, Term(4));
        campaigns.on_opened(NODE, Term(5), &VOTERS).unwrap();
        campaigns.on_opened(NodeId(9), Term(2), &[NodeId(9)]).unwrap();
    }

    #[test]
    fn a_vote_for_a_log_that_lacks_something_is_found() {
        let mut campaigns = Campaigns::default();
        let id = |term, index| LogId::new(Term(term), Index(index));
        campaigns.on_asked(NODE, Term(5), id(3, 7));
        let mut vote = |own| campaigns.on_vote(NodeId(2), own, NODE, Term(5));
        vote(id(3, 7)).unwrap();
        vote(id(2, 9)).unwrap();
        vote(id(5, 9)).unwrap();
        assert!(vote(id(3, 8)).is_err(), "longer");
        assert!(vote(id(4, 1)).is_err(), "later");
    }

    #[test]
    fn a_promise_to_a_log_that_lacks_something_is_found() {
        let mut campaigns = Campaigns::default();
        let id = |term, index| LogId::new(Term(term), Index(index));
        campaigns.on_wish(NODE, Term(5), id(3, 7));
        let mut promise = |own| campaigns.on_promise((NodeId(2), own), NODE, Term(5));
        promise(Some(id(3, 7))).unwrap();
        promise(None).unwrap();
        assert!(promise(Some(id(3, 8))).is_err());
    }

    #[test]
    fn a_gate_is_open_when_something_was_said_since_the_disk_holds_term_and_vote() {
        let mut gate = Gate::default();
        let id = |index| LogId::new(Term(1), Index(index));
        gate.on_step(id(7));
        assert_eq!(gate.on_said(id(8)), None, "it may have been decided long ago");
        gate.on_step(id(8));
        assert_eq!(gate.on_said(id(9)), Some(id(8)));
        gate.on_hard_state();
        assert_eq!(gate.on_said(id(9)), None, "decided before term and vote changed");
        gate.on_step(id(9));
        assert_eq!(gate.on_said(id(9)), None, "what waited leaves together");
        gate.on_step(id(9));
        assert_eq!(gate.on_said(id(6)), Some(id(6)), "cut off meanwhile");
    }

    #[test]
    fn who_wins_an_earlier_term_late_has_its_votes_still() {
        let mut campaigns = Campaigns::default();
        let held = |term, vote| HardState { term: Term(term), vote: Some(vote) };
        campaigns.on_vote(NodeId(2), LogId::ZERO, NODE, Term(2)).unwrap();
        campaigns.on_vote(NodeId(2), LogId::ZERO, NodeId(3), Term(3)).unwrap();
        campaigns.on_elected(NodeId(3), Term(3), held(3, NodeId(3)), &VOTERS).unwrap();
        campaigns.on_elected(NODE, Term(2), held(2, NODE), &VOTERS).unwrap();
    }

    #[test]
    fn a_leader_without_votes_and_one_whose_own_is_on_no_disk_are_found() {
        let mut campaigns = Campaigns::default();
        let held = |term, vote| HardState { term: Term(term), vote };
        let elected = |campaigns: &mut Campaigns, held| campaigns.on_elected(NODE, Term(2), held, &VOTERS).is_ok();
        campaigns.on_vote(NodeId(2), LogId::ZERO, NODE, Term(2)).unwrap();
        assert!(!elected(&mut campaigns, held(1, Some(NODE))));
        assert!(!elected(&mut campaigns, held(2, None)));
        assert!(elected(&mut campaigns, held(2, Some(NODE))));
        assert!(!elected(&mut Campaigns::default(), held(2, Some(NODE))), "one vote of three");
        campaigns.on_vote(NodeId(2), LogId::ZERO, NODE, Term(1)).unwrap();
        campaigns.on_vote(NodeId(2), LogId::ZERO, NodeId(3), Term(2)).unwrap();
        assert!(!elected(&mut campaigns, held(2, Some(NODE))), "votes of another term, and for another");
    }
}
