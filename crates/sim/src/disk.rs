//! The simulated disk: a cache and a medium apart, with everything that may go wrong between them (rule 41).
//!
//! A write lands in the cache and makes its sectors dirty; a sync carries them to the medium; the kernel may write any of them
//! back earlier. A *process crash* keeps the cache for the next process, synced or not. A *power loss* keeps the medium and any
//! subset of what was pending, sectors and directory entries alike, the last one perhaps torn. A *failed sync* marks the pages
//! clean although the medium never got them: the cache still serves them, a later sync does not write them, and dropping the
//! cache reveals it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use slimcluster_core::random::Random;
use slimcluster_wal::{Disk, DiskFile};

use crate::report::FaultCounts;

/// The unit that reaches the medium whole, as disks promise it.
const SECTOR_BYTES: usize = 512;
/// One million: probabilities of the simulator are parts of it.
const MILLION: u64 = 1_000_000;

/// What a disk does wrong by itself, in parts per million of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskFaults {
    /// A read or write moves fewer bytes than asked for.
    pub short: u64,
    /// A read or write is interrupted and did nothing.
    pub interrupted: u64,
    /// A sync of a file or of the directory fails.
    pub sync_failure: u64,
    /// After a write, one dirty sector goes to the medium unasked.
    pub write_back: u64,
}

/// The hardware. It outlives the processes that mount it.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    rng: Random,
    faults: DiskFaults,
    files: BTreeMap<FileId, Content>,
    /// The directory as processes see it.
    names: BTreeMap<String, FileId>,
    /// The directory as a power loss leaves it.
    durable_names: BTreeMap<String, FileId>,
    /// Changes of the directory that are not on the medium, oldest first.
    pending_names: Vec<NameChange>,
    next_file: u64,
    /// The mount whose calls count; calls of earlier ones fail.
    mount: u64,
    locked: bool,
    /// The process that mounted is dead: each of its calls fails.
    dead: bool,
    /// The process dies at the call after this many.
    crash_after: Option<u64>,
    /// An injected error was returned since the mount.
    failed: bool,
    /// Calls since the mount.
    calls: u64,
    injected: FaultCounts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileId(u64);

#[derive(Clone, Debug)]
enum NameChange {
    Add(String, FileId),
    Rename(String, String, FileId),
    Remove(String),
}

