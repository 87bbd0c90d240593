//! The simulated network: datagrams and streams between addresses, with everything that may go wrong on the way (N1-N9).
//!
//! A datagram may be lost, doubled (also long after), overtaken and corrupted. A stream is ordered and reliable while it lasts; a
//! partition stalls it, and a stall ends it for the side that has something to send: the other side learns only when it sends
//! (half-open). A path may have a hole: what is larger than a bound vanishes there, and a stream stalls at its first frame of that
//! size. A reader may be slow, which fills the queues of those that send to it. Some seeds run streams that lose, double and reorder whole frames as well: Raft must survive that.
//!
//! The network decides what arrives when; [`crate::world`] keeps the clock and hands arrivals to the processes. What it does wrong
//! all the time is in `faults.rs`, what is wrong between two places for a while in `paths.rs`. Then the ways of a packet: datagrams,
//! dials, the connections that they make, and the frames on those.

mod connections;
mod datagrams;
mod dials;
mod faults;
mod frames;
#[expect(clippy::module_inception, reason = "the chapter is named after what it is about")]
mod network;
mod packet;
mod paths;
#[cfg(test)]
mod tests;

pub use datagrams::DATAGRAM_BYTES_MAX;
pub use faults::NetworkFaults;
pub use network::Network;
pub use packet::{Arrival, ConnectionId, Endpoint, Packet};
pub use paths::SlowReader;
