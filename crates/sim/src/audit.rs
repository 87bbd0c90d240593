//! The end of a run: the faults stop, everything must work again, and after a cold restart nothing acknowledged may be missing.

use slimcluster_core::NodeId;

use crate::checkers::{Verdict, Violation, convergence};
use crate::disk::DiskFaults;
use crate::network::{Endpoint, NetworkFaults};
use crate::process::Process;
use crate::world::{Event, MILLISECOND, Place, SECOND, World};

/// The load goes on for this long after the faults.
const LOAD_AFTER: u64 = 12 * SECOND;
/// The world lasts at least this much longer than the faults.
const QUIET: u64 = 15 * SECOND;
/// All is well this long after the end of the faults at the latest: the slowest wait is that of a member taken for dead, which is
/// tried again every ten seconds or so, one at a time.
const SETTLED_WITHIN: u64 = 75 * SECOND;
/// The same after the cold restart.
const RESTARTED_WITHIN: u64 = 30 * SECOND;
/// How often the world looks whether all is well.
const LOOK: u64 = 250 * MILLISECOND;

/// What part of the run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Faults and load.
    Faults,
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
    pub(crate) fn plan_phase(&mut self) {
        self.at(self.swarm.faults_for, Event::Phase);
    }

    /// Enters the next phase, or looks whether it may.
    pub(crate) fn on_phase(&mut self) -> Verdict {
        self.trace.event(self.now, [30, self.phase as u64, 0], || format!("end of phase {:?}?", self.phase));
        match self.phase {
            Phase::Faults => {
                self.heal();
                self.after(LOAD_AFTER, Event::Phase);
            }
            Phase::Healed => {
                self.phase = Phase::Settling;
                self.after(LOOK, Event::Phase);
            }
            Phase::Settling => match self.missing() {
                None if self.now >= self.swarm.faults_for + QUIET => {
                    self.stats.settled_after = self.now - self.swarm.faults_for;
                    self.restart_all()?;
                    self.after(LOOK, Event::Phase);
                }
                missing => self.look_again(missing, self.swarm.faults_for + SETTLED_WITHIN)?,
            },
            Phase::Restarted => match self.missing() {
                None => {
                    self.stats.restarted_after = self.now - self.phase_began;
                    self.audit()?;
                    self.phase = Phase::Done;
                }
                missing => self.look_again(missing, self.phase_began + RESTARTED_WITHIN)?,
            },
            Phase::Done => {}
        }
        Ok(())
    }

    fn look_again(&mut self, missing: Option<String>, deadline: u64) -> Verdict {
        if self.now > deadline {
            return Err(Violation::of("liveness", missing.unwrap_or_default()));
        }
        // A node that has not shown that it takes writes is asked for one.
        for place in 0..self.swarm.nodes {
            let auditor = self.swarm.clients + place;
            if !self.fresh[place] && !self.clients[auditor].busy {
                self.submit(auditor, place, true);
            }
        }
        self.after(LOOK, Event::Phase);
        Ok(())
    }

    fn heal(&mut self) {
        self.phase = Phase::Healed;
        self.phase_began = self.now;
        self.network.heal();
        self.network.faults = NetworkFaults::HEALTHY;
        for place in 0..self.swarm.nodes {
            self.fresh[place] = false;
            let Place { disk, slow_until, slow_disk_until, crash_in_write, power_loss_after_start, .. } =
                &mut self.places[place];
            disk.set_faults(DiskFaults::default());
            (*slow_until, *slow_disk_until, *crash_in_write, *power_loss_after_start) = (0, 0, None, false);
            if let Some(process) = self.places[place].process.as_mut() {
                process.busy_until = process.busy_until.min(self.now);
                let endpoint = process.endpoint;
                self.wake(endpoint, self.now);
            } else {
                self.plan_start(place);
            }
        }
    }

    /// Every machine loses power at once; every node starts from what its medium holds.
    fn restart_all(&mut self) -> Verdict {
        self.phase = Phase::Restarted;
        self.phase_began = self.now;
        for place in 0..self.swarm.nodes {
            self.fresh[place] = false;
            self.crash(place, true)?;
            self.plan_start(place);
        }
        Ok(())
    }

    /// What is missing to all being well.
    fn missing(&self) -> Option<String> {
        let processes: Vec<Option<&Process>> = self.places.iter().map(|place| place.process.as_ref()).collect();
        let left_out = self.left_out();
        if let Some(missing) = convergence::missing(&processes, &left_out) {
            return Some(missing);
        }
        let stale = self.fresh.iter().zip(left_out).position(|(fresh, left_out)| !fresh && !left_out)?;
        Some(format!("no fresh write went through n{}", stale + 1))
    }

    /// Which nodes the cluster was formed without. They are less than half, or it would have started afresh.
    fn left_out(&self) -> Vec<bool> {
        let rafts = self.places.iter().flat_map(|place| &place.process).filter_map(|process| process.node.raft());
        let voters: Vec<NodeId> = rafts.flat_map(|raft| raft.configuration().voters()).collect();
        let left_out: Vec<bool> = self.checkers.stores.iter().map(|store| store.is_left_out(&voters)).collect();
        let count = left_out.iter().filter(|left_out| **left_out).count();
        if count * 2 < left_out.len() { left_out } else { vec![false; left_out.len()] }
    }

    /// Everything that was acknowledged stands on every node, and equal logs have made equal states.
    fn audit(&mut self) -> Verdict {
        let left_out = self.left_out();
        let members = self.places.iter().zip(&left_out).filter(|(_, left_out)| !**left_out).map(|(place, _)| place);
        let states = members.flat_map(|place| &place.process).map(|process| process.host.serialise());
        let states = states
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Violation::of("equal replicas", error.to_string()))?;
        if states.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(Violation::of("equal replicas", "the states of two nodes differ after the same entries"));
        }
        self.stats.left_out = left_out.iter().filter(|left_out| **left_out).count() as u64;
        for place in (0..self.swarm.nodes).filter(|place| !left_out[*place]) {
            if let Some(process) = &self.places[place].process {
                self.workload.audit(process.endpoint)?;
            }
            self.checkers.audit(place)?;
        }
        self.workload.finish()
    }

    /// An append that began at `began` was acknowledged by this process.
    pub(crate) fn note_fresh(&mut self, endpoint: Endpoint, began: u64) {
        if self.phase != Phase::Faults && began >= self.phase_began {
            self.fresh[endpoint.place] = true;
        }
    }

    /// The numbers at the end.
    pub(crate) fn final_stats(&self) -> crate::report::Stats {
        let mut stats = self.stats.clone();
        stats.faults.add(&self.network.injected);
        for place in &self.places {
            stats.faults.add(&place.disk.injected());
        }
        stats.time = self.now;
        stats.applied = self.workload.applied();
        stats
    }

    /// The world, in one line.
    pub(crate) fn describe(&self) -> String {
        format!("{:?} in phase {:?}; {:?}", self.swarm, self.phase, self.stats)
    }

    /// Each node, in one line.
    pub(crate) fn describe_nodes(&self) -> Vec<String> {
        let describe = |(at, place): (usize, &Place)| {
            let store = &self.checkers.stores[at];
            let (durable, accepted) = (store.durable_log().last().0, store.accepted_log().last().0);
            let disk = format!("log to {accepted}, durable to {durable}, {:?}", store.durable_hard_state());
            match &place.process {
                None => format!("n{} (node {:?}) is down; {disk}", at + 1, store.node()),
                Some(process) => {
                    let status = process.node.status();
                    let drops: Vec<_> = process.node.drops().collect();
                    format!(
                        "n{} (node {:?}) at {}, start {}: {status:?}; {disk}; {} requests; dropped {drops:?}",
                        at + 1,
                        store.node(),
                        process.address,
                        process.endpoint.start,
                        process.requests.len()
                    )
                }
            }
        };
        self.places.iter().enumerate().map(describe).collect()
    }

    pub(crate) fn mutant_name(&self) -> Option<String> {
        #[cfg(feature = "mutants")]
        return self.options.mutant.map(|mutant| mutant.to_string());
        #[cfg(not(feature = "mutants"))]
        None
    }
}
