//! Linearizable reads from any node: what the leader confirms for us, and what we confirm for others (thesis 6.4).
//!
//! All reads that wait on a node travel as one question. A question carries an id that is above every earlier one of this node, also
//! of its earlier processes, so a late or repeated answer can only confirm reads that were already waiting when it was asked.

use std::collections::BTreeMap;
use std::time::Duration;

use super::io::{Output, Refused, RequestId};
use crate::mutants::mutant;
use crate::{Index, Instant, NodeId};

/// A question without an answer is asked again after this time.
const REPEAT_AFTER: Duration = Duration::from_millis(300);
/// Reads waiting at once on a node; more are refused.
const WAITING_MAX: usize = 65_536;
/// Questions of others waiting at once on a leader; more are answered "not now".
const ASKED_MAX: usize = 4_096;

/// Who asked the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// This node's own application, with its question.
    Own(u64),
    /// A peer, with its id.
    Peer(NodeId, u64),
}

#[derive(Debug)]
struct Waiting {
    request: RequestId,
    leader_deadline: Instant,
    /// The first question that it was part of: an answer to that one or to any later one confirms it.
    asked_as: Option<u64>,
}

/// The reads of a node.
#[derive(Debug)]
pub(super) struct Reads {
    leader_wait: Duration,
    next_id: u64,
    waiting: Vec<Waiting>,
    /// The latest question, while it may still be answered in time.
    outstanding: Option<(u64, Instant)>,
    /// As leader: what the core calls a read, and who asked for it.
    confirming: BTreeMap<u64, Asker>,
    outputs: Vec<Output>,
}

impl Reads {
    /// `first_id` lies above every id that an earlier process of this node has used.
    pub(super) fn new(leader_wait: Duration, first_id: u64) -> Self {
        Reads {
            leader_wait,
            next_id: first_id,
            waiting: Vec::new(),
            outstanding: None,
            confirming: BTreeMap::new(),
            outputs: Vec::new(),
        }
    }

    pub(super) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    pub(super) fn read(&mut self, now: Instant, request: RequestId) {
        if self.waiting.len() >= WAITING_MAX {
            self.outputs.push(Output::ReadReady { request, index: Err(Refused::Overloaded) });
            return;
        }
        self.waiting.push(Waiting { request, leader_deadline: now + self.leader_wait, asked_as: None });
    }

    /// The id of the question to ask now, if there is one to ask.
    pub(super) fn ask(&mut self, now: Instant) -> Option<u64> {
        if self.waiting.is_empty() || self.outstanding.is_some_and(|(_, at)| now.since(at) < REPEAT_AFTER) {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.outstanding = Some((id, now));
        for waiting in &mut self.waiting {
            waiting.asked_as.get_or_insert(id);
        }
        Some(id)
    }

    /// The leader answered a question: its reads may see everything up to `index`.
    pub(super) fn answered(&mut self, id: u64, index: Option<Index>) {
        // A node that does not lead says so; the question is repeated in its time, or at once when the leader changes.
        let Some(index) = index.filter(|_| !mutant!(ReadAnswersIgnored)) else { return };
        if self.outstanding.is_some_and(|(latest, _)| latest == id) {
            self.outstanding = None;
        }
        for waiting in self.waiting.extract_if(.., |waiting| waiting.asked_as.is_some_and(|first| first <= id)) {
            self.outputs.push(Output::ReadReady { request: waiting.request, index: Ok(index) });
        }
    }

    /// The leader changed or cannot be reached: ask anew.
    pub(super) fn reset(&mut self) {
        self.outstanding = None;
    }

    /// As leader: an id under which Raft confirms a read for `asker`; none when too many wait.
    pub(super) fn confirm(&mut self, asker: Asker) -> Option<u64> {
        if self.confirming.len() >= ASKED_MAX {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.confirming.insert(id, asker);
        Some(id)
    }

    /// As leader: Raft is done with a read; who had asked for it.
    pub(super) fn confirmed(&mut self, id: u64) -> Option<Asker> {
        self.confirming.remove(&id)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for waiting in self.waiting.extract_if(.., |waiting| waiting.leader_deadline <= now) {
            self.outputs.push(Output::ReadReady { request: waiting.request, index: Err(Refused::NoLeader) });
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        // Deadlines are in the order of arrival.
        let first = self.waiting.first()?.leader_deadline;
        Some(self.outstanding.map_or(first, |(_, at)| first.min(at + REPEAT_AFTER)))
    }

    /// The node stops: nobody is left waiting.
    pub(super) fn shut_down(&mut self, reason: Refused) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.outputs.push(Output::ReadReady { request: waiting.request, index: Err(reason) });
        }
        self.confirming.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_an_earlier_process_confirms_nothing() {
        let now = Instant::ZERO;
        let mut earlier = Reads::new(Duration::from_secs(3), 1);
        earlier.read(now, RequestId(1));
        let asked = earlier.ask(now).unwrap();
        let mut later = Reads::new(Duration::from_secs(3), 1 << 32);
        later.read(now, RequestId(1));
        let asked_again = later.ask(now).unwrap();
        later.answered(asked, Some(Index(5)));
        assert_eq!(later.take_outputs().len(), 0);
        later.answered(asked_again, Some(Index(9)));
        assert_eq!(later.take_outputs().len(), 1);
    }

    #[test]
    fn a_question_without_an_answer_is_asked_again_in_its_time() {
        let asked = Instant::ZERO;
        let mut reads = Reads::new(Duration::from_secs(3), 1);
        reads.read(asked, RequestId(1));
        let first = reads.ask(asked).unwrap();
        assert_eq!(reads.ask(asked + (REPEAT_AFTER - Duration::from_micros(1))), None);
        assert_eq!(reads.poll_timeout(), Some(asked + REPEAT_AFTER));
        let second = reads.ask(asked + REPEAT_AFTER).unwrap();
        assert!(second > first);
        // The answer to either will do: the read was waiting when the first was asked.
        reads.answered(first, Some(Index(5)));
        assert_eq!(reads.take_outputs().len(), 1);
        assert!(reads.is_idle());
    }
}
