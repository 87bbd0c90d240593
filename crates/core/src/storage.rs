//! What a node keeps across a restart, and the one ordered stream of writes that keeps it (rules 1-12, 22).

use std::net::SocketAddr;

use bytes::Bytes;

use crate::raft::Configuration;
use crate::types::StoreId;
use crate::{
    ClusterUuid, Generation, GroupId, HardState, Index, LogId, LogTime, MachineId, NodeId, Nonce, Run, RunHeader,
    RunKind, Term, WallTime, WriteSeq,
};

/// The contents of the identity file: durable before the first packet that depends on them (rule 22).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who this node is.
    pub node: NodeId,
    /// Which data directory this is.
    pub store: StoreId,
    /// The cluster id that the directory was made for; a start under another one is refused.
    pub cluster_id: String,
    /// The number of the current process start, raised at each open.
    pub generation: Generation,
    /// How far the node has come in forming or joining a cluster.
    pub phase: Phase,
    /// Ids that this node gave up, the oldest first, each with the set that it had promised and that can now never form (rule 24).
    pub abandoned: Vec<Abandoned>,
}

/// How far a node has come in forming or joining a cluster (rule 22).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing promised, no cluster met.
    Fresh,
    /// Promised exclusively to form a cluster of exactly this set.
    Promised(Configuration),
    /// Part of a cluster. The set is the baseline: entry 1 of term 1, committed.
    Formed {
        /// The cluster's identity.
        uuid: ClusterUuid,
        /// The founding configuration.
        baseline: Configuration,
    },
    /// Met a formed cluster that it is not part of; it never bootstraps one of its own.
    JoinOnly {
        /// The cluster that it met.
        uuid: ClusterUuid,
    },
}

/// An id that was given up before it formed a cluster, and is never used again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Abandoned {
    /// The id.
    pub node: NodeId,
    /// The members of the set that it had promised, sorted; empty if it had promised nothing.
    pub set: Vec<NodeId>,
}

/// One durable batch. Batches are executed in the order of their numbers and acknowledged cumulatively.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its number.
    pub seq: WriteSeq,
    /// The group that `hard_state` and `runs` belong to.
    pub group: GroupId,
    /// Replaces the identity file.
    pub identity: Option<Identity>,
    /// Durable before the runs of the same batch (rule 4).
    pub hard_state: Option<HardState>,
    /// Each run is a splice: it goes to `first` and cuts off whatever stands there and behind.
    pub runs: Vec<Run>,
}

/// A peer as last heard of, kept so that a node that is restarted without seeds finds its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPeer {
    /// Who.
    pub id: NodeId,
    /// Its human name.
    pub name: String,
    /// Where its transport listened.
    pub address: SocketAddr,
    /// The highest generation it was heard with (rule 21).
    pub generation: Generation,
    /// The nonce of that generation.
    pub nonce: Nonce,
}

/// What a store found when it was opened. Its identity already carries the new generation, durably.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The identity file; made at the first open.
    pub identity: Identity,
    /// Hard state of the default group.
    pub hard_state: HardState,
    /// The log of the default group.
    pub log: LogSummary,
    /// The newest runs, contiguous up to the log's end, as many as the caller asked for in bytes.
    pub tail: Vec<Run>,
    /// The peers' last known addresses.
    pub peers: Vec<KnownPeer>,
}

/// What must be known of every entry without reading it: terms as ranges, and the configurations.
///
/// The store keeps one while it recovers and the core one while it runs, spliced by the same code.
// Invariant: `terms` is sorted by `first` and by `term`; `configurations` is sorted by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSummary {
    base: LogId,
    base_chain: u64,
    terms: Vec<TermStart>,
    last: LogId,
    chain: u64,
    log_time: LogTime,
    configurations: Vec<(Index, Configuration)>,
}

/// From `first` on, entries are of `term`, until the next `TermStart`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermStart {
    /// The term.
    pub term: Term,
    /// Index of its first entry in this log.
    pub first: Index,
}

/// Why a run cannot be spliced into a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// It would leave a hole, or cut into the base.
    #[error("a run that starts at {first} cannot follow a log of {base} to {last}")]
    NotContiguous {
        /// First index of the run.
        first: Index,
        /// What the log starts after.
        base: Index,
        /// Where the log ends.
        last: Index,
    },
    /// Its term is below that of the entry before it.
    #[error("term {term} at {first} is below the term of the entry before it")]
    TermDecreases {
        /// First index of the run.
        first: Index,
        /// Its term.
        term: Term,
    },
    /// The bytes are no configuration.
    #[error("the configuration at {0} cannot be read")]
    Configuration(Index),
}

