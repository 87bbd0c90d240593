//! What the replicas of a run did, command by command: the first to reach a command says what it does, all others must agree.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use slimcluster_core::Index;
use slimcluster_core::machine::{ApplyContext, Codec as _, Postcard, StateMachine};

use super::show;
use crate::checkers::{Verdict, Violation};
use crate::network::Endpoint;
use crate::panics;

/// States are kept after every command until they are this many bytes, then after every second until they are twice as many, and so
/// on: a machine that stays small is compared at every command, one that grows is not a load on memory.
const KEPT_BYTES: usize = 4 << 20;

/// Something that the user says of every state.
pub(super) struct Promise<S> {
    pub(super) name: String,
    pub(super) holds: Box<dyn Fn(&S) -> bool + Send + Sync>,
    /// Whether it is asked only at the end: then there is time to see that it leaves the state alone.
    pub(super) at_end: bool,
}

impl<S: StateMachine> Promise<S> {
    /// Why it does not hold of `state`, in words; none if it does. A promise may well be an assertion, and its panic is not one of `apply`.
    pub(super) fn broken(&self, state: &S) -> Option<String> {
        let before = self.at_end.then(|| Postcard.encode(state));
        let holds = catch_unwind(AssertUnwindSafe(|| (self.holds)(state)));
        // A state may have a lock or a cell in it, through which whoever looks can change it.
        if before.is_some_and(|before| before != Postcard.encode(state)) {
            return Some(format!("{:?} changes the state, where it may only look,", self.name));
        }
        match holds {
            Ok(true) => None,
            Ok(false) => Some(format!("{:?} does not hold", self.name)),
            Err(panic) => Some(format!("{:?} does not hold ({})", self.name, panics::text(&*panic))),
        }
    }
}

/// The user's promises.
pub(super) type Promises<S> = Arc<Vec<Promise<S>>>;

/// A command, as the first replica that came to it applied it.
pub(super) struct Record {
    /// The number of the operation that it is the command of.
    pub(super) operation: u64,
    /// Where it stands in the log.
    pub(super) index: Index,
    /// What `apply` was told beside it, with nothing drawn yet.
    pub(super) context: ApplyContext,
    pub(super) codec: u8,
    pub(super) command: Bytes,
    pub(super) reply: Bytes,
    /// The state after it, if it was kept.
    pub(super) state: Option<Bytes>,
    /// Who was first.
    by: Endpoint,
}

/// What an operation is.
pub(super) enum Asked {
    Command(Bytes),
    Read,
}

/// How an operation ended.
pub(super) enum Ended {
    Answered { at: u64, answer: Bytes },
    Refused,
}

/// An operation of a client.
pub(super) struct Operation {
    pub(super) client: u64,
    pub(super) began: u64,
    /// What was acknowledged or read before it began reaches up to here.
    floor: Index,
    pub(super) asked: Asked,
    pub(super) ended: Option<Ended>,
    /// Where its command stands among the records, if it was applied.
    pub(super) position: Option<usize>,
}

/// The journal of a run. It grows with the run, which bounds it: a few thousand operations, and the states as above.
#[derive(Default)]
pub(super) struct Journal {
    /// In the order of the log.
    pub(super) records: Vec<Record>,
    /// By number.
    pub(super) operations: Vec<Operation>,
    /// The last command that each running replica has applied.
    applied: BTreeMap<Endpoint, Index>,
    /// Whatever begins now must see everything up to here.
    floor: Index,
    /// The last command that was acknowledged.
    acknowledged: Index,
    kept_bytes: usize,
    /// The first thing that does not hold. It is judged where it is seen, within `apply`, and told when the world asks.
    violation: Option<Violation>,
    pub(super) reads: u64,
}

impl Journal {
    /// What does not hold, if anything.
    pub(super) fn verdict(&self) -> Verdict {
        self.violation.clone().map_or(Ok(()), Err)
    }

