//! The leader: Figure 2, "Volatile state on leaders" and "Rules for Leaders".
//!
//! A leader never waits. It appends, sends and writes its own disk at the same time, and reacts to answers; its own disk counts
//! like any other, by what is durable. What must be sent is decided once per step, in [`Leader::flush`]: entries as far as each
//! peer's window allows, and one empty message to whoever lacks the current round or commit index.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::io::{DropReason, Fatal, Proposal, ProposeError, ReadError, ReadId};
use super::log::{Lookup, within};
use super::message::{AppendEntries, AppendEntriesResponse, Message, Resign};
use super::progress::{Allowance, Progress};
use super::quorum;
use super::raft::Transition;
use super::read::Reads;
use super::staged::Staged;
use super::state::State;
use crate::mutants::mutant;
use crate::situations::{Situation, sometimes};
use crate::{Index, Instant, LogId, LogTime, MachineId, NodeId, Run, RunHeader, RunKind, WallTime};

/// The state of one leadership.
pub(super) struct Leader {
    /// Every node of the configuration but this one, voters and learners.
    peers: BTreeMap<NodeId, Progress>,
    /// The latest round: each heartbeat and each batch of reads begins a new one, unique in the term.
    round: u64,
    heartbeat_due: Instant,
    /// The no-op that opened the term: once it is committed, the commit index is known to be current (paper 5.4.2, 8).
    opening: Index,
    /// Log time stood at `.1` when this leadership began at `.0` (rule 15).
    began: (Instant, LogTime),
    staged: Option<Staged>,
    /// (last index, bytes) of what was proposed here and is not yet both committed and durable here.
    unsettled: VecDeque<(Index, usize)>,
    unsettled_bytes: usize,
    reads: Reads,
}

impl Leader {
    /// Opens the term: a no-op, and word to everyone at once.
    pub(super) fn new(state: &mut State) -> Result<Self, Fatal> {
        state.set_leader(Some(state.id));
        let last = state.log.last();
        let floor = state.log.base().index.next();
        let peers = state.log.configuration().nodes().iter().filter(|node| node.id != state.id);
        let mut leader = Leader {
            peers: peers.map(|node| (node.id, Progress::new(last.index.next(), floor, state.now))).collect(),
            round: 1,
            heartbeat_due: state.now + state.options.heartbeat_interval,
            opening: last.index.next(),
            began: (state.now, state.log.log_time()),
            staged: None,
            unsettled: VecDeque::new(),
            unsettled_bytes: 0,
            reads: Reads::default(),
        };
        let noop = Proposal {
            kind: RunKind::Noop,
            machine: MachineId(0),
            codec: 0,
            command_version: 0,
            blocks: Vec::new(),
            commands: vec![Bytes::new()],
            wall_time: WallTime(0),
        };
        // The mutant commits earlier entries by counting, so it sees no need for one of its own behind them.
        if !mutant!(OwnTermCommit) || last.index == state.commit() {
            leader.stage(state, noop)?;
        }
        Ok(leader)
    }

    /// Accepts entries into the run that this step builds.
    pub(super) fn propose(&mut self, state: &mut State, proposal: Proposal) -> Result<LogId, Refusal> {
        check_proposal(&proposal, state.options.entry_bytes_max).map_err(Refusal::Proposal)?;
        let bytes: usize = proposal.commands.iter().map(Bytes::len).sum();
        if self.uncommitted_bytes() + bytes > state.options.uncommitted_bytes_max {
            sometimes(Situation::LeaderHasNoRoom);
            return Err(Refusal::Proposal(ProposeError::Overloaded));
        }
        let first = LogId::new(state.term(), self.last(state).index.next());
        self.stage(state, proposal).map_err(Refusal::Fatal)?;
        Ok(first)
    }

    /// Accepts a read into the next round.
    pub(super) fn read(&mut self, state: &State, id: ReadId) -> Result<(), ReadError> {
        if self.reads.len() >= state.options.reads_max {
            return Err(ReadError::Overloaded);
        }
        self.reads.push(id);
        Ok(())
    }

