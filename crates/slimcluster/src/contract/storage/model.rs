//! Histories that nobody thought of: random changes, compared with a plain list of runs.

use slimcluster_core::random::Random;
use slimcluster_core::storage::Write;
use slimcluster_core::{Index, Term};

use super::suite::Bench;
use super::trial::{Trial, random_commands};
use crate::Durability;
use crate::contract::case::{Breach, Verdict, breach};

pub(super) fn random_histories(bench: &Bench) -> Verdict {
    let mut random = Random::new(bench.seed);
    for history in 0..HISTORIES {
        let mut trial = Trial::new(bench, &format!("random_histories_{history}"))?;
        for step in 0..STEPS {
            advance(bench, &mut trial, &mut random).map_err(|Breach { expected, seen }| {
                breach(expected, format!("{seen}, in step {step} of history {history} of seed {}", bench.seed))
            })?;
        }
    }
    Ok(())
}

fn advance(bench: &Bench, trial: &mut Trial, random: &mut Random) -> Verdict {
    match random.below(12) {
        0..=5 => {
            let mut batch = Vec::new();
            for _ in 0..=random.below(4) {
                batch.push(random_write(trial, random)?);
            }
            trial.write(&batch)
        }
        6 | 7 => random_fetch(trial, random),
        8 => trial.writer()?.prepare().map_err(|error| breach("prepare succeeds", error)),
        9 if trial.writer()?.needs_idle() => trial.writer()?.idle().map_err(|error| breach("idle succeeds", error)),
        10 if bench.durability == Durability::Fsync && random.chance(1, 3) => trial.restart(),
        _ => trial.check_log(),
    }
}

/// A run at the end or, now and then, anywhere; now and then with a hard state, or a hard state alone.
fn random_write(trial: &mut Trial, random: &mut Random) -> Result<Write, Breach> {
    let term = trial.expected.hard_state.term.0 + random.below(3);
    let hard_state = random.chance(1, 4).then(|| trial.voting(term, random.chance(1, 2).then_some(9)));
    if let Some(write) = &hard_state
        && random.chance(1, 3)
    {
        return Ok(write.clone());
    }
    let commands = random_commands(random);
    let commands: Vec<&[u8]> = commands.iter().map(|command| &command[..]).collect();
    let last = trial.expected.log.last();
    let run = if last.index > Index(0) && random.chance(1, 5) {
        // Near the end as a rule, as elections cut.
        let back = if random.chance(1, 4) { random.below(last.index.0) } else { random.below(last.index.0.min(6)) };
        trial.expected.run_at(Index(last.index.0 - back), last.term.next(), &commands)?
    } else {
        let term = last.term.max(Term(1));
        trial.expected.run_at(last.index.next(), term, &commands)?
    };
    let write = trial.splicing(run)?;
    Ok(Write { hard_state: hard_state.and_then(|write| write.hard_state), ..write })
}

/// A fetch of any range that begins in the log; what it gives is judged by the trial.
fn random_fetch(trial: &Trial, random: &mut Random) -> Verdict {
    let end = trial.expected.log.last().index.0;
    if end == 0 {
        return Ok(());
    }
    let first = 1 + random.below(end);
    let last = first + random.below(end);
    trial.fetch(Index(first), Index(last), random.below(5000) as usize).map(drop)
}

const HISTORIES: u64 = 8;
const STEPS: u64 = 60;
