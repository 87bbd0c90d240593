//! The traits of a storage.

use std::sync::Arc;

use slimcluster_core::storage::{Fetched, KnownPeer, Recovered, Write};
use slimcluster_core::types::StoreId;
use slimcluster_core::{Durability, GroupId, Index, NodeId};

/// Something that keeps a node's identity, hard state and log.
pub trait Storage: Send + Sync + 'static {
    /// Opens for one process start of a node: recovers, raises the generation durably, and gives the ends to work with. Called once, on
    /// the node's thread before anything else runs there, so it may block.
    ///
    /// # Errors
    /// One sentence that names the value and the remedy. Nothing was started.
    fn open(&self, options: &OpenOptions) -> Result<Opened, StorageError>;

    /// What an acknowledgement of this storage is worth.
    fn durability(&self) -> Durability;

    /// What and where it is, for messages to people.
    fn describe(&self) -> String;
}

/// What a storage must know to be opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// A storage made for another cluster id is refused.
    pub cluster_id: String,
    /// The identity of the node, should the storage be new.
    pub node: NodeId,
    /// The identity of the storage, should it be new.
    pub store: StoreId,
}

/// An open storage.
pub struct Opened {
    /// What it held.
    pub recovered: Recovered,
    /// The one end that writes.
    pub writer: Box<dyn StorageWriter>,
    /// The end that reads.
    pub reader: Arc<dyn StorageReader>,
}

/// The writing end; it lives on a thread of its own.
pub trait StorageWriter: Send {
    /// Executes the batch in order, term and vote of a batch before its runs. When it returns, all of it is kept as [`Storage::durability`]
    /// promises. A run that would leave a hole in the log is refused with [`StorageError::Failed`].
    ///
    /// # Errors
    /// [`StorageError::Full`]: nothing of the batch may be taken for durable, and the same batch is tried again later.
    /// [`StorageError::Failed`]: nothing is known about the batch and nothing may be written any more; the node stops its consensus.
    fn write(&mut self, batch: &[Write]) -> Result<(), StorageError>;

    /// A bounded step of work ahead of the next writes. Called after each write was acknowledged, and about once a second while the storage is full.
    ///
    /// # Errors
    /// As [`StorageWriter::write`].
    fn prepare(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Whether [`StorageWriter::idle`] has something to do.
    fn needs_idle(&self) -> bool {
        false
    }

    /// Called when nothing was written for 100 ms and [`StorageWriter::needs_idle`] says so; while the storage is full, about once a second.
    ///
    /// # Errors
    /// As [`StorageWriter::write`].
    fn idle(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Why there is no room for more runs, if so: back-pressure, not failure.
    fn full(&self) -> Option<String>;

    /// Keeps the peers' addresses. Losing them costs comfort only.
    ///
    /// # Errors
    /// The addresses were not kept.
    fn remember_peers(&mut self, peers: &[KnownPeer]) -> Result<(), StorageError>;
}

/// The reading end.
pub trait StorageReader: Send + Sync {
    /// Reads contiguous runs from `first` on, to `last` at most; stops after `bytes_max` bytes, but not before one entry. Nothing, and no
    /// error, where `first` is not in the log, `last` is before it, or the group is another.
    ///
    /// # Errors
    /// The entries cannot be read back; the node stops its consensus.
    fn fetch(&self, group: GroupId, first: Index, last: Index, bytes_max: usize) -> Result<Fetched, StorageError>;
}

/// Why a storage could not do what it was asked, in one sentence that names the place and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no space. Nothing of the batch may be taken for durable; trying it again later may work.
    #[error("{0}")]
    Full(String),
    /// Anything else. After a failed write the storage must not be used any more.
    #[error("{0}")]
    Failed(String),
}
