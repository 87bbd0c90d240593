//! The test kit for users' own state machines: a whole cluster of them, in an ordinary test, under every fault that the simulator
//! knows.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use slimcluster_sim::{ApplyContext, Faults, Sim, StateMachine};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Counter(u64);
//!
//! impl StateMachine for Counter {
//!     type Command = u64;
//!     type Reply = u64;
//!
//!     fn apply(&mut self, _: &ApplyContext, add: u64) -> u64 {
//!         self.0 += add;
//!         self.0
//!     }
//! }
//!
//! // In a `#[test]`:
//! let runs = Sim::<Counter>::nodes(3).seeds(0..3).faults(Faults::all()).run(|rng| rng.below(10));
//! assert!(runs.commands > 100);
//! ```
//!
//! Nodes, log, sessions and wire are those of production; disks, network and clock are simulated, so nothing waits, and the same seed
//! is the same world. It is the same run, too, if the machine depends on nothing else, which is what is tested. What is demanded of every
//! run, without a line of the user's:
//!
//! | property | meaning |
//! |---|---|
//! | equal replicas | after the same commands, replicas hold the same bytes, and answered the same |
//! | determinism | the log, applied again later in the process, gives the same bytes and answers |
//! | snapshot round trip | a state that is written and read back writes the same bytes, and goes on like the original |
//! | exactly once | a command has one effect, however often it was tried, and its caller gets that one's answer |
//! | durability | after a power loss of all nodes everything that was acknowledged is there |
//! | linearizability | one order explains all answers and reads; judged by the log, and by a search that asks it only what became of unanswered commands |
//! | apply goes on | no command panics, and none is unreadable |
//!
//! And everything that the simulator demands of our own code. [`Sim::always`] and [`Sim::eventually`] add what the machine promises.
//!
//! A failure is one text that begins with the seed and the command that runs it again, names the property, and shows the command
//! after which two states differ, and how.
//!
//! **What it cannot see.** A clock in `apply` is found when it ticks between two replicas, so one that counts days will pass. Whatever
//! is the same all through the process (an environment variable, the host's name, a compiled-in constant) is the same on all its
//! replicas.
//!
//! The guide with a worked example is `docs/testing-your-state-machine.md`.
//!
//! Reading order: `sim` (what a user writes), `faults`, `plan` (the world of a seed), `load` (the clients), `watched` (the user's machine,
//! observed), `journal` (what it did, compared), `replays` and `black_box` (what is judged at the end), `show` and `failure` (what is said).

mod black_box;
mod failure;
mod faults;
mod journal;
mod load;
mod plan;
mod replays;
mod show;
mod sim;
mod watched;

#[cfg(test)]
mod tests;

/// The guide, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/testing-your-state-machine.md")]
mod guide {}

pub use failure::TestFailure;
pub use faults::{Fault, Faults};
pub use sim::{Runs, Sim};
// What a test of a machine names beside these: the same types as those of `slimcluster`.
pub use slimcluster_core::machine::{ApplyContext, StateMachine};
pub use slimcluster_core::random::Random;
