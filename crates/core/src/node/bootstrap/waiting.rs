//! What a bootstrap waits for, in plain words.

use super::bootstrap::Bootstrap;
use super::message::Claim;
use crate::NodeId;
use crate::raft::Configuration;
use crate::storage::Phase;

impl Bootstrap {
    /// What this node waits for, in one line; empty once it is part of a cluster.
    pub fn waiting(&self) -> String {
        if let Some(refused) = self.refused() {
            return refused.to_owned();
        }
        if self.gives_up_its_id() {
            return "an earlier attempt was given up; writing down a new id".to_owned();
        }
        match &self.identity.phase {
            Phase::Fresh => self.waiting_fresh(),
            Phase::Promised(set) => self.waiting_promised(set),
            Phase::Formed { .. } => String::new(),
            Phase::JoinOnly { uuid } => {
                let text = format!("cluster {uuid} was formed without this node: waiting to be taken in");
                if self.options.is_ephemeral() {
                    return text;
                }
                text + ". To use this node for another cluster, delete its data directory"
            }
        }
    }

    fn waiting_fresh(&self) -> String {
        if let Some(uuid) = self.formed_peers().into_keys().next() {
            return format!("cluster {uuid} was formed without this node: waiting to be taken in");
        }
        let node_count = self.options.node_count;
        let mut here: Vec<&str> = vec![&self.options.name];
        here.extend(
            self.peers
                .values()
                .filter(|peer| {
                    matches!(peer.claim, Claim::Fresh { .. } | Claim::Promised { .. })
                        && self.options.admits(&peer.name)
                })
                .map(|peer| peer.name.as_str()),
        );
        here.sort_unstable();
        if here.len() < node_count {
            let missing = node_count - here.len();
            let text = match &self.options.initial_names {
                Some(names) => {
                    let names = names.iter().map(String::as_str).filter(|name| !here.contains(name));
                    format!("waiting for {missing} of {node_count}: {}", names.collect::<Vec<_>>().join(", "))
                }
                None => format!("waiting for {missing} of {node_count}; here: {}", here.join(", ")),
            };
            let bound = self.peers.values().filter(|peer| matches!(peer.claim, Claim::JoinOnly { .. }));
            let bound: Vec<&str> = bound.map(|peer| peer.name.as_str()).collect();
            return if bound.is_empty() {
                text
            } else {
                format!("{text}; {} may only join a cluster met earlier", bound.join(", "))
            };
        }
        if let Some(promise) = self.undead_promise() {
            let more = promise.set.len().div_ceil(2) - self.given_up(&promise.set);
            return format!(
                "an earlier attempt was given up; waiting for {more} more of its {} nodes to give it up too. \
                 If their data is lost, delete this node's data directory",
                promise.set.len()
            );
        }
        format!("all {node_count} are here: {}; forming", here.join(", "))
    }

    fn waiting_promised(&self, set: &Configuration) -> String {
        let names = |keep: &dyn Fn(NodeId) -> bool| {
            let names: Vec<&str> =
                set.nodes().iter().filter(|node| keep(node.id)).map(|node| node.name.as_str()).collect();
            (names.len(), names.join(", "))
        };
        let total = set.nodes().len();
        let (missing, missing_names) = names(&|id| self.missing.contains_key(&id));
        if missing > 0 {
            return format!("waiting for {missing} of {total} to come back: {missing_names}");
        }
        let (silent, silent_names) = names(&|id| !self.promised.contains(&id));
        if silent == 0 {
            return format!("all {total} have promised; writing it down");
        }
        format!("waiting for the promise of {silent} of {total}: {silent_names}")
    }
}
