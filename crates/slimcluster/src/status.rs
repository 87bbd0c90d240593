//! What a node knows of its cluster: members, the leader, and where the node itself stands.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use slimcluster_core::node::io;
use slimcluster_core::{ClusterUuid, Index, NodeId, Term};

pub use slimcluster_core::node::io::{MemberState, Role};

/// A member of the cluster, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its identity; it survives restarts and changes of address.
    pub id: NodeId,
    /// Its human name.
    pub name: String,
    /// Where its transport listens, as it advertises.
    pub address: SocketAddr,
    /// Host and port of its HTTP interface, as it advertises.
    pub http: Option<String>,
    /// Its state.
    pub state: MemberState,
    /// It announced that it is restarting.
    pub restarting: bool,
    /// Whether it is this node.
    pub is_self: bool,
    /// When this node first saw it in its present process.
    pub joined_at: SystemTime,
    /// When it was last known to answer.
    pub last_seen: SystemTime,
}

impl Member {
    pub(crate) fn new(member: io::Member, own: NodeId, started: SystemTime) -> Self {
        let at = |instant: slimcluster_core::Instant| started + Duration::from_micros(instant.as_micros());
        Member {
            is_self: member.id == own,
            joined_at: at(member.joined_at),
            last_seen: at(member.last_seen),
            id: member.id,
            name: member.name,
            address: member.address,
            http: member.meta.http,
            state: member.state,
            restarting: member.restarting,
        }
    }
}

/// The leader, as far as this node knows. Another node may have been elected since: what must be certain goes through
/// [`Replicated`](crate::Replicated).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leader {
    /// Its identity.
    pub id: NodeId,
    /// Its human name; its id in hexadecimal digits while the name is not known here.
    pub name: String,
    /// The term that it leads.
    pub term: Term,
    /// Host and port of its HTTP interface, as it advertises.
    pub http: Option<String>,
    /// Whether it is this node.
    pub is_self: bool,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What stage of its life the node is in, with the reason where it waits.
    pub stage: Stage,
    /// Its Raft role.
    pub role: Role,
    /// Its Raft term; 0 without consensus.
    pub term: Term,
    /// The leader that it knows.
    pub leader: Option<Leader>,
    /// The cluster's identity, once formed or met.
    pub uuid: Option<ClusterUuid>,
    /// The voters of the configuration in force; empty before a cluster exists.
    pub voters: Vec<NodeId>,
    /// The highest index known to be committed.
    pub commit_index: Index,
    /// The highest index applied on this node.
    pub applied_index: Index,
    /// Everything that the present leader had committed when it was met is applied here.
    pub ready: bool,
}

impl Status {
    /// What the node waits for, in plain words; none when it works.
    pub fn waiting(&self) -> Option<&str> {
        match &self.stage {
            Stage::Forming { waiting } | Stage::WaitingForLeader { waiting } | Stage::WaitingForMachine { waiting } => {
                Some(waiting)
            }
            Stage::Stopped { reason } => Some(reason),
            Stage::Working => None,
        }
    }
}

/// What stage of its life a node is in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// There is no cluster yet.
    Forming {
        /// What is missing, such as `waiting for 1 of 3: n2`.
        waiting: String,
    },
    /// The cluster exists; a leader does not, or is not known here.
    WaitingForLeader {
        /// Why.
        waiting: String,
    },
    /// Apply stands still: the next command is for a machine that was not attached by `replicate`, or that refuses it for good.
    WaitingForMachine {
        /// Why.
        waiting: String,
    },
    /// All is well.
    Working,
    /// The node, or consensus on it, has stopped.
    Stopped {
        /// Why.
        reason: String,
    },
}

impl From<io::Stage> for Stage {
    fn from(stage: io::Stage) -> Self {
        match stage {
            io::Stage::Forming { waiting } => Stage::Forming { waiting },
            io::Stage::WaitingForLeader { waiting } => Stage::WaitingForLeader { waiting },
            io::Stage::WaitingForMachine { waiting } => Stage::WaitingForMachine { waiting },
            io::Stage::Working => Stage::Working,
            io::Stage::Stopped { reason } => Stage::Stopped { reason },
        }
    }
}
