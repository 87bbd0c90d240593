//! The second judge of linearizability (R9): a search that knows nothing of floors and replicas, over the operations of one register as
//! its clients saw them. The order of the log tells it only which of the operations that nobody was told the outcome of took effect,
//! and by when.

use std::collections::BTreeMap;

use super::{Verdict, Violation};
use crate::linearizability::{self, Failure, History, Model, OperationId, Options};

/// Operations of one run that are judged, at most: far more than a run of a minute has.
const OPERATIONS_MAX: usize = 5_000;
/// What a search may cost; good histories of this length take some thousand.
const WORK_MAX: u64 = 1_000_000;

/// What a client asks of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To add the entry of this number; answered by its position.
    Append(u64),
    /// How long it is.
    Length,
}

/// A register as one copy would be: how long it is.
struct Register;

impl Model for Register {
    type Key = ();
    type State = u64;
    type Input = Asked;
    type Output = u64;

    fn key(&self, _: &Asked) {}

    fn initial(&self, _: &()) -> u64 {
        0
    }

    fn step(&self, length: &u64, asked: &Asked, answer: Option<&u64>) -> Option<u64> {
        let is_true = answer.is_none_or(|answer| answer == length);
        is_true.then_some(if matches!(asked, Asked::Append(_)) { length + 1 } else { *length })
    }
}

/// What the clients of one register saw.
#[derive(Debug, Default)]
pub struct Sample {
    history: History<Asked, u64>,
    /// By the numbers of the workload.
    operations: BTreeMap<u64, OperationId>,
    appends: BTreeMap<u64, OperationId>,
    /// It is full since then: what is answered later may have seen what is not in it, so it counts as unknown.
    full: Option<u64>,
}

impl Sample {
    /// A client begins an operation.
    pub fn begin(&mut self, at: u64, client: usize, operation: u64, asked: Asked) {
        if self.operations.len() >= OPERATIONS_MAX {
            self.full.get_or_insert(at);
            return;
        }
        let id = self.history.invoke(client as u64, asked, at);
        self.operations.insert(operation, id);
        if let Asked::Append(append) = asked {
            self.appends.insert(append, id);
        }
    }

    /// It was answered.
    pub fn answered(&mut self, at: u64, operation: u64, answer: u64) {
        if let Some(id) = self.operations.get(&operation).filter(|_| self.full.is_none()) {
            self.history.returned(*id, answer, at);
        }
    }

    /// It certainly never takes effect.
    pub fn refused(&mut self, operation: u64) {
        if let Some(id) = self.operations.get(&operation) {
            self.history.refused(*id);
        }
    }

    /// The run is over; these appends of the register were applied, in this order.
    pub fn judge(&self, applied: impl Iterator<Item = u64>) -> Verdict {
        let mut history = self.history.clone();
        let committed: Vec<OperationId> = applied.filter_map(|append| self.appends.get(&append).copied()).collect();
        let broken = |why: String| Violation::of("linearizability, by search", why);
        history.resolve(&committed).map_err(|contradiction| broken(contradiction.to_string()))?;
        match linearizability::check(&Register, &history, Options { work_max: WORK_MAX }) {
            Ok(_) => Ok(()),
            Err(failure @ (Failure::NotLinearizable(_) | Failure::Malformed(_))) => Err(broken(failure.to_string())),
            Err(failure @ Failure::Inconclusive { .. }) => {
                Err(Violation::of("a search that ends", failure.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        let mut sample = Sample::default();
        sample.begin(0, 0, 0, Asked::Append(0));
        sample.answered(10, 0, 0);
        sample.begin(5, 1, 1, Asked::Append(1));
        sample.begin(20, 2, 2, Asked::Length);
        sample
    }

    #[test]
    fn what_real_time_allows_passes() {
        let mut good = sample();
        good.answered(30, 2, 1);
        good.judge([0, 1].into_iter()).unwrap();
        good.judge([0].into_iter()).unwrap();
    }

    #[test]
    fn a_stale_read_and_a_wrong_position_are_found() {
        let mut stale = sample();
        stale.answered(30, 2, 0);
        assert_eq!(stale.judge([0].into_iter()).unwrap_err().property, "linearizability, by search");
        let mut twice = sample();
        twice.answered(30, 1, 0);
        assert!(twice.judge([0, 1].into_iter()).is_err());
        let mut refused = sample();
        refused.refused(1);
        assert!(refused.judge([0, 1].into_iter()).is_err(), "it was refused and is there");
    }
}
