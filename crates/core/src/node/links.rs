//! Links: who is dialled, when, and who they prove to be.
//!
//! Each node dials every peer that it needs and sends on the links that it dialled; what it receives comes on the links that
//! others dialled. So no two nodes ever argue about which of two connections to keep, and each side alone decides about its own.
//! A link begins with `Hello`, answered by `Welcome` or `Refused`; what a peer claims counts only once that is done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::io::{Lane, LinkId, Output};
use super::message::{Hello, PeerMessage, Refusal};
use crate::mutants::mutant;
use crate::random::Random;
use crate::situations::{Situation, sometimes};
use crate::wire::{Assembler, Codec, decode_peer_message, encode_peer_message};
use crate::{Generation, Instant, NodeId, Nonce};

/// A link that has not proven its peer by then is closed: time for a slow connect and one round trip.
const PROOF_WITHIN: Duration = Duration::from_secs(3);
/// First pause after a failed attempt; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause: a peer that comes back is found within about this time.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// An address that turned out to be our own, or not to be of our cluster, is tried again after this time: it may have changed hands.
const PAUSE_STRANGER: Duration = Duration::from_secs(10);
/// Most links at once. Two per peer are used; beyond this newcomers are closed at once.
const LINKS_MAX: usize = 1024;
/// Nodes whose addresses are kept. Ids come and go with wiped disks; beyond this, those that no link is needed to are forgotten.
const CONTACTS_MAX: usize = 4_096;
/// Most addresses without a known node that are dialled.
const ADDRESSES_MAX: usize = 256;

/// What happened on the links, for the node.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// We can send to this peer; this is what it said about itself.
    Up(Box<Hello>),
    /// A peer dialled us and said this about itself.
    Heard(Box<Hello>),
    /// We can no longer send to this peer. True when its process went away, as far as the transport can tell.
    Down(NodeId),
    /// A link on which we received is gone: whoever dialled it may need no link from us any more.
    Unheard,
    /// A message from a proven peer.
    Message(NodeId, Box<PeerMessage>),
    /// A line for the log.
    Warning(String),
}

/// What is known of how to reach a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contact {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) generation: Generation,
    pub(super) nonce: Nonce,
}

