//! The deterministic world of SlimCluster: the same node, the same log and the same state machine host as in production, on
//! simulated disks, over a simulated network, in virtual time, with everything going wrong that real life has to offer.
//!
//! A *seed* decides all of it. `run_seed` builds the [`world`] of a seed, runs it through a phase of faults under load, lets it heal,
//! demands that it works again, cuts the power of every machine, and audits what comes back. The [`checkers`] watch every step. Two
//! runs of a seed are the same run, event by event, so a failure is its seed: the report names it and the command that replays it.
//!
//! Reading order, each line for itself:
//! * what a seed decides: [`plan`], [`swarm`], [`strike`], [`streams`];
//! * the world: [`world`] (places, events), [`schedule`], [`clock`], [`process`] (one running node), [`event_loop`] and [`threads`] (what it does);
//! * what may go wrong beneath: [`disk`], [`network`], [`budget`], and who speaks from outside: [`attacker`];
//! * what goes wrong when: [`trouble`], [`lifecycle`], [`faults`], [`application`], [`moments`];
//! * the work: [`client`], [`load`], [`workload`], [`mod@registers`];
//! * what must hold: [`checkers`], [`messages`], [`media`], [`linearizability`] (the judge of black-box histories);
//! * how a run goes on and ends: [`phases`], [`majority`], [`audit`];
//! * around it: [`trace`], [`report`], [`totals`], [`core_time`], [`run`], [`shrink`];
//! * all of it for users' own state machines: [`kit`].
//!
//! Deliberately absent: threads in the world, real time, and any copy of protocol logic. A checker knows what must hold, never how
//! it is achieved.

pub mod application;
pub mod attacker;
pub mod audit;
pub mod budget;
pub mod checkers;
pub mod client;
pub mod clock;
pub mod core_time;
pub mod damage;
pub mod disk;
pub mod event_loop;
pub mod faults;
pub mod gossip;
pub mod kit;
pub mod lifecycle;
pub mod linearizability;
pub mod load;
pub mod majority;
pub mod media;
pub mod messages;
pub mod moments;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod network;
mod panics;
pub mod phases;
pub mod plan;
pub mod process;
pub mod registers;
pub mod report;
pub mod run;
pub mod schedule;
pub mod shrink;
pub mod strangers;
pub mod streams;
pub mod strike;
pub mod swarm;
pub mod threads;
pub mod totals;
pub mod trace;
pub mod trouble;
pub mod workload;
pub mod world;

pub use kit::{ApplyContext, Fault, Faults, Random, Runs, Sim, StateMachine, TestFailure};
pub use plan::{Plan, PlanError};
pub use report::{Failure, FaultCounts, Report, Stats};
pub use run::{median, registers, run_each, run_plan, run_seed, run_seeds, run_workload};
pub use totals::Totals;
pub use trace::Detail;
pub use world::RunOptions;
