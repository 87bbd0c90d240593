//! What must hold after every input: run in debug builds, in all tests and in the simulator. Cheap, so that nobody is tempted
//! to run it less often.

use super::io::{Fatal, Role};
use super::raft::Raft;
use crate::{HardState, Index, LogId, Term};

/// What [`check_step`] remembers of a group before an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    hard_state: HardState,
    role: Role,
    last: LogId,
    commit: Index,
    commit_term: Option<Term>,
    applied: Index,
}

impl Observed {
    /// Of `raft` as it stands.
    pub fn new(raft: &Raft) -> Self {
        Observed {
            hard_state: raft.hard_state(),
            role: raft.role(),
            last: raft.last(),
            commit: raft.commit_index(),
            commit_term: raft.term_at(raft.commit_index()),
            applied: raft.applied_index(),
        }
    }
}

/// What must hold of one state: positions are in order, nothing claims entries that are gone, a leader's view of its peers fits
/// its log. A group that has stopped is excused.
pub fn check_state(raft: &Raft) -> Result<(), Fatal> {
    if raft.fatal().is_some() { Ok(()) } else { raft.check() }
}

/// What must hold between two states of one process (Figure 3 where one node alone can see it).
pub fn check_step(before: &Observed, after: &Raft) -> Result<(), Fatal> {
    let (was, is) = (before.hard_state, after.hard_state());
    let same_term = was.term == is.term;
    let broken = if is.term < was.term {
        "the term went back"
    } else if same_term && was.vote.is_some() && is.vote != was.vote {
        "the vote changed within a term"
    } else if after.commit_index() < before.commit || after.applied_index() < before.applied {
        "the commit or applied index went back"
    } else if after.term_at(before.commit) != before.commit_term {
        "a committed entry changed"
    } else if same_term && before.role == Role::Leader && after.last() < before.last {
        "a leader's log became shorter"
    } else if same_term && before.role != Role::Leader && after.role() == Role::Leader && is.vote != Some(after.id()) {
        "a leader did not vote for itself"
    } else {
        return Ok(());
    };
    Err(Fatal::new(format!("{broken}: {before:?}, then {is:?}")))
}
