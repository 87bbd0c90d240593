//! Every crash of short traces: at each effect, and of what is not durable then every combination that the medium may be left with.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use slimcluster_wal::{Options, Wal};

use super::disk::{MemoryDisk, Operation};
use super::ops::Op;
use super::oracle::Expectation;
use super::power::{PowerLoss, Tears};
use super::{CLUSTER, FRESH, runs};

/// The tears of a crash that is the only one of its trace, with the most states that one moment may have by them.
const ONLY: &[(Tears, usize)] = &[(Tears::Many, 1 << 10), (Tears::Few, 1 << 16)];
/// The same for the last crash of several, which are so many more.
const LAST: &[(Tears, usize)] = &[(Tears::Few, 1 << 8), (Tears::None, 1 << 8)];
/// The same for a crash that is followed by another life.
const FOLLOWED: &[(Tears, usize)] = &[(Tears::None, 1 << 8)];

/// A trace: lives of processes, each but the last ended by every possible crash in its last step. A life begins with an open, which
/// is its last step when it has no other.
pub type Trace = Vec<Vec<Op>>;

/// What was looked at.
#[derive(Default)]
pub struct Explored {
    /// Crash states that the medium allows.
    pub states: u64,
    /// Those among them that differ in what is on the medium or in what may be found there: each of these was opened.
    pub distinct: HashSet<u64>,
    /// The most pieces that were undecided at one moment.
    pub width_max: usize,
}

/// Explores all traces, on every processor. The first violation ends it.
pub fn explore(options: &Options, traces: &[Trace]) -> Result<Explored, String> {
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Ok(Explored::default())));
    let work = || {
        let mut explorer = Explorer { options: options.clone(), explored: Explored::default() };
        while let Some(trace) = traces.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(violation) = explorer.trace(trace) {
                *all.lock().unwrap() = Err(format!("{trace:?}: {violation}"));
                return;
            }
            if all.lock().unwrap().is_err() {
                return;
            }
        }
        if let Ok(all) = &mut *all.lock().unwrap() {
            all.states += explorer.explored.states;
            all.width_max = all.width_max.max(explorer.explored.width_max);
            all.distinct.extend(explorer.explored.distinct);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    all.into_inner().unwrap()
}

struct Explorer {
    options: Options,
    explored: Explored,
}

impl Explorer {
    fn trace(&mut self, trace: &Trace) -> Result<(), String> {
        let (disk, mut expected) = (MemoryDisk::default(), Expectation::default());
        // A store that exists; how it is made is the trace of no lives.
        if !trace.is_empty() {
            self.open(&disk, &mut expected)?;
        }
        self.lives(&disk, &expected, trace, 1)
    }

    /// Goes through the first of `lives`, crashes it wherever it can be crashed, and goes on from every state with the next one.
    fn lives(&mut self, disk: &MemoryDisk, expected: &Expectation, lives: &[Vec<Op>], salt: u8) -> Result<(), String> {
        let (life, later) = lives.split_first().map_or((&[][..], &[][..]), |(life, later)| (life.as_slice(), later));
        let kinds = match later {
            [] if salt == 1 => ONLY,
            [] => LAST,
            _ => FOLLOWED,
        };
        let crashes = self.life(disk, expected, life, salt)?;
        let mut followed = HashSet::new();
        for Moment { disk, expected, is_at_sync } in crashes {
            self.check(&disk.fork(), &expected).map_err(|violation| format!("the process alone, {violation}"))?;
            if !is_at_sync {
                continue;
            }
            let losses = PowerLoss::of(&disk, kinds);
            self.explored.width_max = self.explored.width_max.max(losses.width());
            let fingerprint = expected.fingerprint();
            for state in losses {
                self.explored.states += 1;
                let found = state.fingerprint() ^ fingerprint.rotate_left(1);
                if self.explored.distinct.insert(found) {
                    self.check(&state.fork(), &expected)?;
                }
                if !later.is_empty() && followed.insert(found) {
                    self.lives(&state, &expected, later, salt + 1)?;
                }
            }
        }
        Ok(())
    }

    /// One process from its open on; returns the moments of its last step in which it may be crashed.
    fn life(&self, disk: &MemoryDisk, expected: &Expectation, life: &[Op], salt: u8) -> Result<Vec<Moment>, String> {
        let disk = disk.fork();
        let mut expected = expected.clone();
        if life.is_empty() {
            disk.keep_copies();
            let before = expected.clone();
            self.open(&disk, &mut expected)?;
            return Ok(moments(&disk, &before, &expected));
        }
        let mut wal = self.open(&disk, &mut expected)?;
        for (at, op) in life.iter().enumerate() {
            let is_last = at + 1 == life.len();
            let mut during = expected.clone();
            if is_last {
                disk.keep_copies();
            }
            let salt = 16 * salt + at as u8;
            // What is handed over is the same the second time: it is noted before it is known to be durable.
            op.announce(salt, &mut during);
            op.perform(salt, &mut wal, &mut expected).map_err(|error| format!("{op:?}: {error}"))?;
            if is_last {
                return Ok(moments(&disk, &during, &expected));
            }
        }
        Ok(Vec::new())
    }

    fn open(&self, disk: &MemoryDisk, expected: &mut Expectation) -> Result<Wal, String> {
        let opened = Wal::open(disk.process(), self.options.clone(), CLUSTER, FRESH);
        let (wal, recovered) = opened.map_err(|error| error.to_string())?;
        expected.check(&recovered)?;
        Ok(wal)
    }

    fn check(&self, disk: &MemoryDisk, expected: &Expectation) -> Result<(), String> {
        check(&self.options, disk, expected.clone())
    }
}

/// A moment in which a process may be crashed, and what may be found then.
struct Moment {
    disk: MemoryDisk,
    expected: Expectation,
    /// What is not durable is about to become so: a power loss at any moment since the last sync leaves nothing that one now cannot leave.
    is_at_sync: bool,
}

/// The moments before each effect of the last step, and the one after it.
fn moments(disk: &MemoryDisk, during: &Expectation, after: &Expectation) -> Vec<Moment> {
    let is_sync = |operation| matches!(operation, Operation::Sync | Operation::SyncDirectory);
    let copies = disk.take_copies().into_iter();
    let mut moments: Vec<Moment> =
        copies.map(|(next, disk)| Moment { disk, expected: during.clone(), is_at_sync: is_sync(next) }).collect();
    moments.push(Moment { disk: disk.fork(), expected: after.clone(), is_at_sync: true });
    moments
}

/// Opens what a crash left and checks it; then that it stays through a power loss, and that the store takes a write, which stays too.
pub fn check(options: &Options, disk: &MemoryDisk, mut expected: Expectation) -> Result<(), String> {
    let open = |expected: &mut Expectation, what: &str| {
        let opened = Wal::open(disk.process(), options.clone(), CLUSTER, FRESH);
        let (wal, recovered) = opened.map_err(|error| format!("{what}: {error}"))?;
        expected.check(&recovered).map_err(|violation| format!("{what}: {violation}"))?;
        Ok::<_, String>(wal)
    };
    let wal = open(&mut expected, "opened")?;
    expected.check_fetches(&wal, 1 << 20)?;
    disk.lose_power();
    let mut wal = open(&mut expected, "opened again")?;
    let run = expected.last().author.clone().append(&[b"after the crash"]);
    expected.write(&mut wal, &[runs(&[run])]).map_err(|error| format!("written: {error}"))?;
    disk.lose_power();
    open(&mut expected, "opened after the write").map(drop)
}