impl Default for LogSummary {
    fn default() -> Self {
        LogSummary::new(LogId::ZERO, 0)
    }
}

impl LogSummary {
    /// A log that starts after `base`, where the hash chain stands at `chain`.
    pub fn new(base: LogId, chain: u64) -> Self {
        LogSummary {
            base,
            base_chain: chain,
            terms: Vec::new(),
            last: base,
            chain,
            log_time: LogTime(0),
            configurations: Vec::new(),
        }
    }

    /// Adds `run` at its place and forgets whatever stood there and behind.
    pub fn splice(&mut self, run: &Run) -> Result<(), SpliceError> {
        let first = run.first();
        if first > self.last.index.next() || first <= self.base.index {
            return Err(SpliceError::NotContiguous { first, base: self.base.index, last: self.last.index });
        }
        let before = self.term_at(first.prev()).unwrap_or(self.base.term);
        if run.term() < before {
            return Err(SpliceError::TermDecreases { first, term: run.term() });
        }
        let configuration = (run.kind() == RunKind::Configuration)
            .then(|| Configuration::decode(&run.payload()))
            .transpose()
            .map_err(|_| SpliceError::Configuration(first))?;
        while self.terms.last().is_some_and(|start| start.first >= first) {
            self.terms.pop();
        }
        while self.configurations.last().is_some_and(|(index, _)| *index >= first) {
            self.configurations.pop();
        }
        if self.terms.last().is_none_or(|start| start.term != run.term()) {
            self.terms.push(TermStart { term: run.term(), first });
        }
        if let Some(configuration) = configuration {
            self.configurations.push((first, configuration));
        }
        self.last = run.last_id();
        self.chain = run.chain_end();
        self.log_time = run.header().log_time;
        Ok(())
    }

    /// The log starts after this entry.
    pub fn base(&self) -> LogId {
        self.base
    }

    /// Hash of everything up to and including the base.
    pub fn base_chain(&self) -> u64 {
        self.base_chain
    }

    /// The last entry; the base when there is none.
    pub fn last(&self) -> LogId {
        self.last
    }

    /// Hash of everything up to and including the last entry.
    pub fn chain(&self) -> u64 {
        self.chain
    }

    /// Log time of the last run that was spliced in.
    pub fn log_time(&self) -> LogTime {
        self.log_time
    }

    /// The term of the entry at `index`; none below the base and beyond the end.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        if index < self.base.index || index > self.last.index {
            return None;
        }
        let at = self.terms.partition_point(|start| start.first <= index);
        at.checked_sub(1).map(|at| self.terms[at].term)
    }

    /// The term ranges in order.
    pub fn terms(&self) -> &[TermStart] {
        &self.terms
    }

    /// The configurations that stand in the log, with their indices, in order. The founding one is in the identity file.
    pub fn configurations(&self) -> &[(Index, Configuration)] {
        &self.configurations
    }
}

/// Runs read back from storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The group asked for.
    pub group: GroupId,
    /// The first index asked for.
    pub first: Index,
    /// Contiguous runs from `first` on, at least one entry unless storage has failed; sliced so that the first starts at `first`.
    pub runs: Vec<Run>,
}

/// An opaque answer of a state machine.
pub type Reply = Bytes;

impl Phase {
    /// The log of a node in this phase before any run was written: a formed cluster's log starts after its founding
    /// configuration, which is entry 1 of term 1 and stands in the identity file instead of the log (rule 23).
    pub fn founding_log(&self, group: GroupId) -> LogSummary {
        match self {
            Phase::Formed { baseline, .. } => {
                let run = founding_run(group, baseline);
                LogSummary::new(run.last_id(), run.chain_end())
            }
            _ => LogSummary::default(),
        }
    }
}

/// The entry that a founding configuration stands for.
fn founding_run(group: GroupId, baseline: &Configuration) -> Run {
    let header = RunHeader {
        group,
        kind: RunKind::Configuration,
        codec: 0,
        command_version: 0,
        term: Term(1),
        first: Index(1),
        machine: MachineId(0),
        log_time: LogTime(0),
        wall_time: WallTime(0),
        chain: 0,
    };
    Run::single(header, baseline.encode())
}
