//! What every role shares: hard state, log, commit and apply positions, and everything that leaves. The only file that touches
//! hard state, the gate and the outbox.
//!
//! The gate (rules 8-10): a message states a term, so it leaves only when that term, and the vote in it, are durable; an
//! acknowledgement also depends on entries, so it is no message at all until it may leave: [`Acknowledgement`] notes that one is
//! due, and [`State::flush`] computes it from what is durable at that moment. A new term forgets both.

use std::collections::{BTreeMap, VecDeque};

use super::io::{DropReason, Fatal, Output, ReadId, RecoveredLog};
use super::log::{Log, Lookup};
use super::message::{AppendEntriesResponse, Conflict, Message};
use super::options::Options;
use super::watermark::Watermark;
use crate::mutants::mutant;
use crate::random::Random;
use crate::situations::{Situation, sometimes};
use crate::{GroupId, HardState, Index, Instant, LogId, NodeId, Run, Term, WriteSeq};

/// Messages held back while the hard state is being written. A disk that stalls must not let peers fill our memory: beyond it
/// a message is dropped, as the network might have done.
const GATE_MAX: usize = 1024;
/// Fetches that storage has not answered: one to apply and one per lagging peer, with room for late ones.
const FETCHES_MAX: usize = 64;

/// What every role shares.
pub(super) struct State {
    pub(super) options: Options,
    pub(super) id: NodeId,
    pub(super) group: GroupId,
    /// The time of the input at hand.
    pub(super) now: Instant,
    pub(super) log: Log,
    /// This node stops: it never campaigns again.
    pub(super) has_resigned: bool,

    rng: Random,
    /// When a follower stops waiting for its leader, and a candidate for answers.
    election_deadline: Instant,
    /// When a leader of this term was last heard: what stickiness depends on.
    contact: Option<Instant>,
    leader: Option<NodeId>,
    announced: Option<(NodeId, Term)>,

    hard_state: HardState,
    hard_state_queued: bool,
    /// The write that carries the hard state, once it is no longer queued.
    hard_state_seq: WriteSeq,
    queued: Vec<Run>,
    watermark: Watermark,

    gate: Vec<(NodeId, Message)>,
    acknowledgement: Acknowledgement,
    outbox: VecDeque<Output>,

    commit: Index,
    /// Handed over to apply.
    handed: Index,
    applied: Index,
    /// (last index, bytes) of what was handed over and is not yet both applied and durable here.
    handed_runs: VecDeque<(Index, usize)>,
    handed_bytes: usize,
    fetches: Vec<PendingFetch>,

    drops: BTreeMap<DropReason, u64>,
}

/// What the leader of this term is owed. Its facts hold for the term, whatever role this node takes in it.
// Invariant: sent <= proved <= the log's end.
#[derive(Debug, Default)]
struct Acknowledgement {
    /// The highest round heard.
    round: u64,
    /// The log equals the leader's up to here: messages of this term proved it.
    proved: Index,
    /// The highest match index that was acknowledged.
    sent: Index,
    /// A message with entries up to here was not answered yet, perhaps because its answer was lost.
    owed: Index,
    /// An answer is due whatever it says: a new round was heard.
    is_due: bool,
    /// A `prev` that was refused.
    refused: Option<LogId>,
}

/// A fetch that storage has not answered, and the state of the log when it was asked for.
#[derive(Debug, PartialEq, Eq)]
struct PendingFetch {
    first: Index,
    truncations: u64,
}

