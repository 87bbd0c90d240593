//! What the network does wrong by itself, all the time.

use serde::{Deserialize, Serialize};

pub(super) const MILLION: u64 = 1_000_000;

/// What the network does wrong by itself. Times in microseconds, probabilities in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkFaults {
    /// Every packet takes at least this long.
    pub latency: u64,
    /// And up to this much longer.
    pub jitter: u64,
    /// A packet takes much longer.
    pub tail: u64,
    /// How much longer, at most.
    pub tail_latency: u64,
    /// A packet is lost (on a reliable stream: sent again, late).
    pub loss: u64,
    /// A datagram arrives twice.
    pub duplicate: u64,
    /// The second copy of a doubled packet arrives up to this much later.
    pub duplicate_latency: u64,
    /// A byte of a packet is changed.
    pub corrupt: u64,
    /// A dial gets no answer although the listener is there.
    pub black_hole: u64,
    /// A dial is answered by the machine, and no process ever takes the connection.
    pub silent_accept: u64,
    /// A direction between two places loses every packet above a size, all the time.
    pub holes: u64,
    /// The size, in bytes.
    pub hole_bytes: u64,
    /// Streams lose, double and reorder frames.
    pub unreliable_streams: bool,
    /// How long the sender of a stalled stream waits before it gives the stream up.
    pub stall_max: u64,
}

impl NetworkFaults {
    /// A healthy local network.
    pub const HEALTHY: NetworkFaults = NetworkFaults {
        latency: 100,
        jitter: 200,
        tail: 0,
        tail_latency: 0,
        loss: 0,
        duplicate: 0,
        duplicate_latency: 0,
        corrupt: 0,
        black_hole: 0,
        silent_accept: 0,
        holes: 0,
        hole_bytes: 0,
        unreliable_streams: false,
        stall_max: 3_000_000,
    };
}

impl Default for NetworkFaults {
    fn default() -> Self {
        NetworkFaults::HEALTHY
    }
}
