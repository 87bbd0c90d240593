//! What kind of world a seed is: every fault class is on or off, with the odds of the world, every rate is drawn log-uniformly.
//!
//! A world with all faults at once shows few of them: the strong ones hide the weak. Swarm testing gives each seed another subset.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use slimcluster_core::random::Random;
use slimcluster_core::wire::Codec;

use crate::budget::Budget;
use crate::disk::DiskFaults;
use crate::gossip::Act;
use crate::network::NetworkFaults;
use crate::strike::FaultClass;
use crate::trouble::Breakage;

const MILLION: u64 = 1_000_000;
const SECOND: u64 = 1_000_000;
const YEAR: u64 = 365 * 24 * 3_600 * SECOND;

/// A bound that keeps addresses and bit sets simple; clusters of more voters gain nothing.
pub const NODES_MAX: usize = 9;

/// Members of a world of SWIM alone. More of them show nothing that forty do not, and cost the square.
const MEMBERS_MAX: usize = 40;
/// Acts of such a world.
const ACTS_MAX: usize = 100;

/// A family of worlds. Most seeds are general; the others give room to what a mixture of everything would hide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Anything, with a load.
    General,
    /// Much goes wrong while the cluster is formed, and promises are given up soon.
    Formation,
    /// Disks that lose what they were given, on a minority of the nodes.
    Damage,
    /// Disks that lose what they were given, on a quorum: the cluster may stop, and must be safe.
    Ruin,
    /// Processes die young and are back at once, on a slow network: what was meant for one finds the next.
    Churn,
    /// SWIM alone, one disturbance after the other, or many at once.
    Gossip,
}

impl Profile {
    /// All profiles: name, and weight in percent.
    pub const ALL: &'static [(Profile, &'static str, u64)] = &[
        (Profile::General, "general", 66),
        (Profile::Formation, "formation", 8),
        (Profile::Damage, "damage", 10),
        (Profile::Ruin, "ruin", 4),
        (Profile::Churn, "churn", 4),
        (Profile::Gossip, "gossip", 8),
    ];

    /// A profile by its weight.
    pub fn draw(rng: &mut Random) -> Self {
        let mut drawn = rng.below(Profile::ALL.iter().map(|(.., weight)| weight).sum());
        for (profile, _, weight) in Profile::ALL {
            if drawn < *weight {
                return *profile;
            }
            drawn -= weight;
        }
        Profile::General
    }

    /// Its name in texts.
    pub fn name(self) -> &'static str {
        let named = Profile::ALL.iter().find(|(profile, ..)| *profile == self);
        named.map_or("unnamed", |(_, name, _)| name)
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Profile::ALL.iter().find(|(_, name, _)| *name == text);
        named.map(|(profile, ..)| *profile).ok_or_else(|| {
            let names: Vec<_> = Profile::ALL.iter().map(|(_, name, _)| *name).collect();
            format!("there is no profile named {text:?}, only {}", names.join(", "))
        })
    }
}

/// Knobs of a world. Times in virtual microseconds, probabilities in parts per million.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Swarm {
    /// How many nodes.
    pub nodes: usize,
    /// How long the faults last.
    pub faults_for: u64,
    /// The codec of each node's frames; protobuf where none is named.
    #[serde(with = "codec_names")]
    pub codecs: Vec<Codec>,
    /// When each node starts first; at once where nothing is said.
    pub starts: Vec<u64>,
    /// Nothing goes wrong until all nodes know that the cluster is formed.
    pub forms_first: bool,
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
    /// Bytes that a leader takes in ahead of what is committed.
    pub uncommitted_bytes_max: usize,
    /// Messages with runs that a leader sends to a peer ahead of its answers.
    pub inflight_messages_max: usize,
    /// Reads that wait for a round of the leader.
    pub reads_max: usize,
    /// Bytes of commands that a node has on their way.
    pub pending_bytes_max: usize,
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
    /// A command of a client is longer than a frame.
    pub long_command: u64,
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
    /// So many places may lose what their disks hold.
    pub destroyed_max: usize,
    /// How far the monotonic clocks are from the world's speed, at most, in parts per million.
    pub clock_drift: u64,
    /// The steps in which the monotonic clocks move, at most.
    pub clock_grain: u64,
    /// How far the wall clocks are from the right time, at most.
    pub wall_apart: u64,
    /// How nodes are broken for good while a majority must go on: so many of them, at most a minority.
    pub broken: Vec<Breakage>,
    /// How long a node waits for those with whom it has promised to form a cluster, before it gives the promise up.
    pub release: u64,
    /// So many members of SWIM alone, and nothing else; none: a world with consensus.
    pub members: usize,
    /// What disturbs those members, one after the other.
    pub acts: Vec<Act>,
    /// Those members suspect somebody twice as long.
    pub patient_swim: bool,
}

