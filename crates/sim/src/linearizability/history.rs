//! What clients did and what they were told, with times of one clock.

use std::fmt;

/// How an operation ended, as far as its client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<O> {
    /// It was answered: it took effect between its invocation and `at`.
    Returned {
        /// When the answer was there.
        at: u64,
        /// The answer.
        output: O,
    },
    /// It took effect between its invocation and `by`, as something other than its client tells; its answer was lost.
    Applied {
        /// The latest time at which it may have taken effect.
        by: u64,
    },
    /// Nobody knows: it may take effect at any time after its invocation, or never.
    Unknown,
    /// It certainly never takes effect.
    Refused,
}

/// One operation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// Whose. For people only: a client may have several operations in flight.
    pub client: u64,
    /// What was asked.
    pub input: I,
    /// When it was sent, on a clock that all operations of the history share. Equal times count as concurrent.
    pub invoked: u64,
    /// What came of it.
    pub outcome: Outcome<O>,
}

impl<I, O> Operation<I, O> {
    /// Whether nobody knows if it took effect.
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown)
    }

    /// Whether it certainly never took effect.
    pub fn is_refused(&self) -> bool {
        matches!(self.outcome, Outcome::Refused)
    }

    /// By when it had taken effect, if it certainly did.
    pub fn due(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Returned { at, .. } => Some(at),
            Outcome::Applied { by } => Some(by),
            Outcome::Unknown | Outcome::Refused => None,
        }
    }
}

/// Names an operation of the history that gave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId(pub usize);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {}", self.0)
    }
}

/// Operations in the order in which they were recorded. It grows with every operation: its owner bounds how many are recorded.
#[derive(Clone, Debug)]
pub struct History<I, O> {
    operations: Vec<Operation<I, O>>,
    /// The first thing that no history can hold. Recording goes on, checking refuses.
    malformed: Option<String>,
}

impl<I, O> Default for History<I, O> {
    fn default() -> Self {
        History { operations: Vec::new(), malformed: None }
    }
}

impl<I, O> History<I, O> {
    /// `client` sends `input` at `at`. Until told otherwise its outcome is unknown.
    pub fn invoke(&mut self, client: u64, input: I, at: u64) -> OperationId {
        self.operations.push(Operation { client, input, invoked: at, outcome: Outcome::Unknown });
        OperationId(self.operations.len() - 1)
    }

    /// The answer `output` was there at `at`.
    pub fn returned(&mut self, id: OperationId, output: O, at: u64) {
        self.end(id, Outcome::Returned { at, output });
    }

    /// It is certain that the operation never took effect and never will.
    pub fn refused(&mut self, id: OperationId) {
        self.end(id, Outcome::Refused);
    }

    /// All operations; the index is the number of their id.
    pub fn operations(&self) -> &[Operation<I, O>] {
        &self.operations
    }

    /// How many operations nobody knows the outcome of.
    pub fn unknown(&self) -> usize {
        self.operations.iter().filter(|operation| operation.is_unknown()).count()
    }

    /// Why this is not a history, if it is not.
    pub(super) fn malformed(&self) -> Option<&str> {
        self.malformed.as_deref()
    }

