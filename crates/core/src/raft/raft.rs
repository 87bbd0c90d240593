//! The public face of a group: the term rule, dispatch by role, and the only place that assigns the role.

use std::collections::BTreeMap;

use super::candidate::Candidate;
use super::configuration::Configuration;
use super::follower;
use super::invariants::{Observed, check_state, check_step};
use super::io::{DropReason, Fatal, Input, Output, Proposal, ProposeError, ReadError, ReadId, RecoveredLog, Role};
use super::leader::{Leader, Refusal};
use super::message::{AppendEntriesResponse, Message};
use super::options::Options;
use super::state::State;
use crate::mutants::mutant;
use crate::situations::{Situation, sometimes};
use crate::{GroupId, HardState, Index, Instant, LogId, NodeId, Term};

/// One node's part in one Raft group.
///
/// Hand in what happens, in any order and number; then take outputs until there is none. Entries that were proposed before are
/// appended, written and sent when outputs are taken.
pub struct Raft {
    state: State,
    part: Part,
    fatal: Option<Fatal>,
    /// Something happened since outputs were last gathered.
    is_dirty: bool,
}

/// The role with what belongs to it alone.
enum Part {
    Follower,
    Candidate(Candidate),
    Leader(Box<Leader>),
}

/// What should become of the role.
pub(super) enum Transition {
    /// Nothing.
    Stay,
    /// Follower of the current term.
    Follow,
    /// Candidate that asks for pre-votes.
    AskPreVotes,
    /// Candidate of the next term.
    Campaign {
        /// It succeeds a leader that resigned.
        released: bool,
    },
    /// Leader of the current term.
    Lead,
}

impl Raft {
    /// A follower with what storage recovered. Everything up to the log's base is committed and counts as applied.
    ///
    /// Fails, without effect, when the options or what was recovered contradict themselves.
    pub fn new(
        options: Options,
        id: NodeId,
        group: GroupId,
        recovered: RecoveredLog,
        rng_seed: u64,
        now: Instant,
    ) -> Result<Raft, Fatal> {
        let options = options.validated().map_err(|error| Fatal::new(error.to_string()))?;
        let state = State::new(options, id, group, recovered, rng_seed, now)?;
        Ok(Raft { state, part: Part::Follower, fatal: None, is_dirty: true })
    }

