//! The liveness phase, first half: which nodes are the healthy majority, and how the others are broken for good.

use slimcluster_core::NodeId;
use slimcluster_core::random::Random;
use slimcluster_core::situations::{Situation, sometimes};

use crate::budget::Standing;
use crate::checkers::Verdict;
use crate::checkers::stability::Stability;
use crate::checkers::storage::Store;
use crate::faults::Undo;
use crate::phases::Phase;
use crate::streams::{Concern, stream};
use crate::trouble::{Breakage, FOREVER};
use crate::world::World;

/// A pair that flaps for good changes so often: more than any run has time for.
const FLAPS: u32 = 1 << 30;

impl World {
    /// Heals a majority that has formed a cluster and breaks the rest; false when too few have formed one.
    pub(crate) fn begin_majority(&mut self) -> Result<bool, crate::checkers::Violation> {
        let mut rng = stream(self.seed, Concern::Majority, 0);
        let Some(is_core) = self.choose_core(&mut rng) else {
            sometimes(Situation::NoMajorityFormed);
            return Ok(false);
        };
        self.enter(Phase::Majority);
        self.stability = Stability::default();
        self.cut_from_leader.clear();
        self.heal_network();
        for place in (0..self.swarm.nodes).filter(|place| is_core[*place]) {
            self.heal_place(place)?;
        }
        let rest = (0..self.swarm.nodes).filter(|place| !is_core[*place] && !self.is_spent(*place));
        let rest: Vec<usize> = rest.collect();
        let breakages = self.swarm.broken.clone();
        self.is_core = is_core;
        for (place, breakage) in rest.into_iter().zip(breakages) {
            self.break_for_good(place, breakage, &mut rng)?;
        }
        self.besiege_the_majority();
        Ok(true)
    }

    /// The places of the healthy majority: all but as many as the plan breaks, those first that the fault budget has spent or that
    /// the cluster was formed without. None when there is no majority that could work.
    fn choose_core(&self, rng: &mut Random) -> Option<Vec<bool>> {
        let nodes = self.swarm.nodes;
        let minority = (nodes - 1) / 2;
        let left_out = self.left_out();
        let can_work = |place: usize| {
            *self.budget.standing(place) == Standing::Whole
                && !left_out[place]
                && self.checkers.stores[place].is_formed()
        };
        let mut is_core: Vec<bool> = (0..nodes).map(can_work).collect();
        let rest = is_core.iter().filter(|is_core| !**is_core).count();
        if rest > minority {
            return None;
        }
        let mut to_break = self.swarm.broken.len().min(minority).saturating_sub(rest);
        while to_break > 0 {
            let place = rng.below(nodes as u64) as usize;
            to_break -= usize::from(std::mem::replace(&mut is_core[place], false));
        }
        Some(is_core)
    }

    fn break_for_good(&mut self, place: usize, breakage: Breakage, rng: &mut Random) -> Verdict {
        self.trace.event(self.now, [31, place as u64, breakage as u64], || {
            format!("n{} is broken for good: {breakage:?}", place + 1)
        });
        self.note_leader(place, Situation::LeaderBrokenForGood);
        let core: Vec<usize> = (0..self.swarm.nodes).filter(|other| self.is_core[*other]).collect();
        let out = |others: &[usize]| others.iter().map(|other| (place, *other)).collect::<Vec<_>>();
        let into = |others: &[usize]| others.iter().map(|other| (*other, place)).collect::<Vec<_>>();
        match breakage {
            Breakage::Crashed | Breakage::PoweredOff => {
                self.places[place].trouble.is_held_down = true;
                self.crash(place, breakage == Breakage::PoweredOff)?;
            }
            Breakage::Deaf => self.set_cuts(&into(&core), true),
            Breakage::Mute => self.set_cuts(&out(&core), true),
            Breakage::CutOff => self.set_cuts(&[out(&core), into(&core)].concat(), true),
            Breakage::CutFromSome => {
                let some: Vec<usize> = core.into_iter().filter(|_| rng.chance(1, 2)).collect();
                self.set_cuts(&[out(&some), into(&some)].concat(), true);
            }
            Breakage::CutFromLeader => self.cut_from_leader.push((place, rng.chance(1, 2))),
            Breakage::Flapping => {
                let directions = [out(&core), into(&core)].concat();
                self.on_undo(Undo::Flap(directions, FLAPS, rng.fork(0), Phase::Majority))?;
            }
            Breakage::Frozen => {
                // What is down when it breaks is not there to stand still.
                self.places[place].trouble.is_held_down = self.places[place].process.is_none();
                self.pause_until(place, FOREVER, true);
            }
            Breakage::SlowDisk => self.places[place].trouble.slow_disk_until = FOREVER,
            Breakage::StuckDisk => self.places[place].trouble.stuck_disk_until = FOREVER,
            Breakage::SlowNode => self.places[place].trouble.slow_until = FOREVER,
            Breakage::CrashLoop => {
                self.places[place].trouble.crash_loop = u32::MAX;
                self.crash(place, rng.chance(1, 2))?;
                self.plan_start(place);
            }
        }
        Ok(())
    }

    /// The majority has settled on a leader: who is to lose it does.
    pub(crate) fn cut_from_leader(&mut self, leader: NodeId) {
        let leads = |store: &Store| store.node() == Some(leader);
        let Some(leader) = self.checkers.stores.iter().position(leads) else { return };
        for (place, both_ways) in self.cut_from_leader.clone() {
            self.set_cuts(&[(leader, place), (place, leader)][..1 + usize::from(both_ways)], true);
        }
    }
}
