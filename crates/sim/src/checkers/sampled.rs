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
enum Asked {
    /// To add an entry; answered by its position. Which entry it is changes nothing, so appends are interchangeable.
    Append,
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
        is_true.then_some(if matches!(asked, Asked::Append) { length + 1 } else { *length })
    }

    fn is_read(&self, asked: &Asked) -> bool {
        matches!(asked, Asked::Length)
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
    /// A client begins an operation: the append of this number, or a look at the length.
    pub fn begin(&mut self, at: u64, client: usize, operation: u64, append: Option<u64>) {
        if self.operations.len() >= OPERATIONS_MAX {
            self.full.get_or_insert(at);
            return;
        }
        let asked = if append.is_some() { Asked::Append } else { Asked::Length };
        let id = self.history.invoke(client as u64, asked, at);
        self.operations.insert(operation, id);
        self.appends.extend(append.map(|append| (append, id)));
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
        sample.begin(0, 0, 0, Some(0));
        sample.answered(10, 0, 0);
        sample.begin(5, 1, 1, Some(1));
        sample.begin(20, 2, 2, None);
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
    fn appends_whose_answers_were_lost_are_interchangeable() {
        // Forty of them are in flight while others are answered, and the last answer is wrong: which of them were first is nothing that
        // the search has to go through.
        let mut sample = Sample::default();
        (0..40).for_each(|append| sample.begin(append, append as usize, append, Some(append)));
        for step in 0..20 {
            let (operation, at) = (100 + step, 1_000 + 10 * step);
            sample.begin(at, 50, operation, Some(operation));
            sample.answered(at + 5, operation, 2 * step + u64::from(step == 19) * 100);
        }
        let applied = (0..20).flat_map(|step| [100 + step, step]).chain(20..40);
        assert_eq!(sample.judge(applied).unwrap_err().property, "linearizability, by search");
    }

    #[test]
    fn reads_that_were_answered_long_after_they_were_begun_are_placed_where_they_fit() {
        // Twelve replicas lag behind for long. Were such a read not placed at once, each set of the others would be gone through.
        let mut sample = Sample::default();
        (0..12).for_each(|client| sample.begin(1, client, client as u64, None));
        for round in 0..400 {
            let at = 100 * (1 + round);
            (0..10).for_each(|client| sample.begin(at, 20 + client as usize, 100 + 20 * round + client, None));
            sample.begin(at, 40, 119 + 20 * round, Some(round));
            (0..10).for_each(|client| sample.answered(at + 50, 100 + 20 * round + client, round + client % 2));
            sample.answered(at + 50, 119 + 20 * round, round);
        }
        (0..12).for_each(|client| sample.answered(1_000_000, client, client % 3));
        sample.judge(0..400).unwrap();
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
