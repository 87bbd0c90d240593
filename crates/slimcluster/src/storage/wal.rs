//! Storage in a directory: the write-ahead log of `slimcluster-wal`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use slimcluster_core::storage::{Fetched, KnownPeer, Write};
use slimcluster_core::{Durability, GroupId, Index};
use slimcluster_wal::{Disk, FreshIds, Options, Space, StdDisk, WalError, WalReader};

use super::{OpenOptions, Opened, Storage, StorageError, StorageReader, StorageWriter};

/// Keeps everything that a restart needs in one directory, durably: every acknowledgement waits for the disk.
///
/// The directory belongs to one node of one cluster. It is made, readable by its owner only, where it does not exist.
#[derive(Clone, Debug)]
pub struct Wal {
    directory: PathBuf,
}

impl Wal {
    /// Keeps it in this directory.
    pub fn at(directory: impl AsRef<Path>) -> Self {
        Wal { directory: directory.as_ref().to_owned() }
    }
}

impl Storage for Wal {
    fn open(&self, options: &OpenOptions) -> Result<Opened, StorageError> {
        let path = self.directory.display();
        if self.directory.as_os_str().is_empty() {
            return Err(StorageError::Failed("the data directory has no name: give Wal::at(..) a path".to_owned()));
        }
        if self.directory.exists() && !self.directory.is_dir() {
            return Err(StorageError::Failed(format!("the data directory {path} is a file: name a directory")));
        }
        let disk = StdDisk::open(&self.directory).map_err(|error| {
            StorageError::Failed(format!(
                "the data directory {path} cannot be opened ({error}): name one that this user may write"
            ))
        })?;
        open_log_on(Arc::new(disk), Options::default(), options)
    }

    fn durability(&self) -> Durability {
        Durability::Fsync
    }

    fn describe(&self) -> String {
        format!("the directory {}", self.directory.display())
    }
}

/// Opens the log that [`Wal`] keeps in a directory on any disk: for tests, one that fails. Behind the feature `contract`.
///
/// # Errors
/// As [`Storage::open`].
pub fn open_log_on(disk: Arc<dyn Disk>, sizes: Options, options: &OpenOptions) -> Result<Opened, StorageError> {
    let fresh = FreshIds { node: options.node, store: options.store };
    let (wal, recovered) = slimcluster_wal::Wal::open(disk, sizes, &options.cluster_id, fresh)?;
    let reader = Arc::new(Reader(wal.reader()));
    Ok(Opened { recovered, writer: Box::new(Writer(wal)), reader })
}

impl From<WalError> for StorageError {
    fn from(error: WalError) -> Self {
        if error.is_retryable() {
            StorageError::Full(error.to_string())
        } else {
            StorageError::Failed(error.to_string())
        }
    }
}

struct Writer(slimcluster_wal::Wal);

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
