//! A disk in memory with cache and medium apart, which crashes, loses and fails on demand (rule 41), and is cheap to copy.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use slimcluster_wal::{Disk, DiskFile};

use super::medium::File;

/// Reads and writes move at most so many bytes: a caller must ask again.
const PIECE_BYTES: usize = 50_000;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An error of the device. A write has done half of its work; a sync loses what it should have kept; a change of names is not made.
    Device,
    /// An error of the device, and yet half of what was to be synced has arrived; a change of names is made.
    DeviceHalf,
    /// No space left; a write has done half of its work.
    Full,
    /// A signal came in between: nothing was done, and the call may be made again.
    Interrupted,
    /// A read or write moves one byte only.
    Short,
    /// A write is reported as done, and the medium never gets it.
    Phantom,
    /// The process dies here, half through a write: this call and all later ones of it fail.
    Death,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    Lock,
    List,
    Open,
    Create,
    Rename,
    Remove,
    SyncDirectory,
    Length,
    Read,
    Write,
    Sync,
    DropCache,
}

impl Operation {
    /// Whether it changes anything that a crash could undo or leave.
    fn is_effect(self) -> bool {
        use Operation::*;
        matches!(self, Create | Rename | Remove | SyncDirectory | Write | Sync)
    }
}

/// The machine's disk. Processes come and go upon it.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
pub(super) struct State {
    pub names: BTreeMap<Arc<str>, usize>,
    pub durable_names: BTreeMap<Arc<str>, usize>,
    pub unsynced_names: Vec<NameChange>,
    pub files: Vec<Arc<File>>,
    process: u64,
    locked_by: Option<u64>,
    calls: u64,
    plan: Option<(u64, Failure)>,
    dead: bool,
    /// Bytes that all files together may have.
    quota: Option<usize>,
    /// What was called, since that was asked for.
    history: Option<Vec<(Operation, String)>>,
    /// The disk before each effect, since that was asked for.
    before: Option<Vec<(Operation, MemoryDisk)>>,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Set(Arc<str>, usize),
    Remove(Arc<str>),
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
        self.state().copy()
    }

    /// The call with this number, counted from now and from 1, fails.
    pub fn fail_at(&self, call: u64, failure: Failure) {
        let mut state = self.state();
        state.plan = Some((state.calls + call, failure));
    }

    pub fn heal(&self) {
        self.state().plan = None;
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// From now on calls are written down.
    pub fn keep_history(&self) {
        self.state().history = Some(Vec::new());
    }

    /// The calls since then, with the files that they named.
    pub fn history(&self) -> Vec<(Operation, String)> {
        self.state().history.take().unwrap_or_default()
    }

    /// From now on a copy is kept of the disk before each effect.
    pub fn keep_copies(&self) {
        self.state().before = Some(Vec::new());
    }

    /// The copies since the last time, each with the effect that followed.
    pub fn take_copies(&self) -> Vec<(Operation, MemoryDisk)> {
        self.state().before.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub fn set_quota(&self, quota: Option<usize>) {
        self.state().quota = quota;
    }

    /// The power fails: nothing survives but what is durable.
    pub fn lose_power(&self) {
        let mut state = self.state();
        state.unsynced_names.clear();
        state.names = state.durable_names.clone();
        for file in &mut state.files {
            Arc::make_mut(file).lose_power();
        }
    }

    /// What a process finds, as a number; states with the same one are taken for equal. Cache and medium are the same.
    pub fn fingerprint(&self) -> u64 {
        let state = self.state();
        let mut hasher = DefaultHasher::new();
        for (name, id) in &state.names {
            name.hash(&mut hasher);
            state.files[*id].cache.hash(&mut hasher);
        }
        hasher.finish()
    }

    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().map(|name| name.to_string()).collect()
    }

    /// The bytes of a file as processes see them.
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].cache.to_vec()
    }

    /// Puts other bytes in a file, made if need be, as rot or an operator would: durable at once.
    pub fn tamper(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let file = Arc::new(File::durable(&bytes));
        match state.names.get(name).copied() {
            Some(id) => state.files[id] = file,
            None => {
                let id = state.add(file);
                state.names.insert(name.into(), id);
                state.durable_names.insert(name.into(), id);
            }
        }
    }

    pub fn delete(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl NameChange {
    pub fn apply(&self, names: &mut BTreeMap<Arc<str>, usize>) {
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

impl State {
    /// A disk of its own with this state, and nothing of what is watched or planned.
    pub fn copy(&self) -> MemoryDisk {
        let State { names, durable_names, unsynced_names, files, .. } = self;
        MemoryDisk(Arc::new(Mutex::new(State {
            names: names.clone(),
            durable_names: durable_names.clone(),
            unsynced_names: unsynced_names.clone(),
            files: files.clone(),
            ..State::default()
        })))
    }

    /// Counts a call; says how it fails, if it does.
    fn call(&mut self, operation: Operation, name: &str) -> Option<Failure> {
        if operation.is_effect()
            && let Some(mut copies) = self.before.take()
        {
            copies.push((operation, self.copy()));
            self.before = Some(copies);
        }
        if let Some(history) = &mut self.history {
            history.push((operation, name.to_owned()));
        }
        self.calls += 1;
        let failure = self.plan.filter(|(at, _)| *at == self.calls).map(|(_, failure)| failure);
        self.dead = failure == Some(Failure::Death);
        failure
    }

    fn add(&mut self, file: Arc<File>) -> usize {
        self.files.push(file);
        self.files.len() - 1
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn bytes(&self) -> usize {
        self.names.values().map(|id| self.files[*id].cache.len()).sum()
    }
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Failure::Full => io::ErrorKind::StorageFull.into(),
            Failure::Interrupted => io::ErrorKind::Interrupted.into(),
            Failure::Death => io::Error::other("the process is dead"),
            _ => io::Error::other("device error"),
        }
    }
}

struct Process {
    disk: MemoryDisk,
    number: u64,
}

impl Process {
    /// The state, if this call of this process does not fail.
    fn call(&self, operation: Operation, name: &str) -> io::Result<MutexGuard<'_, State>> {
        match self.try_call(operation, name)? {
            (_, Some(failure)) => Err(failure.error()),
            (state, None) => Ok(state),
        }
    }

    fn try_call(&self, operation: Operation, name: &str) -> io::Result<(MutexGuard<'_, State>, Option<Failure>)> {
        let mut state = self.disk.state();
        if state.process != self.number && self.number != u64::MAX {
            return Err(io::Error::other("an earlier process"));
        }
        if state.dead {
            return Err(Failure::Death.error());
        }
        let failure = state.call(operation, name);
        Ok((state, failure))
    }

    fn file(&self, id: usize, name: &str) -> Arc<dyn DiskFile> {
        Arc::new(OpenFile { process: Process { disk: self.disk.clone(), number: self.number }, id, name: name.into() })
    }
}

/// A failed change of names was made after all, or not.
fn is_made(failure: Option<Failure>) -> bool {
    matches!(failure, None | Some(Failure::DeviceHalf))
}

fn outcome<T>(value: T, failure: Option<Failure>) -> io::Result<T> {
    failure.map_or(Ok(value), |failure| Err(failure.error()))
}

impl Disk for Process {
    fn lock(&self) -> io::Result<()> {
        let mut state = self.call(Operation::Lock, "")?;
        if state.locked_by.is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locked_by = Some(self.number);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.call(Operation::List, "")?.names.keys().map(|name| name.to_string()).collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = *self.call(Operation::Open, name)?.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(id, name))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let (mut state, failure) = self.try_call(Operation::Create, name)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.add(Arc::default());
        if is_made(failure) {
            state.change_name(NameChange::Set(name.into(), id));
        }
        outcome(self.file(id, name), failure)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (mut state, failure) = self.try_call(Operation::Rename, from)?;
        let id = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        if is_made(failure) {
            state.change_name(NameChange::Set(to.into(), id));
            state.change_name(NameChange::Remove(from.into()));
        }
        outcome((), failure)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (mut state, failure) = self.try_call(Operation::Remove, name)?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if is_made(failure) {
            state.change_name(NameChange::Remove(name.into()));
        }
        outcome((), failure)
    }

    fn sync_directory(&self) -> io::Result<()> {
        let (mut state, failure) = self.try_call(Operation::SyncDirectory, "")?;
        match failure {
            None => {
                state.durable_names = state.names.clone();
                state.unsynced_names.clear();
            }
            // A journal keeps the order: what was changed first has arrived.
            Some(Failure::DeviceHalf) => {
                let half = state.unsynced_names.len().div_ceil(2);
                let arrived: Vec<NameChange> = state.unsynced_names.drain(..half).collect();
                for change in arrived {
                    change.apply(&mut state.durable_names);
                }
            }
            Some(_) => {}
        }
        outcome((), failure)
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

struct OpenFile {
    process: Process,
    id: usize,
    name: Arc<str>,
}

impl OpenFile {
    fn call(&self, operation: Operation) -> io::Result<(MutexGuard<'_, State>, Option<Failure>)> {
        let (state, failure) = self.process.try_call(operation, &self.name)?;
        match failure {
            Some(Failure::Interrupted) => Err(Failure::Interrupted.error()),
            _ => Ok((state, failure)),
        }
    }
}

impl DiskFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        let (state, failure) = self.call(Operation::Length)?;
        outcome(state.files[self.id].cache.len() as u64, failure)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (state, failure) = self.call(Operation::Read)?;
        let piece = if failure == Some(Failure::Short) { 1 } else { PIECE_BYTES };
        let count = buffer.len().min(piece);
        let count = state.files[self.id].cache.read(&mut buffer[..count], offset as usize);
        outcome(count, failure.filter(|failure| *failure != Failure::Short))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let (mut state, failure) = self.call(Operation::Write)?;
        let count = match failure {
            None | Some(Failure::Phantom) => bytes.len().min(PIECE_BYTES),
            Some(Failure::Short) => 1,
            Some(_) => bytes.len().min(PIECE_BYTES) / 2,
        };
        let grown = (offset as usize + count).saturating_sub(state.files[self.id].cache.len());
        if state.quota.is_some_and(|quota| state.bytes() + grown > quota) {
            return Err(Failure::Full.error());
        }
        let file = Arc::make_mut(&mut state.files[self.id]);
        if failure == Some(Failure::Phantom) {
            file.cache.write(&bytes[..count], offset as usize);
            return Ok(count);
        }
        file.write(&bytes[..count], offset as usize);
        outcome(count, failure.filter(|failure| *failure != Failure::Short))
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, failure) = self.call(Operation::Sync)?;
        let file = Arc::make_mut(&mut state.files[self.id]);
        match failure {
            None => file.sync(),
            Some(Failure::Death) => {}
            Some(Failure::DeviceHalf) => file.fail_sync(|sector| sector % 2 == 0),
            Some(_) => file.fail_sync(|_| false),
        }
        outcome((), failure)
    }

    fn drop_cache(&self) -> io::Result<()> {
        let (mut state, failure) = self.call(Operation::DropCache)?;
        if failure.is_none() {
            Arc::make_mut(&mut state.files[self.id]).drop_cache();
        }
        outcome((), failure)
    }
}
