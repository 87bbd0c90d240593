//! The bootstrap checked exhaustively, within bounds: every order of deliveries, losses, repetitions, timeouts, crashes, writes that
//! a crash completes or prevents, wiped disks and links that come and go, over the very code that nodes run.
//!
//! Time is a choice, not a number: all waiting times are zero, and whether a deadline has passed is a step of its own. A link
//! remembers what was said on it since it came up and may deliver any of it at any moment, any number of times, or never.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use slimcluster_core::node::bootstrap::{Bootstrap, BootstrapOptions, Claim, Hello, Input, Message, Output};
use slimcluster_core::random::Random;
use slimcluster_core::storage::{Identity, Phase};
use slimcluster_core::types::StoreId;
use slimcluster_core::{ClusterUuid, Durability, Generation, Instant, NodeId};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

const NOW: Instant = Instant::ZERO;

/// How much may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Budget {
    crashes: u8,
    wipes: u8,
    cuts: u8,
    /// Ids given up.
    renewals: u8,
}

#[derive(Clone, Debug)]
struct Slot {
    disk: Identity,
    writing: Option<Identity>,
    process: Option<Bootstrap>,
}

/// One direction of a link.
#[derive(Clone, Debug)]
struct Channel {
    /// The speaker's id when the link was made.
    from: NodeId,
    handshake: Option<Hello>,
    said: Vec<Message>,
}

/// What has ever been durable.
#[derive(Clone, Debug, Default)]
struct History {
    promised: BTreeMap<NodeId, ClusterUuid>,
    /// Per cluster its founding set, and the members that have been formed.
    formed: BTreeMap<ClusterUuid, (Vec<NodeId>, BTreeSet<NodeId>)>,
    /// Ids of which nobody can say any more that they were given up.
    wiped: BTreeSet<NodeId>,
}

#[derive(Clone)]
struct World {
    node_count: usize,
    slots: Vec<Rc<Slot>>,
    channels: BTreeMap<(usize, usize), Rc<Channel>>,
    history: Rc<History>,
    budget: Budget,
    // Of each slot and channel, kept so that only what a step changes is hashed again.
    hashes: BTreeMap<(usize, usize), u128>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Connect(usize, usize),
    Cut(usize, usize),
    Handshake(usize, usize),
    Deliver(usize, usize, usize),
    Timeout(usize),
    Written(usize),
    /// A crash, after which a write that was under way is durable or not.
    Crash(usize, bool),
    Start(usize),
    Wipe(usize),
}

fn options(slot: usize, node_count: usize) -> BootstrapOptions {
    BootstrapOptions {
        settle: Duration::ZERO,
        release: Duration::ZERO,
        resend: Duration::ZERO,
        ..BootstrapOptions::new(format!("n{slot}"), node_count, Durability::Fsync)
    }
}

fn fresh(slot: usize, wipes: usize) -> Identity {
    Identity {
        node: NodeId((1 + slot + 10 * wipes) as u128),
        store: StoreId(0),
        cluster_id: "model".to_owned(),
        generation: Generation(1),
        phase: Phase::Fresh,
        abandoned: Vec::new(),
    }
}

impl World {
    fn new(slots: usize, node_count: usize, budget: Budget) -> World {
        let slot = |i| Rc::new(Slot { disk: fresh(i, 0), writing: None, process: None });
        let mut world = World {
            node_count,
            slots: (0..slots).map(slot).collect(),
            channels: BTreeMap::new(),
            history: Rc::default(),
            budget,
            hashes: BTreeMap::new(),
        };
        (0..slots).for_each(|i| world.start(i));
        world
    }

    fn start(&mut self, i: usize) {
        let slot = Rc::make_mut(&mut self.slots[i]);
        // Another sequence of ids after each one that was used.
        let seed = (i, slot.disk.node, slot.disk.abandoned.len());
        let rng_seed = xxh3_64(format!("{seed:?}").as_bytes());
        slot.process = Some(Bootstrap::new(options(i, self.node_count), slot.disk.clone(), rng_seed, NOW));
        self.drain(i);
    }

    fn handle(&mut self, i: usize, input: Input) {
        if let Some(process) = &mut Rc::make_mut(&mut self.slots[i]).process {
            process.handle(NOW, input);
            self.drain(i);
        }
    }

