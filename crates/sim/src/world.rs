//! The world: places with disks, processes on them, a network between, clients, and one clock.
//!
//! One thread, one heap of events ordered by time and sequence, one generator per concern, all split from the seed. Nothing here
//! reads a real clock or depends on an address or a hash order, so the same seed is the same world, event by event.
//!
//! `world` keeps the clock and hands events out; what they do is in [`crate::event_loop`] (one step of a node and its outputs),
//! [`crate::threads`] (WAL, apply and fetch), [`crate::lifecycle`] (starts and crashes), [`crate::faults`] (what goes wrong when),
//! [`crate::load`] (clients), [`crate::phases`] and [`crate::majority`] (faults, a healthy majority, all healed) and
//! [`crate::audit`] (the end).

use std::net::{Ipv4Addr, SocketAddr};

use slimcluster_core::Index;
use slimcluster_core::node::io::{Input, LinkId};
use slimcluster_core::random::Random;
use slimcluster_core::storage::Fetched;

use crate::attacker::Attacker;
use crate::budget::Budget;
use crate::checkers::liveness::Served;
use crate::checkers::stability::Stability;
use crate::checkers::storage::Store;
use crate::checkers::{Checkers, Verdict, Violation};
use crate::client::Client;
use crate::clock::Clock;
use crate::disk::SimDisk;
use crate::faults::Undo;
use crate::network::{Arrival, Endpoint, Network, Packet};
use crate::phases::{Phase, replay_time};
use crate::plan::Plan;
use crate::process::Process;
use crate::report::Stats;
use crate::schedule::Schedule;
use crate::strangers::Strangers;
use crate::streams::{Concern, stream};
use crate::strike::Strike;
use crate::swarm::{Profile, Swarm};
use crate::trace::{Detail, Trace, digest};
use crate::trouble::Trouble;
use crate::workload::Workload;

/// One second of the world.
pub const SECOND: u64 = 1_000_000;
/// One millisecond of the world.
pub const MILLISECOND: u64 = 1_000;
/// Nodes that nothing disturbs form a cluster within this time of the last start: ten times what it takes.
const FORMS_WITHIN: u64 = 30 * SECOND;
/// What follows the faults ends within this time and some replays of the log: its phases take less than half of it.
const ENDS_WITHIN: u64 = 600 * SECOND;
/// A busy world has some ten thousand events a second. So many, taken over the whole run, are of one that goes round in circles.
const EVENTS_PER_SECOND_MAX: u64 = 100_000;

/// Something that will happen.
#[derive(Debug)]
pub enum Event {
    /// A process starts.
    Start(usize),
    /// A process takes its next step, if it is due.
    Step(Endpoint),
    /// A packet arrives.
    Packet(Packet),
    /// The WAL thread has written its batch.
    Written(Endpoint),
    /// The WAL thread had nothing to do since the batch of this number.
    Idle(Endpoint, u64),
    /// The apply thread has done a slice.
    Applied(Endpoint),
    /// The WAL thread looks whether its full disk has space again.
    Space(Endpoint),
    /// Something that was read or asked for is there.
    Answer(Endpoint, Box<Input>),
    /// Runs are to be read back.
    Fetch(Endpoint, Box<Fetched>, Index, usize),
    /// A client does its next operation.
    Client(usize),
    /// A fault strikes.
    Strike(Strike),
    /// A fault ends.
    Undo(Undo),
    /// A node of the second cluster takes a step, with something that has reached it or without.
    Stranger(Endpoint, Option<Box<Input>>),
    /// The run enters its next phase, or looks whether it may.
    Phase,
}

/// Where a node lives: what survives its processes.
pub struct Place {
    /// The human name of the node.
    pub name: String,
    /// Its disk.
    pub disk: SimDisk,
    /// Its current address.
    pub address: SocketAddr,
    /// How many processes have started here.
    pub starts: u64,
    /// How many of the last starts failed, in a row.
    pub failed_starts: u32,
    /// The running process.
    pub process: Option<Process>,
    /// What its clocks show.
    pub clock: Clock,
    /// What is wrong here for the time being.
    pub trouble: Trouble,
    /// Its start is planned.
    pub start_planned: bool,
    /// Decides about the present process, and when the next one starts.
    pub rng: Random,
    /// How long things take here.
    pub timing: Random,
}

/// What a run is asked for beside its seed.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// How much text it writes.
    pub detail: Detail,
    /// The profile of its world; drawn if none.
    pub profile: Option<Profile>,
    /// The safeguard to leave out.
    #[cfg(feature = "mutants")]
    pub mutant: Option<slimcluster_core::mutants::Mutant>,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            detail: Detail::Hash,
            profile: None,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

