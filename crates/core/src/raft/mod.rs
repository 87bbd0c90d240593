//! Raft as we do it.

mod configuration;
mod invariants;
mod io;
mod message;
mod options;
#[expect(clippy::module_inception, reason = "the chapter is `raft`, its main type's file too")]
mod raft;

pub use configuration::{Configuration, ConfigurationError, ConfiguredNode, Standing};
pub use invariants::{Observed, check_state, check_step};
pub use io::{DropReason, Fatal, Input, Output, Proposal, ProposeError, ReadError, ReadId, RecoveredLog, Role};
pub use message::{
    AppendEntries, AppendEntriesResponse, Conflict, Message, PreVote, PreVoteResponse, RequestVote,
    RequestVoteResponse, Resign,
};
pub use options::{Options, OptionsError};
pub use raft::Raft;
