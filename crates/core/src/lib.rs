//! The pure protocol code of SlimCluster.
//!
//! Nothing here performs I/O, reads a clock, spawns, or draws from a random source that was not seeded by the caller: the same
//! inputs give the same outputs, always. Time, randomness, network and disk are arguments; what should happen outside is
//! returned as plain data. The driver of the `slimcluster` crate and the simulator run this very code.
//!
//! Comments cite the rules that decide safety by number; they stand in `docs/rules.md` of the repository.
//!
//! Reading order: [`time`] and [`types`] (the newtypes), [`run`] (the unit of work), [`storage`] (what must be durable),
//! [`raft`], [`swim`], [`machine`], [`wire`], and [`node`], where they meet.

pub mod machine;
pub mod mutants;
pub mod node;
pub mod raft;
pub mod random;
pub mod run;
pub mod situations;
pub mod storage;
pub mod swim;
pub mod time;
pub mod types;
pub mod wire;

pub use run::{Block, Run, RunError, RunHeader, RunKind};
pub use time::{Instant, LogTime, WallTime};
pub use types::{
    ClusterUuid, CommandId, Durability, Generation, GroupId, HardState, Index, LogId, MachineId, NodeId, Nonce,
    SessionId, Term, WriteSeq,
};
