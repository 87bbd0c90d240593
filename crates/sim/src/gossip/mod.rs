//! Worlds of SWIM alone: up to forty members without Raft, disks or clients, and one disturbance after the other.
//!
//! In a world where everything fails at once nobody can say whom the failure detector may accuse. Here each [`Act`] is one
//! disturbance, under whatever the network loses and doubles all the time, and after each the world waits until all members know
//! the truth about all again. So the properties of SWIM can be asked for as they are stated (only S4, S5 and S7 in the act that mixes
//! the others, and that all agree after it):
//!
//! * S1 and S3 ([`crate::checkers::swim_views`]): who crashed is dead to everybody, and every view is true again, in time.
//! * S2 and S8 ([`crate::checkers::swim_verdicts`]): nobody who is well, and nobody who said good-bye, is taken for dead.
//! * S4, S5 and S7 ([`crate::checkers::swim_claims`]): what each says of itself and of others only grows, in datagrams that fit.
//!
//! `act` says what there is, `cluster` keeps members, network and clock, `play` does the acts and waits for what must follow, `turmoil` is the
//! act that mixes the others.

mod act;
mod cluster;
mod play;
mod turmoil;

pub use act::Act;
pub use cluster::Cluster;
