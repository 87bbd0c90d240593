//! The disk as a process sees it: the calls of the log, each of which may fail.

use std::io;
use std::sync::{Arc, Mutex};

use slimcluster_core::random::Random;
use slimcluster_wal::{Disk, DiskFile};

use super::content::Content;
use super::hardware::{DiskFaults, Fate, FileId, MILLION, State, lock};

pub(super) struct Mounted {
    pub state: Arc<Mutex<State>>,
    pub mount: u64,
}

impl Mounted {
    /// One call of the process: fails when it is dead or dies at it.
    fn call<T>(&self, call: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = lock(&self.state);
        match state.enter(self.mount)? {
            Fate::Lives => call(&mut state),
            Fate::Dies => Err(dead()),
        }
    }

    fn file(&self, id: FileId) -> Arc<dyn DiskFile> {
        Arc::new(OpenFile { mounted: Mounted { state: self.state.clone(), mount: self.mount }, id })
    }
}

impl Disk for Mounted {
    fn lock(&self) -> io::Result<()> {
        self.call(|state| {
            if state.locked {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, "the directory is locked"));
            }
            state.locked = true;
            Ok(())
        })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.call(|state| Ok(state.names.list()))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.call(|state| state.names.find(name).ok_or_else(|| not_found(name)))?;
        Ok(self.file(id))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.call(|state| {
            if state.names.find(name).is_some() {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} exists")));
            }
            if state.space == Some(0) {
                return Err(no_space());
            }
            let id = FileId(state.next_file);
            state.next_file += 1;
            state.files.insert(id, Content::default());
            state.names.add(name, id);
            Ok(id)
        })?;
        Ok(self.file(id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(|state| {
            state.give_back(to);
            state.names.rename(from, to)
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(|state| {
            state.give_back(name);
            state.names.remove(name)
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.call(|state| {
            if state.inject("failed-sync", state.faults.sync_failure) {
                // Directory entries stay dirty after a failure: journals either write them later or go read-only.
                state.fail_sync();
                return Err(io_error());
            }
            state.names.sync();
            Ok(())
        })
    }

    fn describe(&self) -> String {
        "simulated disk".to_owned()
    }
}

struct OpenFile {
    mounted: Mounted,
    id: FileId,
}

impl OpenFile {
    fn call<T>(&self, call: impl FnOnce(&mut Content, &mut Random) -> io::Result<T>) -> io::Result<T> {
        self.mounted.call(|state| match state.files.get_mut(&self.id) {
            Some(content) => call(content, &mut state.rng),
            None => Err(not_found("the file")),
        })
    }

    /// The number of bytes that a read or write of `len` bytes moves, or an interruption.
    fn moved(&self, len: usize) -> io::Result<usize> {
        let mut state = lock(&self.mounted.state);
        let DiskFaults { interrupted, short, .. } = state.faults;
        if state.inject("interrupted-call", interrupted) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
        }
        if len > 1 && state.inject("short-call", short) {
            return Ok(1 + state.rng.below(len as u64 - 1) as usize);
        }
        Ok(len)
    }
}

impl DiskFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        self.call(|content, _| Ok(content.cache.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = self.moved(buffer.len())?;
        self.mounted.call(|state| {
            let State { files, failed, .. } = state;
            let content = files.get(&self.id).ok_or_else(|| not_found("the file"))?;
            let Ok(offset) = usize::try_from(offset) else { return Ok(0) };
            let Some(rest) = content.cache.get(offset..) else { return Ok(0) };
            let len = len.min(rest.len());
            if content.is_unreadable(offset, len) {
                *failed = true;
                return Err(io_error());
            }
            buffer[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let len = self.moved(bytes.len())?;
        let mut state = lock(&self.mounted.state);
        let fate = state.enter(self.mounted.mount)?;
        let len = match fate {
            Fate::Lives => len,
            Fate::Dies => state.rng.below(bytes.len() as u64 + 1) as usize,
        };
        let offset = usize::try_from(offset).map_err(|_| io_error())?;
        let len = state.claim(self.id, offset, len)?;
        let rate = state.faults.write_back;
        // A kernel may do so whenever it likes: it is no fault.
        let write_back = rate > 0 && state.rng.chance(rate, MILLION);
        let State { files, rng, .. } = &mut *state;
        let content = files.get_mut(&self.id).ok_or_else(|| not_found("the file"))?;
        content.write(&bytes[..len], offset);
        if write_back {
            content.write_back_one(rng);
        }
        match fate {
            Fate::Lives => Ok(len),
            Fate::Dies => Err(dead()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.mounted.call(|state| {
            let fails = state.inject("failed-sync", state.faults.sync_failure);
            let State { files, rng, .. } = &mut *state;
            let content = files.get_mut(&self.id).ok_or_else(|| not_found("the file"))?;
            if fails {
                content.fail_sync(rng);
                state.fail_sync();
                return Err(io_error());
            }
            state.sync(self.id);
            Ok(())
        })
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.call(|content, _| {
            content.drop_cache();
            Ok(())
        })
    }
}

pub(super) fn dead() -> io::Error {
    io::Error::other("the process has crashed")
}

pub(super) fn no_space() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left on device")
}

fn io_error() -> io::Error {
    io::Error::other("input/output error")
}

pub(super) fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{name} does not exist"))
}
