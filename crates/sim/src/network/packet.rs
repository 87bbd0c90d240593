//! What is on its way, and what a process gets to know of it.

use std::net::SocketAddr;

use bytes::Bytes;
use slimcluster_core::node::io::{Input, LinkId};

/// A running process: the place of its node, and which of its starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The place of the node in the world.
    pub place: usize,
    /// The number of the process start there.
    pub start: u64,
}

/// A connection, numbered by the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub(super) u64);

/// Something on its way.
#[derive(Clone, Debug)]
pub enum Packet {
    /// A datagram.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// The place that it left from.
        from_place: usize,
        /// Whom it is for.
        to: SocketAddr,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A dial reaches the listener.
    Dial(ConnectionId),
    /// The listener's consent reaches the dialler.
    DialAnswered(ConnectionId),
    /// The dialler's patience ends.
    DialTimeout(ConnectionId),
    /// The next frame of a reliable stream reaches this end.
    Stream(ConnectionId, usize),
    /// A frame of an unreliable stream reaches this end.
    Loose(ConnectionId, usize, Bytes),
    /// This end learns that the connection is gone.
    Broken(ConnectionId, usize, &'static str),
}

/// What a process gets to know.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// A datagram.
    Datagram(SocketAddr, Bytes),
    /// A dialled link is up.
    Connected(LinkId),
    /// A peer dialled.
    Accepted(LinkId, SocketAddr),
    /// A frame.
    Frame(LinkId, Bytes),
    /// A link is gone.
    Disconnected(LinkId, &'static str),
}

impl Arrival {
    /// The same, as a node takes it.
    pub fn into_input(self) -> Input {
        match self {
            Arrival::Datagram(from, bytes) => Input::Datagram { from, bytes },
            Arrival::Connected(link) => Input::Connected(link),
            Arrival::Accepted(link, from) => Input::Accepted { link, from },
            Arrival::Frame(link, bytes) => Input::Frame { link, bytes },
            Arrival::Disconnected(link, reason) => Input::Disconnected { link, reason: reason.to_owned() },
        }
    }
}
