//! The messages of Raft, under the names of the paper. Plain data; `wire` gives them bytes.

use super::configuration::Configuration;
use crate::types::COUNTER_MAX;
use crate::{GroupId, Index, LogId, Run, RunKind, Term};

/// A message between the Raft of one node and that of another. The group stands in the frame around it.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Would you vote for me? Asked before a term is spent (thesis 9.6).
    PreVote(PreVote),
    /// Answers [`Message::PreVote`].
    PreVoteResponse(PreVoteResponse),
    /// Vote for me (paper Figure 2).
    RequestVote(RequestVote),
    /// Answers [`Message::RequestVote`].
    RequestVoteResponse(RequestVoteResponse),
    /// Replicates runs; without runs it is a heartbeat (paper Figure 2).
    AppendEntries(AppendEntries),
    /// Answers [`Message::AppendEntries`].
    AppendEntriesResponse(AppendEntriesResponse),
    /// The leader steps down for good reason and releases its followers from stickiness (rule 26).
    Resign(Resign),
}

impl Message {
    /// The term that the message states, which its receiver adopts when it is higher. A pre-vote states the sender's current term.
    pub fn term(&self) -> Term {
        match self {
            Message::PreVote(m) => m.term,
            Message::PreVoteResponse(m) => m.term,
            Message::RequestVote(m) => m.term,
            Message::RequestVoteResponse(m) => m.term,
            Message::AppendEntries(m) => m.term,
            Message::AppendEntriesResponse(m) => m.term,
            Message::Resign(m) => m.term,
        }
    }

    /// Whether every number is within its bound (rule 28) and the runs are what a leader sends. What is not is dropped whole,
    /// before anything of it is believed.
    pub(super) fn is_well_formed(&self, group: GroupId) -> bool {
        let bounded = |id: &LogId| id.index.0 <= COUNTER_MAX && id.term.0 <= COUNTER_MAX;
        self.term().0 <= COUNTER_MAX
            && match self {
                Message::PreVote(m) => bounded(&m.last) && m.last.term <= m.term,
                Message::RequestVote(m) => bounded(&m.last) && m.last.term <= m.term,
                Message::AppendEntries(m) => m.is_well_formed(group),
                Message::AppendEntriesResponse(m) => {
                    m.match_index.0 <= COUNTER_MAX
                        && m.conflict.as_ref().is_none_or(|c| c.rejected.0 <= COUNTER_MAX && bounded(&c.hint))
                }
                Message::PreVoteResponse(_) | Message::RequestVoteResponse(_) | Message::Resign(_) => true,
            }
    }
}

impl AppendEntries {
    /// Whether the runs follow `prev` and each other, in index, term and chain, and are of this group and of no later term.
    fn is_well_formed(&self, group: GroupId) -> bool {
        if self.prev.index.0 > COUNTER_MAX {
            return false;
        }
        let (mut before, mut chain) = (self.prev, self.prev_chain);
        for run in &self.runs {
            let is_configuration = run.kind() == RunKind::Configuration;
            let follows = run.group() == group
                && run.first() == before.index.next()
                && (before.term..=self.term).contains(&run.term())
                && (chain == 0 || run.header().chain == chain)
                && (!is_configuration || Configuration::decode(&run.payload()).is_ok());
            if !follows {
                return false;
            }
            (before, chain) = (run.last_id(), run.chain_end());
        }
        before.index.0 <= COUNTER_MAX && self.prev.term <= self.term && self.leader_commit.0 <= COUNTER_MAX
    }
}

/// Would you vote for me in the term after `term`?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreVote {
    /// The asker's current term; it campaigns for the next.
    pub term: Term,
    /// The asker's last accepted entry, durable or not (rule 8).
    pub last: LogId,
}

/// The answer to a pre-vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreVoteResponse {
    /// The answerer's current term.
    pub term: Term,
    /// The term that the asker had stated: tells late answers from current ones.
    pub asked: Term,
    /// Whether a vote would be granted.
    pub granted: bool,
}

/// A candidate's request for a vote in `term`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestVote {
    /// The candidate's term.
    pub term: Term,
    /// The candidate's last accepted entry.
    pub last: LogId,
    /// The vote ends a leadership that resigned or was transferred: stickiness does not apply (rule 26).
    pub released: bool,
}

/// The answer to a vote request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestVoteResponse {
    /// The answerer's current term; the vote counts for this term alone.
    pub term: Term,
    /// Whether the vote was granted.
    pub granted: bool,
}

/// Replicates runs from the entry after `prev`.
#[derive(Clone, Debug, PartialEq)]
pub struct AppendEntries {
    /// The leader's term.
    pub term: Term,
    /// The entry before the first run.
    pub prev: LogId,
    /// Hash of everything up to and including `prev`; 0 where the leader no longer holds it in memory.
    pub prev_chain: u64,
    /// The leader's commit index, at most what this message and earlier ones can prove.
    pub leader_commit: Index,
    /// The leader's latest contact round: answered at once, it proves contact (check-quorum, ReadIndex).
    pub round: u64,
    /// Contiguous runs; none in a heartbeat.
    pub runs: Vec<Run>,
}

/// What the follower holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendEntriesResponse {
    /// The follower's current term.
    pub term: Term,
    /// The highest round of this term that the follower has heard.
    pub round: u64,
    /// The follower's log is durable and equal to the leader's up to here: min(durable, proved by messages of this term) (rule 9).
    pub match_index: Index,
    /// The message answered did not fit.
    pub conflict: Option<Conflict>,
}

/// A refusal of an AppendEntries whose `prev` is not in the follower's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The index of the `prev` that was refused: a late refusal is told by it.
    pub rejected: Index,
    /// Where to try next: the follower's last entry, or the last one of a term not above that of the refused `prev`.
    pub hint: LogId,
}

/// The leader of `term` steps down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resign {
    /// The leader's term.
    pub term: Term,
    /// The receiver is the one that should campaign at once; the others wait for it.
    pub successor: bool,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{LogTime, MachineId, RunHeader, WallTime};

    #[test]
    fn an_index_beyond_all_bounds_is_refused_before_it_is_counted_on() {
        let header = RunHeader {
            group: GroupId::DEFAULT,
            kind: RunKind::Noop,
            codec: 0,
            command_version: 0,
            term: Term(1),
            first: Index(1),
            machine: MachineId(0),
            log_time: LogTime(0),
            wall_time: WallTime(0),
            chain: 0,
        };
        let append = |index: u64| AppendEntries {
            term: Term(1),
            prev: LogId::new(Term(1), Index(index)),
            prev_chain: 0,
            leader_commit: Index(0),
            round: 0,
            runs: vec![Run::single(RunHeader { first: Index(index.wrapping_add(1)), ..header }, Bytes::new())],
        };
        assert!(append(1).is_well_formed(GroupId::DEFAULT));
        for index in [u64::MAX, COUNTER_MAX, COUNTER_MAX + 1] {
            assert!(!append(index).is_well_formed(GroupId::DEFAULT), "{index}");
        }
    }
}
