//! What nodes say to each other, decoded a second time for the checkers: a checker hears each answer when it is given.

use bytes::Bytes;
use slimcluster_core::node::io::LinkId;
use slimcluster_core::wire::{Assembler, decode_peer_message};

use crate::checkers::Verdict;
use crate::network::Endpoint;
use crate::world::World;

/// Answers, votes, heartbeats and handshakes are below this; longer frames carry runs and are not decoded a second time.
const ANSWER_BYTES_MAX: usize = 512;

impl World {
    /// A process sends a frame.
    pub(crate) fn check_frame(&mut self, endpoint: Endpoint, link: LinkId, frame: &Bytes) -> Verdict {
        if frame.len() > ANSWER_BYTES_MAX {
            self.overhear_frame(frame, None);
            return Ok(());
        }
        let Ok(Some(assembled)) = Assembler::default().push(frame) else { return Ok(()) };
        let Ok(message) = decode_peer_message(assembled) else { return Ok(()) };
        self.overhear_frame(frame, Some(&message));
        let receiver = self.network.other_end(endpoint, link);
        let peer = receiver.and_then(|receiver| Some((receiver.place, self.process(receiver)?.node.id())));
        let Some(node) = self.process(endpoint).map(|process| process.node.id()) else { return Ok(()) };
        self.checkers.on_message((endpoint.place, node), link, peer, &message)
    }
}