impl Swarm {
    /// Three nodes, no faults, everything quick: what the text of a plan is compared with.
    pub fn calm() -> Self {
        Swarm {
            nodes: 3,
            faults_for: 45 * SECOND,
            codecs: Vec::new(),
            starts: Vec::new(),
            forms_first: false,
            network: NetworkFaults::HEALTHY,
            disk: DiskFaults::default(),
            segment_bytes: 64 * 1024,
            tail_bytes_max: 64 * 1024,
            cache_bytes_max: 256 * 1024,
            message_bytes_max: 64 * 1024,
            apply_bytes_max: 64 * 1024,
            uncommitted_bytes_max: 64 << 20,
            inflight_messages_max: 64,
            reads_max: 1 << 16,
            pending_bytes_max: 64 << 20,
            write_latency: (200, 200),
            step: 10,
            apply_latency: (10, 10),
            clients: 4,
            keys: 1,
            think: 50_000,
            padding: 0,
            long_command: 0,
            new_address: 0,
            recovery_crash: 0,
            named: false,
            quick_swim: false,
            static_members: false,
            down: SECOND,
            destroyed_max: 0,
            clock_drift: 0,
            clock_grain: 1,
            wall_apart: 0,
            broken: Vec::new(),
            release: 30 * SECOND,
            members: 0,
            acts: Vec::new(),
            patient_swim: false,
        }
    }

    /// A world of `profile`.
    pub fn draw(rng: &mut Random, profile: Profile) -> Self {
        match profile {
            Profile::Formation => Swarm::draw_formation(rng),
            Profile::General | Profile::Damage => Swarm::draw_general(rng),
            Profile::Ruin => {
                let swarm = Swarm::draw_general(rng);
                // All but one.
                Swarm { destroyed_max: swarm.nodes.saturating_sub(1), ..swarm }
            }
            Profile::Churn => Swarm::draw_churn(rng),
            Profile::Gossip => Swarm::draw_gossip(rng),
        }
    }

    /// Whether such a world can be; else why not.
    pub fn check(&self) -> Result<(), String> {
        let checks = [
            (self.nodes == 0 || self.nodes > NODES_MAX, format!("{} nodes, 1 to {NODES_MAX} can be", self.nodes)),
            (self.segment_bytes < 4096, format!("segments of {} bytes, 4096 is the least", self.segment_bytes)),
            (self.clients > 1_000, format!("{} clients, 1000 is the most", self.clients)),
            (self.members > MEMBERS_MAX, format!("{} members, {MEMBERS_MAX} is the most", self.members)),
            (self.acts.len() > ACTS_MAX, format!("{} acts, {ACTS_MAX} is the most", self.acts.len())),
            (self.keys == 0, "no registers".to_owned()),
            (self.faults_for > 3_600 * SECOND, format!("faults for {} us, an hour is the most", self.faults_for)),
        ];
        checks.into_iter().find(|(wrong, _)| *wrong).map_or(Ok(()), |(_, text)| Err(text))
    }

    fn draw_formation(rng: &mut Random) -> Self {
        let general = Swarm::draw_general(rng);
        let starts = (0..general.nodes).map(|_| rng.below(3 * SECOND)).collect();
        Swarm { starts, forms_first: false, release: log_uniform(rng, SECOND / 4, 4 * SECOND), ..general }
    }