#[derive(Debug)]
struct Link {
    state: State,
    assembler: Assembler,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// Dialled; `Hello` goes out when it is up.
    Dialling { expected: Option<NodeId>, to: SocketAddr, up: bool },
    /// Dialled and welcomed: we send.
    Outbound { peer: NodeId, nonce: Nonce, to: SocketAddr },
    /// Accepted, nothing proven yet.
    Accepted,
    /// Accepted and proven: we receive. Keeps what the peer said, for the uuid it proved.
    Inbound(Box<Hello>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Node(NodeId),
    Address(SocketAddr),
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    failures: u32,
    next: Instant,
}

/// All links of a node.
// Invariant: `outbound[peer]` names a link in state `Outbound { peer, .. }`, and every such link is named there.
#[derive(Debug)]
pub(super) struct Links {
    codec: Codec,
    rng: Random,
    last_dialled: u64,
    links: BTreeMap<LinkId, Link>,
    outbound: BTreeMap<NodeId, LinkId>,
    contacts: BTreeMap<NodeId, Contact>,
    targets: BTreeSet<NodeId>,
    addresses: BTreeSet<SocketAddr>,
    attempts: BTreeMap<Target, Attempt>,
    outputs: VecDeque<Output>,
    events: VecDeque<LinkEvent>,
    warned: BTreeSet<String>,
    /// Frames refused, by reason.
    pub(super) drops: BTreeMap<String, u64>,
}

impl Links {
    pub(super) fn new(codec: Codec, rng: Random) -> Self {
        Links {
            codec,
            rng,
            last_dialled: 0,
            links: BTreeMap::new(),
            outbound: BTreeMap::new(),
            contacts: BTreeMap::new(),
            targets: BTreeSet::new(),
            addresses: BTreeSet::new(),
            attempts: BTreeMap::new(),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            warned: BTreeSet::new(),
            drops: BTreeMap::new(),
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Sends on the peer's outbound link; false when there is none.
    pub(super) fn send(&mut self, to: NodeId, lane: Lane, message: &PeerMessage) -> bool {
        let Some(&link) = self.outbound.get(&to) else {
            return false;
        };
        self.send_on(link, lane, message);
        true
    }

    pub(super) fn is_up(&self, peer: NodeId) -> bool {
        self.outbound.contains_key(&peer)
    }

    pub(super) fn contacts(&self) -> &BTreeMap<NodeId, Contact> {
        &self.contacts
    }

    /// Learns where a node is. Of two claims that of the higher generation counts, of equal ones the newer.
    pub(super) fn learn(&mut self, now: Instant, id: NodeId, contact: Contact) {
        let known = self.contacts.get(&id);
        if known.is_some_and(|known| known.generation > contact.generation) {
            return;
        }
        let moved =
            known.is_none_or(|known| known.address != contact.address || known.generation != contact.generation);
        if known.is_none() && self.contacts.len() >= CONTACTS_MAX {
            self.contacts.retain(|id, _| self.targets.contains(id));
        }
        self.contacts.insert(id, contact);
        if moved && self.targets.contains(&id) && !self.is_up(id) {
            self.attempts.insert(Target::Node(id), Attempt { failures: 0, next: now });
        }
    }

    /// The nodes that we need links to. Links to others are left to end by themselves.
    pub(super) fn set_targets(&mut self, targets: BTreeSet<NodeId>) {
        self.targets = targets;
        self.attempts.retain(|target, _| match target {
            Target::Node(id) => self.targets.contains(id),
            Target::Address(address) => self.addresses.contains(address),
        });
    }

    /// Addresses behind which there may be nodes that we do not know yet.
    pub(super) fn add_addresses(&mut self, now: Instant, addresses: impl IntoIterator<Item = SocketAddr>) {
        for address in addresses {
            if self.addresses.len() < ADDRESSES_MAX && self.addresses.insert(address) {
                self.attempts.insert(Target::Address(address), Attempt { failures: 0, next: now });
            }
        }
    }

    /// Closes everything and starts over: the node speaks as somebody else from here on, or for another cluster.
    pub(super) fn restart(&mut self, now: Instant) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.close(link);
        }
        for attempt in self.attempts.values_mut() {
            *attempt = Attempt { failures: 0, next: now };
        }
    }

    /// Dials whoever is due and closes what has not proven itself in time.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let late: Vec<LinkId> =
            self.links.iter().filter(|(_, l)| l.deadline.is_some_and(|at| at <= now)).map(|(id, _)| *id).collect();
        for id in late {
            sometimes(Situation::ProofLate);
            self.failed(now, id);
            self.close(id);
        }
        for (target, to) in self.due(now) {
            self.dial(now, target, to);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let proofs = self.links.values().filter_map(|link| link.deadline);
        let dials = self.wanted().map(|(target, _)| self.attempts.get(&target).map_or(Instant::ZERO, |a| a.next));
        proofs.chain(dials).min()
    }

    fn due(&self, now: Instant) -> Vec<(Target, SocketAddr)> {
        self.wanted().filter(|(target, _)| self.attempts.get(target).is_none_or(|a| a.next <= now)).collect()
    }

    /// Targets that have no link, neither proven nor in the making.
    fn wanted(&self) -> impl Iterator<Item = (Target, SocketAddr)> + '_ {
        // Asked at every step, when next to everything has its link: two passes over the links for each target that has none cost
        // less than a set of all links each time.
        let dialling =
            |address| self.links.values().any(|link| matches!(link.state, State::Dialling { to, .. } if to == address));
        let reached =
            |address| self.links.values().any(|link| matches!(link.state, State::Outbound { to, .. } if to == address));
        let nodes = self
            .targets
            .iter()
            .filter(|id| !self.is_up(**id))
            .filter_map(|id| self.contacts.get(id).map(|contact| (Target::Node(*id), contact.address)));
        let addresses = self.addresses.iter().map(|address| (Target::Address(*address), *address));
        nodes.chain(addresses.filter(move |(_, to)| !reached(*to))).filter(move |(_, to)| !dialling(*to))
    }

