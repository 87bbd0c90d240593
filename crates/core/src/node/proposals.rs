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
use crate::mutants::mutant;
use crate::situations::{Situation, sometimes};
use crate::storage::Reply;
use crate::{
    Block, CommandId, GroupId, Index, Instant, LogTime, MachineId, NodeId, Run, RunHeader, RunKind, SessionId, Term,
    WallTime,
};

/// Numbers in flight at once: the window that every replica keeps (rule 14).
const WINDOW: usize = 65_536;
/// A forward without an outcome is repeated after this time: messages may be lost with their link.
const REPEAT_AFTER: Duration = Duration::from_millis(1_000);
/// After a refusal nothing is sent for this long.
const PAUSE: Duration = Duration::from_millis(30);
/// Commands with an unknown outcome that can still be asked for.
const KEPT_MAX: usize = 4_096;
/// How long they can be asked for, unless others need their memory before.
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
    /// All commands in flight together, in bytes. Those whose outcome was unknown count, and make room for new ones when it is needed.
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
    /// Those of them that belong to commands that nobody waits for.
    kept_bytes: usize,
    /// What is unknown and nobody asks for, each once, with the time until which it can be asked for; the oldest first.
    kept: VecDeque<(Instant, u64)>,
    /// The numbers that `runs_for` must look at: new, refused, or to be repeated.
    unsent: VecDeque<u64>,
    outputs: VecDeque<Output>,
    checked_at: Instant,
    /// After a refusal nothing is sent until then: whoever refused will not be of another mind at once.
    paused_until: Instant,
}

