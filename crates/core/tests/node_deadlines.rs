//! When a node wants to be woken. Hosts measure their own lateness by it, so it must not lie in the past.

use std::time::Duration;

use bytes::Bytes;
use slimcluster_core::node::bootstrap::BootstrapOptions;
use slimcluster_core::node::io::{Input, Meta};
use slimcluster_core::node::{ConsensusOptions, Membership, Node, NodeOptions, ProposalOptions};
use slimcluster_core::storage::{Identity, LogSummary, Phase, Recovered};
use slimcluster_core::types::StoreId;
use slimcluster_core::wire::{Codec, Envelope, cluster_tag, encode_datagram};
use slimcluster_core::{Durability, Generation, HardState, Instant, NodeId, Nonce, raft, swim};

fn node() -> Node {
    let identity = Identity {
        node: NodeId(1),
        store: StoreId(1),
        cluster_id: "deadlines".to_owned(),
        generation: Generation(1),
        phase: Phase::Fresh,
        abandoned: Vec::new(),
    };
    let recovered = Recovered {
        identity,
        hard_state: HardState::default(),
        log: LogSummary::default(),
        tail: Vec::new(),
        peers: Vec::new(),
    };
    let options = NodeOptions {
        name: "n1".to_owned(),
        address: ([10, 0, 0, 1], 7_000).into(),
        meta: Meta::default(),
        codec: Codec::Protobuf,
        nonce: Nonce(1),
        membership: Membership::Swim(swim::Options::lan()),
        announce: false,
        consensus: Some(ConsensusOptions {
            raft: raft::Options::lan(),
            bootstrap: BootstrapOptions::new("n1".to_owned(), 3, Durability::Fsync),
            proposals: ProposalOptions::default(),
        }),
        restart_within: Duration::from_secs(10),
    };
    Node::new(options, recovered, 7, Instant::ZERO).unwrap()
}

/// The greeting of another node of the cluster.
fn greeting() -> Bytes {
    let (id, generation) = (NodeId(2), Generation(1));
    let record = swim::Record {
        generation,
        version: 0,
        name: "n2".to_owned(),
        address: ([10, 0, 0, 2], 7_000).into(),
        meta: Meta { consensus: true, ..Meta::default() },
        restarting: None,
    };
    let key = swim::Key::alive(generation, swim::Incarnation(0));
    let update = swim::Update { id, key, record: Some(record), age: Duration::ZERO };
    let body = swim::Body::Ping { seq: swim::Seq(1), target: None };
    let envelope = Envelope { cluster_tag: cluster_tag("deadlines"), sender: id, generation };
    encode_datagram(Codec::Protobuf, &envelope, &swim::Message { body, updates: vec![update] })
}

#[test]
fn a_link_that_is_wanted_at_once_was_not_wanted_before() {
    let mut node = node();
    let now = Instant::from_micros(60_000_000);
    node.handle(now, Input::Timeout);
    while node.poll_output().is_some() {}
    node.handle(now, Input::Datagram { from: ([10, 0, 0, 2], 7_000).into(), bytes: greeting() });
    while node.poll_output().is_some() {}
    assert_eq!(node.members().len(), 2, "the greeting was taken");
    // A host that handled this without delay has not overslept by the minute that the node was alone.
    let due = node.poll_timeout().unwrap();
    assert!(due >= now, "due at {due:?}, the last input came at {now:?}");
}
