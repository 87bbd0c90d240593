//! Founding (rules 22 to 24): an id promises one set and keeps the promise for as long as it lives, and a cluster is formed by the
//! promises of all its members.

use std::collections::BTreeMap;

use slimcluster_core::NodeId;
use slimcluster_core::raft::Configuration;
use slimcluster_core::storage::{Identity, Phase};

use super::{Verdict, Violation};

/// What each id has promised, durably.
#[derive(Debug, Default)]
pub struct Promises {
    promised: BTreeMap<NodeId, Configuration>,
}

impl Promises {
    /// This identity is durable.
    pub fn on_durable(&mut self, identity: &Identity) -> Verdict {
        let Some(set) = set_of(&identity.phase) else { return Ok(()) };
        let first = self.promised.entry(identity.node).or_insert_with(|| set.clone());
        if first == set {
            return Ok(());
        }
        let detail = format!("node {:?} has promised {:?} and promises {:?}", identity.node, ids(first), ids(set));
        Err(Violation::of("one promise per id", detail))
    }

    /// A node that has `durable` on its disk wants this identity instead.
    pub fn on_write(&self, durable: Option<&Identity>, identity: &Identity) -> Verdict {
        let broken = durable
            .filter(|durable| durable.node == identity.node)
            .and_then(|durable| set_of(&durable.phase))
            .filter(|set| set_of(&identity.phase) != Some(*set));
        if let Some(set) = broken {
            let (node, phase) = (identity.node, &identity.phase);
            let detail = format!("node {node:?} has promised {:?} and goes on as {phase:?}", ids(set));
            return Err(Violation::of("one promise per id", detail));
        }
        let Phase::Formed { baseline: set, .. } = &identity.phase else { return Ok(()) };
        let members = ids(set);
        match members.iter().find(|member| self.promised.get(member) != Some(set)) {
            None => Ok(()),
            Some(member) => {
                let node = identity.node;
                let detail = format!("node {node:?} counts {member:?} in, which has not promised {members:?}");
                Err(Violation::of("formed by all promises", detail))
            }
        }
    }
}

/// The set that a node in this phase has promised.
fn set_of(phase: &Phase) -> Option<&Configuration> {
    match phase {
        Phase::Promised(set) | Phase::Formed { baseline: set, .. } => Some(set),
        Phase::Fresh | Phase::JoinOnly { .. } => None,
    }
}

fn ids(set: &Configuration) -> Vec<NodeId> {
    set.nodes().iter().map(|node| node.id).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_cluster_formed_without_a_promise_is_found() {
        let mut promises = Promises::default();
        let identities = [1, 2, 3].map(|id| {
            let formed = sample::identity(NodeId(id));
            let Phase::Formed { baseline, .. } = &formed.phase else { unreachable!() };
            let promised = Identity { phase: Phase::Promised(baseline.clone()), ..formed.clone() };
            (promised, formed)
        });
        for (promised, formed) in &identities {
            assert!(promises.on_write(Some(promised), formed).is_err(), "not all have promised");
            promises.on_durable(promised).unwrap();
        }
        for (promised, formed) in &identities {
            promises.on_write(Some(promised), formed).unwrap();
            promises.on_durable(formed).unwrap();
        }
    }

    #[test]
    fn a_promise_taken_back_is_found() {
        let formed = sample::identity(NodeId(1));
        let fresh = Identity { phase: Phase::Fresh, ..formed.clone() };
        let renewed = Identity { node: NodeId(9), ..fresh.clone() };
        let mut promises = Promises::default();
        promises.on_durable(&formed).unwrap();
        promises.on_write(Some(&formed), &renewed).unwrap();
        assert!(promises.on_write(Some(&formed), &fresh).is_err());
        let Phase::Formed { baseline, .. } = &formed.phase else { unreachable!() };
        let fewer = Configuration::new(baseline.nodes()[..2].to_vec()).unwrap();
        assert!(promises.on_durable(&Identity { phase: Phase::Promised(fewer), ..formed.clone() }).is_err());
    }
}