    fn draw_general(rng: &mut Random) -> Self {
        let nodes = match rng.below(20) {
            0 => 1,
            1 => 2,
            2..=12 => 3,
            13 => 4,
            14..=16 => 5,
            17 => 6,
            _ => 7,
        };
        let codecs = draw_codecs(rng, nodes);
        let (forms_first, late) = (rng.chance(7, 8), rng.chance(1, 4));
        let apart = match (forms_first, late) {
            (_, false) => SECOND,
            // Whoever waits for the last one waits for nothing else.
            (true, true) => 4 * SECOND,
            (false, true) => 15 * SECOND,
        };
        let starts = (0..nodes).map(|_| rng.below(apart)).collect();
        let network = draw_network(rng);
        Swarm {
            nodes,
            faults_for: 45 * SECOND,
            codecs,
            starts,
            forms_first,
            network,
            disk: DiskFaults {
                short: on(rng, 1_000, 200_000),
                interrupted: on(rng, 1_000, 100_000),
                sync_failure: 0,
                write_back: on(rng, 10_000, 500_000),
            },
            segment_bytes: (8 * 1024) << rng.below(5),
            tail_bytes_max: log_uniform(rng, 256, 64 * 1024) as usize,
            cache_bytes_max: log_uniform(rng, 1024, 256 * 1024) as usize,
            message_bytes_max: log_uniform(rng, 256, 64 * 1024) as usize,
            // A room of less means a replay of entry by entry, which shows once what it shows.
            apply_bytes_max: log_uniform(rng, 1024, 64 * 1024) as usize,
            uncommitted_bytes_max: small(rng, 4 * 1024, 64 * 1024, 64 << 20),
            inflight_messages_max: small(rng, 1, 8, 64),
            reads_max: small(rng, 2, 16, 1 << 16),
            pending_bytes_max: small(rng, 4 * 1024, 64 * 1024, 64 << 20),
            write_latency: (log_uniform(rng, 50, 3_000), log_uniform(rng, 50, 10_000)),
            step: log_uniform(rng, 1, 200),
            apply_latency: (log_uniform(rng, 1, 500), log_uniform(rng, 1, 3_000)),
            clients: 4 + rng.below(9) as usize,
            keys: 1 + rng.below(4),
            think: log_uniform(rng, 40_000, 200_000),
            padding: on(rng, 16, 2_048),
            // Its frames must come in order: a stream that mixes those of two messages is none that any transport has.
            long_command: if rng.chance(1, 4) && !network.unreliable_streams {
                log_uniform(rng, 2_000, 50_000)
            } else {
                0
            },
            new_address: on(rng, 100_000, MILLION),
            quick_swim: rng.chance(1, 2),
            named: rng.chance(1, 8),
            static_members: rng.chance(1, 8),
            recovery_crash: on(rng, 50_000, 700_000),
            down: log_uniform(rng, 100_000, 5_000_000),
            destroyed_max: Budget::minority(nodes),
            clock_drift: on(rng, 100, 200_000),
            clock_grain: if rng.chance(1, 4) { log_uniform(rng, 10, 10_000) } else { 1 },
            wall_apart: on(rng, SECOND, 10 * YEAR),
            broken: draw_broken(rng, nodes),
            release: if rng.chance(1, 4) { log_uniform(rng, SECOND, 10 * SECOND) } else { 30 * SECOND },
            members: 0,
            acts: Vec::new(),
            patient_swim: false,
        }
    }

    fn draw_churn(rng: &mut Random) -> Self {
        let general = Swarm::draw_general(rng);
        let network = NetworkFaults {
            latency: log_uniform(rng, 2_000, 40_000),
            jitter: log_uniform(rng, 1_000, 20_000),
            ..general.network
        };
        Swarm {
            network,
            clients: 8 + rng.below(5) as usize,
            think: log_uniform(rng, 10_000, 30_000),
            down: log_uniform(rng, 1_000, 100_000),
            new_address: 0,
            recovery_crash: 0,
            // To catch up one entry per round trip would take longer than anybody waits.
            message_bytes_max: 64 * 1024,
            cache_bytes_max: 256 * 1024,
            ..general
        }
    }

    fn draw_gossip(rng: &mut Random) -> Self {
        let members = 1 + log_uniform(rng, 2, MEMBERS_MAX as u64 - 1) as usize;
        let quick_swim = rng.chance(1, 4);
        let loses = !quick_swim && rng.chance(1, 2);
        let acts = 2 + rng.below(4);
        Swarm {
            codecs: draw_codecs(rng, members + 1 + acts as usize),
            network: NetworkFaults {
                latency: log_uniform(rng, 50, 2_000),
                jitter: log_uniform(rng, 50, 5_000),
                loss: if loses { log_uniform(rng, 1_000, 90_000) } else { 0 },
                corrupt: if loses { on(rng, 100, 10_000) } else { 0 },
                duplicate: on(rng, 1_000, 300_000),
                duplicate_latency: log_uniform(rng, 1_000, 60_000_000),
                ..NetworkFaults::HEALTHY
            },
            quick_swim,
            members,
            acts: (0..acts).map(|_| Act::draw(rng)).collect(),
            patient_swim: rng.chance(1, 3),
            ..Swarm::calm()
        }
    }
}

