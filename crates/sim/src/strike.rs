//! A strike: one fault at one moment, with a generator of its own. What it hits and how hard is drawn from that generator alone,
//! so that a plan without one strike leaves all the others as they were.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A kind of fault that strikes at a moment, as opposed to what network and disk do all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// Two sides that cannot talk at all.
    Partition,
    /// One direction is cut, the other works.
    OneWay,
    /// Some pairs cannot talk, everybody talks to somebody.
    Partial,
    /// The leader is cut off from all others, or all but one, and goes on, perhaps with a disk that stands still.
    LeaderAlone,
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
    /// A process dies several times in a row, while it recovers or soon after.
    CrashLoop,
    /// A node applies slowly for a while.
    SlowApply,
    /// A monotonic clock jumps forward, after a silence as long or without one.
    ClockJump,
    /// A monotonic clock stands still for a while, and the node with it or not.
    ClockFreeze,
    /// A wall clock is set, forward or back, by up to years.
    WallJump,
    /// The state machine panics on one command, on every replica, until a better build is rolled out.
    PoisonCommand,
    /// The state machine panics on one replica, until that process is restarted.
    LonePanic,
    /// A process is started again with the name of another cluster, by mistake, which is then put right.
    WrongClusterId,
    /// A disk has no space for more, for a while.
    DiskFull,
    /// A bit of what a disk holds changes.
    BitRot,
    /// A sector of a disk cannot be read any more.
    BadSector,
    /// A disk says that it has written, and has not.
    PhantomWrite,
    /// A disk writes to another place than it was told.
    MisdirectedWrite,
    /// The operator puts an empty disk in the place of a voter's.
    WipedDisk,
    /// Packets above a size vanish between some, and small ones pass.
    MtuHole,
    /// A connection ends when the first frames of a long message have arrived and the rest has not.
    CutMessage,
    /// A process takes bytes off its links slowly.
    SlowReader,
    /// The attacker sends what is no datagram.
    Garbage,
    /// The attacker sends old datagrams again, as whoever said them or as others.
    ReplayedGossip,
    /// The attacker dials nodes, and proves nothing.
    HostileLinks,
    /// The attacker asks and asks, under an address that is not its own.
    Flood,
    /// A second cluster comes onto the network, or one of its nodes starts again, perhaps where one of ours was.
    Strangers,
}

impl FaultClass {
    /// Whether it may destroy what a disk holds: such a fault is for good.
    pub fn destroys(self) -> bool {
        use FaultClass::{BadSector, BitRot, MisdirectedWrite, PhantomWrite, WipedDisk};
        matches!(self, BitRot | BadSector | PhantomWrite | MisdirectedWrite | WipedDisk)
    }

    /// Whether it is the attacker who strikes.
    pub fn is_hostile(self) -> bool {
        use FaultClass::{Flood, Garbage, HostileLinks, ReplayedGossip};
        matches!(self, Garbage | ReplayedGossip | HostileLinks | Flood)
    }

