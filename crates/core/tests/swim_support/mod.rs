//! A small network in virtual time for tests of SWIM: every datagram passes through its encoding.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use slimcluster_core::random::Random;
use slimcluster_core::swim::{Body, Event, Input, Local, Member, MemberState, Message, Meta, Options, Output, Swim};
use slimcluster_core::wire::{Codec, Envelope, cluster_tag, decode_datagram, encode_datagram, sizer};
use slimcluster_core::{Generation, Instant, NodeId};

pub struct Net {
    pub now: Instant,
    pub options: Options,
    pub nodes: BTreeMap<u128, Node>,
    /// Of 1,000 datagrams, how many are lost.
    pub loss: u64,
    pub latency: (Duration, Duration),
    /// Directed links that lose everything.
    pub cut: BTreeSet<(u128, u128)>,
    /// Lines of what happened since they were taken, when `trace` is on.
    pub lines: Vec<String>,
    pub trace: bool,
    pub events: Vec<(Instant, u128, Event)>,
    pub sent: u64,
    pub longest: usize,
    rng: Random,
    flying: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Bytes)>,
    flown: u64,
}

pub struct Node {
    pub swim: Swim,
    pub address: SocketAddr,
    pub codec: Codec,
    pub generation: u64,
    pub seeds: Vec<SocketAddr>,
    pub is_running: bool,
    pub goodbye_acknowledged: bool,
    /// Standing still until then, with what arrived meanwhile.
    stalled: Option<(Instant, Vec<(SocketAddr, Bytes)>)>,
}

/// The usual address of a node.
pub fn address(id: u128) -> SocketAddr {
    SocketAddr::from(([10, 0, (id >> 8) as u8, id as u8], 60_001))
}

impl Net {
    pub fn new(seed: u64) -> Self {
        Net {
            now: Instant::from_micros(1_000_000),
            options: Options::lan(),
            nodes: BTreeMap::new(),
            loss: 0,
            latency: (Duration::from_micros(200), Duration::from_millis(2)),
            cut: BTreeSet::new(),
            lines: Vec::new(),
            trace: false,
            events: Vec::new(),
            sent: 0,
            longest: 0,
            rng: Random::new(seed),
            flying: BTreeMap::new(),
            flown: 0,
        }
    }

    /// `n` nodes that all know the address of the first.
    pub fn cluster(seed: u64, n: u128) -> Self {
        let mut net = Net::new(seed);
        for id in 1..=n {
            net.start(id, address(id), vec![address(1)]);
        }
        net
    }

    pub fn start(&mut self, id: u128, at: SocketAddr, seeds: Vec<SocketAddr>) {
        let generation = self.nodes.get(&id).map_or(1, |node| node.generation + 1);
        self.start_as(id, at, seeds, generation);
    }

    pub fn start_as(&mut self, id: u128, at: SocketAddr, seeds: Vec<SocketAddr>, generation: u64) {
        // Both encodings in one cluster, always.
        let codec = if id.is_multiple_of(2) { Codec::Json } else { Codec::Protobuf };
        let local = Local {
            id: NodeId(id),
            name: format!("n{id}"),
            address: at,
            generation: Generation(generation),
            meta: Meta { http: Some(format!("{}:8080", at.ip())), consensus: true },
        };
        let rng_seed = self.rng.next();
        let swim = Swim::new(self.options.clone(), local, sizer(codec), rng_seed, self.now);
        let (is_running, goodbye_acknowledged, stalled) = (true, false, None);
        self.nodes.insert(
            id,
            Node { swim, address: at, codec, generation, seeds, is_running, goodbye_acknowledged, stalled },
        );
        self.drain(id);
    }

    pub fn crash(&mut self, id: u128) {
        self.nodes.get_mut(&id).unwrap().is_running = false;
    }

    pub fn restart(&mut self, id: u128, at: SocketAddr) {
        let seeds = self.nodes[&id].seeds.clone();
        self.start(id, at, seeds);
    }

    /// From now the node neither reads nor acts; then it wakes to everything at once.
    pub fn stall(&mut self, id: u128, time: Duration) {
        let until = self.now + time;
        self.nodes.get_mut(&id).unwrap().stalled = Some((until, Vec::new()));
    }

