//! A disk in memory with cache and medium apart, which crashes, loses and fails on demand (rule 41).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use slimcluster_wal::{Disk, DiskFile};

/// What a power loss keeps or drops as one.
pub const SECTOR: usize = 512;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An error of the device; a write may have done half of its work, a sync loses what it should have kept.
    Device,
    /// No space left.
    Full,
    /// The process dies here: this call and all later ones of it fail.
    Death,
}

/// The machine's disk. Processes come and go upon it.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    files: Vec<FileState>,
    process: u64,
    locked_by: Option<u64>,
    calls: u64,
    plan: Option<(u64, Failure)>,
    dead: bool,
    /// Bytes that all files together may have.
    quota: Option<usize>,
}

#[derive(Clone, Default)]
struct FileState {
    cache: Vec<u8>,
    medium: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, usize),
    Remove(String),
}

/// Something that a power loss keeps or drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    Name(usize),
    Sector(usize, usize),
    Length(usize),
}

impl MemoryDisk {
    /// The disk as a new process sees it; the one before has ended, its cache has stayed.
    pub fn process(&self) -> Arc<dyn Disk> {
        let mut state = self.state();
        state.process += 1;
        state.locked_by = None;
        state.dead = false;
        Arc::new(Process { disk: self.clone(), number: state.process })
    }

    /// The disk as a second process sees it while the first one runs.
    pub fn second_process(&self) -> Arc<dyn Disk> {
        Arc::new(Process { disk: self.clone(), number: u64::MAX })
    }

    /// A disk of its own with the same contents, cache and all.
    pub fn fork(&self) -> MemoryDisk {
        MemoryDisk(Arc::new(Mutex::new(self.state().clone())))
    }

    /// The call with this number, counted from now and from 1, fails.
    pub fn fail_at(&self, call: u64, failure: Failure) {
        let mut state = self.state();
        state.plan = Some((state.calls + call, failure));
    }

    pub fn heal(&self) {
        self.state().plan = None;
    }

    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    pub fn set_quota(&self, quota: Option<usize>) {
        self.state().quota = quota;
    }

    pub fn bytes(&self) -> usize {
        self.state().names.values().map(|id| self.0.try_lock().map_or(0, |s| s.files[*id].cache.len())).sum()
    }

    /// What is not durable yet.
    pub fn pending(&self) -> Vec<Pending> {
        let state = self.state();
        let mut pending: Vec<Pending> = (0..state.pending_names.len()).map(Pending::Name).collect();
        for (id, file) in state.files.iter().enumerate() {
            if file.cache.len() != file.medium.len() {
                pending.push(Pending::Length(id));
            }
            pending.extend(file.dirty.iter().map(|sector| Pending::Sector(id, *sector)));
        }
        pending
    }

    /// The power fails: of what is not durable only `kept` survives.
    pub fn lose_power(&self, kept: &[Pending]) {
        let mut state = self.state();
        let changes = std::mem::take(&mut state.pending_names);
        for (at, change) in changes.iter().enumerate() {
            if kept.contains(&Pending::Name(at)) {
                change.apply(&mut state.durable_names);
            }
        }
        state.names = state.durable_names.clone();
        for (id, file) in state.files.iter_mut().enumerate() {
            if kept.contains(&Pending::Length(id)) {
                let length = file.cache.len();
                file.medium.resize(length, 0);
            }
            for sector in std::mem::take(&mut file.dirty) {
                if kept.contains(&Pending::Sector(id, sector)) {
                    file.write_back(sector);
                }
            }
            file.cache = file.medium.clone();
        }
    }

    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// The bytes of a file, cache and medium alike.
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].cache.clone()
    }

    /// Puts other bytes in a file, made if need be, as rot or an operator would: durable at once.
    pub fn tamper(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let id = match state.names.get(name) {
            Some(id) => *id,
            None => {
                state.files.push(FileState::default());
                let id = state.files.len() - 1;
                state.names.insert(name.to_owned(), id);
                state.durable_names.insert(name.to_owned(), id);
                id
            }
        };
        state.files[id] = FileState { cache: bytes.clone(), medium: bytes, dirty: BTreeSet::new() };
    }

    pub fn delete(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Set(name, id) => {
                names.insert(name.clone(), *id);
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl FileState {
    /// Copies a sector of the cache to the medium, as far as the medium's length allows.
    fn write_back(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.medium.len()).min(self.cache.len());
        if start < end {
            self.medium[start..end].copy_from_slice(&self.cache[start..end]);
        }
    }
}

impl State {
    /// Counts a call; says how it fails, if it does.
    fn call(&mut self) -> Option<Failure> {
        if self.dead {
            return Some(Failure::Death);
        }
        self.calls += 1;
        let failure = self.plan.filter(|(at, _)| *at == self.calls).map(|(_, failure)| failure);
        self.dead = failure == Some(Failure::Death);
        failure
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Failure::Device => io::Error::other("device error"),
            Failure::Full => io::ErrorKind::StorageFull.into(),
            Failure::Death => io::Error::other("the process is dead"),
        }
    }
}

