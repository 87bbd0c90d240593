//! The node: the one place where Raft, SWIM, bootstrap and the state machine host meet.

pub mod bootstrap;
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
