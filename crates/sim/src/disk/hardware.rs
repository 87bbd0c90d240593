//! The hardware, as the world sees it: it survives the processes that mount it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use slimcluster_core::random::Random;
use slimcluster_wal::Disk;

use super::content::{Content, Sector};
use super::mounted::{Mounted, dead, no_space};
use super::names::Names;
use crate::report::FaultCounts;

/// One million: probabilities of the simulator are parts of it.
pub(super) const MILLION: u64 = 1_000_000;

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

#[derive(Clone)]
pub(super) struct State {
    pub rng: Random,
    pub faults: DiskFaults,
    pub files: BTreeMap<FileId, Content>,
    pub names: Names,
    pub next_file: u64,
    /// The mount whose calls count; calls of earlier ones fail.
    pub mount: u64,
    pub locked: bool,
    /// The process that mounted is dead: each of its calls fails.
    dead: bool,
    /// The process dies at the call after this many.
    crash_after: Option<u64>,
    /// An injected error was returned since the mount.
    pub failed: bool,
    /// Bytes by which files may still grow.
    pub space: Option<u64>,
    /// What becomes of one sector of the next sync.
    pub next_sync: Option<Stray>,
    /// The last sector that the newest sync wrote.
    newest: Option<(FileId, usize)>,
    injected: FaultCounts,
}

/// What a disk does with a sector that it says it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// Nothing: it stays what it was.
    Phantom,
    /// It lands in another place and destroys what was there.
    Misdirected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(pub u64);

