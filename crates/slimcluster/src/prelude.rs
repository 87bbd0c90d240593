//! What most programs use: `use slimcluster::prelude::*`.
//!
//! [`Json`](crate::Json) and [`Protobuf`](crate::Protobuf) are left out on purpose: web frameworks have a `Json` of their own.

pub use crate::{
    ApplyContext, Cluster, ClusterBuilder, CommandId, Event, EventKind, IpTransport, Leader, Member, MemberState,
    Memory, NodeId, Raft, ReadError, Replicated, Stage, StartError, StateMachine, StaticMembers, Status, SubmitError,
    Swim, Wal,
};
