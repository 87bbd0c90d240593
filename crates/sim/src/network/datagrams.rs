//! Datagrams: lost, doubled, late, overtaken.

use std::net::SocketAddr;

use bytes::Bytes;
use slimcluster_core::situations::{Situation, sometimes};

use super::network::Network;
use super::packet::{Arrival, Endpoint, Packet};

/// A datagram above this size never fits the smallest path; sending one is a failure of the run.
pub const DATAGRAM_BYTES_MAX: usize = 1_232;

impl Network {
    /// Sends a datagram.
    pub fn send_datagram(&mut self, now: u64, from_place: usize, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let faults = self.faults;
        let copies = 1 + u64::from(self.happens("doubled-packet", faults.duplicate));
        for copy in 0..copies {
            if self.happens("lost-packet", faults.loss) {
                continue;
            }
            let bytes = self.maybe_corrupt(bytes.clone());
            let late = if copy == 0 { 0 } else { self.rng.below(faults.duplicate_latency + 1) };
            let at = now + self.latency() + late;
            self.sent.push((at, Packet::Datagram { from, from_place, to, bytes }));
        }
    }

    pub(super) fn on_datagram(
        &mut self,
        from: SocketAddr,
        from_place: usize,
        to: SocketAddr,
        bytes: Bytes,
    ) -> Option<(Endpoint, Arrival)> {
        let listener = *self.listeners.get(&to)?;
        if self.paths.is_cut(from_place, listener.place) {
            return None;
        }
        if self.paths.is_too_large(from_place, listener.place, bytes.len(), &self.faults) {
            sometimes(Situation::DatagramInHole);
            self.injected.count(self.now, "datagram-in-hole");
            return None;
        }
        Some((listener, Arrival::Datagram(from, bytes)))
    }
}
