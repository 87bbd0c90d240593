//! What peers ask of this node, and what it asks of the leader.

use super::bootstrap;
use super::io::Lane;
use super::message::{Forward, ForwardRefused, PeerMessage};
use super::node::{ASK_AGAIN, Node};
use super::proposals::forward_header;
use super::reads::Asker;
use crate::machine::{MachineEntry, SessionEntry};
use crate::mutants::mutant;
use crate::raft::{self, Proposal, ProposeError, ReadId};
use crate::situations::{Situation, sometimes};
use crate::swim::NAME_BYTES_MAX;
use crate::{Index, Instant, NodeId, Run, RunKind};

/// Peers whose last forward is remembered; more than there are links at a time.
const FORWARDERS_MAX: usize = 2_048;

impl Node {
    pub(super) fn on_peer_message(&mut self, from: NodeId, message: PeerMessage) {
        if let PeerMessage::Bootstrap(message) = message {
            if let Some(bootstrap) = &mut self.bootstrap {
                bootstrap.handle(self.now, bootstrap::Input::Message { from, message });
            }
            return;
        }
        // Everything else belongs to a cluster, which the link must have proven (rule 28).
        let proven = self.links.proven(from).and_then(|hello| hello.uuid);
        let has_proven = proven.is_some() && proven == self.uuid() || mutant!(UuidNotCompared);
        if self.raft.is_none() || !has_proven {
            sometimes(Situation::UnprovenDropped);
            self.count_drop("a message of a peer that has not proven this cluster");
            return;
        }
        match message {
            PeerMessage::Raft { group, message } if group == self.group => {
                self.feed_raft(raft::Input::Message { from, message });
            }
            PeerMessage::Forward(forward) if forward.run.group() == self.group => self.on_forward(from, forward),
            PeerMessage::ForwardRefused(refused) if refused.group == self.group => {
                if refused.kind == RunKind::Command {
                    self.proposals.refused(self.now, refused.number, refused.overloaded);
                }
            }
            PeerMessage::ReadIndex { group, id } if group == self.group => {
                let asked = self.reads.confirm(Asker::Peer(from, id));
                let taken = asked.is_some_and(|asked| self.start_read(asked));
                if !taken {
                    sometimes(Situation::ReadAskedElsewhere);
                    self.answer_read(from, id, None);
                }
            }
            PeerMessage::ReadIndexResponse { group, id, index } if group == self.group => {
                self.reads.answered(id, index);
            }
            _ => self.count_drop("a message of an unknown group, or out of place on its link"),
        }
    }

    /// Commands of a peer's application (rule 16): each forward is appended or refused once, and only in the term that it names.
    fn on_forward(&mut self, from: NodeId, forward: Forward) {
        let Some((nonce, generation)) = self.links.proven(from).map(|hello| (hello.nonce, hello.generation)) else {
            return;
        };
        if self.forwards.len() >= FORWARDERS_MAX {
            // A peer without a link to us cannot repeat an old forward; when it comes back, it comes with a new nonce or goes on.
            let present: Vec<NodeId> = self.links.heard_from().collect();
            self.forwards.retain(|id, _| present.contains(id));
        }
        match self.forwards.get(&from) {
            Some((known, last)) if *known == nonce && forward.number <= *last => {
                sometimes(Situation::ForwardTakenOnce);
                self.count_drop("a forward that was taken before");
                return;
            }
            _ => self.forwards.insert(from, (nonce, forward.number)),
        };
        let (term, kind) = (forward.run.term(), forward.run.kind());
        let allowed = match kind {
            RunKind::Command => true,
            RunKind::Machine => MachineEntry::decode(&forward.run.payload())
                .is_ok_and(|entry| !entry.name.is_empty() && entry.name.len() <= NAME_BYTES_MAX),
            RunKind::Session => {
                SessionEntry::decode(&forward.run.payload()) == Ok(SessionEntry::Open { node: from, generation })
            }
            RunKind::Configuration | RunKind::Noop => false,
        };
        if !allowed {
            self.count_drop("a forward that its sender may not make");
            return;
        }
        if let Err(overloaded) = self.propose(&forward.run) {
            sometimes(Situation::ForwardRefused);
            let number = forward.number;
            let refused = ForwardRefused { group: self.group, number, term, kind, overloaded };
            self.links.send(from, Lane::Control, &PeerMessage::ForwardRefused(refused));
        }
    }

