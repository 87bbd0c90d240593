//! S2 and S8: whom the members take for dead. Nobody who is well and reached, nobody who has said that it goes.

use std::collections::{BTreeMap, BTreeSet};

use slimcluster_core::NodeId;
use slimcluster_core::node::io::Event;

use super::{Verdict, Violation};

/// Who may be accused of what, for the time being.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// In real trouble: they may be taken for dead, and what they take others for says nothing.
    excused: BTreeSet<NodeId>,
    /// They could be reached by nobody for a while: they may be taken for dead, and their own word counts.
    back: BTreeSet<NodeId>,
    /// They have said good-bye.
    leaving: BTreeSet<NodeId>,
    /// Every path between the members works, or there is another around it: a suspicion is wrong as well.
    pub no_suspicions: bool,
    /// Suspicions so far, by subject: most are refuted.
    pub suspicions: BTreeMap<NodeId, u64>,
}

impl Verdicts {
    /// `node` is in trouble.
    pub fn excuse(&mut self, node: NodeId) {
        self.excused.insert(node);
    }

    /// `node` was in trouble, and could know: from now on it may accuse nobody.
    pub fn is_back(&mut self, node: NodeId) {
        self.excused.remove(&node);
        self.back.insert(node);
    }

    /// `node` says good-bye for good.
    pub fn leaves(&mut self, node: NodeId) {
        self.leaving.insert(node);
    }

    /// `node` is a member again.
    pub fn returns(&mut self, node: NodeId) {
        self.leaving.remove(&node);
    }

    /// All is well again, and everybody knows.
    pub fn settle(&mut self) {
        self.excused.clear();
        self.back.clear();
        self.no_suspicions = false;
    }

    /// A member has something to tell its application.
    pub fn on_event(&mut self, observer: NodeId, event: &Event) -> Verdict {
        let broken = |property, subject: NodeId, what| {
            Err(Violation::of(property, format!("{observer} {what} {subject}, which has given no reason")))
        };
        let is_excused = |subject| {
            self.excused.contains(&observer) || self.excused.contains(&subject) || self.back.contains(&subject)
        };
        match event {
            Event::Failed(member) if self.leaving.contains(&member.id) => {
                broken("a good-bye is no failure", member.id, "takes for dead")
            }
            Event::Failed(member) if !is_excused(member.id) => broken("accuracy", member.id, "takes for dead"),
            Event::Suspected(member) => {
                *self.suspicions.entry(member.id).or_default() += 1;
                if self.no_suspicions && !is_excused(member.id) {
                    return broken("accuracy", member.id, "suspects");
                }
                Ok(())
            }
            Event::Left(member) if !self.leaving.contains(&member.id) => broken("accuracy", member.id, "misses"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use slimcluster_core::swim::{Member, MemberState, Meta};
    use slimcluster_core::{Generation, Instant};

    use super::*;

    fn member(id: u128) -> Member {
        Member {
            id: NodeId(id),
            name: format!("n{id}"),
            address: ([10, 0, 0, 1], 7_000).into(),
            generation: Generation(1),
            meta: Meta::default(),
            state: MemberState::Dead,
            restarting: false,
            joined_at: Instant::ZERO,
            last_seen: Instant::ZERO,
        }
    }

    #[test]
    fn only_those_in_trouble_may_be_taken_for_dead_or_take_others_for_it() {
        let mut verdicts = Verdicts::default();
        let failed = Event::Failed(member(2));
        assert_eq!(verdicts.on_event(NodeId(1), &failed).unwrap_err().property, "accuracy");
        verdicts.on_event(NodeId(1), &Event::Suspected(member(2))).unwrap();
        for excused in [1, 2] {
            verdicts.excuse(NodeId(excused));
            verdicts.on_event(NodeId(1), &failed).unwrap();
            verdicts.settle();
        }
        verdicts.excuse(NodeId(2));
        verdicts.is_back(NodeId(2));
        verdicts.on_event(NodeId(1), &failed).unwrap();
        assert!(verdicts.on_event(NodeId(2), &Event::Failed(member(1))).is_err(), "it accuses, and is back");
        verdicts.settle();
        verdicts.no_suspicions = true;
        assert!(verdicts.on_event(NodeId(1), &Event::Suspected(member(2))).is_err());
    }

    #[test]
    fn who_leaves_has_not_failed_and_who_has_not_said_so_has_not_left() {
        let mut verdicts = Verdicts::default();
        assert!(verdicts.on_event(NodeId(1), &Event::Left(member(2))).is_err());
        verdicts.leaves(NodeId(2));
        verdicts.on_event(NodeId(1), &Event::Left(member(2))).unwrap();
        verdicts.excuse(NodeId(2));
        let violation = verdicts.on_event(NodeId(1), &Event::Failed(member(2))).unwrap_err();
        assert_eq!(violation.property, "a good-bye is no failure");
    }
}