    fn drain(&mut self, i: usize) {
        let mut has_new_id = false;
        loop {
            let slot = Rc::make_mut(&mut self.slots[i]);
            let Some(output) = slot.process.as_mut().and_then(Bootstrap::poll_output) else { break };
            match output {
                Output::Send { to, message } => self.say(i, to, message),
                Output::WriteIdentity(identity) => {
                    assert_eq!(slot.writing, None, "one write at a time");
                    slot.writing = Some(identity);
                }
                Output::Formed { uuid, baseline } => {
                    assert_eq!(slot.disk.phase, Phase::Formed { uuid, baseline }, "said before it was durable");
                }
                Output::NewIdentity(identity) => {
                    assert_eq!(slot.disk, identity, "said before it was durable");
                    has_new_id = true;
                }
                Output::Warning(_) => {}
            }
        }
        self.rehash_slot(i);
        if has_new_id {
            (0..self.slots.len()).for_each(|j| self.cut(i, j));
        }
    }

    fn say(&mut self, i: usize, to: NodeId, message: Message) {
        let listener = (0..self.slots.len()).find(|j| self.channels.get(&(*j, i)).is_some_and(|back| back.from == to));
        if let Some(j) = listener
            && let Some(channel) = self.channels.get_mut(&(i, j)).filter(|channel| !channel.said.contains(&message))
        {
            // A link keeps its order: only the newest of a kind may still come. (Older ones came before, or never.)
            let channel = Rc::make_mut(channel);
            channel.said.retain(|said| std::mem::discriminant(said) != std::mem::discriminant(&message));
            channel.said.push(message);
            channel.said.sort();
            self.rehash_channel(i, j);
        }
    }

    fn cut(&mut self, i: usize, j: usize) {
        for (speaker, listener) in [(i, j), (j, i)] {
            self.hashes.remove(&(1 + speaker, listener));
            if let Some(channel) = self.channels.remove(&(speaker, listener)) {
                self.handle(listener, Input::PeerGone(channel.from));
            }
        }
    }

    fn rehash_slot(&mut self, i: usize) {
        let slot = &self.slots[i];
        let mut text = String::with_capacity(4096);
        let _ = write!(text, "{:?}{:?}{:?}", slot.disk, slot.writing, slot.process);
        self.hashes.insert((0, i), xxh3_128(text.as_bytes()));
    }

    fn rehash_channel(&mut self, i: usize, j: usize) {
        let text = format!("{:?}", self.channels.get(&(i, j)));
        self.hashes.insert((1 + i, j), xxh3_128(text.as_bytes()));
    }

    fn hash(&self) -> u128 {
        let mut bytes = Vec::with_capacity(512);
        for ((a, b), hash) in &self.hashes {
            bytes.extend([*a as u8, *b as u8]);
            bytes.extend(hash.to_le_bytes());
        }
        let Budget { crashes, wipes, cuts, renewals } = self.budget;
        bytes.extend([crashes, wipes, cuts, renewals]);
        bytes.extend(format!("{:?}", self.history).as_bytes());
        xxh3_128(&bytes)
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (i, slot) in self.slots.iter().enumerate() {
            let Some(process) = &slot.process else {
                steps.push(Step::Start(i));
                if self.budget.wipes > 0 {
                    steps.push(Step::Wipe(i));
                }
                continue;
            };
            if process.poll_timeout().is_some() {
                steps.push(Step::Timeout(i));
            }
            if slot.writing.is_some() {
                steps.push(Step::Written(i));
            }
            if self.budget.crashes > 0 {
                steps.push(Step::Crash(i, false));
                if slot.writing.is_some() {
                    steps.push(Step::Crash(i, true));
                }
            }
            for j in (i + 1..self.slots.len()).filter(|j| self.slots[*j].process.is_some()) {
                match self.channels.contains_key(&(i, j)) {
                    false => steps.push(Step::Connect(i, j)),
                    true if self.budget.cuts > 0 => steps.push(Step::Cut(i, j)),
                    true => {}
                }
            }
        }
        for ((i, j), channel) in &self.channels {
            match channel.handshake {
                Some(_) => steps.push(Step::Handshake(*i, *j)),
                None => steps.extend((0..channel.said.len()).map(|k| Step::Deliver(*i, *j, k))),
            }
        }
        steps
    }

    /// Ids given up so far, or about to be.
    fn renewals(&self) -> usize {
        self.slots.iter().map(|slot| slot.writing.as_ref().unwrap_or(&slot.disk).abandoned.len()).sum()
    }

