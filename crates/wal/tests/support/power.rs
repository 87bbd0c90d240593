//! What a power loss may leave: every combination that the assumptions about the medium allow (`docs/wal-format.md`).
//!
//! Until a sync, each sector holds what it held before, or anything that it held since, or a mixture of both, or garbage in the bytes
//! that the writes changed; each independently of the others and of the file's length, and each changed name independently of all.
//! Zeros written behind the durable end of a file arrive, or leave garbage there, by whole pages: there are so many of them.

use std::sync::Arc;

use slimcluster_core::random::Random;

use super::disk::{MemoryDisk, NameChange, State};
use super::medium::{self, File, PAGE_SECTORS, SECTOR, Sector};

/// What may stand where a write was to go and did not arrive: neither zeros nor a checksum of anything.
const GARBAGE: u8 = 0xa5;

/// How many kinds of torn sectors are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tears {
    /// A sector is old or new.
    None,
    /// Or its first half is new, or garbage.
    Few,
    /// Or it is torn at one of several places, in either order, or zeros.
    Many,
}

/// Something that is not durable, and what may become of it.
enum Undecided {
    Name(NameChange),
    Lengths(usize, Vec<usize>),
    /// Sectors of a file from the first one on, and what each may hold.
    Sectors(usize, usize, Vec<Vec<Sector>>),
}

impl Undecided {
    fn alternatives(&self) -> usize {
        match self {
            Undecided::Name(_) => 2,
            Undecided::Lengths(_, lengths) => lengths.len(),
            Undecided::Sectors(_, _, sectors) => sectors.first().map_or(1, Vec::len),
        }
    }
}

/// Every state that a power loss may leave, one after the other.
pub struct PowerLoss {
    /// The disk as it is when nothing on its way arrives, names not yet decided.
    base: State,
    undecided: Vec<Undecided>,
    next: Option<Vec<usize>>,
}

impl PowerLoss {
    /// The states that `disk` may be in after a power loss. Of `kinds`, each with the most states that it is good for, the first that
    /// fits says how many kinds of tears are told apart; the last one if none does.
    pub fn of(disk: &MemoryDisk, kinds: &[(Tears, usize)]) -> Self {
        let mut base = disk.fork().state().clone();
        let mut undecided = Vec::new();
        for (tears, states_max) in kinds {
            undecided = find(&base, *tears);
            if count(&undecided) <= *states_max {
                break;
            }
        }
        base.unsynced_names.clear();
        for file in &mut base.files {
            Arc::make_mut(file).lose_power();
        }
        let next = Some(vec![0; undecided.len()]);
        PowerLoss { base, undecided, next }
    }

    /// How many states there are.
    pub fn count(&self) -> usize {
        count(&self.undecided)
    }

    /// How many things are not decided.
    pub fn width(&self) -> usize {
        self.undecided.len()
    }

    /// One of the states.
    pub fn any(&self, random: &mut Random) -> MemoryDisk {
        let choices = self.undecided.iter().map(|undecided| random.below(undecided.alternatives() as u64) as usize);
        self.state(&choices.collect::<Vec<_>>())
    }

    fn state(&self, choices: &[usize]) -> MemoryDisk {
        let mut state = self.base.clone();
        // Lengths first: what lies behind the end does not arrive.
        for (undecided, choice) in self.undecided.iter().zip(choices) {
            match undecided {
                Undecided::Name(change) if *choice == 1 => change.apply(&mut state.durable_names),
                Undecided::Lengths(file, lengths) => {
                    Arc::make_mut(&mut state.files[*file]).medium.resize(lengths[*choice])
                }
                _ => {}
            }
        }
        for (undecided, choice) in self.undecided.iter().zip(choices) {
            if let Undecided::Sectors(file, first, sectors) = undecided {
                let file = Arc::make_mut(&mut state.files[*file]);
                for (at, alternatives) in sectors.iter().enumerate() {
                    file.medium.put(first + at, alternatives[*choice].clone());
                }
            }
        }
        for file in &mut state.files {
            if file.cache.len() != file.medium.len() || !self.undecided.is_empty() {
                let file = Arc::make_mut(file);
                file.cache = file.medium.clone();
            }
        }
        state.names = state.durable_names.clone();
        state.copy()
    }
}

impl Iterator for PowerLoss {
    type Item = MemoryDisk;

