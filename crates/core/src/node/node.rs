//! One node as a value: feeds its parts, and lets each know what the others found out.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::bootstrap::{self, Bootstrap};
use super::io::{Event, Input, LeaderInfo, Meta, Output, Refused};
use super::links::{Contact, Links};
use super::message::Hello;
use super::options::{Membership, NodeOptions};
use super::proposals::Proposals;
use super::reads::Reads;
use super::roster::Roster;
use super::stopping::Stopping;
use crate::machine::{Applied, Waiting};
use crate::mutants::mutant;
use crate::raft::{self, Raft, RecoveredLog};
use crate::random::Random;
use crate::storage::{Identity, KnownPeer, Phase, Recovered};
use crate::swim::{self, Swim};
use crate::wire::{Announcement, cluster_tag, decode_announcement, decode_datagram, encode_announcement, sizer};
use crate::{ClusterUuid, Generation, GroupId, Index, Instant, MachineId, NodeId, Nonce, WallTime, WriteSeq};

/// Announcements come this often while the node is new, then more slowly: a newcomer is found at once, an old node by newcomers.
const ANNOUNCE_FIRST: Duration = Duration::from_millis(500);
const ANNOUNCE_LATER: Duration = Duration::from_secs(5);
const NEW_FOR: Duration = Duration::from_secs(15);
/// With a static list, its names are resolved again this often.
const RESOLVE_EVERY: Duration = Duration::from_secs(2);
/// A session or a machine name is asked for again after this time without an answer.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Where a write of the node's one stream came from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Identity,
    Raft(WriteSeq),
}

/// The first number of a process for its questions and forwards: above every number of its earlier processes, so that a late answer
/// to one of those answers nothing of this one.
fn first_number(generation: Generation) -> u64 {
    if mutant!(NumbersBeginAgain) {
        return 1;
    }
    // 2^32 numbers per process start are years of one per millisecond; 2^32 starts wrap around, and no answer is that late.
    ((generation.0 & 0xffff_ffff) << 32) + 1
}

/// One node: Raft, SWIM, bootstrap and the application's requests, joined.
///
/// Feed it with [`Node::handle`], as often as inputs have arrived; then drain [`Node::poll_output`]: what arrived together goes
/// out together. Then wait for an input or for [`Node::poll_timeout`].
pub struct Node {
    pub(super) now: Instant,
    pub(super) group: GroupId,
    pub(super) options: NodeOptions,
    pub(super) identity: Identity,
    pub(super) wall: WallTime,
    pub(super) rng: Random,
    pub(super) links: Links,
    pub(super) swim: Option<Swim>,
    pub(super) roster: Option<Roster>,
    pub(super) bootstrap: Option<Bootstrap>,
    pub(super) raft: Option<Raft>,
    pub(super) proposals: Proposals,
    pub(super) reads: Reads,
    pub(super) outputs: VecDeque<Output>,
    pub(super) leader: Option<LeaderInfo>,
    /// Per peer process, the highest forward taken: a forward is appended or refused once, whatever the network repeats.
    pub(super) forwards: BTreeMap<NodeId, (Nonce, u64)>,
    pub(super) session_asked: Option<Instant>,
    /// Machines that the application registered and that have no id yet, with the time when one was last asked for.
    pub(super) unnamed: BTreeMap<String, Option<Instant>>,
    pub(super) machines: BTreeMap<String, MachineId>,
    pub(super) applied: Index,
    pub(super) waiting: Option<Waiting>,
    /// The node has seen, under the present leader, everything that was committed when it met that leader.
    pub(super) caught_up: bool,
    pub(super) last_write: WriteSeq,
    pub(super) writes: VecDeque<(WriteSeq, Source)>,
    pub(super) full: bool,
    pub(super) next_announce: Option<Instant>,
    pub(super) next_resolve: Option<Instant>,
    pub(super) remembered: Vec<KnownPeer>,
    pub(super) stopping: Option<Stopping>,
    pub(super) stopped: bool,
    pub(super) failure: Option<String>,
    pub(super) drops: BTreeMap<String, u64>,
}

