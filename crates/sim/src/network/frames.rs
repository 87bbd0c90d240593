//! Frames on a connection: in order and reliable while it lasts, unless streams are unreliable in this world.

use bytes::Bytes;
use slimcluster_core::node::io::LinkId;

use super::network::Network;
use super::packet::{Arrival, ConnectionId, Endpoint, Packet};

/// How long a stalled segment waits before it is sent again, in microseconds.
const RETRANSMIT: u64 = 200_000;

impl Network {
    /// Queues a frame.
    pub fn send_frame(&mut self, now: u64, endpoint: Endpoint, link: LinkId, bytes: Bytes) {
        let Some(&(id, end)) = self.links.get(&(endpoint, link)) else { return };
        let faults = self.faults;
        let bytes = self.maybe_corrupt(bytes);
        let other = 1 - end;
        if faults.unreliable_streams {
            let copies = 1 + u64::from(self.happens("doubled-packet", faults.duplicate));
            for copy in 0..copies {
                if !self.happens("lost-packet", faults.loss) {
                    let late = if copy == 0 { 0 } else { self.rng.below(faults.duplicate_latency + 1) };
                    let at = now + self.latency() + late;
                    self.sent.push((at, Packet::Loose(id, other, bytes.clone())));
                }
            }
            return;
        }
        let mut at = now + self.latency();
        let mut wait = RETRANSMIT;
        while wait < 4 * RETRANSMIT && self.happens("lost-packet", faults.loss) {
            at += wait;
            wait *= 2;
        }
        let Some(end) = self.connections.get_mut(&id).and_then(|c| c.ends.get_mut(other)) else { return };
        at = at.max(end.last_arrival);
        end.last_arrival = at;
        end.queue.push_back(bytes);
        self.sent.push((at, Packet::Stream(id, other)));
    }

    pub(super) fn on_stream(&mut self, now: u64, id: ConnectionId, end: usize) -> Option<(Endpoint, Arrival)> {
        if self.connections.get(&id)?.ends.get(end)?.queue.is_empty() {
            return None;
        }
        let connection_ready = end == 1 || self.connections.get(&id)?.established;
        if !connection_ready || !self.may_pass(id, end) {
            let stall_max = self.faults.stall_max;
            let receiver = self.connections.get_mut(&id)?.ends.get_mut(end)?;
            let since = *receiver.stalled.get_or_insert(now);
            let at = now + RETRANSMIT;
            receiver.last_arrival = receiver.last_arrival.max(at);
            if now - since > stall_max {
                receiver.queue.clear();
                return self.end_told(id, 1 - end, "timed out");
            }
            // Every frame has its own packet and takes the head of the queue: order is kept while packets wait.
            self.sent.push((at, Packet::Stream(id, end)));
            return None;
        }
        let receiver = self.connections.get_mut(&id)?.ends.get_mut(end)?;
        receiver.stalled = None;
        let bytes = receiver.queue.pop_front()?;
        self.deliver(now, id, end, bytes)
    }

    pub(super) fn deliver(
        &mut self,
        now: u64,
        id: ConnectionId,
        end: usize,
        bytes: Bytes,
    ) -> Option<(Endpoint, Arrival)> {
        let connection = self.connections.get(&id)?;
        let receiver = connection.ends.get(end)?;
        if end == 0 && !connection.established {
            return None;
        }
        if !receiver.open {
            // Nobody holds this end any more: the sender is told when its packet is answered by a reset.
            self.tell(now, id, 1 - end, "reset by peer");
            return None;
        }
        Some((receiver.endpoint, Arrival::Frame(receiver.link, bytes)))
    }

    /// Whether a packet towards `end` gets through now.
    pub(super) fn may_pass(&self, id: ConnectionId, end: usize) -> bool {
        let Some(connection) = self.connections.get(&id) else { return false };
        let (Some(to), Some(from)) = (connection.ends.get(end), connection.ends.get(1 - end)) else { return false };
        !self.paths.is_cut(from.endpoint.place, to.endpoint.place) && self.powered[to.endpoint.place]
    }
}
