//! The simulated network: datagrams and streams between addresses, with everything that may go wrong on the way (N1-N9).
//!
//! A datagram may be lost, doubled (also long after), overtaken and corrupted. A stream is ordered and reliable while it lasts; a
//! partition stalls it, and a stall ends it for the side that has something to send: the other side learns only when it sends
//! (half-open). Some seeds run streams that lose, double and reorder whole frames as well: Raft must survive that.
//!
//! The network decides what arrives when; [`crate::world`] keeps the clock and hands arrivals to the processes.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use slimcluster_core::node::io::LinkId;
use slimcluster_core::random::Random;

use crate::report::FaultCounts;

/// How long a stalled segment waits before it is sent again, in microseconds.
const RETRANSMIT: u64 = 200_000;
/// A connection whose other side is gone ends after this time at the latest: the transport asks after five seconds of silence, and
/// gives up ten seconds later.
const KEEPALIVE: u64 = 15_000_000;
/// A datagram above this size never fits the smallest path; sending one is a failure of the run.
pub const DATAGRAM_BYTES_MAX: usize = 1_232;
const MILLION: u64 = 1_000_000;

/// What the network does wrong by itself. Times in microseconds, probabilities in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkFaults {
    /// Every packet takes at least this long.
    pub latency: u64,
    /// And up to this much longer.
    pub jitter: u64,
    /// A packet takes much longer.
    pub tail: u64,
    /// How much longer, at most.
    pub tail_latency: u64,
    /// A packet is lost (on a reliable stream: sent again, late).
    pub loss: u64,
    /// A datagram arrives twice.
    pub duplicate: u64,
    /// The second copy of a doubled packet arrives up to this much later.
    pub duplicate_latency: u64,
    /// A byte of a packet is changed.
    pub corrupt: u64,
    /// A dial gets no answer although the listener is there.
    pub black_hole: u64,
    /// Streams lose, double and reorder frames.
    pub unreliable_streams: bool,
    /// How long the sender of a stalled stream waits before it gives the stream up.
    pub stall_max: u64,
}

impl NetworkFaults {
    /// A healthy local network.
    pub const HEALTHY: NetworkFaults = NetworkFaults {
        latency: 100,
        jitter: 200,
        tail: 0,
        tail_latency: 0,
        loss: 0,
        duplicate: 0,
        duplicate_latency: 0,
        corrupt: 0,
        black_hole: 0,
        unreliable_streams: false,
        stall_max: 3_000_000,
    };
}

impl Default for NetworkFaults {
    fn default() -> Self {
        NetworkFaults::HEALTHY
    }
}

/// A running process: the place of its node, and which of its starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The place of the node in the world.
    pub place: usize,
    /// The number of the process start there.
    pub start: u64,
}

/// A connection, numbered by the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(u64);

