//! Errors: one small type per operation, each of which says what happened to the operation.

use std::fmt;
use std::net::SocketAddr;

use slimcluster_core::{CommandId, node::io};

use crate::storage::StorageError;

/// The result of a fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error of this crate: what `main` and handlers return.
///
/// Its `Debug` form is the sentence of its `Display` form, because that is what a `main` that returns it prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node did not start. Nothing runs.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The machine was not attached. Nothing changed.
    #[error(transparent)]
    Replicate(#[from] ReplicateError),
    /// A command did not end with a reply; the inner error says what became of it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Nothing was read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The node did not leave; it goes on as before.
    #[error(transparent)]
    Leave(#[from] LeaveError),
    /// An operation of the operating system failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a node did not start: one sentence that names the value and the remedy. Nothing runs and nothing is bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An option has a value that cannot work.
    #[error("{option} {value:?} is refused: {problem}")]
    Option {
        /// The builder's method.
        option: &'static str,
        /// What it was given.
        value: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// An option of consensus or membership has a value that cannot work.
    #[error("refused: {0}")]
    Timing(String),
    /// Peers that do not prove who they are could reach this node from other hosts.
    #[error(
        "binding {address} lets other hosts reach the cluster without encryption: \
         call .allow_insecure() on the builder to accept that, or bind a loopback address such as 127.0.0.1"
    )]
    Insecure {
        /// The address that is no loopback address.
        address: SocketAddr,
    },
    /// An address cannot be used.
    #[error("the address {address} cannot be used: {problem}")]
    Address {
        /// As it was given.
        address: String,
        /// Why, and what to do.
        problem: String,
    },
    /// The storage could not be opened.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What the storage holds cannot be continued.
    #[error("the stored state cannot be continued: {0}")]
    State(String),
    /// The operating system refused a thread or an event loop.
    #[error("the node's thread could not be started: {0}")]
    Thread(std::io::Error),
}

impl StartError {
    pub(crate) fn option(option: &'static str, value: impl fmt::Display, problem: impl Into<String>) -> Self {
        StartError::Option { option, value: value.to_string(), problem: problem.into() }
    }

    pub(crate) fn address(address: impl fmt::Display, problem: impl Into<String>) -> Self {
        StartError::Address { address: address.to_string(), problem: problem.into() }
    }
}

/// Why a machine was not attached. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicateError {
    /// Replicated state needs a log.
    #[error("state cannot be replicated without consensus: call .consensus(Raft::nodes(..)) on the builder")]
    NoConsensus,
    /// The name is empty or too long.
    #[error("the machine name {name:?} is refused: give it 1 to {bytes_max} bytes")]
    Name {
        /// As it was given.
        name: String,
        /// Its greatest length.
        bytes_max: usize,
    },
    /// The name is in use for a machine of another type.
    #[error("the machine name {name:?} is in use for another type: give each machine a name of its own")]
    OtherType {
        /// The name.
        name: String,
    },
    /// The codec has an id that is kept for the library's own.
    #[error("the codec id {id} is refused: a codec of your own takes an id from 128 to 255")]
    Codec {
        /// The id.
        id: u8,
    },
    /// The node is stopping or has stopped.
    #[error("the node is stopping")]
    ShuttingDown,
}

/// Why a command has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The command is certainly not applied, now or later. It is safe to submit it again.
    #[error("not committed: {0}")]
    NotCommitted(Refused),
    /// The command may have been applied, or may still be. `Replicated::resubmit(id)` finds out without applying it twice.
    #[error(
        "the outcome of the command is unknown: it may have been applied or may still be; resubmit its id to find out"
    )]
    Unknown {
        /// Names the command to `Replicated::resubmit`.
        id: CommandId,
    },
    /// This node ended before the outcome was known. The command may have been applied, or may still be; its id went with the node.
    #[error("the node ended before the outcome of the command was known: it may have been applied or may still be")]
    NodeStopped,
    /// The command was applied, but its reply cannot be decoded.
    #[error("the command was applied, but its reply cannot be decoded: {0}")]
    Reply(String),
}

impl SubmitError {
    /// True when the command certainly was not applied and never will be, so that submitting it again is safe.
    pub fn is_not_committed(&self) -> bool {
        matches!(self, SubmitError::NotCommitted(_))
    }
}

/// Why a command certainly was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// No leader was found in time, or no cluster exists yet. Worth trying again.
    #[error("no leader was found in time")]
    NoLeader,
    /// A queue, the log or the disk is full. Worth trying again after a pause.
    #[error("overloaded: a queue, the log or the disk is full")]
    Overloaded,
    /// The command is larger than the limit. It will never be accepted.
    #[error("a command of {bytes} bytes is larger than the limit of {bytes_max}")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The node is stopping or has stopped.
    #[error("the node is stopping")]
    ShuttingDown,
    /// Consensus has stopped on this node; the status says why.
    #[error("consensus has stopped on this node; its status says why")]
    Failed,
    /// The command cannot be encoded, or not so that it can be read back. It will never be accepted.
    #[error("the command cannot be encoded: {0}")]
    Codec(String),
}

impl From<io::Refused> for Refused {
    fn from(refused: io::Refused) -> Self {
        match refused {
            io::Refused::NoLeader => Refused::NoLeader,
            io::Refused::Overloaded => Refused::Overloaded,
            io::Refused::TooLarge { bytes, bytes_max } => Refused::TooLarge { bytes, bytes_max },
            io::Refused::ShuttingDown => Refused::ShuttingDown,
            io::Refused::Failed => Refused::Failed,
        }
    }
}

impl From<Refused> for SubmitError {
    fn from(refused: Refused) -> Self {
        SubmitError::NotCommitted(refused)
    }
}

/// Why nothing was read. Reads change nothing; trying again is always safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No leader confirmed the read in time.
    #[error("not read: no leader confirmed it in time")]
    NoLeader,
    /// Too many requests wait already.
    #[error("not read: overloaded")]
    Overloaded,
    /// The leader confirmed the read, but this node did not catch up with it in time.
    #[error("not read: this node has not yet applied what the read must see")]
    Behind,
    /// The node is stopping or has stopped.
    #[error("not read: the node is stopping")]
    ShuttingDown,
    /// Consensus or the machine has stopped on this node; the status says why.
    #[error("not read: consensus has stopped on this node; its status says why")]
    Failed,
}

impl From<io::Refused> for ReadError {
    fn from(refused: io::Refused) -> Self {
        match refused {
            io::Refused::NoLeader => ReadError::NoLeader,
            io::Refused::Overloaded | io::Refused::TooLarge { .. } => ReadError::Overloaded,
            io::Refused::ShuttingDown => ReadError::ShuttingDown,
            io::Refused::Failed => ReadError::Failed,
        }
    }
}

/// Why the node did not leave the cluster. It goes on as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// The node votes, and voters cannot be changed yet.
    #[error("a voter cannot leave the cluster: changing the voters is not yet supported; shutdown() stops the node")]
    Voter,
    /// The node is stopping or has stopped.
    #[error("the node is stopping")]
    ShuttingDown,
}
