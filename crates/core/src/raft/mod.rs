//! Raft as we do it.

mod configuration;
mod message;

pub use configuration::{Configuration, ConfigurationError, ConfiguredNode, Standing};
pub use message::{
    AppendEntries, AppendEntriesResponse, Conflict, Message, PreVote, PreVoteResponse, RequestVote,
    RequestVoteResponse, Resign,
};
