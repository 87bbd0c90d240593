//! Plans of the simulator: a world drawn from a seed, and the strikes that the input names. So coverage leads the search through faults.

use slimcluster_sim::plan::Plan;
use slimcluster_sim::run::run_plan;
use slimcluster_sim::strike::{FaultClass, Strike};
use slimcluster_sim::world::RunOptions;

use crate::allocations;
use crate::draw::Draw;

/// Virtual microseconds with faults: short, since the number of runs counts more than their length.
const FAULTS_FOR: u64 = 5_000_000;
const STRIKES_MAX: usize = 64;

/// A run of the plan: everything that the simulator checks holds.
pub fn run(bytes: &[u8]) {
    let plan = draw_plan(&mut Draw::new(bytes));
    // Up to seven nodes with their disks, caches and logs.
    let outcome = allocations::within(512 << 20, "a world", || run_plan(&plan, RunOptions::default()));
    if let Err(failure) = outcome {
        panic!("{failure}\n{}", plan.to_text("found by fuzzing"));
    }
}

fn draw_plan(draw: &mut Draw<'_>) -> Plan {
    // A seed is another world altogether. Two bytes give enough of them, and leave the rest of the input to the strikes.
    let mut plan = Plan::draw(u64::from(draw.u16()), None);
    plan.swarm.faults_for = FAULTS_FOR;
    for start in &mut plan.swarm.starts {
        *start %= FAULTS_FOR / 4;
    }
    // A little load is enough to be lost, doubled or read stale, and leaves time for more runs.
    (plan.swarm.clients, plan.swarm.think) = (2, 200_000);
    plan.strikes.clear();
    let mut at = 0;
    while !draw.is_empty() && plan.strikes.len() < STRIKES_MAX {
        // Steps of a millisecond up to some seconds, mostly short.
        at += 1_000 * (u64::from(draw.u8()) + 1) * if draw.one_in(8) { 16 } else { 1 };
        if at >= FAULTS_FOR {
            break;
        }
        let (class, ..) = FaultClass::ALL[draw.below(FaultClass::ALL.len())];
        plan.strikes.push(Strike { at, class, rng_seed: u64::from(draw.u8()) });
    }
    plan
}
