//! What a node is told at its start.

use std::net::SocketAddr;
use std::time::Duration;

use super::bootstrap::BootstrapOptions;
use super::io::Meta;
use super::proposals::ProposalOptions;
use crate::wire::Codec;
use crate::{Nonce, raft, swim};

/// Everything that a node is told at its start, besides what its storage recovered.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The human name, unique among the nodes of a cluster.
    pub name: String,
    /// Where the transport listens, as others should dial it.
    pub address: SocketAddr,
    /// What the node advertises of itself. `consensus` is set by the node.
    pub meta: Meta,
    /// The encoding of what it sends; it reads every one.
    pub codec: Codec,
    /// Drawn at random by each process start (rule 21).
    pub nonce: Nonce,
    /// Who tells who is there.
    pub membership: Membership,
    /// Announce this node on the multicast group.
    pub announce: bool,
    /// Take part in consensus.
    pub consensus: Option<ConsensusOptions>,
    /// How long a stopped node says that it will be away (rule 30).
    pub restart_within: Duration,
}

/// Who tells who is there.
#[derive(Clone, Debug)]
pub enum Membership {
    /// SWIM.
    Swim(swim::Options),
    /// The addresses of a fixed list, which discovery gives; the links tell the rest.
    Static,
}

/// How a node takes part in consensus.
#[derive(Clone, Debug)]
pub struct ConsensusOptions {
    /// Raft.
    pub raft: raft::Options,
    /// How the cluster is formed.
    pub bootstrap: BootstrapOptions,
    /// Limits and times of the application's commands.
    pub proposals: ProposalOptions,
}