    /// A peer answered.
    pub(super) fn on_append_entries_response(
        &mut self,
        state: &mut State,
        from: NodeId,
        response: &AppendEntriesResponse,
    ) {
        let Some(progress) = self.peers.get_mut(&from) else {
            // A peer may answer after its removal. That is not an error of either side.
            return state.drop_part(DropReason::NotInConfiguration);
        };
        let is_of_this_leadership = response.round <= self.round || mutant!(StaleAcknowledgementCounted);
        if response.match_index > state.log.last().index || !is_of_this_leadership {
            return state.drop_part(DropReason::Unexpected);
        }
        progress.on_answer(state.now, response.round);
        // A refusal that proves nothing new is no answer to a probe from there: taken for one, each refusal of what had been sent
        // behind a lost message would have the whole window sent again, to be refused again.
        if response.conflict.is_none() || response.match_index > progress.match_index() {
            progress.advance(response.match_index, state.now);
        }
        if let Some(conflict) = &response.conflict {
            let shared = state.log.last_not_above(conflict.hint.term, conflict.hint.index);
            if !progress.back_off(conflict.rejected, shared.index.next()) {
                sometimes(Situation::LateRefusalIgnored);
                state.drop_part(DropReason::Stale);
            }
        }
    }

    /// A heartbeat may be due; a leader that has lost its quorum's contact steps down with it (check-quorum).
    pub(super) fn on_timeout(&mut self, state: &mut State) -> Transition {
        if state.now < self.heartbeat_due {
            return Transition::Stay;
        }
        let is_in_contact = |id: NodeId| {
            let contact = self.peers.get(&id).map(Progress::contact);
            id == state.id || contact.is_some_and(|at| state.now - at < state.options.election_timeout_max)
        };
        if !quorum::reached(state.log.configuration(), is_in_contact) && !mutant!(CheckQuorumSkipped) {
            sometimes(Situation::QuorumLost);
            state.release();
            state.restart_election_timer();
            return Transition::Follow;
        }
        self.heartbeat_due = state.now + state.options.heartbeat_interval;
        self.round += 1;
        let patience = state.options.election_timeout_min.max(state.options.heartbeat_interval * 4);
        for progress in self.peers.values_mut() {
            progress.on_heartbeat(state.now, patience);
        }
        Transition::Stay
    }

    /// What was sent over an earlier connection may be lost.
    pub(super) fn on_connection_changed(&mut self, peer: NodeId) {
        if let Some(progress) = self.peers.get_mut(&peer) {
            progress.probe();
        }
    }

    /// Storage read back entries that are `first` and following: sent to every peer that needs just these next.
    pub(super) fn on_fetched(&mut self, state: &mut State, first: Index, runs: &[Run]) {
        for (&to, progress) in &mut self.peers {
            if progress.next_index() == first && progress.allowance(&state.options) == Allowance::Entries {
                let fitting = within(runs.iter().cloned(), state.options.append_bytes_max);
                send(state, to, progress, self.round, first.prev(), fitting);
            }
        }
    }

    /// Steps down for good: names the voter that has proven most as its successor, and releases all from stickiness.
    pub(super) fn resign(&mut self, state: &mut State) -> Result<Transition, Fatal> {
        self.flush(state)?;
        let configuration = state.log.configuration();
        let is_fit = |id: &NodeId, progress: &Progress| {
            let is_fresh = state.now - progress.contact() < state.options.election_timeout_min;
            configuration.is_voter(*id) && progress.is_replicating() && is_fresh
        };
        let fit = self.peers.iter().filter(|(id, progress)| is_fit(id, progress));
        let successor = fit.max_by_key(|(_, progress)| progress.match_index()).map(|(&id, _)| id);
        for &to in self.peers.keys() {
            let resign = Resign { term: state.term(), successor: successor == Some(to) };
            state.send(to, Message::Resign(resign));
        }
        state.release();
        state.restart_election_timer();
        Ok(Transition::Follow)
    }

    /// The leadership ends. What was accepted stays in the log; what becomes of it is the next leader's affair.
    pub(super) fn retire(&mut self, state: &mut State) -> Result<(), Fatal> {
        self.append_staged(state)?;
        if state.log.last().index == self.opening {
            sometimes(Situation::TermOfItsNoop);
        }
        if self.reads.len() > 0 {
            sometimes(Situation::ReadGivenUp);
        }
        for id in self.reads.drain() {
            state.read_failed(id);
        }
        Ok(())
    }

