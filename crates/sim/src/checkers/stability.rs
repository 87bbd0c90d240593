//! A leader that works stays (L2): once a healthy majority has settled on a leader of its own, nothing that is broken elsewhere
//! deposes it, and until then elections are few.

use slimcluster_core::{NodeId, Term};

use super::{Verdict, Violation};

/// Elections that a healthy majority may need until it has settled, whatever the broken nodes do. Ties and stale candidates are
/// rare in a row; a broken node that can still win an election can lose it as often as it wins it.
const ELECTIONS_MAX: u32 = 10;

/// The leaders of one period in which a majority is healthy.
#[derive(Debug, Default)]
pub struct Stability {
    elections: u32,
    settled: Option<(NodeId, Term)>,
}

impl Stability {
    /// The majority works under this leader, which is one of its own.
    pub fn settle(&mut self, leader: NodeId, term: Term) {
        self.settled = Some((leader, term));
    }

    /// Whether the majority has settled.
    pub fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// A node was elected.
    pub fn on_leader(&mut self, node: NodeId, term: Term) -> Verdict {
        self.elections += 1;
        match self.settled {
            Some((leader, of)) if (leader, of) != (node, term) => {
                let detail =
                    format!("{leader} led in term {of} without a fault, and {node} was elected in term {term}");
                Err(Violation::of("stable leader", detail))
            }
            None if self.elections > ELECTIONS_MAX => {
                let detail = format!("{} elections, and a healthy majority has not settled", self.elections);
                Err(Violation::of("bounded elections", detail))
            }
            _ => Ok(()),
        }
    }

    /// A node of the majority follows this leader, or none.
    pub fn on_view(&self, viewer: NodeId, view: Option<(NodeId, Term)>) -> Verdict {
        match self.settled {
            Some(settled) if view != Some(settled) => {
                let detail =
                    format!("{} led in term {} without a fault, and {viewer} follows {view:?}", settled.0, settled.1);
                Err(Violation::of("stable leader", detail))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_is_deposed_without_a_fault_is_found() {
        let mut stability = Stability::default();
        stability.on_leader(NodeId(1), Term(1)).unwrap();
        stability.on_view(NodeId(2), None).unwrap();
        stability.settle(NodeId(1), Term(1));
        stability.on_view(NodeId(2), Some((NodeId(1), Term(1)))).unwrap();
        assert_eq!(stability.on_leader(NodeId(2), Term(2)).unwrap_err().property, "stable leader");
        assert_eq!(stability.on_view(NodeId(2), None).unwrap_err().property, "stable leader");
    }

    #[test]
    fn elections_without_end_are_found() {
        let mut stability = Stability::default();
        let verdicts: Vec<Verdict> =
            (1..=11).map(|term| stability.on_leader(NodeId(term.into()), Term(term))).collect();
        assert!(verdicts[..10].iter().all(Result::is_ok));
        assert_eq!(verdicts[10].as_ref().unwrap_err().property, "bounded elections");
    }
}
