//! One file: what the cache serves, what the medium holds, and where the two differ.

use std::collections::{BTreeMap, BTreeSet};

use slimcluster_core::random::Random;

use super::hardware::MILLION;

/// The unit that reaches the medium whole, as disks promise it.
pub(super) const SECTOR_BYTES: usize = 512;

/// What became of what was synced to a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sector {
    /// It is there.
    Whole,
    /// Some of it is there.
    Hurt,
    /// Nothing of it is there.
    Astray,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub cache: Vec<u8>,
    medium: Vec<u8>,
    /// Sectors that a sync will write.
    dirty: BTreeSet<usize>,
    /// Sectors that the cache serves, the medium never got, and no sync will write.
    lost: BTreeSet<usize>,
    /// What sectors should hold that hold something else since they were synced.
    wounds: BTreeMap<usize, Vec<u8>>,
    /// Those of them that hold nothing of what they should: bytes of another place, or of an earlier time.
    astray: BTreeSet<usize>,
    /// Sectors that cannot be read from the medium; true: the cache still serves them.
    unreadable: BTreeMap<usize, bool>,
}

impl Content {
    pub fn write(&mut self, bytes: &[u8], offset: usize) {
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
            if let Some(is_cached) = self.unreadable.get_mut(&sector) {
                *is_cached = true;
            }
            // What is written into it from now on is of its own.
            self.astray.remove(&sector);
            if let Some(intended) = self.wounds.get_mut(&sector) {
                let start = sector * SECTOR_BYTES;
                let (from, to) = (offset.max(start), end.min(start + SECTOR_BYTES));
                intended.resize(intended.len().max(to - start), 0);
                intended[from - start..to - start].copy_from_slice(&bytes[from - offset..to - offset]);
            }
        }
    }

    /// Carries one sector to the medium, or only its first `bytes` bytes.
    pub fn persist(&mut self, sector: usize, bytes: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + bytes).min(self.cache.len());
        if start >= end {
            return;
        }
        if self.medium.len() < end {
            self.medium.resize(end, 0);
        }
        self.medium[start..end].copy_from_slice(&self.cache[start..end]);
        if bytes >= SECTOR_BYTES {
            self.unreadable.remove(&sector);
            // Where the cache had the wound, it is still there, around what was written since.
            if self.wounds.get(&sector).is_some_and(|intended| *intended == self.medium[start..end]) {
                self.wounds.remove(&sector);
                self.astray.remove(&sector);
            }
        }
    }

    pub fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.persist(sector, SECTOR_BYTES);
        }
        // The length is metadata: durable even where the sectors under it were lost to an earlier failure.
        self.medium.resize(self.cache.len(), 0);
    }

    /// Marks every page clean; only some of them reached the medium.
    pub fn fail_sync(&mut self, rng: &mut Random) {
        for sector in std::mem::take(&mut self.dirty) {
            if rng.chance(1, 2) {
                self.persist(sector, SECTOR_BYTES);
            } else {
                self.lost.insert(sector);
            }
        }
    }

    pub fn drop_cache(&mut self) {
        let dirty = &self.dirty;
        self.unreadable.iter_mut().for_each(|(sector, is_cached)| *is_cached = dirty.contains(sector));
        for sector in std::mem::take(&mut self.lost) {
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(self.cache.len());
            for at in start..end {
                self.cache[at] = self.medium.get(at).copied().unwrap_or(0);
            }
        }
    }

    pub fn lose_power(&mut self, rng: &mut Random, kept: u64, torn: bool) {
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
        self.unreadable.values_mut().for_each(|is_cached| *is_cached = false);
        self.cache = self.medium.clone();
    }

    /// What the medium holds, as a file of its own.
    pub fn image(&self) -> Content {
        let (medium, mut unreadable) = (self.medium.clone(), self.unreadable.clone());
        unreadable.values_mut().for_each(|is_cached| *is_cached = false);
        Content { cache: medium.clone(), medium, unreadable, ..Content::default() }
    }

    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The last sector that waits for a sync.
    pub fn last_dirty(&self) -> Option<usize> {
        self.dirty.last().copied()
    }

    /// Writes one dirty sector back, as the kernel does when it likes.
    pub fn write_back_one(&mut self, rng: &mut Random) {
        let at = rng.below(self.dirty.len() as u64) as usize;
        if let Some(sector) = self.dirty.iter().nth(at).copied() {
            self.persist(sector, SECTOR_BYTES);
            self.dirty.remove(&sector);
        }
    }

    /// Whether reading these bytes of the medium fails.
    pub fn is_unreadable(&self, offset: usize, len: usize) -> bool {
        let sectors = offset / SECTOR_BYTES..(offset + len).div_ceil(SECTOR_BYTES);
        !self.unreadable.is_empty() && self.unreadable.range(sectors).any(|(_, is_cached)| !is_cached)
    }

    pub fn is_wounded(&self) -> bool {
        !self.wounds.is_empty() || !self.unreadable.is_empty()
    }

    pub fn heal(&mut self) {
        self.unreadable.clear();
        self.astray.clear();
        for (sector, bytes) in std::mem::take(&mut self.wounds) {
            self.put(sector, &bytes);
            self.lost.remove(&sector);
        }
    }

    /// A random sector of the medium that holds anything but zeros, if the first one tried does.
    pub fn pick_written(&self, rng: &mut Random) -> Option<usize> {
        let sector = rng.below(self.medium.len().div_ceil(SECTOR_BYTES) as u64) as usize;
        let bytes = self.medium.get(sector * SECTOR_BYTES..)?;
        bytes.iter().take(SECTOR_BYTES).any(|byte| *byte != 0).then_some(sector)
    }

    /// Flips a bit of what is written in the sector.
    pub fn rot(&mut self, sector: usize, rng: &mut Random) {
        let mut bytes = self.on_medium(sector);
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |last| last + 1);
        let (at, bit) = (rng.below(used as u64) as usize, 1 << rng.below(8));
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= bit;
        }
        self.hurt(sector, &bytes, rng.chance(1, 2));
    }

    pub fn break_sector(&mut self, sector: usize, evicted: bool) {
        self.unreadable.insert(sector, !evicted || self.dirty.contains(&sector));
    }

    /// Syncs, but leaves one sector of the medium as it was. Returns which, and what should have been written.
    pub fn sync_without_one(&mut self, rng: &mut Random) -> Option<(usize, Vec<u8>)> {
        let at = rng.below(self.dirty.len() as u64) as usize;
        let sector = self.dirty.iter().nth(at).copied()?;
        let before = self.on_medium(sector);
        self.sync();
        let bytes = self.on_medium(sector);
        self.hurt(sector, &before, rng.chance(1, 2));
        self.astray.insert(sector);
        Some((sector, bytes))
    }

    /// Somebody else's sector lands on one of this file.
    pub fn overwrite_one(&mut self, bytes: &[u8], rng: &mut Random) {
        let sectors = self.medium.len().div_ceil(SECTOR_BYTES) as u64;
        if sectors > 0 {
            let sector = rng.below(sectors) as usize;
            self.hurt(sector, bytes, rng.chance(1, 2));
            self.astray.insert(sector);
        }
    }

    /// What became of each sector that something was synced to.
    pub fn sectors(&self) -> impl Iterator<Item = Sector> + '_ {
        let used = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
        self.medium.chunks(SECTOR_BYTES).enumerate().filter_map(move |(sector, bytes)| match self.wounds.get(&sector) {
            Some(intended) if !used(intended) => None,
            Some(_) if self.astray.contains(&sector) => Some(Sector::Astray),
            Some(_) => Some(Sector::Hurt),
            None => used(bytes).then_some(Sector::Whole),
        })
    }

    /// Puts `bytes` into a sector of the medium behind everybody's back; the cache serves them at once, or when it is dropped.
    fn hurt(&mut self, sector: usize, bytes: &[u8], evicted: bool) {
        let intended = self.on_medium(sector);
        self.wounds.entry(sector).or_insert(intended);
        let cached = self.cached(sector);
        self.put(sector, bytes);
        if !self.dirty.contains(&sector) && !evicted {
            self.cover(sector, &cached);
            self.lost.insert(sector);
        }
    }

    fn on_medium(&self, sector: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.medium.iter().skip(sector * SECTOR_BYTES).take(SECTOR_BYTES).copied().collect();
        bytes.resize(SECTOR_BYTES.min(self.medium.len().saturating_sub(sector * SECTOR_BYTES)), 0);
        bytes
    }

    fn cached(&self, sector: usize) -> Vec<u8> {
        self.cache.iter().skip(sector * SECTOR_BYTES).take(SECTOR_BYTES).copied().collect()
    }

    /// Bytes onto the medium, and into the cache where nothing is dirty.
    fn put(&mut self, sector: usize, bytes: &[u8]) {
        for (to, from) in self.medium.iter_mut().skip(sector * SECTOR_BYTES).zip(bytes) {
            *to = *from;
        }
        if !self.dirty.contains(&sector) {
            self.cover(sector, bytes);
        }
    }

    fn cover(&mut self, sector: usize, bytes: &[u8]) {
        for (to, from) in self.cache.iter_mut().skip(sector * SECTOR_BYTES).zip(bytes) {
            *to = *from;
        }
    }
}
