//! The worked example of `docs/testing-your-state-machine.md`: a bank, and two versions of it with a bug that replication punishes.

use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use slimcluster_core::machine::{ApplyContext, StateMachine};
use slimcluster_core::random::Random;
use slimcluster_sim::TestFailure;
use slimcluster_sim::{Fault, Faults, Sim};

#[derive(Clone, Serialize, Deserialize)]
pub enum Command {
    Open { owner: String },
    Transfer { from: String, to: String, amount: u64 },
    PayOut,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Done,
    Refused,
    PaidOut { to: String, amount: u64 },
}

/// What a client asks: a few owners, so that they meet.
pub fn draw(rng: &mut Random) -> Command {
    let mut owner = || ["ann", "bob", "cyd", "dan"][rng.below(4) as usize].to_owned();
    let (from, to) = (owner(), owner());
    match rng.below(8) {
        0 => Command::PayOut,
        1..=3 => Command::Open { owner: from },
        _ => Command::Transfer { from, to, amount: rng.below(50) },
    }
}

/// Holds: accounts in an order, no clock but that of the log.
#[derive(Default, Serialize, Deserialize)]
struct Bank {
    accounts: BTreeMap<String, u64>,
    opened: u64,
    paid_out: u64,
    last_payout_micros: u64,
}

impl StateMachine for Bank {
    type Command = Command;
    type Reply = Answer;

    fn apply(&mut self, cx: &ApplyContext, command: Command) -> Answer {
        match command {
            Command::Open { owner } => {
                if self.accounts.contains_key(&owner) {
                    return Answer::Refused;
                }
                self.accounts.insert(owner, 100);
                self.opened += 1;
                Answer::Done
            }
            Command::Transfer { from, to, amount } => {
                if !self.accounts.contains_key(&to) || self.accounts.get(&from).is_none_or(|held| *held < amount) {
                    return Answer::Refused;
                }
                *self.accounts.entry(from).or_default() -= amount;
                *self.accounts.entry(to).or_default() += amount;
                Answer::Done
            }
            Command::PayOut => match self.accounts.pop_first() {
                Some((to, amount)) => {
                    self.paid_out += amount;
                    self.last_payout_micros = cx.log_time().0;
                    Answer::PaidOut { to, amount }
                }
                None => Answer::Refused,
            },
        }
    }
}

impl Bank {
    fn total(&self) -> u64 {
        self.accounts.values().sum::<u64>() + self.paid_out
    }
}

#[test]
fn the_bank_holds_under_all_faults() {
    let runs = Sim::<Bank>::nodes(3)
        .seeds(0..10)
        .faults(Faults::all())
        .always("money is neither made nor lost", |bank| bank.total() == 100 * bank.opened)
        .eventually("somebody opened an account", |bank| bank.opened > 0)
        .run(draw);
    println!("{runs}");
    // For each seed, so that one that is run alone passes as well.
    assert!(
        runs.commands > 100 * runs.seeds && runs.reads > 20 * runs.seeds && runs.crashes >= 3 * runs.seeds,
        "{runs}"
    );
}

/// The same with a `HashMap`: whoever is paid out is whoever the map gives first, and each process's map has another order.
#[derive(Default, Serialize, Deserialize)]
struct UnorderedBank {
    accounts: HashMap<String, u64>,
}

impl StateMachine for UnorderedBank {
    type Command = Command;
    type Reply = Answer;

    fn apply(&mut self, _: &ApplyContext, command: Command) -> Answer {
        match command {
            Command::Open { owner } => {
                self.accounts.entry(owner).or_insert(100);
                Answer::Done
            }
            Command::Transfer { .. } => Answer::Refused,
            Command::PayOut => match self.accounts.keys().next().cloned() {
                Some(to) => {
                    let amount = self.accounts.remove(&to).unwrap_or_default();
                    Answer::PaidOut { to, amount }
                }
                None => Answer::Refused,
            },
        }
    }
}

/// The same with the clock of the process: each replica notes another time for the same payout.
#[derive(Default, Serialize, Deserialize)]
struct PunctualBank {
    accounts: BTreeMap<String, u64>,
    last_payout_micros: u64,
}

impl StateMachine for PunctualBank {
    type Command = Command;
    type Reply = Answer;

    fn apply(&mut self, _: &ApplyContext, command: Command) -> Answer {
        match command {
            Command::Open { owner } => {
                self.accounts.entry(owner).or_insert(100);
                Answer::Done
            }
            Command::Transfer { .. } => Answer::Refused,
            Command::PayOut => match self.accounts.pop_first() {
                Some((to, amount)) => {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    self.last_payout_micros = now.as_micros() as u64;
                    Answer::PaidOut { to, amount }
                }
                None => Answer::Refused,
            },
        }
    }
}

fn found<S: StateMachine<Command = Command>>(faults: Faults, seeds: std::ops::Range<u64>) -> (u64, String, String) {
    let failure = Sim::<S>::nodes(3).seeds(seeds).faults(faults).check(draw).expect_err("the bug was not found");
    let text = failure.to_string();
    println!("{text}\n");
    match *failure {
        TestFailure::Seed { seed, property, .. } => (seed, property, text),
        TestFailure::Setup(why) => panic!("{why}"),
    }
}

#[test]
fn the_order_of_a_hash_map_is_found() {
    for faults in [Faults::all(), Faults::none(), Faults::only([Fault::Crashes])] {
        let (seed, property, text) = found::<UnorderedBank>(faults, 0..3);
        assert_eq!((seed, &*property), (0, "equal replicas"), "{text}");
        assert!(text.contains("HashMap") && text.contains("may pass when this seed is run again"), "{text}");
        let begins =
            "seed 0 fails: equal replicas\n  again: SLIMCLUSTER_SIM_SEED=0 cargo test bank::the_order_of_a_hash_map";
        assert!(text.starts_with(begins), "{text}");
    }
}

#[test]
fn the_wall_clock_in_apply_is_found() {
    for faults in [Faults::all(), Faults::none()] {
        let (seed, property, text) = found::<PunctualBank>(faults, 0..3);
        assert_eq!((seed, &*property), (0, "equal replicas"), "{text}");
        assert!(text.contains("\"last_payout_micros\":") && text.contains("\"PayOut\""), "{text}");
    }
}
