//! What a node does that gives up the id under which it had formed a cluster (rule 24), while its disk has not confirmed the new one.

mod node_support;

use node_support::{address, formed_by_two, start};
use slimcluster_core::node::Node;
use slimcluster_core::node::bootstrap::{Claim, Hello as BootstrapHello, Message as BootstrapMessage};
use slimcluster_core::node::io::{Input, LinkId, Output};
use slimcluster_core::node::message::{Hello, PeerMessage};
use slimcluster_core::storage::Abandoned;
use slimcluster_core::wire::{Assembler, Codec, decode_peer_message, encode_peer_message};
use slimcluster_core::{ClusterUuid, Durability, Instant, NodeId};

const CLUSTER: &str = "given-up";
const UUID: ClusterUuid = ClusterUuid(0xc1);
const SET: [NodeId; 2] = [NodeId(1), NodeId(2)];
/// On which the node hears its peer.
const INBOUND: LinkId = LinkId(2);

/// Node 1 of a formed cluster of two, and node 2 as the test plays it: it proves who it is and hears what it is told about Raft.
struct Peer {
    node: Node,
    now: Instant,
    assembler: Assembler,
    heard: usize,
    identities_written: usize,
    written: usize,
}

impl Peer {
    fn of_a_formed_node() -> Peer {
        let node = start(CLUSTER, 2, formed_by_two(UUID));
        let assembler = Assembler::default();
        let mut peer = Peer { node, now: Instant::ZERO, assembler, heard: 0, identities_written: 0, written: 0 };
        peer.node.handle(peer.now, Input::Accepted { link: INBOUND, from: address(2) });
        peer.say(INBOUND, &PeerMessage::Hello(hello()));
        peer
    }

    fn say(&mut self, link: LinkId, message: &PeerMessage) {
        for bytes in encode_peer_message(Codec::Protobuf, message) {
            self.node.handle(self.now, Input::Frame { link, bytes });
        }
        self.settle();
    }

    /// Ten seconds in which the disk confirms nothing.
    fn wait(&mut self) {
        let end = self.now + std::time::Duration::from_secs(10);
        while let Some(due) = self.node.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.node.handle(self.now, Input::Timeout);
            self.settle();
        }
    }

    fn settle(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Connect { link, .. } => self.node.handle(self.now, Input::Connected(link)),
                Output::Write(write) => {
                    self.written += 1;
                    self.identities_written += usize::from(write.identity.is_some());
                }
                Output::Frame { link, bytes, .. } => {
                    let Some(message) = self.assembler.push(&bytes).unwrap() else { continue };
                    match decode_peer_message(message).unwrap() {
                        PeerMessage::Hello(_) => self.say(link, &PeerMessage::Welcome(hello())),
                        PeerMessage::Raft { .. } => self.heard += 1,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}

/// What node 2 says of itself.
fn hello() -> Box<Hello> {
    let bootstrap = BootstrapHello {
        name: "n2".to_owned(),
        node_count: 2,
        durability: Durability::Fsync,
        revision: 1,
        claim: Claim::Formed { uuid: UUID, members: SET.to_vec() },
    };
    Box::new(Hello { bootstrap: Some(bootstrap), ..node_support::hello(CLUSTER, Some(UUID)) })
}

#[test]
fn a_node_that_gives_up_its_id_is_silent_until_the_new_one_is_written() {
    let mut peer = Peer::of_a_formed_node();
    peer.wait();
    assert!(peer.heard > 0, "it asks for votes as long as it is a voter");
    let (heard, written) = (peer.heard, peer.written);
    let abandoned = Abandoned { node: NodeId(2), set: SET.to_vec() };
    peer.say(INBOUND, &PeerMessage::Bootstrap(BootstrapMessage::Abandoned(vec![abandoned])));
    peer.wait();
    assert_eq!(peer.identities_written, 1, "half of the set is enough for its end");
    // It neither asks for votes nor writes anything that would be the state of the new id.
    assert_eq!((peer.heard, peer.written), (heard, written + 1));
}
