//! The phases of a run: faults under load, then a healthy majority while the rest is broken for good, then everybody healed, then
//! a cold restart of all and the audit.

use slimcluster_core::Index;
use slimcluster_core::situations::{Situation, sometimes};

use crate::checkers::liveness::Served;
use crate::checkers::{Verdict, Violation, liveness};
use crate::disk::DiskFaults;
use crate::network::NetworkFaults;
use crate::process::Process;
use crate::trouble::Trouble;
use crate::workload::Wanted;
use crate::world::{Event, MILLISECOND, SECOND, World};

/// A majority that works goes on for this long, and keeps its leader: some ten of the longest election timeouts.
const STABLE_FOR: u64 = 5 * SECOND;
/// The load goes on for this long after everything is healed.
const LOAD_AFTER: u64 = 4 * SECOND;
/// All is well this long after everything is healed at the latest: the slowest wait is that of a member taken for dead, which is
/// tried again every ten seconds or so, one at a time.
const SETTLED_WITHIN: u64 = 75 * SECOND;
/// The same after the cold restart.
const RESTARTED_WITHIN: u64 = 30 * SECOND;
/// A cluster without a quorum is watched for this long: whatever it could wrongly do, it would do.
const RUINED_FOR: u64 = 10 * SECOND;
/// Reading an entry back and applying it takes so long at most.
const REPLAY_OF_AN_ENTRY: u64 = 10 * MILLISECOND;
/// How often the world looks whether all is well.
const LOOK: u64 = 100 * MILLISECOND;

/// What part of the run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Faults and load.
    Faults,
    /// A majority is healthy and has the load, the rest is broken for good.
    Majority,
    /// No faults any more, load.
    Healed,
    /// No load any more: waiting until all is well.
    Settling,
    /// All machines lost power and start again.
    Restarted,
    /// The end.
    Done,
}

impl World {
    /// Enters the next phase, or looks whether it may.
    pub(crate) fn on_phase(&mut self) -> Verdict {
        self.trace.event(self.now, [30, self.phase as u64, 0], || format!("end of phase {:?}?", self.phase));
        match self.phase {
            Phase::Faults if self.is_spared() => {
                let detail = "not every node knows of a cluster, and nothing has gone wrong";
                return Err(Violation::of("liveness of forming", detail));
            }
            Phase::Faults if self.now < self.faults_until => {}
            Phase::Faults => {
                self.end_faults();
                self.roll_out()?;
                self.part_with_namesakes()?;
                if self.begin_majority()? {
                    self.after(LOOK, Event::Phase);
                } else {
                    self.heal_all()?;
                }
            }
            Phase::Majority => {
                if self.majority_is_done()? {
                    if !self.stability.is_settled() {
                        sometimes(Situation::LedFromOutside);
                    }
                    self.heal_all()?;
                } else {
                    self.after(LOOK, Event::Phase);
                }
            }
            Phase::Healed => {
                self.phase = Phase::Settling;
                self.after(LOOK, Event::Phase);
            }
            Phase::Settling | Phase::Restarted if self.budget.exceeded_at().is_some() => {
                match self.phase {
                    _ if self.now <= self.phase_began + RUINED_FOR => {}
                    // Whoever starts now holds what it acknowledged, or names the file that is damaged: the check of each start.
                    Phase::Settling => self.restart_all()?,
                    _ => self.phase = Phase::Done,
                }
                self.after(LOOK, Event::Phase);
            }
            Phase::Settling => match self.missing() {
                None => {
                    self.stats.settled_after = self.now - self.phase_began;
                    self.restart_all()?;
                    self.after(LOOK, Event::Phase);
                }
                missing => {
                    self.look_again(missing, self.phase_began + SETTLED_WITHIN + replay_time(self.applied_before))?
                }
            },
            Phase::Restarted => match self.missing() {
                None => {
                    self.stats.restarted_after = self.now - self.phase_began;
                    self.audit()?;
                    self.phase = Phase::Done;
                }
                missing => {
                    self.look_again(missing, self.phase_began + RESTARTED_WITHIN + replay_time(self.applied_before))?
                }
            },
            Phase::Done => {}
        }
        Ok(())
    }

    fn look_again(&mut self, missing: Option<String>, deadline: u64) -> Verdict {
        if self.now > deadline {
            return Err(Violation::of("convergence", missing.unwrap_or_default()));
        }
        self.ask_for_service(&vec![true; self.swarm.nodes]);
        self.after(LOOK, Event::Phase);
        Ok(())
    }

    /// Each of these places that has not shown in this phase that it takes writes and reads is asked for one.
    fn ask_for_service(&mut self, places: &[bool]) {
        for place in (0..self.swarm.nodes).filter(|place| places[*place]) {
            let auditor = self.swarm.clients + place;
            let wanted = match self.served[place] {
                _ if self.clients[auditor].busy => continue,
                Served { write: false, .. } => Wanted::Command,
                Served { read: false, .. } => Wanted::Read,
                Served { .. } => continue,
            };
            self.submit(auditor, place, wanted);
        }
    }

