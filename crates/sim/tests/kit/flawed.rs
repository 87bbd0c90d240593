//! One machine for each property, that does not have it.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use slimcluster_sim::TestFailure;
use slimcluster_sim::{ApplyContext, Faults, Random, Sim, StateMachine};

/// What is wrong with a machine.
trait Flaw: Send + Sync + 'static {
    fn apply(sum: &mut Sum<Self>, cx: &ApplyContext, add: u64) -> u64
    where
        Self: Sized;
}

/// A sum, with something wrong in `apply`.
#[derive(Serialize, Deserialize)]
struct Sum<F> {
    total: u64,
    commands: u64,
    #[serde(skip)]
    forgotten: u64,
    #[serde(skip)]
    flaw: PhantomData<fn() -> F>,
}

impl<F> Default for Sum<F> {
    fn default() -> Self {
        Sum { total: 0, commands: 0, forgotten: 0, flaw: PhantomData }
    }
}

impl<F: Flaw> StateMachine for Sum<F> {
    type Command = u64;
    type Reply = u64;

    fn apply(&mut self, cx: &ApplyContext, add: u64) -> u64 {
        self.commands += 1;
        F::apply(self, cx, add)
    }
}

fn sim<F: Flaw>() -> Sim<Sum<F>> {
    Sim::nodes(3).seeds(0..3)
}

fn draw(rng: &mut Random) -> u64 {
    rng.below(100)
}

/// The property that does not hold, and the whole text.
fn found<F: Flaw>(sim: Sim<Sum<F>>, draw: impl Fn(&mut Random) -> u64 + Send + Sync + 'static) -> (String, String) {
    let failure = sim.check(draw).expect_err("the flaw was not found");
    println!("{failure}\n");
    match *failure {
        TestFailure::Seed { ref property, .. } => (property.clone(), failure.to_string()),
        TestFailure::Setup(why) => panic!("{why}"),
    }
}

struct None;

impl Flaw for None {
    fn apply(sum: &mut Sum<None>, _: &ApplyContext, add: u64) -> u64 {
        sum.total += add;
        sum.total
    }
}

#[test]
fn a_sum_without_a_flaw_holds() {
    let runs = sim::<None>().always("it grows", |sum| sum.total <= 100 * sum.commands).run(draw);
    assert_eq!(runs.seeds, 3);
}

/// Its answers differ, its states do not.
struct TalksOfItself;

impl Flaw for TalksOfItself {
    fn apply(sum: &mut Sum<Self>, _: &ApplyContext, add: u64) -> u64 {
        sum.total += add;
        std::ptr::from_ref(sum).addr() as u64
    }
}

#[test]
fn answers_that_differ_are_found() {
    let (property, text) = found(sim::<TalksOfItself>(), draw);
    assert_eq!(property, "equal replicas");
    assert!(text.contains("the answers differ since command number 1, "), "{text}");
}

/// Remembers something that its state does not hold.
struct Forgets;

impl Flaw for Forgets {
    fn apply(sum: &mut Sum<Self>, _: &ApplyContext, add: u64) -> u64 {
        sum.forgotten += 1;
        sum.total += add * sum.forgotten;
        sum.total
    }
}

#[test]
fn what_a_snapshot_forgets_is_found() {
    let (property, text) = found(sim::<Forgets>(), draw);
    assert_eq!(property, "snapshot round trip");
    assert!(text.contains("command number 2, ") && text.contains("#[serde(skip)]"), "{text}");
}

/// The state is another once it was read back.
#[derive(Default, Serialize, Deserialize)]
struct Rounds(#[serde(deserialize_with = "rounded")] u64);

fn rounded<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(u64::deserialize(deserializer)? / 10 * 10)
}

impl StateMachine for Rounds {
    type Command = u64;
    type Reply = ();

    fn apply(&mut self, _: &ApplyContext, add: u64) {
        self.0 += add;
    }
}

#[test]
fn a_state_that_changes_when_it_is_read_back_is_found() {
    let text = Sim::<Rounds>::nodes(3).seed(0).check(draw).expect_err("it was not found").to_string();
    assert!(text.starts_with("seed 0 fails: snapshot round trip"), "{text}");
    assert!(text.contains("the state is another once it was read back"), "{text}");
}

struct Panics;

impl Flaw for Panics {
    fn apply(sum: &mut Sum<Self>, _: &ApplyContext, add: u64) -> u64 {
        assert_ne!(add, 42, "it is the answer");
        sum.total += add;
        sum.total
    }
}

#[test]
fn a_panic_is_found_with_its_command() {
    let (property, text) = found(sim::<Panics>(), draw);
    assert_eq!(property, "apply goes on");
    assert!(text.contains("apply panicked on 42 at ") && text.contains("it is the answer"), "{text}");
    assert!(text.contains("Answer what is wrong as a value of Reply"), "{text}");
}

/// Postcard cannot read what does not say which of its shapes it has.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Shapeless {
    Number(u64),
}

#[derive(Default, Serialize, Deserialize)]
struct Unreadable(u64);

impl StateMachine for Unreadable {
    type Command = Shapeless;
    type Reply = ();

    fn apply(&mut self, _: &ApplyContext, Shapeless::Number(add): Shapeless) {
        self.0 += add;
    }
}