    /// All classes: name, and the range of their mean interval in milliseconds.
    pub const ALL: &'static [(FaultClass, &'static str, u64, u64)] = &[
        (FaultClass::Partition, "partition", 2_000, 20_000),
        (FaultClass::OneWay, "one-way", 2_000, 20_000),
        (FaultClass::Partial, "partial", 2_000, 20_000),
        (FaultClass::LeaderAlone, "leader-alone", 4_000, 20_000),
        (FaultClass::Flapping, "flapping", 4_000, 30_000),
        (FaultClass::LinkBreak, "link-break", 200, 5_000),
        (FaultClass::Clog, "clog", 2_000, 20_000),
        (FaultClass::ProcessCrash, "process-crash", 1_500, 15_000),
        (FaultClass::PowerLoss, "power-loss", 1_500, 15_000),
        (FaultClass::ChainedCrash, "chained-crash", 2_000, 15_000),
        (FaultClass::Blackout, "blackout", 6_000, 30_000),
        (FaultClass::Pause, "pause", 2_000, 20_000),
        (FaultClass::SlowNode, "slow-node", 2_000, 20_000),
        (FaultClass::SlowDisk, "slow-disk", 2_000, 20_000),
        (FaultClass::SyncFailure, "sync-failure", 3_000, 20_000),
        (FaultClass::Stop, "stop", 3_000, 20_000),
        (FaultClass::CrashLoop, "crash-loop", 5_000, 30_000),
        (FaultClass::SlowApply, "slow-apply", 2_000, 20_000),
        (FaultClass::ClockJump, "clock-jump", 2_000, 20_000),
        (FaultClass::ClockFreeze, "clock-freeze", 2_000, 20_000),
        (FaultClass::WallJump, "wall-jump", 1_000, 20_000),
        (FaultClass::PoisonCommand, "poison-command", 10_000, 40_000),
        (FaultClass::LonePanic, "lone-panic", 4_000, 30_000),
        (FaultClass::WrongClusterId, "wrong-cluster-id", 4_000, 30_000),
        (FaultClass::DiskFull, "disk-full", 4_000, 20_000),
        (FaultClass::BitRot, "bit-rot", 2_000, 30_000),
        (FaultClass::BadSector, "bad-sector", 4_000, 30_000),
        (FaultClass::PhantomWrite, "phantom-write", 4_000, 30_000),
        (FaultClass::MisdirectedWrite, "misdirected-write", 4_000, 30_000),
        (FaultClass::WipedDisk, "wiped-disk", 6_000, 40_000),
        (FaultClass::MtuHole, "mtu-hole", 2_000, 20_000),
        (FaultClass::CutMessage, "cut-message", 500, 5_000),
        (FaultClass::SlowReader, "slow-reader", 2_000, 20_000),
        (FaultClass::Garbage, "garbage", 2_000, 20_000),
        (FaultClass::ReplayedGossip, "replayed-gossip", 2_000, 20_000),
        (FaultClass::HostileLinks, "hostile-links", 2_000, 20_000),
        (FaultClass::Flood, "flood", 8_000, 40_000),
        (FaultClass::Strangers, "strangers", 2_000, 12_000),
    ];
}

impl FaultClass {
    /// Its name in texts.
    pub fn name(self) -> &'static str {
        let named = FaultClass::ALL.iter().find(|(class, ..)| *class == self);
        named.map_or("unnamed", |(_, name, ..)| name)
    }
}

impl fmt::Display for FaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FaultClass {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = FaultClass::ALL.iter().find(|(_, name, ..)| *name == text);
        named.map(|(class, ..)| *class).ok_or_else(|| format!("there is no fault class named {text:?}"))
    }
}

/// One fault at one moment. As text: `12.345678 power-loss 1f2e`, seconds, class and generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// When, in virtual microseconds.
    pub at: u64,
    /// What.
    pub class: FaultClass,
    /// The seed of the generator that says where and how.
    pub rng_seed: u64,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Strike { at, class, rng_seed } = self;
        write!(f, "{}.{:06} {class} {rng_seed:x}", at / 1_000_000, at % 1_000_000)
    }
}

impl FromStr for Strike {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("a strike is `SECONDS.MICROSECONDS CLASS HEX`, not {text:?}");
        let words: Vec<&str> = text.split_whitespace().collect();
        let [at, class, rng_seed] = words[..] else { return Err(wrong()) };
        let (seconds, micros) = at.split_once('.').filter(|(_, micros)| micros.len() == 6).ok_or_else(wrong)?;
        let (seconds, micros): (u64, u64) =
            (seconds.parse().map_err(|_| wrong())?, micros.parse().map_err(|_| wrong())?);
        let at = seconds.checked_mul(1_000_000).and_then(|at| at.checked_add(micros)).ok_or_else(wrong)?;
        let rng_seed = u64::from_str_radix(rng_seed, 16).map_err(|_| wrong())?;
        Ok(Strike { at, class: class.parse()?, rng_seed })
    }
}

impl Serialize for Strike {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Strike {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_one_name_and_a_strike_reads_back() {
        for (class, name, ..) in FaultClass::ALL {
            assert_eq!(class.to_string().parse(), Ok(*class), "{name}");
            let strike = Strike { at: 12_000_345, class: *class, rng_seed: 0xabc };
            assert_eq!(strike.to_string(), format!("12.000345 {name} abc"));
            assert_eq!(strike.to_string().parse(), Ok(strike));
        }
    }

    #[test]
    fn what_is_no_strike_is_said() {
        for text in ["", "12 power-loss 1", "12.5 power-loss 1", "12.000000 thunder 1", "1.000000 stop xyz"] {
            assert!(text.parse::<Strike>().is_err(), "{text}");
        }
    }
}