    /// Settles the unknown outcomes by the committed log of the run: `committed` names, in the order of the log, every operation whose
    /// command is in it, and no other. An unknown operation that is not there never took effect; one that is there took effect before
    /// every later one did, hence before any of those had returned.
    ///
    /// What the log itself contradicts is an error, and the history is as before: a command that is in it twice, one that was refused
    /// and is in it, and one that stands before a command that had returned before it was invoked.
    pub fn resolve(&mut self, committed: &[OperationId]) -> Result<(), Contradiction> {
        let mut is_committed = vec![false; self.operations.len()];
        for id in committed {
            match is_committed.get_mut(id.0) {
                None => return Err(Contradiction(format!("{id} is in the log and not in the history"))),
                Some(seen) if *seen => return Err(Contradiction(format!("{id} is in the log twice"))),
                Some(seen) => *seen = true,
            }
        }
        // Going backwards, `by` is when the first of the later ones had returned.
        let mut by = u64::MAX;
        let mut settled = Vec::new();
        for id in committed.iter().rev() {
            let operation = &self.operations[id.0];
            if operation.invoked > by {
                let why = format!("{id} was invoked at {}, and stands in the log before one that", operation.invoked);
                return Err(Contradiction(format!("{why} had returned at {by}")));
            }
            match operation.outcome {
                Outcome::Refused => return Err(Contradiction(format!("{id} was refused and is in the log"))),
                Outcome::Returned { at, .. } => by = by.min(at),
                Outcome::Applied { by: earlier } => by = by.min(earlier),
                Outcome::Unknown => {}
            }
            settled.push((*id, by));
        }
        for (id, by) in settled {
            if let Some(operation) = self.operations.get_mut(id.0)
                && operation.is_unknown()
            {
                operation.outcome = Outcome::Applied { by };
            }
        }
        for (operation, is_committed) in self.operations.iter_mut().zip(is_committed) {
            if operation.is_unknown() && !is_committed {
                operation.outcome = Outcome::Refused;
            }
        }
        Ok(())
    }

    fn end(&mut self, id: OperationId, outcome: Outcome<O>) {
        let wrong = match self.operations.get_mut(id.0) {
            None => format!("{id} ended and never began"),
            Some(operation) if !operation.is_unknown() => format!("{id} ended twice"),
            Some(operation) => match outcome {
                Outcome::Returned { at, .. } if at < operation.invoked => {
                    format!("{id} returned at {at}, before it was invoked at {}", operation.invoked)
                }
                outcome => {
                    operation.outcome = outcome;
                    return;
                }
            },
        };
        self.malformed.get_or_insert(wrong);
    }
}

/// The history and the committed log cannot both be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction(pub String);

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Contradiction {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations 0 to 3, invoked at 0, 10, 20, 30; 1 returned at 15, 2 was refused, 0 and 3 are unknown.
    fn history() -> History<(), ()> {
        let mut history = History::default();
        let ids: Vec<_> = (0..4).map(|number| history.invoke(number, (), number * 10)).collect();
        history.returned(ids[1], (), 15);
        history.refused(ids[2]);
        history
    }

    fn resolve(committed: &[usize]) -> Result<Vec<Outcome<()>>, Contradiction> {
        let mut history = history();
        let committed: Vec<_> = committed.iter().copied().map(OperationId).collect();
        history.resolve(&committed)?;
        Ok(history.operations.into_iter().map(|operation| operation.outcome).collect())
    }

    #[test]
    fn the_log_settles_what_nobody_knew() {
        let returned = Outcome::Returned { at: 15, output: () };
        let expected = vec![Outcome::Applied { by: 15 }, returned.clone(), Outcome::Refused, Outcome::Refused];
        assert_eq!(resolve(&[0, 1]).unwrap(), expected, "0 took effect before 1 did, 3 never");
        let last = Outcome::Applied { by: u64::MAX };
        assert_eq!(resolve(&[1, 3]).unwrap(), vec![Outcome::Refused, returned, Outcome::Refused, last]);
    }

    #[test]
    fn a_log_that_cannot_be_is_an_error() {
        let error = |committed: &[usize]| resolve(committed).unwrap_err().0;
        assert_eq!(error(&[0, 0]), "operation 0 is in the log twice");
        assert_eq!(error(&[9]), "operation 9 is in the log and not in the history");
        assert_eq!(error(&[2]), "operation 2 was refused and is in the log");
        let late = "operation 3 was invoked at 30, and stands in the log before one that had returned at 15";
        assert_eq!(error(&[3, 1]), late);
    }

    #[test]
    fn what_is_no_history_is_said() {
        let mut twice = history();
        twice.refused(OperationId(1));
        assert_eq!(twice.malformed(), Some("operation 1 ended twice"));
        let mut early = history();
        early.returned(OperationId(3), (), 29);
        assert_eq!(early.malformed(), Some("operation 3 returned at 29, before it was invoked at 30"));
        let mut strange = history();
        strange.refused(OperationId(4));
        assert_eq!(strange.malformed(), Some("operation 4 ended and never began"));
        assert_eq!(history().malformed(), None);
    }
}