impl RunOptions {
    /// The name of the safeguard to leave out, if any.
    pub fn mutant_name(&self) -> Option<String> {
        #[cfg(feature = "mutants")]
        return self.mutant.map(|mutant| mutant.to_string());
        #[cfg(not(feature = "mutants"))]
        None
    }

    /// The same with another amount of text.
    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }
}

/// A whole simulated cluster.
pub struct World {
    /// Names the streams of everything that is drawn.
    pub seed: u64,
    /// What kind of world it is.
    pub swarm: Swarm,
    /// What it was asked for.
    pub options: RunOptions,
    /// The time.
    pub now: u64,
    /// What happened.
    pub trace: Trace,
    /// What was counted.
    pub stats: Stats,
    pub(crate) network: Network,
    pub(crate) places: Vec<Place>,
    pub(crate) checkers: Checkers,
    pub(crate) clients: Vec<Client>,
    pub(crate) phase: Phase,
    /// When the phase began.
    pub(crate) phase_began: u64,
    /// How far anybody had applied when the phase began.
    pub(crate) applied_before: Index,
    /// What each place has served that began in the phase.
    pub(crate) served: Vec<Served>,
    /// Every place has known, at one moment, that the cluster is formed.
    pub(crate) has_formed: bool,
    /// The highest index that any replica has applied.
    pub(crate) applied: Index,
    /// A run that goes on longer is stuck.
    ends_before: u64,
    /// When so many are acknowledged, the next is looked up on the media.
    pub(crate) next_media_check: u64,
    /// The first command from here on makes every replica panic.
    pub(crate) poison_from: Option<Index>,
    /// Which places are the healthy majority, in the phase that has one.
    pub(crate) is_core: Vec<bool>,
    /// When that phase ends.
    pub(crate) majority_until: u64,
    pub(crate) stability: Stability,
    /// Who loses the leader once the majority has settled, and whether the leader loses it too.
    pub(crate) cut_from_leader: Vec<(usize, bool)>,
    pub(crate) workload: Box<dyn Workload>,
    pub(crate) budget: Budget,
    /// In worlds that have one.
    pub(crate) attacker: Option<Box<Attacker>>,
    /// The second cluster, in worlds that have one.
    pub(crate) strangers: Option<Box<Strangers>>,
    schedule: Schedule<Event>,
    /// What is to go wrong once things may.
    strikes: Vec<Strike>,
    /// When that is over.
    pub(crate) faults_until: u64,
}

impl World {
    /// The world of a plan, before anything happened.
    pub fn new(plan: Plan, workload: Box<dyn Workload>, options: RunOptions) -> Self {
        let (attacker, strangers) = (Attacker::of(&plan), Strangers::of(&plan));
        let Plan { seed, swarm, strikes } = plan;
        // Behind the nodes come the attacker and the second cluster.
        let network_places = swarm.nodes + 1 + strangers.as_ref().map_or(0, |strangers| strangers.places());
        let network = Network::new(network_places, stream(seed, Concern::Network, 0), swarm.network);
        let places = (0..swarm.nodes)
            .map(|place| {
                let disk = SimDisk::new(stream(seed, Concern::Disk, place as u64));
                disk.set_faults(swarm.disk);
                Place {
                    name: format!("n{}", place + 1),
                    disk,
                    address: SocketAddr::from((Ipv4Addr::new(10, 0, 0, place as u8 + 1), 7_000)),
                    starts: 0,
                    failed_starts: 0,
                    process: None,
                    clock: Clock::new(
                        &mut stream(seed, Concern::Clock, place as u64),
                        swarm.clock_drift,
                        swarm.clock_grain,
                        swarm.wall_apart,
                    ),
                    trouble: Trouble::default(),
                    start_planned: true,
                    rng: stream(seed, Concern::Start, (place as u64) << 32),
                    timing: stream(seed, Concern::Timing, place as u64),
                }
            })
            .collect();
        let mut world = World {
            seed,
            options,
            now: 0,
            trace: Trace::new(options.detail),
            stats: Stats::default(),
            network,
            places,
            checkers: Checkers::new(swarm.nodes),
            // One more per place for the audit.
            clients: (0..swarm.clients + swarm.nodes)
                .map(|client| Client::new(stream(seed, Concern::Client, client as u64)))
                .collect(),
            phase: Phase::Faults,
            phase_began: 0,
            applied_before: Index(0),
            next_media_check: 0,
            ends_before: u64::MAX,
            served: vec![Served::default(); swarm.nodes],
            has_formed: false,
            applied: Index(0),
            poison_from: None,
            is_core: vec![true; swarm.nodes],
            majority_until: 0,
            stability: Stability::default(),
            cut_from_leader: Vec::new(),
            workload,
            budget: Budget::new(swarm.nodes, swarm.destroyed_max),
            attacker,
            strangers,
            schedule: Schedule::default(),
            strikes: Vec::new(),
            faults_until: u64::MAX,
            swarm,
        };
        world.network.faults = world.network_faults();
        world.plan(strikes);
        world
    }

