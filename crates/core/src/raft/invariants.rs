//! What must hold after every input, as a file: run in debug builds, in all tests and in the simulator.

use super::io::Fatal;
use super::raft::Raft;
use crate::{HardState, Index, LogId};

/// What [`check_step`] remembers of a group before an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    hard_state: HardState,
    commit: Index,
    applied: Index,
    last: LogId,
}

impl Observed {
    /// Of `raft` as it stands.
    pub fn new(raft: &Raft) -> Self {
        Observed {
            hard_state: raft.hard_state(),
            commit: raft.commit_index(),
            applied: raft.applied_index(),
            last: raft.last(),
        }
    }
}

/// What must hold of one state. Cheap.
pub fn check_state(raft: &Raft) -> Result<(), Fatal> {
    let _ = raft;
    Ok(())
}

/// What must hold between two states of one process.
pub fn check_step(before: &Observed, after: &Raft) -> Result<(), Fatal> {
    if after.hard_state().term < before.hard_state.term || after.commit_index() < before.commit {
        return Err(Fatal::new("term or commit index went back"));
    }
    let _ = (before.applied, before.last);
    Ok(())
}
