//! The node: the one place where Raft, SWIM, bootstrap and the state machine host meet.

pub mod io;
