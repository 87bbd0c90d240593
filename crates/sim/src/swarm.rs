//! What kind of world a seed is: every fault class is on or off with even odds, every rate is drawn log-uniformly.
//!
//! A world with all faults at once shows few of them: the strong ones hide the weak. Swarm testing gives each seed another subset.

use std::time::Duration;

use slimcluster_core::random::Random;
use slimcluster_core::wire::Codec;

use crate::disk::DiskFaults;
use crate::network::NetworkFaults;

const MILLION: u64 = 1_000_000;

/// Everything that a seed decides before its first event. Times in virtual microseconds, probabilities in parts per million.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// How many nodes.
    pub nodes: usize,
    /// The codec of each node's frames.
    pub codecs: Vec<Codec>,
    /// When each node starts first.
    pub starts: Vec<u64>,
    /// The network while faults are on.
    pub network: NetworkFaults,
    /// Every disk while faults are on.
    pub disk: DiskFaults,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// Bytes of the log's tail that recovery keeps in memory.
    pub tail_bytes_max: usize,
    /// Bytes of recent runs that a node keeps in memory.
    pub cache_bytes_max: usize,
    /// Bytes of runs in one message.
    pub message_bytes_max: usize,
    /// Bytes handed to the state machine at once.
    pub apply_bytes_max: usize,
    /// The fault classes that are on.
    pub faults: Vec<(FaultClass, Rate)>,
    /// What a write to the disk takes: at least, and up to this much more.
    pub write_latency: (u64, u64),
    /// What a step of the event loop takes, at least.
    pub step: u64,
    /// What applying a slice takes.
    pub apply_latency: (u64, u64),
    /// Clients.
    pub clients: usize,
    /// Registers.
    pub keys: u64,
    /// Mean pause of a client between two operations.
    pub think: u64,
    /// Extra bytes in each command, at most.
    pub padding: u64,
    /// A restarted node takes a new address.
    pub new_address: u64,
    /// A start crashes while it recovers.
    pub recovery_crash: u64,
    /// The nodes know the names of all in advance.
    pub named: bool,
    /// The failure detector is quick.
    pub quick_swim: bool,
    /// There is no failure detector: the members are a fixed list of addresses.
    pub static_members: bool,
    /// How long a node stays down, at most.
    pub down: u64,
}

/// Mean time between two faults of a class.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub Duration);

/// A kind of fault that strikes at a moment, as opposed to what network and disk do all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// Two sides that cannot talk at all.
    Partition,
    /// One direction is cut, the other works.
    OneWay,
    /// Some pairs cannot talk, everybody talks to somebody.
    Partial,
    /// A pair that loses and finds each other several times a second.
    Flapping,
    /// A connection ends, for one side or both.
    LinkBreak,
    /// The network clogs: every packet takes long.
    Clog,
    /// A process ends; what it wrote stays, synced or not.
    ProcessCrash,
    /// A machine loses power; what it had not synced is gone, or some of it.
    PowerLoss,
    /// A process ends with unsynced pages, starts, works, then loses power (rule 1).
    ChainedCrash,
    /// Every machine loses power at once.
    Blackout,
    /// A process stands still while its disk goes on.
    Pause,
    /// A node computes slowly for a while.
    SlowNode,
    /// A disk is slow for a while, or stands still.
    SlowDisk,
    /// A sync fails once.
    SyncFailure,
    /// A process is told to stop, stops in order, and starts again.
    Stop,
}

impl FaultClass {
    /// All classes, with the range of their mean interval in milliseconds.
    const ALL: [(FaultClass, u64, u64); 15] = [
        (FaultClass::Partition, 2_000, 20_000),
        (FaultClass::OneWay, 2_000, 20_000),
        (FaultClass::Partial, 2_000, 20_000),
        (FaultClass::Flapping, 4_000, 30_000),
        (FaultClass::LinkBreak, 200, 5_000),
        (FaultClass::Clog, 2_000, 20_000),
        (FaultClass::ProcessCrash, 1_500, 15_000),
        (FaultClass::PowerLoss, 1_500, 15_000),
        (FaultClass::ChainedCrash, 2_000, 15_000),
        (FaultClass::Blackout, 6_000, 30_000),
        (FaultClass::Pause, 2_000, 20_000),
        (FaultClass::SlowNode, 2_000, 20_000),
        (FaultClass::SlowDisk, 2_000, 20_000),
        (FaultClass::SyncFailure, 3_000, 20_000),
        (FaultClass::Stop, 3_000, 20_000),
    ];
}