struct Process {
    disk: MemoryDisk,
    number: u64,
}

impl Process {
    /// The state, if this call of this process does not fail.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.disk.state();
        if state.process != self.number && self.number != u64::MAX {
            return Err(io::Error::other("an earlier process"));
        }
        match state.call() {
            Some(failure) => Err(failure.error()),
            None => Ok(state),
        }
    }

    fn file(&self, id: usize) -> Arc<dyn DiskFile> {
        Arc::new(OpenFile { disk: self.disk.clone(), process: self.number, id })
    }
}

impl Disk for Process {
    fn lock(&self) -> io::Result<()> {
        let mut state = self.state()?;
        if state.locked_by.is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locked_by = Some(self.number);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state()?.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = *self.state()?.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(id))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.push(FileState::default());
        let id = state.files.len() - 1;
        state.change_name(NameChange::Set(name.to_owned(), id));
        Ok(self.file(id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state()?;
        let id = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change_name(NameChange::Set(to.to_owned(), id));
        state.change_name(NameChange::Remove(from.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

struct OpenFile {
    disk: MemoryDisk,
    process: u64,
    id: usize,
}

impl OpenFile {
    fn state(&self) -> io::Result<(MutexGuard<'_, State>, Option<Failure>)> {
        let mut state = self.disk.state();
        if state.process != self.process && self.process != u64::MAX {
            return Err(io::Error::other("an earlier process"));
        }
        let failure = state.call();
        Ok((state, failure))
    }
}

impl DiskFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        let (state, failure) = self.state()?;
        failure.map_or(Ok(state.files[self.id].cache.len() as u64), |failure| Err(failure.error()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (state, failure) = self.state()?;
        if let Some(failure) = failure {
            return Err(failure.error());
        }
        let cache = &state.files[self.id].cache;
        let start = (offset as usize).min(cache.len());
        // Short on purpose: a reader must ask again.
        let count = (cache.len() - start).min(buffer.len()).min(100_000);
        buffer[..count].copy_from_slice(&cache[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let (mut state, failure) = self.state()?;
        // Short on purpose; a call that fails has done half of its work.
        let mut count = bytes.len().min(50_000);
        if failure.is_some() {
            count /= 2;
        }
        let (start, end) = (offset as usize, offset as usize + count);
        let used: usize =
            state.names.values().collect::<BTreeSet<_>>().iter().map(|id| state.files[**id].cache.len()).sum();
        let file = &state.files[self.id];
        if state.quota.is_some_and(|quota| used + end.saturating_sub(file.cache.len()) > quota) {
            return Err(Failure::Full.error());
        }
        let file = &mut state.files[self.id];
        if file.cache.len() < end {
            file.cache.resize(end, 0);
        }
        file.cache[start..end].copy_from_slice(&bytes[..count]);
        if count > 0 {
            file.dirty.extend(start / SECTOR..=(end - 1) / SECTOR);
        }
        failure.map_or(Ok(count), |failure| Err(failure.error()))
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, failure) = self.state()?;
        let file = &mut state.files[self.id];
        match failure {
            Some(Failure::Death) => return Err(Failure::Death.error()),
            Some(failure) => {
                // The pages are clean now, as the system sees it, and the medium never got them.
                file.dirty.clear();
                return Err(failure.error());
            }
            None => {}
        }
        let length = file.cache.len();
        file.medium.resize(length, 0);
        for sector in std::mem::take(&mut file.dirty) {
            file.write_back(sector);
        }
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        let (mut state, failure) = self.state()?;
        if let Some(failure) = failure {
            return Err(failure.error());
        }
        let file = &mut state.files[self.id];
        let clean: Vec<usize> = (0..file.cache.len().div_ceil(SECTOR)).filter(|s| !file.dirty.contains(s)).collect();
        for sector in clean {
            let start = sector * SECTOR;
            for at in start..(start + SECTOR).min(file.cache.len()) {
                file.cache[at] = file.medium.get(at).copied().unwrap_or(0);
            }
        }
        Ok(())
    }
}
