//! The history of a run, judged by the user's own machine as the sequential model: is there any order that explains it? What the log
//! says is used only to tell whether a command that nobody knows the outcome of took effect at all.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use slimcluster_core::machine::{Machine as _, StateMachine, Typed};

use super::journal::{Asked, Ended, Journal, Operation, Record};
use super::{replays, show};
use crate::checkers::{Verdict, Violation};
use crate::linearizability::{Failure, History, Model, OperationId, Options, check};

/// Operations that are judged, from the first on: with a handful of clients that is all of a run of some ten seconds.
const OPERATIONS_MAX: usize = 1_000;
/// The fewest that are worth a verdict: where the search ends for none of so many, the run is not judged.
const OPERATIONS_MIN: usize = 100;
/// Bytes of states that may be read and written: fewer operations of a machine that is large.
const BYTES_MAX: usize = 16 << 20;
/// Steps of the machine. Few clients with one operation at a time each need a handful for each operation.
const WORK_MAX: u64 = 200_000;

/// The property of a run that says nothing, which must not pass for a good one.
const NOT_JUDGED: &str = "linearizability, which could not be judged";

/// The user's machine as a model: its states are their bytes.
struct Sequential<'a, S> {
    records: &'a [Record],
    machine: PhantomData<fn() -> S>,
}

/// A state, told by its bytes and shown as JSON.
struct State<S>(Bytes, PhantomData<fn() -> S>);

/// What was asked: a command, by its place among the records, if it has one, or a read.
struct Input {
    position: Option<usize>,
    text: String,
}

/// What was answered: a reply, or the state that was read.
enum Output<S> {
    Reply(Bytes),
    State(State<S>),
}

impl<S: StateMachine> Model for Sequential<'_, S> {
    type Key = ();
    type State = State<S>;
    type Input = Input;
    type Output = Output<S>;

    fn key(&self, _: &Input) {}

    fn initial(&self, (): &()) -> State<S> {
        State(Typed::<S>::new().snapshot().unwrap_or_default(), PhantomData)
    }

    fn step(&self, state: &State<S>, input: &Input, output: Option<&Output<S>>) -> Option<State<S>> {
        let Some(record) = input.position.map(|position| &self.records[position]) else {
            let is_right = !matches!(output, Some(Output::State(seen)) if seen != state);
            return is_right.then(|| state.clone());
        };
        let machine = Typed::<S>::new();
        machine.restore(Some(&state.0)).ok()?;
        let reply = replays::apply(&machine, record).ok()?;
        let is_right = !matches!(output, Some(Output::Reply(told)) if *told != reply);
        is_right.then(|| machine.snapshot().ok()).flatten().map(|state| State(state, PhantomData))
    }

    fn is_read(&self, input: &Input) -> bool {
        input.position.is_none()
    }
}

/// Whether the operations from the first on can be put into an order that real time allows and the machine explains.
pub(super) fn judge<S: StateMachine>(journal: &Journal) -> Verdict {
    judge_within::<S>(journal, WORK_MAX)
}

/// The same, in `work_max` steps of the machine at most for each try.
pub(super) fn judge_within<S: StateMachine>(journal: &Journal, work_max: u64) -> Verdict {
    let largest = journal.records.iter().flat_map(|record| &record.state).map(Bytes::len).max().unwrap_or_default();
    let mut operations_max = OPERATIONS_MAX.min(BYTES_MAX / largest.max(1)).min(journal.operations.len());
    if largest > BYTES_MAX {
        let detail = format!(
            "the state grows to {largest} bytes, and states of up to {BYTES_MAX} are judged: let the test keep less in it"
        );
        return Err(Violation::of(NOT_JUDGED, detail));
    }
    loop {
        let verdict = judge_first::<S>(journal, operations_max, work_max);
        // Where all clients wait for the same quorum, everything overlaps, and the search may not end. What comes before can be judged.
        operations_max /= 2;
        match verdict {
            Err(violation) if violation.property == NOT_JUDGED && operations_max >= OPERATIONS_MIN => {}
            verdict => return verdict,
        }
    }
}

/// The same of the first `operations_max` operations.
fn judge_first<S: StateMachine>(journal: &Journal, operations_max: usize, work_max: u64) -> Verdict {
    // What had not ended when the first of the others began may have seen some of them: it is not held to its answer.
    let until = journal.operations.get(operations_max).map_or(u64::MAX, |next| next.began);
    let judged = &journal.operations[..journal.operations.len().min(operations_max)];
    let mut history = History::default();
    let mut committed = Vec::new();
    for operation in judged {
        let id = history.invoke(operation.client, input::<S>(operation), operation.began);
        committed.extend(operation.position.map(|position| (position, id)));
        match &operation.ended {
            Some(Ended::Refused) => history.refused(id),
            Some(Ended::Answered { at, answer }) if *at < until => {
                let output = match operation.asked {
                    Asked::Command(_) => Output::Reply(answer.clone()),
                    Asked::Read => Output::State(State(answer.clone(), PhantomData)),
                };
                history.returned(id, output, *at);
            }
            Some(Ended::Answered { .. }) | None => {}
        }
    }
    committed.sort_unstable();
    let committed: Vec<OperationId> = committed.into_iter().map(|(_, id)| id).collect();
    history.resolve(&committed).map_err(|contradiction| Violation::of("linearizability", contradiction.to_string()))?;
    let model = Sequential::<S> { records: &journal.records, machine: PhantomData };
    match check(&model, &history, Options { work_max }) {
        Ok(_) => Ok(()),
        Err(Failure::Inconclusive { operations, unknown, .. }) => {
            let detail = format!(
                "no order of {operations} operations, {unknown} of them without a known outcome, was found in {work_max} steps, \
                 and none was ruled out: nothing is known to be wrong. Let fewer of them overlap, by fewer .clients(..), or let \
                 there be fewer, by a shorter .duration(..)"
            );
            Err(Violation::of(NOT_JUDGED, detail))
        }
        Err(failure) => Err(Violation::of("linearizability", failure.to_string())),
    }
}

fn input<S: StateMachine>(operation: &Operation) -> Input {
    let text = match &operation.asked {
        Asked::Command(bytes) => show::command::<S>(bytes),
        Asked::Read => "read".to_owned(),
    };
    Input { position: operation.position, text }
}

impl<S> Clone for State<S> {
    fn clone(&self) -> Self {
        State(self.0.clone(), PhantomData)
    }
}

impl<S> PartialEq for State<S> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<S> Eq for State<S> {}

impl<S> std::hash::Hash for State<S> {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        self.0.hash(hasher);
    }
}

impl<S: StateMachine> fmt::Debug for State<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show::state::<S>(&self.0))
    }
}

impl PartialEq for Input {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<S: StateMachine> fmt::Debug for Output<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Reply(reply) => f.write_str(&show::reply::<S>(reply)),
            Output::State(state) => state.fmt(f),
        }
    }
}
