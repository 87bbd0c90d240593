//! When a node wants to be woken. Hosts measure their own lateness by it, so it must not lie in the past.

mod node_support;

use std::time::Duration;

use bytes::Bytes;
use node_support::{address, start};
use slimcluster_core::node::Node;
use slimcluster_core::node::io::{Input, Meta};
use slimcluster_core::storage::Phase;
use slimcluster_core::wire::{Codec, Envelope, cluster_tag, encode_datagram};
use slimcluster_core::{Generation, Instant, NodeId, swim};

fn node() -> Node {
    start("deadlines", 3, Phase::Fresh)
}

/// The greeting of another node of the cluster.
fn greeting() -> Bytes {
    let (id, generation) = (NodeId(2), Generation(1));
    let record = swim::Record {
        generation,
        version: 0,
        name: "n2".to_owned(),
        address: address(2),
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
    node.handle(now, Input::Datagram { from: address(2), bytes: greeting() });
    while node.poll_output().is_some() {}
    assert_eq!(node.members().len(), 2, "the greeting was taken");
    // A host that handled this without delay has not overslept by the minute that the node was alone.
    let due = node.poll_timeout().unwrap();
    assert!(due >= now, "due at {due:?}, the last input came at {now:?}");
}
