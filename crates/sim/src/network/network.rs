//! The network between all places: who listens, what is on its way, and what arrives.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use slimcluster_core::node::io::LinkId;
use slimcluster_core::random::Random;

use super::connections::{Connection, links_of};
use super::faults::{MILLION, NetworkFaults};
use super::packet::{Arrival, ConnectionId, Endpoint, Packet};
use super::paths::{Paths, SlowReader};
use crate::report::Bursts;

/// The network between all places.
#[derive(Debug)]
pub struct Network {
    pub(super) rng: Random,
    /// What it does wrong by itself, now.
    pub faults: NetworkFaults,
    /// What is wrong between two places.
    pub(super) paths: Paths,
    /// Who listens where.
    pub(super) listeners: BTreeMap<SocketAddr, Endpoint>,
    /// Machines without power answer nothing, not even "refused".
    pub(super) powered: Vec<bool>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) links: BTreeMap<(Endpoint, LinkId), (ConnectionId, usize)>,
    pub(super) next_connection: u64,
    pub(super) next_accepted: u64,
    /// Packets sent since the last [`Network::take_sent`], with their times of arrival.
    pub(super) sent: Vec<(u64, Packet)>,
    /// The next connection that has carried so many more frames of a message that goes on ends, as this generator says.
    pub(super) cut_after: Option<(u64, Random)>,
    /// The time; the world sets it.
    pub now: u64,
    /// Packets lost, doubled, delayed or corrupted so far.
    pub injected: Bursts,
}

impl Network {
    /// A network between `places` places.
    pub fn new(places: usize, mut rng: Random, faults: NetworkFaults) -> Self {
        let paths = Paths::new(places, &mut rng, &faults);
        Network {
            rng,
            faults,
            paths,
            listeners: BTreeMap::new(),
            powered: vec![true; places],
            connections: BTreeMap::new(),
            links: BTreeMap::new(),
            next_connection: 1,
            next_accepted: 1,
            sent: Vec::new(),
            cut_after: None,
            now: 0,
            injected: Bursts::default(),
        }
    }

    /// Takes what was sent, each with its time of arrival, in the order of sending.
    pub fn take_sent(&mut self) -> Vec<(u64, Packet)> {
        std::mem::take(&mut self.sent)
    }

    /// A process starts to listen.
    pub fn listen(&mut self, address: SocketAddr, endpoint: Endpoint) {
        self.powered[endpoint.place] = true;
        self.listeners.retain(|_, listener| listener.place != endpoint.place);
        self.listeners.insert(address, endpoint);
    }

    /// A process has ended. The kernel says good-bye on its connections, unless the power went with it.
    pub fn process_ended(&mut self, now: u64, endpoint: Endpoint, power_lost: bool) {
        self.listeners.retain(|_, listener| *listener != endpoint);
        self.powered[endpoint.place] = !power_lost;
        let open: Vec<_> = self.links.range(links_of(endpoint)).map(|(_, at)| *at).collect();
        for (id, end) in open {
            self.drop_end(id, end);
            if power_lost {
                self.time_out(now, id, 1 - end);
            } else {
                self.tell(now, id, 1 - end, "reset by peer");
            }
        }
    }

    /// Cuts, or heals one cut of, one direction.
    pub fn cut(&mut self, from: usize, to: usize, cut: bool) {
        self.paths.cut(from, to, cut);
    }

    /// Makes a hole in one direction, which loses every packet of more than `bytes_max`, or fills it.
    pub fn hole(&mut self, from: usize, to: usize, bytes_max: usize, is_open: bool) {
        self.paths.hole(from, to, bytes_max, is_open);
    }

    /// Sets how a place reads; none: as fast as it gets.
    pub fn set_reader(&mut self, now: u64, place: usize, reader: Option<SlowReader>) {
        self.paths.set_reader(place, reader);
        if reader.is_none() {
            self.hurry(now, place);
        }
    }

    /// Heals every cut and every hole, and all read quickly.
    pub fn heal(&mut self, now: u64) {
        let slow = |place: &usize| self.paths.slow_reader(*place).is_some();
        let slow: Vec<usize> = (0..self.powered.len()).filter(slow).collect();
        self.paths.heal();
        slow.into_iter().for_each(|place| self.hurry(now, place));
        self.cut_after = None;
    }

    /// Whether a cut is in force between two places, in one direction or both.
    pub fn is_cut_between(&self, a: usize, b: usize) -> bool {
        self.paths.is_cut(a, b) || self.paths.is_cut(b, a)
    }

    pub(super) fn latency(&mut self) -> u64 {
        let faults = self.faults;
        let mut latency = faults.latency + self.rng.below(faults.jitter + 1);
        if faults.tail > 0 && self.rng.chance(faults.tail, MILLION) {
            self.injected.count(self.now, "slow-packet");
            latency += self.rng.below(faults.tail_latency + 1);
        }
        latency
    }

    pub(super) fn happens(&mut self, kind: &'static str, rate: u64) -> bool {
        let happens = rate > 0 && self.rng.chance(rate, MILLION);
        if happens {
            self.injected.count(self.now, kind);
        }
        happens
    }

    pub(super) fn maybe_corrupt(&mut self, bytes: Bytes) -> Bytes {
        let rate = self.faults.corrupt;
        if bytes.is_empty() || !self.happens("corrupt-packet", rate) {
            return bytes;
        }
        let mut changed = bytes.to_vec();
        let at = self.rng.below(changed.len() as u64) as usize;
        changed[at] ^= 1 << self.rng.below(8);
        changed.into()
    }

    /// A packet arrives: what some process gets to know of it.
    pub fn arrive(&mut self, now: u64, packet: Packet) -> Option<(Endpoint, Arrival)> {
        match packet {
            Packet::Datagram { from, from_place, to, bytes } => self.on_datagram(from, from_place, to, bytes),
            Packet::Dial(id) => self.on_dial(now, id),
            Packet::DialAnswered(id) => self.on_dial_answered(now, id),
            Packet::DialTimeout(id) => {
                let pending = self.connections.get(&id).is_some_and(|c| !c.established);
                if pending { self.end_told(id, 0, "timed out") } else { None }
            }
            Packet::Stream(id, end) => self.on_stream(now, id, end),
            Packet::Loose(id, end, bytes) => {
                if self.may_pass(id, end) && !self.is_too_large(id, end, bytes.len()) {
                    return self.deliver(now, id, end, bytes);
                }
                None
            }
            Packet::Broken(id, end, reason) => {
                let passes = reason != "reset by peer" && reason != "closed by peer" || self.may_pass(id, end);
                if !passes {
                    self.time_out(now, id, end);
                    return None;
                }
                self.end_told(id, end, reason)
            }
        }
    }
}
