//! What each part wants done, and which others may know of it. Everything that passes between the parts of a node passes here.

use std::collections::BTreeSet;

use super::bootstrap::{self, Bootstrap};
use super::io::{Event, Lane, LeaderInfo, MemberState, Output};
use super::links::{Contact, LinkEvent};
use super::message::{Hello, PeerMessage};
use super::node::{Node, Source};
use super::roster::Roster;
use crate::raft::{self, Configuration, Raft, RecoveredLog};
use crate::storage::{KnownPeer, Phase, Write};
use crate::swim::{self, Swim};
use crate::wire::{Envelope, cluster_tag, encode_datagram};
use crate::{ClusterUuid, HardState, NodeId, Nonce, Term, WriteSeq};

/// Peers remembered on disk, and linked to without being in the configuration.
const PEERS_MAX: usize = 64;

impl Node {
    /// Lets the parts know what the others found out, until none has more to say.
    pub(super) fn settle(&mut self) {
        self.drain_parts();
        self.ask_leader();
        self.drain_parts();
        self.go_on_stopping();
    }

    pub(super) fn drain_parts(&mut self) {
        loop {
            let before = self.outputs.len();
            let mut busy = false;
            while let Some(event) = self.links.poll_event() {
                busy = true;
                self.on_link_event(event);
            }
            while let Some(output) = self.swim.as_mut().and_then(Swim::poll_output) {
                busy = true;
                self.on_swim_output(output);
            }
            for event in self.roster.as_mut().map(Roster::take_events).unwrap_or_default() {
                self.outputs.push_back(Output::Event(event));
            }
            while let Some(output) = self.bootstrap.as_mut().and_then(Bootstrap::poll_output) {
                busy = true;
                self.on_bootstrap_output(output);
            }
            while let Some(output) = self.raft.as_mut().and_then(Raft::poll_output) {
                busy = true;
                self.on_raft_output(output);
            }
            while let Some(output) = self.links.poll_output() {
                self.outputs.push_back(output);
            }
            while let Some(output) = self.proposals.poll_output() {
                self.outputs.push_back(output);
            }
            self.outputs.extend(self.reads.take_outputs());
            if !busy && self.outputs.len() == before {
                return;
            }
        }
    }

    fn on_link_event(&mut self, event: LinkEvent) {
        let now = self.now;
        match event {
            LinkEvent::Up(hello) => {
                self.meet(&hello);
                self.feed_raft(raft::Input::PeerConnected(hello.from));
                if let (Some(bootstrap), Some(peer)) = (&mut self.bootstrap, &hello.bootstrap) {
                    bootstrap.handle(now, bootstrap::Input::PeerHello { id: hello.from, hello: peer.clone() });
                }
            }
            LinkEvent::Heard(hello) => {
                self.meet(&hello);
                if self.links.is_up(hello.from)
                    && let (Some(bootstrap), Some(peer)) = (&mut self.bootstrap, &hello.bootstrap)
                {
                    bootstrap.handle(now, bootstrap::Input::PeerHello { id: hello.from, hello: peer.clone() });
                }
            }
            LinkEvent::Down(peer) => {
                if let Some(roster) = &mut self.roster {
                    roster.lost(now, peer);
                }
                self.feed_raft(raft::Input::PeerDisconnected(peer));
                if let Some(bootstrap) = &mut self.bootstrap {
                    bootstrap.handle(now, bootstrap::Input::PeerGone(peer));
                }
                if self.leader.is_some_and(|leader| leader.id == peer) {
                    self.feed_raft(raft::Input::LeaderGone(peer));
                    self.proposals.resend();
                    self.reads.reset();
                }
            }
            LinkEvent::Unheard => self.update_targets(),
            LinkEvent::Message(from, message) => {
                if let Some(roster) = &mut self.roster {
                    roster.seen(now, from);
                }
                self.on_peer_message(from, *message);
            }
            LinkEvent::Warning(text) => self.warn(text),
        }
    }

    fn meet(&mut self, hello: &Hello) {
        if let Some(roster) = &mut self.roster {
            roster.heard(self.now, hello);
        }
        self.update_targets();
        self.remember_peers();
    }

    fn on_swim_output(&mut self, output: swim::Output) {
        match output {
            swim::Output::Send { to, message } => {
                let envelope = Envelope {
                    cluster_tag: cluster_tag(&self.identity.cluster_id),
                    sender: self.identity.node,
                    generation: self.swim.as_ref().map_or(self.identity.generation, Swim::generation),
                };
                let bytes = encode_datagram(self.options.codec, &envelope, &message);
                self.outputs.push_back(Output::Datagram { to, bytes });
            }
            swim::Output::Discover => self.outputs.push_back(Output::Discover),
            swim::Output::GoodbyeAcknowledged => {
                if let Some(stopping) = &mut self.stopping {
                    stopping.said_goodbye = true;
                }
            }
            swim::Output::Event(event) => self.on_swim_event(event),
        }
    }

    fn on_swim_event(&mut self, event: swim::Event) {
        let event = Event::from(event);
        let gone = match &event {
            Event::Left(member) | Event::Failed(member) | Event::Suspected(member) => Some(member.id),
            Event::StatusChanged(member) if member.restarting => Some(member.id),
            _ => None,
        };
        if let Event::Joined(member) | Event::StatusChanged(member) | Event::AddressChanged(member) = &event
            && member.id != self.identity.node
        {
            let contact = Contact {
                name: member.name.clone(),
                address: member.address,
                generation: member.generation,
                nonce: Nonce(0),
            };
            self.links.learn(self.now, member.id, contact);
        }
        if let Some(gone) = gone.filter(|gone| self.leader.is_some_and(|leader| leader.id == *gone)) {
            self.feed_raft(raft::Input::LeaderGone(gone)); // A hint: it shortens our own wait only (rule 26).
        }
        self.outputs.push_back(Output::Event(event));
        self.update_targets();
        self.remember_peers();
    }