impl Node {
    /// A node that goes on from what its storage recovered.
    ///
    /// Fails with the reason in words when the recovered state contradicts itself.
    pub fn new(options: NodeOptions, recovered: Recovered, rng_seed: u64, now: Instant) -> Result<Node, String> {
        let mut rng = Random::new(rng_seed);
        let mut options = options;
        options.meta.consensus = options.consensus.is_some();
        let identity = recovered.identity.clone();
        let group = GroupId::DEFAULT;
        let proposals = options.consensus.as_ref().map(|consensus| consensus.proposals).unwrap_or_default();
        let mut node = Node {
            now,
            group,
            links: Links::new(options.codec, rng.fork(1)),
            swim: None,
            roster: None,
            bootstrap: None,
            raft: None,
            proposals: Proposals::new(proposals, group, first_number(identity.generation)),
            reads: Reads::new(proposals.leader_wait, first_number(identity.generation)),
            outputs: VecDeque::new(),
            leader: None,
            forwards: BTreeMap::new(),
            session_asked: None,
            unnamed: BTreeMap::new(),
            machines: BTreeMap::new(),
            applied: Index(0),
            waiting: None,
            caught_up: false,
            last_write: WriteSeq(0),
            writes: VecDeque::new(),
            full: false,
            next_announce: options.announce.then_some(now),
            next_resolve: None,
            remembered: recovered.peers.clone(),
            stopping: None,
            stopped: false,
            failure: None,
            drops: BTreeMap::new(),
            wall: WallTime(0),
            options,
            identity,
            rng,
        };
        let known: Vec<SocketAddr> = recovered.peers.iter().map(|peer| peer.address).collect();
        for KnownPeer { id, name, address, generation, nonce } in recovered.peers.clone() {
            node.links.learn(now, id, Contact { name, address, generation, nonce });
        }
        match &node.options.membership {
            Membership::Swim(_) => {
                node.start_swim();
                if let Some(swim) = &mut node.swim {
                    swim.handle(now, swim::Input::Discovered(known));
                }
            }
            Membership::Static => {
                node.roster = Some(Roster::default());
                node.links.add_addresses(now, known);
                node.next_resolve = Some(now);
            }
        }
        if let Some(consensus) = node.options.consensus.clone() {
            if let Phase::Formed { baseline, .. } = &node.identity.phase {
                let log = RecoveredLog {
                    hard_state: recovered.hard_state,
                    baseline: baseline.clone(),
                    log: recovered.log,
                    tail: recovered.tail,
                };
                node.start_raft(log)?;
            }
            let identity = node.identity.clone();
            node.bootstrap = Some(Bootstrap::new(consensus.bootstrap, identity, node.rng.next(), now));
        }
        node.update_targets();
        Ok(node)
    }

    pub(super) fn start_swim(&mut self) {
        if let Membership::Swim(options) = &self.options.membership {
            let local = swim::Local {
                id: self.identity.node,
                name: self.options.name.clone(),
                address: self.options.address,
                generation: self.identity.generation,
                meta: self.options.meta.clone(),
            };
            let rng_seed = self.rng.next();
            self.swim = Some(Swim::new(options.clone(), local, sizer(self.options.codec), rng_seed, self.now));
        }
    }

    pub(super) fn start_raft(&mut self, log: RecoveredLog) -> Result<(), String> {
        let Some(consensus) = &self.options.consensus else { return Ok(()) };
        self.applied = log.log.base().index;
        let rng_seed = self.rng.next();
        let id = self.identity.node;
        let raft = Raft::new(consensus.raft.clone(), id, self.group, log, rng_seed, self.now);
        self.raft = Some(raft.map_err(|fatal| fatal.to_string())?);
        Ok(())
    }

