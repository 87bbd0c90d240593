//! Turns N copies of a service into one cluster, inside the service's own process: who is there, who leads, and state that all copies hold
//! alike.
//!
//! Reading order: [`ClusterBuilder`] (how a node is described), [`Cluster`] (the running node), [`Replicated`] (state), [`Error`] and its
//! kin (what happened to an operation that did not end well), [`status`] and [`events`] (what a node tells), then the plug-ins: [`transport`],
//! [`storage`], [`discovery`]. The module `contract`, behind the feature of that name, holds what plug-ins must do, as suites for their tests.
//! The private module `driver` is the loop that owns sockets, threads and the pure core.

mod builder;
mod cluster;
mod consensus;
mod driver;
mod error;
mod membership;
mod replicated;
mod serialization;

#[cfg(feature = "contract")]
pub mod contract;
pub mod discovery;
pub mod events;
#[cfg(feature = "http")]
pub mod http;
pub mod prelude;
pub mod status;
pub mod storage;
pub mod transport;

pub use builder::ClusterBuilder;
pub use cluster::{Cluster, StatusWatch};
pub use consensus::Raft;
pub use discovery::{Discover, Seeds};
pub use error::{Error, LeaveError, ReadError, Refused, ReplicateError, Result, StartError, SubmitError};
pub use events::{Event, EventKind, Events};
pub use membership::{Membership, StaticMembers, Swim};
pub use replicated::Replicated;
pub use serialization::{Json, Protobuf, Serialization};
pub use slimcluster_core::machine::{ApplyContext, Codec, CodecError, StateMachine};
pub use slimcluster_core::{ClusterUuid, CommandId, Durability, Index, LogTime, NodeId, Term, WallTime};
pub use status::{Leader, Member, MemberState, Role, Stage, Status};
pub use storage::{Memory, Storage, Wal};
pub use transport::{IpTransport, MemoryNetwork, Transport};