    pub fn cut_between(&mut self, left: &[u128], right: &[u128]) {
        for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
            self.cut.extend([(a, b), (b, a)]);
        }
    }

    pub fn input(&mut self, id: u128, input: Input) {
        let now = self.now;
        self.nodes.get_mut(&id).unwrap().swim.handle(now, input);
        self.drain(id);
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `done` holds; the time that it took. Panics after `limit`.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Net) -> bool) -> Duration {
        let (start, end) = (self.now, self.now + limit);
        while !done(self) {
            assert!(self.step(end), "not within {limit:?}; {}", self.short_views());
        }
        self.now.since(start)
    }

    /// Everybody that runs sees everybody that runs alive, and nobody else present.
    pub fn is_settled(&self) -> bool {
        let running: Vec<u128> = self.running().collect();
        running.iter().all(|id| self.present(*id) == running)
    }

    pub fn running(&self) -> impl Iterator<Item = u128> {
        self.nodes.iter().filter(|(_, node)| node.is_running).map(|(id, _)| *id)
    }

    /// Whom `id` sees alive, itself included.
    pub fn present(&self, id: u128) -> Vec<u128> {
        let members = self.nodes[&id].swim.members();
        members.filter(|member| member.state == MemberState::Alive).map(|member| member.id.0).collect()
    }

    pub fn member(&self, at: u128, id: u128) -> Option<Member> {
        self.nodes[&at].swim.member(NodeId(id))
    }

    pub fn views(&self) -> BTreeMap<u128, Vec<String>> {
        let describe = |member: Member| format!("{} {:?}", member.name, member.state);
        self.running().map(|id| (id, self.nodes[&id].swim.members().map(describe).collect())).collect()
    }

    /// For each running node, whom it does not see alive although it runs, and whom it sees alive although it does not.
    fn short_views(&self) -> String {
        let running: BTreeSet<u128> = self.running().collect();
        let differs = |id: &u128| {
            let present: BTreeSet<u128> = self.present(*id).into_iter().collect();
            let wrong: Vec<_> = running.symmetric_difference(&present).copied().collect();
            (!wrong.is_empty()).then(|| format!("n{id} is wrong about {wrong:?}; "))
        };
        running.iter().filter_map(differs).collect()
    }

    fn step(&mut self, end: Instant) -> bool {
        let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
        let due = |node: &Node| match &node.stalled {
            Some((until, _)) => Some(*until),
            None => node.swim.poll_timeout(),
        };
        let timer = self
            .nodes
            .iter()
            .filter(|(_, node)| node.is_running)
            .filter_map(|(id, node)| Some((due(node)?.max(self.now), *id)))
            .min();
        let next = arrival.into_iter().chain(timer.map(|(at, _)| at)).min();
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        self.now = next;
        // What has arrived is handled before a deadline is judged.
        if arrival == Some(next) {
            if let Some((_, (from, to, bytes))) = self.flying.pop_first() {
                self.deliver(from, to, bytes);
            }
        } else if let Some((_, id)) = timer {
            self.wake(id);
            self.input(id, Input::Timeout);
        }
        true
    }

    fn wake(&mut self, id: u128) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).unwrap();
        let Some((_, arrived)) = node.stalled.take() else { return };
        if let Some(due) = node.swim.poll_timeout() {
            node.swim.handle(now, Input::Lateness(now.since(due)));
        }
        for (from, bytes) in arrived {
            self.receive(id, from, bytes);
        }
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let receiver = self.nodes.iter_mut().find(|(_, node)| node.is_running && node.address == to);
        let Some((id, node)) = receiver else { return };
        let id = *id;
        match &mut node.stalled {
            Some((_, arrived)) => arrived.push((from, bytes)),
            None => self.receive(id, from, bytes),
        }
    }

    fn receive(&mut self, id: u128, from: SocketAddr, bytes: Bytes) {
        let (envelope, message) = decode_datagram(cluster_tag("test"), &bytes).unwrap();
        let Envelope { sender, generation, .. } = envelope;
        self.input(id, Input::Message { from, sender, generation, message });
    }

    fn drain(&mut self, id: u128) {
        let now = self.now;
        loop {
            let node = self.nodes.get_mut(&id).unwrap();
            node.swim.check().unwrap();
            let Some(output) = node.swim.poll_output() else { break };
            match output {
                Output::Send { to, message } => self.send(id, to, &message),
                Output::Discover => {
                    let seeds = node.seeds.clone();
                    node.swim.handle(now, Input::Discovered(seeds));
                }
                Output::Event(event) => {
                    let line = format!("n{id}: {}", describe_event(&event));
                    self.note(line);
                    self.events.push((now, id, event));
                }
                Output::GoodbyeAcknowledged => {
                    node.goodbye_acknowledged = true;
                    self.note(format!("n{id}: good-bye acknowledged"));
                }
            }
        }
    }

    fn send(&mut self, id: u128, to: SocketAddr, message: &Message) {
        let node = &self.nodes[&id];
        let envelope =
            Envelope { cluster_tag: cluster_tag("test"), sender: NodeId(id), generation: node.swim.generation() };
        let bytes = encode_datagram(node.codec, &envelope, message);
        assert!(bytes.len() <= self.options.datagram_bytes_max, "{} bytes: {message:?}", bytes.len());
        let from = node.address;
        self.sent += 1;
        self.longest = self.longest.max(bytes.len());
        let receiver = self.nodes.iter().find(|(_, node)| node.is_running && node.address == to).map(|(id, _)| *id);
        let is_cut = receiver.is_some_and(|receiver| self.cut.contains(&(id, receiver)));
        let is_lost = is_cut || self.rng.chance(self.loss, 1_000);
        if self.trace {
            let name = receiver.map_or(to.to_string(), |receiver| format!("n{receiver}"));
            let lost = if is_lost { " (lost)" } else { "" };
            self.note(format!("n{id} -> {name}: {}{lost}", describe_message(message)));
        }
        if !is_lost {
            let (low, high) = self.latency;
            self.flown += 1;
            let at = self.now + self.rng.duration(low, high);
            self.flying.insert((at, self.flown), (from, to, bytes));
        }
    }

    fn note(&mut self, line: String) {
        let time = self.now.as_micros() / 1_000;
        self.lines.push(format!("{}.{:03} {line}", time / 1_000, time % 1_000));
    }
}

