//! The commit rule (R7): a leader commits by counting only an entry of its own term, and only when a quorum's disks hold it.

use slimcluster_core::{Index, NodeId, Term};

use super::durability::on_quorum;
use super::storage::{ShadowLog, Store};
use super::{Verdict, Violation};

/// The leader of `term` moved its commit index to `commit` in this log, with these voters.
pub fn check(term: Term, commit: Index, log: &ShadowLog, voters: &[NodeId], stores: &[Store]) -> Verdict {
    match (log.term_at(commit), log.chain_at(commit)) {
        (Some(entry), Some(chain)) if entry == term => on_quorum(commit, chain, voters, stores),
        (entry, _) => {
            let detail = format!("the leader of term {term} committed {commit}, an entry of term {entry:?}");
            Err(Violation::of("own-term commit", detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{self, founded, run, write};
    use super::*;

    #[test]
    fn an_entry_of_an_earlier_term_and_one_without_a_quorum_are_found() {
        let voters = [NodeId(1), NodeId(2), NodeId(3)];
        let mut stores: Vec<Store> = voters.iter().map(|node| founded(*node)).collect();
        let old = run(2, 1, sample::base_chain());
        let own = run(3, 2, old.chain_end());
        for store in &mut stores[..2] {
            write(store, std::slice::from_ref(&old), true);
        }
        write(&mut stores[0], std::slice::from_ref(&own), true);
        let check = |commit, stores: &[Store]| check(Term(2), Index(commit), stores[0].accepted_log(), &voters, stores);
        assert_eq!(check(2, &stores).unwrap_err().property, "own-term commit");
        assert_eq!(check(3, &stores).unwrap_err().property, "quorum durability");
        write(&mut stores[1], std::slice::from_ref(&own), true);
        check(3, &stores).unwrap();
    }
}
