//! What is wrong between two places for a while, in one direction.

/// The troubles of every direction between two places.
#[derive(Debug)]
pub(super) struct Paths {
    /// How many partitions cut `[from][to]`.
    cuts: Vec<Vec<u32>>,
}

impl Paths {
    /// Nothing is wrong.
    pub(super) fn new(places: usize) -> Self {
        Paths { cuts: vec![vec![0; places]; places] }
    }

    /// Cuts, or heals one cut of, one direction.
    pub(super) fn cut(&mut self, from: usize, to: usize, cut: bool) {
        let count = &mut self.cuts[from][to];
        *count = if cut { *count + 1 } else { count.saturating_sub(1) };
    }

    /// Heals everything.
    pub(super) fn heal(&mut self) {
        self.cuts.iter_mut().flatten().for_each(|count| *count = 0);
    }

    /// Whether nothing passes.
    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts[from][to] > 0
    }
}