impl SimDisk {
    /// An empty disk.
    pub fn new(rng: Random) -> Self {
        let state = State {
            rng,
            faults: DiskFaults::default(),
            files: BTreeMap::new(),
            names: Names::default(),
            next_file: 1,
            mount: 0,
            locked: false,
            dead: false,
            crash_after: None,
            failed: false,
            space: None,
            next_sync: None,
            newest: None,
            injected: FaultCounts::default(),
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// The disk for a new process. Handles of earlier processes fail from now on.
    pub fn mount(&self) -> Arc<dyn Disk> {
        let mut state = self.state();
        state.mount += 1;
        (state.dead, state.locked, state.failed, state.crash_after) = (false, false, false, None);
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
            copy.names = state.names.durable();
            for id in copy.names.files().collect::<Vec<_>>() {
                if let Some(content) = state.files.get(&id) {
                    copy.files.insert(id, content.image());
                }
            }
        }
        image
    }

    /// A copy of the disk with its cache: to see what the next process will find, without being it.
    pub fn fork(&self) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(self.state().clone())) }
    }

    /// Somebody puts an empty disk in its place. The process that mounted is dead.
    pub fn replace(&self) {
        let mut state = self.state();
        (state.dead, state.locked, state.next_sync, state.newest) = (true, false, None, None);
        (state.files, state.names) = (BTreeMap::new(), Names::default());
    }

    /// Files may grow by so many bytes; none: by as many as they like.
    pub fn limit_space(&self, bytes: Option<u64>) {
        self.state().space = bytes;
    }

    /// Whether files may grow by a bounded number of bytes only.
    pub fn is_limited(&self) -> bool {
        self.state().space.is_some()
    }

    /// One sector of the next sync goes astray, and the disk says nothing.
    pub fn stray_next_sync(&self, stray: Stray) {
        self.state().next_sync = Some(stray);
    }

    /// Flips one bit on the medium where something is written; half of the time the cache has dropped it and serves it, too. Returns
    /// the file that it hit.
    pub fn rot(&self, rng: &mut Random) -> Option<String> {
        self.state().wound(rng, |content, sector, rng| content.rot(sector, rng))
    }

    /// The same, where the newest sync wrote. Returns the file.
    pub fn rot_newest(&self, rng: &mut Random) -> Option<String> {
        let mut state = self.state();
        let (id, sector) = state.newest?;
        let name = state.names.durable_list().find_map(|(name, of)| (of == id).then_some(name))?;
        state.files.get_mut(&id)?.rot(sector, rng);
        Some(name)
    }

    /// Makes one sector unreadable, until it is written again. Returns its file.
    pub fn break_sector(&self, rng: &mut Random) -> Option<String> {
        self.state().wound(rng, |content, sector, rng| content.break_sector(sector, rng.chance(1, 2)))
    }

    /// Whether any sector holds something else than what was synced to it.
    pub fn is_wounded(&self) -> bool {
        self.state().files.values().any(Content::is_wounded)
    }

    /// Whether in the files whose names begin so, in the order of their names, nothing is left from the first wounded sector on: no
    /// later one stands there that would show the wound.
    pub fn is_astray_to_the_end(&self, prefix: &str) -> bool {
        let state = self.state();
        let files = state.names.durable_list().filter(|(name, _)| name.starts_with(prefix));
        let mut sectors = files.filter_map(|(_, id)| state.files.get(&id)).flat_map(Content::sectors);
        sectors.find(|sector| *sector != Sector::Whole) == Some(Sector::Astray)
            && sectors.all(|sector| sector == Sector::Astray)
    }

    /// Every wounded sector holds what was synced to it, as if nothing had happened.
    pub fn heal(&self) {
        let mut state = self.state();
        state.next_sync = None;
        state.files.values_mut().for_each(Content::heal);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A panic elsewhere must not hide itself behind a poisoned lock: the state of a simulated disk is plain data.
pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a call fares.
pub(super) enum Fate {
    Lives,
    /// The process dies within this very call: a write may have moved some of its bytes.
    Dies,
}

impl State {
    pub fn enter(&mut self, mount: u64) -> io::Result<Fate> {
        if self.mount != mount || self.dead {
            return Err(dead());
        }
        if let Some(left) = &mut self.crash_after {
            if *left == 0 {
                (self.dead, self.locked) = (true, false);
                return Ok(Fate::Dies);
            }
            *left -= 1;
        }
        Ok(Fate::Lives)
    }

    pub fn inject(&mut self, kind: &'static str, rate: u64) -> bool {
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
        self.names.lose_power(&mut self.rng, kept);
        let named: Vec<FileId> = self.names.files().collect();
        self.files.retain(|id, _| named.contains(id));
    }

    /// How many of `len` bytes at `offset` may be written: growth takes space.
    pub fn claim(&mut self, id: FileId, offset: usize, len: usize) -> io::Result<usize> {
        let Some(space) = &mut self.space else { return Ok(len) };
        let old = self.files.get(&id).map_or(0, |content| content.cache.len());
        let growth = (offset + len).saturating_sub(old) as u64;
        let granted = growth.min(*space);
        *space -= granted;
        let len = len - (growth - granted) as usize;
        if growth > granted {
            self.injected.count("no-space");
        }
        if len == 0 && growth > 0 { Err(no_space()) } else { Ok(len) }
    }

    /// A file loses its name: its bytes are free again.
    pub fn give_back(&mut self, name: &str) {
        let bytes = self.names.find(name).and_then(|id| self.files.get(&id)).map_or(0, |content| content.cache.len());
        if let Some(space) = &mut self.space {
            *space += bytes as u64;
        }
    }

    /// Syncs one file; a sector of it may go astray.
    pub fn sync(&mut self, id: FileId) {
        let Some(content) = self.files.get_mut(&id) else { return };
        self.newest = content.last_dirty().map(|sector| (id, sector)).or(self.newest);
        let stray = self.next_sync.filter(|_| content.is_dirty());
        let Some(stray) = stray else { return content.sync() };
        self.next_sync = None;
        let Some((_, bytes)) = content.sync_without_one(&mut self.rng) else { return };
        if stray == Stray::Misdirected {
            let victims: Vec<FileId> = self.files.keys().copied().collect();
            if let Some(content) = self.rng.pick(&victims).and_then(|id| self.files.get_mut(id)) {
                content.overwrite_one(&bytes, &mut self.rng);
            }
        }
    }

    /// Hurts a random sector with something in it, and tells the name of its file.
    fn wound(&mut self, rng: &mut Random, mut hurt: impl FnMut(&mut Content, usize, &mut Random)) -> Option<String> {
        let named: Vec<(String, FileId)> = self.names.durable_list().collect();
        // Most of a preallocated segment is empty: a few tries find something.
        for _ in 0..64 {
            let (name, id) = rng.pick(&named)?.clone();
            if let Some(content) = self.files.get_mut(&id)
                && let Some(sector) = content.pick_written(rng)
            {
                hurt(content, sector, rng);
                return Some(name);
            }
        }
        None
    }

    /// A sync failure injected by [`SimDisk::fail_next_sync`] strikes once; rates are set anew by the world.
    pub fn fail_sync(&mut self) {
        self.failed = true;
        self.faults.sync_failure = 0;
    }
}
