//! What a user writes.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slimcluster_core::machine::StateMachine;
use slimcluster_core::random::Random;

use super::failure::{SEED_VARIABLE, TestFailure};
use super::faults::Faults;
use super::journal::{Promise, Promises};
use super::load::{Draw, MachineLoad};
use super::plan::{self, Choice};
use super::replays;
use super::watched::{SharedJournal, lock};
use crate::checkers::Violation;
use crate::panics;
use crate::run::run_once;
use crate::streams::{Concern, stream};
use crate::swarm::NODES_MAX;
use crate::trace::Detail;
use crate::world::RunOptions;

/// As many as in our own seeds. Each has an operation in flight, and a search for an order of what overlaps grows with all the ways to
/// order it: with twice as many it gives up on machines that are right.
const CLIENTS_MAX: usize = 12;
/// An hour of virtual time is some minutes of a test.
const DURATION_MAX: Duration = Duration::from_secs(3_600);

/// A cluster of `S`, in an ordinary test. See [the module](super).
pub struct Sim<S: StateMachine> {
    choice: Choice,
    seeds: Range<u64>,
    /// This one in place of the range.
    only: Option<u64>,
    always: Vec<Promise<S>>,
    eventually: Vec<Promise<S>>,
    #[cfg(feature = "mutants")]
    mutant: Option<slimcluster_core::mutants::Mutant>,
    machine: PhantomData<fn() -> S>,
}

/// Good runs, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Seeds that were run.
    pub seeds: u64,
    /// Commands that were applied.
    pub commands: u64,
    /// Those of them that were acknowledged while faults lasted: what came later has met the last power loss alone.
    pub commands_under_faults: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Faults that struck, and packets and disk calls that went wrong.
    pub faults: u64,
    /// Processes that ended other than by themselves, the last power loss included.
    pub crashes: u64,
    /// Virtual time of all runs together.
    pub time: Duration,
}

impl<S: StateMachine> Sim<S> {
    /// A cluster of so many nodes, 1 to 9. Until told otherwise: seeds 0 to 9, all faults, for 10 virtual seconds, 4 clients.
    pub fn nodes(nodes: usize) -> Self {
        let choice = Choice { nodes, faults: Faults::all(), clients: 4, faults_for: 10_000_000 };
        Sim {
            choice,
            seeds: 0..10,
            only: None,
            always: Vec::new(),
            eventually: Vec::new(),
            #[cfg(feature = "mutants")]
            mutant: None,
            machine: PhantomData,
        }
    }

    /// Runs this seed only.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.only = Some(seed);
        self
    }

    /// Runs these seeds, one after the other, up to the first that fails.
    #[must_use]
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        (self.seeds, self.only) = (seeds, None);
        self
    }

    /// Which faults there may be.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.choice.faults = faults;
        self
    }

    /// How many clients there are, 1 to 12, each with one operation at a time. With more, too much overlaps for the search for an order
    /// that explains it.
    #[must_use]
    pub fn clients(mut self, clients: usize) -> Self {
        self.choice.clients = clients;
        self
    }

    /// How long the faults last, in virtual time, up to an hour, from when the cluster is formed. The clients go on for some seconds after that, and then all nodes lose
    /// power and start again.
    #[must_use]
    pub fn duration(mut self, duration: Duration) -> Self {
        self.choice.faults_for = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self
    }

    /// `holds` must hold of every replica, after every command: it says so, or does not panic. The name is for the report.
    #[must_use]
    pub fn always(mut self, name: impl Into<String>, holds: impl Fn(&S) -> bool + Send + Sync + 'static) -> Self {
        self.always.push(Promise { name: name.into(), holds: Box::new(holds), at_end: false });
        self
    }

    /// `holds` must hold of every replica at the end, when all faults are over and all commands are applied: it says so, or does not
    /// panic. It must leave the state as it is, also where a lock or a cell in it could be changed.
    #[must_use]
    pub fn eventually(mut self, name: impl Into<String>, holds: impl Fn(&S) -> bool + Send + Sync + 'static) -> Self {
        self.eventually.push(Promise { name: name.into(), holds: Box::new(holds), at_end: true });
        self
    }

    /// Leaves a safeguard of our own code out, to see that it is missed.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn mutant(mut self, mutant: slimcluster_core::mutants::Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    /// Runs the seeds; clients submit the commands that `draw` draws, and read. The variable `SLIMCLUSTER_SIM_SEED` names one seed to be
    /// run in place of all, with more text.
    ///
    /// # Panics
    ///
    /// With the report of [`Sim::check`], if something does not hold.
    #[track_caller]
    pub fn run(self, draw: impl Fn(&mut Random) -> S::Command + Send + Sync + 'static) -> Runs {
        match self.check(draw) {
            Ok(runs) => runs,
            // Not in a closure: the line that is blamed is that of the test.
            Err(failure) => panic!("{failure}"),
        }
    }

    /// As [`Sim::run`], for tests that look at the failure.
    ///
    /// # Errors
    ///
    /// [`TestFailure::Setup`]: nothing was run. [`TestFailure::Seed`]: the first seed that fails, and how; later ones were not run.
    pub fn check(
        self,
        draw: impl Fn(&mut Random) -> S::Command + Send + Sync + 'static,
    ) -> Result<Runs, Box<TestFailure>> {
        let alone = match std::env::var(SEED_VARIABLE) {
            Ok(text) => Some(
                text.trim()
                    .parse::<u64>()
                    .map_err(|_| setup(format!("{SEED_VARIABLE} is {text:?}, and should be the number of a seed")))?,
            ),
            Err(_) => None,
        };
        let detail = if alone.is_some() { Detail::Tail } else { Detail::Hash };
        let options = RunOptions {
            detail,
            #[cfg(feature = "mutants")]
            mutant: self.mutant,
            ..RunOptions::default()
        };
        let Sim { choice, seeds, only, always, eventually, .. } = self;
        validate(&choice, only, &seeds)?;
        let draw = named(draw);
        let test = Test { choice, options, draw, always: always.into(), eventually: eventually.into() };
        let seeds = match alone.or(only) {
            Some(seed) => seed..=seed,
            None => seeds.start..=seeds.end.saturating_sub(1),
        };
        let began = Instant::now();
        let mut runs = Runs::default();
        let mut first = None;
        for seed in seeds.clone() {
            let journal = test.run(seed, &mut runs)?;
            first.get_or_insert(journal);
        }
        // Once more, as late as can be: a clock in `apply` that ticks slowly has had time to.
        let Some(journal) = first else { return Ok(runs) };
        let again = replays::determinism::<S>(&lock(&journal).records);
        again.map_err(|violation| {
            let detail = format!("{}\n(applied again after {:.1} s)", violation.detail, began.elapsed().as_secs_f64());
            test.failure(*seeds.start(), Violation { detail, ..violation }, 0, Vec::new())
        })?;
        Ok(runs)
    }
}