#[test]
fn a_command_that_cannot_be_read_is_found() {
    let text = Sim::<Unreadable>::nodes(3).check(|rng| Shapeless::Number(rng.next())).expect_err("found").to_string();
    assert!(text.starts_with("seed 0 fails: apply goes on") && text.contains("cannot be read"), "{text}");
    assert!(text.contains("#[serde(untagged)]") && !text.contains("Answer what is wrong"), "{text}");
}

#[test]
fn a_promise_that_is_broken_once_is_found() {
    let (property, text) = found(sim::<None>().always("it is small", |sum| sum.total < 500), draw);
    assert_eq!(property, "always");
    assert!(
        text.contains("\"it is small\" does not hold after ") && text.contains("the state is {\"commands\":"),
        "{text}"
    );
}

fn assert_small(sum: &Sum<None>) -> bool {
    assert!(sum.total < 500, "it is {}", sum.total);
    true
}

#[test]
fn a_promise_that_panics_is_broken_and_apply_is_not() {
    let sims =
        [sim::<None>().always("it is small", assert_small), sim::<None>().eventually("it is small", assert_small)];
    for (sim, property) in sims.into_iter().zip(["always", "eventually"]) {
        let (said, text) = found(sim, draw);
        assert_eq!(said, property);
        assert!(text.contains("\"it is small\" does not hold (it is ") && text.contains("the state is {"), "{text}");
        assert!(!text.contains("Answer what is wrong"), "{text}");
    }
}

#[test]
fn a_promise_that_is_broken_at_the_end_is_found() {
    let (property, text) = found(sim::<None>().eventually("it is back at zero", |sum| sum.total == 0), draw);
    assert_eq!(property, "eventually");
    assert!(text.contains("\"it is back at zero\" does not hold at the end"), "{text}");
}

/// Whoever looks at it can change it.
#[derive(Default, Serialize, Deserialize)]
struct Touched(AtomicU64);

impl StateMachine for Touched {
    type Command = u64;
    type Reply = u64;

    fn apply(&mut self, _: &ApplyContext, add: u64) -> u64 {
        *self.0.get_mut() += add;
        *self.0.get_mut()
    }
}

#[test]
fn a_promise_that_changes_the_state_is_named() {
    let sim =
        Sim::<Touched>::nodes(3).seed(0).eventually("it is large", |sum| sum.0.fetch_add(1, Ordering::Relaxed) > 9);
    let text = sim.check(draw).expect_err("it was not found").to_string();
    assert!(text.starts_with("seed 0 fails: eventually"), "{text}");
    assert!(text.contains("\"it is large\" changes the state, where it may only look, at the end"), "{text}");
}

/// A clock that ticks after all replicas have applied everything: when the promises of the end are judged.
struct TicksAtTheEnd;

static END: AtomicU64 = AtomicU64::new(0);

impl Flaw for TicksAtTheEnd {
    fn apply(sum: &mut Sum<Self>, _: &ApplyContext, add: u64) -> u64 {
        sum.total += add + END.load(Ordering::Relaxed);
        sum.total
    }
}

#[test]
fn a_clock_that_ticks_after_the_run_is_found_when_the_log_is_applied_again() {
    let ticks = sim::<TicksAtTheEnd>().eventually("it ticks", |_| END.fetch_add(1, Ordering::Relaxed) < u64::MAX);
    let (property, text) = found(ticks, draw);
    assert_eq!(property, "determinism");
    assert!(text.contains("since command number 1, ") && text.contains("applied again it is "), "{text}");
    assert!(text.contains("may pass when this seed is run again"), "{text}");
}

/// A clock that ticks before the second seed begins.
struct TicksBetweenSeeds;

static SEEDS: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

impl Flaw for TicksBetweenSeeds {
    fn apply(sum: &mut Sum<Self>, _: &ApplyContext, add: u64) -> u64 {
        sum.total += add + SEEDS.load(Ordering::Relaxed);
        sum.total
    }
}

#[test]
fn a_clock_that_ticks_between_the_runs_is_found_at_the_very_end() {
    let ends = |_: &Sum<TicksBetweenSeeds>| ENDED.fetch_add(1, Ordering::Relaxed) < u64::MAX;
    let ticks = sim::<TicksBetweenSeeds>().seeds(0..2).faults(Faults::none()).eventually("it ends", ends);
    let (property, text) = found(ticks, |rng| {
        // The three replicas of the first seed have ended, and nothing of the second was applied.
        SEEDS.fetch_max(u64::from(ENDED.load(Ordering::Relaxed) >= 3), Ordering::Relaxed);
        draw(rng)
    });
    assert_eq!(property, "determinism");
    assert!(text.starts_with("seed 0 fails") && text.contains("(applied again after "), "{text}");
}

/// What the kit demands of our own code, with safeguards of ours left out.
#[cfg(feature = "mutants")]
#[test]
fn our_own_safeguards_are_missed() {
    let found = |mutant: &str| {
        let mutant = mutant.parse().expect("a mutant");
        found(sim::<None>().seeds(0..50).mutant(mutant), draw).0
    };
    assert_eq!(found("session-dedup-skipped"), "exactly once");
}
