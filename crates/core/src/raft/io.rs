//! What goes into a Raft group and what comes out of it. Plain data, one enum each.

use bytes::Bytes;

use super::configuration::Configuration;
use super::message::Message;
use crate::storage::{Fetched, LogSummary};
use crate::{Block, HardState, Index, MachineId, NodeId, Run, RunKind, Term, WallTime, WriteSeq};

/// What storage recovered of a group, durable to its end (rule 1).
#[derive(Clone, Debug)]
pub struct RecoveredLog {
    /// Term and vote.
    pub hard_state: HardState,
    /// The configuration in force where the log starts.
    pub baseline: Configuration,
    /// The log; everything up to its base is committed.
    pub log: LogSummary,
    /// The newest runs, contiguous up to the log's end; as many as storage cares to hand over, possibly none.
    pub tail: Vec<Run>,
}

/// Everything that can happen to a group, but proposals and reads, which are answered at once.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline of `poll_timeout` has passed, or not: a timeout that is early or late is harmless.
    Timeout,
    /// A message arrived from a peer that proved to be this node of this cluster.
    Message {
        /// The sender.
        from: NodeId,
        /// The message.
        message: Message,
    },
    /// Every write up to and including this number is durable.
    Written(WriteSeq),
    /// Everything up to and including this index is applied.
    Applied(Index),
    /// The answer to [`Output::Fetch`]; every fetch is answered exactly once.
    Fetched(Fetched),
    /// There is a connection to the peer; what was sent over an earlier one may be lost.
    PeerConnected(NodeId),
    /// The connection to the peer is gone.
    PeerDisconnected(NodeId),
    /// A hint that this node no longer leads (rule 26).
    LeaderGone(NodeId),
    /// The process stops: a leader steps down and names a successor; this node never campaigns again.
    Resign,
}

/// Everything that a group wants done. Each may be done at once, in the order polled.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a message. It may be lost, doubled or overtaken.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Make this durable after all earlier writes, then say `Written`.
    Write {
        /// Its number: 1, 2, 3 and so on.
        seq: WriteSeq,
        /// Durable before the runs of the same write (rule 4).
        hard_state: Option<HardState>,
        /// Each run is a splice: it goes to `first` and cuts off whatever stands there and behind.
        runs: Vec<Run>,
    },
    /// Read runs back, all of them durable; answer with `Fetched`.
    Fetch {
        /// First index wanted.
        first: Index,
        /// Last index wanted.
        last: Index,
        /// Stop after this many bytes, but not before one entry.
        bytes_max: usize,
    },
    /// Apply committed runs in order, then say `Applied`.
    Apply(Vec<Run>),
    /// The state may be read once `index` is applied here.
    ReadReady {
        /// Which read.
        id: ReadId,
        /// The read index.
        index: Index,
    },
    /// Leadership was lost before the read was confirmed; nothing was read.
    ReadFailed {
        /// Which read.
        id: ReadId,
    },
    /// Another leader is known, or none any more.
    LeaderChanged(Option<(NodeId, Term)>),
    /// A broken invariant (rule 12): the group has stopped; nothing follows.
    Fatal(Fatal),
}

/// Names a read; chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// Entries to append. Taken whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// `Command`, `Session` or `Machine`; configurations are not proposed here, no-ops by the leader alone.
    pub kind: RunKind,
    /// The machine that the commands are for; 0 for other kinds.
    pub machine: MachineId,
    /// The id of the codec; 0 for other kinds.
    pub codec: u8,
    /// The version of the command's type; 0 for other kinds.
    pub command_version: u32,
    /// The sessions' shares, in order; their counts add up to the number of commands. Empty for other kinds.
    pub blocks: Vec<Block>,
    /// The commands; exactly one payload for other kinds.
    pub commands: Vec<Bytes>,
    /// The leader's wall time. Proposals that are coalesced into one run share that of the first.
    pub wall_time: WallTime,
}

/// Why a proposal was refused. Nothing was appended: its commands will not be applied because of this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads, or none that is known.
    #[error("this node does not lead")]
    NotLeader {
        /// The leader, as far as known.
        leader: Option<NodeId>,
    },
    /// More bytes are uncommitted than the option allows.
    #[error("too many bytes are uncommitted")]
    Overloaded,
    /// A command is too large.
    #[error("a command of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The proposal contradicts itself; a fault of the caller.
    #[error("not a proposal: {0}")]
    Malformed(&'static str),
    /// The group has stopped, or this node is stopping.
    #[error("this group has stopped")]
    Stopped,
}

/// Why a read was refused. Nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another node leads, or none that is known.
    #[error("this node does not lead")]
    NotLeader {
        /// The leader, as far as known.
        leader: Option<NodeId>,
    },
    /// As many reads as the option allows are waiting.
    #[error("too many reads are waiting")]
    Overloaded,
    /// The group has stopped, or this node is stopping.
    #[error("this group has stopped")]
    Stopped,
}

/// The Raft role of a node. Voter or learner is a standing in the configuration, not a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader or waits for one.
    Follower,
    /// Asks for pre-votes or votes.
    Candidate,
    /// Leads.
    Leader,
}

/// A broken invariant of this group, in words. The group has stopped and nothing of it may be trusted but what is durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Fatal {
    reason: String,
}

impl Fatal {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Fatal { reason: reason.into() }
    }

    /// What was found.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Why a message, or a part of it, was not used. Counted, never an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// A number above its bound, runs that do not follow each other, another group (rule 28).
    Malformed,
    /// The sender is this node.
    FromSelf,
    /// An answer, or a resignation, of an earlier term.
    Stale,
    /// An answer to nothing that was asked.
    Unexpected,
    /// An answer of a node that this leader does not replicate to.
    NotInConfiguration,
}