    /// The first events.
    fn plan(&mut self, strikes: Vec<Strike>) {
        for place in 0..self.swarm.nodes {
            let at = self.swarm.starts.get(place).copied().unwrap_or_default();
            self.at(at, Event::Start(place));
        }
        for client in 0..self.swarm.clients {
            let at = self.clients[client].rng.below(SECOND);
            self.at(at, Event::Client(client));
        }
        self.strikes = strikes;
        if self.swarm.forms_first {
            let last = self.swarm.starts.iter().take(self.swarm.nodes).max().copied().unwrap_or_default();
            self.at(last + FORMS_WITHIN, Event::Phase);
        } else {
            self.begin_faults();
        }
    }

    /// From now on things go wrong, as planned.
    fn begin_faults(&mut self) {
        self.network.faults = self.network_faults();
        for strike in std::mem::take(&mut self.strikes) {
            self.after(strike.at, Event::Strike(strike));
        }
        self.faults_until = self.now + self.swarm.faults_for;
        self.at(self.faults_until, Event::Phase);
    }

    /// Runs to the end of the run, or to the first event after `until` (virtual microseconds): what comes later is not judged.
    pub fn run(&mut self, until: u64) -> Verdict {
        #[cfg(feature = "mutants")]
        let _planted = slimcluster_core::mutants::plant(self.options.mutant);
        while self.phase != Phase::Done {
            let Some((at, event)) = self.schedule.pop() else {
                return Err(Violation::of("liveness", "nothing is left to happen"));
            };
            if at > until {
                return Ok(());
            }
            self.tick(at)?;
            self.happen(event)?;
            self.note_formed();
            self.post();
        }
        Ok(())
    }

    /// The clock moves to the next event; in a world in which something goes round in circles too slowly, or without end.
    fn tick(&mut self, at: u64) -> Verdict {
        self.now = at;
        self.checkers.now = at;
        self.network.now = at;
        self.stats.events += 1;
        let seconds = 1 + self.now / SECOND;
        if self.stats.events > seconds.saturating_mul(EVENTS_PER_SECOND_MAX) {
            let detail =
                format!("{} events in {seconds} s, more than {EVENTS_PER_SECOND_MAX} a second", self.stats.events);
            return Err(Violation::of("time goes on", detail));
        }
        if self.now > self.ends_before {
            return Err(Violation::of("a run ends", format!("{seconds} s, and no end of phase {:?}", self.phase)));
        }
        Ok(())
    }

    /// No more faults begin: from now on it is known how long the run takes at most.
    pub(crate) fn end_faults(&mut self) {
        self.ends_before = self.now + ENDS_WITHIN + 4 * replay_time(self.applied);
    }

    /// Once every place knows that the cluster is formed, things begin to go wrong in worlds that waited for it.
    fn note_formed(&mut self) {
        if !self.has_formed && (0..self.swarm.nodes).all(|place| self.checkers.stores[place].is_formed()) {
            self.has_formed = true;
            if self.swarm.forms_first {
                self.begin_faults();
            }
        }
    }

    /// Whether nothing goes wrong yet.
    pub(crate) fn is_spared(&self) -> bool {
        self.swarm.forms_first && !self.has_formed
    }

