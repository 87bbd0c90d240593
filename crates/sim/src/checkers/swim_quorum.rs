//! S9: gossip never changes who votes. Whatever a member list says, the voters of a node are those of its founding configuration.

use slimcluster_core::NodeId;
use slimcluster_core::raft::Configuration;

use super::{Verdict, Violation};

/// `node` goes by these voters; its disk holds `founding`. Configuration changes will bring others, by the log alone.
pub fn check(node: NodeId, voters: impl Iterator<Item = NodeId>, founding: &Configuration) -> Verdict {
    let (mut held, mut stored) = (voters, founding.voters());
    loop {
        match (held.next(), stored.next()) {
            (None, None) => return Ok(()),
            (held, stored) if held == stored => {}
            (held, stored) => {
                let detail = format!("{node} counts the vote of {held:?} where its disk names {stored:?}");
                return Err(Violation::of("gossip changes no voters", detail));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use slimcluster_core::Durability;
    use slimcluster_core::raft::{ConfiguredNode, Standing};

    use super::*;

    #[test]
    fn a_voter_too_few_and_one_too_many_are_found() {
        let node = |id: u128| ConfiguredNode {
            id: NodeId(id),
            name: format!("n{id}"),
            durability: Durability::Fsync,
            standing: Standing::Voter,
        };
        let founding = Configuration::new([1, 2, 3].map(node).into()).unwrap();
        let check_voters = |ids: &[u128]| check(NodeId(1), ids.iter().copied().map(NodeId), &founding);
        check_voters(&[1, 2, 3]).unwrap();
        assert!(check_voters(&[1, 2]).is_err());
        assert!(check_voters(&[1, 2, 3, 4]).is_err());
        assert!(check_voters(&[1, 2, 4]).is_err());
    }
}
