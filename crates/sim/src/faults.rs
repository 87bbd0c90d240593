//! What a strike does to the world: what it hits and for how long is drawn from its own generator.

use slimcluster_core::node::io::{Input, LinkId};
use slimcluster_core::random::Random;
use slimcluster_core::situations::{Situation, sometimes};

use crate::attacker::{Siege, Weapon};
use crate::checkers::{Verdict, Violation};
use crate::network::{Endpoint, SlowReader};
use crate::phases::Phase;
use crate::strike::{FaultClass, Strike};
use crate::swarm::log_uniform;
use crate::trouble::{CrashPoint, PlannedCrash};
use crate::world::{Event, MILLISECOND, Place, SECOND, World};

/// The largest packet that passes a hole, in bytes, least and most: from below what a datagram of gossip needs to beyond every
/// datagram and most frames.
pub(crate) const HOLE_BYTES: (u64, u64) = (256, 4_096);

/// The end of a fault, or its second half.
#[derive(Clone, Debug)]
pub enum Undo {
    /// These directions work again.
    Uncut(Vec<(usize, usize)>),
    /// These directions work, or not, for a while: they flap, so often, as long as the phase lasts.
    Flap(Vec<(usize, usize)>, u32, Random, Phase),
    /// Packets are quick again.
    Unclog,
    /// The process is started again, which ends it first.
    Restart(Endpoint),
    /// The process dies, and the machine loses power if true.
    Crash(Endpoint, bool),
    /// The crash that waited for its moment has waited long enough.
    CrashNow(Endpoint, bool),
    /// The monotonic clock of a place jumps forward.
    JumpClock(usize, u64),
    /// The monotonic clock of a place goes on.
    ThawClock(usize),
    /// A better build of the application is rolled out.
    RollOut,
    /// Somebody looks after a process whose machine was to panic.
    Relieve(Endpoint),
    /// A disk has space again.
    FreeSpace(usize),
    /// These directions let packets of every size pass again, as far as a hole of so many bytes is concerned.
    FillHole(Vec<(usize, usize)>, usize),
    /// A process reads quickly again.
    ReadQuickly(usize),
    /// The attacker goes on.
    Siege(Siege),
    /// The attacker has held a link for long enough.
    HangUp(LinkId),
}

impl World {
    pub(crate) fn on_strike(&mut self, strike: Strike) -> Verdict {
        if self.phase != Phase::Faults || self.is_spared() {
            return Ok(());
        }
        let Strike { class, rng_seed, .. } = strike;
        if self.strike(class, Random::new(rng_seed))? {
            self.stats.faults.count(class.name());
        }
        Ok(())
    }

