//! All targets by name.

use crate::{entries, files, frames, gossip, host, node, peer, plan, run, store};

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folders in `fuzz/corpus` and `fuzz/regressions`.
    pub name: &'static str,
    /// The longest input that is worth trying, in bytes.
    pub input_bytes_max: usize,
    /// Judges one input.
    ///
    /// # Panics
    /// When something does not hold.
    pub run: fn(&[u8]),
}

/// Every target, in the order of the table that `fuzz/run` prints.
pub const TARGETS: &[Target] = &[
    // A little beyond the longest datagram, so that the limit is met.
    target("gossip_datagram", 1_600, gossip::datagram),
    target("announcement", 128, gossip::announcement),
    target("stream", 4_096, frames::stream),
    target("link_frames", 8_192, frames::assembler),
    target("handshake", 16 << 10, peer::handshake),
    target("bootstrap_message", 4_096, peer::bootstrap),
    target("raft_message", 4_096, peer::raft),
    target("leader_request", 4_096, peer::requests),
    target("run", 4_096, run::runs),
    target("session_entry", 256, entries::session),
    target("machine_entry", 256, entries::machine),
    target("configuration_entry", 1_024, entries::configuration),
    target("host_restore", 2_048, host::restore),
    target("host_apply", 2_048, host::apply),
    target("store_directory", 8_192, store::directory),
    target("store_damage", 256, store::damage),
    target("identity_file", 1_024, files::identity),
    target("hard_state_file", 512, files::hard_state),
    target("peers_file", 1_024, files::peers),
    target("node", 4_096, node::node),
    target("simulator_plan", 258, plan::run),
];

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

const fn target(name: &'static str, input_bytes_max: usize, run: fn(&[u8])) -> Target {
    Target { name, input_bytes_max, run }
}