    /// Appends what was accepted in this step, commits what a quorum holds, and sends what each peer may be sent.
    pub(super) fn flush(&mut self, state: &mut State) -> Result<(), Fatal> {
        self.append_staged(state)?;
        self.advance_commit(state)?;
        // A leader knows the commit index of earlier terms only once it has committed in its own (paper 8).
        if self.reads.wants_round() && (state.commit() >= self.opening || mutant!(ReadBeforeOwnCommit)) {
            self.round += if mutant!(ReadJoinsEarlierRound) { 0 } else { 1 };
            self.reads.begin(self.round, state.commit());
        } else if self.reads.wants_round() {
            sometimes(Situation::ReadWaitedForNoop);
        }
        for (&to, progress) in &mut self.peers {
            replicate(state, to, progress, self.round);
        }
        let heard = |round: u64| {
            let has_heard =
                |id: NodeId| id == state.id || self.peers.get(&id).is_some_and(|peer| peer.round() >= round);
            quorum::reached(state.log.configuration(), has_heard) || mutant!(ReadWithoutRound)
        };
        if let Some((reads, index)) = self.reads.confirmed(heard) {
            sometimes(if reads.len() > 1 { Situation::ReadsShared } else { Situation::ReadConfirmed });
            for id in reads {
                state.read_ready(id, index);
            }
        }
        Ok(())
    }

    /// When the next heartbeat is due.
    pub(super) fn deadline(&self) -> Instant {
        self.heartbeat_due
    }

    /// The last entry, what this step accepted included.
    pub(super) fn last(&self, state: &State) -> LogId {
        let last = state.log.last();
        let staged = self.staged.as_ref().map_or(0, Staged::count);
        if staged == 0 { last } else { LogId::new(state.term(), Index(last.index.0 + staged)) }
    }

    /// Bytes proposed here that are not yet both committed and durable here.
    pub(super) fn uncommitted_bytes(&self) -> usize {
        self.unsettled_bytes + self.staged.as_ref().map_or(0, Staged::bytes)
    }

    /// What must hold of a leader.
    pub(super) fn check(&self, state: &State) -> Result<(), Fatal> {
        let last = state.log.last().index;
        match self.peers.iter().find(|(_, progress)| !progress.is_consistent(last)) {
            Some((id, progress)) => Err(Fatal::new(format!("the progress of {id} contradicts itself: {progress:?}"))),
            None if state.leader() != Some(state.id) => Err(Fatal::new("a leader follows another")),
            None => Ok(()),
        }
    }

    fn stage(&mut self, state: &mut State, proposal: Proposal) -> Result<(), Fatal> {
        if let Some(staged) = &mut self.staged {
            if staged.takes(&proposal, state.options.append_bytes_max) {
                staged.extend(proposal);
                return Ok(());
            }
            self.append_staged(state)?;
        }
        let (began, log_time) = self.began;
        let place = RunHeader {
            group: state.group,
            term: state.term(),
            first: state.log.last().index.next(),
            kind: proposal.kind,
            codec: proposal.codec,
            command_version: proposal.command_version,
            machine: proposal.machine,
            log_time: log_time + (state.now - began),
            wall_time: proposal.wall_time,
            // Known when the run is appended.
            chain: 0,
        };
        self.staged = Some(Staged::new(place, proposal));
        Ok(())
    }

    fn append_staged(&mut self, state: &mut State) -> Result<(), Fatal> {
        let Some(staged) = self.staged.take() else { return Ok(()) };
        let run = staged.into_run(state.log.chain())?;
        self.unsettled_bytes += run.encoded_len();
        self.unsettled.push_back((run.last(), run.encoded_len()));
        state.splice(run)
    }

