//! The properties, one file each, with their numbers in the programme of verification. Each checker sees what happens as it
//! happens and keeps only what it must compare with later; [`Checkers`] tells each what concerns it.
//!
//! Raft:
//! * R1 [`elections`]: at most one leader per term, at most one vote per node and term, across crashes.
//! * R2 [`append_only`]: a leader only appends.
//! * R3 [`log_matching`]: entries of equal index and term have the same history.
//! * R4 [`committed`]: no two nodes apply different entries at one index.
//! * R5 [`durability`]: what is acknowledged is on a quorum's disks and in every later leader's log.
//! * R6 [`monotonic`]: terms, votes, commit and applied index never go back.
//! * R7 [`commit_rule`]: by counting, only an entry of the leader's own term commits.
//! * R9 [`reads`] by log index, [`confirmations`], [`registers`] by what clients see, [`sampled`] by search: linearizability.
//! * R10 [`answers`]: what a node says is true of its disk.
//! * Rule 15 [`log_time`]: log time rises, and no wall clock has a part in it.
//! * R5, R10, L2 [`campaigns`]: what an election must be preceded by.
//!
//! State machines, over what a [`witness`] notes:
//! * X1 [`exactly_once`]: at most one effect per command, and its owner is told of that one.
//! * X2 [`poison`]: apply halts everywhere before a command that fails, and skips nothing.
//! * X3 [`replicas`]: equal effects at equal applied index.
//!
//! Clusters:
//! * C1 [`clusters`]: clusters never mix.
//! * C2 [`identities`]: one live holder per node identity.
//! * C3 [`amnesia`]: who has forgotten what it promised never votes.
//! * Founding [`promises`]: an id promises once, and a cluster is formed by the promises of all.
//!
//! SWIM:
//! * S1, S3 [`swim_views`]: who crashed is dead to everybody, and all views are true again, in time.
//! * S2, S8 [`swim_verdicts`]: nobody who is well, and nobody who said good-bye, is taken for dead.
//! * S9 [`swim_quorum`]: gossip never changes who votes.
//! * S4, S5, S7 [`swim_claims`]: no resurrection, numbers raised by their owners only, datagrams that fit.
//!
//! Attacks: Z3 [`amplification`]: who has proven nothing is answered so often and no more.
//!
//! Storage: D1 [`storage`]: what a store said was durable is found again, with what it promised; and what each node has accepted.
//!
//! The whole:
//! * L1 [`liveness`]: a healthy majority works, whatever is broken for good elsewhere.
//! * L2 [`stability`]: its leader stays, and elections are few.
//! * L3 [`convergence`]: when the faults are over, the cluster works again, and all views of it agree.
//!
//! Deliberately absent: R8, at most one configuration change at a time and quorums that intersect. It comes with configuration
//! changes.

mod all;

pub mod amnesia;
pub mod amplification;
pub mod answers;
pub mod append_only;
pub mod campaigns;
pub mod check_quorum;
pub mod clusters;
pub mod commit_rule;
pub mod committed;
pub mod confirmations;
pub mod convergence;
pub mod durability;
pub mod elections;
pub mod exactly_once;
pub mod identities;
pub mod liveness;
pub mod log_matching;
pub mod log_time;
pub mod monotonic;
pub mod poison;
pub mod promises;
pub mod reads;
pub mod registers;
pub mod replicas;
pub mod sampled;
pub mod stability;
pub mod storage;
pub mod swim_claims;
pub mod swim_quorum;
pub mod swim_verdicts;
pub mod swim_views;
pub mod witness;

mod violation;

#[cfg(test)]
mod sample;

pub use all::Checkers;
pub use violation::{Verdict, Violation};
