//! Counting, as pure functions. A joint configuration needs a majority of each half (thesis 4.3); learners never count.

use super::configuration::Configuration;
use crate::mutants::mutant;
use crate::{Index, NodeId};

/// The highest index that a quorum holds, where each voter holds its log up to `matched(voter)`.
pub fn committed(configuration: &Configuration, matched: impl Fn(NodeId) -> Index) -> Index {
    let new = majority_match(configuration.voters().map(&matched));
    let old = majority_match(configuration.outgoing_voters().map(&matched));
    match (new, old) {
        (Some(new), Some(old)) => new.min(old),
        (Some(only), None) => only,
        // A configuration without voters commits nothing.
        (None, _) => Index(0),
    }
}

/// Whether the voters for whom `agrees` holds are a quorum.
pub fn reached(configuration: &Configuration, agrees: impl Fn(NodeId) -> bool) -> bool {
    let new = is_majority(configuration.voters().map(&agrees));
    let old = !configuration.is_joint() || is_majority(configuration.outgoing_voters().map(&agrees));
    new && old
}

/// The highest index that a majority reaches: of n sorted ascending, the one at (n - 1) / 2, since n/2 + 1 stand there or behind.
fn majority_match(matched: impl Iterator<Item = Index>) -> Option<Index> {
    let mut matched: Vec<Index> = matched.collect();
    matched.sort_unstable();
    let behind = if mutant!(HalfCommits) { 0 } else { 1 };
    matched.get(matched.len().checked_sub(behind)? / 2).copied()
}

fn is_majority(answers: impl Iterator<Item = bool>) -> bool {
    let (mut voters, mut agreeing) = (0usize, 0usize);
    for agrees in answers {
        voters += 1;
        agreeing += usize::from(agrees);
    }
    agreeing > voters / 2 || (mutant!(HalfElects) && agreeing * 2 == voters)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::configuration::{ConfiguredNode, Standing};
    use super::*;
    use crate::Durability;

    fn configuration(standings: &[Standing]) -> Option<Configuration> {
        let nodes = standings.iter().enumerate().map(|(at, &standing)| ConfiguredNode {
            id: NodeId(at as u128),
            name: format!("n{at}"),
            durability: Durability::Fsync,
            standing,
        });
        Configuration::new(nodes.collect()).ok()
    }

    /// Tries every subset: slow and obviously right.
    fn naive_reached(configuration: &Configuration, agreeing: &[NodeId]) -> bool {
        let majority = |half: Vec<NodeId>| half.iter().filter(|id| agreeing.contains(id)).count() * 2 > half.len();
        let old: Vec<NodeId> = configuration.outgoing_voters().collect();
        majority(configuration.voters().collect()) && (!configuration.is_joint() || majority(old))
    }

    fn naive_committed(configuration: &Configuration, matched: &[u64]) -> Index {
        let holds = |index: u64| -> Vec<NodeId> {
            (0..matched.len()).filter(|&at| matched[at] >= index).map(|at| NodeId(at as u128)).collect()
        };
        (1..=20).rev().find(|&index| naive_reached(configuration, &holds(index))).map_or(Index(0), Index)
    }

    fn standing() -> impl Strategy<Value = Standing> {
        prop::sample::select(vec![
            Standing::Voter,
            Standing::Voter,
            Standing::Learner,
            Standing::Incoming,
            Standing::Outgoing,
            Standing::Demoting,
        ])
    }

    proptest! {
        #[test]
        fn counting_equals_the_naive_way(nodes in prop::collection::vec((standing(), 0u64..20), 1..8)) {
            let standings: Vec<Standing> = nodes.iter().map(|n| n.0).collect();
            let matched: Vec<u64> = nodes.iter().map(|n| n.1).collect();
            // A joint configuration whose old half is empty does not exist: some majority was in force before.
            if let Some(configuration) = configuration(&standings)
                && (!configuration.is_joint() || configuration.outgoing_voters().next().is_some())
            {
                let of = |id: NodeId| Index(matched[id.0 as usize]);
                prop_assert_eq!(committed(&configuration, of), naive_committed(&configuration, &matched));
                let is_agreeing = |id: NodeId| matched[id.0 as usize] > 9;
                let all = (0..matched.len()).map(|at| NodeId(at as u128));
                let agreeing: Vec<NodeId> = all.filter(|&id| is_agreeing(id)).collect();
                prop_assert_eq!(reached(&configuration, is_agreeing), naive_reached(&configuration, &agreeing));
            }
        }
    }

    #[test]
    fn two_of_five_are_no_quorum() {
        let five = configuration(&[Standing::Voter; 5]).unwrap();
        assert_eq!(committed(&five, |id| Index([9, 9, 3, 2, 1][id.0 as usize])), Index(3));
        assert!(!reached(&five, |id| id.0 < 2));
        assert!(reached(&five, |id| id.0 < 3));
    }

    #[test]
    fn without_voters_nothing_is_a_quorum() {
        let empty = Configuration::default();
        assert_eq!(committed(&empty, |_| Index(9)), Index(0));
        assert!(!reached(&empty, |_| true));
    }
}
