//! Node 1 of a cluster, as the tests that play everybody else by hand start it, and what they say to it as node 2.
#![allow(dead_code, reason = "each test uses its part")]

use std::net::SocketAddr;
use std::time::Duration;

use slimcluster_core::node::bootstrap::BootstrapOptions;
use slimcluster_core::node::io::Meta;
use slimcluster_core::node::message::Hello;
use slimcluster_core::node::{ConsensusOptions, Membership, Node, NodeOptions, ProposalOptions};
use slimcluster_core::raft::{Configuration, ConfiguredNode, Standing};
use slimcluster_core::storage::{Identity, Phase, Recovered};
use slimcluster_core::types::StoreId;
use slimcluster_core::wire::Codec;
use slimcluster_core::{
    ClusterUuid, Durability, Generation, GroupId, HardState, Instant, LogId, NodeId, Nonce, raft, swim,
};

/// Where the node of this number listens.
pub fn address(node: u8) -> SocketAddr {
    ([10, 0, 0, node], 7_000).into()
}

/// Starts node 1 of a cluster that so many found, at time zero, on a store that knows of the cluster what `phase` says.
pub fn start(cluster_id: &str, founders: usize, phase: Phase) -> Node {
    let log = phase.founding_log(GroupId::DEFAULT);
    let identity = Identity {
        node: NodeId(1),
        store: StoreId(1),
        cluster_id: cluster_id.to_owned(),
        generation: Generation(1),
        phase,
        abandoned: Vec::new(),
    };
    let hard_state = HardState::default();
    let recovered = Recovered { identity, hard_state, log, tail: Vec::new(), peers: Vec::new() };
    let options = NodeOptions {
        name: "n1".to_owned(),
        address: address(1),
        meta: Meta::default(),
        codec: Codec::Protobuf,
        nonce: Nonce(1),
        membership: Membership::Swim(swim::Options::lan()),
        announce: false,
        consensus: Some(ConsensusOptions {
            raft: raft::Options::lan(),
            bootstrap: BootstrapOptions::new("n1".to_owned(), founders, Durability::Fsync),
            proposals: ProposalOptions::default(),
        }),
        restart_within: Duration::from_secs(10),
    };
    Node::new(options, recovered, 7, Instant::ZERO).unwrap()
}

/// The cluster `uuid` has been formed by nodes 1 and 2.
pub fn formed_by_two(uuid: ClusterUuid) -> Phase {
    let voter = |id| ConfiguredNode {
        id: NodeId(id),
        name: format!("n{id}"),
        durability: Durability::Fsync,
        standing: Standing::Voter,
    };
    Phase::Formed { uuid, baseline: Configuration::new(vec![voter(1), voter(2)]).unwrap() }
}

/// What node 2 says of itself.
pub fn hello(cluster_id: &str, uuid: Option<ClusterUuid>) -> Hello {
    Hello {
        cluster_id: cluster_id.to_owned(),
        uuid,
        from: NodeId(2),
        to: None,
        name: "n2".to_owned(),
        address: address(2),
        generation: Generation(1),
        nonce: Nonce(2),
        last: LogId::default(),
        meta: Meta::default(),
        bootstrap: None,
    }
}
