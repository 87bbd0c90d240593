//! What nodes say to each other, decoded a second time for the checkers: a checker hears each answer when it is given.

use bytes::Bytes;
use slimcluster_core::node::io::LinkId;
use slimcluster_core::wire::{Assembler, decode_peer_message};

use crate::checkers::{Verdict, Violation};
use crate::network::Endpoint;
use crate::world::World;

/// Commands and runs make a message longer than this; those are not decoded a second time. Whatever has no body is.
const BODY_BYTES_MAX: usize = 512;

impl World {
    /// A process sends a frame.
    pub(crate) fn check_frame(&mut self, endpoint: Endpoint, link: LinkId, frame: &Bytes) -> Verdict {
        let assembled = Assembler::default().push(frame).ok().flatten();
        let Some(assembled) = assembled.filter(|assembled| assembled.body.len() <= BODY_BYTES_MAX) else {
            // Part of a long message, or a message of much.
            self.overhear_frame(frame, None);
            return Ok(());
        };
        let Ok(message) = decode_peer_message(assembled) else {
            let detail = format!("n{} sends {} bytes that nobody can read", endpoint.place + 1, frame.len());
            return Err(Violation::of("messages", detail));
        };
        self.overhear_frame(frame, Some(&message));
        let receiver = self.network.other_end(endpoint, link);
        self.check_said_to_stranger(receiver, &message)?;
        let peer = receiver.and_then(|receiver| Some((receiver.place, self.process(receiver)?.node.id())));
        let Some(node) = self.process(endpoint).map(|process| process.node.id()) else { return Ok(()) };
        self.checkers.on_message((endpoint.place, node), link, peer, &message)
    }
}
