//! What is wrong between two places for a while, in one direction.

use slimcluster_core::random::Random;

use super::faults::{MILLION, NetworkFaults};

/// A receiver that takes bytes off its links slowly, so that they pile up at the senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowReader {
    /// It takes so many bytes a second off each link; not 0.
    pub bytes_per_second: u64,
    /// A sender queues so many bytes for it and no more: a link whose queue is full is closed.
    pub queue_bytes_max: usize,
}

/// The troubles of every direction between two places, and of every reader.
#[derive(Debug)]
pub(super) struct Paths {
    /// By `[from][to]`.
    paths: Vec<Vec<Path>>,
    /// By place.
    slow_readers: Vec<Option<SlowReader>>,
}

#[derive(Clone, Debug, Default)]
struct Path {
    /// How many partitions cut it.
    cuts: u32,
    /// The holes of now: of each, the size of the largest packet that passes.
    holes: Vec<usize>,
    /// Whether it has a hole whenever the network has holes by itself.
    has_hole: bool,
}

impl Paths {
    /// Nothing is wrong yet.
    pub(super) fn new(places: usize, rng: &mut Random, faults: &NetworkFaults) -> Self {
        let mut paths = vec![vec![Path::default(); places]; places];
        if faults.holes > 0 {
            paths.iter_mut().flatten().for_each(|path| path.has_hole = rng.chance(faults.holes, MILLION));
        }
        Paths { paths, slow_readers: vec![None; places] }
    }

    /// Cuts, or heals one cut of, one direction.
    pub(super) fn cut(&mut self, from: usize, to: usize, cut: bool) {
        let cuts = &mut self.paths[from][to].cuts;
        *cuts = if cut { *cuts + 1 } else { cuts.saturating_sub(1) };
    }

    /// Makes a hole for everything above `bytes_max`, or fills one.
    pub(super) fn hole(&mut self, from: usize, to: usize, bytes_max: usize, is_open: bool) {
        let holes = &mut self.paths[from][to].holes;
        if is_open {
            holes.push(bytes_max);
        } else if let Some(at) = holes.iter().position(|hole| *hole == bytes_max) {
            holes.swap_remove(at);
        }
    }

    /// Sets how a place reads.
    pub(super) fn set_reader(&mut self, place: usize, reader: Option<SlowReader>) {
        self.slow_readers[place] = reader;
    }

    /// Heals everything, but for what the network does by itself.
    pub(super) fn heal(&mut self) {
        for path in self.paths.iter_mut().flatten() {
            path.cuts = 0;
            path.holes.clear();
        }
        self.slow_readers.fill(None);
    }

    /// Whether nothing passes.
    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.paths[from][to].cuts > 0
    }

    /// Whether a packet of so many bytes is too large for a direction in which small ones pass.
    pub(super) fn is_too_large(&self, from: usize, to: usize, bytes: usize, faults: &NetworkFaults) -> bool {
        let path = &self.paths[from][to];
        path.holes.iter().any(|bytes_max| bytes > *bytes_max)
            || (path.has_hole && faults.holes > 0 && bytes as u64 > faults.hole_bytes)
    }

    /// How a place reads, if it reads slowly.
    pub(super) fn slow_reader(&self, place: usize) -> Option<SlowReader> {
        self.slow_readers[place]
    }
}
