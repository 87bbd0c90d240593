//! The public face of a group: the term rule, dispatch by role, and the only place that assigns the role.

use super::configuration::Configuration;
use super::io::{Fatal, Input, Output, Proposal, ProposeError, ReadError, ReadId, RecoveredLog, Role};
use super::options::Options;
use crate::{GroupId, HardState, Index, Instant, LogId, NodeId, Term};

/// One node's part in one Raft group.
pub struct Raft {
    options: Options,
    id: NodeId,
    group: GroupId,
    recovered: RecoveredLog,
}

impl Raft {
    /// A follower with what storage recovered. Everything up to the log's base is committed and counts as applied.
    pub fn new(
        options: Options,
        id: NodeId,
        group: GroupId,
        recovered: RecoveredLog,
        rng_seed: u64,
        now: Instant,
    ) -> Result<Raft, Fatal> {
        let _ = (rng_seed, now);
        let options = options.validated().map_err(|error| Fatal::new(error.to_string()))?;
        Ok(Raft { options, id, group, recovered })
    }

    /// Takes notice of what happened. Several inputs may follow each other before outputs are polled.
    pub fn handle(&mut self, now: Instant, input: Input) {
        let _ = (now, input);
    }

    /// Appends entries if this node leads; returns the id of the first.
    pub fn propose(&mut self, now: Instant, proposal: Proposal) -> Result<LogId, ProposeError> {
        let _ = (now, proposal);
        Err(ProposeError::NotLeader { leader: None })
    }

    /// Asks for a linearizable read index; answered by `ReadReady` or `ReadFailed`.
    pub fn read(&mut self, now: Instant, id: ReadId) -> Result<(), ReadError> {
        let _ = (now, id);
        Err(ReadError::NotLeader { leader: None })
    }

    /// The next thing to do; none until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When to hand in [`Input::Timeout`]; none when nothing will ever be due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// This group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The role.
    pub fn role(&self) -> Role {
        Role::Follower
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.recovered.hard_state.term
    }

    /// Term and vote, durable or not.
    pub fn hard_state(&self) -> HardState {
        self.recovered.hard_state
    }

    /// The leader of the current term, as far as known.
    pub fn leader(&self) -> Option<NodeId> {
        None
    }

    /// The highest index known to be committed.
    pub fn commit_index(&self) -> Index {
        self.recovered.log.base().index
    }

    /// The highest index that is applied here.
    pub fn applied_index(&self) -> Index {
        self.recovered.log.base().index
    }

    /// The last entry of the log, durable or not.
    pub fn last(&self) -> LogId {
        self.recovered.log.last()
    }

    /// The log is durable up to here.
    pub fn durable_index(&self) -> Index {
        self.recovered.log.last().index
    }

    /// The configuration in force: the last in the log, committed or not.
    pub fn configuration(&self) -> &Configuration {
        &self.recovered.baseline
    }

    /// Bytes proposed here that are not yet both committed and durable here.
    pub fn uncommitted_bytes(&self) -> usize {
        0
    }

    /// Why the group has stopped.
    pub fn fatal(&self) -> Option<&Fatal> {
        None
    }
}
