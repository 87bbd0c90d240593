//! Log matching (R3): two entries of equal index and term have the same history. One comparison per entry, by the hash chain.

use std::collections::BTreeMap;

use slimcluster_core::{LogId, Run};

use super::{Verdict, Violation};

/// The history of every entry that any node ever accepted.
#[derive(Debug, Default)]
pub struct LogMatching {
    chains: BTreeMap<LogId, u64>,
}

/// The entries of a run, each with the hash of everything up to and including it.
pub fn chained(run: &Run) -> impl Iterator<Item = (LogId, u64)> + '_ {
    let only = run.count() == 1;
    (run.first().0..=run.last().0).filter_map(move |index| {
        let index = slimcluster_core::Index(index);
        let chain = if only { Some(run.chain_end()) } else { run.chain_at(index) };
        Some((LogId::new(run.term(), index), chain?))
    })
}

impl LogMatching {
    /// A node accepted `run` into its log.
    pub fn on_run(&mut self, run: &Run) -> Verdict {
        for (id, chain) in chained(run) {
            let first = *self.chains.entry(id).or_insert(chain);
            if first != chain {
                return Err(Violation::of("log matching", format!("two histories end in entry {id}")));
            }
        }
        Ok(())
    }
}