    /// Lets a fault strike; false where there is nothing that it could hit.
    fn strike(&mut self, class: FaultClass, mut rng: Random) -> Result<bool, Violation> {
        self.trace.event(self.now, [20, class as u64, 0], || format!("fault: {class}"));
        let place = self.victim(&mut rng);
        match class {
            FaultClass::Partition => return Ok(self.partition(&mut rng)),
            FaultClass::OneWay => return Ok(self.one_way(place, &mut rng)),
            FaultClass::Partial => return Ok(self.partial(&mut rng)),
            FaultClass::LeaderAlone => return Ok(self.leader_alone(&mut rng)),
            FaultClass::Flapping => return Ok(self.flapping(place, rng)),
            FaultClass::LinkBreak => return Ok(self.network.break_one(self.now, &mut rng)),
            FaultClass::Clog => self.clog(&mut rng),
            FaultClass::MtuHole => self.mtu_hole(place, &mut rng),
            FaultClass::CutMessage => self.network.cut_in_message(1 + rng.below(3), rng),
            FaultClass::SlowReader => self.slow_reader(place, &mut rng),
            FaultClass::ProcessCrash => return self.crash_somehow(place, false, &mut rng),
            FaultClass::PowerLoss => return self.crash_somehow(place, true, &mut rng),
            FaultClass::ChainedCrash => {
                self.places[place].trouble.power_loss_after_start = true;
                return self.crash_somehow(place, false, &mut rng);
            }
            FaultClass::Blackout => {
                if self.places.iter().all(|place| place.process.is_some()) {
                    sometimes(Situation::PowerLostEverywhere);
                }
                for place in 0..self.swarm.nodes {
                    self.crash(place, true)?;
                    self.plan_start(place);
                }
            }
            FaultClass::Pause => self.pause(place, &mut rng),
            FaultClass::SlowNode => {
                self.places[place].trouble.slow_until = self.now + rng.below(5 * SECOND);
            }
            FaultClass::SlowDisk => {
                let until = self.now + log_uniform(&mut rng, 100 * MILLISECOND, 30 * SECOND);
                let trouble = &mut self.places[place].trouble;
                *(if rng.chance(1, 2) { &mut trouble.slow_disk_until } else { &mut trouble.stuck_disk_until }) = until;
            }
            FaultClass::SyncFailure => self.places[place].disk.fail_next_sync(),
            FaultClass::Stop => {
                self.note_leader(place, Situation::LeaderToldToStop);
                if let Some(process) = &mut self.places[place].process {
                    process.is_stopping = true;
                    let endpoint = process.endpoint;
                    self.deliver(endpoint, Input::Shutdown);
                }
            }
            FaultClass::CrashLoop => {
                self.places[place].trouble.crash_loop = 2 + rng.below(6) as u32;
                return self.crash_somehow(place, rng.chance(1, 2), &mut rng);
            }
            FaultClass::SlowApply => {
                self.places[place].trouble.slow_apply_until = self.now + rng.below(5 * SECOND);
            }
            FaultClass::ClockJump => self.clock_jump(place, &mut rng),
            FaultClass::ClockFreeze => self.clock_freeze(place, &mut rng),
            FaultClass::WallJump => self.wall_jump(place, &mut rng),
            FaultClass::PoisonCommand => self.poison(&mut rng)?,
            FaultClass::WrongClusterId => {
                self.places[place].trouble.wrong_cluster_id = true;
                self.crash(place, false)?;
                self.plan_start(place);
            }
            FaultClass::LonePanic => self.lone_panic(place, &mut rng),
            FaultClass::DiskFull => self.fill_disk(place, &mut rng),
            FaultClass::BitRot
            | FaultClass::BadSector
            | FaultClass::PhantomWrite
            | FaultClass::MisdirectedWrite
            | FaultClass::WipedDisk => return self.hurt_disk(place, class, &mut rng),
            FaultClass::Garbage => self.lay_siege(Weapon::Garbage, place, rng),
            FaultClass::ReplayedGossip => self.lay_siege(Weapon::Replay, place, rng),
            FaultClass::HostileLinks => self.lay_siege(Weapon::Link, place, rng),
            FaultClass::Strangers => self.meet_strangers(&mut rng)?,
            FaultClass::Flood => self.lay_siege(Weapon::Flood, place, rng),
        }
        Ok(true)
    }

    pub(crate) fn on_undo(&mut self, undo: Undo) -> Verdict {
        match undo {
            // Whatever was cut in an earlier phase was healed at its end.
            Undo::Uncut(directions) if self.phase == Phase::Faults => self.set_cuts(&directions, false),
            Undo::Uncut(_) => {}
            Undo::Flap(directions, left, rng, phase) => self.flap(directions, left, rng, phase),
            Undo::Unclog => self.network.faults = self.network_faults(),
            Undo::Restart(endpoint) => {
                if self.process(endpoint).is_some() {
                    self.crash(endpoint.place, false)?;
                    self.plan_start(endpoint.place);
                }
            }
            Undo::Crash(endpoint, power_loss) => {
                let loops = self.places[endpoint.place].trouble.crash_loop > 0;
                if (loops || self.phase == Phase::Faults) && self.process(endpoint).is_some() {
                    self.crash(endpoint.place, power_loss)?;
                    self.plan_start(endpoint.place);
                }
            }
            Undo::CrashNow(endpoint, power_loss) => {
                if self.process(endpoint).is_some() && self.places[endpoint.place].trouble.crash.is_some() {
                    self.crash(endpoint.place, power_loss)?;
                    self.plan_start(endpoint.place);
                }
            }
            Undo::JumpClock(place, by) => self.jump_clock(place, by),
            Undo::ThawClock(place) => self.freeze_clock(place, false),
            Undo::RollOut => self.roll_out()?,
            Undo::Relieve(endpoint) => self.relieve(endpoint)?,
            Undo::FillHole(directions, bytes_max) if self.phase == Phase::Faults => {
                self.set_holes(&directions, bytes_max, false);
            }
            Undo::FillHole(..) => {}
            Undo::ReadQuickly(place) => self.network.set_reader(self.now, place, None),
            Undo::FreeSpace(place) => self.places[place].disk.limit_space(None),
            Undo::Siege(siege) => self.besiege(siege),
            Undo::HangUp(link) => self.hang_up(link),
        }
        Ok(())
    }

