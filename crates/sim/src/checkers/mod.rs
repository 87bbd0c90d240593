//! The properties, one file each. Each checker sees what happens as it happens and keeps only what it must compare with later.
//!
//! * [`elections`]: at most one leader per term, at most one vote per node and term, across crashes.
//! * [`log_matching`]: entries of equal index and term have the same history.
//! * [`storage`]: what a store said was durable is found again, with what it promised; and what each node has accepted.
//! * [`commitment`]: what is committed stays committed, is held by a quorum's disks, and stands in every later leader's log.
//! * [`registers`]: linearizability, exactly once, nothing acknowledged vanishes, nothing refused appears.
//! * [`convergence`]: when the faults are over, the cluster works again, and all views of it agree.

pub mod commitment;
pub mod convergence;
pub mod elections;
pub mod log_matching;
pub mod registers;
pub mod storage;

mod violation;

pub use violation::{Verdict, Violation};