impl Default for Swarm {
    fn default() -> Self {
        Swarm::calm()
    }
}

/// The odds that a class of faults is on, one in so many, of a world: where most of them are, little work is done between them, and
/// what only goes wrong in the middle of work is not seen.
pub fn draw_odds(rng: &mut Random) -> u64 {
    2 << rng.below(3)
}

/// The fault classes that are on: one in `odds` of them.
///
/// What destroys is rarer in general: a place that it has hit takes no further part.
pub fn draw_class(rng: &mut Random, class: FaultClass, profile: Profile, odds: u64) -> bool {
    match profile {
        Profile::Gossip => false,
        Profile::Churn => class == FaultClass::ProcessCrash || !class.destroys() && rng.chance(1, 8),
        Profile::General if class.destroys() => rng.chance(1, 16),
        // Most worlds are among themselves.
        _ if class.is_hostile() => rng.chance(1, 4),
        // It is a cluster more to simulate.
        _ if class == FaultClass::Strangers => rng.chance(1, 6),
        // It stops every replica for a while, and with it the load that shows the other faults.
        _ if class == FaultClass::PoisonCommand => rng.chance(1, 6),
        // What these are about is on in every other world of theirs.
        Profile::Damage | Profile::Ruin if class.destroys() => rng.chance(1, 2),
        Profile::General | Profile::Formation | Profile::Damage | Profile::Ruin => rng.chance(1, odds),
    }
}

/// Codecs as a list of names.
mod codec_names {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use slimcluster_core::wire::Codec;

    pub(super) fn serialize<S: Serializer>(codecs: &[Codec], serializer: S) -> Result<S::Ok, S::Error> {
        let name = |codec: &Codec| if *codec == Codec::Json { "json" } else { "protobuf" };
        codecs.iter().map(name).collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Codec>, D::Error> {
        let codec = |name: String| match name.as_str() {
            "json" => Ok(Codec::Json),
            "protobuf" => Ok(Codec::Protobuf),
            other => Err(serde::de::Error::custom(format!("there is no codec named {other:?}"))),
        };
        Vec::<String>::deserialize(deserializer)?.into_iter().map(codec).collect()
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

/// A minority is broken for good in most worlds.
fn draw_broken(rng: &mut Random, nodes: usize) -> Vec<Breakage> {
    let minority = (nodes - 1) / 2;
    let count = if rng.chance(3, 4) { minority } else { rng.below(minority as u64 + 1) as usize };
    let breakage = |rng: &mut Random| {
        // Only this one shows that a follower in contact with its leader stands by it.
        let contact = rng.chance(1, 6).then_some(Breakage::CutFromLeader);
        contact.or_else(|| rng.pick(Breakage::ALL).copied())
    };
    (0..count).filter_map(|_| breakage(rng)).collect()
}

fn draw_network(rng: &mut Random) -> NetworkFaults {
    NetworkFaults {
        latency: log_uniform(rng, 50, 5_000),
        jitter: log_uniform(rng, 50, 10_000),
        tail: on(rng, 1_000, 50_000),
        tail_latency: log_uniform(rng, 10_000, 1_000_000),
        loss: on(rng, 1_000, 500_000),
        duplicate: on(rng, 1_000, 500_000),
        duplicate_latency: log_uniform(rng, 1_000, 8_000_000),
        corrupt: on(rng, 100, 10_000),
        black_hole: on(rng, 10_000, 300_000),
        unreliable_streams: rng.chance(1, 4),
        stall_max: log_uniform(rng, 500_000, 8_000_000),
        silent_accept: on(rng, 10_000, 300_000),
        holes: if rng.chance(1, 4) { log_uniform(rng, 20_000, 400_000) } else { 0 },
        hole_bytes: log_uniform(rng, 256, 4_096),
    }
}

/// A rate that is 0 in every other world.
fn on(rng: &mut Random, low: u64, high: u64) -> u64 {
    let rate = log_uniform(rng, low, high);
    if rng.chance(1, 2) { rate } else { 0 }
}

/// A bound as it is by default, or in one world of four one that is reached.
fn small(rng: &mut Random, low: u64, high: u64, default: usize) -> usize {
    let small = log_uniform(rng, low, high) as usize;
    if rng.chance(1, 4) { small } else { default }
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
        let draw = |rng_seed| format!("{:?}", Swarm::draw(&mut Random::new(rng_seed), Profile::General));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