/// Something on its way.
#[derive(Clone, Debug)]
pub enum Packet {
    /// A datagram.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// The place that it left from.
        from_place: usize,
        /// Whom it is for.
        to: SocketAddr,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A dial reaches the listener.
    Dial(ConnectionId),
    /// The listener's consent reaches the dialler.
    DialAnswered(ConnectionId),
    /// The dialler's patience ends.
    DialTimeout(ConnectionId),
    /// The next frame of a reliable stream reaches this end.
    Stream(ConnectionId, usize),
    /// A frame of an unreliable stream reaches this end.
    Loose(ConnectionId, usize, Bytes),
    /// This end learns that the connection is gone.
    Broken(ConnectionId, usize, &'static str),
}

/// What a process gets to know.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// A datagram.
    Datagram(SocketAddr, Bytes),
    /// A dialled link is up.
    Connected(LinkId),
    /// A peer dialled.
    Accepted(LinkId, SocketAddr),
    /// A frame.
    Frame(LinkId, Bytes),
    /// A link is gone.
    Disconnected(LinkId, &'static str),
}

#[derive(Clone, Debug)]
struct End {
    endpoint: Endpoint,
    link: LinkId,
    /// The process has the link and has not been told of its end.
    open: bool,
    /// Frames on their way to this end.
    queue: VecDeque<Bytes>,
    /// When the last of them arrives: order is kept.
    last_arrival: u64,
    /// Since when the first of them cannot pass.
    stalled: Option<u64>,
}

#[derive(Clone, Debug)]
struct Connection {
    ends: Vec<End>,
    target: SocketAddr,
    established: bool,
}

/// The network between all places.
#[derive(Debug)]
pub struct Network {
    rng: Random,
    /// What it does wrong by itself, now.
    pub faults: NetworkFaults,
    /// How many partitions cut `[from][to]`.
    cuts: Vec<Vec<u32>>,
    /// Who listens where.
    listeners: BTreeMap<SocketAddr, Endpoint>,
    /// Machines without power answer nothing, not even "refused".
    powered: Vec<bool>,
    connections: BTreeMap<ConnectionId, Connection>,
    links: BTreeMap<(Endpoint, LinkId), (ConnectionId, usize)>,
    next_connection: u64,
    next_accepted: u64,
    /// Packets sent since the last [`Network::take_sent`], with their times of arrival.
    sent: Vec<(u64, Packet)>,
    /// Packets lost, doubled, delayed or corrupted so far.
    pub injected: FaultCounts,
}

impl Network {
    /// A network between `places` places.
    pub fn new(places: usize, rng: Random, faults: NetworkFaults) -> Self {
        Network {
            rng,
            faults,
            cuts: vec![vec![0; places]; places],
            listeners: BTreeMap::new(),
            powered: vec![true; places],
            connections: BTreeMap::new(),
            links: BTreeMap::new(),
            next_connection: 1,
            next_accepted: 1,
            sent: Vec::new(),
            injected: FaultCounts::default(),
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
        let count = &mut self.cuts[from][to];
        *count = if cut { *count + 1 } else { count.saturating_sub(1) };
    }

    /// Heals every cut.
    pub fn heal(&mut self) {
        self.cuts.iter_mut().flatten().for_each(|count| *count = 0);
    }

    /// Ends a random connection; returns whether there was one. One side may never be told.
    pub fn break_one(&mut self, now: u64) -> bool {
        let ids: Vec<_> = self.connections.iter().filter(|(_, c)| c.established).map(|(id, _)| *id).collect();
        let Some(id) = self.rng.pick(&ids).copied() else { return false };
        let told = self.rng.below(3);
        for end in 0..2 {
            if told == 2 || told == end as u64 {
                let at = now + self.rng.below(50_000);
                self.sent.push((at, Packet::Broken(id, end, "connection reset")));
            } else if told != 2 {
                // Half-open: what the told side closes, this side finds out when it sends.
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.ends[end].queue.clear();
                }
                self.time_out(now, id, end);
            }
        }
        true
    }

    /// Whether a connection that `from` dialled to `to` stands at both ends.
    pub fn is_linked(&self, from: usize, to: usize) -> bool {
        let stands = |ends: &[End]| match ends {
            [a, b] => a.open && b.open && (a.endpoint.place, b.endpoint.place) == (from, to),
            _ => false,
        };
        self.connections.values().any(|connection| connection.established && stands(&connection.ends))
    }

    /// Whether a cut is in force between two places, in one direction or both.
    pub fn is_cut_between(&self, a: usize, b: usize) -> bool {
        self.is_cut(a, b) || self.is_cut(b, a)
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts[from][to] > 0
    }

    fn latency(&mut self) -> u64 {
        let faults = self.faults;
        let mut latency = faults.latency + self.rng.below(faults.jitter + 1);
        if faults.tail > 0 && self.rng.chance(faults.tail, MILLION) {
            self.injected.count("slow-packet");
            latency += self.rng.below(faults.tail_latency + 1);
        }
        latency
    }

    fn happens(&mut self, kind: &'static str, rate: u64) -> bool {
        let happens = rate > 0 && self.rng.chance(rate, MILLION);
        if happens {
            self.injected.count(kind);
        }
        happens
    }

    fn maybe_corrupt(&mut self, bytes: Bytes) -> Bytes {
        let rate = self.faults.corrupt;
        if bytes.is_empty() || !self.happens("corrupt-packet", rate) {
            return bytes;
        }
        let mut changed = bytes.to_vec();
        let at = self.rng.below(changed.len() as u64) as usize;
        changed[at] ^= 1 << self.rng.below(8);
        changed.into()
    }

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

    /// Dials; the dialler hears `Connected` or `Disconnected`.
    pub fn connect(&mut self, now: u64, endpoint: Endpoint, link: LinkId, to: SocketAddr) {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let end = End { endpoint, link, open: true, queue: VecDeque::new(), last_arrival: 0, stalled: None };
        self.connections.insert(id, Connection { ends: vec![end], target: to, established: false });
        self.links.insert((endpoint, link), (id, 0));
        let black_hole = self.faults.black_hole;
        if !self.happens("black-hole", black_hole) {
            let at = now + self.latency();
            self.sent.push((at, Packet::Dial(id)));
        }
        let patience = 1_000_000 + self.rng.below(2_000_000);
        self.sent.push((now + patience, Packet::DialTimeout(id)));
    }