    fn happen(&mut self, event: Event) -> Verdict {
        match event {
            Event::Start(place) => self.start(place),
            Event::Step(endpoint) => self.step(endpoint),
            Event::Packet(packet) => {
                let attacks = matches!(&packet, Packet::Datagram { from_place, .. } if *from_place == self.swarm.nodes);
                let Some((endpoint, arrival)) = self.network.arrive(self.now, packet) else { return Ok(()) };
                if self.is_stranger(endpoint) {
                    return self.on_stranger(endpoint, Some(arrival.into_input()));
                }
                if self.reaches_attacker(endpoint, &arrival)? {
                    return Ok(());
                }
                if attacks {
                    self.note_hostile(endpoint, &arrival);
                }
                self.on_arrival(endpoint, arrival);
                Ok(())
            }
            Event::Written(endpoint) => self.on_written(endpoint),
            Event::Idle(endpoint, batch) => self.on_idle(endpoint, batch),
            Event::Applied(endpoint) => self.on_slice(endpoint),
            Event::Space(endpoint) => self.on_space(endpoint),
            Event::Answer(endpoint, input) => {
                self.deliver(endpoint, *input);
                Ok(())
            }
            Event::Fetch(endpoint, wanted, last, bytes_max) => self.on_fetch(endpoint, &wanted, last, bytes_max),
            Event::Client(client) => {
                self.on_client(client);
                Ok(())
            }
            Event::Strike(strike) => self.on_strike(strike),
            Event::Undo(undo) => self.on_undo(undo),
            Event::Stranger(endpoint, input) => self.on_stranger(endpoint, input.map(|input| *input)),
            Event::Phase => self.on_phase(),
        }
    }

    /// Puts what was sent during the event on its way.
    fn post(&mut self) {
        for (at, packet) in self.network.take_sent() {
            self.at(at, Event::Packet(packet));
        }
    }

    fn on_arrival(&mut self, endpoint: Endpoint, arrival: Arrival) {
        let word = match &arrival {
            Arrival::Datagram(_, bytes) => digest(bytes),
            Arrival::Connected(link) | Arrival::Accepted(link, _) | Arrival::Disconnected(link, _) => link.0,
            Arrival::Frame(link, bytes) => digest(bytes) ^ link.0,
        };
        if let Arrival::Frame(link, _) = &arrival {
            self.note_sender(endpoint, *link);
        }
        let input = arrival.into_input();
        self.trace.event(self.now, [1, endpoint.place as u64, word], || {
            let what = match &input {
                Input::Datagram { from, bytes } => format!("datagram of {} bytes from {from}", bytes.len()),
                Input::Frame { link, bytes } => format!("frame of {} bytes on link {}", bytes.len(), link.0),
                other => format!("{other:?}"),
            };
            format!("n{} <- {what}", endpoint.place + 1)
        });
        self.deliver(endpoint, input);
    }

    /// Something arrives on a link: its sender is the node at the other end, while that is known.
    fn note_sender(&mut self, endpoint: Endpoint, link: LinkId) {
        let Some(other) = self.network.other_end(endpoint, link) else { return };
        let node = self.checkers.stores.get(other.place).filter(|_| other.place < self.swarm.nodes);
        let node = node.and_then(Store::node);
        if let (Some(process), Some(node)) = (self.process(endpoint), node) {
            process.senders.entry(link).or_insert(node);
        }
    }

    /// Schedules an event.
    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.schedule.push(at.max(self.now), event);
    }

    /// Schedules an event `delay` from now.
    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Hands an input to a process, if it still runs; its next step handles it.
    pub(crate) fn deliver(&mut self, endpoint: Endpoint, input: Input) {
        if let Some(process) = self.process(endpoint) {
            process.inbox.push_back(input);
            let at = process.busy_until;
            self.wake(endpoint, at);
        }
    }

    /// Makes sure that the process takes a step at `at` or soon after, not before it is free.
    pub(crate) fn wake(&mut self, endpoint: Endpoint, at: u64) {
        let now = self.now;
        let Some(process) = self.process(endpoint) else { return };
        let at = at.max(process.busy_until).max(now);
        if process.step_at.is_none_or(|planned| at < planned) {
            process.step_at = Some(at);
            self.set_alarm(endpoint);
        }
    }

    /// Plans a look at whether the process's next step is due, unless one comes in time anyway. A deadline moves with every step, and
    /// an event for each would do nothing.
    pub(crate) fn set_alarm(&mut self, endpoint: Endpoint) {
        let Some(process) = self.process(endpoint) else { return };
        let Some(at) = process.step_at else { return };
        if process.alarms.first().is_none_or(|first| at < *first) {
            process.alarms.insert(at);
            self.at(at, Event::Step(endpoint));
        }
    }

    /// The process, if it still runs.
    pub(crate) fn process(&mut self, endpoint: Endpoint) -> Option<&mut Process> {
        self.places.get_mut(endpoint.place)?.process.as_mut().filter(|process| process.endpoint == endpoint)
    }

    /// How long something takes at `place`: uniform in `low..=low + span`.
    pub(crate) fn draw(&mut self, place: usize, (low, span): (u64, u64)) -> u64 {
        low + self.places[place].timing.below(span + 1)
    }
}