    /// The world after `step`; none when the budget does not cover what it would cause.
    fn after(&self, step: Step) -> Option<World> {
        let mut world = self.clone();
        world.take(step);
        let spent = world.renewals().saturating_sub(self.renewals());
        world.budget.renewals = world.budget.renewals.checked_sub(spent as u8)?;
        Some(world)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Connect(i, j) => {
                for (a, b) in [(i, j), (j, i)] {
                    let handshake = self.slots[a].process.as_ref().map(Bootstrap::hello);
                    let channel = Channel { from: self.slots[a].disk.node, handshake, said: Vec::new() };
                    self.channels.insert((a, b), Rc::new(channel));
                    self.rehash_channel(a, b);
                }
            }
            Step::Cut(i, j) => {
                self.budget.cuts = self.budget.cuts.saturating_sub(1);
                self.cut(i, j);
            }
            Step::Handshake(i, j) => {
                let Some(channel) = self.channels.get_mut(&(i, j)) else { return };
                let (id, hello) = (channel.from, Rc::make_mut(channel).handshake.take());
                self.rehash_channel(i, j);
                if let Some(hello) = hello {
                    self.handle(j, Input::PeerHello { id, hello });
                }
            }
            Step::Deliver(i, j, k) => {
                let channel = &self.channels[&(i, j)];
                let (from, message) = (channel.from, channel.said[k].clone());
                self.handle(j, Input::Message { from, message });
            }
            Step::Timeout(i) => self.handle(i, Input::Timeout),
            Step::Written(i) => {
                if self.persist(i) {
                    self.handle(i, Input::IdentityWritten);
                }
            }
            Step::Crash(i, is_written) => {
                self.budget.crashes = self.budget.crashes.saturating_sub(1);
                if is_written {
                    self.persist(i);
                }
                let slot = Rc::make_mut(&mut self.slots[i]);
                (slot.process, slot.writing) = (None, None);
                self.rehash_slot(i);
                (0..self.slots.len()).for_each(|j| self.cut(i, j));
            }
            Step::Start(i) => self.start(i),
            Step::Wipe(i) => {
                self.budget.wipes = self.budget.wipes.saturating_sub(1);
                let history = Rc::make_mut(&mut self.history);
                // With the disk goes what would have told others of ids given up.
                let disk = &self.slots[i].disk;
                history.wiped.extend(disk.abandoned.iter().map(|abandoned| abandoned.node).chain([disk.node]));
                let wipes = history.wiped.len();
                Rc::make_mut(&mut self.slots[i]).disk = fresh(i, wipes);
                self.rehash_slot(i);
            }
        }
    }

    /// Completes the write that is under way. False when there is none.
    fn persist(&mut self, i: usize) -> bool {
        let slot = Rc::make_mut(&mut self.slots[i]);
        let Some(identity) = slot.writing.take() else { return false };
        slot.disk = identity;
        let (node, history) = (slot.disk.node, Rc::make_mut(&mut self.history));
        match &slot.disk.phase {
            Phase::Promised(_) => {
                let reader = Bootstrap::new(options(i, self.node_count), slot.disk.clone(), 0, NOW);
                let Claim::Promised { uuid } = reader.hello().claim else { panic!("a promise that is not claimed") };
                assert_eq!(history.promised.insert(node, uuid), None, "node {node:?} promised twice");
            }
            Phase::Formed { uuid, baseline } => {
                let members = baseline.nodes().iter().map(|node| node.id).collect();
                history.formed.entry(*uuid).or_insert_with(|| (members, BTreeSet::new())).1.insert(node);
            }
            Phase::Fresh | Phase::JoinOnly { .. } => {}
        }
        self.rehash_slot(i);
        true
    }

    /// What must hold in every state; `never_two` where no more nodes take part than are expected, and a minority lost its disk.
    fn check(&self, never_two: bool) -> Result<(), String> {
        let formed: Vec<_> = self.history.formed.iter().collect();
        for (at, (uuid, (members, who))) in formed.iter().enumerate() {
            if let Some(id) = members.iter().find(|id| self.history.promised.get(id) != Some(uuid)) {
                return Err(format!("{uuid:?} formed without the promise of {id:?}"));
            }
            for (other, (theirs, they)) in &formed[at + 1..] {
                if members.iter().any(|id| theirs.contains(id)) {
                    return Err(format!("{uuid:?} and {other:?} share a node id, and both formed"));
                }
                if never_two && who.len() > members.len() / 2 && they.len() > theirs.len() / 2 {
                    return Err(format!("{uuid:?} and {other:?} both had a majority"));
                }
            }
            let left = |id: &NodeId| self.slots.iter().any(|slot| slot.disk.abandoned.iter().any(|a| a.node == *id));
            if who.len() > members.len() / 2 && who.iter().any(left) {
                return Err(format!("a node left {uuid:?}, of which a majority had formed"));
            }
        }
        Ok(())
    }

    /// Starts and connects everybody, completes every write and delivers everything, until nothing changes.
    fn settle(&mut self) {
        let n = self.slots.len();
        for _ in 0..200 {
            let before = self.hash();
            for i in 0..n {
                if self.slots[i].process.is_none() {
                    self.take(Step::Start(i));
                }
                self.take(Step::Written(i));
            }
            for (i, j) in (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))) {
                if !self.channels.contains_key(&(i, j)) {
                    self.take(Step::Connect(i, j));
                }
            }
            for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
                self.take(Step::Handshake(i, j));
                let mut k = 0;
                while self.channels.get(&(i, j)).is_some_and(|channel| k < channel.said.len()) {
                    self.take(Step::Deliver(i, j, k));
                    k += 1;
                }
            }
            if self.hash() == before {
                return;
            }
        }
        panic!("the nodes never fall silent");
    }

    /// From here on nothing goes wrong: does everybody end in one cluster?
    fn converges(&self) -> Result<(), String> {
        let mut world = self.clone();
        for _ in 0..12 {
            for i in 0..world.slots.len() {
                world.settle();
                world.take(Step::Timeout(i));
            }
            world.settle();
            if world.is_one_cluster() {
                return Ok(());
            }
        }
        // The known limit: a member formed, another gave up, and a third lost its disk.
        let wiped = |slot: &Rc<Slot>| match &slot.disk.phase {
            Phase::Formed { baseline, .. } => world.history.wiped.iter().any(|id| baseline.contains(*id)),
            _ => false,
        };
        if world.slots.iter().any(wiped) {
            return Ok(());
        }
        let mut text = "stuck:".to_owned();
        for slot in &world.slots {
            let waiting = slot.process.as_ref().map(Bootstrap::waiting).unwrap_or_default();
            let Identity { node, phase, abandoned, .. } = &slot.disk;
            let _ = write!(text, "\n{node:?} {phase:?} abandoned={abandoned:?}: {waiting}");
        }
        Err(text)
    }

    fn is_one_cluster(&self) -> bool {
        let cluster = |slot: &Rc<Slot>| match &slot.disk.phase {
            Phase::Formed { uuid, .. } | Phase::JoinOnly { uuid } => Some(*uuid),
            _ => None,
        };
        let first = cluster(&self.slots[0]);
        let formed = self.slots.iter().filter(|slot| matches!(slot.disk.phase, Phase::Formed { .. })).count();
        first.is_some() && self.slots.iter().all(|slot| cluster(slot) == first) && formed > self.node_count / 2
    }
}

