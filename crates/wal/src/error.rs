//! Why a store cannot go on, in sentences that name the file and the remedy.

use std::io;

/// What our own checksums, lengths and sequence numbers say cannot be right (rule 20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The directory.
    pub directory: String,
    /// The file in it.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

/// Why a store cannot be opened, read or written.
///
/// Except for [`WalError::Full`], an error of the writer poisons the store: nothing of the failed batch may be taken for
/// durable, parts of it may be found by the next open.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// Another process holds the directory. Nothing was changed.
    #[error("{directory} is in use by another process: stop that one, or name another data directory")]
    InUse {
        /// The directory.
        directory: String,
    },
    /// The directory was made for another cluster id. Nothing was changed.
    #[error(
        "{directory} holds data of the cluster {found:?}, not of {expected:?}: name the right data directory, or the right cluster id"
    )]
    OtherCluster {
        /// The directory.
        directory: String,
        /// The cluster id that it was made for.
        found: String,
        /// The cluster id of this start.
        expected: String,
    },
    /// There is no store in the directory. Said by [`crate::inspect()`] only; opening makes one.
    #[error("{directory} holds no data of a node")]
    NoStore {
        /// The directory.
        directory: String,
    },
    /// A file was written by a later version of this crate. Nothing was changed.
    #[error("{directory}/{file} has format version {version}, which this build does not know: start a newer build")]
    Version {
        /// The directory.
        directory: String,
        /// The file in it.
        file: String,
        /// Its version.
        version: u32,
    },
    /// The store is damaged: this node can no longer prove what it acknowledged or promised. Nothing was changed.
    #[error(
        "{}/{} is damaged at offset {}: {}. This node can no longer prove what it acknowledged: move {} aside (do not delete it) and \
         start with an empty directory, as a new node",
        .0.directory, .0.file, .0.offset, .0.what, .0.directory
    )]
    Damaged(Damage),
    /// The disk is full. The store goes on: nothing of the batch may be taken for durable, and the same batch may be tried again.
    #[error(
        "no space for the next segment of the log in {directory}: {reason}. Free some space; writing goes on by itself"
    )]
    Full {
        /// The directory.
        directory: String,
        /// What the system said.
        reason: String,
    },
    /// The system refused an operation on the directory.
    #[error("cannot {operation} {}: {source}", place(directory, file))]
    Io {
        /// The directory.
        directory: String,
        /// The file in it; empty for the directory itself.
        file: String,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The caller asked for something that no correct caller asks for. Nothing of it was written, and the store is poisoned.
    #[error("the store was asked for the impossible: {0}")]
    Invariant(String),
    /// An earlier failure has poisoned the store for good (rule 2).
    #[error("the store has stopped after a failure: {reason}")]
    Poisoned {
        /// The earlier failure.
        reason: String,
    },
}

/// The path of a file, or of the directory itself.
fn place(directory: &str, file: &str) -> String {
    if file.is_empty() { directory.to_owned() } else { format!("{directory}/{file}") }
}

impl WalError {
    /// Whether the same batch may be tried again later: nothing was written, and the store goes on.
    pub fn is_retryable(&self) -> bool {
        matches!(self, WalError::Full { .. })
    }
}
