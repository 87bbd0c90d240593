//! The act that mixes the others. Nothing is asked of the members while it lasts but what always holds, above all S4 and S5: no claim
//! goes back. Afterwards they must agree again.

use slimcluster_core::node::io::Input;
use slimcluster_core::random::Random;
use slimcluster_core::situations::{Situation, sometimes};

use super::Cluster;
use crate::checkers::Verdict;
use crate::world::MILLISECOND;

/// Moves in one turmoil: at least, and how many more at most.
const MOVES: (u64, u64) = (4, 16);
/// Members that always stay up: whoever starts must find somebody.
const UP_MIN: usize = 2;

/// What has been done and must be undone.
#[derive(Default)]
struct Undone {
    down: Vec<usize>,
    /// Directions that are cut.
    cuts: Vec<(Vec<usize>, Vec<usize>)>,
}

impl Cluster {
    /// Often somebody else gets the address of `chosen` to begin with. Not later, for by then a process may have started that has never heard of
    /// `chosen`, and cannot tell its end from its never having been.
    pub(super) fn turmoil(&mut self, chosen: usize, number: usize, rng: &mut Random) -> Verdict {
        self.excuse_all();
        sometimes(Situation::TroubleMixed);
        let mut undone = Undone::default();
        if rng.chance(1, 2) {
            // Of what it announces before it goes, only some may hear.
            if rng.chance(1, 2) {
                self.cut_somewhere(&mut undone.cuts, rng);
            }
            if rng.chance(1, 2) {
                self.stop(chosen)?;
            } else {
                self.crash(chosen);
            }
            self.run_until(self.now + rng.below(self.interval()))?;
            self.succeed(chosen, number)?;
        }
        for _ in 0..MOVES.0 + rng.below(MOVES.1) {
            self.excuse_all();
            self.disturb(&mut undone, rng)?;
            let wait = if rng.chance(1, 2) { self.interval() } else { self.patience() };
            self.run_until(self.now + MILLISECOND + rng.below(wait))?;
        }
        self.excuse_all();
        undone.cuts.iter().for_each(|(from, to)| self.cut_one_way(from, to, false));
        undone.down.into_iter().try_for_each(|seat| self.start(seat))?;
        self.excuse_all();
        // Where somebody asked first, nobody may be any more.
        self.find_each_other();
        let wake = self.up().into_iter().map(|seat| self.seats[seat].frozen_until).max();
        self.run_until(wake.unwrap_or_default().max(self.now))
    }

    fn disturb(&mut self, undone: &mut Undone, rng: &mut Random) -> Verdict {
        let Undone { down, cuts } = undone;
        let up = self.up();
        let Some(&seat) = rng.pick(&up) else { return Ok(()) };
        let may_end = up.len() > UP_MIN && self.seats[seat].frozen_until <= self.now;
        match rng.below(9) {
            0 if may_end => {
                self.crash(seat);
                down.push(seat);
            }
            1 if may_end => {
                self.stop(seat)?;
                down.push(seat);
            }
            0..=2 if !down.is_empty() => {
                let seat = down.swap_remove(rng.below(down.len() as u64) as usize);
                if rng.chance(1, 3) {
                    self.seats[seat].address.set_port(7_001);
                }
                self.start(seat)?;
            }
            3 | 4 => self.cut_somewhere(cuts, rng),
            5 if !cuts.is_empty() => {
                let (from, to) = cuts.swap_remove(rng.below(cuts.len() as u64) as usize);
                self.cut_one_way(&from, &to, false);
            }
            6 => self.freeze(seat, MILLISECOND + rng.below(2 * self.patience())),
            7 => {
                let mut meta = self.seats[seat].meta.clone();
                meta.http = Some(format!("10.1.0.{seat}:{}", 8_000 + rng.below(1_000)));
                self.seats[seat].meta = meta.clone();
                self.tell(seat, Input::Advertise(meta))?;
            }
            8 => {
                if let Some((from, bytes)) = rng.pick(self.recorded.make_contiguous()).cloned() {
                    self.inject(from, seat, bytes);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Two sides cannot talk to each other any more, or only one to the other.
    fn cut_somewhere(&mut self, cuts: &mut Vec<(Vec<usize>, Vec<usize>)>, rng: &mut Random) {
        let (left, right): (Vec<usize>, Vec<usize>) = self.up().into_iter().partition(|_| rng.chance(1, 2));
        if rng.chance(1, 2) {
            self.cut_one_way(&right, &left, true);
            cuts.push((right.clone(), left.clone()));
        }
        self.cut_one_way(&left, &right, true);
        cuts.push((left, right));
    }

    /// Whatever they take each other for is no false verdict.
    fn excuse_all(&mut self) {
        self.seats.iter().for_each(|seat| self.verdicts.excuse(seat.id));
    }
}