pub fn describe_event(event: &Event) -> String {
    let (what, member) = match event {
        Event::Joined(member) => ("joined", member),
        Event::Left(member) => ("left", member),
        Event::Failed(member) => ("failed", member),
        Event::Suspected(member) => ("suspected", member),
        Event::StatusChanged(member) => ("status changed", member),
        Event::AddressChanged(member) => ("address changed", member),
        Event::MetaChanged(member) => ("meta changed", member),
        Event::Warning(text) => return format!("warning: {text}"),
    };
    format!("{what}: {}", describe_member(member))
}

pub fn describe_member(member: &Member) -> String {
    let restarting = if member.restarting { " restarting" } else { "" };
    let state = format!("{:?}", member.state).to_lowercase();
    format!("{} {state}{restarting} {}", member.name, member.address)
}

fn describe_message(message: &Message) -> String {
    let what = match &message.body {
        Body::Ping { target: Some((id, generation)), .. } => format!("ping {id:?} of generation {generation}"),
        Body::Ping { target: None, .. } => "ping whoever is there".into(),
        Body::Ack { .. } => "ack".into(),
        Body::PingReq { target, .. } => format!("ping-req {target:?}"),
        Body::Gone { .. } => "gone".into(),
        Body::SyncRequest { after, .. } => format!("sync request after {after:?}"),
        Body::SyncResponse { next, .. } => format!("sync response, next {next:?}"),
    };
    let updates = message.updates.iter().map(|update| {
        let key = update.key;
        let rank = format!("{:?}", key.rank).to_lowercase();
        format!(" [{:?} {rank} {}.{}]", update.id, key.generation, key.incarnation.0)
    });
    what + &updates.collect::<String>()
}