    /// Keeps the first.
    pub(super) fn note(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// A client begins an operation; returns its number.
    pub(super) fn begin(&mut self, client: u64, began: u64, asked: Asked) -> u64 {
        let floor = self.floor;
        self.operations.push(Operation { client, began, floor, asked, ended: None, position: None });
        self.operations.len() as u64 - 1
    }

    /// Whether the state after the command at `index` is compared.
    pub(super) fn wants_state(&self, index: Index) -> bool {
        match self.position(index) {
            Some(position) => self.records[position].state.is_some(),
            None => self.records.len().is_multiple_of(1 + self.kept_bytes / KEPT_BYTES),
        }
    }

    /// A replica has applied the command of `operation`.
    pub(super) fn on_applied<S: StateMachine>(
        &mut self,
        by: Endpoint,
        cx: &ApplyContext,
        (operation, codec, command): (u64, u8, &[u8]),
        reply: &Bytes,
        state: Option<Bytes>,
    ) {
        let verdict = match self.position(cx.index()) {
            Some(position) => compare::<S>(&self.records[position], by, operation, reply, state.as_deref(), position),
            None => {
                self.kept_bytes += state.as_ref().map_or(0, Bytes::len);
                let (context, command, reply) = (cx.again(), Bytes::copy_from_slice(command), reply.clone());
                let index = cx.index();
                self.on_first(Record { operation, index, context, codec, command, reply, state, by })
            }
        };
        self.applied.insert(by, cx.index());
        if let Err(violation) = verdict {
            self.note(violation);
        }
    }

    fn on_first(&mut self, record: Record) -> Verdict {
        if let Some(last) = self.records.last().filter(|last| last.index > record.index) {
            let detail = format!("{} applied a command at {}, others went past it", name(record.by), record.index);
            return Err(Violation::of("equal replicas", format!("{detail} to {}", last.index)));
        }
        let position = self.records.len();
        let Some(operation) = self.operation(record.operation) else {
            return Err(Violation::of("no phantom", format!("nobody submitted the command at {}", record.index)));
        };
        if matches!(operation.ended, Some(Ended::Refused)) {
            return Err(refused_and_applied(record.operation, record.index));
        }
        if let Some(first) = operation.position.replace(position) {
            let first = self.records[first].index;
            let detail = format!("the command of operation {} was applied at {first} and at", record.operation);
            return Err(Violation::of("exactly once", format!("{detail} {}", record.index)));
        }
        self.records.push(record);
        Ok(())
    }

    /// The caller of a command is told that it was applied at `index`, with `reply`.
    pub(super) fn on_committed<S: StateMachine>(
        &mut self,
        at: u64,
        number: u64,
        index: Index,
        reply: &Bytes,
    ) -> Verdict {
        let position = self.position(index);
        let Some(operation) = self.operation(number) else { return Err(unasked(number)) };
        if operation.position.is_none() || operation.position != position {
            let detail = format!("operation {number} is said to be applied at {index}, where it is not");
            return Err(Violation::of("exactly once", detail));
        }
        operation.ended = Some(Ended::Answered { at, answer: reply.clone() });
        if let Some(record) = position.map(|position| &self.records[position])
            && record.reply != *reply
        {
            let (told, answered) = (show::reply::<S>(reply), show::reply::<S>(&record.reply));
            let detail = format!("operation {number} was answered with {told}, its command gave {answered}");
            return Err(Violation::of("exactly once", detail));
        }
        self.acknowledged = self.acknowledged.max(index);
        // Its own place is after whatever was acknowledged before it began: no command is applied before it is submitted.
        self.floor = self.floor.max(index);
        Ok(())
    }

    /// A replica that has applied everything up to some command was read; its state is `state`.
    pub(super) fn on_read(&mut self, at: u64, number: u64, by: Endpoint, state: Bytes) -> Verdict {
        let applied = self.applied.get(&by).copied().unwrap_or_default();
        let Some(operation) = self.operation(number) else { return Err(unasked(number)) };
        operation.ended = Some(Ended::Answered { at, answer: state });
        let floor = operation.floor;
        self.reads += 1;
        if applied < floor {
            let detail = format!("{} was read at {applied}, and {floor} had been seen before the read began", name(by));
            return Err(Violation::of("linearizability", detail));
        }
        self.floor = self.floor.max(applied);
        Ok(())
    }

    /// The caller of a command is told that it was not applied, now or ever.
    pub(super) fn on_refused(&mut self, number: u64) -> Verdict {
        let Some(operation) = self.operation(number) else { return Err(unasked(number)) };
        operation.ended = Some(Ended::Refused);
        match operation.position {
            Some(position) => Err(refused_and_applied(number, self.records[position].index)),
            None => Ok(()),
        }
    }

    /// The process has ended.
    pub(super) fn on_ended(&mut self, by: Endpoint) {
        self.applied.remove(&by);
    }

    /// A replica is asked to hold everything that was acknowledged.
    pub(super) fn audit(&self, by: Endpoint) -> Verdict {
        let applied = self.applied.get(&by).copied().unwrap_or_default();
        if applied < self.acknowledged {
            let detail = format!("{} holds commands up to {applied}, {} was acknowledged", name(by), self.acknowledged);
            return Err(Violation::of("durability", detail));
        }
        Ok(())
    }

    fn position(&self, index: Index) -> Option<usize> {
        self.records.binary_search_by_key(&index, |record| record.index).ok()
    }

    fn operation(&mut self, number: u64) -> Option<&mut Operation> {
        self.operations.get_mut(usize::try_from(number).ok()?)
    }
}

/// What `by` did with a command against what the first replica did.
fn compare<S: StateMachine>(
    record: &Record,
    by: Endpoint,
    operation: u64,
    reply: &Bytes,
    state: Option<&[u8]>,
    position: usize,
) -> Verdict {
    let at = describe::<S>(record, position);
    let (first, second) = (name(record.by), name(by));
    if record.operation != operation {
        let detail = format!("{first} and {second} applied different commands as {at}");
        return Err(Violation::of("equal replicas", detail));
    }
    if record.reply != *reply {
        let (first, second) = (format!("{first} answered"), format!("{second} answered"));
        let answers = show::replies::<S>((&first, &record.reply), (&second, reply));
        let detail = format!("the answers differ since {at}\n{answers}");
        return Err(Violation::of("equal replicas", detail));
    }
    match (&record.state, state) {
        (Some(ours), Some(theirs)) if ours[..] != *theirs => {
            let difference = show::difference::<S>((&first, ours), (&second, theirs));
            Err(Violation::of("equal replicas", format!("the states differ since {at}\n{difference}")))
        }
        _ => Ok(()),
    }
}

/// A command, in words.
pub(super) fn describe<S: StateMachine>(record: &Record, position: usize) -> String {
    let Record { index, command, .. } = record;
    format!("command number {}, at {index} of the log: {}", position + 1, show::command::<S>(command))
}

/// A replica, in words.
pub(super) fn name(by: Endpoint) -> String {
    match by.start {
        0 | 1 => format!("n{}", by.place + 1),
        start => format!("n{} (start {start})", by.place + 1),
    }
}

fn refused_and_applied(operation: u64, index: Index) -> Violation {
    Violation::of("not committed", format!("operation {operation} was refused, and is applied at {index}"))
}

fn unasked(operation: u64) -> Violation {
    Violation::of("one outcome", format!("operation {operation} ended and never began"))
}
