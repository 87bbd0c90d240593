//! The commands of this node's application, from submit to outcome (rules 13 to 16).
//!
//! Every command gets a number in this process's session and keeps it for ever: it may be sent as often as needed and applies at
//! most once. The outcome comes from this node's own state machine host, which sees the command where it stands in the log.
//! What was never sent, or was refused by the only leader that it was sent to, is certainly not applied; everything else that
//! has no outcome at its deadline is unknown.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::io::{Outcome, Output, Refused, RequestId, Submit};
use crate::machine::CommandOutcome;
use crate::storage::Reply;
use crate::{
    Block, CommandId, GroupId, Index, Instant, LogTime, MachineId, NodeId, Run, RunHeader, RunKind, SessionId, Term,
    WallTime,
};

/// Numbers in flight at once: the window that every replica keeps (rule 14).
const WINDOW: usize = 65_536;
/// A forward without an outcome is repeated after this time: messages may be lost with their link.
const REPEAT_AFTER: Duration = Duration::from_millis(1_000);
/// Commands with an unknown outcome that can still be asked for.
const KEPT_MAX: usize = 4_096;
/// How long they can be asked for.
const KEPT_FOR: Duration = Duration::from_secs(120);
/// Commands of one forward, in bytes: one message stays well below what a link takes in one piece.
const FORWARD_BYTES_MAX: usize = 512 * 1024;

/// Limits and times of the proposals of a node.
#[derive(Clone, Copy, Debug)]
pub struct ProposalOptions {
    /// A command has its outcome, or is reported unknown, within this time.
    pub submit_deadline: Duration,
    /// A command that could not be sent to any leader is reported not committed after this time.
    pub leader_wait: Duration,
    /// The largest command, in bytes.
    pub command_bytes_max: usize,
    /// All commands in flight together, in bytes.
    pub pending_bytes_max: usize,
}