    /// What the network does wrong by itself in the present phase.
    pub(crate) fn network_faults(&self) -> crate::network::NetworkFaults {
        match self.phase {
            Phase::Faults if !self.is_spared() => self.swarm.network,
            _ => crate::network::NetworkFaults::HEALTHY,
        }
    }

    /// Whom a fault hits: every other one the leader, where most is at stake.
    fn victim(&self, rng: &mut Random) -> usize {
        let leads = |place: &&Place| place.process.as_ref().is_some_and(|process| process.leads.is_some());
        let leaders: Vec<usize> = (0..self.places.len()).filter(|at| leads(&&self.places[*at])).collect();
        let anybody = rng.below(self.swarm.nodes as u64) as usize;
        if rng.chance(1, 2) { rng.pick(&leaders).copied().unwrap_or(anybody) } else { anybody }
    }

    /// Now, or within the next batch that the process writes, or between two things that its event loop asks for: crashes between
    /// the calls to the disk are the ones that find most.
    fn crash_somehow(&mut self, place: usize, power_loss: bool, rng: &mut Random) -> Result<bool, Violation> {
        let process = self.places[place].process.as_ref();
        let Some(endpoint) = process.map(|process| process.endpoint) else { return Ok(false) };
        let point = match rng.below(6) {
            0..=2 => Some(CrashPoint::InWrite),
            3 | 4 => Some(CrashPoint::AfterOutputs(rng.below(40))),
            _ => None,
        };
        if let Some(point) = point {
            self.places[place].trouble.crash = Some(PlannedCrash { point, power_loss });
            self.after(300 * MILLISECOND, Event::Undo(Undo::CrashNow(endpoint, power_loss)));
            return Ok(true);
        }
        self.crash(place, power_loss)?;
        self.plan_start(place);
        Ok(true)
    }

    /// The whole process stands still, or its event loop alone. What the disk was given it does.
    fn pause(&mut self, place: usize, rng: &mut Random) {
        let until = self.now + log_uniform(rng, 100 * MILLISECOND, 30 * SECOND);
        self.pause_until(place, until, rng.chance(2, 3));
    }

    /// The event loop of a process stands still, and the other threads as well if `whole`.
    pub(crate) fn pause_until(&mut self, place: usize, until: u64, whole: bool) {
        if let Some(process) = self.places[place].process.as_mut() {
            process.busy_until = process.busy_until.max(until);
            process.was_paused = true;
            if whole {
                process.frozen_until = process.frozen_until.max(until);
            }
        }
    }

    /// Every thread of the process goes on, and a write that stood still ends.
    pub(crate) fn thaw(&mut self, place: usize) {
        let now = self.now;
        let Some(process) = self.places[place].process.as_mut() else { return };
        let endpoint = process.endpoint;
        process.busy_until = process.busy_until.min(now);
        process.frozen_until = process.frozen_until.min(now);
        let (writes, applies) = (process.writing_until.is_some(), process.applying_until.is_some());
        process.writing_until = process.writing_until.map(|_| now);
        process.applying_until = process.applying_until.map(|_| now);
        if writes {
            self.at(now, Event::Written(endpoint));
        }
        if applies {
            self.at(now, Event::Applied(endpoint));
        }
        self.wake(endpoint, now);
    }

