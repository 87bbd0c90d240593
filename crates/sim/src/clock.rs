//! The clocks of a place: a monotonic one and a wall clock, neither of which runs as the world does.
//!
//! The monotonic clock has a rate of its own, may be coarse, may stand still for a while and may jump forward, never back. The wall
//! clock is wrong by any amount and jumps both ways. Both belong to the machine: a process that restarts finds them as they were.

use slimcluster_core::random::Random;

/// One million: rates are parts of it.
const MILLION: u64 = 1_000_000;
/// The wall clock of a place that is right, when the world begins: some day in 2025, in microseconds.
const WALL_TIME: u64 = 1_750_000_000 * MILLION;
/// No clock runs faster or slower than by this much (C2c), in parts per million.
pub const DRIFT_MAX: u64 = 200_000;

/// The clocks of one place. Times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Its speed in parts per million of the world's.
    rate: u64,
    /// It moves in steps of this size.
    grain: u64,
    /// What it shows, in full, was `since.1` when the world's time was `since.0`.
    since: (u64, u64),
    is_frozen: bool,
    wall_offset: i64,
}

impl Clock {
    /// A clock that is wrong by up to `drift` parts per million, moves in steps of up to `grain`, and shows a wall time that is
    /// up to `wall_apart` away from the right one.
    pub fn new(rng: &mut Random, drift: u64, grain: u64, wall_apart: u64) -> Self {
        let drift = drift.min(DRIFT_MAX);
        Clock {
            rate: MILLION - drift + rng.below(2 * drift + 1),
            grain: 1 + rng.below(grain.max(1)),
            since: (0, rng.below(3_600 * MILLION)),
            is_frozen: false,
            wall_offset: signed(rng, wall_apart),
        }
    }

    /// What the monotonic clock shows.
    pub fn shows(&self, now: u64) -> u64 {
        let shows = self.exact(now);
        shows - shows % self.grain
    }

    /// The first moment of the world from which on the monotonic clock shows `time` or more; none while it stands still.
    pub fn world_time(&self, time: u64) -> Option<u64> {
        let step = time.div_ceil(self.grain) * self.grain;
        match step.checked_sub(self.since.1) {
            None | Some(0) => Some(self.since.0),
            Some(_) if self.is_frozen => None,
            Some(ahead) => Some(self.since.0.saturating_add(ahead.saturating_mul(MILLION).div_ceil(self.rate))),
        }
    }

    /// The monotonic clock jumps forward.
    pub fn jump(&mut self, now: u64, by: u64) {
        self.since = (now, self.exact(now) + by);
    }

    /// The monotonic clock stands still from now on, or goes on.
    pub fn freeze(&mut self, now: u64, is_frozen: bool) {
        self.since = (now, self.exact(now));
        self.is_frozen = is_frozen;
    }

    /// What the wall clock shows, in microseconds since the Unix epoch.
    pub fn wall(&self, now: u64) -> u64 {
        (WALL_TIME + now).saturating_add_signed(self.wall_offset)
    }

    /// The wall clock is set, up to `by` away from what it showed. Returns whether it went back.
    pub fn jump_wall(&mut self, rng: &mut Random, by: u64) -> bool {
        let by = signed(rng, by);
        self.wall_offset = self.wall_offset.saturating_add(by);
        by < 0
    }

    fn exact(&self, now: u64) -> u64 {
        let (then, showed) = self.since;
        if self.is_frozen { showed } else { showed + now.saturating_sub(then) * self.rate / MILLION }
    }
}

/// Between `-range` and `range`.
fn signed(rng: &mut Random, range: u64) -> i64 {
    let size = i64::try_from(rng.below(range.saturating_add(1))).unwrap_or(i64::MAX);
    if rng.chance(1, 2) { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_met_at_the_first_moment_that_shows_it() {
        let mut rng = Random::new(1);
        for _ in 0..1_000 {
            let mut clock = Clock::new(&mut rng, 200_000, 10_000, 0);
            if rng.chance(1, 2) {
                clock.jump(5, rng.below(1_000_000_000));
            }
            let due = clock.shows(10) + rng.below(1_000_000);
            let at = clock.world_time(due).unwrap();
            assert!(clock.shows(at.max(10)) >= due, "{clock:?}: {due} at {at}");
            assert!(at <= 10 || clock.shows(at - 1) < due, "{clock:?}: {due} before {at}");
        }
    }

    #[test]
    fn a_clock_jumps_stands_still_and_never_goes_back() {
        let mut clock = Clock::new(&mut Random::new(2), 200_000, 1, 0);
        let before = clock.shows(1_000);
        clock.jump(1_000, 77);
        assert_eq!(clock.shows(1_000), before + 77);
        clock.freeze(2_000, true);
        let frozen = clock.shows(2_000);
        assert_eq!((clock.shows(9_000), clock.world_time(frozen + 1)), (frozen, None));
        clock.freeze(9_000, false);
        assert_eq!(clock.shows(9_000), frozen);
        assert!(clock.shows(10_000) > frozen);
    }

    #[test]
    fn the_wall_clock_goes_back_as_well() {
        let mut rng = Random::new(3);
        let mut clock = Clock::new(&mut rng, 0, 1, 0);
        assert_eq!(clock.wall(5), WALL_TIME + 5);
        while !clock.jump_wall(&mut rng, 1_000_000) {}
        assert_ne!(clock.wall(5), WALL_TIME + 5);
    }
}
