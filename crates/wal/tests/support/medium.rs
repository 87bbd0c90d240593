//! Files as sectors, cheap to copy: what the system serves, what the medium holds, and what is on its way between them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What a power loss keeps, drops or tears as one.
pub const SECTOR: usize = 512;
/// Sectors of a page: what is zeroed as one.
pub const PAGE_SECTORS: usize = 8;

/// The bytes of a sector, shared by all copies of the disk; none for one of zeros.
pub type Sector = Option<Arc<Content>>;

/// Bytes and their hash.
pub struct Content {
    pub bytes: [u8; SECTOR],
    hash: u64,
}

/// A sector of these bytes.
pub fn sector(bytes: [u8; SECTOR]) -> Sector {
    if bytes == [0; SECTOR] {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Some(Arc::new(Content { bytes, hash: hasher.finish() }))
}

/// The bytes of a sector.
pub fn bytes(sector: &Sector) -> [u8; SECTOR] {
    sector.as_ref().map_or([0; SECTOR], |content| content.bytes)
}

/// The hash of a sector's bytes.
pub fn hash(sector: &Sector) -> u64 {
    sector.as_ref().map_or(0, |content| content.hash)
}

/// A file as one side sees it.
#[derive(Clone, Default)]
pub struct Image {
    sectors: Vec<Sector>,
    length: usize,
}

impl Image {
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut image = Image::default();
        image.resize(bytes.len());
        image.write(bytes, 0);
        image
    }

    pub fn len(&self) -> usize {
        self.length
    }

    /// Cuts, or appends zeros.
    pub fn resize(&mut self, length: usize) {
        if length < self.length && !length.is_multiple_of(SECTOR) {
            let last = length / SECTOR;
            let mut kept = bytes(&self.sectors[last]);
            kept[length % SECTOR..].fill(0);
            self.sectors[last] = sector(kept);
        }
        self.length = length;
        self.sectors.resize(length.div_ceil(SECTOR), None);
    }

    /// One sector; zeros where there is none.
    pub fn sector(&self, at: usize) -> Sector {
        self.sectors.get(at).cloned().flatten()
    }

    /// Puts a sector in its place, as far as the length allows.
    pub fn put(&mut self, at: usize, new: Sector) {
        let Some(place) = self.sectors.get_mut(at) else { return };
        let inside = self.length - at * SECTOR;
        *place = new;
        if inside < SECTOR {
            let mut kept = bytes(place);
            kept[inside..].fill(0);
            *place = sector(kept);
        }
    }

    /// Reads what there is; returns how many bytes.
    pub fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let count = self.length.saturating_sub(offset).min(buffer.len());
        let mut done = 0;
        while done < count {
            let (at, inside) = ((offset + done) / SECTOR, (offset + done) % SECTOR);
            let piece = (SECTOR - inside).min(count - done);
            match &self.sectors[at] {
                Some(content) => buffer[done..done + piece].copy_from_slice(&content.bytes[inside..inside + piece]),
                None => buffer[done..done + piece].fill(0),
            }
            done += piece;
        }
        count
    }

    /// Writes, growing the file; returns the sectors that were written to.
    pub fn write(&mut self, new: &[u8], offset: usize) -> std::ops::Range<usize> {
        let end = offset + new.len();
        if end > self.length {
            self.resize(end);
        }
        let mut done = 0;
        while done < new.len() {
            let (at, inside) = ((offset + done) / SECTOR, (offset + done) % SECTOR);
            let piece = (SECTOR - inside).min(new.len() - done);
            let mut changed = bytes(&self.sectors[at]);
            changed[inside..inside + piece].copy_from_slice(&new[done..done + piece]);
            self.sectors[at] = sector(changed);
            done += piece;
        }
        offset / SECTOR..end.div_ceil(SECTOR)
    }

    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = vec![0; self.length];
        self.read(&mut all, 0);
        all
    }

    pub fn hash(&self, hasher: &mut DefaultHasher) {
        self.length.hash(hasher);
        for sector in &self.sectors {
            hash(sector).hash(hasher);
        }
    }
}

/// One file.
// Invariant: where a sector is not in `unsynced`, and no sync has failed and no write got lost, cache and medium are the same.
#[derive(Clone, Default)]
pub struct File {
    /// What processes read.
    pub cache: Image,
    /// What a power loss leaves, if nothing on its way arrives.
    pub medium: Image,
    /// What each sector has held since the last sync, oldest first.
    pub unsynced: BTreeMap<usize, Vec<Sector>>,
    /// The lengths since the last sync, oldest first.
    pub lengths: Vec<usize>,
}

impl File {
    pub fn durable(bytes: &[u8]) -> Self {
        let image = Image::from_bytes(bytes);
        File { cache: image.clone(), medium: image, ..File::default() }
    }

    pub fn write(&mut self, new: &[u8], offset: usize) {
        let length = self.cache.len();
        for at in self.cache.write(new, offset) {
            self.unsynced.entry(at).or_default().push(self.cache.sector(at));
        }
        if self.cache.len() != length {
            self.lengths.push(self.cache.len());
        }
    }

    /// Everything reaches the medium.
    pub fn sync(&mut self) {
        self.lengths.clear();
        self.medium.resize(self.cache.len());
        for (at, _) in std::mem::take(&mut self.unsynced) {
            self.medium.put(at, self.cache.sector(at));
        }
    }

    /// A sync fails: the system takes the pages for clean, and the medium got only those that `arrives` says.
    pub fn fail_sync(&mut self, arrives: impl Fn(usize) -> bool) {
        for (at, _) in std::mem::take(&mut self.unsynced) {
            if arrives(at) {
                self.medium.put(at, self.cache.sector(at));
            }
        }
    }

    /// Clean pages are read from the medium again.
    pub fn drop_cache(&mut self) {
        for at in 0..self.cache.len().div_ceil(SECTOR) {
            if !self.unsynced.contains_key(&at) {
                self.cache.put(at, self.medium.sector(at));
            }
        }
    }

    /// The power fails and nothing on its way arrives.
    pub fn lose_power(&mut self) {
        self.unsynced.clear();
        self.lengths.clear();
        self.cache = self.medium.clone();
    }
}