    fn dial(&mut self, now: Instant, target: Target, to: SocketAddr) {
        if self.links.len() >= LINKS_MAX {
            return;
        }
        let failures = self.attempts.get(&target).map_or(0, |attempt| attempt.failures);
        self.pause(now, target, failures + 1);
        self.last_dialled = if self.last_dialled == 0 { 1 } else { self.last_dialled + 2 };
        let link = LinkId(self.last_dialled);
        let expected = if let Target::Node(id) = target { Some(id) } else { None };
        let state = State::Dialling { expected, to, up: false };
        self.links.insert(link, Link { state, assembler: Assembler::unproven(), deadline: proof_deadline(now) });
        self.outputs.push_back(Output::Connect { link, to });
    }

    /// Sets the next attempt after `failures` failures in a row, with jitter so that nodes do not move in step.
    fn pause(&mut self, now: Instant, target: Target, failures: u32) {
        let pause = PAUSE_MIN.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX);
        let next = now + self.rng.duration(pause / 2, pause);
        self.attempts.insert(target, Attempt { failures, next });
    }

    pub(super) fn handle_connected(&mut self, link: LinkId, hello: Hello) {
        let Some(Link { state: State::Dialling { expected, up, .. }, .. }) = self.links.get_mut(&link) else {
            self.outputs.push_back(Output::Close(link));
            return;
        };
        *up = true;
        let hello = Hello { to: *expected, ..hello };
        self.send_on(link, Lane::Control, &PeerMessage::Hello(Box::new(hello)));
    }

    pub(super) fn handle_accepted(&mut self, now: Instant, link: LinkId) {
        if self.links.len() >= LINKS_MAX {
            self.outputs.push_back(Output::Close(link));
            return;
        }
        let (state, assembler) = (State::Accepted, Assembler::unproven());
        self.links.insert(link, Link { state, assembler, deadline: proof_deadline(now) });
    }

    pub(super) fn handle_disconnected(&mut self, now: Instant, link: LinkId) {
        self.failed(now, link);
        self.forget(link);
    }

    /// Takes a frame. `own` is what this node says about itself.
    pub(super) fn handle_frame(&mut self, now: Instant, link: LinkId, bytes: &Bytes, own: impl FnOnce() -> Hello) {
        let Some(entry) = self.links.get_mut(&link) else {
            return; // Closed by us while the frame was under way.
        };
        let message = match entry.assembler.push(bytes).and_then(|done| done.map(decode_peer_message).transpose()) {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(error) => {
                *self.drops.entry(error.to_string()).or_default() += 1;
                self.failed(now, link);
                self.close(link);
                return;
            }
        };
        match (&mut entry.state, message) {
            (State::Accepted, PeerMessage::Hello(hello)) => self.on_hello(now, link, *hello, own()),
            (State::Dialling { .. }, PeerMessage::Welcome(hello)) => self.on_welcome(now, link, *hello, &own()),
            (State::Dialling { .. }, PeerMessage::Refused(refusal)) => self.on_refused(now, link, &refusal),
            (State::Inbound(hello), message) => {
                let from = hello.from;
                self.events.push_back(LinkEvent::Message(from, Box::new(message)));
            }
            _ => {
                *self.drops.entry("a message out of place on its link".to_owned()).or_default() += 1;
                self.failed(now, link);
                self.close(link);
            }
        }
    }

    /// The peers that have a link to us.
    pub(super) fn heard_from(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.links.values().filter_map(|link| match &link.state {
            State::Inbound(hello) => Some(hello.from),
            _ => None,
        })
    }

    /// What the peer proved when it opened the link on which we receive from it.
    pub(super) fn proven(&self, peer: NodeId) -> Option<&Hello> {
        self.links.values().find_map(|link| match &link.state {
            State::Inbound(hello) if hello.from == peer => Some(&**hello),
            _ => None,
        })
    }

    fn on_hello(&mut self, now: Instant, link: LinkId, hello: Hello, own: Hello) {
        if let Err(objection) = judge(&hello, &own) {
            if let Some(reason) = self.object(objection, &hello, &own) {
                let refusal = Refusal { cluster_id: own.cluster_id, reason };
                self.send_on(link, Lane::Control, &PeerMessage::Refused(refusal));
            }
            self.close(link);
            return;
        }
        if hello.to.is_some_and(|to| to != own.from) {
            sometimes(Situation::AddressOfAnother);
            let reason = format!("this address now belongs to node {} ({})", own.from, own.name);
            self.send_on(link, Lane::Control, &PeerMessage::Refused(Refusal { cluster_id: own.cluster_id, reason }));
            self.close(link);
            return;
        }
        self.send_on(link, Lane::Control, &PeerMessage::Welcome(Box::new(own.clone())));
        let stale: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, l)| matches!(&l.state, State::Inbound(other) if other.from == hello.from))
            .map(|(id, _)| *id)
            .collect();
        for id in stale {
            sometimes(Situation::LinkReplaced);
            self.close(id);
        }
        let restarted = self.outbound.get(&hello.from).copied().filter(|id| {
            matches!(self.links.get(id), Some(Link { state: State::Outbound { nonce, .. }, .. }) if *nonce != hello.nonce)
        });
        if let Some(id) = restarted {
            sometimes(Situation::LinkToAnEarlierProcess);
            self.close(id); // It led to the process before.
        }
        self.note(now, &hello, &own);
        if self.targets.contains(&hello.from) {
            self.attempts.insert(Target::Node(hello.from), Attempt { failures: 0, next: now });
        }
        if let Some(entry) = self.links.get_mut(&link) {
            entry.state = State::Inbound(Box::new(hello.clone()));
            entry.assembler = Assembler::default();
            entry.deadline = None;
        }
        self.events.push_back(LinkEvent::Heard(Box::new(hello)));
    }

    fn on_welcome(&mut self, now: Instant, link: LinkId, hello: Hello, own: &Hello) {
        if let Err(objection) = judge(&hello, own) {
            self.object(objection, &hello, own);
            self.estrange(now, link);
            self.close(link);
            return;
        }
        let Some(Link { state: State::Dialling { to, expected, .. }, .. }) = self.links.get(&link) else {
            return;
        };
        let (to, stale) = (*to, expected.is_some_and(|expected| expected != hello.from));
        if stale || self.outbound.contains_key(&hello.from) {
            if !stale {
                sometimes(Situation::SecondWay);
            }
            // Another node than we looked for, or a second way to one that we reach already.
            self.note(now, &hello, own);
            self.estrange(now, link);
            self.close(link);
            return;
        }
        self.note(now, &hello, own);
        self.attempts.remove(&Target::Node(hello.from));
        self.attempts.remove(&Target::Address(to));
        self.outbound.insert(hello.from, link);
        if let Some(entry) = self.links.get_mut(&link) {
            entry.state = State::Outbound { peer: hello.from, nonce: hello.nonce, to };
            entry.deadline = None;
        }
        self.events.push_back(LinkEvent::Up(Box::new(hello)));
    }

    fn on_refused(&mut self, now: Instant, link: LinkId, refusal: &Refusal) {
        if let Some(Link { state: State::Dialling { to, .. }, .. }) = self.links.get(&link) {
            self.warn(format!("{to} (cluster {:?}) refuses this node: {}", refusal.cluster_id, refusal.reason));
        }
        self.estrange(now, link);
        self.close(link);
    }

    /// Notes what a proven peer says of itself. A peer of another cluster of the same cluster id gets a link too, for only then can
    /// a founding set that was given up be told so (rule 24); nothing but bootstrap messages is taken from it.
    fn note(&mut self, now: Instant, hello: &Hello, own: &Hello) {
        if let (Some(theirs), Some(ours)) = (hello.uuid, own.uuid)
            && theirs != ours
        {
            self.warn(format!(
                "node {} at {} belongs to another cluster that is also named {:?} ({theirs}, not {ours}); the two do not mix",
                hello.name, hello.address, own.cluster_id
            ));
        }
        let contact = Contact {
            name: hello.name.clone(),
            address: hello.address,
            generation: hello.generation,
            nonce: hello.nonce,
        };
        self.learn(now, hello.from, contact);
    }

    /// Acts on an objection; returns what to tell the peer, if anything.
    fn object(&mut self, objection: Objection, hello: &Hello, own: &Hello) -> Option<String> {
        match objection {
            Objection::Myself => None,
            Objection::Cluster => {
                self.warn(format!(
                    "a node of cluster {:?} at {} speaks to this node of cluster {:?}; it is ignored",
                    hello.cluster_id, hello.address, own.cluster_id
                ));
                Some(format!("it belongs to cluster {:?}, not to {:?}", own.cluster_id, hello.cluster_id))
            }
            Objection::Clash => {
                self.warn(format!(
                    "another process at {} runs with this node's identity {}: was its data directory copied?",
                    hello.address, own.from
                ));
                Some(format!("node {} is already running elsewhere: was its data directory copied?", own.from))
            }
        }
    }

    /// Warns once per text, so that a stranger who keeps calling does not fill the log.
    fn warn(&mut self, text: String) {
        if self.warned.len() < 1_000 && self.warned.insert(text.clone()) {
            self.events.push_back(LinkEvent::Warning(text));
        }
    }

    fn target_of(&self, link: LinkId) -> Option<Target> {
        match self.links.get(&link)?.state {
            State::Dialling { expected: Some(id), .. } => Some(Target::Node(id)),
            State::Dialling { expected: None, to, .. } => Some(Target::Address(to)),
            State::Outbound { peer, .. } => Some(Target::Node(peer)),
            _ => None,
        }
    }

    fn failed(&mut self, now: Instant, link: LinkId) {
        if let Some(target) = self.target_of(link) {
            let failures = self.attempts.get(&target).map_or(1, |attempt| attempt.failures.max(1));
            self.pause(now, target, failures);
        }
    }

    fn estrange(&mut self, now: Instant, link: LinkId) {
        if let Some(target) = self.target_of(link) {
            let next = now + self.rng.duration(PAUSE_STRANGER / 2, PAUSE_STRANGER);
            self.attempts.insert(target, Attempt { failures: 1, next });
        }
    }

    fn send_on(&mut self, link: LinkId, lane: Lane, message: &PeerMessage) {
        for bytes in encode_peer_message(self.codec, message) {
            self.outputs.push_back(Output::Frame { link, lane, bytes });
        }
    }

    fn close(&mut self, link: LinkId) {
        self.outputs.push_back(Output::Close(link));
        self.forget(link);
    }

    fn forget(&mut self, link: LinkId) {
        match self.links.remove(&link).map(|link| link.state) {
            Some(State::Outbound { peer, .. }) => {
                self.outbound.remove(&peer);
                self.events.push_back(LinkEvent::Down(peer));
            }
            Some(State::Inbound(_)) => self.events.push_back(LinkEvent::Unheard),
            _ => {}
        }
    }
}

/// When a link that begins now must have proven its peer.
fn proof_deadline(now: Instant) -> Option<Instant> {
    (!mutant!(ProofAwaitedForEver)).then_some(now + PROOF_WITHIN)
}

/// Why two nodes cannot work together.
enum Objection {
    /// We dialled ourselves: our own address among the seeds is harmless.
    Myself,
    /// Different cluster ids.
    Cluster,
    /// Another process with our identity.
    Clash,
}

fn judge(hello: &Hello, own: &Hello) -> Result<(), Objection> {
    if hello.cluster_id != own.cluster_id && !mutant!(ClusterIdNotCompared) {
        return Err(Objection::Cluster);
    }
    if hello.from == own.from {
        return Err(if hello.nonce == own.nonce { Objection::Myself } else { Objection::Clash });
    }
    Ok(())
}
