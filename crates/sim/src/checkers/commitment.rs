//! What is committed (R4, R5, R7): the same on every node, on a quorum's disks, and in the log of every later leader.

use slimcluster_core::{Index, LogId, NodeId, Run, Term};

use super::log_matching::chained;
use super::storage::{ShadowLog, Store};
use super::{Verdict, Violation};

/// An entry that some node has applied, hence committed.
#[derive(Clone, Copy, Debug)]
struct Committed {
    id: LogId,
    chain: u64,
    /// It was committed in this term at the latest.
    by: Term,
}

/// The committed log of the cluster.
#[derive(Debug, Default)]
pub struct Commitment {
    /// From index 2 on: the founding configuration is entry 1.
    entries: Vec<Committed>,
    acknowledged: Index,
}

/// The first index that is ever applied.
const FIRST: u64 = 2;

impl Commitment {
    /// A process of a node in `term` was told to apply `run`, after everything below `next`.
    pub fn on_apply(
        &mut self,
        node: NodeId,
        term: Term,
        next: Index,
        run: &Run,
        voters: &[NodeId],
        stores: &[Store],
    ) -> Verdict {
        if run.first() != next {
            let detail = format!("node {node:?} applies {run:?} where {next} is next");
            return Err(Violation::of("contiguous apply", detail));
        }
        for (id, chain) in chained(run) {
            match self.at(id.index) {
                Some(committed) if (committed.id, committed.chain) == (id, chain) => {}
                Some(committed) => {
                    let detail = format!("node {node:?} applies {id} where {} was applied", committed.id);
                    return Err(Violation::of("state machine safety", detail));
                }
                None => {
                    on_quorum(id.index, chain, voters, stores)?;
                    self.entries.push(Committed { id, chain, by: term });
                }
            }
        }
        Ok(())
    }

    /// A leader won `term` with this log: it must hold everything that was committed before (leader completeness).
    pub fn on_elected(&self, node: NodeId, term: Term, log: &ShadowLog) -> Verdict {
        // Terms of commitment are upper bounds: only entries committed in a lower term for certain must be there.
        let Some(last) = self.entries.iter().rev().find(|entry| entry.by < term) else { return Ok(()) };
        if log.holds(last.id.index, last.chain) {
            return Ok(());
        }
        let detail = format!(
            "node {node:?} leads in term {term} with a log that ends in {} and lacks {}, committed in term {}",
            log.last().0,
            last.id,
            last.by
        );
        Err(Violation::of("leader completeness", detail))
    }

    /// The leader of `term` moved its commit index to `commit`: only an entry of its own term commits by counting.
    pub fn on_leader_commit(&self, term: Term, commit: Index, log: &ShadowLog) -> Verdict {
        match log.term_at(commit) {
            Some(entry) if entry == term => Ok(()),
            entry => {
                let detail = format!("the leader of term {term} committed {commit}, an entry of term {entry:?}");
                Err(Violation::of("own-term commit", detail))
            }
        }
    }

    /// A client was told that its command was committed at `index`.
    /// Returns the entry's history.
    pub fn on_acknowledged(&mut self, index: Index, voters: &[NodeId], stores: &[Store]) -> Result<u64, Violation> {
        let Some(committed) = self.at(index).copied() else {
            return Err(Violation::of(
                "acknowledged is applied",
                format!("{index} was acknowledged, nobody applied it"),
            ));
        };
        self.acknowledged = self.acknowledged.max(index);
        on_quorum(index, committed.chain, voters, stores)?;
        Ok(committed.chain)
    }

    /// The highest index that a client was told of, with its history.
    pub fn acknowledged(&self) -> Option<(Index, u64)> {
        self.at(self.acknowledged).map(|committed| (self.acknowledged, committed.chain))
    }

    /// The highest committed index.
    pub fn last(&self) -> Index {
        Index(FIRST - 1 + self.entries.len() as u64)
    }

    fn at(&self, index: Index) -> Option<&Committed> {
        index.0.checked_sub(FIRST).and_then(|at| self.entries.get(at as usize))
    }
}

fn on_quorum(index: Index, chain: u64, voters: &[NodeId], stores: &[Store]) -> Verdict {
    let holds = |store: &&Store| {
        store.node().is_some_and(|node| voters.contains(&node)) && store.durable_log().holds(index, chain)
    };
    let count = stores.iter().filter(holds).count();
    if count * 2 > voters.len() {
        return Ok(());
    }
    let detail = format!("{index} was committed when {count} of {} disks held it", voters.len());
    Err(Violation::of("quorum durability", detail))
}
