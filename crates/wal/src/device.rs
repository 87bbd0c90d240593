//! The disk with names: whole reads and writes, and errors that say which file and what was tried.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::{Damage, WalError};
use crate::mutants::{Planted, mutant};

/// Zeros are written in pieces of this size: large enough that system calls do not count, small enough to be static.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The directory of a store.
#[derive(Clone)]
pub(crate) struct Directory {
    disk: Arc<dyn Disk>,
    path: Arc<str>,
    pub planted: Planted,
}

impl Directory {
    pub fn new(disk: Arc<dyn Disk>, planted: Planted) -> Self {
        let path = disk.describe().into();
        Directory { disk, path, planted }
    }

    pub fn path(&self) -> String {
        self.path.to_string()
    }

    /// Takes the exclusive lock; it is held as long as the disk lives.
    pub fn lock(&self) -> Result<(), WalError> {
        match self.disk.lock() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(WalError::InUse { directory: self.path() }),
            result => result.map_err(|error| self.failed("lock", "", error)),
        }
    }

    pub fn list(&self) -> Result<Vec<String>, WalError> {
        self.disk.list().map_err(|error| self.failed("list", "", error))
    }

    pub fn open(&self, name: &str) -> Result<StoreFile, WalError> {
        let file = self.disk.open(name).map_err(|error| self.failed("open", name, error))?;
        Ok(StoreFile { directory: self.path.clone(), name: name.into(), file, planted: self.planted })
    }

    pub fn create(&self, name: &str) -> Result<StoreFile, WalError> {
        let file = self.disk.create(name).map_err(|error| self.failed("create", name, error))?;
        Ok(StoreFile { directory: self.path.clone(), name: name.into(), file, planted: self.planted })
    }

    pub fn remove(&self, name: &str) -> Result<(), WalError> {
        self.disk.remove(name).map_err(|error| self.failed("remove", name, error))
    }

    pub fn sync(&self) -> Result<(), WalError> {
        self.disk.sync_directory().map_err(|error| self.failed("sync", "", error))
    }

    /// Puts `bytes` in the place of the whole file, durably: after a crash the file holds the old bytes or the new ones.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), WalError> {
        let new = replacement(name);
        let file = match self.create(&new) {
            Err(WalError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                // Left behind by a crash between its creation and its renaming.
                self.remove(&new)?;
                self.create(&new)?
            }
            file => file?,
        };
        file.write_all(bytes, 0)?;
        // The bytes before the name: the rename must never be durable before what it names.
        if !mutant!(self.planted, IdentityNotSynced) {
            file.sync()?;
        }
        self.disk.rename(&new, name).map_err(|error| self.failed("rename", &new, error))?;
        self.sync()
    }

    /// Gives back the space of a replacement that did not fit, if there is one.
    pub fn remove_replacement(&self, name: &str) -> Result<(), WalError> {
        let new = replacement(name);
        if self.list()?.contains(&new) { self.remove(&new) } else { Ok(()) }
    }

    pub fn damaged(&self, file: &str, offset: u64, what: impl Into<String>) -> WalError {
        WalError::Damaged(Damage { directory: self.path(), file: file.to_owned(), offset, what: what.into() })
    }

    fn failed(&self, operation: &'static str, file: &str, source: io::Error) -> WalError {
        WalError::Io { directory: self.path(), file: file.to_owned(), operation, source }
    }
}

/// An open file of a store. It does not keep the directory's lock: a reader may outlive the writer.
#[derive(Clone)]
pub(crate) struct StoreFile {
    directory: Arc<str>,
    name: Arc<str>,
    file: Arc<dyn DiskFile>,
    pub planted: Planted,
}

impl StoreFile {
    pub fn len(&self) -> Result<u64, WalError> {
        self.file.len().map_err(|error| self.failed("measure", error))
    }

    /// Fills `buffer` from `offset` on; returns fewer bytes only at the end of the file.
    pub fn read_full(&self, buffer: &mut [u8], offset: u64) -> Result<usize, WalError> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count.min(rest.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("read", error)),
            }
        }
        Ok(done)
    }

    /// Writes all of `bytes` at `offset`. After an error nothing is known of what stands there.
    pub fn write_all(&self, mut bytes: &[u8], mut offset: u64) -> Result<(), WalError> {
        while !bytes.is_empty() {
            match self.file.write_at(bytes, offset) {
                Ok(0) => return Err(self.failed("write", io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    let count = count.min(bytes.len());
                    bytes = bytes.get(count..).unwrap_or_default();
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("write", error)),
            }
        }
        Ok(())
    }

    /// Writes zeros from `start` up to `end`.
    pub fn write_zeros(&self, start: u64, end: u64) -> Result<(), WalError> {
        let mut offset = start;
        while offset < end {
            let count = (end - offset).min(ZEROS.len() as u64);
            self.write_all(ZEROS.get(..count as usize).unwrap_or_default(), offset)?;
            offset += count;
        }
        Ok(())
    }

    pub fn sync(&self) -> Result<(), WalError> {
        let mut result = self.file.sync();
        if mutant!(self.planted, FailedSyncRetried) && result.is_err() {
            result = self.file.sync();
        }
        result.map_err(|error| self.failed("sync", error))
    }

    /// What is read from now on comes from the medium, except for what was never written back (rule 2).
    pub fn drop_cache(&self) -> Result<(), WalError> {
        if mutant!(self.planted, CacheNotDropped) {
            return Ok(());
        }
        self.file.drop_cache().map_err(|error| self.failed("drop the cached pages of", error))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn damaged(&self, offset: u64, what: impl Into<String>) -> WalError {
        let (directory, file) = (self.directory.to_string(), self.name.to_string());
        WalError::Damaged(Damage { directory, file, offset, what: what.into() })
    }

    pub fn unknown_version(&self, version: u32) -> WalError {
        WalError::Version { directory: self.directory.to_string(), file: self.name.to_string(), version }
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> WalError {
        WalError::Io { directory: self.directory.to_string(), file: self.name.to_string(), operation, source }
    }
}

/// A piece of a file in memory, for reading forward with few system calls.
pub(crate) struct Window<'a> {
    file: &'a StoreFile,
    end: u64,
    reach: usize,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    /// A window over the first `end` bytes of `file`, which reads `reach` bytes at a time.
    pub fn new(file: &'a StoreFile, end: u64, reach: usize) -> Self {
        Window { file, end, reach, start: 0, bytes: Vec::new() }
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    /// The bytes at `offset`; none if the file does not hold `length` bytes there. Allocates nothing beyond the file's length.
    pub fn bytes(&mut self, offset: u64, length: usize) -> Result<Option<&[u8]>, WalError> {
        let Some(wanted) = offset.checked_add(length as u64).filter(|end| *end <= self.end) else {
            return Ok(None);
        };
        if offset < self.start || wanted > self.start + self.bytes.len() as u64 {
            let reach = (length.max(self.reach) as u64).min(self.end - offset) as usize;
            self.bytes.resize(reach, 0);
            let count = self.file.read_full(&mut self.bytes, offset)?;
            self.bytes.truncate(count);
            self.start = offset;
        }
        let at = (offset - self.start) as usize;
        Ok(self.bytes.get(at..at + length))
    }
}

fn replacement(name: &str) -> String {
    format!("{name}.new")
}

/// Whether the system refused for lack of space before it took anything over. A failed sync never counts, whatever its reason: it may
/// have lost what was written long before.
pub(crate) fn is_out_of_space(error: &WalError) -> bool {
    match error {
        WalError::Io { source, operation: "create" | "write", .. } => {
            matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        }
        _ => false,
    }
}
