//! The durable log of SlimCluster.
//!
//! One directory holds everything that a node must find again after a restart: who it is, what it promised, and its log. All
//! of it is written by one [`Wal`], which belongs to one thread and is synchronous: when [`Wal::write`] returns, the batch is
//! durable. Reads go through a [`WalReader`], which any thread may use and which never waits for a sync of the writer.
//!
//! The files, byte by byte, and the assumptions about the medium stand in `docs/wal-format.md`, the rules that comments cite by number in
//! `docs/rules.md`. In short:
//!
//! * `identity` is replaced as a whole (new file, sync, rename, directory sync);
//! * `hardstate` holds term and vote in two alternating slots;
//! * `log-N` are the segments: preallocated files of records that carry enough to be told from anything else that a disk may
//!   serve in their place;
//! * `peers` remembers addresses, for comfort.
//!
//! Every effect goes through the [`Disk`] trait, so that the simulator runs this very code over a faulty medium.
//! A failed write, sync, rename or directory sync poisons the store for good: what the page cache serves after a failed sync
//! is not what the medium holds, so only a new process, which drops the cache and verifies, may go on.

pub mod disk;
mod std_disk;

mod device;
mod error;
mod frame;
mod mutants;
mod options;

mod record;
mod segment;

mod hard_state;
mod identity;
mod peers;

mod index;
mod reader;
mod wal;

mod inspect;
mod recovery;
mod replay;
mod scan;

pub use disk::{Disk, DiskFile};
pub use error::{Damage, WalError};
pub use inspect::{Inspection, Seen, SegmentSummary, inspect};
pub use options::{FreshIds, Options};
pub use reader::WalReader;
pub use record::RecordKind;
pub use std_disk::StdDisk;
pub use wal::{Space, Wal};
