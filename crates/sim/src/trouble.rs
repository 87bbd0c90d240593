//! What is wrong at a place for the time being, and what is broken there for good while a majority must go on.

use serde::{Deserialize, Serialize};

/// Later than any run ends.
pub const FOREVER: u64 = 1 << 60;

/// What is wrong at a place for the time being. Nothing, by default; times are virtual microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Steps of the event loop take longer until then.
    pub slow_until: u64,
    /// Writes take longer until then.
    pub slow_disk_until: u64,
    /// Writes that begin before then end then.
    pub stuck_disk_until: u64,
    /// Slices of apply take longer until then.
    pub slow_apply_until: u64,
    /// Where the process dies next.
    pub crash: Option<PlannedCrash>,
    /// So many of the next starts die while they recover or soon after.
    pub crash_loop: u32,
    /// After its next start the machine loses power.
    pub power_loss_after_start: bool,
    /// The next start names another cluster.
    pub wrong_cluster_id: bool,
    /// Nobody starts the process.
    pub is_held_down: bool,
}

impl Trouble {
    /// Whether disk, processor or apply are slow at `now`.
    pub fn is_slow(&self, now: u64) -> bool {
        [self.slow_until, self.slow_disk_until, self.stuck_disk_until, self.slow_apply_until]
            .iter()
            .any(|until| *until > now)
    }
}

/// A crash that waits for its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedCrash {
    /// When.
    pub point: CrashPoint,
    /// The machine loses power as well.
    pub power_loss: bool,
}

/// A moment in the work of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// Within the next batch that it writes.
    InWrite,
    /// After so many more outputs of its event loop: what the same step asked for beyond is never done.
    AfterOutputs(u64),
}

/// How a node is broken for good while the others must go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Breakage {
    /// Its process ended and is not started again.
    Crashed,
    /// Its machine lost power: nothing answers there, not even "refused".
    PoweredOff,
    /// It says what it likes and hears nobody.
    Deaf,
    /// It hears all and nobody hears it.
    Mute,
    /// It hears nobody and nobody hears it.
    CutOff,
    /// It cannot talk to some of the others.
    CutFromSome,
    /// It does not hear the leader that the others have settled on, or neither of the two the other; it talks to all the rest. No
    /// client writes meanwhile, so its log is as good as theirs and only their contact with the leader speaks against it.
    CutFromLeader,
    /// It loses and finds the others several times a second.
    Flapping,
    /// Its process stands still.
    Frozen,
    /// Its disk is slow.
    SlowDisk,
    /// Its disk never ends a write.
    StuckDisk,
    /// It computes slowly.
    SlowNode,
    /// Its process dies soon after each start, or before.
    CrashLoop,
}

impl Breakage {
    /// All of them.
    pub const ALL: &'static [Breakage] = &[
        Breakage::Crashed,
        Breakage::PoweredOff,
        Breakage::Deaf,
        Breakage::Mute,
        Breakage::CutOff,
        Breakage::CutFromSome,
        Breakage::CutFromLeader,
        Breakage::Flapping,
        Breakage::Frozen,
        Breakage::SlowDisk,
        Breakage::StuckDisk,
        Breakage::SlowNode,
        Breakage::CrashLoop,
    ];
}