    /// The process at the other end of a link, if it is connected.
    pub fn other_end(&self, endpoint: Endpoint, link: LinkId) -> Option<Endpoint> {
        let (id, end) = self.links.get(&(endpoint, link))?;
        self.connections.get(id)?.ends.get(1 - end).map(|end| end.endpoint)
    }

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

    /// The process closes a link; the other side learns it after what is on its way.
    pub fn close(&mut self, now: u64, endpoint: Endpoint, link: LinkId) {
        if let Some(&(id, end)) = self.links.get(&(endpoint, link)) {
            self.drop_end(id, end);
            self.tell(now, id, 1 - end, "closed by peer");
        }
    }

    /// A packet arrives: what some process gets to know of it.
    pub fn arrive(&mut self, now: u64, packet: Packet) -> Option<(Endpoint, Arrival)> {
        match packet {
            Packet::Datagram { from, from_place, to, bytes } => {
                let listener = *self.listeners.get(&to)?;
                (!self.is_cut(from_place, listener.place)).then_some((listener, Arrival::Datagram(from, bytes)))
            }
            Packet::Dial(id) => self.on_dial(now, id),
            Packet::DialAnswered(id) => self.on_dial_answered(now, id),
            Packet::DialTimeout(id) => {
                let pending = self.connections.get(&id).is_some_and(|c| !c.established);
                if pending { self.end_told(id, 0, "timed out") } else { None }
            }
            Packet::Stream(id, end) => self.on_stream(now, id, end),
            Packet::Loose(id, end, bytes) => {
                if self.may_pass(id, end) {
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

    fn on_dial(&mut self, now: u64, id: ConnectionId) -> Option<(Endpoint, Arrival)> {
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
        if self.is_cut(dialler.endpoint.place, listener.place) || !self.powered[listener.place] {
            return None;
        }
        let link = LinkId(2 * self.next_accepted);
        self.next_accepted += 1;
        let at = now + self.latency();
        let end = End { endpoint: listener, link, open: true, queue: VecDeque::new(), last_arrival: 0, stalled: None };
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

    fn on_dial_answered(&mut self, now: u64, id: ConnectionId) -> Option<(Endpoint, Arrival)> {
        let (from, to) = {
            let connection = self.connections.get(&id)?;
            (connection.ends.get(1)?.endpoint.place, connection.ends[0].clone())
        };
        if self.is_cut(from, to.endpoint.place) {
            return None;
        }
        if !to.open {
            self.tell(now, id, 1, "reset by peer");
            return None;
        }
        self.connections.get_mut(&id)?.established = true;
        Some((to.endpoint, Arrival::Connected(to.link)))
    }

    fn on_stream(&mut self, now: u64, id: ConnectionId, end: usize) -> Option<(Endpoint, Arrival)> {
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

    fn deliver(&mut self, now: u64, id: ConnectionId, end: usize, bytes: Bytes) -> Option<(Endpoint, Arrival)> {
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
    fn may_pass(&self, id: ConnectionId, end: usize) -> bool {
        let Some(connection) = self.connections.get(&id) else { return false };
        let (Some(to), Some(from)) = (connection.ends.get(end), connection.ends.get(1 - end)) else { return false };
        !self.is_cut(from.endpoint.place, to.endpoint.place) && self.powered[to.endpoint.place]
    }

    /// Says to `end`, after a while and if it can be reached, that the connection is gone.
    fn tell(&mut self, now: u64, id: ConnectionId, end: usize, reason: &'static str) {
        let mut at = now + self.latency();
        if let Some(told) = self.connections.get(&id).and_then(|c| c.ends.get(end)) {
            at = at.max(told.last_arrival);
            self.sent.push((at, Packet::Broken(id, end, reason)));
        }
    }

    /// The other side is gone and nobody says so: the kernel finds out by itself, as it asks for signs of life now and then.
    fn time_out(&mut self, now: u64, id: ConnectionId, end: usize) {
        self.sent.push((now + KEEPALIVE, Packet::Broken(id, end, "keepalive timed out")));
    }

    fn end_told(&mut self, id: ConnectionId, end: usize, reason: &'static str) -> Option<(Endpoint, Arrival)> {
        let told = self.connections.get(&id)?.ends.get(end)?.clone();
        self.drop_end(id, end);
        told.open.then_some((told.endpoint, Arrival::Disconnected(told.link, reason)))
    }

    /// The process at `end` no longer has the link. The connection is forgotten once neither side has it.
    fn drop_end(&mut self, id: ConnectionId, end: usize) {
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

fn links_of(endpoint: Endpoint) -> std::ops::RangeInclusive<(Endpoint, LinkId)> {
    (endpoint, LinkId(0))..=(endpoint, LinkId(u64::MAX))
}
