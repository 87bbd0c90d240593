//! What the caller decides about a store.

use slimcluster_core::NodeId;
#[cfg(feature = "mutants")]
use slimcluster_core::mutants::Mutant;
use slimcluster_core::types::StoreId;

use crate::mutants::Planted;

/// Sizes and bounds of a store. The sizes may differ from one open to the next.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of a segment file in bytes, at least 4 KiB. The first ones are smaller, so that a new node starts at once.
    pub segment_bytes: u64,
    /// Beyond this many bytes of log [`crate::Wal::space`] says full. Writes still succeed: it is the caller's to stop.
    pub log_bytes_max: u64,
    /// At most this many bytes of the newest runs are handed over by [`crate::Wal::open`] (the last run always;
    /// fewer where the log was cut near its end).
    pub tail_bytes_max: usize,
    /// A deliberate bug, to show that the simulator and the tests of this crate notice. Those of other crates do nothing here.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

impl Options {
    pub(crate) fn planted(&self) -> Planted {
        #[cfg(feature = "mutants")]
        return Planted { mutant: self.mutant };
        #[cfg(not(feature = "mutants"))]
        Planted::default()
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            // Large enough that preallocation is rare, small enough that one segment is scanned in well under a second.
            segment_bytes: 64 << 20,
            // There is no compaction yet; the limit keeps a log from filling a disk unnoticed.
            log_bytes_max: 1 << 30,
            tail_bytes_max: 32 << 20,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// The identities that a directory gets when it is new. Drawn by the caller, because this crate has no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshIds {
    /// The node's identity.
    pub node: NodeId,
    /// The directory's identity.
    pub store: StoreId,
}
