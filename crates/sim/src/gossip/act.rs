//! What disturbs the members of a world of SWIM alone.

use serde::{Deserialize, Serialize};
use slimcluster_core::random::Random;

/// One disturbance. Where it strikes is drawn when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Nothing but what the network does all the time.
    Quiet,
    /// Up to a quarter of the members end without a word, and come back once all others know.
    Crash,
    /// A member ends for good, and a newcomer gets its address.
    Takeover,
    /// A member says good-bye for good.
    Leave,
    /// A member announces a restart, is away for longer than a suspicion lasts, and comes back, perhaps elsewhere.
    Restart,
    /// Two members cannot talk to each other, everybody else can talk to both.
    PairCut,
    /// One member can talk to nobody for a while.
    Isolation,
    /// Two sides cannot talk to each other for a while.
    Partition,
    /// A member stands still for a while, then wakes to everything that arrived meanwhile.
    Pause,
    /// Some members stand still again and again, each time for a moment or for a few probes.
    Slow,
    /// A member advertises something else.
    Advertise,
    /// Datagrams of long ago arrive again, from addresses that never sent them.
    Replay,
    /// All of this at once: ends, restarts and takeovers while others stand still and paths break in one direction or both.
    Turmoil,
}

impl Act {
    /// All of them.
    pub const ALL: &'static [Act] = &[
        Act::Quiet,
        Act::Crash,
        Act::Takeover,
        Act::Leave,
        Act::Restart,
        Act::PairCut,
        Act::Isolation,
        Act::Partition,
        Act::Pause,
        Act::Slow,
        Act::Advertise,
        Act::Replay,
        Act::Turmoil,
    ];

    /// Any of them; most often the one that mixes the others.
    pub fn draw(rng: &mut Random) -> Self {
        if rng.chance(1, 4) { Act::Turmoil } else { rng.pick(Act::ALL).copied().unwrap_or(Act::Quiet) }
    }
}
