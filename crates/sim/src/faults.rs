//! What a strike does to the world: what it hits and for how long is drawn from its own generator.

use slimcluster_core::node::io::Input;
use slimcluster_core::random::Random;

use crate::audit::Phase;
use crate::checkers::Verdict;
use crate::network::Endpoint;
use crate::strike::{FaultClass, Strike};
use crate::world::{Event, MILLISECOND, SECOND, World};

/// The end of a fault, or its second half.
#[derive(Clone, Debug)]
pub enum Undo {
    /// These directions work again.
    Uncut(Vec<(usize, usize)>),
    /// These directions work, or not, for a while: a flapping pair.
    Flap(Vec<(usize, usize)>, u32, Random),
    /// Packets are quick again.
    Unclog,
    /// The process is started again, which ends it first.
    Restart(Endpoint),
    /// The machine loses power.
    LosePower(Endpoint),
    /// The crash that waited for a write has waited long enough.
    CrashNow(Endpoint, bool),
}

impl World {
    pub(crate) fn on_strike(&mut self, strike: Strike) -> Verdict {
        if self.phase != Phase::Faults {
            return Ok(());
        }
        let Strike { class, rng_seed, .. } = strike;
        self.stats.faults.count(class.name());
        self.trace.event(self.now, [20, class as u64, rng_seed], || format!("fault: {class}"));
        let mut rng = Random::new(rng_seed);
        let place = rng.below(self.swarm.nodes as u64) as usize;
        match class {
            FaultClass::Partition => self.partition(&mut rng),
            FaultClass::OneWay => self.one_way(place, &mut rng),
            FaultClass::Partial => self.partial(&mut rng),
            FaultClass::Flapping => self.flapping(place, rng),
            FaultClass::LinkBreak => {
                self.network.break_one(self.now);
            }
            FaultClass::Clog => self.clog(&mut rng),
            FaultClass::ProcessCrash => self.crash_somehow(place, false, &mut rng)?,
            FaultClass::PowerLoss => self.crash_somehow(place, true, &mut rng)?,
            FaultClass::ChainedCrash => {
                self.places[place].power_loss_after_start = true;
                self.crash_somehow(place, false, &mut rng)?;
            }
            FaultClass::Blackout => {
                for place in 0..self.swarm.nodes {
                    self.crash(place, true)?;
                    self.plan_start(place);
                }
            }
            FaultClass::Pause => self.pause(place, &mut rng),
            FaultClass::SlowNode => {
                self.places[place].slow_until = self.now + rng.below(5 * SECOND);
            }
            FaultClass::SlowDisk => {
                self.places[place].slow_disk_until = self.now + rng.below(4 * SECOND);
            }
            FaultClass::SyncFailure => self.places[place].disk.fail_next_sync(),
            FaultClass::Stop => {
                if let Some(process) = &self.places[place].process {
                    self.deliver(process.endpoint, Input::Shutdown);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn on_undo(&mut self, undo: Undo) -> Verdict {
        match undo {
            Undo::Uncut(directions) => self.set_cuts(&directions, false),
            Undo::Flap(directions, left, rng) => self.flap(directions, left, rng),
            Undo::Unclog => self.network.faults = self.network_faults(),
            Undo::Restart(endpoint) => {
                if self.process(endpoint).is_some() {
                    self.crash(endpoint.place, false)?;
                    self.plan_start(endpoint.place);
                }
            }
            Undo::LosePower(endpoint) => {
                if self.phase == Phase::Faults && self.process(endpoint).is_some() {
                    self.crash(endpoint.place, true)?;
                    self.plan_start(endpoint.place);
                }
            }
            Undo::CrashNow(endpoint, power_loss) => {
                if self.process(endpoint).is_some() && self.places[endpoint.place].crash_in_write.take().is_some() {
                    self.crash(endpoint.place, power_loss)?;
                    self.plan_start(endpoint.place);
                }
            }
        }
        Ok(())
    }

    /// What the network does wrong by itself in the present phase.
    pub(crate) fn network_faults(&self) -> crate::network::NetworkFaults {
        match self.phase {
            Phase::Faults => self.swarm.network,
            _ => crate::network::NetworkFaults::HEALTHY,
        }
    }

    /// Now, or within the next batch that the process writes: crashes between the calls to the disk are the ones that find most.
    fn crash_somehow(&mut self, place: usize, power_loss: bool, rng: &mut Random) -> Verdict {
        let Some(endpoint) = self.places[place].process.as_ref().map(|process| process.endpoint) else { return Ok(()) };
        if rng.chance(2, 3) {
            self.places[place].crash_in_write = Some(power_loss);
            self.after(300 * MILLISECOND, Event::Undo(Undo::CrashNow(endpoint, power_loss)));
            return Ok(());
        }
        self.crash(place, power_loss)?;
        self.plan_start(place);
        Ok(())
    }

    fn pause(&mut self, place: usize, rng: &mut Random) {
        let until = self.now + 100 * MILLISECOND + rng.below(6 * SECOND);
        if let Some(process) = self.places[place].process.as_mut() {
            process.busy_until = process.busy_until.max(until);
        }
    }

    fn clog(&mut self, rng: &mut Random) {
        let latency = rng.below(SECOND);
        self.network.faults.latency += latency;
        let lasts = rng.below(3 * SECOND);
        self.after(lasts, Event::Undo(Undo::Unclog));
    }

    fn cut_for_a_while(&mut self, directions: Vec<(usize, usize)>, rng: &mut Random) {
        self.set_cuts(&directions, true);
        let lasts = 200 * MILLISECOND + rng.below(10 * SECOND);
        self.after(lasts, Event::Undo(Undo::Uncut(directions)));
    }

    fn set_cuts(&mut self, directions: &[(usize, usize)], cut: bool) {
        for (from, to) in directions {
            self.network.cut(*from, *to, cut);
        }
    }

    fn partition(&mut self, rng: &mut Random) {
        let side: Vec<bool> = (0..self.swarm.nodes).map(|_| rng.chance(1, 2)).collect();
        let directions = self.pairs().filter(|(from, to)| side[*from] != side[*to]).collect();
        self.cut_for_a_while(directions, rng);
    }

    fn one_way(&mut self, place: usize, rng: &mut Random) {
        let deaf = rng.chance(1, 2);
        let everybody = rng.chance(1, 2);
        let other = rng.below(self.swarm.nodes as u64) as usize;
        let directions = self
            .pairs()
            .filter(|(from, to)| if deaf { *to == place } else { *from == place })
            .filter(|(from, to)| everybody || *from == other || *to == other)
            .collect();
        self.cut_for_a_while(directions, rng);
    }

    fn partial(&mut self, rng: &mut Random) {
        let mut directions = Vec::new();
        for (a, b) in self.pairs().filter(|(a, b)| a < b).collect::<Vec<_>>() {
            if rng.chance(1, 3) {
                directions.extend([(a, b), (b, a)]);
            }
        }
        self.cut_for_a_while(directions, rng);
    }

    fn flapping(&mut self, place: usize, mut rng: Random) {
        let other = rng.below(self.swarm.nodes as u64) as usize;
        if other != place {
            let times = 2 + 2 * rng.below(10) as u32;
            self.flap(vec![(place, other), (other, place)], times, rng);
        }
    }

    fn flap(&mut self, directions: Vec<(usize, usize)>, left: u32, mut rng: Random) {
        if left == 0 || self.phase != Phase::Faults {
            return;
        }
        self.set_cuts(&directions, left.is_multiple_of(2));
        let lasts = 20 * MILLISECOND + rng.below(500 * MILLISECOND);
        self.after(lasts, Event::Undo(Undo::Flap(directions, left - 1, rng)));
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let nodes = self.swarm.nodes;
        (0..nodes).flat_map(move |from| (0..nodes).map(move |to| (from, to))).filter(|(from, to)| from != to)
    }
}
