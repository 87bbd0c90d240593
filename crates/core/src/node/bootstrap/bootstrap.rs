//! The bootstrap of one node as a value.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use xxhash_rust::xxh3::xxh3_128;

use super::message::{Claim, Hello, Input, Message, Output};
use super::options::BootstrapOptions;
use crate::mutants::mutant;
use crate::raft::{Configuration, ConfiguredNode, Standing};
use crate::random::Random;
use crate::situations::{Situation, sometimes};
use crate::storage::{Abandoned, Identity, Phase};
use crate::{ClusterUuid, Durability, Instant, NodeId};

/// Ids given up that a node remembers for others. Each costs a release time, so this many mean a set-up that cannot work; the oldest
/// are of use to nobody, and one message holds them all.
const ABANDONED_MAX: usize = 16;

/// The bootstrap of one node.
// Invariant: `identity` is durable. While `writing` is some, no phase is decided.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    pub(super) options: BootstrapOptions,
    pub(super) identity: Identity,
    writing: Option<Identity>,
    rng: Random,
    now: Instant,
    /// What the peers in direct touch say of themselves. As many as there are links, which the node bounds.
    pub(super) peers: BTreeMap<NodeId, Hello>,
    /// Promised: the members that are known to have promised the same.
    pub(super) promised: BTreeSet<NodeId>,
    /// Promised: the members that cannot complete the set at present, each with the time since when.
    pub(super) missing: BTreeMap<NodeId, Instant>,
    /// Ids of sets that concern this node which are given up for good, as their owners said.
    retired: BTreeSet<NodeId>,
    /// Fresh: the set to promise, and since when it stands unchanged.
    pub(super) settling: Option<(Configuration, Instant)>,
    /// JoinOnly in memory: since when nobody of the cluster answers.
    alone_since: Option<Instant>,
    is_alone: bool,
    /// A cluster of the same cluster id that is not this node's, and when it was last heard of.
    other_cluster: Option<(ClusterUuid, Instant)>,
    resend_at: Instant,
    revision: u64,
    refused: Option<String>,
    outputs: VecDeque<Output>,
}

impl Bootstrap {
    /// Goes on from `identity`, which is durable.
    pub fn new(options: BootstrapOptions, identity: Identity, rng_seed: u64, now: Instant) -> Self {
        if matches!(identity.phase, Phase::Promised(_)) {
            sometimes(Situation::PromiseResumed);
        }
        let resend_at = now + options.resend;
        let mut bootstrap = Bootstrap {
            options,
            identity,
            writing: None,
            rng: Random::new(rng_seed),
            now,
            peers: BTreeMap::new(),
            promised: BTreeSet::new(),
            missing: BTreeMap::new(),
            retired: BTreeSet::new(),
            settling: None,
            alone_since: None,
            is_alone: false,
            other_cluster: None,
            resend_at,
            revision: 0,
            refused: None,
            outputs: VecDeque::new(),
        };
        bootstrap.review();
        bootstrap
    }