impl Default for ProposalOptions {
    fn default() -> Self {
        ProposalOptions {
            submit_deadline: Duration::from_secs(5),
            leader_wait: Duration::from_secs(3),
            command_bytes_max: 1_310_720,
            pending_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// A leader in its term: the only one that may append what is addressed to it.
pub(super) type Address = (NodeId, Term);

#[derive(Debug)]
struct Pending {
    request: Option<RequestId>,
    machine: MachineId,
    codec: u8,
    version: u32,
    command: Bytes,
    leader_deadline: Instant,
    deadline: Instant,
    copies: Copies,
    done: Option<(Index, Result<Reply, ()>)>,
}

/// Where copies of a command may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copies {
    /// Nowhere but here.
    None,
    /// One, with the leader of this address, sent as this forward.
    One { to: Address, forward: u64, at: Instant },
    /// Several, or one with a leader that may have appended it before it was replaced.
    Several { to: Address, at: Instant },
}

impl Copies {
    fn address(self) -> Option<(Address, Instant)> {
        match self {
            Copies::None => None,
            Copies::One { to, at, .. } | Copies::Several { to, at } => Some((to, at)),
        }
    }
}

/// All commands of this process that have no final outcome yet.
#[derive(Debug)]
pub(super) struct Proposals {
    options: ProposalOptions,
    group: GroupId,
    session: Option<SessionId>,
    next_number: u64,
    next_forward: u64,
    /// Submitted before there was a session: they have no number yet.
    unnumbered: VecDeque<Pending>,
    pending: BTreeMap<u64, Pending>,
    pending_bytes: usize,
    kept: VecDeque<(Instant, u64)>,
    /// The numbers that `runs_for` must look at: new, refused, or to be repeated.
    unsent: VecDeque<u64>,
    outputs: VecDeque<Output>,
    checked_at: Instant,
}

impl Proposals {
    pub(super) fn new(options: ProposalOptions, group: GroupId) -> Self {
        Proposals {
            options,
            group,
            session: None,
            next_number: 1,
            next_forward: 1,
            unnumbered: VecDeque::new(),
            pending: BTreeMap::new(),
            pending_bytes: 0,
            kept: VecDeque::new(),
            unsent: VecDeque::new(),
            outputs: VecDeque::new(),
            checked_at: Instant::ZERO,
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Commands wait for a session to be opened.
    pub(super) fn wants_session(&self) -> bool {
        self.session.is_none() && !self.unnumbered.is_empty()
    }

    /// No command of the application waits for an outcome.
    pub(super) fn is_idle(&self) -> bool {
        self.unnumbered.is_empty() && self.pending.values().all(|pending| pending.request.is_none())
    }

    pub(super) fn submit(&mut self, now: Instant, submit: Submit) {
        let (request, bytes) = (submit.request, submit.command.len());
        if bytes > self.options.command_bytes_max {
            let bytes_max = self.options.command_bytes_max;
            self.answer(request, Outcome::NotCommitted(Refused::TooLarge { bytes, bytes_max }));
            return;
        }
        self.make_room();
        let numbers = self.next_number - self.acked_below() + self.unnumbered.len() as u64;
        if self.pending_bytes + bytes > self.options.pending_bytes_max || numbers >= WINDOW as u64 {
            self.answer(request, Outcome::NotCommitted(Refused::Overloaded));
            return;
        }
        self.pending_bytes += bytes;
        self.unnumbered.push_back(Pending {
            request: Some(request),
            machine: submit.machine,
            codec: submit.codec,
            version: submit.version,
            command: submit.command,
            leader_deadline: now + self.options.leader_wait,
            deadline: now + self.options.submit_deadline,
            copies: Copies::None,
            done: None,
        });
        self.number();
    }

    /// A command whose outcome nobody waits for must not hold up the window for the others.
    fn make_room(&mut self) {
        while self.next_number - self.acked_below() >= WINDOW as u64 / 2 {
            match self.pending.first_key_value() {
                Some((&number, oldest)) if oldest.request.is_none() => self.give_up(number),
                _ => return,
            }
        }
    }

    /// Asks again for a command whose outcome was unknown.
    pub(super) fn resubmit(&mut self, now: Instant, request: RequestId, id: CommandId) {
        let deadline = now + self.options.submit_deadline;
        let pending = self.pending.get_mut(&id.number).filter(|_| self.session == Some(id.session));
        match pending {
            Some(pending) if pending.request.is_none() => {
                pending.request = Some(request);
                pending.deadline = deadline;
                pending.leader_deadline = deadline;
                if pending.done.is_some() {
                    self.finish(id.number);
                } else {
                    self.unsent.push_back(id.number);
                }
            }
            // Asked for twice at once, or no longer kept: nothing is known beyond what was said before.
            _ => self.answer(request, Outcome::Unknown { id }),
        }
    }

    /// The session was opened; whatever waited gets its numbers.
    pub(super) fn opened(&mut self, session: SessionId) {
        if self.session.is_some_and(|open| open >= session) {
            return;
        }
        if self.session.is_some() {
            // A new session closes the one before: nothing of that can be applied any more, nor be proven not to have been.
            for number in self.pending.keys().copied().collect::<Vec<_>>() {
                self.give_up(number);
            }
            self.kept.clear();
            self.unsent.clear();
        }
        self.session = Some(session);
        self.number();
    }

    fn number(&mut self) {
        if self.session.is_none() {
            return;
        }
        while let Some(pending) = self.unnumbered.pop_front() {
            self.unsent.push_back(self.next_number);
            self.pending.insert(self.next_number, pending);
            self.next_number += 1;
        }
    }

    fn acked_below(&self) -> u64 {
        self.pending.first_key_value().map_or(self.next_number, |(number, _)| *number)
    }

    /// The runs to be proposed to, or forwarded to, this leader, each with the number of its forward.
    pub(super) fn runs_for(&mut self, now: Instant, to: Address) -> Vec<(u64, Run)> {
        let mut runs = Vec::new();
        let Some(session) = self.session else {
            return runs;
        };
        let acked_below = self.acked_below();
        let mut group: Vec<u64> = Vec::new();
        let mut bytes = 0;
        let mut waiting: Vec<u64> = self.unsent.drain(..).collect();
        waiting.sort_unstable();
        waiting.dedup();
        for number in waiting {
            let Some(pending) = self.pending.get(&number) else { continue };
            if pending.done.is_some() || pending.copies.address().is_some_and(|(sent, _)| sent == to) {
                continue;
            }
            let joins = group.last().is_some_and(|last| {
                self.pending.get(last).is_some_and(|p| {
                    (p.machine, p.codec, p.version) == (pending.machine, pending.codec, pending.version)
                }) && last + 1 == number
                    && bytes + pending.command.len() <= FORWARD_BYTES_MAX
            });
            if !joins {
                self.close_run(now, to, session, acked_below, &mut group, &mut runs);
                bytes = 0;
            }
            bytes += self.pending.get(&number).map_or(0, |pending| pending.command.len());
            group.push(number);
        }
        self.close_run(now, to, session, acked_below, &mut group, &mut runs);
        runs
    }

    fn close_run(
        &mut self,
        now: Instant,
        to: Address,
        session: SessionId,
        acked_below: u64,
        numbers: &mut Vec<u64>,
        runs: &mut Vec<(u64, Run)>,
    ) {
        let Some((first, first_number)) = numbers.first().and_then(|first| Some((self.pending.get(first)?, *first)))
        else {
            return;
        };
        let header = RunHeader {
            machine: first.machine,
            codec: first.codec,
            command_version: first.version,
            ..forward_header(self.group, RunKind::Command, to.1)
        };
        let block = Block { session, first_number, count: numbers.len() as u32, acked_below };
        let commands = numbers.iter().filter_map(|number| self.pending.get(number)).map(|pending| &pending.command[..]);
        // The block counts exactly the commands given; the run cannot be refused.
        if let Ok(run) = Run::commands(header, vec![block], commands) {
            let forward = self.next_forward();
            for number in numbers.iter() {
                if let Some(pending) = self.pending.get_mut(number) {
                    pending.copies = match pending.copies {
                        Copies::None => Copies::One { to, forward, at: now },
                        _ => Copies::Several { to, at: now },
                    };
                }
            }
            runs.push((forward, run));
        }
        numbers.clear();
    }

    pub(super) fn next_forward(&mut self) -> u64 {
        self.next_forward += 1;
        self.next_forward - 1
    }

    /// The forward was refused before anything was appended (rule 16, ii).
    pub(super) fn refused(&mut self, forward: u64, overloaded: bool) {
        let numbers: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, p)| matches!(p.copies, Copies::One { forward: sent, .. } if sent == forward))
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            if let Some(pending) = self.pending.get_mut(&number) {
                pending.copies = Copies::None;
            }
            if overloaded {
                self.resolve(number, Outcome::NotCommitted(Refused::Overloaded));
            } else {
                self.unsent.push_back(number);
            }
        }
    }

    /// The way to the leader was lost, or there is another leader: what was sent is sent again, to whoever leads.
    pub(super) fn resend(&mut self) {
        for (number, pending) in &mut self.pending {
            if let (None, Some((to, at))) = (&pending.done, pending.copies.address()) {
                // An address of term 0 matches no leader, so that the next one gets its copy.
                pending.copies = Copies::Several { to: (to.0, Term(0)), at };
                self.unsent.push_back(*number);
            }
        }
    }

    /// What became of a command of our session at its place in the log.
    pub(super) fn applied(&mut self, id: CommandId, index: Index, outcome: CommandOutcome) {
        if self.session != Some(id.session) {
            return;
        }
        let Some(pending) = self.pending.get_mut(&id.number).filter(|pending| pending.done.is_none()) else {
            return;
        };
        pending.done = Some((
            index,
            match outcome {
                CommandOutcome::Applied(reply) => Ok(reply),
                CommandOutcome::Evicted | CommandOutcome::UnknownSession => Err(()),
            },
        ));
        if pending.request.is_some() {
            self.finish(id.number);
        }
    }

    fn finish(&mut self, number: u64) {
        let Some(id) = self.session.map(|session| CommandId { session, number }) else { return };
        let outcome = match self.pending.get(&number).and_then(|pending| pending.done.clone()) {
            Some((index, Ok(reply))) => Outcome::Committed { id, index, reply },
            _ => Outcome::Unknown { id },
        };
        self.resolve(number, outcome);
    }

    fn resolve(&mut self, number: u64, outcome: Outcome) {
        if let Some(pending) = self.pending.remove(&number) {
            self.pending_bytes -= pending.command.len();
            if let Some(request) = pending.request {
                self.answer(request, outcome);
            }
        }
    }

    fn give_up(&mut self, number: u64) {
        let Some(session) = self.session else { return };
        self.resolve(number, Outcome::Unknown { id: CommandId { session, number } });
    }

    fn answer(&mut self, request: RequestId, outcome: Outcome) {
        self.outputs.push_back(Output::Submitted { request, outcome });
    }

    /// Judges deadlines. `leader` is whether there is one to send to.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if now < self.checked_at + Duration::from_millis(20) {
            return; // Deadlines are seconds away: looking at each command 50 times a second is enough.
        }
        self.checked_at = now;
        let waited_out = |pending: &Pending| pending.leader_deadline <= now || pending.deadline <= now;
        while self.unnumbered.front().is_some_and(waited_out) {
            if let Some(pending) = self.unnumbered.pop_front() {
                self.pending_bytes -= pending.command.len();
                if let Some(request) = pending.request {
                    self.answer(request, Outcome::NotCommitted(Refused::NoLeader));
                }
            }
        }
        let mut due: Vec<u64> = Vec::new();
        for (number, pending) in &mut self.pending {
            let unsent = pending.copies == Copies::None;
            if pending.request.is_some() && (pending.deadline <= now || unsent && pending.leader_deadline <= now) {
                due.push(*number);
            } else if let (None, Some((to, at))) = (&pending.done, pending.copies.address())
                && to.1 > Term(0)
                && now.since(at) >= REPEAT_AFTER
            {
                pending.copies = Copies::Several { to: (to.0, Term(0)), at: now };
                self.unsent.push_back(*number);
            }
        }
        for number in due {
            self.expire(now, number);
        }
        while self.kept.front().is_some_and(|(until, _)| *until <= now) || self.kept.len() > KEPT_MAX {
            if let Some((_, number)) = self.kept.pop_front()
                && self.pending.get(&number).is_some_and(|pending| pending.request.is_none())
            {
                self.give_up(number);
            }
        }
    }

    fn expire(&mut self, now: Instant, number: u64) {
        let (Some(session), Some(pending)) = (self.session, self.pending.get_mut(&number)) else { return };
        if pending.copies == Copies::None {
            self.resolve(number, Outcome::NotCommitted(Refused::NoLeader));
        } else if let Some(request) = pending.request.take() {
            self.kept.push_back((now + KEPT_FOR, number));
            self.answer(request, Outcome::Unknown { id: CommandId { session, number } });
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.unnumbered.is_empty() && self.pending.is_empty() {
            return None;
        }
        // Waiting for an outcome is the common case and its deadlines are coarse.
        let coarse = self.checked_at + Duration::from_millis(250);
        let first = self.unnumbered.front().map(|pending| pending.leader_deadline.min(pending.deadline));
        Some(first.map_or(coarse, |first| first.min(coarse)).max(self.checked_at + Duration::from_millis(20)))
    }

    /// The node stops: everything is answered now.
    pub(super) fn shut_down(&mut self, reason: Refused) {
        for pending in std::mem::take(&mut self.unnumbered) {
            self.pending_bytes -= pending.command.len();
            if let Some(request) = pending.request {
                self.answer(request, Outcome::NotCommitted(reason));
            }
        }
        for number in self.pending.keys().copied().collect::<Vec<_>>() {
            if self.pending.get(&number).is_some_and(|pending| pending.copies == Copies::None) {
                self.resolve(number, Outcome::NotCommitted(reason));
            } else {
                self.give_up(number);
            }
        }
        self.unsent.clear();
        self.kept.clear();
    }
}

/// The header of a run that is on its way to a leader: index, chain and times are the leader's to fill in.
pub(super) fn forward_header(group: GroupId, kind: RunKind, term: Term) -> RunHeader {
    RunHeader {
        group,
        kind,
        codec: 0,
        command_version: 0,
        term,
        first: Index(1),
        machine: MachineId(0),
        log_time: LogTime(0),
        wall_time: WallTime(0),
        chain: 0,
    }
}
