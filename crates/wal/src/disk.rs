//! The disk as the log sees it: one directory of flat files, with every effect that can fail, and nothing else.
//!
//! The simulator implements it over a faulty medium, so every durable effect of the log must pass through here.

use std::io;
use std::sync::Arc;

/// One directory. Names are flat; nothing outside the directory is touched.
pub trait Disk: Send + Sync + 'static {
    /// Takes the exclusive lock of the directory, for as long as this value lives. A second holder gets `WouldBlock`.
    fn lock(&self) -> io::Result<()>;

    /// The names of the files in the directory, sorted.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a file that must not exist. Its name is durable only after [`Disk::sync_directory`].
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames, replacing the target. Durable only after [`Disk::sync_directory`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable only after [`Disk::sync_directory`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    fn sync_directory(&self) -> io::Result<()>;

    /// Where the directory is, for messages to people.
    fn describe(&self) -> String;
}

/// One open file. Reads and writes name their offset, so that readers and the writer share it.
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// True for a file of no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads up to `buffer.len()` bytes at `offset`; returns how many. 0 only at the end of the file. May be short.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes up to `bytes.len()` bytes at `offset`, growing the file; returns how many. May be short.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes the file's bytes and length durable (fdatasync). After an error nothing about them is known (rule 2).
    fn sync(&self) -> io::Result<()>;

    /// Drops cached pages, so that the next reads come from the medium (rule 2).
    fn drop_cache(&self) -> io::Result<()>;
}
