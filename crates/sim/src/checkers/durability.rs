//! Durability of what is committed and acknowledged (R5): on a quorum's disks at that moment, and in the log of every later leader.

use slimcluster_core::{Index, NodeId, Term};

use super::committed::CommittedLog;
use super::storage::{ShadowLog, Store};
use super::{Verdict, Violation};

/// What clients were told.
#[derive(Debug, Default)]
pub struct Durability {
    /// The highest index that a client was told of, with its history.
    acknowledged: Option<(Index, u64)>,
}

impl Durability {
    /// A client was told that its command was committed at `index`. Returns the history of the entry.
    pub fn on_acknowledged(
        &mut self,
        index: Index,
        committed: &CommittedLog,
        voters: &[NodeId],
        stores: &[Store],
    ) -> Result<u64, Violation> {
        let Some(entry) = committed.at(index) else {
            let detail = format!("{index} was acknowledged, nobody applied it");
            return Err(Violation::of("acknowledged is applied", detail));
        };
        on_quorum(index, entry.chain, voters, stores)?;
        if self.acknowledged.is_none_or(|(highest, _)| highest < index) {
            self.acknowledged = Some((index, entry.chain));
        }
        Ok(entry.chain)
    }

    /// The highest index that a client was told of, with its history.
    pub fn acknowledged(&self) -> Option<(Index, u64)> {
        self.acknowledged
    }
}

/// A node won `term` with this log: it holds everything that was committed before (leader completeness).
pub fn check_leader(node: NodeId, term: Term, log: &ShadowLog, committed: &CommittedLog) -> Verdict {
    let Some(last) = committed.last_before(term) else { return Ok(()) };
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

/// The entry at `index` with this history is committed: a majority of the voters' disks holds it.
pub fn on_quorum(index: Index, chain: u64, voters: &[NodeId], stores: &[Store]) -> Verdict {
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

#[cfg(test)]
mod tests {
    use super::super::sample::{self, founded, run, write};
    use super::*;

    #[test]
    fn an_entry_on_too_few_disks_and_a_leader_that_lacks_it_are_found() {
        let voters = [NodeId(1), NodeId(2), NodeId(3)];
        let mut stores: Vec<Store> = voters.iter().map(|node| founded(*node)).collect();
        let entry = run(2, 1, sample::base_chain());
        let mut committed = CommittedLog::default();
        let mut durability = Durability::default();
        assert!(durability.on_acknowledged(Index(2), &committed, &voters, &stores).is_err(), "nobody applied it");
        committed.on_apply(NodeId(1), Term(1), Index(2), &entry).unwrap();
        write(&mut stores[0], std::slice::from_ref(&entry), true);
        write(&mut stores[1], std::slice::from_ref(&entry), false);
        assert!(on_quorum(Index(2), entry.chain_end(), &voters, &stores).is_err(), "one disk, one that was only told");
        assert!(durability.on_acknowledged(Index(2), &committed, &voters, &stores).is_err());
        write(&mut stores[2], std::slice::from_ref(&entry), true);
        assert_eq!(durability.on_acknowledged(Index(2), &committed, &voters, &stores), Ok(entry.chain_end()));
        assert_eq!(durability.acknowledged(), Some((Index(2), entry.chain_end())));

        check_leader(NodeId(1), Term(2), stores[0].accepted_log(), &committed).unwrap();
        let empty = founded(NodeId(4));
        check_leader(NodeId(4), Term(1), empty.accepted_log(), &committed).unwrap();
        assert!(check_leader(NodeId(4), Term(2), empty.accepted_log(), &committed).is_err());
    }
}