    /// A machine that was suspended finds its clock ahead when it goes on; others jump while they work.
    fn clock_jump(&mut self, place: usize, rng: &mut Random) {
        let by = log_uniform(rng, 10 * MILLISECOND, 600 * SECOND);
        let silence = if rng.chance(1, 2) { by.min(rng.below(5 * SECOND)) } else { 0 };
        self.pause_until(place, self.now + silence, true);
        self.after(silence, Event::Undo(Undo::JumpClock(place, by - silence)));
    }

    fn jump_clock(&mut self, place: usize, by: u64) {
        if self.phase == Phase::Faults {
            self.note_leader(place, Situation::ClockOfALeaderJumped);
            self.checkers.on_clock_jump(by);
            self.places[place].clock.jump(self.now, by);
            self.wake_now(place);
        }
    }

    /// A clock stands still: of a machine that is suspended, where it does not count that time, or of one that goes on.
    fn clock_freeze(&mut self, place: usize, rng: &mut Random) {
        let lasts = log_uniform(rng, 10 * MILLISECOND, 5 * SECOND);
        if rng.chance(1, 2) {
            self.pause_until(place, self.now + lasts, true);
        }
        self.note_leader(place, Situation::ClockOfALeaderStoodStill);
        self.freeze_clock(place, true);
        self.after(lasts, Event::Undo(Undo::ThawClock(place)));
    }

    fn freeze_clock(&mut self, place: usize, is_frozen: bool) {
        self.places[place].clock.freeze(self.now, is_frozen);
        self.wake_now(place);
    }

    /// The clock of a place has changed its course: when its process is due is another moment now.
    fn wake_now(&mut self, place: usize) {
        if let Some(endpoint) = self.places[place].process.as_ref().map(|process| process.endpoint) {
            self.wake(endpoint, self.now);
        }
    }

    fn wall_jump(&mut self, place: usize, rng: &mut Random) {
        let by = log_uniform(rng, MILLISECOND, 10 * 365 * 24 * 3_600 * SECOND);
        if self.places[place].clock.jump_wall(rng, by) {
            self.note_leader(place, Situation::WallClockOfALeaderWentBack);
        }
    }

    fn clog(&mut self, rng: &mut Random) {
        let latency = rng.below(SECOND);
        self.network.faults.latency += latency;
        let lasts = rng.below(3 * SECOND);
        self.after(lasts, Event::Undo(Undo::Unclog));
    }

    /// Between one and the others, or one of them, in one direction or both.
    fn mtu_hole(&mut self, place: usize, rng: &mut Random) {
        let bytes_max = log_uniform(rng, HOLE_BYTES.0, HOLE_BYTES.1) as usize;
        let (out, into) = [(true, true), (true, false), (false, true)][rng.below(3) as usize];
        let other = rng.chance(1, 2).then(|| rng.below(self.swarm.nodes as u64) as usize);
        let directions: Vec<_> = self
            .pairs()
            .filter(|(from, to)| out && *from == place || into && *to == place)
            .filter(|(from, to)| other.is_none_or(|other| *from == other || *to == other))
            .collect();
        self.set_holes(&directions, bytes_max, true);
        let lasts = 200 * MILLISECOND + rng.below(10 * SECOND);
        self.after(lasts, Event::Undo(Undo::FillHole(directions, bytes_max)));
    }

    pub(crate) fn set_holes(&mut self, directions: &[(usize, usize)], bytes_max: usize, is_open: bool) {
        for (from, to) in directions {
            self.network.hole(*from, *to, bytes_max, is_open);
        }
    }

