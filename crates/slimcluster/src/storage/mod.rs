//! Where a node keeps what it must not forget.
//!
//! [`Wal`] keeps it in a directory, durably; [`Memory`] forgets it with the process, and its node is a new one at each start. Both serve the
//! same three roles: [`Storage`] opens, one [`StorageWriter`] takes the node's one stream of writes on a thread of its own, and a
//! [`StorageReader`] reads runs back without ever waiting for the writer.

mod contract;
mod memory;
mod wal;

pub use contract::{OpenOptions, Opened, Storage, StorageError, StorageReader, StorageWriter};
pub use memory::Memory;
pub use wal::Wal;
