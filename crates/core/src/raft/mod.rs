//! Raft as we do it.
//!
//! The paper is Ongaro and Ousterhout's "In Search of an Understandable Consensus Algorithm" (extended version), the thesis
//! Ongaro's "Consensus: Bridging Theory and Practice"; sections are cited where they apply. This module is a value: messages,
//! completed writes and the time go in, messages, writes and committed runs come out. It never waits, and every output may be
//! executed as soon as it is polled.
//!
//! # Figure 2, and where it is
//!
//! | Figure 2 | here |
//! |---|---|
//! | Persistent state: currentTerm, votedFor | `state` (hard state); durable before a message that depends on it leaves |
//! | Persistent state: log[] | `log`, in runs; `watermark` knows how far it is durable |
//! | Volatile state: commitIndex, lastApplied | `state` |
//! | Volatile state on leaders: nextIndex[], matchIndex[] | `progress` |
//! | AppendEntries RPC, RequestVote RPC: receiver | `follower` |
//! | Rules for Servers: all | `raft` (the term rule), `state` (apply) |
//! | Rules for Servers: followers, candidates, leaders | `follower`, `candidate`, `leader` |
//! | Figure 3, as far as one node can see it | `invariants` |
//!
//! # What is not in Figure 2
//!
//! * **The gate.** What depends on durability is held back in `state` until the write is acknowledged, and computed at that
//!   moment; the write itself, the leader's sends and the followers' writes run at the same time.
//! * **Pre-vote, stickiness, check-quorum** (thesis 9.6, 4.2.3, 6.2). A node that is cut off spends no terms; a voter in contact
//!   with a leader deposes it for nobody; a leader without a quorum steps down. `raft` says why terms that differ never block.
//! * **Pipelining.** In *replicate* the leader sends ahead of the answers, within a window; in *probe* it finds out where a log
//!   matches, with hints by term on both sides (paper 5.3, end).
//! * **Rounds.** Each heartbeat and each batch of reads has a number that a follower answers at once, whatever its disk does. A
//!   quorum of answers proves contact (check-quorum) and confirms reads (`read`).
//! * **The chain.** A run carries the hash of everything before it; a difference at an entry that both sides believe to share
//!   means two leaders in one term, or corruption, and stops the group.
//!
//! ```text
//! propose ─► staged ─► append ─┬─► AppendEntries ─► peer's disk ─► AppendEntriesResponse ─┐
//!                              └─► Write ─► Written ──────────────────────────────────────┴─► quorum ─► commit ─► Apply
//! ```
//!
//! # Deliberately absent
//!
//! * Snapshots and compaction: the log starts at the founding entry.
//! * Changing the configuration. The joint form is counted everywhere, a configuration in the log is in force when it is appended
//!   and undone when it is cut off; proposing one comes later.
//! * Leases, priorities, transfer to a chosen node. [`Input::Resign`] hands over when a process stops.
//! * Any view of SWIM: a hint arrives as [`Input::LeaderGone`] and shortens one wait.

mod options;

mod io;

mod message;

mod configuration;

#[expect(clippy::module_inception, reason = "the chapter and its main type share the name of the protocol")]
mod raft;

mod state;

mod follower;

mod candidate;

mod leader;

mod progress;

mod log;

mod watermark;

mod staged;

mod quorum;

mod read;

mod invariants;

pub use configuration::{Configuration, ConfigurationError, ConfiguredNode, Standing};
pub use invariants::{Observed, check_state, check_step};
pub use io::{DropReason, Fatal, Input, Output, Proposal, ProposeError, ReadError, ReadId, RecoveredLog, Role};
pub use message::{
    AppendEntries, AppendEntriesResponse, Conflict, Message, PreVote, PreVoteResponse, RequestVote,
    RequestVoteResponse, Resign,
};
pub use options::{Options, OptionsError};
pub use raft::Raft;
