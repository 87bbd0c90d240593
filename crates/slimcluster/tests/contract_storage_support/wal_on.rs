//! The log of a directory, over a disk that can be made to fail.

use std::sync::Arc;

use slimcluster::Durability;
use slimcluster::storage::{OpenOptions, Opened, Storage, StorageError, open_log_on};
use slimcluster_wal::Options;

use super::disk::FaultyDisk;

/// As `slimcluster::Wal`, whose very reader and writer it has. Its segments are small, so that they change often.
pub struct WalOn(FaultyDisk);

impl WalOn {
    pub fn new(disk: FaultyDisk) -> Self {
        WalOn(disk)
    }
}

impl Storage for WalOn {
    fn open(&self, options: &OpenOptions) -> Result<Opened, StorageError> {
        let small = Options { segment_bytes: 1 << 20, ..Options::default() };
        open_log_on(Arc::new(self.0.process()), small, options)
    }

    fn durability(&self) -> Durability {
        Durability::Fsync
    }

    fn describe(&self) -> String {
        "a log on a faulty disk".to_owned()
    }
}
