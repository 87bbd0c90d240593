//! What nodes tell each other while no cluster exists, and the boundary of [`super::Bootstrap`].

use crate::raft::Configuration;
use crate::storage::{Abandoned, Identity};
use crate::{ClusterUuid, Durability, NodeId};

/// What a node says of itself in the handshake of a link. True of its durable state when it was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hello {
    /// Its human name.
    pub name: String,
    /// How many nodes it expects.
    pub node_count: usize,
    /// What its acknowledgements are worth.
    pub durability: Durability,
    /// Rises whenever the rest changes within one process start: an older hello never replaces a newer one.
    pub revision: u64,
    /// How far it has come.
    pub claim: Claim,
}

/// How far a node says that it has come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// It has promised nothing and met nobody who is formed.
    Fresh {
        /// The hash of the set that it would promise, if it sees one.
        sees: Option<ClusterUuid>,
    },
    /// It has promised the set whose hash this is.
    Promised {
        /// The hash.
        uuid: ClusterUuid,
    },
    /// It is part of a cluster. All members of the set have promised it, or it could not be.
    Formed {
        /// The cluster.
        uuid: ClusterUuid,
        /// The ids of the founding set, sorted.
        members: Vec<NodeId>,
    },
    /// It has met a formed cluster that it is not part of.
    JoinOnly {
        /// The cluster.
        uuid: ClusterUuid,
        /// It keeps its state in memory, and nobody of that cluster has answered for the release time (rule 25).
        is_alone: bool,
    },
}

/// A message between two nodes whose handshake is complete. Any of them may be lost, doubled or reordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Message {
    /// What the sender says of itself now.
    Hello(Hello),
    /// Members that are known to have promised the set whose hash this is, sorted.
    Promises {
        /// The hash.
        uuid: ClusterUuid,
        /// The members.
        promised: Vec<NodeId>,
    },
    /// Ids that the sender had and gave up before they formed anything.
    Abandoned(Vec<Abandoned>),
}

/// Everything that can happen to a bootstrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The handshake with a peer of this cluster id is complete in both directions; also when it replaces an older link.
    PeerHello {
        /// Who.
        id: NodeId,
        /// What it said of itself.
        hello: Hello,
    },
    /// The last link with this peer is gone.
    PeerGone(NodeId),
    /// A message of a peer whose handshake is complete.
    Message {
        /// Who sent it.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// The last [`Output::WriteIdentity`] is durable.
    IdentityWritten,
    /// The deadline has passed; a late or early timeout is harmless.
    Timeout,
}

/// Everything that a bootstrap wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send to a peer whose handshake is complete.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Replace the identity file, then say `IdentityWritten`. There is never more than one such write under way.
    WriteIdentity(Identity),
    /// The cluster exists and this node is part of it, durably. Not said again after a restart.
    Formed {
        /// The cluster.
        uuid: ClusterUuid,
        /// Entry 1 of term 1, committed.
        baseline: Configuration,
    },
    /// The node has another id now, durably: all links start anew under it, and consensus, if it had begun, starts afresh with an
    /// empty hard state (no majority was ever formed, so it has none worth keeping). The peers are forgotten.
    NewIdentity(Identity),
    /// Something keeps the cluster from forming until a person changes it; in plain words. Said once while it lasts.
    Warning(String),
}
