//! Carriers of messages: datagrams for SWIM, streams for Raft, and a multicast group for discovery.
//!
//! [`IpTransport`] speaks UDP and TCP on one port number; [`MemoryTransport`] connects nodes of one process. Both work at the level of
//! bytes: frames, lanes and limits are the driver's, and what the bytes mean is the core's.

mod contract;
mod ip;
mod memory;
mod multicast;

pub use contract::{BindOptions, DatagramSocket, Endpoint, MulticastSocket, Stream, StreamListener, Transport};
pub use ip::IpTransport;
pub use memory::{MemoryNetwork, MemoryTransport};
