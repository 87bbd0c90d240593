//! The end of a run: everything works again, and after a cold restart nothing that was acknowledged is missing.

use slimcluster_core::NodeId;

use crate::checkers::{Verdict, Violation, convergence};
use crate::phases::Phase;
use crate::process::Process;
use crate::world::{Place, World};

impl World {
    /// What is missing to all being well.
    pub(crate) fn missing(&self) -> Option<String> {
        let processes: Vec<Option<&Process>> = self.places.iter().map(|place| place.process.as_ref()).collect();
        let left_out = self.left_out();
        let is_lost: Vec<bool> = (0..self.swarm.nodes).map(|place| self.budget.is_lost(place)).collect();
        if let Some(missing) = convergence::missing(&processes, &left_out, &is_lost) {
            return Some(missing);
        }
        if let Some(missing) = self.attacker.as_ref().and_then(|attacker| attacker.missing(&self.network)) {
            return Some(missing);
        }
        if let Some(missing) = self.missing_to_strangers() {
            return Some(missing);
        }
        let members = self.served.iter().zip(left_out).enumerate().filter(|(_, (_, left_out))| !left_out);
        let mut waiting = members.filter_map(|(place, (served, _))| Some((place, served.missing()?)));
        waiting.next().map(|(place, what)| format!("no fresh {what} was served at n{}", place + 1))
    }

    /// Which nodes the cluster was formed without. They are less than half, or it would have started afresh.
    pub(crate) fn left_out(&self) -> Vec<bool> {
        let rafts = self.places.iter().flat_map(|place| &place.process).filter_map(|process| process.node.raft());
        let voters: Vec<NodeId> = rafts.flat_map(|raft| raft.configuration().voters()).collect();
        let stores = self.checkers.stores.iter().take(self.swarm.nodes);
        let left_out: Vec<bool> = stores.map(|store| store.is_left_out(&voters)).collect();
        let count = left_out.iter().filter(|left_out| **left_out).count();
        let left_out = if count * 2 < left_out.len() { left_out } else { vec![false; left_out.len()] };
        // Whoever lives where a voter's disk was destroyed is not that voter.
        left_out.into_iter().enumerate().map(|(place, left_out)| left_out || self.is_spent(place)).collect()
    }

    /// Everything that was acknowledged stands on every node, and equal logs have made equal states.
    pub(crate) fn audit(&mut self) -> Verdict {
        self.check_strangers()?;
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

    /// Whether what began at `began` shows that the present phase is as it should be.
    pub(crate) fn is_fresh(&self, began: u64) -> bool {
        self.phase != Phase::Faults && began >= self.phase_began
    }

    /// The numbers at the end.
    pub(crate) fn final_stats(&self) -> crate::report::Stats {
        let mut stats = self.stats.clone();
        stats.faults.add(self.network.injected.counts());
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