#[derive(Clone, Debug, Default)]
struct Content {
    cache: Vec<u8>,
    medium: Vec<u8>,
    /// Sectors that a sync will write.
    dirty: BTreeSet<usize>,
    /// Sectors that the cache serves, the medium never got, and no sync will write.
    lost: BTreeSet<usize>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(rng: Random) -> Self {
        let state = State {
            rng,
            faults: DiskFaults::default(),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            next_file: 1,
            mount: 0,
            locked: false,
            dead: false,
            crash_after: None,
            failed: false,
            calls: 0,
            injected: FaultCounts::default(),
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// The disk for a new process. Handles of earlier processes fail from now on.
    pub fn mount(&self) -> Arc<dyn Disk> {
        let mut state = self.state();
        state.mount += 1;
        (state.dead, state.locked, state.failed, state.calls, state.crash_after) = (false, false, false, 0, None);
        Arc::new(Mounted { state: self.state.clone(), mount: state.mount })
    }

    /// Ends the mounted process: its calls fail from now on. The cache stays.
    pub fn process_crash(&self) {
        let mut state = self.state();
        (state.dead, state.locked) = (true, false);
    }

    /// Ends the mounted process and forgets the cache. Of what was pending, any subset reached the medium.
    pub fn power_loss(&self) {
        let mut state = self.state();
        (state.dead, state.locked) = (true, false);
        state.lose_power();
    }

    /// Lets the mounted process die at one of its coming calls, after `calls` good ones.
    pub fn crash_after(&self, calls: u64) {
        self.state().crash_after = Some(calls);
    }

    /// Whether the mounted process has died.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Whether an injected failure was returned to the mounted process.
    pub fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// Sets what the disk does wrong by itself.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.state().faults = faults;
    }

    /// Failures injected so far: short and interrupted calls, failed syncs.
    pub fn injected(&self) -> FaultCounts {
        self.state().injected.clone()
    }

    /// Lets the next sync fail.
    pub fn fail_next_sync(&self) {
        self.state().faults.sync_failure = MILLION;
    }

    /// A disk that holds what the medium holds now, and nothing else: what a power loss would leave at worst.
    pub fn image(&self) -> SimDisk {
        let state = self.state();
        let image = SimDisk::new(Random::new(0));
        {
            let mut copy = image.state();
            copy.next_file = state.next_file;
            copy.names = state.durable_names.clone();
            copy.durable_names = state.durable_names.clone();
            for id in state.durable_names.values() {
                if let Some(content) = state.files.get(id) {
                    let medium = content.medium.clone();
                    copy.files.insert(*id, Content { cache: medium.clone(), medium, ..Content::default() });
                }
            }
        }
        image
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A panic elsewhere must not hide itself behind a poisoned lock: the state of a simulated disk is plain data.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a call fares.
enum Fate {
    Lives,
    /// The process dies within this very call: a write may have moved some of its bytes.
    Dies,
}

impl State {
    fn enter(&mut self, mount: u64) -> io::Result<Fate> {
        if self.mount != mount || self.dead {
            return Err(dead());
        }
        self.calls += 1;
        if let Some(left) = &mut self.crash_after {
            if *left == 0 {
                (self.dead, self.locked) = (true, false);
                return Ok(Fate::Dies);
            }
            *left -= 1;
        }
        Ok(Fate::Lives)
    }

    fn inject(&mut self, kind: &'static str, rate: u64) -> bool {
        let injected = rate > 0 && self.rng.chance(rate, MILLION);
        if injected {
            self.injected.count(kind);
        }
        injected
    }

    fn lose_power(&mut self) {
        // How much of what was pending made it: nothing, all, or some, so that each extreme is common.
        let kept = [0, 100_000, 500_000, 900_000, MILLION][self.rng.below(5) as usize];
        let torn = self.rng.chance(1, 2);
        for content in self.files.values_mut() {
            content.lose_power(&mut self.rng, kept, torn);
        }
        for change in std::mem::take(&mut self.pending_names) {
            if self.rng.chance(kept, MILLION) {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        let names = &self.names;
        self.files.retain(|id, _| names.values().any(|named| named == id));
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, FileId>) {
        match self {
            NameChange::Add(name, id) => {
                names.insert(name, id);
            }
            NameChange::Rename(from, to, id) => {
                names.remove(&from);
                names.insert(to, id);
            }
            NameChange::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.cache.len() < end {
            // The hole between the old end and the new one is zeros, and as pending as the bytes themselves.
            self.dirty.extend(self.cache.len() / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
            self.cache.resize(end, 0);
        }
        self.cache[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            self.dirty.insert(sector);
            self.lost.remove(&sector);
        }
    }

    /// Carries one sector to the medium, or only its first `bytes` bytes.
    fn persist(&mut self, sector: usize, bytes: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + bytes).min(self.cache.len());
        if start >= end {
            return;
        }
        if self.medium.len() < end {
            self.medium.resize(end, 0);
        }
        self.medium[start..end].copy_from_slice(&self.cache[start..end]);
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.persist(sector, SECTOR_BYTES);
        }
        // The length is metadata: durable even where the sectors under it were lost to an earlier failure.
        self.medium.resize(self.cache.len(), 0);
    }

    /// Marks every page clean; only some of them reached the medium.
    fn fail_sync(&mut self, rng: &mut Random) {
        for sector in std::mem::take(&mut self.dirty) {
            if rng.chance(1, 2) {
                self.persist(sector, SECTOR_BYTES);
            } else {
                self.lost.insert(sector);
            }
        }
    }

    fn drop_cache(&mut self) {
        for sector in std::mem::take(&mut self.lost) {
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(self.cache.len());
            for at in start..end {
                self.cache[at] = self.medium.get(at).copied().unwrap_or(0);
            }
        }
    }

    fn lose_power(&mut self, rng: &mut Random, kept: u64, torn: bool) {
        for sector in std::mem::take(&mut self.dirty) {
            if rng.chance(kept, MILLION) {
                self.persist(sector, SECTOR_BYTES);
            } else if torn && rng.chance(1, 4) {
                let bytes = rng.below(SECTOR_BYTES as u64) as usize;
                self.persist(sector, bytes);
            }
        }
        if self.medium.len() < self.cache.len() && rng.chance(kept, MILLION) {
            self.medium.resize(self.cache.len(), 0);
        }
        self.lost.clear();
        self.cache = self.medium.clone();
    }
}

struct Mounted {
    state: Arc<Mutex<State>>,
    mount: u64,
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
        self.call(|state| Ok(state.names.keys().cloned().collect()))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.call(|state| state.names.get(name).copied().ok_or_else(|| not_found(name)))?;
        Ok(self.file(id))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.call(|state| {
            if state.names.contains_key(name) {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} exists")));
            }
            let id = FileId(state.next_file);
            state.next_file += 1;
            state.files.insert(id, Content::default());
            state.names.insert(name.to_owned(), id);
            state.pending_names.push(NameChange::Add(name.to_owned(), id));
            Ok(id)
        })?;
        Ok(self.file(id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(|state| {
            let id = state.names.remove(from).ok_or_else(|| not_found(from))?;
            state.names.insert(to.to_owned(), id);
            state.pending_names.push(NameChange::Rename(from.to_owned(), to.to_owned(), id));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(|state| {
            state.names.remove(name).ok_or_else(|| not_found(name))?;
            state.pending_names.push(NameChange::Remove(name.to_owned()));
            Ok(())
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.call(|state| {
            if state.inject("failed-sync", state.faults.sync_failure) {
                // Directory entries stay dirty after a failure: journals either write them later or go read-only.
                state.fail_sync();
                return Err(io_error());
            }
            for change in std::mem::take(&mut state.pending_names) {
                change.apply(&mut state.durable_names);
            }
            Ok(())
        })
    }

    fn describe(&self) -> String {
        "simulated disk".to_owned()
    }
}

impl State {
    /// A sync failure injected by [`SimDisk::fail_next_sync`] strikes once; rates are set anew by the world.
    fn fail_sync(&mut self) {
        self.failed = true;
        self.faults.sync_failure = 0;
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
        self.call(|content, _| {
            let Some(rest) = usize::try_from(offset).ok().and_then(|offset| content.cache.get(offset..)) else {
                return Ok(0);
            };
            let len = len.min(rest.len());
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
        let rate = state.faults.write_back;
        let write_back = state.inject("early-write-back", rate);
        let State { files, rng, .. } = &mut *state;
        let content = files.get_mut(&self.id).ok_or_else(|| not_found("the file"))?;
        content.write(&bytes[..len], usize::try_from(offset).map_err(|_| io_error())?);
        if write_back {
            let at = rng.below(content.dirty.len() as u64) as usize;
            if let Some(sector) = content.dirty.iter().nth(at).copied() {
                content.persist(sector, SECTOR_BYTES);
                content.dirty.remove(&sector);
            }
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
            content.sync();
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

fn dead() -> io::Error {
    io::Error::other("the process has crashed")
}

fn io_error() -> io::Error {
    io::Error::other("input/output error")
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{name} does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(disk: &Arc<dyn Disk>, name: &str) -> Vec<u8> {
        let file = disk.open(name).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
        bytes
    }

    #[test]
    fn a_process_crash_keeps_what_was_never_synced() {
        let disk = SimDisk::new(Random::new(1));
        let mounted = disk.mount();
        mounted.create("a").unwrap().write_at(b"hello", 0).unwrap();
        disk.process_crash();
        assert!(mounted.list().is_err());
        assert_eq!(read(&disk.mount(), "a"), b"hello");
    }

    #[test]
    fn a_power_loss_keeps_what_was_synced_and_perhaps_more() {
        let (mut lost, mut kept, mut partly) = (0, 0, 0);
        for rng_seed in 0..200 {
            let disk = SimDisk::new(Random::new(rng_seed));
            let mounted = disk.mount();
            let file = mounted.create("a").unwrap();
            file.write_at(&[1; 2048], 0).unwrap();
            file.sync().unwrap();
            mounted.sync_directory().unwrap();
            file.write_at(&[2; 2048], 1024).unwrap();
            disk.power_loss();
            let bytes = read(&disk.mount(), "a");
            assert_eq!(bytes[..1024], [1; 1024]);
            match bytes[1024..].iter().filter(|byte| **byte == 2).count() {
                0 => lost += 1,
                2048 => kept += 1,
                _ => partly += 1,
            }
        }
        assert!(lost > 10 && kept > 10 && partly > 10);
    }

    #[test]
    fn a_name_without_a_synced_directory_may_vanish() {
        let survivors = (0..100)
            .filter(|rng_seed| {
                let disk = SimDisk::new(Random::new(*rng_seed));
                let mounted = disk.mount();
                let file = mounted.create("a").unwrap();
                file.write_at(b"hello", 0).unwrap();
                file.sync().unwrap();
                disk.power_loss();
                disk.mount().list().unwrap() == ["a"]
            })
            .count();
        assert!((10..90).contains(&survivors));
    }

    #[test]
    fn a_failed_sync_hides_behind_the_cache() {
        let mut hidden = 0;
        for rng_seed in 0..50 {
            let disk = SimDisk::new(Random::new(rng_seed));
            let mounted = disk.mount();
            let file = mounted.create("a").unwrap();
            mounted.sync_directory().unwrap();
            file.write_at(&[7; 1024], 0).unwrap();
            disk.fail_next_sync();
            assert!(file.sync().is_err());
            assert!(disk.has_failed());
            file.sync().unwrap();
            assert_eq!(read(&mounted, "a"), [7; 1024]);
            disk.process_crash();
            let mounted = disk.mount();
            assert_eq!(read(&mounted, "a"), [7; 1024]);
            mounted.open("a").unwrap().drop_cache().unwrap();
            hidden += usize::from(read(&mounted, "a") != [7; 1024]);
        }
        assert!(hidden > 20);
    }

    #[test]
    fn a_process_dies_between_two_calls() {
        let disk = SimDisk::new(Random::new(3));
        let mounted = disk.mount();
        disk.crash_after(2);
        let file = mounted.create("a").unwrap();
        file.write_at(b"one", 0).unwrap();
        assert!(file.write_at(b"two", 3).is_err());
        assert!(disk.is_dead() && file.len().is_err());
    }
}