    /// Takes one input. Several may follow each other before the outputs are drained.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        let now = self.now;
        if self.stopped {
            return;
        }
        match input {
            Input::Timeout => self.handle_timeout(),
            Input::WallTime(wall) => self.wall = wall,
            Input::Lateness(late) => {
                if let Some(swim) = &mut self.swim {
                    swim.handle(now, swim::Input::Lateness(late));
                }
            }
            Input::Datagram { from, bytes } => self.handle_datagram(from, &bytes),
            Input::Announcement { from, bytes } => self.handle_announcement(from, &bytes),
            Input::Discovered(addresses) => match &mut self.swim {
                Some(swim) => swim.handle(now, swim::Input::Discovered(addresses)),
                None => {
                    let own = self.options.address;
                    self.links.add_addresses(now, addresses.into_iter().filter(|address| *address != own));
                }
            },
            Input::Connected(link) => {
                let hello = self.hello();
                self.links.handle_connected(link, hello);
            }
            Input::Accepted { link, .. } => self.links.handle_accepted(now, link),
            Input::Frame { link, bytes } => {
                let own = Self::hello_of(&self.options, &self.identity, self.bootstrap.as_ref(), self.raft.as_ref());
                self.links.handle_frame(now, link, &bytes, own);
            }
            Input::Disconnected { link, .. } => self.links.handle_disconnected(now, link),
            Input::Written(seq) => self.handle_written(seq),
            Input::StorageFailed(reason) => self.fail(format!("storage failed: {reason}")),
            Input::StorageFull(full) => self.full = full,
            Input::Fetched(fetched) => self.feed_raft(raft::Input::Fetched(fetched)),
            Input::Applied(applied) => self.handle_applied(applied),
            Input::Register { name } => {
                if !self.machines.contains_key(&name) {
                    self.unnamed.entry(name).or_insert(None);
                }
            }
            Input::Submit(submit) => {
                if let Some(refused) = self.refusal() {
                    let (request, outcome) = (submit.request, super::io::Outcome::NotCommitted(refused));
                    self.outputs.push_back(Output::Submitted { request, outcome });
                } else {
                    self.proposals.submit(now, submit);
                }
            }
            Input::Resubmit { request, id } => self.proposals.resubmit(now, request, id),
            Input::Read { request } => match self.refusal().filter(|refused| *refused != Refused::Overloaded) {
                Some(refused) => self.outputs.push_back(Output::ReadReady { request, index: Err(refused) }),
                None => self.reads.read(now, request),
            },
            Input::Advertise(meta) => self.advertise(meta),
            Input::Shutdown => self.stop(false),
            Input::Leave if self.raft.is_some() => {
                self.warn("a voter cannot leave yet: configurations do not change in this version".to_owned());
            }
            Input::Leave => self.stop(true),
        }
    }

    /// The next thing to do; none when all is done until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() && !self.stopped {
            self.settle();
        }
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`] if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        [
            self.raft.as_ref().and_then(Raft::poll_timeout),
            self.swim.as_ref().and_then(Swim::poll_timeout),
            self.bootstrap.as_ref().and_then(Bootstrap::poll_timeout),
            self.roster.as_ref().and_then(Roster::poll_timeout),
            self.links.poll_timeout(),
            self.proposals.poll_timeout(),
            self.reads.poll_timeout(),
            self.next_announce,
            self.next_resolve,
            self.next_ask(),
            self.stopping.map(|stopping| stopping.deadline(self.now)),
        ]
        .into_iter()
        .flatten()
        .min()
        // Some parts say "at once" by a time long ago. The host tells from the deadline how late it is, and the failure detector waits
        // longer for a host that was late: what fell due with the last input is not late.
        .map(|due| due.max(self.now))
    }

    fn handle_timeout(&mut self) {
        let now = self.now;
        self.feed_raft(raft::Input::Timeout);
        if let Some(swim) = &mut self.swim {
            swim.handle(now, swim::Input::Timeout);
        }
        if let Some(bootstrap) = &mut self.bootstrap {
            bootstrap.handle(now, bootstrap::Input::Timeout);
        }
        if let Some(roster) = &mut self.roster {
            let links = &self.links;
            roster.handle_timeout(now, |id| links.is_up(id) || links.proven(id).is_some());
        }
        self.links.handle_timeout(now);
        self.proposals.handle_timeout(now);
        self.reads.handle_timeout(now);
        if self.next_announce.is_some_and(|at| at <= now) {
            let announcement = Announcement { node: self.identity.node, port: self.options.address.port() };
            let tag = cluster_tag(&self.identity.cluster_id);
            self.outputs.push_back(Output::Announce(encode_announcement(tag, self.identity.generation, &announcement)));
            let pause = if now.since(Instant::ZERO) < NEW_FOR { ANNOUNCE_FIRST } else { ANNOUNCE_LATER };
            self.next_announce = Some(now + self.rng.duration(pause / 2, pause));
        }
        if self.next_resolve.is_some_and(|at| at <= now) {
            self.outputs.push_back(Output::Discover);
            self.next_resolve = Some(now + RESOLVE_EVERY);
        }
    }

    fn handle_datagram(&mut self, from: SocketAddr, bytes: &Bytes) {
        let Some(swim) = &mut self.swim else { return };
        match decode_datagram(cluster_tag(&self.identity.cluster_id), bytes) {
            Ok((envelope, message)) => {
                let (sender, generation) = (envelope.sender, envelope.generation);
                swim.handle(self.now, swim::Input::Message { from, sender, generation, message });
            }
            Err(reason) => *self.drops.entry(format!("datagram: {reason:?}")).or_default() += 1,
        }
    }

    fn handle_announcement(&mut self, from: SocketAddr, bytes: &Bytes) {
        match decode_announcement(cluster_tag(&self.identity.cluster_id), bytes) {
            Ok(announcement) if announcement.node != self.identity.node => {
                let address = SocketAddr::new(from.ip(), announcement.port);
                match &mut self.swim {
                    Some(swim) => swim.handle(self.now, swim::Input::Announced(address)),
                    None => self.links.add_addresses(self.now, [address]),
                }
            }
            Ok(_) => {}
            Err(reason) => *self.drops.entry(format!("announcement: {reason:?}")).or_default() += 1,
        }
    }

    fn handle_written(&mut self, seq: WriteSeq) {
        let (mut written, mut identity) = (None, false);
        while self.writes.front().is_some_and(|(pending, _)| *pending <= seq) {
            let Some((_, source)) = self.writes.pop_front() else { break };
            match source {
                Source::Raft(seq) => written = Some(seq),
                Source::Identity => identity = true,
            }
        }
        if identity && let Some(bootstrap) = &mut self.bootstrap {
            bootstrap.handle(self.now, bootstrap::Input::IdentityWritten);
        }
        if let Some(seq) = written {
            self.feed_raft(raft::Input::Written(seq));
        }
    }

    fn handle_applied(&mut self, applied: Applied) {
        self.applied = self.applied.max(applied.through);
        self.waiting = applied.waiting;
        self.feed_raft(raft::Input::Applied(applied.through));
        if let Some(session) = applied.session {
            self.proposals.opened(session);
            self.session_asked = None;
        }
        for (name, id) in applied.machines {
            self.unnamed.remove(&name);
            self.machines.insert(name, id);
        }
        for (id, index, outcome) in applied.outcomes {
            self.proposals.applied(id, index, outcome);
        }
    }

    fn advertise(&mut self, meta: Meta) {
        self.options.meta = Meta { consensus: self.options.consensus.is_some(), ..meta };
        match &mut self.swim {
            Some(swim) => swim.handle(self.now, swim::Input::SetMeta(self.options.meta.clone())),
            // Without gossip the greeting carries it.
            None => self.links.restart(self.now),
        }
    }

    pub(super) fn feed_raft(&mut self, input: raft::Input) {
        if let Some(raft) = &mut self.raft {
            raft.handle(self.now, input);
        }
    }

    /// Why the application's requests are not taken now, if they are not.
    fn refusal(&self) -> Option<Refused> {
        if self.failure.is_some() || self.options.consensus.is_none() {
            Some(Refused::Failed)
        } else if self.stopping.is_some() {
            Some(Refused::ShuttingDown)
        } else if self.full {
            Some(Refused::Overloaded)
        } else {
            None
        }
    }

    pub(super) fn fail(&mut self, reason: String) {
        if self.failure.is_some() {
            return;
        }
        self.raft = None;
        self.bootstrap = None;
        self.leader = None;
        self.caught_up = false;
        self.proposals.shut_down(Refused::Failed);
        self.reads.shut_down(Refused::Failed);
        self.outputs.push_back(Output::Event(Event::LeaderChanged(None)));
        self.outputs.push_back(Output::Event(Event::ConsensusStopped(reason.clone())));
        self.failure = Some(reason);
    }

    pub(super) fn warn(&mut self, text: String) {
        self.outputs.push_back(Output::Event(Event::Warning(text)));
    }

    /// What this node says about itself when a link begins.
    pub(super) fn hello(&self) -> Hello {
        Self::hello_of(&self.options, &self.identity, self.bootstrap.as_ref(), self.raft.as_ref())()
    }

    fn hello_of<'a>(
        options: &'a NodeOptions,
        identity: &'a Identity,
        bootstrap: Option<&'a Bootstrap>,
        raft: Option<&'a Raft>,
    ) -> impl Fn() -> Hello + 'a {
        move || Hello {
            cluster_id: identity.cluster_id.clone(),
            uuid: uuid_of(identity, bootstrap),
            from: identity.node,
            to: None,
            name: options.name.clone(),
            address: options.address,
            generation: identity.generation,
            nonce: options.nonce,
            last: raft.map(Raft::last).unwrap_or_default(),
            meta: options.meta.clone(),
            bootstrap: bootstrap.map(Bootstrap::hello),
        }
    }

    /// The cluster that this node belongs to, or has met and waits to join.
    pub(super) fn uuid(&self) -> Option<ClusterUuid> {
        uuid_of(&self.identity, self.bootstrap.as_ref())
    }
}

pub(super) fn uuid_of(identity: &Identity, bootstrap: Option<&Bootstrap>) -> Option<ClusterUuid> {
    match &identity.phase {
        Phase::Formed { uuid, .. } => Some(*uuid),
        _ => bootstrap.and_then(Bootstrap::uuid),
    }
}
