//! Who has forgotten what it promised never votes again under that name (C3), and only members of a cluster vote at all (rule 23).
//!
//! A promise is a vote, a candidacy or an acknowledgement that others were told of. A store that holds less when it is opened
//! belongs to an amnesiac: its disk was wiped, restored or is rotten. That alone is a fault; voting after it is a violation.

use std::collections::{BTreeMap, BTreeSet};

use slimcluster_core::{HardState, Index, NodeId, Term};

use super::storage::ShadowLog;
use super::{Verdict, Violation};

/// What a node has told others.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    hard_state: HardState,
    /// (in this term, up to here, with this history).
    acknowledged: Option<(Term, Index, u64)>,
}

/// The promises of every node.
#[derive(Debug, Default)]
pub struct Amnesia {
    promised: BTreeMap<NodeId, Promised>,
    forgetful: BTreeSet<NodeId>,
}

impl Amnesia {
    /// A process of `node` found this.
    pub fn on_opened(&mut self, node: NodeId, found: HardState, log: &ShadowLog) {
        let Some(Promised { hard_state, acknowledged }) = self.promised.get(&node).copied() else { return };
        let keeps_vote = found.term > hard_state.term
            || found.term == hard_state.term && (hard_state.vote.is_none() || found.vote == hard_state.vote);
        // Under a later leader an acknowledged entry that was never committed may have been replaced.
        let keeps_log = acknowledged.is_none_or(|(term, index, chain)| found.term > term || log.holds(index, chain));
        if !keeps_vote || !keeps_log {
            self.forgetful.insert(node);
        }
    }

    /// `node`, of a cluster if `is_formed`, votes, or asks for votes, or leads, in this term.
    pub fn on_vote(&mut self, node: NodeId, is_formed: bool, vote: HardState) -> Verdict {
        self.judge(node, is_formed, "votes")?;
        let promised = self.promised.entry(node).or_default();
        if vote.term >= promised.hard_state.term {
            promised.hard_state = vote;
        }
        Ok(())
    }

    /// `node` acknowledges, in `term`, everything up to `index`; that history has the hash `chain`.
    pub fn on_acknowledged(
        &mut self,
        node: NodeId,
        is_formed: bool,
        term: Term,
        (index, chain): (Index, u64),
    ) -> Verdict {
        self.judge(node, is_formed, "acknowledges")?;
        let promised = self.promised.entry(node).or_default();
        if term > promised.hard_state.term {
            promised.hard_state = HardState { term, vote: None };
        }
        if promised.acknowledged.is_none_or(|(earlier, highest, _)| (earlier, highest) < (term, index)) {
            promised.acknowledged = Some((term, index, chain));
        }
        Ok(())
    }

    fn judge(&self, node: NodeId, is_formed: bool, what: &str) -> Verdict {
        if !is_formed {
            return Err(Violation::of("only members vote", format!("node {node:?} {what} and is part of no cluster")));
        }
        if self.forgetful.contains(&node) {
            let detail = format!("node {node:?} {what} after its disk has lost what it promised");
            return Err(Violation::of("an amnesiac never votes", detail));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{self, founded, run, write};
    use super::*;

    const NODE: NodeId = NodeId(1);

    fn voted(term: u64, vote: Option<u128>) -> HardState {
        HardState { term: Term(term), vote: vote.map(NodeId) }
    }

    #[test]
    fn a_vote_after_a_forgotten_vote_is_found() {
        let empty = founded(NODE);
        for (found, forgot) in [
            (voted(2, Some(2)), false),
            (voted(3, None), false),
            (voted(2, None), true),
            (voted(2, Some(3)), true),
            (voted(1, Some(2)), true),
        ] {
            let mut amnesia = Amnesia::default();
            amnesia.on_vote(NODE, true, voted(2, Some(2))).unwrap();
            amnesia.on_opened(NODE, found, empty.accepted_log());
            assert_eq!(amnesia.on_vote(NODE, true, voted(4, Some(1))).is_err(), forgot, "{found:?}");
        }
        assert!(Amnesia::default().on_vote(NODE, false, voted(2, Some(2))).is_err(), "no member");
    }

    #[test]
    fn an_acknowledgement_after_a_forgotten_one_is_found() {
        let mut store = founded(NODE);
        let entry = run(2, 1, sample::base_chain());
        write(&mut store, std::slice::from_ref(&entry), true);
        let acknowledged = (Index(2), entry.chain_end());
        for (log, term, forgot) in [(&store, 2, false), (&founded(NODE), 3, false), (&founded(NODE), 2, true)] {
            let mut amnesia = Amnesia::default();
            amnesia.on_acknowledged(NODE, true, Term(2), acknowledged).unwrap();
            amnesia.on_opened(NODE, voted(term, None), log.accepted_log());
            assert_eq!(amnesia.on_acknowledged(NODE, true, Term(3), acknowledged).is_err(), forgot);
        }
    }
}