/// What a search has seen, to show that it is not vacuous.
#[derive(Debug, Default)]
struct Found {
    states: usize,
    run_to_the_end: usize,
    in_one_cluster: usize,
    after_giving_up: usize,
    two_sets_formed: usize,
    complete: bool,
}

/// Breadth first, so that a failure comes with a shortest trace. Of the states, one in `every` is run to its end without faults.
fn explore(start: World, states_max: usize, every: u64, never_two: bool) -> Found {
    let mut seen = BTreeSet::from([start.hash()]);
    let mut parents: Vec<(usize, Option<Step>)> = vec![(0, None)];
    let mut queue = VecDeque::from([(0, start)]);
    let mut found = Found { complete: true, ..Found::default() };
    while let Some((at, world)) = queue.pop_front() {
        found.states += 1;
        found.in_one_cluster += usize::from(world.is_one_cluster());
        found.after_giving_up += usize::from(world.slots.iter().any(|slot| !slot.disk.abandoned.is_empty()));
        found.two_sets_formed += usize::from(world.history.formed.len() > 1);
        let mut verdict = world.check(never_two);
        if never_two && (world.hash() as u64).is_multiple_of(every) {
            found.run_to_the_end += 1;
            verdict = verdict.and_then(|()| world.converges());
        }
        if let Err(failure) = verdict {
            let (mut trace, mut at) = (Vec::new(), at);
            while let (parent, Some(step)) = parents[at] {
                trace.push(format!("{step:?}"));
                at = parent;
            }
            trace.reverse();
            panic!("{failure}\nafter:\n{}", trace.join("\n"));
        }
        for step in world.steps() {
            if seen.len() >= states_max {
                found.complete = false;
                break;
            }
            if let Some(next) = world.after(step)
                && seen.insert(next.hash())
            {
                parents.push((at, Some(step)));
                queue.push_back((parents.len() - 1, next));
            }
        }
    }
    println!("{found:?}");
    found
}