    fn next(&mut self) -> Option<MemoryDisk> {
        let choices = self.next.take()?;
        let state = self.state(&choices);
        // Counts up, the first digit fastest.
        let mut following = choices;
        for (digit, undecided) in following.iter_mut().zip(&self.undecided) {
            *digit += 1;
            if *digit < undecided.alternatives() {
                self.next = Some(following);
                break;
            }
            *digit = 0;
        }
        Some(state)
    }
}

fn count(undecided: &[Undecided]) -> usize {
    undecided.iter().map(Undecided::alternatives).fold(1, usize::saturating_mul)
}

fn find(state: &State, tears: Tears) -> Vec<Undecided> {
    let mut undecided: Vec<Undecided> = state.unsynced_names.iter().cloned().map(Undecided::Name).collect();
    for (id, file) in state.files.iter().enumerate() {
        let mut lengths = vec![file.medium.len()];
        lengths.extend(&file.lengths);
        lengths.sort_unstable();
        lengths.dedup();
        if lengths.len() > 1 {
            undecided.push(Undecided::Lengths(id, lengths));
        }
        sectors(id, file, tears, &mut undecided);
    }
    undecided
}

/// What may become of the sectors of one file.
fn sectors(id: usize, file: &File, tears: Tears, undecided: &mut Vec<Undecided>) {
    let mut zeroed: Option<(usize, Vec<Vec<Sector>>)> = None;
    for (at, versions) in &file.unsynced {
        let is_behind_the_end = at * SECTOR >= file.medium.len();
        if is_behind_the_end && versions.iter().all(Option::is_none) {
            let alternatives = match tears {
                Tears::None => vec![None],
                _ => vec![None, medium::sector([GARBAGE; SECTOR])],
            };
            match &mut zeroed {
                Some((first, page)) if *first + page.len() == *at && *first / PAGE_SECTORS == *at / PAGE_SECTORS => {
                    page.push(alternatives);
                }
                _ => {
                    let full = zeroed.replace((*at, vec![alternatives]));
                    undecided.extend(full.map(|(first, page)| Undecided::Sectors(id, first, page)));
                }
            }
            continue;
        }
        let alternatives = alternatives(&file.medium.sector(*at), versions, is_behind_the_end, tears);
        undecided.push(Undecided::Sectors(id, *at, vec![alternatives]));
    }
    undecided.extend(zeroed.map(|(first, page)| Undecided::Sectors(id, first, page)));
    undecided.retain(|undecided| undecided.alternatives() > 1);
}

/// What a sector may hold that held `old` and then each of `versions`.
fn alternatives(old: &Sector, versions: &[Sector], is_behind_the_end: bool, tears: Tears) -> Vec<Sector> {
    let mut alternatives = vec![old.clone()];
    alternatives.extend(versions.iter().cloned());
    if tears > Tears::None {
        let mut before = medium::bytes(old);
        for version in versions {
            let after = medium::bytes(version);
            tear(&before, &after, is_behind_the_end, tears, &mut alternatives);
            before = after;
        }
    }
    let mut seen = Vec::new();
    alternatives.retain(|sector| {
        let hash = medium::hash(sector);
        let is_new = !seen.contains(&hash);
        seen.push(hash);
        is_new
    });
    alternatives
}

/// The mixtures of two contents. A write harms no byte that it does not change, but nothing is known of what lies behind the end.
fn tear(before: &[u8; SECTOR], after: &[u8; SECTOR], is_behind_the_end: bool, tears: Tears, out: &mut Vec<Sector>) {
    let changed: Vec<usize> = (0..SECTOR).filter(|at| is_behind_the_end || before[*at] != after[*at]).collect();
    let mixture = |taken: &dyn Fn(usize) -> u8| {
        let mut bytes = *before;
        for (at, position) in changed.iter().enumerate() {
            bytes[*position] = taken(at);
        }
        medium::sector(bytes)
    };
    let cuts: &[usize] = if tears == Tears::Many { &[1, 4, 7] } else { &[4] };
    for eighth in cuts {
        let cut = changed.len() * eighth / 8;
        out.push(mixture(&|at| if at < cut { after[changed[at]] } else { before[changed[at]] }));
        if tears == Tears::Many {
            out.push(mixture(&|at| if at < cut { before[changed[at]] } else { after[changed[at]] }));
        }
    }
    out.push(mixture(&|_| GARBAGE));
    if tears == Tears::Many {
        out.push(mixture(&|_| 0));
    }
}
