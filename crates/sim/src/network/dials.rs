//! Dials: from `Connect` to a connection that stands at both ends, or to the reason why there is none.

use std::net::SocketAddr;

use slimcluster_core::node::io::LinkId;

use super::connections::{Connection, End};
use super::network::Network;
use super::packet::{Arrival, ConnectionId, Endpoint, Packet};

impl Network {
    /// Dials; the dialler hears `Connected` or `Disconnected`.
    pub fn connect(&mut self, now: u64, endpoint: Endpoint, link: LinkId, to: SocketAddr) {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let end = End::new(endpoint, link);
        self.connections.insert(id, Connection { ends: vec![end], target: to, established: false, is_silent: false });
        self.links.insert((endpoint, link), (id, 0));
        let black_hole = self.faults.black_hole;
        if !self.happens("black-hole", black_hole) {
            let at = now + self.latency();
            self.sent.push((at, Packet::Dial(id)));
        }
        let patience = 1_000_000 + self.rng.below(2_000_000);
        self.sent.push((now + patience, Packet::DialTimeout(id)));
    }

    pub(super) fn on_dial(&mut self, now: u64, id: ConnectionId) -> Option<(Endpoint, Arrival)> {
        let connection = self.connections.get(&id)?;
        let dialler = connection.ends[0].clone();
        let target = connection.target;
        let Some(listener) = self.listeners.get(&target).copied() else {
            // A machine with power refuses; where none is known at the address, one in two networks says so.
            if self.rng.chance(1, 2) {
                let at = now + self.latency();
                self.sent.push((at, Packet::Broken(id, 0, "refused")));
            }
            return None;
        };
        if self.paths.is_cut(dialler.endpoint.place, listener.place) || !self.powered[listener.place] {
            return None;
        }
        let silent_accept = self.faults.silent_accept;
        if self.happens("silent-accept", silent_accept) {
            let at = now + self.latency();
            self.connections.get_mut(&id)?.is_silent = true;
            self.sent.push((at, Packet::DialAnswered(id)));
            return None;
        }
        let link = LinkId(2 * self.next_accepted);
        self.next_accepted += 1;
        let at = now + self.latency();
        let end = End::new(listener, link);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.ends[0].last_arrival = at;
            connection.ends.push(end);
        }
        self.links.insert((listener, link), (id, 1));
        self.sent.push((at, Packet::DialAnswered(id)));
        // The source port of a dialled connection is no listener's.
        let from = SocketAddr::new(target.ip(), 40_000);
        Some((listener, Arrival::Accepted(link, from)))
    }

    pub(super) fn on_dial_answered(&mut self, now: u64, id: ConnectionId) -> Option<(Endpoint, Arrival)> {
        let (from, to) = {
            let connection = self.connections.get_mut(&id)?;
            let to = connection.ends[0].clone();
            if connection.is_silent {
                // The machine answers, whoever listens there. What is sent on the connection it keeps for a process that never asks.
                connection.established = true;
                return Some((to.endpoint, Arrival::Connected(to.link)));
            }
            (connection.ends.get(1)?.endpoint.place, to)
        };
        if self.paths.is_cut(from, to.endpoint.place) {
            return None;
        }
        if !to.open {
            self.tell(now, id, 1, "reset by peer");
            return None;
        }
        self.connections.get_mut(&id)?.established = true;
        Some((to.endpoint, Arrival::Connected(to.link)))
    }
}