impl State {
    pub(super) fn new(
        options: Options,
        id: NodeId,
        group: GroupId,
        recovered: RecoveredLog,
        rng_seed: u64,
        now: Instant,
    ) -> Result<Self, Fatal> {
        let RecoveredLog { mut hard_state, baseline, log, tail } = recovered;
        let base = log.base();
        if hard_state.term < base.term {
            // The base is part of the identity, not of the log: a founding entry has term 1 before any term was written.
            hard_state = HardState { term: base.term, vote: None };
        }
        if hard_state.term < log.last().term {
            return Err(Fatal::new(format!(
                "the log ends at {}, beyond the durable term {}",
                log.last(),
                hard_state.term
            )));
        }
        let log = Log::new(log, baseline, tail, options.cache_bytes_max)?;
        if mutant!(VoteForgottenAtStart) {
            hard_state.vote = None;
        }
        let applied = if mutant!(AppliedAssumedAtStart) { log.last().index } else { base.index };
        let mut state = State {
            id,
            group,
            now,
            has_resigned: false,
            rng: Random::new(rng_seed),
            election_deadline: now,
            contact: None,
            leader: None,
            announced: None,
            hard_state,
            hard_state_queued: false,
            hard_state_seq: WriteSeq(0),
            queued: Vec::new(),
            watermark: Watermark::new(log.last().index),
            gate: Vec::new(),
            acknowledgement: Acknowledgement::default(),
            outbox: VecDeque::new(),
            commit: applied,
            handed: applied,
            applied,
            handed_runs: VecDeque::new(),
            handed_bytes: 0,
            fetches: Vec::new(),
            drops: BTreeMap::new(),
            options,
            log,
        };
        state.restart_election_timer();
        Ok(state)
    }

    // Hard state.

    pub(super) fn term(&self) -> Term {
        self.hard_state.term
    }

    pub(super) fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// A higher term was seen: whatever was meant for the old one is void, promises to its leader included.
    pub(super) fn adopt_term(&mut self, term: Term) {
        self.set_hard_state(HardState { term, vote: None });
        self.contact = None;
        self.leader = None;
        if !mutant!(ObligationKept) {
            self.acknowledgement = Acknowledgement::default();
        }
        self.gate.clear();
    }

    /// Opens the next term with a vote for this node.
    pub(super) fn open_term(&mut self) {
        let term = self.term().next();
        self.adopt_term(term);
        self.set_hard_state(HardState { term, vote: Some(self.id) });
    }

    pub(super) fn vote_for(&mut self, candidate: NodeId) {
        if self.hard_state.vote != Some(candidate) {
            self.set_hard_state(HardState { term: self.term(), vote: Some(candidate) });
        }
    }

    /// Whether term and vote as they stand survive a crash.
    pub(super) fn is_hard_state_durable(&self) -> bool {
        let is_durable = !self.hard_state_queued && self.watermark.written() >= self.hard_state_seq;
        is_durable || mutant!(VoteNotPersisted)
    }

    fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
        self.hard_state_queued = true;
    }

    // Leader and election timer.

    pub(super) fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    pub(super) fn set_leader(&mut self, leader: Option<NodeId>) {
        self.leader = leader;
    }

    /// The leader of this term was heard.
    pub(super) fn note_contact(&mut self) {
        self.contact = Some(self.now);
        self.restart_election_timer();
    }

    /// The leader resigned: whoever campaigns may be voted for at once.
    pub(super) fn release(&mut self) {
        self.contact = None;
        self.leader = None;
    }

    /// Whether a leader was heard so recently that no vote may depose it (thesis 4.2.3).
    pub(super) fn is_sticky(&self) -> bool {
        self.contact.is_some_and(|contact| self.now - contact < self.options.election_timeout_min)
    }

    pub(super) fn election_deadline(&self) -> Instant {
        self.election_deadline
    }

    pub(super) fn restart_election_timer(&mut self) {
        let (min, max) = (self.options.election_timeout_min, self.options.election_timeout_max);
        self.election_deadline = self.now + self.rng.duration(min, max);
    }

    /// A hint says that the leader is gone: waits no longer than until others may agree. Never lengthens the wait (rule 26).
    pub(super) fn hasten_election(&mut self) {
        let earliest =
            self.contact.map_or(self.now, |contact| contact + self.options.election_timeout_min).max(self.now);
        // Spread over a heartbeat, so that those who got the same hint do not split the vote.
        let spread = self.rng.duration(std::time::Duration::ZERO, self.options.heartbeat_interval);
        self.election_deadline = self.election_deadline.min(earliest + spread);
    }

    /// Whether this node may ask for votes: as a voter of the configuration in force or of the committed one. With the first
    /// alone, a cluster whose only up-to-date node an uncommitted change removed would stay without a leader for ever.
    pub(super) fn may_campaign(&self) -> bool {
        let is_voter =
            self.log.configuration().is_voter(self.id) || self.log.configuration_at(self.commit).is_voter(self.id);
        is_voter && !self.has_resigned
    }

    // The log and its writes.

    /// Adds a run at its place. What it cuts off is gone from the watermark and from the queue in the same step (rule 10).
    pub(super) fn splice(&mut self, run: Run) -> Result<(), Fatal> {
        let kept = run.first().prev();
        if kept < self.log.last().index {
            if kept < self.commit {
                return Err(Fatal::new(format!("{run:?} would replace entries committed up to {}", self.commit)));
            }
            let is_durable = self.watermark.durable() >= self.log.last().index;
            sometimes(if is_durable { Situation::TailCutOff } else { Situation::UnwrittenTailCutOff });
            self.watermark.truncate(kept);
            self.queued = self.queued.iter().filter_map(|queued| queued.slice(queued.first(), kept)).collect();
        }
        self.log.splice(run.clone())?;
        self.queued.push(run);
        Ok(())
    }

    /// The log is durable up to here.
    pub(super) fn durable(&self) -> Index {
        self.watermark.durable()
    }

    /// What this node may count, or acknowledge, as its own.
    pub(super) fn own_match(&self) -> Index {
        if mutant!(AckBeforeDurable) { self.log.last().index } else { self.watermark.durable() }
    }

    pub(super) fn written(&mut self, seq: WriteSeq) -> Result<(), Fatal> {
        self.watermark.complete(seq)?;
        self.log.evict(self.watermark.durable());
        Ok(())
    }

    // Acknowledgements to the leader.

    /// Messages of this term's leader proved the log equal to its own up to `index`.
    pub(super) fn prove(&mut self, index: Index) {
        self.acknowledgement.proved = self.acknowledgement.proved.max(index);
    }

    pub(super) fn proved(&self) -> Index {
        self.acknowledgement.proved
    }

    /// The leader wants to know when everything up to `index` is durable here.
    pub(super) fn owe(&mut self, index: Index) {
        self.acknowledgement.owed = self.acknowledgement.owed.max(index);
    }

    /// A message of this round was heard: a new round is answered at once, whatever is durable.
    pub(super) fn hear_round(&mut self, round: u64) {
        if round > self.acknowledgement.round {
            self.acknowledgement.round = round;
            self.acknowledgement.is_due = true;
        }
    }

    /// The log does not hold `prev`. Of several such, the lowest says most.
    pub(super) fn refuse(&mut self, prev: LogId) {
        let lowest = self
            .acknowledgement
            .refused
            .map_or(prev, |refused| if refused.index < prev.index { refused } else { prev });
        self.acknowledgement.refused = Some(lowest);
    }

    fn acknowledge(&mut self) {
        let Some(leader) = self.leader.filter(|leader| *leader != self.id) else { return };
        if !self.is_hard_state_durable() {
            return;
        }
        let match_index = match self.acknowledgement.proved {
            _ if mutant!(AckBeyondProof) => self.own_match(),
            proved => self.own_match().min(proved),
        };
        let ack = &mut self.acknowledgement;
        // What was refused may have been proved since by a message that had been overtaken.
        let was_refused = ack.refused.is_some();
        let refused = ack.refused.take().filter(|prev| prev.index > ack.proved);
        if was_refused && refused.is_none() {
            sometimes(Situation::RefusalOvertaken);
        }
        let owed = ack.owed > Index(0) && match_index >= ack.owed;
        if !ack.is_due && !owed && refused.is_none() && match_index <= ack.sent {
            return;
        }
        ack.is_due = false;
        ack.sent = ack.sent.max(match_index);
        if owed {
            ack.owed = Index(0);
        }
        let round = ack.round;
        let conflict =
            refused.map(|prev| Conflict { rejected: prev.index, hint: self.log.last_not_above(prev.term, prev.index) });
        let response = AppendEntriesResponse { term: self.term(), round, match_index, conflict };
        self.send(leader, Message::AppendEntriesResponse(response));
    }

    // Commit and apply.

    pub(super) fn commit(&self) -> Index {
        self.commit
    }

    pub(super) fn applied(&self) -> Index {
        self.applied
    }

    /// Everything up to `index` is committed; nothing changes if that was known.
    pub(super) fn commit_to(&mut self, index: Index) -> Result<(), Fatal> {
        if index > self.log.last().index {
            return Err(Fatal::new(format!("index {index} is committed, but the log ends at {}", self.log.last())));
        }
        self.commit = self.commit.max(index);
        Ok(())
    }

    pub(super) fn note_applied(&mut self, index: Index) -> Result<(), Fatal> {
        if index > self.handed {
            return Err(Fatal::new(format!("index {index} was applied, but only {} handed over", self.handed)));
        }
        self.applied = self.applied.max(index);
        Ok(())
    }

    /// Hands over what is committed, at once, within the byte bound (rule 11).
    fn apply_committed(&mut self) {
        let settled = self.applied.min(self.watermark.durable());
        while let Some(&(last, bytes)) = self.handed_runs.front()
            && last <= settled
        {
            self.handed_bytes -= bytes;
            self.handed_runs.pop_front();
        }
        let room = self.options.apply_bytes_max.saturating_sub(self.handed_bytes);
        if self.handed >= self.commit || room == 0 {
            if self.handed < self.commit {
                sometimes(Situation::ApplyHeldBack);
            }
            return;
        }
        match self.log.read(self.handed.next(), self.commit, room) {
            Lookup::Cached(runs) => self.hand_over(runs),
            // Reading back has its price: not for the last few bytes of room, or a replay would crawl entry by entry.
            Lookup::Stored(last) if room >= self.options.apply_bytes_max / 2 => {
                sometimes(Situation::FetchedToApply);
                self.fetch(self.handed.next(), last, room);
            }
            Lookup::Stored(_) => {}
        }
    }

    fn hand_over(&mut self, runs: Vec<Run>) {
        for run in &runs {
            self.handed = run.last();
            self.handed_bytes += run.encoded_len();
            self.handed_runs.push_back((run.last(), run.encoded_len()));
        }
        if !runs.is_empty() {
            if self.handed > self.watermark.durable() {
                sometimes(Situation::AppliedBeforeDurable);
            }
            self.outbox.push_back(Output::Apply(runs));
        }
    }

    // Reading back.

    /// Asks storage for runs, unless it was asked already.
    pub(super) fn fetch(&mut self, first: Index, last: Index, bytes_max: usize) {
        let fetch = PendingFetch { first, truncations: self.log.truncations() };
        if self.fetches.len() < FETCHES_MAX && !self.fetches.contains(&fetch) {
            self.fetches.push(fetch);
            self.outbox.push_back(Output::Fetch { first, last, bytes_max });
        }
    }

    /// Takes what storage read back, and applies it if that was waited for. Returns the runs if they are what stands in the log;
    /// what may have been cut off since it was asked for is no error, just of no use.
    pub(super) fn fetched(&mut self, first: Index, runs: Vec<Run>) -> Result<Vec<Run>, Fatal> {
        let Some(at) = self.fetches.iter().position(|fetch| fetch.first == first) else {
            self.drop_part(DropReason::Unexpected);
            return Ok(Vec::new());
        };
        let is_current = self.fetches.remove(at).truncations == self.log.truncations();
        let mut next = first;
        let is_ours = !runs.is_empty()
            && runs.iter().all(|run| {
                let follows = run.first() == next;
                next = run.last().next();
                follows && self.log.holds(run)
            });
        if !is_ours {
            if is_current {
                return Err(Fatal::new(format!(
                    "storage could not read back the entries from {first}, it gave {runs:?}"
                )));
            }
            return Ok(Vec::new());
        }
        if self.handed.next() == first || mutant!(FetchedAppliedAnywhere) {
            let committed = runs.iter().filter_map(|run| run.slice(run.first(), self.commit)).collect();
            self.hand_over(committed);
        }
        Ok(runs)
    }

    // What leaves.

    /// Sends, as soon as the term that the message states is durable.
    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        if self.is_hard_state_durable() {
            self.outbox.push_back(Output::Send { to, message });
        } else if self.gate.len() < GATE_MAX {
            self.gate.push((to, message));
        }
    }

    pub(super) fn read_ready(&mut self, id: ReadId, index: Index) {
        self.outbox.push_back(Output::ReadReady { id, index });
    }

    pub(super) fn read_failed(&mut self, id: ReadId) {
        self.outbox.push_back(Output::ReadFailed { id });
    }

    /// Counts a message, or a part of it, that is not used.
    pub(super) fn drop_part(&mut self, reason: DropReason) {
        *self.drops.entry(reason).or_default() += 1;
    }

    pub(super) fn drops(&self) -> &BTreeMap<DropReason, u64> {
        &self.drops
    }

    /// Lets out everything that may leave: one write for all that was queued, messages whose term is durable, the answer to the
    /// leader, and what can be applied.
    pub(super) fn flush(&mut self) {
        let current = self.leader.map(|leader| (leader, self.term()));
        if self.announced != current {
            self.announced = current;
            self.outbox.push_back(Output::LeaderChanged(current));
        }
        self.write();
        if self.is_hard_state_durable() {
            for (to, message) in std::mem::take(&mut self.gate) {
                self.outbox.push_back(Output::Send { to, message });
            }
        }
        self.acknowledge();
        self.apply_committed();
    }

    fn write(&mut self) {
        // The mutant forgets a vote until entries are written anyway.
        let is_lazy = mutant!(VoteNotPersisted);
        if self.queued.is_empty() && (!self.hard_state_queued || is_lazy) {
            return;
        }
        let runs = std::mem::take(&mut self.queued);
        let seq = self.watermark.issue(runs.last().map(Run::last));
        let hard_state = self.hard_state_queued.then_some(self.hard_state);
        if hard_state.is_some() {
            self.hard_state_queued = false;
            self.hard_state_seq = seq;
        }
        self.outbox.push_back(Output::Write { seq, hard_state, runs });
    }

    pub(super) fn pop_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// The group stops: of what it wanted to say, only the reason is left.
    pub(super) fn stop(&mut self, fatal: Fatal) {
        self.gate.clear();
        self.queued.clear();
        self.outbox.clear();
        self.outbox.push_back(Output::Fatal(fatal));
    }

    /// What must hold of the shared state.
    pub(super) fn check(&self) -> Result<(), Fatal> {
        let last = self.log.last();
        let broken = if self.log.base().index > self.applied || self.applied > self.handed || self.handed > self.commit
        {
            "applied, handed over and committed are out of order"
        } else if self.commit > last.index {
            "more is committed than the log holds"
        } else if self.watermark.claimed() > last.index {
            "a write claims entries that are gone"
        } else if last.term > self.term() {
            "the log is ahead of the term"
        } else if self.acknowledgement.proved > last.index || self.acknowledgement.sent > self.acknowledgement.proved {
            "an acknowledgement covers what was not proved"
        } else if self.handed_bytes != self.handed_runs.iter().map(|(_, bytes)| bytes).sum::<usize>() {
            "the bytes handed over are miscounted"
        } else {
            return self.log.check();
        };
        Err(Fatal::new(broken))
    }
}