    /// Takes notice of what happened. Several inputs may follow each other before outputs are polled.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.guarded(now, |raft| {
            let transition = raft.on_input(input)?;
            raft.transit(transition)
        });
    }

    /// Appends entries if this node leads; returns the id of the first. What is proposed before outputs are polled leaves
    /// together: one write, one message to each peer.
    pub fn propose(&mut self, now: Instant, proposal: Proposal) -> Result<LogId, ProposeError> {
        if self.fatal.is_some() || self.state.has_resigned {
            return Err(ProposeError::Stopped);
        }
        let mut answer = Err(ProposeError::Stopped);
        self.guarded(now, |raft| {
            let Part::Leader(leader) = &mut raft.part else {
                answer = Err(ProposeError::NotLeader { leader: raft.state.leader() });
                return Ok(());
            };
            answer = match leader.propose(&mut raft.state, proposal) {
                Ok(first) => Ok(first),
                Err(Refusal::Proposal(error)) => Err(error),
                Err(Refusal::Fatal(fatal)) => return Err(fatal),
            };
            Ok(())
        });
        answer
    }

    /// Asks for a linearizable read index; answered by `ReadReady` or `ReadFailed`.
    pub fn read(&mut self, now: Instant, id: ReadId) -> Result<(), ReadError> {
        if self.fatal.is_some() || self.state.has_resigned {
            return Err(ReadError::Stopped);
        }
        self.advance_clock(now);
        let Part::Leader(leader) = &mut self.part else {
            return Err(ReadError::NotLeader { leader: self.state.leader() });
        };
        self.is_dirty = true;
        leader.read(&self.state, id)
    }

    /// The next thing to do; none until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.state.pop_output() {
            return Some(output);
        }
        if std::mem::take(&mut self.is_dirty) {
            self.guarded(self.state.now, |raft| {
                if let Part::Leader(leader) = &mut raft.part {
                    leader.flush(&mut raft.state)?;
                }
                raft.state.flush();
                Ok(())
            });
            self.is_dirty = false;
        }
        self.state.pop_output()
    }

    /// When to hand in [`Input::Timeout`]; none once the group has stopped.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.part {
            _ if self.fatal.is_some() => None,
            Part::Leader(leader) => Some(leader.deadline()),
            Part::Follower | Part::Candidate(_) => Some(self.state.election_deadline()),
        }
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.state.id
    }

    /// This group.
    pub fn group(&self) -> GroupId {
        self.state.group
    }

    /// The options.
    pub fn options(&self) -> &Options {
        &self.state.options
    }

    /// The role.
    pub fn role(&self) -> Role {
        match self.part {
            Part::Follower => Role::Follower,
            Part::Candidate(_) => Role::Candidate,
            Part::Leader(_) => Role::Leader,
        }
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.state.term()
    }

    /// Term and vote, durable or not.
    pub fn hard_state(&self) -> HardState {
        self.state.hard_state()
    }

    /// The leader of the current term, as far as known.
    pub fn leader(&self) -> Option<NodeId> {
        self.state.leader()
    }

    /// The highest index known to be committed.
    pub fn commit_index(&self) -> Index {
        self.state.commit()
    }

    /// The highest index that is applied here.
    pub fn applied_index(&self) -> Index {
        self.state.applied()
    }

    /// The last entry, durable or not, what was proposed since outputs were polled included.
    pub fn last(&self) -> LogId {
        match &self.part {
            Part::Leader(leader) => leader.last(&self.state),
            _ => self.state.log.last(),
        }
    }

    /// The term of the entry at `index`; none below the log's base and beyond its end.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.state.log.term_at(index)
    }

    /// The log is durable up to here.
    pub fn durable_index(&self) -> Index {
        self.state.durable()
    }

    /// The configuration in force: the last in the log, committed or not.
    pub fn configuration(&self) -> &Configuration {
        self.state.log.configuration()
    }

    /// Bytes proposed here that are not yet both committed and durable here.
    pub fn uncommitted_bytes(&self) -> usize {
        match &self.part {
            Part::Leader(leader) => leader.uncommitted_bytes(),
            _ => 0,
        }
    }

    /// What was not used, by reason.
    pub fn drops(&self) -> &BTreeMap<DropReason, u64> {
        self.state.drops()
    }

    /// Why the group has stopped.
    pub fn fatal(&self) -> Option<&Fatal> {
        self.fatal.as_ref()
    }

    /// The invariants of the state and of the role.
    pub(super) fn check(&self) -> Result<(), Fatal> {
        self.state.check()?;
        match &self.part {
            Part::Leader(leader) => leader.check(&self.state),
            _ if self.state.leader() == Some(self.state.id) => {
                Err(Fatal::new("a node that does not lead follows itself"))
            }
            _ => Ok(()),
        }
    }

    /// Runs one step; a broken invariant stops the group (rule 12).
    fn guarded(&mut self, now: Instant, step: impl FnOnce(&mut Raft) -> Result<(), Fatal>) {
        if self.fatal.is_some() {
            return;
        }
        self.advance_clock(now);
        self.is_dirty = true;
        let before = cfg!(debug_assertions).then(|| Observed::new(self));
        let result = step(self).and_then(|()| match before {
            Some(before) => check_state(self).and_then(|()| check_step(&before, self)),
            None => Ok(()),
        });
        if let Err(fatal) = result {
            self.part = Part::Follower;
            self.state.stop(fatal.clone());
            self.fatal = Some(fatal);
        }
    }

    fn advance_clock(&mut self, now: Instant) {
        self.state.now = self.state.now.max(now);
    }

    fn on_input(&mut self, input: Input) -> Result<Transition, Fatal> {
        let state = &mut self.state;
        match (input, &mut self.part) {
            (Input::Message { from, message }, _) => return self.on_message(from, message),
            (Input::Timeout, Part::Leader(leader)) => return Ok(leader.on_timeout(state)),
            (Input::Timeout, part) if state.now >= state.election_deadline() => {
                if matches!(part, Part::Candidate(candidate) if candidate.has_opened_term()) {
                    sometimes(Situation::ElectionUndecided);
                }
                return Ok(follower::on_timeout(state));
            }
            (Input::Timeout, _) => {}
            (Input::Written(seq), part) => {
                state.written(seq)?;
                if let Part::Candidate(candidate) = part {
                    return Ok(candidate.on_written(state));
                }
            }
            (Input::Applied(index), _) => state.note_applied(index)?,
            (Input::Fetched(fetched), part) => {
                let runs = state.fetched(fetched.first, fetched.runs)?;
                if let Part::Leader(leader) = part {
                    leader.on_fetched(state, fetched.first, &runs);
                }
            }
            (Input::PeerConnected(peer) | Input::PeerDisconnected(peer), Part::Leader(leader)) => {
                leader.on_connection_changed(peer);
            }
            (Input::PeerConnected(peer), Part::Candidate(candidate)) => candidate.on_connected(state, peer),
            (Input::PeerDisconnected(peer) | Input::LeaderGone(peer), Part::Follower) => {
                // Both are hints: they shorten this node's own wait and decide nothing (rule 26).
                if state.leader() == Some(peer) {
                    state.hasten_election();
                }
            }
            (Input::PeerConnected(_) | Input::PeerDisconnected(_) | Input::LeaderGone(_), _) => {}
            (Input::Resign, part) => {
                state.has_resigned = true;
                return match part {
                    Part::Leader(leader) => leader.resign(state),
                    _ => Ok(Transition::Follow),
                };
            }
        }
        Ok(Transition::Stay)
    }

    /// The term rule (Figure 2, "Rules for Servers"), then dispatch.
    fn on_message(&mut self, from: NodeId, message: Message) -> Result<Transition, Fatal> {
        let state = &mut self.state;
        if from == state.id {
            state.drop_part(DropReason::FromSelf);
            return Ok(Transition::Stay);
        }
        if !message.is_well_formed(state.group) {
            state.drop_part(DropReason::Malformed);
            return Ok(Transition::Stay);
        }
        // A leader hears itself.
        let is_sticky = (state.is_sticky() || matches!(self.part, Part::Leader(_))) && !mutant!(StickinessIgnored);
        if message.term() > state.term() {
            match &message {
                // Who is in contact with a leader neither votes nor lets its term be raised by whoever is not (thesis 4.2.3).
                // If that one is right, its own answers to the leader's messages depose it.
                Message::PreVote(request) if is_sticky => {
                    follower::on_pre_vote(state, from, request, is_sticky);
                    return Ok(Transition::Stay);
                }
                Message::RequestVote(request) if is_sticky && !request.released => {
                    sometimes(Situation::VoteRefusedForTheLeader);
                    follower::refuse_or_grant(state, from, false);
                    return Ok(Transition::Stay);
                }
                // A pre-vote states the term that its sender has, one that some election opened, so it is adopted like any
                // other: the sender could not follow a leader of a lower one. Without this, and without the term in a
                // refusal, nodes of different terms could refuse each other for ever; and because asking raises nothing,
                // a node that is cut off comes back with the term it left with.
                _ if mutant!(HigherTermNotAdopted) => {}
                _ => self.adopt_term(message.term())?,
            }
        } else if message.term() < state.term() && !is_believed_although_stale(&message) {
            self.on_earlier_term(from, &message);
            return Ok(Transition::Stay);
        }

        let state = &mut self.state;
        if matches!((&message, &self.part), (Message::AppendEntries(_), Part::Candidate(own)) if own.has_opened_term())
        {
            sometimes(Situation::CandidateFollowed);
        }
        match (message, &mut self.part) {
            (Message::AppendEntries(_), Part::Leader(_)) => {
                return Err(Fatal::new(format!("{from} and this node both lead in term {}", state.term())));
            }
            (Message::AppendEntries(message), _) => return follower::on_append_entries(state, from, message),
            (Message::PreVote(request), _) => follower::on_pre_vote(state, from, &request, is_sticky),
            (Message::RequestVote(request), _) => return Ok(follower::on_request_vote(state, from, &request)),
            (Message::Resign(resign), Part::Follower | Part::Candidate(_)) => {
                return Ok(follower::on_resign(state, from, &resign));
            }
            (Message::PreVoteResponse(response), Part::Candidate(candidate)) => {
                return Ok(candidate.on_pre_vote_response(state, from, &response));
            }
            (Message::RequestVoteResponse(response), Part::Candidate(candidate)) => {
                return Ok(candidate.on_request_vote_response(state, from, &response));
            }
            (Message::AppendEntriesResponse(response), Part::Leader(leader)) => {
                leader.on_append_entries_response(state, from, &response);
            }
            // Votes after the election is decided, answers to a leadership of this term that has ended.
            (
                Message::PreVoteResponse(_)
                | Message::RequestVoteResponse(_)
                | Message::AppendEntriesResponse(_)
                | Message::Resign(_),
                _,
            ) => state.drop_part(DropReason::Unexpected),
        }
        Ok(Transition::Stay)
    }

    /// Tells whoever asks in an earlier term the current one; answers of an earlier term mean nothing any more.
    fn on_earlier_term(&mut self, from: NodeId, message: &Message) {
        let state = &mut self.state;
        match message {
            Message::PreVote(request) => follower::on_pre_vote(state, from, request, true),
            Message::RequestVote(_) => follower::refuse_or_grant(state, from, false),
            Message::AppendEntries(_) => {
                sometimes(Situation::LowerTermAnswered);
                let term = state.term();
                let response = AppendEntriesResponse { term, round: 0, match_index: Index(0), conflict: None };
                state.send(from, Message::AppendEntriesResponse(response));
            }
            _ => state.drop_part(DropReason::Stale),
        }
    }

    fn adopt_term(&mut self, term: Term) -> Result<(), Fatal> {
        if matches!(self.part, Part::Leader(_)) {
            sometimes(Situation::LeaderMetHigherTerm);
        }
        self.become_part(Part::Follower)?;
        self.state.adopt_term(term);
        Ok(())
    }

    fn transit(&mut self, transition: Transition) -> Result<(), Fatal> {
        let mut next = transition;
        loop {
            next = match next {
                Transition::Stay => return Ok(()),
                Transition::Follow => return self.become_part(Part::Follower),
                Transition::AskPreVotes => {
                    let (candidate, next) = Candidate::pre_vote(&mut self.state);
                    self.become_part(Part::Candidate(candidate))?;
                    next
                }
                Transition::Campaign { released } => {
                    let (candidate, next) = Candidate::campaign(&mut self.state, released)?;
                    self.become_part(Part::Candidate(candidate))?;
                    next
                }
                Transition::Lead => {
                    let leader = Leader::new(&mut self.state)?;
                    return self.become_part(Part::Leader(Box::new(leader)));
                }
            };
        }
    }

    fn become_part(&mut self, part: Part) -> Result<(), Fatal> {
        match std::mem::replace(&mut self.part, part) {
            Part::Leader(mut leader) => leader.retire(&mut self.state),
            Part::Follower | Part::Candidate(_) => Ok(()),
        }
    }
}

/// The mutants that do not look whether a message is of an earlier term.
fn is_believed_although_stale(message: &Message) -> bool {
    match message {
        Message::AppendEntries(_) => mutant!(StaleLeaderObeyed),
        Message::PreVoteResponse(_) => mutant!(PromiseCountsAsVote),
        Message::RequestVoteResponse(_) => mutant!(StaleVoteCounted),
        Message::AppendEntriesResponse(_) => mutant!(StaleAcknowledgementCounted),
        _ => false,
    }
}
