//! Recovery (D1, R6): what a store said was durable is found again; what is found was written; promises are kept.
//!
//! For each disk the checker keeps the state that the store last called durable, and the writes that may or may not have reached
//! it since. A store that is opened again must hold one of the states between the two, exactly.

use std::collections::VecDeque;

use slimcluster_core::storage::{Identity, Phase, Recovered, Write};
use slimcluster_core::{ClusterUuid, Generation, HardState, Index, LogId, NodeId, Run, Term, WriteSeq};

use super::log_matching::chained;
use super::{Verdict, Violation};

/// A log as ids and hashes of histories.
#[derive(Clone, Debug, Default)]
pub struct ShadowLog {
    base: LogId,
    base_chain: u64,
    entries: Vec<(Term, u64)>,
}

impl ShadowLog {
    /// A log that starts after its founding configuration.
    fn founded(phase: &Phase) -> Self {
        let founding = phase.founding_log(slimcluster_core::GroupId::DEFAULT);
        ShadowLog { base: founding.base(), base_chain: founding.base_chain(), entries: Vec::new() }
    }

    fn at(&self, index: Index) -> Option<usize> {
        index.0.checked_sub(self.base.index.0 + 1).map(|at| at as usize)
    }

    fn splice(&mut self, run: &Run) -> Verdict {
        match self.at(run.first()) {
            Some(at) if at <= self.entries.len() => self.entries.truncate(at),
            _ => return Err(Violation::of("contiguous log", format!("{run:?} written after {}", self.last().0))),
        }
        self.entries.extend(chained(run).map(|(id, chain)| (id.term, chain)));
        Ok(())
    }

    /// The last entry, and the hash of the whole log.
    pub fn last(&self) -> (LogId, u64) {
        match self.entries.last() {
            Some((term, chain)) => (LogId::new(*term, Index(self.base.index.0 + self.entries.len() as u64)), *chain),
            None => (self.base, self.base_chain),
        }
    }

    /// Whether the log holds exactly this history at `index`.
    pub fn holds(&self, index: Index, chain: u64) -> bool {
        match self.at(index) {
            Some(at) => self.entries.get(at).is_some_and(|entry| entry.1 == chain),
            None => index == self.base.index && chain == self.base_chain,
        }
    }

    /// The hash of the history up to and including `index`.
    pub fn chain_at(&self, index: Index) -> Option<u64> {
        match self.at(index) {
            Some(at) => self.entries.get(at).map(|entry| entry.1),
            None => (index == self.base.index).then_some(self.base_chain),
        }
    }

    /// The term of the entry at `index`.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.at(index).and_then(|at| self.entries.get(at)).map(|entry| entry.0)
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    identity: Option<Identity>,
    hard_state: HardState,
    log: ShadowLog,
}

impl State {
    fn found(&mut self, identity: &Identity) {
        let formed = |identity: &Identity| matches!(identity.phase, Phase::Formed { .. });
        if formed(identity) != self.identity.as_ref().is_some_and(formed) {
            // Founded; or given up with the set that never became a cluster (rule 24).
            self.log = ShadowLog::founded(&identity.phase);
        }
        self.identity = Some(identity.clone());
    }

    fn write(&mut self, write: &Write) -> Verdict {
        if let Some(identity) = &write.identity {
            self.found(identity);
        }
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        write.runs.iter().try_for_each(|run| self.log.splice(run))
    }
}

/// What a batch changed, as it was before.
#[derive(Clone, Debug, Default)]
struct Before {
    /// None: the batch did not touch it.
    identity: Option<Identity>,
    hard_state: HardState,
    last: LogId,
    chain: u64,
}

/// What is known of one disk.
#[derive(Clone, Debug, Default)]
pub struct Store {
    durable: State,
    /// What was durable before the batch that became so last.
    before_last: Before,
    /// The log as the node has accepted it, durable or not.
    accepted: State,
    /// Writes that the store did not call durable. Those of processes that died stay until the next good open.
    pending: VecDeque<Write>,
    generation: Generation,
}

impl Store {
    /// The node wants `write` to be made durable.
    pub fn on_write(&mut self, write: &Write) -> Verdict {
        self.accepted.write(write)?;
        self.pending.push_back(write.clone());
        Ok(())
    }

    /// The store called everything up to `seq` durable. Returns the votes that became so.
    pub fn on_written(&mut self, seq: WriteSeq) -> Result<Vec<HardState>, Violation> {
        let mut hard_states = Vec::new();
        let (last, chain) = self.durable.log.last();
        self.before_last = Before { identity: None, hard_state: self.durable.hard_state, last, chain };
        while self.pending.front().is_some_and(|write| write.seq <= seq) {
            if let Some(write) = self.pending.pop_front() {
                if write.identity.is_some() && self.before_last.identity.is_none() {
                    self.before_last.identity = self.durable.identity.clone();
                }
                self.durable.write(&write)?;
                hard_states.extend(write.hard_state);
            }
        }
        Ok(hard_states)
    }

    /// A new process opened the store.
    pub fn on_opened(&mut self, recovered: &Recovered) -> Verdict {
        let identity = &recovered.identity;
        if identity.generation <= self.generation {
            let detail = format!("generation {} after {}", identity.generation, self.generation);
            return Err(Violation::of("rising generation", detail));
        }
        self.generation = identity.generation;
        self.check_identity(identity)?;
        self.check_hard_state(recovered.hard_state)?;
        self.find_log(recovered)?;
        self.durable.identity = Some(identity.clone());
        self.durable.hard_state = recovered.hard_state;
        self.accepted = self.durable.clone();
        self.pending.clear();
        Ok(())
    }

