//! What a node believes of the claims of others while and after a cluster forms (rule 24).

use slimcluster_core::node::bootstrap::{Bootstrap, BootstrapOptions, Claim, Hello, Input, Message, Output};
use slimcluster_core::raft::{Configuration, ConfiguredNode, Standing};
use slimcluster_core::storage::{Abandoned, Identity, Phase};
use slimcluster_core::types::StoreId;
use slimcluster_core::{ClusterUuid, Durability, Generation, Instant, NodeId};

const OWN: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);

/// A node of a formed cluster of two, in touch with the other one.
fn formed() -> Bootstrap {
    let nodes = [(OWN, "n1"), (PEER, "n2")].map(|(id, name)| ConfiguredNode {
        id,
        name: name.to_owned(),
        durability: Durability::Fsync,
        standing: Standing::Voter,
    });
    let baseline = Configuration::new(nodes.to_vec()).unwrap();
    let uuid = ClusterUuid(0xc1);
    let identity = Identity {
        node: OWN,
        store: StoreId(5),
        cluster_id: "sample".to_owned(),
        generation: Generation(1),
        phase: Phase::Formed { uuid, baseline },
        abandoned: Vec::new(),
    };
    let mut node = Bootstrap::new(BootstrapOptions::new("n1", 2, Durability::Fsync), identity, 7, Instant::ZERO);
    let hello = Hello {
        name: "n2".to_owned(),
        node_count: 2,
        durability: Durability::Fsync,
        revision: 1,
        claim: Claim::Formed { uuid, members: vec![OWN, PEER] },
    };
    node.handle(Instant::ZERO, Input::PeerHello { id: PEER, hello });
    node
}

/// Whether the node gives up what it is once it has heard that `gone` gave up its id.
fn gives_up(gone: NodeId) -> bool {
    let mut node = formed();
    let claim = Message::Abandoned(vec![Abandoned { node: gone, set: vec![OWN, PEER] }]);
    node.handle(Instant::ZERO, Input::Message { from: PEER, message: claim });
    std::iter::from_fn(|| node.poll_output()).any(|output| matches!(output, Output::WriteIdentity(_)))
}

#[test]
fn nobody_else_can_say_that_this_node_gave_up_its_id() {
    assert!(gives_up(PEER), "half of the set is enough for its end");
    assert!(!gives_up(OWN), "of itself a node knows better: a copy of its directory may have said so");
    assert!(!gives_up(NodeId(9)));
}
