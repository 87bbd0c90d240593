//! The user's state machine, observed: whatever it does is written down and compared at once.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use slimcluster_core::machine::{ApplyContext, Command, Machine, MachineError, StateMachine, Typed};

use super::journal::{Journal, Promises, name};
use super::show;
use crate::checkers::Violation;
use crate::network::Endpoint;
use crate::panics;

/// Bytes before each command that name its operation.
const NUMBER_BYTES: usize = 8;

/// What to do about a command that was written and cannot be read.
const UNREADABLE: &str = "\n\n\
    postcard writes this type, and cannot read it back. It reads no #[serde(untagged)], #[serde(tag = ..)] or #[serde(flatten)], \
    nothing else that asks for deserialize_any, such as serde_json::Value, and no field that skip_serializing_if may have left \
    out. Leave these off the command. A cluster refuses such a command at submit.";

/// What to do about a panic of `apply`.
const PANICKED: &str = "\n\n\
    a command that cannot be applied halts every replica, for good. Answer what is wrong as a value of Reply instead.";

/// The journal of a run, shared by the clients and all replicas.
pub(super) type SharedJournal = Arc<Mutex<Journal>>;

/// The journal, also after a panic of the user's code: it is whole between any two calls.
pub(super) fn lock(journal: &SharedJournal) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command with the number of its operation before it.
pub(super) fn numbered(operation: u64, command: &[u8]) -> Bytes {
    [&operation.to_le_bytes(), command].concat().into()
}

/// One replica.
pub(super) struct Watched<S: StateMachine> {
    machine: Typed<S>,
    endpoint: Endpoint,
    journal: SharedJournal,
    always: Promises<S>,
}

impl<S: StateMachine> Watched<S> {
    /// Observes `machine`, the replica of the process at `endpoint`.
    pub(super) fn new(machine: Typed<S>, endpoint: Endpoint, journal: SharedJournal, always: Promises<S>) -> Self {
        Watched { machine, endpoint, journal, always }
    }

    fn note(&self, property: &'static str, detail: String) {
        lock(&self.journal).note(Violation::of(property, format!("{}: {detail}", name(self.endpoint))));
    }

    /// Applies a command, and notes why if that fails.
    fn attempt(&self, cx: &ApplyContext, command: Command<'_>) -> Result<Bytes, MachineError> {
        let at = || format!("{} at {} of the log", show::command::<S>(command.bytes), cx.index());
        // The panic goes on to the host, which halts apply; here it is only given its command.
        match catch_unwind(AssertUnwindSafe(|| self.machine.apply(cx, command))) {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => {
                let remedy = if matches!(error, MachineError::Codec { what: "command", .. }) { UNREADABLE } else { "" };
                self.note("apply goes on", format!("{}: {error}{remedy}", at()));
                Err(error)
            }
            Err(panic) => {
                let text = panics::text(&*panic);
                self.note("apply goes on", format!("apply panicked on {}: {text}{PANICKED}", at()));
                resume_unwind(panic)
            }
        }
    }
}

impl<S: StateMachine> Machine for Watched<S> {
    fn inline(&self) -> bool {
        S::INLINE
    }

    fn apply(&self, cx: &ApplyContext, command: Command<'_>) -> Result<Bytes, MachineError> {
        let Some((number, bytes)) = command.bytes.split_first_chunk::<NUMBER_BYTES>() else {
            return Err(MachineError::Malformed("a command without the number of its operation"));
        };
        let operation = u64::from_le_bytes(*number);
        let reply = self.attempt(cx, Command { bytes, ..command })?;
        let state = match lock(&self.journal).wants_state(cx.index()) {
            true => Some(self.machine.snapshot().inspect_err(|error| self.note("apply goes on", error.to_string()))?),
            false => None,
        };
        lock(&self.journal).on_applied::<S>(self.endpoint, cx, (operation, command.codec, bytes), &reply, state);
        for promise in self.always.iter() {
            if let Some(broken) = self.machine.read(|state| promise.broken(state))? {
                let state = show::state::<S>(&self.machine.snapshot()?);
                let after = format!("after {} at {} of the log", show::command::<S>(bytes), cx.index());
                self.note("always", format!("{broken} {after}\nthe state is {state}"));
            }
        }
        Ok(reply)
    }

    fn snapshot(&self) -> Result<Bytes, MachineError> {
        self.machine.snapshot()
    }

    fn restore(&self, state: Option<&[u8]>) -> Result<(), MachineError> {
        self.machine.restore(state)
    }
}