    /// Looks at the majority: whether it works in time, keeps its leader, and has done so for long enough.
    fn majority_is_done(&mut self) -> Result<bool, Violation> {
        let is_core = self.is_core.clone();
        if self.stats.majority_after == 0 {
            let processes: Vec<Option<&Process>> = self.places.iter().map(|place| place.process.as_ref()).collect();
            let is_slow: Vec<bool> = self.places.iter().map(|place| place.trouble.is_slow(self.now)).collect();
            let (is_core, served) = (&is_core[..], &self.served[..]);
            let majority = liveness::Majority { is_core, served, is_slow: &is_slow, network: &self.network };
            let is_late = self.now > self.phase_began + liveness::WORKS_WITHIN + replay_time(self.applied_before);
            let missing = if is_late { liveness::missing_at_last } else { liveness::missing };
            match missing(&processes, &majority) {
                None => {
                    self.stats.majority_after = self.now - self.phase_began;
                    self.majority_until = self.now.max(self.links_are_new()) + STABLE_FOR;
                }
                Some(missing) if is_late => {
                    return Err(Violation::of("liveness of a majority", missing));
                }
                Some(_) => self.ask_for_service(is_core),
            }
        }
        self.check_leader(&is_core)?;
        if let Some(attacker) = &self.attacker {
            attacker.check_held(&self.network, self.now, self.phase_began, &is_core)?;
        }
        Ok(self.stats.majority_after > 0 && self.now >= self.majority_until)
    }

    /// Once all of a working majority follow one of their own, that one leads to the end of the phase (L2). A campaign of before
    /// that, begun while nobody heard of the leader, may still depose it: its candidate knows the higher term, and nobody else need.
    fn check_leader(&mut self, is_core: &[bool]) -> Verdict {
        if self.stats.majority_after == 0 || self.now < self.links_are_new() {
            return Ok(());
        }
        let core = self.places.iter().zip(is_core).filter(|(_, is_core)| **is_core).map(|(place, _)| place);
        let rafts = core.flat_map(|place| &place.process).filter_map(|process| process.node.raft());
        let views: Vec<_> = rafts.map(|raft| (raft.id(), raft.leader().map(|leader| (leader, raft.term())))).collect();
        if !self.stability.is_settled()
            && let Some((_, Some((leader, term)))) = views.first()
            && views.iter().all(|(_, view)| *view == Some((*leader, *term)))
            && views.iter().any(|(viewer, _)| viewer == leader)
            && self
                .places
                .iter()
                .filter_map(|place| place.process.as_ref()?.node.raft())
                .all(|raft| raft.term() <= *term)
        {
            self.stability.settle(*leader, *term);
            self.cut_from_leader(*leader);
        }
        views.into_iter().try_for_each(|(viewer, view)| self.stability.on_view(viewer, view))
    }

    /// From this time on no link of the phase hangs because of a fault of before: those that did are given up.
    fn links_are_new(&self) -> u64 {
        self.phase_began + self.swarm.network.stall_max.max(NetworkFaults::HEALTHY.stall_max)
    }

    /// Everybody is healthy again.
    fn heal_all(&mut self) -> Verdict {
        self.check_strangers()?;
        self.enter(Phase::Healed);
        self.heal_network();
        if let Some(attacker) = &mut self.attacker {
            attacker.withdraw(self.now, &mut self.network);
        }
        for place in 0..self.swarm.nodes {
            self.heal_place(place)?;
        }
        self.after(LOAD_AFTER, Event::Phase);
        Ok(())
    }

    /// Begins a phase that is not one of faults: what begins from now on is fresh.
    pub(crate) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.phase_began = self.now;
        self.applied_before = self.applied;
        self.served.fill(Served::default());
    }

    pub(crate) fn heal_network(&mut self) {
        self.network.heal(self.now);
        self.network.faults = NetworkFaults::HEALTHY;
    }

    /// Nothing is wrong at this place any more.
    pub(crate) fn heal_place(&mut self, place: usize) -> Verdict {
        let now = self.now;
        self.places[place].disk.set_faults(DiskFaults::default());
        self.places[place].disk.limit_space(None);
        self.places[place].trouble = Trouble::default();
        self.places[place].clock.freeze(now, false);
        let Some(process) = self.places[place].process.as_ref() else {
            // Sooner than the fault had planned it.
            self.places[place].start_planned = false;
            self.plan_start(place);
            return Ok(());
        };
        process.orders.withdraw();
        if process.stopped || process.is_stopping || process.orders.has_panicked() {
            // It is on its way to its end, which is nobody's fault and would only take time.
            self.crash(place, false)?;
            self.plan_start(place);
            return Ok(());
        }
        self.thaw(place);
        Ok(())
    }

    /// Every machine loses power at once; every node starts from what its medium holds.
    fn restart_all(&mut self) -> Verdict {
        self.enter(Phase::Restarted);
        for place in 0..self.swarm.nodes {
            self.crash(place, true)?;
            self.plan_start(place);
        }
        Ok(())
    }
}

/// How long a replay of the log takes at most: of a node that has little room to apply, entry by entry. What counts is the log of
/// before the phase: what a load adds meanwhile would put off the end as fast as it comes.
pub(crate) fn replay_time(log: Index) -> u64 {
    log.0 * REPLAY_OF_AN_ENTRY
}
