//! Frames on a connection: in order and reliable while it lasts, unless streams are unreliable in this world.

use bytes::Bytes;
use slimcluster_core::node::io::{Lane, LinkId};
use slimcluster_core::situations::{Situation, sometimes};
use slimcluster_core::wire::FRAME_BYTES_MAX;

use super::connections::{End, Queued};
use super::faults::MILLION;
use super::network::Network;
use super::packet::{Arrival, ConnectionId, Endpoint, Packet};

/// How long a stalled segment waits before it is sent again, in microseconds.
const RETRANSMIT: u64 = 200_000;
/// Who sends into silence knows after this time at the latest, in microseconds.
const SILENCE: u64 = 3_000_000;
/// What is in the buffers of the kernels beneath a link, in bytes: no later frame overtakes it.
const SOCKET_BYTES: usize = 64 * 1024;

impl End {
    /// Where in the queue a frame gets in: control frames overtake log frames that the sender still holds.
    fn overtakes(&self, lane: Lane) -> usize {
        if lane == Lane::Log {
            return self.queue.len();
        }
        let mut before = 0;
        let may_be_overtaken = |queued: &Queued| {
            before += queued.bytes.len();
            before > SOCKET_BYTES && queued.lane == Lane::Log
        };
        self.queue.iter().position(may_be_overtaken).unwrap_or(self.queue.len())
    }
}

impl Network {
    /// Queues a frame.
    pub fn send_frame(&mut self, now: u64, endpoint: Endpoint, link: LinkId, lane: Lane, bytes: Bytes) {
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
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let is_silent = connection.is_silent;
        let Some(receiver) = connection.ends.get_mut(other) else { return };
        if is_silent {
            if receiver.stalled.replace(now).is_none() {
                self.sent.push((now + faults.stall_max.min(SILENCE), Packet::Broken(id, end, "timed out")));
            }
            return;
        }
        at = at.max(receiver.last_arrival);
        let reader = self.paths.slow_reader(receiver.endpoint.place);
        if let Some(reader) = reader {
            at += bytes.len() as u64 * MILLION / reader.bytes_per_second;
        }
        receiver.last_arrival = at;
        let place = if reader.is_some() { receiver.overtakes(lane) } else { receiver.queue.len() };
        receiver.queue_bytes += bytes.len();
        receiver.queue.insert(place, Queued { lane, bytes });
        if reader.is_some_and(|reader| receiver.queue_bytes > reader.queue_bytes_max) {
            sometimes(Situation::QueueOfASlowReaderFull);
            self.injected.count(self.now, "full-queue");
            receiver.clear();
            self.sent.push((now, Packet::Broken(id, end, "the peer does not keep up: its queue is full")));
            self.sent.push((at.min(now + faults.latency), Packet::Broken(id, other, "reset by peer")));
            return;
        }
        self.sent.push((at, Packet::Stream(id, other)));
    }

    /// A reader that was slow takes at once what has waited for it. Each frame gets a packet that comes soon; the one that was to bring
    /// it late finds a later frame, or none.
    pub(super) fn hurry(&mut self, now: u64, place: usize) {
        let at = now + self.faults.latency;
        for (id, connection) in &mut self.connections {
            for (end, receiver) in connection.ends.iter_mut().enumerate() {
                if receiver.endpoint.place == place {
                    receiver.last_arrival = at;
                    self.sent.extend(receiver.queue.iter().map(|_| (at, Packet::Stream(*id, end))));
                }
            }
        }
    }

    pub(super) fn on_stream(&mut self, now: u64, id: ConnectionId, end: usize) -> Option<(Endpoint, Arrival)> {
        if self.connections.get(&id)?.ends.get(end)?.queue.is_empty() {
            return None;
        }
        let connection_ready = end == 1 || self.connections.get(&id)?.established;
        let may_pass = connection_ready && self.may_pass(id, end);
        if !may_pass || self.is_too_large(id, end, self.connections.get(&id)?.ends.get(end)?.queue.front()?.bytes.len())
        {
            let stall_max = self.faults.stall_max;
            let receiver = self.connections.get_mut(&id)?.ends.get_mut(end)?;
            if may_pass && receiver.stalled.is_none() {
                sometimes(Situation::FrameInHole);
                self.injected.count(self.now, "frame-in-hole");
            }
            let since = *receiver.stalled.get_or_insert(now);
            let at = now + RETRANSMIT;
            receiver.last_arrival = receiver.last_arrival.max(at);
            if now - since > stall_max {
                receiver.clear();
                // Nobody tells the reader: its kernel finds out, as for a peer that vanished.
                self.time_out(now, id, end);
                return self.end_told(id, 1 - end, "timed out");
            }
            // Every frame has its own packet and takes the head of the queue: order is kept while packets wait.
            self.sent.push((at, Packet::Stream(id, end)));
            return None;
        }
        let receiver = self.connections.get_mut(&id)?.ends.get_mut(end)?;
        receiver.stalled = None;
        let Queued { bytes, .. } = receiver.queue.pop_front()?;
        receiver.queue_bytes -= bytes.len();
        if self.cut_after.is_some() && bytes.len() == FRAME_BYTES_MAX {
            // Only frames that others follow are as long as can be.
            let arrival = self.deliver(now, id, end, bytes);
            self.maybe_cut_in_message(now, id, end);
            return arrival;
        }
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
        !connection.is_silent
            && !self.paths.is_cut(from.endpoint.place, to.endpoint.place)
            && self.powered[to.endpoint.place]
    }

    /// Whether a frame of so many bytes towards `end` falls into a hole that smaller ones pass.
    pub(super) fn is_too_large(&self, id: ConnectionId, end: usize, bytes: usize) -> bool {
        let Some(connection) = self.connections.get(&id) else { return false };
        let (Some(to), Some(from)) = (connection.ends.get(end), connection.ends.get(1 - end)) else { return false };
        self.paths.is_too_large(from.endpoint.place, to.endpoint.place, bytes, &self.faults)
    }
}
