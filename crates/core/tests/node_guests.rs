//! What a node does for somebody who greets it and goes again.

mod node_support;

use std::net::SocketAddr;
use std::time::Duration;

use node_support::start;
use slimcluster_core::node::Node;
use slimcluster_core::node::io::{Input, LinkId, Output};
use slimcluster_core::node::message::{Hello, PeerMessage};
use slimcluster_core::storage::Phase;
use slimcluster_core::wire::{Codec, encode_peer_message};
use slimcluster_core::{Generation, Instant, Nonce};

const CLUSTER: &str = "guests";

fn node() -> Node {
    start(CLUSTER, 3, Phase::Fresh)
}

/// What the guest says of itself; each of its processes draws a nonce.
fn hello(address: SocketAddr, nonce: Nonce) -> Box<Hello> {
    let generation = Generation(nonce.0);
    Box::new(Hello { name: "guest".to_owned(), address, generation, nonce, ..node_support::hello(CLUSTER, None) })
}

fn greet(node: &mut Node, now: Instant, link: LinkId, address: SocketAddr, nonce: Nonce) {
    node.handle(now, Input::Accepted { link, from: address });
    say(node, now, link, &PeerMessage::Hello(hello(address, nonce)));
}

fn say(node: &mut Node, now: Instant, link: LinkId, message: &PeerMessage) {
    for bytes in encode_peer_message(Codec::Protobuf, message) {
        node.handle(now, Input::Frame { link, bytes });
    }
}

/// The links that the node closes now.
fn closed(node: &mut Node) -> Vec<LinkId> {
    let outputs = std::iter::from_fn(|| node.poll_output());
    outputs.filter_map(|output| if let Output::Close(link) = output { Some(link) } else { None }).collect()
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
    greet(&mut node, Instant::ZERO, link, address, Nonce(1));
    assert!(dials(&mut node, Instant::ZERO, minute, address) > 10, "it waits for its answers");
    let gone = Instant::ZERO + minute;
    node.handle(gone, Input::Disconnected { link, reason: "closed by peer".to_owned() });
    assert_eq!(dials(&mut node, gone, minute, address), 0);
}

#[test]
fn a_link_to_a_process_that_was_replaced_is_closed_and_made_anew() {
    let (mut node, address, now) = (node(), ([10, 66, 0, 1], 7_000).into(), Instant::ZERO);
    greet(&mut node, now, LinkId(2), address, Nonce(1));
    assert_eq!(closed(&mut node), []);
    node.handle(now, Input::Timeout);
    let dialled = std::iter::from_fn(|| node.poll_output()).find_map(|output| match output {
        Output::Connect { link, to } if to == address => Some(link),
        _ => None,
    });
    let outbound = dialled.unwrap();
    node.handle(now, Input::Connected(outbound));
    say(&mut node, now, outbound, &PeerMessage::Welcome(hello(address, Nonce(1))));
    assert_eq!(closed(&mut node), []);
    greet(&mut node, now, LinkId(4), address, Nonce(1));
    assert_eq!(closed(&mut node), [LinkId(2)], "the same process dialled again: what leads to it is as good as before");
    // Whatever is still sent on the old link reaches nobody, and no one says so.
    greet(&mut node, now, LinkId(6), address, Nonce(2));
    assert_eq!(closed(&mut node), [LinkId(4), outbound]);
    assert_eq!(dials(&mut node, now, Duration::from_millis(1), address), 1, "at once");
}
