//! What a node says is judged by what its disk holds at that moment (R10): no effect before its cause.

use bytes::Bytes;
use slimcluster_core::HardState;
use slimcluster_core::node::message::PeerMessage;
use slimcluster_core::raft::Message;
use slimcluster_core::wire::{Assembler, decode_peer_message};

use crate::checkers::{Verdict, Violation};
use crate::network::Endpoint;
use crate::world::World;

/// Votes and acknowledgements are far below this; longer frames carry runs and are not decoded a second time.
const ANSWER_BYTES_MAX: usize = 512;

impl World {
    /// A process sends a frame to `receiver`.
    pub(crate) fn check_frame(&mut self, endpoint: Endpoint, receiver: Option<Endpoint>, frame: &Bytes) -> Verdict {
        if frame.len() > ANSWER_BYTES_MAX {
            return Ok(());
        }
        let Ok(Some(assembled)) = Assembler::default().push(frame) else { return Ok(()) };
        let Ok(PeerMessage::Raft { message, .. }) = decode_peer_message(assembled) else { return Ok(()) };
        let store = &self.stores[endpoint.place];
        let held = store.durable_hard_state();
        let early = |what: &str| {
            let detail = format!("n{} says {what} while its disk holds {held:?}", endpoint.place + 1);
            Err(Violation::of("answers after the disk", detail))
        };
        let (term, what) = match &message {
            Message::RequestVoteResponse(response) => {
                let candidate = receiver.and_then(|receiver| self.stores[receiver.place].node());
                if let (true, Some(candidate), Some(node)) = (response.granted, candidate, store.node()) {
                    if held != (HardState { term: response.term, vote: Some(candidate) }) {
                        return early(&format!("{response:?} to {candidate:?}"));
                    }
                    self.elections.on_vote(node, response.term, candidate)?;
                }
                (response.term, "a vote")
            }
            Message::RequestVote(request) => (request.term, "a request for votes"),
            Message::AppendEntriesResponse(response) => {
                if response.match_index > store.durable_log().last().0.index {
                    return early(&format!("{response:?} with a log to {}", store.durable_log().last().0));
                }
                (response.term, "an acknowledgement")
            }
            _ => return Ok(()),
        };
        if term > held.term {
            return early(&format!("{what} of term {term}"));
        }
        Ok(())
    }
}
