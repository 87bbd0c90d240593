//! Log matching (R3): two entries of equal index and term have the same history. One comparison per entry, by the hash chain.

use std::collections::BTreeMap;

use slimcluster_core::{LogId, Run};

use super::{Verdict, Violation};

/// The history of every entry that any node of a cluster ever accepted.
#[derive(Debug, Default)]
pub struct LogMatching {
    chains: BTreeMap<LogId, u64>,
}

/// The entries of a run, each with the hash of everything up to and including it.
pub fn chained(run: &Run) -> impl Iterator<Item = (LogId, u64)> + '_ {
    run.chains().map(|(index, chain)| (LogId::new(run.term(), index), chain))
}

impl LogMatching {
    /// A node accepted `run` into its log, or read it back.
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

#[cfg(test)]
mod tests {
    use super::super::sample::run;
    use super::*;

    #[test]
    fn one_entry_with_two_histories_is_found() {
        let mut log_matching = LogMatching::default();
        log_matching.on_run(&run(2, 1, 7)).unwrap();
        log_matching.on_run(&run(2, 1, 7)).unwrap();
        log_matching.on_run(&run(2, 2, 8)).unwrap();
        assert!(log_matching.on_run(&run(2, 1, 8)).is_err());
    }
}
