//! Where a node keeps what it must not forget.
//!
//! [`Wal`] keeps it in a directory, durably; [`Memory`] forgets it with the process, and its node is a new one at each start. Both serve the
//! same three roles: [`Storage`] opens, one [`StorageWriter`] takes the node's one stream of writes on a thread of its own, and a
//! [`StorageReader`] reads runs back without ever waiting for the writer.
//!
//! What they keep and read is plain data of the protocol, named again here for those who write a storage of their own: [`Write`] and
//! [`Recovered`] first. The module `contract`, behind the feature of that name, has the suite that such a storage must pass.

mod contract;
mod memory;
mod wal;

pub use contract::{OpenOptions, Opened, Storage, StorageError, StorageReader, StorageWriter};
pub use memory::Memory;
pub use slimcluster_core::raft::{Configuration, ConfiguredNode, Standing};
pub use slimcluster_core::storage::{Abandoned, Fetched, Identity, KnownPeer, LogSummary, Phase, Recovered, Write};
pub use slimcluster_core::types::StoreId;
pub use slimcluster_core::{Generation, GroupId, HardState, LogId, Nonce, Run, RunHeader, RunKind, WriteSeq};
pub use wal::Wal;
#[cfg(feature = "contract")]
pub use wal::open_log_on;
