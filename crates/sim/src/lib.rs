//! The deterministic world of SlimCluster: the same node, the same log and the same state machine host as in production, on
//! simulated disks, over a simulated network, in virtual time, with everything going wrong that real life has to offer.
//!
//! A *seed* decides all of it. `run_seed` builds the [`world`] of a seed, runs it through a phase of faults under load, lets it heal,
//! demands that it works again, cuts the power of every machine, and audits what comes back. The [`checkers`] watch every step. Two
//! runs of a seed are the same run, event by event, so a failure is its seed: the report names it and the command that replays it.
//!
//! Reading order: [`plan`], [`swarm`] and [`strike`] (what a seed decides), [`streams`], [`world`] (places, clock, events), [`process`] (one running node),
//! [`event_loop`] and [`threads`] (what a process does), [`disk`] and [`network`] (what may go wrong beneath it), [`lifecycle`] and
//! [`faults`] (what goes wrong when), [`client`], [`load`], [`workload`] and [`registers`] (the work), [`checkers`], [`messages`], [`media`] and [`audit`]
//! (what must hold), [`linearizability`] (the judge of black-box histories), [`trace`], [`report`], [`totals`], [`core_time`],
//! [`run`] and [`shrink`].
//!
//! Deliberately absent: threads in the world, real time, and any copy of protocol logic. A checker knows what must hold, never how
//! it is achieved.

pub mod audit;
pub mod budget;
pub mod checkers;
pub mod client;
pub mod core_time;
pub mod disk;
pub mod event_loop;
pub mod faults;
pub mod lifecycle;
pub mod linearizability;
pub mod load;
pub mod media;
pub mod messages;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod network;
mod panics;
pub mod plan;
pub mod process;
pub mod registers;
pub mod report;
pub mod run;
pub mod shrink;
pub mod streams;
pub mod strike;
pub mod swarm;
pub mod threads;
pub mod totals;
pub mod trace;
pub mod workload;
pub mod world;

pub use plan::{Plan, PlanError};
pub use report::{Failure, FaultCounts, Report, Stats};
pub use run::{median, registers, run_each, run_plan, run_seed, run_seeds, run_workload};
pub use totals::Totals;
pub use trace::Detail;
pub use world::RunOptions;
