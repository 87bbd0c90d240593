//! What a node shows of itself.

use super::io::{Member, MemberState, Role, Stage, Status};
use super::node::Node;
use crate::machine::Waiting;
use crate::raft::{self, Raft};
use crate::{Index, Instant, NodeId, Term};

impl Node {
    /// Everybody this node knows, itself included.
    pub fn members(&self) -> Vec<Member> {
        if let Some(swim) = &self.swim {
            return swim.members().collect();
        }
        let own = Member {
            id: self.identity.node,
            name: self.options.name.clone(),
            address: self.options.address,
            generation: self.identity.generation,
            meta: self.options.meta.clone(),
            state: MemberState::Alive,
            restarting: false,
            joined_at: Instant::ZERO,
            last_seen: self.now,
        };
        self.roster.iter().flat_map(|roster| roster.members().cloned()).chain([own]).collect()
    }

    /// This node's identity; it changes only when a promise is abandoned (rule 24).
    pub fn id(&self) -> NodeId {
        self.identity.node
    }

    /// What was refused so far, by reason.
    pub fn drops(&self) -> impl Iterator<Item = (&str, u64)> {
        self.drops.iter().chain(&self.links.drops).map(|(reason, count)| (reason.as_str(), *count))
    }

    /// Counts a refused input.
    pub(super) fn count_drop(&mut self, reason: &str) {
        *self.drops.entry(reason.to_owned()).or_default() += 1;
    }

    /// The Raft of the default group, for checkers.
    pub fn raft(&self) -> Option<&Raft> {
        self.raft.as_ref()
    }

    /// Where the node stands.
    pub fn status(&self) -> Status {
        let raft = self.raft.as_ref();
        Status {
            role: raft.map_or(Role::None, role_of),
            term: raft.map_or(Term(0), Raft::term),
            leader: self.leader,
            commit: raft.map_or(Index(0), Raft::commit_index),
            applied: self.applied,
            ready: self.caught_up,
            stage: self.stage(),
            uuid: self.uuid(),
            voters: raft.map(|raft| raft.configuration().voters().collect()).unwrap_or_default(),
        }
    }

    fn stage(&self) -> Stage {
        if let Some(reason) = &self.failure {
            return Stage::Stopped { reason: reason.clone() };
        }
        if self.stopped {
            return Stage::Stopped { reason: "the node was shut down".to_owned() };
        }
        let Some(raft) = &self.raft else {
            return match &self.bootstrap {
                Some(bootstrap) => Stage::Forming { waiting: bootstrap.waiting() },
                None => Stage::Working,
            };
        };
        if self.leader.is_none() {
            return Stage::WaitingForLeader { waiting: self.missing_voters(raft) };
        }
        match &self.waiting {
            Some(Waiting::Unregistered(name)) => {
                Stage::WaitingForMachine { waiting: format!("waiting for replicate({name:?})") }
            }
            Some(Waiting::Halted(reason)) => Stage::WaitingForMachine { waiting: reason.clone() },
            None => Stage::Working,
        }
    }

    fn missing_voters(&self, raft: &Raft) -> String {
        let voters = raft.configuration().nodes();
        let missing: Vec<&str> = voters
            .iter()
            .filter(|node| node.id != self.identity.node && !self.links.is_up(node.id))
            .map(|node| node.name.as_str())
            .collect();
        if missing.is_empty() {
            return "an election is under way".to_owned();
        }
        let reached = voters.len() - missing.len();
        format!("{reached} of {} voters in contact; missing: {}", voters.len(), missing.join(", "))
    }

    /// Notes whether everything that the present leader had committed when we met it is applied here.
    pub(super) fn judge_progress(&mut self) {
        if let Some(raft) = &self.raft
            && !self.caught_up
            && self.leader.is_some()
            && raft.term_at(raft.commit_index()) == Some(raft.term())
            && self.applied >= raft.commit_index()
        {
            self.caught_up = true;
        }
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.caught_up
    }
}

fn role_of(raft: &Raft) -> Role {
    match raft.role() {
        raft::Role::Leader => Role::Leader,
        raft::Role::Candidate => Role::Candidate,
        raft::Role::Follower if raft.configuration().is_voter(raft.id()) => Role::Follower,
        raft::Role::Follower => Role::Learner,
    }
}