    /// Commits what a quorum holds durably, if it is of this term (paper 5.4.2, Figure 8): everything before it goes with it.
    fn advance_commit(&mut self, state: &mut State) -> Result<(), Fatal> {
        let own = state.own_match();
        let matched =
            |id: NodeId| if id == state.id { own } else { self.peers.get(&id).map_or(Index(0), Progress::match_index) };
        let index = quorum::committed(state.log.configuration(), matched);
        let is_own_term = state.log.term_at(index) == Some(state.term()) || mutant!(OwnTermCommit);
        if index > state.commit() && is_own_term {
            if state.log.term_at(state.commit().next()) != Some(state.term()) {
                sometimes(Situation::OlderEntriesCommitted);
            }
            if index > state.durable() {
                sometimes(Situation::CommittedBeforeOwnDisk);
            }
            state.commit_to(index)?;
        } else if index > state.commit() {
            sometimes(Situation::OlderEntriesWaited);
        }
        let settled = state.commit().min(state.durable());
        while let Some(&(last, bytes)) = self.unsettled.front()
            && last <= settled
        {
            self.unsettled_bytes -= if mutant!(RoomNotReturned) { 0 } else { bytes };
            self.unsettled.pop_front();
        }
        Ok(())
    }
}

/// Why nothing was staged.
pub(super) enum Refusal {
    /// The proposal's fault, or the load's.
    Proposal(ProposeError),
    /// A broken invariant.
    Fatal(Fatal),
}

fn check_proposal(proposal: &Proposal, entry_bytes_max: usize) -> Result<(), ProposeError> {
    let count = proposal.commands.len() as u64;
    match proposal.kind {
        RunKind::Command => {
            let mut covered = 0;
            for block in &proposal.blocks {
                if block.count == 0 || block.first_number.checked_add(u64::from(block.count)).is_none() {
                    return Err(ProposeError::Malformed("a block is empty or out of range"));
                }
                covered += u64::from(block.count);
            }
            if count == 0 || covered != count {
                return Err(ProposeError::Malformed("blocks and commands differ in number"));
            }
        }
        RunKind::Session | RunKind::Machine => {
            if count != 1 || !proposal.blocks.is_empty() {
                return Err(ProposeError::Malformed("an entry of this kind stands alone"));
            }
        }
        RunKind::Noop | RunKind::Configuration => {
            return Err(ProposeError::Malformed("an entry of this kind is not proposed"));
        }
    }
    match proposal.commands.iter().map(Bytes::len).max() {
        Some(bytes) if bytes > entry_bytes_max => Err(ProposeError::TooLarge { bytes, bytes_max: entry_bytes_max }),
        _ => Ok(()),
    }
}

/// Sends what the peer may be sent now: entries or a probe, else one empty message if it lacks news.
fn replicate(state: &mut State, to: NodeId, progress: &mut Progress, round: u64) {
    let last = state.log.last().index;
    loop {
        let allowance = progress.allowance(&state.options);
        let next = progress.next_index();
        if allowance == Allowance::Nothing || (allowance == Allowance::Entries && next > last) {
            if allowance == Allowance::Nothing && progress.is_replicating() && next <= last {
                sometimes(Situation::WindowFull);
            }
            break;
        }
        let bytes_max = state.options.append_bytes_max;
        let runs = match state.log.read(next, last, bytes_max) {
            Lookup::Cached(runs) => runs,
            Lookup::Stored(_) if allowance == Allowance::Probe => Vec::new(),
            Lookup::Stored(until) => {
                sometimes(Situation::FetchedToReplicate);
                state.fetch(next, until, bytes_max);
                break;
            }
        };
        send(state, to, progress, round, next.prev(), runs);
        progress.pause();
    }
    if progress.lacks_news(round, state.commit()) {
        send(state, to, progress, round, progress.match_index(), Vec::new());
    }
}

/// Sends one AppendEntries that continues the entry at `prev`.
fn send(state: &mut State, to: NodeId, progress: &mut Progress, round: u64, prev: Index, runs: Vec<Run>) {
    let prev = state.log.id_at(prev);
    let chain = match runs.first() {
        Some(run) => Some(run.header().chain),
        None => state.log.chain_at(prev.index),
    };
    let end = runs.last().map(Run::last);
    let bytes = runs.iter().map(Run::encoded_len).sum();
    let leader_commit = state.commit().min(progress.covered().max(end.unwrap_or(prev.index)));
    progress.sent(end, bytes, round, leader_commit, state.now);
    let message =
        AppendEntries { term: state.term(), prev, prev_chain: chain.unwrap_or(0), leader_commit, round, runs };
    state.send(to, Message::AppendEntries(message));
}
