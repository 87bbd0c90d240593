//! The log of `slimcluster-wal` as a storage over any disk.

use std::sync::Arc;

use slimcluster::storage::{
    Fetched, GroupId, KnownPeer, OpenOptions, Opened, Storage, StorageError, StorageReader, StorageWriter, Write,
};
use slimcluster::{Durability, Index};
use slimcluster_wal::{FreshIds, Options, Space, Wal, WalReader};

use super::disk::FaultyDisk;

/// As `slimcluster::Wal`, over a disk that can be made to fail. Its segments are small, so that they change often.
pub struct WalOn(FaultyDisk);

impl WalOn {
    pub fn new(disk: FaultyDisk) -> Self {
        WalOn(disk)
    }
}

impl Storage for WalOn {
    fn open(&self, options: &OpenOptions) -> Result<Opened, StorageError> {
        let fresh = FreshIds { node: options.node, store: options.store };
        let small = Options { segment_bytes: 1 << 20, ..Options::default() };
        let (wal, recovered) = Wal::open(Arc::new(self.0.process()), small, &options.cluster_id, fresh)?;
        let reader = Arc::new(Reader(wal.reader()));
        Ok(Opened { recovered, writer: Box::new(Writer(wal)), reader })
    }

    fn durability(&self) -> Durability {
        Durability::Fsync
    }

    fn describe(&self) -> String {
        "a log on a faulty disk".to_owned()
    }
}

struct Writer(Wal);

impl StorageWriter for Writer {
    fn write(&mut self, batch: &[Write]) -> Result<(), StorageError> {
        Ok(self.0.write(batch)?)
    }

    fn prepare(&mut self) -> Result<(), StorageError> {
        self.0.prepare_segment()?;
        Ok(())
    }

    fn needs_idle(&self) -> bool {
        self.0.needs_idle_record()
    }

    fn idle(&mut self) -> Result<(), StorageError> {
        Ok(self.0.idle()?)
    }

    fn full(&self) -> Option<String> {
        match self.0.space() {
            Space::Free => None,
            Space::Full { why } => Some(why),
        }
    }

    fn remember_peers(&mut self, peers: &[KnownPeer]) -> Result<(), StorageError> {
        Ok(self.0.remember_peers(peers)?)
    }
}

struct Reader(WalReader);

impl StorageReader for Reader {
    fn fetch(&self, group: GroupId, first: Index, last: Index, bytes_max: usize) -> Result<Fetched, StorageError> {
        Ok(self.0.fetch(group, first, last, bytes_max)?)
    }
}
