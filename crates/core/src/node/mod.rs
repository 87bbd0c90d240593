//! The node: the one place where Raft, SWIM, bootstrap and the state machine host meet.
//!
//! A [`Node`] is a value that is fed with [`io::Input`] and drained of [`io::Output`]. Its parts never call each other; the node
//! hands what one found out to those who may know it:
//!
//! ```text
//!                  addresses, who is gone (hints)                   peers and what they prove
//!        swim ─────────────────────────────────► node ◄───────────────────────────────── links ◄──► frames
//!   (or roster)                                   │ ▲
//!                 Formed: a configuration ────────┤ │ committed runs, read indices, the leader
//!   bootstrap ◄───── hellos of proven peers       ▼ │
//!                                                 raft ◄──── runs ──── proposals ◄──── submits of the application
//!                                                      ◄─── rounds ─── reads     ◄──── reads of the application
//! ```
//!
//! * SWIM (or, for a fixed list, the roster that the links fill) says who is there and where. It tells Raft nothing but a hint that
//!   a leader is gone, which shortens this node's own wait (rule 26). It never changes a quorum.
//! * Links are one-directional: a node sends on what it dialled and hears on what it accepted. Everything but bootstrap messages
//!   needs a link that proved the same cluster (rules 21, 28).
//! * Every submit of the application, on the leader as elsewhere, is numbered in this process's session and goes to the leader of
//!   one term as a forward, which is appended or refused once (rules 13-16). Its outcome comes from this node's own host.
//! * Reads travel as one question to the leader, which answers with an index after a round of contact.
//! * All writes, the identity's and Raft's, share one numbered stream (invariant 5): the host acknowledges it cumulatively.
//!
//! `settle` runs when outputs are polled, not when inputs arrive: what arrived together leaves together.
//!
//! Deliberately absent: sockets, retries of a lost datagram, names of hosts (the driver resolves them), and any state machine: the
//! host applies on its own thread and reports.

pub mod bootstrap;
mod exchange;
pub mod io;
mod links;
pub mod message;
#[expect(clippy::module_inception, reason = "the node itself, named as the chapter is")]
mod node;
mod options;
mod peers;
mod proposals;
mod reads;
mod roster;
mod status;
mod stopping;

pub use node::Node;
pub use options::{ConsensusOptions, Membership, NodeOptions};
pub use proposals::ProposalOptions;
