//! What applying brings, as data for the node.

use crate::storage::Reply;
use crate::{CommandId, Index, MachineId, SessionId};

/// What applying a stretch of the log brought, as far as this node must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Everything up to here has been applied.
    pub through: Index,
    /// The outcomes of commands of this node's own session.
    pub outcomes: Vec<(CommandId, Index, CommandOutcome)>,
    /// This node's session was opened.
    pub session: Option<SessionId>,
    /// Machines that got their id.
    pub machines: Vec<(String, MachineId)>,
    /// Apply stands still before the next entry, and why.
    pub waiting: Option<Waiting>,
}

/// What became of a command at its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// Applied here, or applied earlier with this reply.
    Applied(Reply),
    /// Applied earlier, or given up by its owner; its reply is no longer kept.
    Evicted,
    /// The session is closed or was never opened; nothing was applied (rule 13).
    UnknownSession,
}

/// Why apply stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The next entry is for a machine that the application has not registered yet (rule 37).
    Unregistered(String),
    /// The machine refused its input for good: it panicked, or does not know the command. Never skipped.
    Halted(String),
}