/// One long random path: rarer than the search, and much deeper.
fn wander(mut world: World, rng_seed: u64, steps: usize, never_two: bool) -> World {
    let mut rng = Random::new(rng_seed);
    let mut trace = Vec::new();
    for _ in 0..steps {
        // A kind first: there are many more deliveries than anything else, most of them of things known.
        let kind = rng.below(10);
        let steps: Vec<Step> = world
            .steps()
            .into_iter()
            .filter(|step| match step {
                Step::Deliver(..) => kind < 3,
                Step::Handshake(..) | Step::Connect(..) => (3..6).contains(&kind),
                Step::Written(_) | Step::Start(_) => (5..7).contains(&kind),
                Step::Timeout(_) => (7..9).contains(&kind),
                Step::Crash(..) | Step::Cut(..) | Step::Wipe(_) => kind == 9 && rng.chance(1, 3),
            })
            .collect();
        let Some(step) = rng.pick(&steps).copied() else { continue };
        let Some(next) = world.after(step) else { continue };
        world = next;
        trace.push(step);
        if let Err(failure) = world.check(never_two) {
            panic!("seed {rng_seed}: {failure}\nafter:\n{trace:?}");
        }
    }
    if never_two && let Err(failure) = world.converges() {
        panic!("seed {rng_seed}: {failure}\nafter:\n{trace:?}");
    }
    world
}

#[test]
fn two_nodes() {
    let budget = Budget { crashes: 1, wipes: 0, cuts: 1, renewals: 2 };
    let found = explore(World::new(2, 2, budget), 60_000, 97, true);
    assert!(found.in_one_cluster > 0 && found.after_giving_up > 0 && found.two_sets_formed > 0);
}

#[test]
fn three_nodes_from_the_moment_before_they_promise() {
    let mut start = World::new(3, 3, Budget { crashes: 1, wipes: 1, cuts: 1, renewals: 2 });
    start.settle();
    let found = explore(start, 60_000, 97, true);
    assert!(found.states >= 60_000 && found.after_giving_up > 0);
}

#[test]
fn three_nodes_from_promises_that_nobody_heard() {
    let mut start = World::new(3, 3, Budget { crashes: 1, wipes: 1, cuts: 2, renewals: 3 });
    start.settle();
    (0..3).for_each(|i| start.take(Step::Timeout(i)));
    (0..3).for_each(|i| start.take(Step::Written(i)));
    let found = explore(start, 60_000, 97, true);
    assert!(found.states >= 60_000 && found.after_giving_up > 0);
}

#[test]
fn long_random_paths_of_three_nodes() {
    let (mut formed, mut formed_twice, mut gave_up) = (0, 0, 0);
    for rng_seed in 0..1_000 {
        let budget = Budget { crashes: 4, wipes: (rng_seed % 2) as u8, cuts: 4, renewals: 6 };
        let mut start = World::new(3, 3, budget);
        if rng_seed % 4 < 2 {
            start.settle();
        }
        let world = wander(start, rng_seed, 400, true);
        formed += usize::from(!world.history.formed.is_empty());
        formed_twice += usize::from(world.history.formed.len() > 1);
        gave_up += usize::from(world.renewals() > 0);
    }
    println!("{formed} paths formed a set, {formed_twice} formed two, {gave_up} gave something up");
    assert!(formed > 0 && gave_up > 0);
}

// More nodes than expected may form two clusters when they cannot see each other; what holds for them is that no id is in two.
#[test]
fn long_random_paths_of_five_nodes_for_three() {
    for rng_seed in 0..100 {
        let budget = Budget { crashes: 4, wipes: 2, cuts: 6, renewals: 6 };
        wander(World::new(5, 3, budget), rng_seed, 500, false);
    }
}
