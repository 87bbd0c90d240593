//! The members of a world of SWIM alone, the network between them, and the clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use slimcluster_core::node::io::{Input, Meta, Output};
use slimcluster_core::node::{Membership, Node, NodeOptions};
use slimcluster_core::random::Random;
use slimcluster_core::storage::{Identity, LogSummary, Phase, Recovered};
use slimcluster_core::types::StoreId;
use slimcluster_core::wire::cluster_tag;
use slimcluster_core::{Generation, HardState, Instant, LogId, NodeId, Nonce, swim};

use crate::checkers::swim_claims::Claims;
use crate::checkers::swim_verdicts::Verdicts;
use crate::checkers::swim_views::{Standing, Subject};
use crate::checkers::{Verdict, Violation};
use crate::lifecycle::CLUSTER_ID;
use crate::network::{Arrival, Endpoint, Network, Packet};
use crate::plan::Plan;
use crate::report::Stats;
use crate::streams::{Concern, stream};
use crate::trace::{Trace, digest};
use crate::world::{MILLISECOND, RunOptions};

/// An event loop that wakes this much after its deadline says so.
const LATE: u64 = 20 * MILLISECOND;
/// What a member answers takes the others' discovery so long to hear.
const DISCOVERY: u64 = MILLISECOND;
/// Datagrams kept to be sent again: a few seconds of the largest world.
const RECORDED_MAX: usize = 512;
/// What a restarting member says that it will be away, at most.
pub(super) const RESTART_WITHIN: Duration = Duration::from_secs(60);

enum Event {
    Packet(Packet),
    /// The member's deadline, or the end of its pause.
    Wake(Endpoint),
    /// What discovery found.
    Discovered(Endpoint),
}

/// A member, with its past and perhaps its present process.
pub(super) struct Seat {
    pub(super) id: NodeId,
    pub(super) address: SocketAddr,
    pub(super) standing: Standing,
    pub(super) meta: Meta,
    pub(super) node: Option<Node>,
    pub(super) started: u64,
    /// Where its process asks first: nowhere else does it find anybody.
    seed: Option<SocketAddr>,
    starts: u64,
    inbox: VecDeque<Input>,
    wake_at: Option<u64>,
    /// It stands still until then.
    pub(super) frozen_until: u64,
    rng: Random,
}

/// A world of SWIM alone.
pub struct Cluster {
    pub(super) plan: Plan,
    pub(super) swim: swim::Options,
    /// The time.
    pub now: u64,
    /// What happened.
    pub trace: Trace,
    /// What was counted.
    pub stats: Stats,
    pub(super) network: Network,
    pub(super) seats: Vec<Seat>,
    pub(super) verdicts: Verdicts,
    /// Datagrams that were sent, the oldest first.
    pub(super) recorded: VecDeque<(SocketAddr, Bytes)>,
    pub(super) claims: Claims,
    heap: BTreeMap<Reverse<(u64, u64)>, Event>,
    sequence: u64,
}

impl Cluster {
    /// The members of a plan, none of them started.
    pub fn new(plan: &Plan, options: RunOptions) -> Self {
        let (seed, swarm) = (plan.seed, &plan.swarm);
        // One more who lets the others in, and one newcomer per act.
        let seats = swarm.members + 1 + swarm.acts.len();
        let network = Network::new(seats, stream(seed, Concern::Network, 0), swarm.network);
        let seats: Vec<Seat> = (0..seats).map(|seat| Seat::new(seed, seat)).collect();
        let mut swim = if swarm.quick_swim { swim::Options::local() } else { swim::Options::lan() };
        swim.suspicion_mult *= if swarm.patient_swim { 2 } else { 1 };
        Cluster {
            swim,
            now: 0,
            trace: Trace::new(options.detail),
            stats: Stats::default(),
            network,
            seats,
            verdicts: Verdicts::default(),
            recorded: VecDeque::new(),
            claims: Claims::default(),
            heap: BTreeMap::new(),
            sequence: 0,
            plan: plan.clone(),
        }
    }

