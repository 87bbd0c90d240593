//! One live holder per node identity (C2): no two processes run under one id at the same time.

use std::collections::BTreeMap;

use slimcluster_core::NodeId;

use super::{Verdict, Violation};
use crate::network::Endpoint;

/// Which process runs under which id.
#[derive(Debug, Default)]
pub struct Identities {
    holders: BTreeMap<NodeId, Endpoint>,
}

impl Identities {
    /// The process runs as `node` from now on, whatever it was before.
    pub fn on_live(&mut self, endpoint: Endpoint, node: NodeId) -> Verdict {
        self.on_ended(endpoint);
        match self.holders.insert(node, endpoint) {
            None => Ok(()),
            Some(other) => {
                let detail = format!("n{} and n{} both run as {node:?}", other.place + 1, endpoint.place + 1);
                Err(Violation::of("one holder of an identity", detail))
            }
        }
    }

    /// The process has ended.
    pub fn on_ended(&mut self, endpoint: Endpoint) {
        self.holders.retain(|_, holder| *holder != endpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_found() {
        let [first, second] = [0, 1].map(|place| Endpoint { place, start: 1 });
        let mut identities = Identities::default();
        identities.on_live(first, NodeId(1)).unwrap();
        identities.on_live(second, NodeId(2)).unwrap();
        identities.on_live(first, NodeId(3)).unwrap();
        identities.on_ended(first);
        identities.on_live(Endpoint { start: 2, ..first }, NodeId(1)).unwrap();
        assert!(identities.on_live(second, NodeId(1)).is_err());
    }
}
