//! What a node does for somebody who greets it and goes again.

use std::net::SocketAddr;
use std::time::Duration;

use slimcluster_core::node::bootstrap::BootstrapOptions;
use slimcluster_core::node::io::{Input, LinkId, Meta, Output};
use slimcluster_core::node::message::{Hello, PeerMessage};
use slimcluster_core::node::{ConsensusOptions, Membership, Node, NodeOptions, ProposalOptions};
use slimcluster_core::storage::{Identity, LogSummary, Phase, Recovered};
use slimcluster_core::types::StoreId;
use slimcluster_core::wire::{Codec, encode_peer_message};
use slimcluster_core::{Durability, Generation, HardState, Instant, LogId, NodeId, Nonce, raft, swim};

const CLUSTER: &str = "guests";

fn node() -> Node {
    let identity = Identity {
        node: NodeId(1),
        store: StoreId(1),
        cluster_id: CLUSTER.to_owned(),
        generation: Generation(1),
        phase: Phase::Fresh,
        abandoned: Vec::new(),
    };
    let (hard_state, log) = (HardState::default(), LogSummary::default());
    let recovered = Recovered { identity, hard_state, log, tail: Vec::new(), peers: Vec::new() };
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

fn greet(node: &mut Node, now: Instant, link: LinkId, address: SocketAddr) {
    let hello = Hello {
        cluster_id: CLUSTER.to_owned(),
        uuid: None,
        from: NodeId(2),
        to: None,
        name: "guest".to_owned(),
        address,
        generation: Generation(1),
        nonce: Nonce(2),
        last: LogId::default(),
        meta: Meta::default(),
        bootstrap: None,
    };
    node.handle(now, Input::Accepted { link, from: address });
    for bytes in encode_peer_message(Codec::Protobuf, &PeerMessage::Hello(Box::new(hello))) {
        node.handle(now, Input::Frame { link, bytes });
    }
}

/// How often the node dials `address` in this time; nobody is there.
fn dials(node: &mut Node, from: Instant, time: Duration, address: SocketAddr) -> usize {
    let (mut now, mut dials) = (from, 0);
    while now < from + time {
        node.handle(now, Input::Timeout);
        while let Some(output) = node.poll_output() {
            if let Output::Connect { link, to } = output {
                dials += usize::from(to == address);
                node.handle(now, Input::Disconnected { link, reason: "refused".to_owned() });
            }
        }
        now += Duration::from_millis(50);
    }
    dials
}

#[test]
fn who_has_greeted_is_dialled_while_its_link_stands_and_no_longer() {
    let (mut node, address, minute) = (node(), ([10, 66, 0, 1], 7_000).into(), Duration::from_secs(60));
    let link = LinkId(2);
    greet(&mut node, Instant::ZERO, link, address);
    assert!(dials(&mut node, Instant::ZERO, minute, address) > 10, "it waits for its answers");
    let gone = Instant::ZERO + minute;
    node.handle(gone, Input::Disconnected { link, reason: "closed by peer".to_owned() });
    assert_eq!(dials(&mut node, gone, minute, address), 0);
}
