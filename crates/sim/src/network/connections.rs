//! Connections: which stand, how they end, and which of the two ends learns it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use slimcluster_core::node::io::{Lane, LinkId};
use slimcluster_core::random::Random;
use slimcluster_core::situations::{Situation, sometimes};

use super::network::Network;
use super::packet::{Arrival, ConnectionId, Endpoint, Packet};

/// A connection whose other side is gone ends after this time at the latest: the transport asks after five seconds of silence, and
/// gives up ten seconds later.
const KEEPALIVE: u64 = 15_000_000;

/// A frame on its way.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub(super) lane: Lane,
    pub(super) bytes: Bytes,
}

#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) endpoint: Endpoint,
    pub(super) link: LinkId,
    /// The process has the link and has not been told of its end.
    pub(super) open: bool,
    /// Frames on their way to this end.
    pub(super) queue: VecDeque<Queued>,
    /// Their bytes.
    pub(super) queue_bytes: usize,
    /// When the last of them arrives: order is kept.
    pub(super) last_arrival: u64,
    /// Since when the first of them cannot pass.
    pub(super) stalled: Option<u64>,
}

impl End {
    /// What is on its way to this end is lost.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.queue_bytes = 0;
    }

    pub(super) fn new(endpoint: Endpoint, link: LinkId) -> Self {
        End { endpoint, link, open: true, queue: VecDeque::new(), queue_bytes: 0, last_arrival: 0, stalled: None }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) ends: Vec<End>,
    pub(super) target: SocketAddr,
    pub(super) established: bool,
    /// Nothing passes any more, and nobody says so.
    pub(super) is_silent: bool,
}

impl Network {
    /// Ends a random connection; returns whether there was one. One side may never be told.
    pub fn break_one(&mut self, now: u64, rng: &mut Random) -> bool {
        let ids: Vec<_> = self.connections.iter().filter(|(_, c)| c.established).map(|(id, _)| *id).collect();
        let Some(id) = rng.pick(&ids).copied() else { return false };
        self.break_connection(now, id, rng);
        true
    }

    /// Ends a connection. One side may never be told.
    fn break_connection(&mut self, now: u64, id: ConnectionId, rng: &mut Random) {
        let told = rng.below(3);
        for end in 0..2 {
            if told == 2 || told == end as u64 {
                let at = now + rng.below(50_000);
                self.sent.push((at, Packet::Broken(id, end, "connection reset")));
            } else if told != 2 {
                // Half-open: what the told side closes, this side finds out when it sends.
                if let Some(end) = self.connections.get_mut(&id).and_then(|connection| connection.ends.get_mut(end)) {
                    end.clear();
                }
                self.time_out(now, id, end);
            }
        }
    }

    /// The next message of several frames is cut when up to `frames_max` of its first frames have arrived.
    pub fn cut_in_message(&mut self, frames_max: u64, mut rng: Random) {
        self.cut_after = Some((rng.below(frames_max), rng));
    }

    /// A frame of a message that goes on has arrived at `end`: perhaps it was the last one of its connection. What is on its way is
    /// lost; the ends are told of it, or one of them, or neither.
    pub(super) fn maybe_cut_in_message(&mut self, now: u64, id: ConnectionId, end: usize) {
        let Some((left, mut rng)) = self.cut_after.take() else { return };
        if left > 0 {
            self.cut_after = Some((left - 1, rng));
            return;
        }
        sometimes(Situation::MessageCutInTheMiddle);
        self.injected.count(self.now, "message-in-two");
        let is_silent = rng.chance(1, 2);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.ends[end].clear();
        connection.is_silent = is_silent;
        if is_silent {
            (0..2).for_each(|end| self.time_out(now, id, end));
        } else {
            self.break_connection(now, id, &mut rng);
        }
    }

    /// Whether a connection that `from` dialled to `to` stands at both ends.
    pub fn is_linked(&self, from: usize, to: usize) -> bool {
        let stands = |ends: &[End]| match ends {
            [a, b] => a.open && b.open && (a.endpoint.place, b.endpoint.place) == (from, to),
            _ => false,
        };
        self.connections
            .values()
            .any(|connection| connection.established && !connection.is_silent && stands(&connection.ends))
    }

    /// The process at the other end of a link, if it is connected.
    pub fn other_end(&self, endpoint: Endpoint, link: LinkId) -> Option<Endpoint> {
        let (id, end) = self.links.get(&(endpoint, link))?;
        self.connections.get(id)?.ends.get(1 - end).map(|end| end.endpoint)
    }

    /// Whether the process at the other end of a link holds it, whatever can pass.
    pub fn is_held_by_other(&self, endpoint: Endpoint, link: LinkId) -> bool {
        let Some((id, end)) = self.links.get(&(endpoint, link)) else { return false };
        self.connections.get(id).and_then(|connection| connection.ends.get(1 - end)).is_some_and(|end| end.open)
    }

    /// The process closes a link; the other side learns it after what is on its way.
    pub fn close(&mut self, now: u64, endpoint: Endpoint, link: LinkId) {
        if let Some(&(id, end)) = self.links.get(&(endpoint, link)) {
            let connection = self.connections.get(&id);
            if connection.is_some_and(|connection| connection.is_silent && connection.ends.len() == 1) {
                sometimes(Situation::SilentLinkClosed);
            }
            self.drop_end(id, end);
            self.tell(now, id, 1 - end, "closed by peer");
        }
    }

    /// Says to `end`, after a while and if it can be reached, that the connection is gone.
    pub(super) fn tell(&mut self, now: u64, id: ConnectionId, end: usize, reason: &'static str) {
        let mut at = now + self.latency();
        if let Some(told) = self.connections.get(&id).and_then(|c| c.ends.get(end)) {
            at = at.max(told.last_arrival);
            self.sent.push((at, Packet::Broken(id, end, reason)));
        }
    }

    /// The other side is gone and nobody says so: the kernel finds out by itself, as it asks for signs of life now and then.
    pub(super) fn time_out(&mut self, now: u64, id: ConnectionId, end: usize) {
        self.sent.push((now + KEEPALIVE, Packet::Broken(id, end, "keepalive timed out")));
    }

    pub(super) fn end_told(
        &mut self,
        id: ConnectionId,
        end: usize,
        reason: &'static str,
    ) -> Option<(Endpoint, Arrival)> {
        let told = self.connections.get(&id)?.ends.get(end)?.clone();
        self.drop_end(id, end);
        told.open.then_some((told.endpoint, Arrival::Disconnected(told.link, reason)))
    }

    /// The process at `end` no longer has the link. The connection is forgotten once neither side has it.
    pub(super) fn drop_end(&mut self, id: ConnectionId, end: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(end) = connection.ends.get_mut(end) {
            end.open = false;
            self.links.remove(&(end.endpoint, end.link));
        }
        if connection.ends.iter().all(|end| !end.open) {
            self.connections.remove(&id);
        }
    }
}

pub(super) fn links_of(endpoint: Endpoint) -> std::ops::RangeInclusive<(Endpoint, LinkId)> {
    (endpoint, LinkId(0))..=(endpoint, LinkId(u64::MAX))
}