    /// Appends as leader of the run's term; an error says that nothing was appended, and whether for want of room.
    fn propose(&mut self, run: &Run) -> Result<(), bool> {
        let header = run.header();
        let proposal = Proposal {
            kind: header.kind,
            machine: header.machine,
            codec: header.codec,
            command_version: header.command_version,
            blocks: run.blocks().to_vec(),
            commands: run.entries().map(|entry| entry.payload).collect(),
            wall_time: self.wall,
        };
        let now = self.now;
        // Apply would stand still for ever at a command for a machine that the log never named.
        if header.kind == RunKind::Command && !self.machines.values().any(|id| *id == header.machine) {
            return Err(false);
        }
        // A full log takes no more commands, whoever they come from (rule 6).
        if header.kind == RunKind::Command && self.full {
            return Err(true);
        }
        match &mut self.raft {
            Some(raft) if raft.term() == header.term => match raft.propose(now, proposal) {
                Ok(_) => Ok(()),
                Err(ProposeError::Overloaded | ProposeError::TooLarge { .. }) => Err(true),
                Err(_) => Err(false),
            },
            _ => Err(false),
        }
    }

    /// When [`Node::ask_leader`] has something to ask again. Nothing while it would not: a deadline that nobody meets would stay in the
    /// past, and the node would never sleep.
    pub(super) fn next_ask(&self) -> Option<Instant> {
        self.leader.filter(|leader| self.reaches(leader.id))?;
        let session = self.session_asked.filter(|_| self.proposals.wants_session());
        let names = self.unnamed.values().flatten().copied().filter(|_| self.is_caught_up());
        names.chain(session).min().map(|asked| asked + ASK_AGAIN)
    }

    fn reaches(&self, leader: NodeId) -> bool {
        leader == self.identity.node || self.links.is_up(leader)
    }

    /// Sends to the leader, or appends as leader, whatever waits for it.
    pub(super) fn ask_leader(&mut self) {
        self.judge_progress();
        let Some(leader) = self.leader.filter(|leader| self.reaches(leader.id)) else { return };
        let own = leader.id == self.identity.node;
        let now = self.now;
        if self.proposals.wants_session() && self.session_asked.is_none_or(|asked| now.since(asked) >= ASK_AGAIN) {
            self.session_asked = Some(now);
            let entry = SessionEntry::Open { node: self.identity.node, generation: self.identity.generation };
            self.forward_entry(RunKind::Session, entry.encode());
        }
        if self.is_caught_up() {
            let due: Vec<String> = self
                .unnamed
                .iter()
                .filter(|(_, asked)| asked.is_none_or(|asked| now.since(asked) >= ASK_AGAIN))
                .map(|(name, _)| name.clone())
                .collect();
            for name in due {
                self.forward_entry(RunKind::Machine, MachineEntry { name: name.clone() }.encode());
                self.unnamed.insert(name, Some(now));
            }
        }
        for (number, run) in self.proposals.runs_for(now, (leader.id, leader.term)) {
            self.forward(number, run);
        }
        if let Some(question) = self.reads.ask(now) {
            if own {
                if let Some(id) = self.reads.confirm(Asker::Own(question)) {
                    self.start_read(id);
                }
            } else {
                let group = self.group;
                self.links.send(leader.id, Lane::Control, &PeerMessage::ReadIndex { group, id: question });
            }
        }
    }

    fn forward_entry(&mut self, kind: RunKind, payload: bytes::Bytes) {
        let Some(leader) = self.leader else { return };
        let run = Run::single(forward_header(self.group, kind, leader.term), payload);
        let number = self.proposals.next_forward();
        self.forward(number, run);
    }

    fn forward(&mut self, number: u64, run: Run) {
        let Some(leader) = self.leader else { return };
        if leader.id == self.identity.node {
            if let Err(overloaded) = self.propose(&run)
                && run.kind() == RunKind::Command
            {
                self.proposals.refused(self.now, number, overloaded);
            }
        } else {
            self.links.send(leader.id, Lane::Log, &PeerMessage::Forward(Forward { run, number }));
        }
    }

    fn start_read(&mut self, id: u64) -> bool {
        let now = self.now;
        let taken = self.raft.as_mut().is_some_and(|raft| raft.read(now, ReadId(id)).is_ok());
        if !taken {
            self.reads.confirmed(id);
        }
        taken
    }

    pub(super) fn on_read(&mut self, id: u64, index: Option<Index>) {
        match self.reads.confirmed(id) {
            Some(Asker::Own(question)) => self.reads.answered(question, index),
            Some(Asker::Peer(peer, question)) => self.answer_read(peer, question, index),
            None => {}
        }
    }

    fn answer_read(&mut self, to: NodeId, id: u64, index: Option<Index>) {
        let group = self.group;
        self.links.send(to, Lane::Control, &PeerMessage::ReadIndexResponse { group, id, index });
    }
}