    /// Whether what was found differs from what was durable only in what the batch that became durable last wrote: the rot of that
    /// batch, before anything is written behind it, cannot be told from a torn write by one node alone (rule 4).
    pub fn lacks_only_the_last_batch(&self, recovered: &Recovered) -> bool {
        let before = &self.before_last;
        let (end, chain) = (recovered.log.last(), recovered.log.chain());
        // Of a torn batch the first records may stand.
        let is_between = end.index >= before.last.index && self.durable.log.holds(end.index, chain);
        self.is_sound_but_for_the_log(recovered) && (is_between || (end, chain) == (before.last, before.chain))
    }

    /// Whether it lacks nothing but the end of the log.
    pub fn lacks_only_an_end(&self, recovered: &Recovered) -> bool {
        let (end, chain) = (recovered.log.last(), recovered.log.chain());
        self.is_sound_but_for_the_log(recovered) && self.durable.log.holds(end.index, chain)
    }

    fn is_sound_but_for_the_log(&self, recovered: &Recovered) -> bool {
        let (before, durable, found) = (&self.before_last, &self.durable, &recovered.identity);
        let is_of = |known: &Option<Identity>| {
            known.as_ref().is_some_and(|known| (known.node, &known.phase) == (found.node, &found.phase))
        };
        (is_of(&before.identity) || is_of(&durable.identity))
            && (recovered.hard_state == before.hard_state || recovered.hard_state == durable.hard_state)
    }

    fn check_identity(&self, found: &Identity) -> Verdict {
        let Some(durable) = &self.durable.identity else { return Ok(()) };
        let same = |identity: &Identity| {
            (identity.node, identity.store, &identity.phase) == (found.node, found.store, &found.phase)
        };
        if same(durable) || self.pending.iter().filter_map(|write| write.identity.as_ref()).any(same) {
            return Ok(());
        }
        Err(Violation::of("recovered identity", format!("{found:?} found, {durable:?} was durable")))
    }

    fn check_hard_state(&self, found: HardState) -> Verdict {
        let mut written = self.pending.iter().filter_map(|write| write.hard_state);
        if found == self.durable.hard_state || written.any(|hard_state| hard_state == found) {
            return Ok(());
        }
        let detail = format!("{found:?} found, {:?} was durable", self.durable.hard_state);
        Err(Violation::of("recovered term and vote", detail))
    }

    /// Replays the pending writes, run by run, until the log is the one that was found.
    fn find_log(&mut self, recovered: &Recovered) -> Verdict {
        let found = (recovered.log.last(), recovered.log.chain());
        let durable = self.durable.log.last();
        self.durable.found(&recovered.identity);
        if self.durable.log.last() == found {
            return Ok(());
        }
        for write in &self.pending {
            for run in &write.runs {
                self.durable.log.splice(run)?;
                if self.durable.log.last() == found {
                    // The hard state of a batch is durable before its runs (rule 4).
                    return match write.hard_state {
                        Some(stated) if recovered.hard_state.term < stated.term => Err(Violation::of(
                            "hard state before runs",
                            format!("runs of {stated:?} found with {:?}", recovered.hard_state),
                        )),
                        _ => Ok(()),
                    };
                }
            }
        }
        let detail =
            format!("it ends in {}, {} was durable, {} was written", found.0, durable.0, self.durable.log.last().0);
        Err(Violation::of("recovered log", detail))
    }

    /// The log that the store called durable.
    pub fn durable_log(&self) -> &ShadowLog {
        &self.durable.log
    }

    /// Term and vote that the store called durable.
    pub fn durable_hard_state(&self) -> HardState {
        self.durable.hard_state
    }

    /// The log that the node has accepted.
    pub fn accepted_log(&self) -> &ShadowLog {
        &self.accepted.log
    }

    /// Whether the node belongs to a cluster, as its disk says.
    pub fn is_formed(&self) -> bool {
        let identity = self.durable.identity.as_ref();
        identity.is_some_and(|identity| matches!(identity.phase, Phase::Formed { .. }))
    }

    /// Whether the node gave up its promise, after long in vain, to a set that the others formed nevertheless (rule 24): the cluster
    /// counts it in under an id that it no longer has, so it only waits to be taken in again.
    pub fn is_left_out(&self, voters: &[NodeId]) -> bool {
        let Some(identity) = &self.accepted.identity else { return false };
        let joins = matches!(identity.phase, Phase::JoinOnly { .. });
        joins && identity.abandoned.iter().any(|abandoned| voters.contains(&abandoned.node))
    }

    /// The identity that the store called durable.
    pub fn durable_identity(&self) -> Option<&Identity> {
        self.durable.identity.as_ref()
    }

    /// The cluster that the node is part of, as it knows itself.
    pub fn cluster(&self) -> Option<ClusterUuid> {
        match self.accepted.identity.as_ref()?.phase {
            Phase::Formed { uuid, .. } => Some(uuid),
            _ => None,
        }
    }

    /// Whose disk it is.
    pub fn node(&self) -> Option<NodeId> {
        self.accepted.identity.as_ref().map(|identity| identity.node)
    }
}