impl Proposals {
    /// `first_forward` lies above every number that an earlier process of this node has used.
    pub(super) fn new(options: ProposalOptions, group: GroupId, first_forward: u64) -> Self {
        Proposals {
            options,
            group,
            session: None,
            next_number: 1,
            next_forward: first_forward,
            unnumbered: VecDeque::new(),
            pending: BTreeMap::new(),
            pending_bytes: 0,
            kept_bytes: 0,
            kept: VecDeque::new(),
            unsent: VecDeque::new(),
            outputs: VecDeque::new(),
            checked_at: Instant::ZERO,
            paused_until: Instant::ZERO,
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
        self.make_room(bytes);
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

    /// A command whose outcome nobody waits for must hold up neither the window nor the memory for the others.
    fn make_room(&mut self, bytes: usize) {
        while self.next_number - self.acked_below() >= WINDOW as u64 / 2
            && let Some((&number, oldest)) = self.pending.first_key_value()
            && oldest.request.is_none()
        {
            self.give_up(number);
        }
        let bytes_max = self.options.pending_bytes_max;
        let waited_for = self.pending_bytes - self.kept_bytes;
        while waited_for + bytes <= bytes_max
            && self.pending_bytes + bytes > bytes_max
            && let Some((_, number)) = self.kept.pop_front()
        {
            self.forget(number);
        }
    }

    /// Asks again for a command whose outcome was unknown.
    pub(super) fn resubmit(&mut self, now: Instant, request: RequestId, id: CommandId) {
        let deadline = now + self.options.submit_deadline;
        let pending = self.pending.get_mut(&id.number).filter(|_| self.session == Some(id.session));
        match pending {
            Some(pending) if pending.request.is_none() => {
                pending.request = Some(request);
                self.kept_bytes -= pending.command.len();
                pending.deadline = deadline;
                pending.leader_deadline = deadline;
                // Should it end unknown again, it is kept anew, for the whole time.
                self.kept.retain(|(_, kept)| *kept != id.number);
                if pending.done.is_some() {
                    sometimes(Situation::ResubmitFoundOutcome);
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
        let Some(session) = self.session.filter(|_| now >= self.paused_until) else {
            return runs;
        };
        let acked_below = self.acked_below();
        let mut group: Vec<u64> = Vec::new();
        let mut bytes = 0;
        let mut waiting: Vec<u64> = self.unsent.drain(..).collect();
        waiting.sort_unstable();
        waiting.dedup();
        for mut number in waiting {
            if mutant!(RetryUnderNewNumber)
                && let Some(retried) = self.pending.remove(&number)
            {
                number = if retried.copies == Copies::None { number } else { self.next_number };
                self.next_number = self.next_number.max(number + 1);
                self.pending.insert(number, retried);
            }
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
                        _ => {
                            sometimes(Situation::CommandSentAgain);
                            Copies::Several { to, at: now }
                        }
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
    pub(super) fn refused(&mut self, now: Instant, forward: u64, overloaded: bool) {
        self.paused_until = now + PAUSE;
        let numbers: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, p)| matches!(p.copies, Copies::One { forward: sent, .. } if sent == forward || mutant!(RefusalHitsAll)))
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
                if mutant!(EarlierCopyForgotten) {
                    pending.copies = Copies::None;
                }
                self.unsent.push_back(*number);
            }
        }
    }

    /// What became of a command of our session at its place in the log.
    pub(super) fn applied(&mut self, id: CommandId, index: Index, outcome: CommandOutcome) {
        if self.session != Some(id.session) {
            return;
        }
        let number = match self.pending.iter().find(|(_, pending)| pending.done.is_none()) {
            Some((oldest, _)) if mutant!(OutcomesInOrder) => *oldest,
            _ => id.number,
        };
        let Some(pending) = self.pending.get_mut(&number).filter(|pending| pending.done.is_none()) else {
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
            self.finish(number);
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
            match pending.request {
                Some(request) => self.answer(request, outcome),
                None => self.kept_bytes -= pending.command.len(),
            }
        }
    }

    /// Gives up a command unless somebody waits for it.
    fn forget(&mut self, number: u64) {
        if self.pending.get(&number).is_some_and(|pending| pending.request.is_none()) {
            self.give_up(number);
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
        if self.paused_until <= now {
            // Over, and no deadline any more, also while the next look at the commands is some time away.
            self.paused_until = Instant::ZERO;
        }
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
            if let Some((_, number)) = self.kept.pop_front() {
                self.forget(number);
            }
        }
    }

    fn expire(&mut self, now: Instant, number: u64) {
        let (Some(session), Some(pending)) = (self.session, self.pending.get_mut(&number)) else { return };
        if pending.copies == Copies::None || mutant!(TimeOutIsNotCommitted) {
            sometimes(Situation::NeverSent);
            self.resolve(number, Outcome::NotCommitted(Refused::NoLeader));
        } else if let Some(request) = pending.request.take() {
            self.kept_bytes += pending.command.len();
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
        let next = first.map_or(coarse, |first| first.min(coarse)).max(self.checked_at + Duration::from_millis(20));
        let resume = Some(self.paused_until).filter(|_| self.paused_until > self.checked_at && !self.unsent.is_empty());
        Some(resume.map_or(next, |resume| resume.min(next)))
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: Address = (NodeId(1), Term(3));
    const SUCCESSOR: Address = (NodeId(2), Term(4));

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    fn command(request: u64, bytes: usize) -> Submit {
        Submit {
            request: RequestId(request),
            machine: MachineId(2),
            codec: 1,
            version: 1,
            command: Bytes::from(vec![request as u8; bytes]),
        }
    }

    fn opened() -> Proposals {
        let mut proposals = Proposals::new(ProposalOptions::default(), GroupId::DEFAULT, 1);
        proposals.opened(SessionId(7));
        proposals
    }

    fn outcomes(proposals: &mut Proposals) -> Vec<(u64, Outcome)> {
        std::iter::from_fn(|| proposals.poll_output())
            .filter_map(|output| match output {
                Output::Submitted { request, outcome } => Some((request.0, outcome)),
                _ => None,
            })
            .collect()
    }

    fn numbers(runs: &[(u64, Run)]) -> Vec<Vec<u64>> {
        runs.iter().map(|(_, run)| run.entries().filter_map(|e| e.command.map(|c| c.number)).collect()).collect()
    }

    fn id(number: u64) -> CommandId {
        CommandId { session: SessionId(7), number }
    }

    #[test]
    fn what_arrives_together_travels_together() {
        let mut proposals = opened();
        for request in 1..=3 {
            proposals.submit(at(0), command(request, 10));
        }
        proposals.submit(at(0), command(4, FORWARD_BYTES_MAX));
        let runs = proposals.runs_for(at(0), LEADER);
        assert_eq!(numbers(&runs), [vec![1, 2, 3], vec![4]]);
        assert_eq!(runs[0].1.term(), LEADER.1);
        assert!(proposals.runs_for(at(0), LEADER).is_empty(), "sent once");
    }

    #[test]
    fn a_command_that_was_never_sent_is_not_committed() {
        let mut proposals = opened();
        proposals.submit(at(0), command(1, 1));
        proposals.handle_timeout(at(2_999));
        assert!(outcomes(&mut proposals).is_empty());
        proposals.handle_timeout(at(3_020));
        assert_eq!(outcomes(&mut proposals), [(1, Outcome::NotCommitted(Refused::NoLeader))]);
    }

    #[test]
    fn a_command_that_was_sent_is_unknown_at_its_deadline_and_can_be_asked_for() {
        let mut proposals = opened();
        proposals.submit(at(0), command(1, 1));
        proposals.runs_for(at(0), LEADER);
        proposals.handle_timeout(at(5_000));
        assert_eq!(outcomes(&mut proposals), [(1, Outcome::Unknown { id: id(1) })]);
        proposals.resubmit(at(5_100), RequestId(2), id(1));
        assert!(outcomes(&mut proposals).is_empty());
        proposals.applied(id(1), Index(9), CommandOutcome::Applied(Reply::new()));
        let outcome = Outcome::Committed { id: id(1), index: Index(9), reply: Reply::new() };
        assert_eq!(outcomes(&mut proposals), [(2, outcome)]);
    }

    #[test]
    fn a_command_that_was_asked_for_in_vain_is_kept_as_long_again() {
        let mut proposals = opened();
        proposals.submit(at(0), command(1, 1));
        proposals.runs_for(at(0), LEADER);
        proposals.handle_timeout(at(5_000));
        let unknown = |request| [(request, Outcome::Unknown { id: id(1) })];
        assert_eq!(outcomes(&mut proposals), unknown(1));
        proposals.resubmit(at(100_000), RequestId(2), id(1));
        proposals.handle_timeout(at(105_000));
        assert_eq!(outcomes(&mut proposals), unknown(2));
        // The time since the first answer is over, that since the second is not.
        proposals.handle_timeout(at(224_000));
        proposals.applied(id(1), Index(9), CommandOutcome::Applied(Reply::new()));
        proposals.resubmit(at(224_000), RequestId(3), id(1));
        let outcome = Outcome::Committed { id: id(1), index: Index(9), reply: Reply::new() };
        assert_eq!(outcomes(&mut proposals), [(3, outcome)]);
        assert!(proposals.kept.is_empty() && proposals.is_idle());
    }

    #[test]
    fn a_refusal_by_the_only_leader_asked_leaves_no_doubt() {
        let mut proposals = opened();
        proposals.submit(at(0), command(1, 1));
        let forward = proposals.runs_for(at(0), LEADER)[0].0;
        proposals.refused(at(0), forward, false);
        proposals.handle_timeout(at(3_000));
        assert_eq!(outcomes(&mut proposals), [(1, Outcome::NotCommitted(Refused::NoLeader))]);
    }

    #[test]
    fn a_refusal_by_a_second_leader_proves_nothing() {
        let mut proposals = opened();
        proposals.submit(at(0), command(1, 1));
        proposals.runs_for(at(0), LEADER);
        proposals.resend();
        let second = proposals.runs_for(at(10), SUCCESSOR);
        assert_eq!(numbers(&second), [vec![1]], "the same number");
        proposals.refused(at(10), second[0].0, true);
        assert!(outcomes(&mut proposals).is_empty());
        proposals.handle_timeout(at(5_000));
        assert_eq!(outcomes(&mut proposals), [(1, Outcome::Unknown { id: id(1) })]);
    }

    #[test]
    fn a_refusal_concerns_the_commands_of_its_forward_alone() {
        let mut proposals = opened();
        proposals.submit(at(0), command(1, 1));
        let first = proposals.runs_for(at(0), LEADER);
        proposals.submit(at(0), command(2, 1));
        assert_eq!(numbers(&proposals.runs_for(at(0), LEADER)), [vec![2]]);
        proposals.refused(at(10), first[0].0, true);
        assert_eq!(outcomes(&mut proposals), [(1, Outcome::NotCommitted(Refused::Overloaded))]);
        // The leader has the second, or may have it.
        proposals.handle_timeout(at(5_000));
        assert_eq!(outcomes(&mut proposals), [(2, Outcome::Unknown { id: id(2) })]);
    }

    #[test]
    fn a_forward_without_an_outcome_is_repeated_under_the_same_number() {
        let mut proposals = opened();
        proposals.submit(at(0), command(1, 1));
        let first = proposals.runs_for(at(0), LEADER);
        proposals.handle_timeout(at(970));
        assert!(proposals.runs_for(at(970), LEADER).is_empty(), "it may only be slow");
        proposals.handle_timeout(at(1_000));
        let second = proposals.runs_for(at(1_000), LEADER);
        assert_eq!(numbers(&second), [vec![1]]);
        assert!(second[0].0 > first[0].0, "the leader would drop a forward that it has seen");
        // Either may be appended: that one is refused proves nothing of the other.
        proposals.refused(at(1_010), second[0].0, true);
        assert!(outcomes(&mut proposals).is_empty());
    }

    #[test]
    fn commands_wait_for_their_session_and_keep_their_order() {
        let mut proposals = Proposals::new(ProposalOptions::default(), GroupId::DEFAULT, 1);
        proposals.submit(at(0), command(1, 1));
        proposals.submit(at(0), command(2, 1));
        assert!(proposals.wants_session() && proposals.runs_for(at(0), LEADER).is_empty());
        proposals.opened(SessionId(7));
        assert_eq!(numbers(&proposals.runs_for(at(0), LEADER)), [vec![1, 2]]);
    }

    #[test]
    fn limits_answer_at_once() {
        let options = ProposalOptions { command_bytes_max: 8, pending_bytes_max: 10, ..ProposalOptions::default() };
        let mut proposals = Proposals::new(options, GroupId::DEFAULT, 1);
        proposals.submit(at(0), command(1, 9));
        proposals.submit(at(0), command(2, 8));
        proposals.submit(at(0), command(3, 3));
        let too_large = Outcome::NotCommitted(Refused::TooLarge { bytes: 9, bytes_max: 8 });
        let expected = [(1, too_large), (3, Outcome::NotCommitted(Refused::Overloaded))];
        assert_eq!(outcomes(&mut proposals), expected);
    }

    #[test]
    fn a_later_session_leaves_the_earlier_ones_commands_unknown() {
        let mut proposals = opened();
        proposals.submit(at(0), command(1, 1));
        proposals.runs_for(at(0), LEADER);
        proposals.opened(SessionId(20));
        assert_eq!(outcomes(&mut proposals), [(1, Outcome::Unknown { id: id(1) })]);
    }

    #[test]
    fn a_forgotten_command_does_not_hold_up_the_window() {
        let mut proposals = opened();
        proposals.submit(at(0), command(1, 0));
        proposals.runs_for(at(0), LEADER);
        proposals.handle_timeout(at(5_000));
        for number in 2..=WINDOW as u64 + 10 {
            proposals.submit(at(5_000), command(number, 0));
            proposals.runs_for(at(5_000), LEADER);
            proposals.applied(id(number), Index(number), CommandOutcome::Applied(Reply::new()));
        }
        assert!(outcomes(&mut proposals).iter().all(|(_, o)| !matches!(o, Outcome::NotCommitted(_))));
    }

    #[test]
    fn forgotten_commands_do_not_hold_up_the_memory() {
        let options = ProposalOptions { pending_bytes_max: 10, ..ProposalOptions::default() };
        let mut proposals = Proposals::new(options, GroupId::DEFAULT, 1);
        proposals.opened(SessionId(7));
        for request in 1..=3 {
            proposals.submit(at(0), command(request, 3));
        }
        proposals.runs_for(at(0), LEADER);
        proposals.handle_timeout(at(5_000));
        assert_eq!(outcomes(&mut proposals).len(), 3, "all unknown");
        proposals.resubmit(at(5_000), RequestId(4), id(3));
        // It would not help to forget the other two: the third is waited for again.
        proposals.submit(at(5_000), command(5, 8));
        assert_eq!(outcomes(&mut proposals), [(5, Outcome::NotCommitted(Refused::Overloaded))]);
        proposals.submit(at(5_000), command(6, 4));
        assert!(outcomes(&mut proposals).is_empty(), "the oldest makes room");
        proposals.resubmit(at(5_000), RequestId(7), id(1));
        assert_eq!(outcomes(&mut proposals), [(7, Outcome::Unknown { id: id(1) })]);
        proposals.applied(id(2), Index(9), CommandOutcome::Applied(Reply::new()));
        proposals.resubmit(at(5_000), RequestId(8), id(2));
        assert_eq!(
            outcomes(&mut proposals),
            [(8, Outcome::Committed { id: id(2), index: Index(9), reply: Reply::new() })]
        );
        for number in [3, 4] {
            proposals.applied(id(number), Index(9 + number), CommandOutcome::Applied(Reply::new()));
        }
        assert_eq!((proposals.pending_bytes, proposals.kept_bytes), (0, 0));
    }
}