    /// Takes in what happened. Several inputs may follow each other.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = now;
        match input {
            Input::PeerHello { id, hello } => self.on_peer_hello(id, hello),
            Input::PeerGone(id) => drop(self.peers.remove(&id)),
            Input::Message { from, message } => self.on_message(from, message),
            Input::IdentityWritten => self.on_identity_written(),
            Input::Timeout => self.on_timeout(),
        }
        self.review();
    }

    /// The next thing to do. Drain before sleeping.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to say `Timeout`; possibly at once.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.writing.is_none();
        let settling = self.settling.as_ref().filter(|(set, _)| idle && self.all_see(set));
        let settle = settling.map(|(_, since)| *since + self.options.settle_for());
        let release = self.missing.values().min().filter(|_| idle).map(|since| *since + self.options.release);
        let alone = self.alone_since.filter(|_| !self.is_alone).map(|since| since + self.options.release);
        let resend = (self.is_unsettled() && !self.peers.is_empty()).then_some(self.resend_at);
        [settle, release, alone, resend].into_iter().flatten().min()
    }

    /// What this node says of itself in a handshake.
    pub fn hello(&self) -> Hello {
        let claim = match &self.identity.phase {
            Phase::Fresh => Claim::Fresh { sees: self.settling.as_ref().map(|(set, _)| self.uuid_of(set)) },
            Phase::Promised(set) => Claim::Promised { uuid: self.uuid_of(set) },
            Phase::Formed { uuid, baseline } => {
                Claim::Formed { uuid: *uuid, members: baseline.nodes().iter().map(|node| node.id).collect() }
            }
            Phase::JoinOnly { uuid } => Claim::JoinOnly { uuid: *uuid, is_alone: self.is_alone },
        };
        Hello {
            name: self.options.name.clone(),
            node_count: self.options.node_count,
            durability: self.options.durability,
            revision: self.revision,
            claim,
        }
    }

    /// The identity as it is durable.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The cluster that this node is part of, or has met, being part of none, and met no other beside it (rule 25): what its links
    /// have to agree on. None while that may still change without a person's doing.
    pub fn uuid(&self) -> Option<ClusterUuid> {
        match self.identity.phase {
            Phase::Formed { uuid, .. } => Some(uuid),
            Phase::JoinOnly { uuid } if !self.is_alone => Some(uuid),
            _ => None,
        }
    }

    /// What keeps the cluster from forming until a person changes it.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    fn on_peer_hello(&mut self, id: NodeId, hello: Hello) {
        if id == self.identity.node {
            return;
        }
        if let (Some(ours), Claim::Formed { uuid, .. }) = (self.uuid(), &hello.claim)
            && *uuid != ours
        {
            // No link stands between two clusters, so nobody will say when this peer is gone.
            self.other_cluster = Some((*uuid, self.now));
            return;
        }
        self.peers.insert(id, hello);
        // The handshake may have carried an older state of ours than the one that we are in now.
        self.say_all(id);
    }

    fn on_message(&mut self, from: NodeId, message: Message) {
        let Some(known) = self.peers.get_mut(&from) else {
            return;
        };
        match message {
            Message::Hello(hello) => {
                if hello.revision >= known.revision {
                    *known = hello;
                }
                // A formed node says nothing by itself, so it answers those who are still asking.
                let asks = matches!(known.claim, Claim::Fresh { .. } | Claim::Promised { .. });
                if asks && matches!(self.identity.phase, Phase::Formed { .. }) {
                    self.send(from, Message::Hello(self.hello()));
                }
            }
            Message::Promises { uuid, promised } => self.on_promises(from, uuid, &promised),
            Message::Abandoned(abandoned) => self.on_abandoned(&abandoned),
        }
    }

    fn on_promises(&mut self, from: NodeId, uuid: ClusterUuid, promised: &[NodeId]) {
        let Phase::Promised(set) = &self.identity.phase else {
            return;
        };
        if self.uuid_of(set) != uuid {
            return;
        }
        self.promised.extend(promised.iter().filter(|id| set.contains(**id)));
        // Whoever knows more passes it on; two that know the same fall silent.
        if self.promised.iter().any(|id| !promised.contains(id)) {
            self.send(from, self.promises(uuid));
        }
    }

    fn on_abandoned(&mut self, abandoned: &[Abandoned]) {
        let own = self.identity.node;
        for Abandoned { node, set } in abandoned {
            // Of itself a node knows better: only a copy of its directory can have given up the id that it has.
            if *node != own && self.sets_of_concern().any(|members| members.contains(node)) {
                self.retired.insert(*node);
            }
            // Never promised, hence nothing to give up but the id: the set gets one voice more for its end.
            let is_fresh = self.writing.is_none() && self.identity.phase == Phase::Fresh;
            if is_fresh && set.contains(&own) && self.formed_peers().is_empty() {
                sometimes(Situation::IdGivenUpForAnother);
                self.renew(Vec::new());
            }
        }
    }

    fn on_identity_written(&mut self) {
        let Some(identity) = self.writing.take() else {
            return;
        };
        let has_new_id = identity.node != self.identity.node;
        self.identity = identity;
        self.revision += 1;
        self.promised.clear();
        self.missing.clear();
        self.settling = None;
        (self.alone_since, self.is_alone) = (None, false);
        if has_new_id {
            self.peers.clear();
            self.outputs.push_back(Output::NewIdentity(self.identity.clone()));
            return;
        }
        if let Phase::Formed { uuid, baseline } = &self.identity.phase {
            self.outputs.push_back(Output::Formed { uuid: *uuid, baseline: baseline.clone() });
        }
        // What the peers' handshakes and hellos proved before counts for the new phase too.
        self.review();
        self.broadcast();
    }

    fn on_timeout(&mut self) {
        if self.is_unsettled() && self.now >= self.resend_at {
            self.resend_at = self.now + self.options.resend;
            self.broadcast();
        }
        if self.writing.is_some() {
            return;
        }
        if let Some((set, since)) = &self.settling
            && self.now.since(*since) >= self.options.settle_for()
            && self.all_see(set)
        {
            sometimes(Situation::Promised);
            let phase = Phase::Promised(set.clone());
            if mutant!(PromiseSaidEarly) {
                let durable = std::mem::replace(&mut self.identity.phase, phase.clone());
                self.broadcast();
                self.identity.phase = durable;
            }
            self.write(phase);
        } else if self.missing.values().any(|since| self.now.since(*since) >= self.options.release)
            && let Phase::Promised(set) = &self.identity.phase
        {
            sometimes(Situation::PromiseGivenUp);
            let members = set.nodes().iter().map(|node| node.id).collect();
            if mutant!(SecondPromise) {
                return self.write(Phase::Fresh);
            }
            self.renew(members);
        } else if self.alone_since.is_some_and(|since| self.now.since(since) >= self.options.release) && !self.is_alone
        {
            self.is_alone = true;
            self.revision += 1;
            self.broadcast();
        }
    }

    /// Draws the conclusions that need no time from what is known.
    fn review(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let review = match self.identity.phase.clone() {
            Phase::Fresh => self.review_fresh(),
            Phase::Promised(set) => self.review_promised(&set),
            Phase::Formed { uuid, baseline } => self.review_formed(uuid, &baseline),
            Phase::JoinOnly { uuid } => self.review_join_only(uuid),
        };
        let refused = review.err();
        if refused != self.refused {
            self.refused.clone_from(&refused);
            self.outputs.extend(refused.map(Output::Warning));
        }
    }

    fn review_fresh(&mut self) -> Result<(), String> {
        let before = self.settling.take();
        let result = self.look_for_set(&before);
        if before.map(|(set, _)| set) != self.settling.as_ref().map(|(set, _)| set.clone()) {
            self.revision += 1;
            self.broadcast();
        }
        result
    }

    fn look_for_set(&mut self, before: &Option<(Configuration, Instant)>) -> Result<(), String> {
        let formed = self.formed_peers();
        if formed.len() > 1 {
            return Err(two_clusters(&self.identity.cluster_id, formed.keys()));
        }
        if let Some((uuid, (members, count))) = formed.into_iter().next() {
            if members.contains(&self.identity.node) {
                return Err(format!(
                    "cluster {uuid} counts this node in, but this node's data does not know it: the data is an older copy. \
                     Delete it, so that this node starts under a new identity"
                ));
            }
            // A set that this node gave up may still turn out dead; JoinOnly is final.
            let gave_up = self.identity.abandoned.iter().any(|abandoned| abandoned.set == members);
            if !gave_up || count > members.len() / 2 {
                sometimes(Situation::JoinOnly);
                self.write(Phase::JoinOnly { uuid });
            }
            return Ok(());
        }
        let nodes = self.eligible()?;
        if nodes.len() < self.options.node_count {
            return Ok(());
        }
        if self.undead_promise().is_some() {
            sometimes(Situation::PromiseStoodInTheWay);
            return Ok(());
        }
        let set = Configuration::new(nodes).map_err(|error| error.to_string())?;
        let unchanged = before.as_ref().filter(|(settled, _)| *settled == set);
        self.settling = Some((set, unchanged.map_or(self.now, |(_, since)| *since)));
        Ok(())
    }

    /// Whether all members of `set` would promise it now, or have. A promise that one of them will not match would bind its maker
    /// for the release time, and while the others give up theirs it would stand in their way: they would take turns for ever.
    fn all_see(&self, set: &Configuration) -> bool {
        let uuid = self.uuid_of(set);
        set.nodes().iter().filter(|node| node.id != self.identity.node).all(|node| {
            match self.peers.get(&node.id).map(|peer| &peer.claim) {
                Some(Claim::Fresh { sees }) => *sees == Some(uuid),
                Some(Claim::Promised { uuid: theirs }) => *theirs == uuid,
                _ => false,
            }
        })
    }

    /// The nodes that could form the cluster now, this one included. An error when somebody must change something first.
    fn eligible(&self) -> Result<Vec<ConfiguredNode>, String> {
        let options = &self.options;
        let mut nodes = vec![self.configured(self.identity.node, &options.name)];
        if !options.admits(&options.name) {
            return Err(format!("this node is named {:?}, which is not among the initial names", options.name));
        }
        for (id, peer) in &self.peers {
            if !matches!(peer.claim, Claim::Fresh { .. } | Claim::Promised { .. }) || !options.admits(&peer.name) {
                continue;
            }
            if let Some(other) = nodes.iter().find(|node| node.name == peer.name) {
                return Err(format!(
                    "nodes {:?} and {id:?} are both named {:?}: give each its own name",
                    other.id, peer.name
                ));
            }
            if peer.node_count != options.node_count {
                return Err(format!(
                    "{} expects {} nodes, {} expects {}: give all the same number",
                    options.name, options.node_count, peer.name, peer.node_count
                ));
            }
            if peer.durability != options.durability {
                return Err(format!(
                    "{} and {} differ in durability ({:?}, {:?}): give all the same storage",
                    options.name, peer.name, options.durability, peer.durability
                ));
            }
            nodes.push(self.configured(*id, &peer.name));
        }
        if nodes.len() > options.node_count {
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
            let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
            return Err(format!(
                "{} nodes are here, {} are expected: {}. Stop the surplus ones, or give the initial names",
                names.len(),
                options.node_count,
                names.join(", ")
            ));
        }
        Ok(nodes)
    }

    fn review_promised(&mut self, set: &Configuration) -> Result<(), String> {
        let (own, uuid) = (self.identity.node, self.uuid_of(set));
        self.promised.insert(own);
        for node in set.nodes().iter().filter(|node| node.id != own) {
            // An id promises once: a member that has promised another set, or is about to, or may only join, will not complete
            // this one.
            let is_present = match self.peers.get(&node.id).map(|peer| &peer.claim) {
                Some(Claim::Fresh { sees }) => sees.is_none_or(|theirs| theirs == uuid),
                Some(Claim::Promised { uuid: theirs }) if *theirs == uuid => {
                    self.promised.insert(node.id);
                    true
                }
                Some(Claim::Formed { uuid: theirs, .. }) if *theirs == uuid => {
                    sometimes(Situation::FormedOnTheWordOfAnother);
                    self.promised.extend(set.nodes().iter().map(|node| node.id));
                    true
                }
                _ => false,
            };
            if is_present {
                self.missing.remove(&node.id);
            } else {
                self.missing.entry(node.id).or_insert(self.now);
            }
        }
        self.check_single(uuid)?;
        if self.promised.len() + usize::from(mutant!(PromiseMissing)) >= set.nodes().len() {
            self.write(Phase::Formed { uuid, baseline: set.clone() });
        }
        Ok(())
    }

    fn review_formed(&mut self, uuid: ClusterUuid, baseline: &Configuration) -> Result<(), String> {
        let members: Vec<NodeId> = baseline.nodes().iter().map(|node| node.id).collect();
        if self.is_dead(&members) {
            self.renew(members);
            return Ok(());
        }
        self.check_single(uuid)
    }

    fn review_join_only(&mut self, uuid: ClusterUuid) -> Result<(), String> {
        self.check_single(uuid)?;
        if !self.options.is_ephemeral() {
            return Ok(());
        }
        if !self.formed_peers().is_empty() {
            self.alone_since = None;
            if std::mem::take(&mut self.is_alone) {
                self.revision += 1;
                self.broadcast();
            }
            return Ok(());
        }
        self.alone_since.get_or_insert(self.now);
        let forgets = |peer: &Hello| match peer.claim {
            Claim::Fresh { .. } | Claim::Promised { .. } => true,
            Claim::JoinOnly { is_alone, .. } => is_alone,
            Claim::Formed { .. } => false,
        };
        let agreeing = self.peers.values().filter(|peer| peer.durability == Durability::Ephemeral && forgets(peer));
        if self.is_alone && 1 + agreeing.count() >= self.options.node_count {
            self.write(Phase::Fresh);
        }
        Ok(())
    }

    /// The clusters that peers in direct touch are part of, each with its founding members and the number of such peers.
    pub(super) fn formed_peers(&self) -> BTreeMap<ClusterUuid, (Vec<NodeId>, usize)> {
        let mut formed: BTreeMap<ClusterUuid, (Vec<NodeId>, usize)> = BTreeMap::new();
        for peer in self.peers.values() {
            if let Claim::Formed { uuid, members } = &peer.claim {
                formed.entry(*uuid).or_insert_with(|| (members.clone(), 0)).1 += 1;
            }
        }
        formed
    }

    /// An error while a cluster of the same cluster id besides `uuid` is in touch, or was within the release time.
    fn check_single(&self, uuid: ClusterUuid) -> Result<(), String> {
        let heard =
            self.other_cluster.filter(|(_, at)| self.now.since(*at) < self.options.release).map(|(other, _)| other);
        let uuids: BTreeSet<ClusterUuid> = self.formed_peers().into_keys().chain(heard).chain([uuid]).collect();
        if uuids.len() > 1 { Err(two_clusters(&self.identity.cluster_id, uuids.iter())) } else { Ok(()) }
    }

    /// The promise that this node gave up last, while it is not certain that its set is dead. (It promised that one only when the
    /// sets before it were.)
    pub(super) fn undead_promise(&self) -> Option<&Abandoned> {
        let last = self.identity.abandoned.iter().rev().find(|abandoned| !abandoned.set.is_empty());
        last.filter(|abandoned| !self.is_dead(&abandoned.set))
    }

    /// Whether so many members gave the set up without forming it that the rest is no majority (rule 24).
    fn is_dead(&self, members: &[NodeId]) -> bool {
        self.given_up(members) >= members.len().div_ceil(2)
    }

    pub(super) fn given_up(&self, members: &[NodeId]) -> usize {
        let own = |id: &NodeId| self.identity.abandoned.iter().any(|abandoned| abandoned.node == *id);
        members.iter().filter(|id| self.retired.contains(id) || own(id)).count()
    }

    /// The sets about whose end this node must know.
    fn sets_of_concern(&self) -> impl Iterator<Item = Vec<NodeId>> + '_ {
        let current = match &self.identity.phase {
            Phase::Promised(set) | Phase::Formed { baseline: set, .. } => Some(set),
            Phase::Fresh | Phase::JoinOnly { .. } => None,
        };
        let current = current.map(|set| set.nodes().iter().map(|node| node.id).collect());
        current.into_iter().chain(self.identity.abandoned.iter().map(|abandoned| abandoned.set.clone()))
    }

    fn configured(&self, id: NodeId, name: &str) -> ConfiguredNode {
        let durability = self.options.durability;
        ConfiguredNode { id, name: name.to_owned(), durability, standing: Standing::Voter }
    }

    /// Derived, not minted: whoever holds the same set in the same cluster id finds the same identity.
    pub(super) fn uuid_of(&self, set: &Configuration) -> ClusterUuid {
        let id = self.identity.cluster_id.as_bytes();
        ClusterUuid(xxh3_128(&[&(id.len() as u64).to_le_bytes(), id, &set.encode()[..]].concat()))
    }

    fn write(&mut self, phase: Phase) {
        let identity = Identity { phase, ..self.identity.clone() };
        self.start_write(identity);
    }

    /// Takes a new id. `set` is what the old one had promised; empty if nothing.
    fn renew(&mut self, set: Vec<NodeId>) {
        let mut abandoned = self.identity.abandoned.clone();
        abandoned.push(Abandoned { node: self.identity.node, set });
        if abandoned.len() > ABANDONED_MAX {
            // The last promise is what keeps this node from promising too early: it stays.
            let last = abandoned.iter().rposition(|abandoned| !abandoned.set.is_empty());
            abandoned.remove(usize::from(last == Some(0)));
        }
        let node = NodeId(self.rng.next_u128());
        self.start_write(Identity { node, phase: Phase::Fresh, abandoned, ..self.identity.clone() });
    }

    fn start_write(&mut self, identity: Identity) {
        self.writing = Some(identity.clone());
        self.outputs.push_back(Output::WriteIdentity(identity));
    }

    /// Whether a new id is on its way to the disk.
    pub(super) fn gives_up_its_id(&self) -> bool {
        self.writing.as_ref().is_some_and(|identity| identity.node != self.identity.node)
    }

    /// True while this node speaks without being asked.
    fn is_unsettled(&self) -> bool {
        match self.identity.phase {
            Phase::Fresh | Phase::Promised(_) => true,
            Phase::JoinOnly { .. } => self.options.is_ephemeral(),
            Phase::Formed { .. } => false,
        }
    }

    fn broadcast(&mut self) {
        let ids: Vec<NodeId> = self.peers.keys().copied().collect();
        ids.into_iter().for_each(|id| self.say_all(id));
    }

    fn say_all(&mut self, to: NodeId) {
        self.send(to, Message::Hello(self.hello()));
        if let Phase::Promised(set) = &self.identity.phase {
            self.send(to, self.promises(self.uuid_of(set)));
        }
        if !self.identity.abandoned.is_empty() {
            self.send(to, Message::Abandoned(self.identity.abandoned.clone()));
        }
    }

    fn promises(&self, uuid: ClusterUuid) -> Message {
        Message::Promises { uuid, promised: self.promised.iter().copied().collect() }
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.outputs.push_back(Output::Send { to, message });
    }
}

fn two_clusters<'a>(cluster_id: &str, uuids: impl Iterator<Item = &'a ClusterUuid>) -> String {
    let uuids: Vec<String> = uuids.map(ClusterUuid::to_string).collect();
    format!(
        "there are several clusters named {cluster_id:?}: {}. The nodes of each stay apart; a node of neither joins none",
        uuids.join(" and ")
    )
}
