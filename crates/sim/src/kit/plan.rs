//! The world of a user's seed: sizes and timings as our own seeds draw them, faults of the families that were asked for.

use crate::kit::faults::{Fault, Faults};
use crate::network::NetworkFaults;
use crate::plan::Plan;
use crate::strike::Strike;
use crate::swarm::{Profile, Swarm};

/// What a user chose.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) nodes: usize,
    pub(super) faults: Faults,
    pub(super) clients: usize,
    /// How long the faults last, in virtual microseconds.
    pub(super) faults_for: u64,
}

/// The plan of `seed`. Only what is named here is drawn; whatever else a world may have stays calm.
pub(super) fn draw(seed: u64, choice: &Choice) -> Plan {
    let Plan { swarm: drawn, strikes, .. } = Plan::draw(seed, Some(Profile::General));
    let calm = Swarm::calm();
    let [crashes, clocks] = [Fault::Crashes, Fault::Clocks].map(|fault| choice.faults.contains(fault));
    let swarm = Swarm {
        nodes: choice.nodes,
        clients: choice.clients,
        faults_for: choice.faults_for,
        forms_first: true,
        network: if choice.faults.contains(Fault::Network) { drawn.network } else { NetworkFaults::HEALTHY },
        disk: if choice.faults.contains(Fault::Disks) { drawn.disk } else { calm.disk },
        recovery_crash: if crashes { drawn.recovery_crash } else { 0 },
        new_address: if crashes { drawn.new_address } else { 0 },
        clock_drift: if clocks { drawn.clock_drift } else { calm.clock_drift },
        clock_grain: if clocks { drawn.clock_grain } else { calm.clock_grain },
        wall_apart: if clocks { drawn.wall_apart } else { calm.wall_apart },
        down: drawn.down,
        segment_bytes: drawn.segment_bytes,
        tail_bytes_max: drawn.tail_bytes_max,
        cache_bytes_max: drawn.cache_bytes_max,
        message_bytes_max: drawn.message_bytes_max,
        apply_bytes_max: drawn.apply_bytes_max,
        write_latency: drawn.write_latency,
        step: drawn.step,
        apply_latency: drawn.apply_latency,
        think: drawn.think,
        ..calm
    };
    let strikes = strikes.into_iter().filter(|strike| choice.faults.allows(strike.class));
    Plan { seed, strikes: spread(strikes.collect(), drawn.faults_for, choice.faults_for), swarm }
}

/// Strikes that were drawn for `drawn_for`, over a time that is shorter, or longer: then the pattern comes again, and as each strike is
/// a fault at whatever the world is by then, it is another story each time.
fn spread(strikes: Vec<Strike>, drawn_for: u64, faults_for: u64) -> Vec<Strike> {
    let rounds = faults_for.div_ceil(drawn_for.max(1));
    let again = |round: u64| {
        let at = move |strike: &Strike| Strike { at: strike.at + round * drawn_for, ..*strike };
        strikes.iter().map(at).collect::<Vec<_>>()
    };
    (0..rounds).flat_map(again).filter(|strike| strike.at < faults_for).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(faults: Faults, seconds: u64) -> Choice {
        Choice { nodes: 3, faults, clients: 4, faults_for: seconds * 1_000_000 }
    }

    #[test]
    fn strikes_are_of_the_chosen_families_and_fill_the_time() {
        let count = |faults: Faults, seconds| -> usize {
            (0..50).map(|seed| draw(seed, &choice(faults.clone(), seconds)).strikes.len()).sum()
        };
        assert_eq!(count(Faults::none(), 45), 0);
        let (all, pauses) = (count(Faults::all(), 45), count(Faults::only([Fault::Pauses]), 45));
        assert!(0 < pauses && pauses < all / 2, "{pauses} of {all}");
        assert!(count(Faults::all(), 450) >= 10 * all && count(Faults::all(), 9) < all / 3);
    }

    #[test]
    fn every_plan_is_a_world_that_can_be() {
        for seed in 0..50 {
            draw(seed, &choice(Faults::all(), 10)).check().unwrap();
        }
    }
}
