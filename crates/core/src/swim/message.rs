//! What members say to each other. Plain data; `wire` gives it bytes.

use std::net::SocketAddr;

use super::Update;
use crate::{Generation, NodeId};

/// Names one question; the answer carries it back. Drawn at random, so that an answer cannot be made up without having seen the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// One datagram: what it is for, and the updates that ride on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is for.
    pub body: Body,
    /// Updates, the most urgent first.
    pub updates: Vec<Update>,
}

/// What a datagram is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Are you there? Answered by `Ack`, or by `Gone` if the receiver is somebody else.
    Ping {
        /// Names the question.
        seq: Seq,
        /// Who is meant, and which of its process starts; none means whoever listens at the address.
        target: Option<(NodeId, Generation)>,
    },
    /// I am there; or, from a relay: it is.
    Ack {
        /// The ping's, or the ping request's.
        seq: Seq,
    },
    /// Please ping `target` for me. The relay uses the address that it knows itself, so nobody can be made to ping a stranger.
    PingReq {
        /// Names the question; the relay's `Ack` carries it.
        seq: Seq,
        /// Who does not answer.
        target: NodeId,
    },
    /// The pinged one does not live here (any more); the sender does (rule 32).
    Gone {
        /// The ping's.
        seq: Seq,
    },
    /// Tell me all that you know, beginning behind `after`. One answer, one datagram: the pace is the asker's.
    SyncRequest {
        /// Names the question.
        seq: Seq,
        /// The last id that the asker got; none at the beginning.
        after: Option<NodeId>,
    },
    /// One page of the member table in the order of ids; the page is in the updates.
    SyncResponse {
        /// The request's.
        seq: Seq,
        /// Ask again behind this id; none when this page was the last.
        next: Option<NodeId>,
        /// The source address of the request as the receiver saw it (rule 34).
        observed: SocketAddr,
    },
}