impl Swarm {
    /// The world of a seed.
    pub fn draw(rng: &mut Random) -> Self {
        let nodes = match rng.below(20) {
            0 => 1,
            1 => 2,
            2..=12 => 3,
            _ => 5,
        };
        let codecs = draw_codecs(rng, nodes);
        let late = rng.chance(1, 4);
        let starts = (0..nodes).map(|_| rng.below(if late { 15 * MILLION } else { MILLION })).collect();
        let faults = FaultClass::ALL
            .iter()
            .filter_map(|(class, low, high)| {
                let rate = Rate(Duration::from_millis(log_uniform(rng, *low, *high)));
                rng.chance(1, 2).then_some((*class, rate))
            })
            .collect();
        Swarm {
            nodes,
            codecs,
            starts,
            network: draw_network(rng),
            disk: DiskFaults {
                short: on(rng, 1_000, 200_000),
                interrupted: on(rng, 1_000, 100_000),
                sync_failure: 0,
                write_back: on(rng, 10_000, 500_000),
            },
            segment_bytes: (16 * 1024) << rng.below(4),
            tail_bytes_max: log_uniform(rng, 256, 64 * 1024) as usize,
            cache_bytes_max: log_uniform(rng, 1024, 256 * 1024) as usize,
            message_bytes_max: log_uniform(rng, 256, 64 * 1024) as usize,
            apply_bytes_max: log_uniform(rng, 256, 64 * 1024) as usize,
            faults,
            write_latency: (log_uniform(rng, 50, 3_000), log_uniform(rng, 50, 10_000)),
            step: log_uniform(rng, 1, 200),
            apply_latency: (log_uniform(rng, 1, 500), log_uniform(rng, 1, 3_000)),
            clients: 4 + rng.below(9) as usize,
            keys: 1 + rng.below(4),
            think: log_uniform(rng, 20_000, 120_000),
            padding: on(rng, 16, 2_048),
            new_address: on(rng, 100_000, MILLION),
            quick_swim: rng.chance(1, 2),
            named: rng.chance(1, 8),
            static_members: rng.chance(1, 8),
            recovery_crash: on(rng, 50_000, 700_000),
            down: log_uniform(rng, 100_000, 5_000_000),
        }
    }
}

/// Both codecs talk in one cluster in some worlds.
fn draw_codecs(rng: &mut Random, nodes: usize) -> Vec<Codec> {
    let kind = rng.below(8);
    let codec = |rng: &mut Random| match kind {
        0 => Codec::Json,
        1 if rng.chance(1, 2) => Codec::Json,
        _ => Codec::Protobuf,
    };
    (0..nodes).map(|_| codec(rng)).collect()
}

fn draw_network(rng: &mut Random) -> NetworkFaults {
    NetworkFaults {
        latency: log_uniform(rng, 50, 5_000),
        jitter: log_uniform(rng, 50, 10_000),
        tail: on(rng, 1_000, 50_000),
        tail_latency: log_uniform(rng, 10_000, 1_000_000),
        loss: on(rng, 1_000, 300_000),
        duplicate: on(rng, 1_000, 300_000),
        duplicate_latency: log_uniform(rng, 1_000, 8_000_000),
        corrupt: on(rng, 100, 10_000),
        black_hole: on(rng, 10_000, 300_000),
        unreliable_streams: rng.chance(1, 4),
        stall_max: log_uniform(rng, 500_000, 8_000_000),
    }
}

/// A rate that is 0 in every other world.
fn on(rng: &mut Random, low: u64, high: u64) -> u64 {
    let rate = log_uniform(rng, low, high);
    if rng.chance(1, 2) { rate } else { 0 }
}

/// Uniform in the number of digits between `low` and `high`. In whole numbers: the logarithm of one platform is not that of another.
pub fn log_uniform(rng: &mut Random, low: u64, high: u64) -> u64 {
    let doublings = (high / low.max(1)).max(1).ilog2() + 1;
    let floor = low << rng.below(u64::from(doublings));
    (floor + rng.below(floor)).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_uniform_stays_in_its_range_and_covers_it() {
        let mut rng = Random::new(1);
        let drawn: Vec<u64> = (0..1000).map(|_| log_uniform(&mut rng, 100, 10_000)).collect();
        assert!(drawn.iter().all(|value| (100..=10_000).contains(value)));
        assert!(drawn.iter().any(|value| *value < 200) && drawn.iter().any(|value| *value > 8_000));
    }

    #[test]
    fn worlds_differ_and_the_same_seed_is_the_same_world() {
        let draw = |rng_seed| format!("{:?}", Swarm::draw(&mut Random::new(rng_seed)));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
