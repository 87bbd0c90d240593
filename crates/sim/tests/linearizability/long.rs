//! Histories as long as a run of the simulator makes them.

use std::time::Instant;

use slimcluster_core::random::Random;
use slimcluster_sim::linearizability::{Failure, History, Options, check};

use crate::subjects::{Answer, Register, Registers, Subject as _};

const OPERATIONS: usize = 20_000;

/// `clients` in a closed loop on `keys` registers, one operation in fifty without an outcome if some are to be lost.
fn draw(seed: u64, clients: usize, keys: u64, lose: bool) -> History<Register, Answer> {
    let mut rng = Random::new(seed);
    let mut history = History::default();
    let mut states = vec![0; keys as usize];
    let mut now = 0;
    // Per client: the operation in flight, and its answer once it took effect.
    let mut flying = vec![None; clients];
    while history.operations().len() < OPERATIONS {
        now += 1;
        let client = rng.below(clients as u64) as usize;
        flying[client] = match flying[client].take() {
            None => {
                let (key, value) = (rng.below(keys), rng.below(100));
                let input = if rng.chance(1, 2) { Register::Read { key } } else { Register::Write { key, value } };
                Some((history.invoke(client as u64, input, now), key, None))
            }
            Some((id, key, None)) => {
                let state = &mut states[key as usize];
                let (next, answer) = Registers::respond(state, &history.operations()[id.0].input);
                let is_lost = lose && rng.chance(1, 50);
                if !is_lost || rng.chance(1, 2) {
                    *state = next;
                }
                (!is_lost).then_some((id, key, Some(answer)))
            }
            Some((id, _, Some(answer))) => {
                history.returned(id, answer, now);
                None
            }
        };
    }
    history
}

/// Prints the work with `--nocapture`.
fn assert_easy(clients: usize, keys: u64, lose: bool) {
    for seed in 0..5 {
        let mut history = draw(seed, clients, keys, lose);
        let began = Instant::now();
        let found = check(&Registers, &history, Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
        let unknown = history.unknown();
        println!(
            "{clients} clients, {keys} keys, {unknown} unknown: {} units of work, {:?}",
            found.work,
            began.elapsed()
        );

        // A value that nobody wrote, at the end: nothing but going through everything before tells that.
        let now = 10 * OPERATIONS as u64;
        let id = history.invoke(99, Register::Read { key: 0 }, now);
        history.returned(id, Answer::Value(1_000), now + 1);
        let began = Instant::now();
        let failure = check(&Registers, &history, Options::default()).unwrap_err();
        println!("with a contradiction at the end: {:?}", began.elapsed());
        let Failure::NotLinearizable(window) = failure else { panic!("{failure}") };
        assert_eq!(window.fits_nowhere, id);
        assert!(window.rows.len() <= 24);
    }
}

#[test]
fn a_long_history_of_one_key_takes_little_work() {
    assert_easy(4, 1, false);
}

#[test]
fn unknown_outcomes_spread_over_keys_take_little_work() {
    assert_easy(8, 40, true);
}