/// What all seeds of a test share.
struct Test<S: StateMachine> {
    choice: Choice,
    options: RunOptions,
    draw: Draw<S>,
    always: Promises<S>,
    eventually: Promises<S>,
}

impl<S: StateMachine> Test<S> {
    fn run(&self, seed: u64, runs: &mut Runs) -> Result<SharedJournal, Box<TestFailure>> {
        let journal = SharedJournal::default();
        let load = MachineLoad {
            draw: Arc::clone(&self.draw),
            always: Arc::clone(&self.always),
            eventually: Arc::clone(&self.eventually),
            journal: Arc::clone(&journal),
            rng: stream(seed, Concern::Client, u64::MAX),
            replicas: BTreeMap::new(),
        };
        // Not run a second time for its text: a machine that is not deterministic would do something else.
        match run_once(&plan::draw(seed, &self.choice), self.options, Box::new(load), u64::MAX) {
            Ok(report) => {
                let journal_now = lock(&journal);
                runs.seeds += 1;
                runs.commands += journal_now.records.len() as u64;
                runs.commands_under_faults += report.stats.acknowledged_in_faults;
                runs.reads += journal_now.reads;
                runs.faults += report.stats.faults.total();
                runs.crashes += report.stats.crashes;
                runs.time += Duration::from_micros(report.stats.time);
                drop(journal_now);
                Ok(journal)
            }
            Err(failure) => {
                // The journal saw it first, and knows the machine's types.
                let violation = lock(&journal).verdict().err().unwrap_or(failure.violation);
                Err(self.failure(seed, violation, failure.at, failure.lines))
            }
        }
    }

    fn failure(&self, seed: u64, violation: Violation, at: u64, trace: Vec<String>) -> Box<TestFailure> {
        let Choice { nodes, faults, clients, .. } = &self.choice;
        let when = format!("{}.{:03} s into the run", at / 1_000_000, at / 1_000 % 1_000);
        Box::new(TestFailure::Seed {
            seed,
            property: violation.property.to_owned(),
            detail: violation.detail,
            world: format!("{when}; {nodes} nodes, {clients} clients, faults: {faults}"),
            trace,
            test: std::thread::current().name().filter(|name| *name != "main").map(str::to_owned),
        })
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Runs { seeds, commands, commands_under_faults, reads, faults, crashes, time } = self;
        write!(f, "{seeds} seeds, {commands} commands ({commands_under_faults} under faults), {reads} reads, ")?;
        write!(f, "{faults} faults, {crashes} crashes, {} virtual seconds", time.as_secs())
    }
}

/// `draw`, whose panic says whose it is: it happens amid our own code.
fn named<C>(draw: impl Fn(&mut Random) -> C + Send + Sync) -> Arc<impl Fn(&mut Random) -> C + Send + Sync> {
    Arc::new(move |rng: &mut Random| {
        catch_unwind(AssertUnwindSafe(|| draw(rng))).unwrap_or_else(|panic| {
            let text = panics::text(&*panic);
            // Not a panic anew: it was printed where it happened.
            resume_unwind(Box::new(format!("the test's own closure that draws commands panicked: {text}")))
        })
    })
}

fn setup(why: String) -> Box<TestFailure> {
    Box::new(TestFailure::Setup(why))
}

/// Whether this can be run at all.
fn validate(choice: &Choice, only: Option<u64>, seeds: &Range<u64>) -> Result<(), Box<TestFailure>> {
    let Choice { nodes, clients, faults_for, .. } = *choice;
    let duration = Duration::from_micros(faults_for);
    let checks = [
        (nodes == 0 || nodes > NODES_MAX, format!("nodes({nodes}): a simulated cluster has 1 to {NODES_MAX} nodes")),
        (
            clients == 0 || clients > CLIENTS_MAX,
            format!("clients({clients}): without a client there are no commands, and {CLIENTS_MAX} is the most"),
        ),
        (
            only.is_none() && seeds.is_empty(),
            format!("seeds({}..{}): the range is empty, no seed would run", seeds.start, seeds.end),
        ),
        (
            duration.is_zero() || duration > DURATION_MAX,
            format!("duration({duration:?}): it is above zero and at most {DURATION_MAX:?}"),
        ),
    ];
    checks.into_iter().find(|(wrong, _)| *wrong).map_or(Ok(()), |(_, why)| Err(setup(why)))
}
