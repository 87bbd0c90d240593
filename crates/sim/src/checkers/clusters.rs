//! Clusters never mix (C1): a node belongs to one for ever, takes entries of that one only, and promises nothing to another.

use std::collections::BTreeMap;

use slimcluster_core::{ClusterUuid, NodeId, Run};

use super::{Verdict, Violation};

/// Which node belongs where.
#[derive(Debug, Default)]
pub struct Clusters {
    members: BTreeMap<NodeId, ClusterUuid>,
}

impl Clusters {
    /// `node` says in its identity file that it is part of this cluster.
    pub fn on_member(&mut self, node: NodeId, uuid: ClusterUuid) -> Verdict {
        let first = *self.members.entry(node).or_insert(uuid);
        if first == uuid {
            return Ok(());
        }
        Err(Violation::of("clusters never mix", format!("node {node:?} was part of {first} and is now of {uuid}")))
    }

    /// `node` grants or acknowledges something to `peer`.
    pub fn check_answer(&self, node: NodeId, peer: NodeId) -> Verdict {
        match (self.members.get(&node), self.members.get(&peer)) {
            (Some(own), Some(theirs)) if own == theirs => Ok(()),
            (own, theirs) => {
                let detail = format!("node {node:?} of {own:?} believes node {peer:?} of {theirs:?}");
                Err(Violation::of("clusters never mix", detail))
            }
        }
    }
}

/// A node takes `run` into a log with this history before it: it goes on from there, back to the founding of its cluster.
pub fn check_run(before: Option<u64>, run: &Run) -> Verdict {
    match before {
        Some(chain) if chain == run.header().chain => Ok(()),
        before => {
            let detail = format!("{run:?} goes on from history {:x}, here stands {before:x?}", run.header().chain);
            Err(Violation::of("clusters never mix", detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::run;
    use super::*;

    #[test]
    fn a_node_of_two_clusters_and_a_promise_to_another_are_found() {
        let mut clusters = Clusters::default();
        let (ours, theirs) = (ClusterUuid(1), ClusterUuid(2));
        clusters.on_member(NodeId(1), ours).unwrap();
        clusters.on_member(NodeId(2), ours).unwrap();
        clusters.on_member(NodeId(3), theirs).unwrap();
        clusters.check_answer(NodeId(1), NodeId(2)).unwrap();
        assert!(clusters.check_answer(NodeId(1), NodeId(3)).is_err());
        assert!(clusters.check_answer(NodeId(1), NodeId(4)).is_err(), "of no cluster");
        assert!(clusters.on_member(NodeId(1), theirs).is_err());
    }

    #[test]
    fn an_entry_of_another_history_is_found() {
        check_run(Some(7), &run(2, 1, 7)).unwrap();
        assert!(check_run(Some(7), &run(2, 1, 8)).is_err());
        assert!(check_run(None, &run(2, 1, 7)).is_err());
    }
}