    fn on_bootstrap_output(&mut self, output: bootstrap::Output) {
        match output {
            bootstrap::Output::Send { to, message } => {
                self.links.send(to, Lane::Control, &PeerMessage::Bootstrap(message));
            }
            bootstrap::Output::WriteIdentity(identity) => {
                if identity.node != self.identity.node {
                    self.end_membership();
                }
                let write = Write {
                    seq: WriteSeq(0),
                    group: self.group,
                    identity: Some(identity),
                    hard_state: None,
                    runs: Vec::new(),
                };
                self.write(write, Source::Identity);
            }
            bootstrap::Output::Formed { uuid, baseline } => self.on_formed(uuid, baseline),
            bootstrap::Output::NewIdentity(identity) => {
                let (node, generation) = (identity.node, identity.generation);
                self.identity = identity;
                self.outputs.push_back(Output::Renamed { node, generation });
                self.links.restart(self.now);
                self.start_swim();
                self.update_targets();
            }
            bootstrap::Output::Warning(text) => self.warn(text),
        }
    }

    /// The id is being given up. What this node was part of never formed anywhere else: no majority of it exists, so nothing is lost
    /// with it. It is silent about it at once: whatever were written behind the new identity would be that of the new id.
    fn end_membership(&mut self) {
        self.raft = None;
        if self.leader.is_some() {
            self.on_leader_changed(None);
        }
    }

    /// What was asked of the leader before is asked of the next one.
    fn on_leader_changed(&mut self, leader: Option<LeaderInfo>) {
        self.leader = leader;
        self.caught_up = false;
        self.proposals.resend();
        self.reads.reset();
        self.session_asked = None;
        self.update_targets();
        self.outputs.push_back(Output::Event(Event::LeaderChanged(leader)));
    }

    fn on_formed(&mut self, uuid: ClusterUuid, baseline: Configuration) {
        self.identity.phase = Phase::Formed { uuid, baseline: baseline.clone() };
        let log = self.identity.phase.founding_log(self.group);
        let hard_state = HardState { term: Term(1), vote: None };
        if let Err(reason) = self.start_raft(RecoveredLog { hard_state, baseline, log, tail: Vec::new() }) {
            self.fail(reason);
            return;
        }
        // Links prove the cluster they belong to; those that were made before it existed cannot.
        self.links.restart(self.now);
        self.outputs.push_back(Output::Event(Event::Formed(uuid)));
        self.update_targets();
        self.remember_peers();
    }

    fn on_raft_output(&mut self, output: raft::Output) {
        match output {
            raft::Output::Send { to, message } => {
                let lane = match &message {
                    raft::Message::AppendEntries(append) if !append.runs.is_empty() => Lane::Log,
                    _ => Lane::Control,
                };
                self.links.send(to, lane, &PeerMessage::Raft { group: self.group, message });
            }
            raft::Output::Write { seq, hard_state, runs } => {
                let write = Write { seq: WriteSeq(0), group: self.group, identity: None, hard_state, runs };
                self.write(write, Source::Raft(seq));
            }
            raft::Output::Fetch { first, last, bytes_max } => {
                self.outputs.push_back(Output::Fetch { group: self.group, first, last, bytes_max });
            }
            raft::Output::Apply(runs) => self.outputs.push_back(Output::Apply(runs)),
            raft::Output::ReadReady { id, index } => self.on_read(id.0, Some(index)),
            raft::Output::ReadFailed { id } => self.on_read(id.0, None),
            raft::Output::LeaderChanged(leader) => {
                self.on_leader_changed(leader.map(|(id, term)| LeaderInfo { id, term }));
            }
            raft::Output::Fatal(fatal) => self.fail(fatal.to_string()),
        }
    }

    fn write(&mut self, mut write: Write, source: Source) {
        self.last_write = self.last_write.next();
        write.seq = self.last_write;
        self.writes.push_back((self.last_write, source));
        self.outputs.push_back(Output::Write(write));
    }

    /// Whom links are needed to: the other nodes of the configuration; everybody who may know more, as long as this node has no
    /// cluster or its cluster no leader; and whoever has a link to us, so that it gets its answers.
    pub(super) fn update_targets(&mut self) {
        let mut targets: BTreeSet<NodeId> = self.links.heard_from().take(PEERS_MAX).collect();
        if let Some(raft) = &self.raft {
            targets.extend(raft.configuration().nodes().iter().map(|node| node.id));
        }
        if let (Some(swim), None, Some(_)) = (&self.swim, self.leader, &self.options.consensus) {
            let present = |m: &swim::Member| matches!(m.state, MemberState::Alive | MemberState::Suspect);
            let members = swim.members().filter(|m| m.meta.consensus && present(m));
            targets.extend(members.map(|m| m.id).take(PEERS_MAX));
        }
        if let Some(roster) = &self.roster {
            targets.extend(roster.members().map(|member| member.id));
        }
        targets.remove(&self.identity.node);
        self.links.set_targets(targets);
    }

    fn remember_peers(&mut self) {
        if self.options.consensus.is_none() {
            return;
        }
        let known = self.links.contacts().iter().filter(|(id, _)| **id != self.identity.node);
        let peers: Vec<KnownPeer> = known
            .map(|(id, c)| KnownPeer {
                id: *id,
                name: c.name.clone(),
                address: c.address,
                generation: c.generation,
                nonce: c.nonce,
            })
            .take(PEERS_MAX)
            .collect();
        if peers != self.remembered {
            self.remembered = peers.clone();
            self.outputs.push_back(Output::RememberPeers(peers));
        }
    }
}
