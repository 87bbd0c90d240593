//! The candidate: Figure 2, "Rules for Candidates", after the pre-vote of thesis 9.6.
//!
//! A pre-vote spends no term: a node cut off from the others asks again and again in the term it has, so it comes back without
//! deposing anyone. Only who was promised a quorum opens a term, and an election that fails starts over with pre-votes.

use std::collections::BTreeSet;

use super::io::{DropReason, Fatal};
use super::message::{Message, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse};
use super::quorum;
use super::raft::Transition;
use super::state::State;
use crate::NodeId;
use crate::mutants::mutant;
use crate::types::COUNTER_MAX;

/// A node that asks for pre-votes or votes.
pub(super) struct Candidate {
    phase: Phase,
    /// It succeeds a leader that resigned: stickiness does not apply.
    released: bool,
    granted: BTreeSet<NodeId>,
}

/// What a candidate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    PreVote,
    Vote,
}

impl Candidate {
    /// Asks who would vote. A lone voter has its answer at once.
    pub(super) fn pre_vote(state: &mut State) -> (Self, Transition) {
        state.set_leader(None);
        state.restart_election_timer();
        let granted = BTreeSet::from([state.id]);
        let candidate = Candidate { phase: Phase::PreVote, released: false, granted };
        candidate.ask_all(state);
        let transition = candidate.tally(state);
        (candidate, transition)
    }

    /// Opens a term. The requests leave, and the own vote counts, once term and vote are durable.
    pub(super) fn campaign(state: &mut State, released: bool) -> Result<(Self, Transition), Fatal> {
        if state.term().0 >= COUNTER_MAX {
            return Err(Fatal::new("the terms are used up"));
        }
        state.open_term();
        state.restart_election_timer();
        let mut candidate = Candidate { phase: Phase::Vote, released, granted: BTreeSet::new() };
        candidate.ask_all(state);
        let transition = candidate.on_written(state);
        Ok((candidate, transition))
    }

    /// Whether it asks for votes, not for pre-votes.
    pub(super) fn has_opened_term(&self) -> bool {
        self.phase == Phase::Vote
    }

    /// The own vote may have become durable.
    pub(super) fn on_written(&mut self, state: &State) -> Transition {
        if self.phase == Phase::Vote && (state.is_hard_state_durable() || mutant!(OwnVoteAtOnce)) {
            self.granted.insert(state.id);
        }
        self.tally(state)
    }

    /// A promise. It counts for the term that was asked about, and only while pre-votes are wanted.
    pub(super) fn on_pre_vote_response(
        &mut self,
        state: &mut State,
        from: NodeId,
        response: &PreVoteResponse,
    ) -> Transition {
        let is_answer = self.phase == Phase::PreVote && response.asked == state.term();
        if !is_answer && !mutant!(PromiseCountsAsVote) {
            state.drop_part(DropReason::Stale);
            return Transition::Stay;
        }
        self.count(state, from, response.granted)
    }

    /// A vote of the current term: the term rule has dropped all others.
    pub(super) fn on_request_vote_response(
        &mut self,
        state: &mut State,
        from: NodeId,
        response: &RequestVoteResponse,
    ) -> Transition {
        if self.phase != Phase::Vote {
            state.drop_part(DropReason::Stale);
            return Transition::Stay;
        }
        self.count(state, from, response.granted)
    }

    /// There is a new connection to a voter: what was asked before it may never have arrived.
    pub(super) fn on_connected(&self, state: &mut State, peer: NodeId) {
        if state.log.configuration().is_voter(peer) && !self.granted.contains(&peer) {
            self.ask(state, peer);
        }
    }

    fn count(&mut self, state: &State, from: NodeId, granted: bool) -> Transition {
        if granted || mutant!(RefusalCountsAsVote) {
            self.granted.insert(from);
        }
        self.tally(state)
    }

    fn tally(&self, state: &State) -> Transition {
        if !quorum::reached(state.log.configuration(), |id| self.granted.contains(&id)) {
            return Transition::Stay;
        }
        match self.phase {
            Phase::PreVote => Transition::Campaign { released: false },
            Phase::Vote => Transition::Lead,
        }
    }

    fn ask_all(&self, state: &mut State) {
        let configuration = state.log.configuration();
        let others = configuration.nodes().iter().map(|node| node.id).filter(|&id| id != state.id);
        let voters: Vec<NodeId> = others.filter(|&id| configuration.is_voter(id)).collect();
        for voter in voters {
            self.ask(state, voter);
        }
    }

    fn ask(&self, state: &mut State, voter: NodeId) {
        let (term, last) = (state.term(), state.log.last());
        let message = match self.phase {
            Phase::PreVote => Message::PreVote(PreVote { term, last }),
            Phase::Vote => Message::RequestVote(RequestVote { term, last, released: self.released }),
        };
        state.send(voter, message);
    }
}