    /// The members as the checker of views compares them.
    pub(super) fn subjects(&self) -> Vec<Subject<'_>> {
        let seats = self.seats.iter().filter(|seat| seat.starts > 0);
        seats.map(Seat::subject).collect()
    }

    /// Which seats have a running member.
    pub(super) fn up(&self) -> Vec<usize> {
        (0..self.seats.len()).filter(|seat| self.seats[*seat].node.is_some()).collect()
    }

    /// The numbers at the end.
    pub fn final_stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        stats.faults.add(self.network.injected.counts());
        stats.time = self.now;
        stats
    }

    /// Each member, in one line.
    pub fn describe_members(&self) -> Vec<String> {
        let describe = |(at, seat): (usize, &Seat)| {
            let view = |node: &Node| {
                let all = node.members();
                all.iter().map(|m| format!("{}:{}:{:?}", m.name, m.generation, m.state)).collect::<Vec<_>>().join(" ")
            };
            format!("m{at} ({}) {:?} at {}: {:?}", seat.id, seat.standing, seat.address, seat.node.as_ref().map(view))
        };
        self.seats.iter().enumerate().filter(|(_, seat)| seat.starts > 0).map(describe).collect()
    }

    /// Where a member asks first: the gate while it is there; afterwards the oldest, for one that has just come knows nobody yet.
    fn oldest(&self) -> Option<SocketAddr> {
        let oldest = self.up().into_iter().min_by_key(|seat| self.seats[*seat].started);
        oldest.map(|oldest| self.seats[oldest].address)
    }

    /// Discovery finds somebody who is there, from now on.
    pub(super) fn find_each_other(&mut self) {
        let found = self.oldest();
        self.seats.iter_mut().for_each(|seat| seat.seed = found);
    }

    /// A member starts, at the address that it has now.
    pub(super) fn start(&mut self, seat: usize) -> Verdict {
        let (now, codecs, swim) = (self.now, &self.plan.swarm.codecs, self.swim.clone());
        let found = self.oldest();
        let Seat { id, address, starts, rng, meta, seed, .. } = &mut self.seats[seat];
        *seed = found;
        *starts += 1;
        let endpoint = Endpoint { place: seat, start: *starts };
        let identity = Identity {
            node: *id,
            store: StoreId(1),
            cluster_id: CLUSTER_ID.to_owned(),
            generation: Generation(*starts),
            phase: Phase::Fresh,
            abandoned: Vec::new(),
        };
        let (hard_state, log) = (HardState::default(), LogSummary::new(LogId::default(), 0));
        let recovered = Recovered { identity, hard_state, log, tail: Vec::new(), peers: Vec::new() };
        let options = NodeOptions {
            name: format!("m{seat}"),
            address: *address,
            meta: meta.clone(),
            codec: codecs.get(seat).copied().unwrap_or_default(),
            nonce: Nonce(rng.next()),
            membership: Membership::Swim(swim),
            announce: false,
            consensus: None,
            restart_within: RESTART_WITHIN,
        };
        let (rng_seed, address) = (rng.next(), *address);
        self.trace.event(now, [12, seat as u64, endpoint.start], || format!("m{seat} starts at {address}"));
        let node = Node::new(options, recovered, rng_seed, Instant::ZERO);
        let node = node.map_err(|reason| Violation::of("recovery", reason))?;
        let member = &mut self.seats[seat];
        member.node = Some(node);
        (member.started, member.standing, member.frozen_until, member.wake_at) = (now, Standing::Up, 0, None);
        member.inbox.clear();
        self.stats.starts += 1;
        self.verdicts.returns(self.seats[seat].id);
        self.network.listen(address, endpoint);
        self.step(endpoint)
    }

    /// The process of a member ends; the others must come to see it as `standing`.
    pub(super) fn end(&mut self, seat: usize, standing: Standing) {
        let endpoint = self.endpoint(seat);
        self.trace.event(self.now, [14, seat as u64, 0], || format!("m{seat} ends: {standing:?}"));
        self.seats[seat].node = None;
        self.seats[seat].standing = standing;
        self.stats.crashes += 1;
        self.claims.on_ended(endpoint);
        self.network.process_ended(self.now, endpoint, false);
    }

    /// Hands an input to a member's event loop.
    pub(super) fn tell(&mut self, seat: usize, input: Input) -> Verdict {
        let endpoint = self.endpoint(seat);
        self.seats[seat].inbox.push_back(input);
        self.step(endpoint)
    }

    /// A member stands still for so long.
    pub(super) fn freeze(&mut self, seat: usize, time: u64) {
        let (endpoint, until) = (self.endpoint(seat), self.now + time);
        self.seats[seat].frozen_until = until;
        self.at(until, Event::Wake(endpoint));
    }

    /// Something arrives at an address, whoever sent it.
    pub(super) fn inject(&mut self, from: SocketAddr, seat: usize, bytes: Bytes) {
        let to = self.seats[seat].address;
        self.at(self.now, Event::Packet(Packet::Datagram { from, from_place: seat, to, bytes }));
    }

    /// Lets everything happen that happens before `end`.
    pub(super) fn run_until(&mut self, end: u64) -> Verdict {
        while let Some((Reverse((at, _)), _)) = self.heap.last_key_value()
            && *at <= end
            && let Some((Reverse((at, _)), event)) = self.heap.pop_last()
        {
            self.now = at;
            self.network.now = at;
            self.stats.events += 1;
            match event {
                Event::Packet(packet) => self.on_packet(packet)?,
                Event::Wake(endpoint) => self.step(endpoint)?,
                Event::Discovered(endpoint) => {
                    let seeds = self.seats[endpoint.place].seed.into_iter().collect();
                    self.hand(endpoint, Input::Discovered(seeds))?;
                }
            }
        }
        self.now = end;
        Ok(())
    }

    fn on_packet(&mut self, packet: Packet) -> Verdict {
        if let Some((endpoint, Arrival::Datagram(from, bytes))) = self.network.arrive(self.now, packet) {
            self.trace.event(self.now, [1, endpoint.place as u64, digest(&bytes)], || {
                format!("m{} <- datagram of {} bytes from {from}", endpoint.place, bytes.len())
            });
            self.hand(endpoint, Input::Datagram { from, bytes })?;
        }
        Ok(())
    }

    fn hand(&mut self, endpoint: Endpoint, input: Input) -> Verdict {
        if self.endpoint(endpoint.place) == endpoint {
            self.seats[endpoint.place].inbox.push_back(input);
        }
        self.step(endpoint)
    }

    /// One step of an event loop, unless it stands still: everything that has arrived, then its deadline, then its outputs.
    fn step(&mut self, endpoint: Endpoint) -> Verdict {
        let now = self.now;
        if self.endpoint(endpoint.place) != endpoint || self.seats[endpoint.place].frozen_until > now {
            return Ok(());
        }
        let Seat { node, inbox, started, id, .. } = &mut self.seats[endpoint.place];
        let Some(node) = node.as_mut() else { return Ok(()) };
        let time = Instant::from_micros(now - *started);
        let deadline = node.poll_timeout();
        if let Some(late) = deadline.map(|deadline| time.since(deadline)).filter(|late| late.as_micros() > LATE.into())
        {
            node.handle(time, Input::Lateness(late));
        }
        while let Some(input) = inbox.pop_front() {
            node.handle(time, input);
        }
        if node.poll_timeout().is_some_and(|deadline| deadline <= time) {
            node.handle(time, Input::Timeout);
        }
        let (id, mut outputs) = (*id, Vec::new());
        outputs.extend(std::iter::from_fn(|| node.poll_output()));
        outputs.into_iter().try_for_each(|output| self.on_output(endpoint, id, output))?;
        for (at, packet) in self.network.take_sent() {
            self.at(at, Event::Packet(packet));
        }
        self.plan_wake(endpoint);
        Ok(())
    }

    fn on_output(&mut self, endpoint: Endpoint, id: NodeId, output: Output) -> Verdict {
        let place = endpoint.place;
        match output {
            Output::Datagram { to, bytes } => {
                self.trace.event(self.now, [2, place as u64, digest(&bytes)], || {
                    format!("m{place} -> datagram of {} bytes to {to}", bytes.len())
                });
                self.claims.on_datagram(endpoint, cluster_tag(CLUSTER_ID), &bytes)?;
                let from = self.seats[place].address;
                if self.recorded.len() == RECORDED_MAX {
                    self.recorded.pop_front();
                }
                self.recorded.push_back((from, bytes.clone()));
                self.stats.datagrams += 1;
                self.network.send_datagram(self.now, place, from, to, bytes);
            }
            Output::Discover => self.at(self.now + DISCOVERY, Event::Discovered(endpoint)),
            Output::Event(event) => {
                self.trace.event(self.now, [9, place as u64, 0], || format!("m{place}: {event:?}"));
                self.verdicts.on_event(id, &event)?;
            }
            Output::Stopped => self.seats[place].frozen_until = u64::MAX,
            _ => {}
        }
        Ok(())
    }

    fn plan_wake(&mut self, endpoint: Endpoint) {
        let seat = &mut self.seats[endpoint.place];
        let deadline = seat.node.as_ref().and_then(Node::poll_timeout);
        let Some(at) = deadline.map(|deadline| (seat.started + deadline.as_micros()).max(self.now)) else { return };
        if seat.wake_at.is_none_or(|planned| at < planned || planned <= self.now) {
            seat.wake_at = Some(at);
            self.at(at, Event::Wake(endpoint));
        }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.heap.insert(Reverse((at.max(self.now), self.sequence)), event);
    }

    pub(super) fn endpoint(&self, seat: usize) -> Endpoint {
        Endpoint { place: seat, start: self.seats[seat].starts }
    }
}

impl Seat {
    fn new(seed: u64, seat: usize) -> Self {
        let mut rng = stream(seed, Concern::Member, seat as u64);
        Seat {
            id: NodeId(rng.next_u128()),
            address: SocketAddr::from((Ipv4Addr::new(10, 1, 0, seat as u8 + 1), 7_000)),
            standing: Standing::Up,
            meta: Meta::default(),
            node: None,
            started: 0,
            seed: None,
            starts: 0,
            inbox: VecDeque::new(),
            wake_at: None,
            frozen_until: 0,
            rng,
        }
    }

    /// It has said good-bye and only waits for its end.
    pub(super) fn is_stopped(&self) -> bool {
        self.frozen_until == u64::MAX
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject { id: self.id, standing: self.standing, node: self.node.as_ref(), started: self.started }
    }
}