    fn slow_reader(&mut self, place: usize, rng: &mut Random) {
        let bytes_per_second = log_uniform(rng, 2_000, 200_000);
        let queue_bytes_max = log_uniform(rng, 8 * 1024, 512 * 1024) as usize;
        self.network.set_reader(self.now, place, Some(SlowReader { bytes_per_second, queue_bytes_max }));
        let lasts = 200 * MILLISECOND + rng.below(8 * SECOND);
        self.after(lasts, Event::Undo(Undo::ReadQuickly(place)));
    }

    fn cut_for_a_while(&mut self, directions: Vec<(usize, usize)>, rng: &mut Random) -> bool {
        let cuts = !directions.is_empty();
        self.set_cuts(&directions, true);
        let lasts = 200 * MILLISECOND + rng.below(10 * SECOND);
        self.after(lasts, Event::Undo(Undo::Uncut(directions)));
        cuts
    }

    pub(crate) fn set_cuts(&mut self, directions: &[(usize, usize)], cut: bool) {
        for (from, to) in directions {
            self.network.cut(*from, *to, cut);
        }
    }

    fn partition(&mut self, rng: &mut Random) -> bool {
        let side: Vec<bool> = (0..self.swarm.nodes).map(|_| rng.chance(1, 2)).collect();
        let directions = self.pairs().filter(|(from, to)| side[*from] != side[*to]).collect();
        self.cut_for_a_while(directions, rng)
    }

    fn one_way(&mut self, place: usize, rng: &mut Random) -> bool {
        let deaf = rng.chance(1, 2);
        let everybody = rng.chance(1, 2);
        let other = rng.below(self.swarm.nodes as u64) as usize;
        let directions = self
            .pairs()
            .filter(|(from, to)| if deaf { *to == place } else { *from == place })
            .filter(|(from, to)| everybody || *from == other || *to == other)
            .collect();
        self.cut_for_a_while(directions, rng)
    }

    fn partial(&mut self, rng: &mut Random) -> bool {
        let mut directions = Vec::new();
        for (a, b) in self.pairs().filter(|(a, b)| a < b).collect::<Vec<_>>() {
            if rng.chance(1, 3) {
                directions.extend([(a, b), (b, a)]);
            }
        }
        self.cut_for_a_while(directions, rng)
    }

    fn leader_alone(&mut self, rng: &mut Random) -> bool {
        let term = |place: usize| self.places[place].process.as_ref().and_then(|process| process.leads);
        let Some(leader) =
            (0..self.swarm.nodes).filter(|place| term(*place).is_some()).max_by_key(|place| term(*place))
        else {
            return false;
        };
        if rng.chance(1, 2) {
            self.places[leader].trouble.slow_disk_until = self.now + rng.below(4 * SECOND);
        }
        // In a larger cluster it may keep a companion: a minority in which a leader still replicates.
        let nodes = self.swarm.nodes as u64;
        let companion = (nodes > 3 && rng.chance(1, 2)).then(|| rng.below(nodes) as usize);
        let is_side = |place: usize| place == leader || Some(place) == companion;
        let directions = self.pairs().filter(|(from, to)| is_side(*from) != is_side(*to)).collect();
        self.cut_for_a_while(directions, rng)
    }

    fn flapping(&mut self, place: usize, mut rng: Random) -> bool {
        let other = rng.below(self.swarm.nodes as u64) as usize;
        if other != place {
            let times = 2 + 2 * rng.below(10) as u32;
            self.flap(vec![(place, other), (other, place)], times, rng, Phase::Faults);
        }
        other != place
    }

    fn flap(&mut self, directions: Vec<(usize, usize)>, left: u32, mut rng: Random, phase: Phase) {
        if left == 0 || self.phase != phase {
            return;
        }
        self.set_cuts(&directions, left.is_multiple_of(2));
        let lasts = 20 * MILLISECOND + rng.below(500 * MILLISECOND);
        self.after(lasts, Event::Undo(Undo::Flap(directions, left - 1, rng, phase)));
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let nodes = self.swarm.nodes;
        (0..nodes).flat_map(move |from| (0..nodes).map(move |to| (from, to))).filter(|(from, to)| from != to)
    }
}
