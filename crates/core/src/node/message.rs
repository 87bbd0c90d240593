//! What nodes say to each other over links. Plain data; `wire` gives it bytes.

use std::net::SocketAddr;

use super::bootstrap;
use super::io::Meta;
use crate::{ClusterUuid, Generation, GroupId, Index, LogId, NodeId, Nonce, Run, RunKind, Term, raft};

/// One message on a link.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerMessage {
    /// The first message on a link, from the node that dialled.
    Hello(Box<Hello>),
    /// The answer to a `Hello` that was accepted: the link now carries messages from the dialler.
    Welcome(Box<Hello>),
    /// The answer to a `Hello` that was not accepted; the link is closed.
    Refused(Refusal),
    /// Raft of one group.
    Raft {
        /// The group.
        group: GroupId,
        /// The message.
        message: raft::Message,
    },
    /// Forming a cluster.
    Bootstrap(bootstrap::Message),
    /// Commands for the leader.
    Forward(Forward),
    /// The leader's answer to a `Forward` that it did not append.
    ForwardRefused(ForwardRefused),
    /// Up to where must a linearizable read see the log?
    ReadIndex {
        /// The group.
        group: GroupId,
        /// Chosen by the asker, unique within its process.
        id: u64,
    },
    /// The answer: none when the asked node does not lead.
    ReadIndexResponse {
        /// The group.
        group: GroupId,
        /// The asker's id.
        id: u64,
        /// The read index.
        index: Option<Index>,
    },
}

/// Who is speaking, and to whom (rule 21). Its own link is the only proof that a node takes of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Hello {
    /// The cluster id of the speaker's configuration.
    pub cluster_id: String,
    /// The cluster that it is part of, if any.
    pub uuid: Option<ClusterUuid>,
    /// The speaker.
    pub from: NodeId,
    /// Whom it believes to have dialled; none when it only knows an address.
    pub to: Option<NodeId>,
    /// Its human name.
    pub name: String,
    /// Where its transport listens, as it advertises.
    pub address: SocketAddr,
    /// The number of its process start.
    pub generation: Generation,
    /// Drawn by its process.
    pub nonce: Nonce,
    /// The end of its log.
    pub last: LogId,
    /// What it advertises.
    pub meta: Meta,
    /// How far it has come in forming a cluster; none without consensus.
    pub bootstrap: Option<bootstrap::Hello>,
}

/// Why a `Hello` was refused. Said once, in words that help an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The speaker's cluster id.
    pub cluster_id: String,
    /// The reason.
    pub reason: String,
}

/// Commands (or a session or machine entry) for the leader of one term, in the layout of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// The run's group and kind say what; its term says which leader may append it; its index and chain mean nothing.
    pub run: Run,
    /// Raised with every forward of a process: the leader takes each number once and none behind it.
    pub number: u64,
}

/// A `Forward` that was certainly not appended (rule 16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardRefused {
    /// The group.
    pub group: GroupId,
    /// The number of the forward.
    pub number: u64,
    /// The term that it named.
    pub term: Term,
    /// What it carried.
    pub kind: RunKind,
    /// The leader is full; otherwise it does not lead that term.
    pub overloaded: bool,
}
