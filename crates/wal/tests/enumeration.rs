//! Crash-state enumeration: at least a million states that a crash may leave, each opened and checked.

mod support;

use std::time::Instant;

use slimcluster_core::random::Random;
use support::enumeration::{Trace, explore};
use support::ops::{Op, SEGMENT};
use support::options;

/// So many states are looked at, at the least.
const STATES_MIN: u64 = 1_000_000;

/// So many of them differ: a million copies of a few would show little.
const DISTINCT_MIN: usize = 300_000;

/// Longer traces: so many of six steps in one life, as many in two, and as many with a crash of the recovery from a crash.
const LONG_TRACES: usize = 150;

#[test]
fn every_crash_state_holds_what_was_acknowledged() {
    let began = Instant::now();
    let traces = traces();
    let explored = explore(&options(SEGMENT), &traces).unwrap_or_else(|violation| panic!("{violation}"));
    println!(
        "{} crash states, {} of them distinct, of {} traces, at most {} pieces undecided: {:.1} s",
        explored.states,
        explored.distinct.len(),
        traces.len(),
        explored.width_max,
        began.elapsed().as_secs_f64()
    );
    assert!(explored.states >= STATES_MIN, "{} states", explored.states);
    assert!(explored.distinct.len() >= DISTINCT_MIN, "{} distinct states", explored.distinct.len());
}

/// All traces of up to three steps, those of two with a crash in between too, and some of the longer ones.
fn traces() -> Vec<Trace> {
    // How a store is made, how it is opened, and the widest batch that is crashed: eight pieces undecided.
    let mut traces: Vec<Trace> = vec![vec![], vec![vec![]], vec![vec![Op::Flood]]];
    for one in Op::ALL {
        traces.push(vec![vec![one]]);
        traces.push(vec![vec![one], vec![]]);
        for two in Op::ALL {
            traces.push(vec![vec![one, two]]);
            traces.push(vec![vec![one], vec![two]]);
            traces.push(vec![vec![one, two], vec![]]);
            traces.extend(Op::ALL.map(|three| vec![vec![one, two, three]]));
        }
    }
    let mut random = Random::new(1);
    for _ in 0..LONG_TRACES {
        let mut op = || Op::ALL[random.below(Op::ALL.len() as u64) as usize];
        let ops = [op(), op(), op(), op(), op(), op()];
        traces.push(vec![ops.to_vec()]);
        traces.push(vec![ops[..3].to_vec(), ops[3..].to_vec()]);
        traces.push(vec![ops[..2].to_vec(), vec![], ops[2..3].to_vec()]);
    }
    traces
}
