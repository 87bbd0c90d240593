//! The real disk: a directory of the file system.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};

use crate::disk::{Disk, DiskFile};

/// A directory of the file system, readable by its owner only.
///
/// Files are named relative to the directory's own handle and symbolic links are refused, so that nobody can lead
/// the log elsewhere while it is open.
pub struct StdDisk {
    directory: OwnedFd,
    path: PathBuf,
    access: OFlags,
}

impl StdDisk {
    /// Opens the directory at `path`; makes it, and what is missing above it, with mode 0700 and durable names.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        create_directory(path)?;
        Self::open_directory(path, OFlags::RDWR)
    }

    /// Opens an existing directory only to look: files are opened for reading, every change is refused.
    pub fn open_read_only(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_directory(path.as_ref(), OFlags::RDONLY)
    }

    fn open_directory(path: &Path, access: OFlags) -> io::Result<Self> {
        if fs::symlink_metadata(path)?.is_symlink() {
            return Err(io::Error::other("it is a symbolic link: name the directory that it leads to"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(StdDisk { directory, path: path.to_path_buf(), access })
    }

    fn refuse_changes(&self) -> io::Result<()> {
        if self.access == OFlags::RDONLY { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn open_file(&self, name: &str, more: OFlags) -> io::Result<Arc<dyn DiskFile>> {
        let flags = self.access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
        let file = match rustix::fs::openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR) {
            Err(rustix::io::Errno::LOOP) => {
                return Err(io::Error::other("it is a symbolic link, which a data directory must not hold"));
            }
            file => File::from(file?),
        };
        // A pipe or a device in place of a file would block, or do something else than store.
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        Ok(Arc::new(StdFile(file)))
    }
}

/// Creates the missing directories down to `path`, each with its name made durable in its parent.
fn create_directory(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    create_directory(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        // Another process of this node's owner may be making the same one; the lock decides between the two.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

impl Disk for StdDisk {
    fn lock(&self) -> io::Result<()> {
        // The lock is on the directory itself: it needs no file, and it goes with the process however that ends.
        Ok(rustix::fs::flock(&self.directory, FlockOperation::NonBlockingLockExclusive)?)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            // Names that are not UTF-8 are none of ours.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_file(name, OFlags::empty())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.refuse_changes()?;
        self.open_file(name, OFlags::CREATE | OFlags::EXCL)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.refuse_changes()?;
        Ok(rustix::fs::renameat(&self.directory, from, &self.directory, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.refuse_changes()?;
        Ok(rustix::fs::unlinkat(&self.directory, name, AtFlags::empty())?)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.directory)?)
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

struct StdFile(File);

impl DiskFile for StdFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn drop_cache(&self) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}
