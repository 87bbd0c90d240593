//! The log of a run, applied again: by a fresh machine, and by one that is written and read back on the way.

use bytes::Bytes;
use slimcluster_core::machine::{Command, Machine as _, MachineError, StateMachine, Typed};
use slimcluster_core::random::Random;

use super::journal::{Record, describe};
use super::show;
use crate::checkers::{Verdict, Violation};

/// Applies a command of the log as it was applied in the run.
pub(super) fn apply<S: StateMachine>(machine: &Typed<S>, record: &Record) -> Result<Bytes, MachineError> {
    let context = record.context.again();
    let version = context.command_version();
    machine.apply(&context, Command { codec: record.codec, version, bytes: &record.command })
}

/// The same commands in the same order give the same answers and states, whenever they are applied.
pub(super) fn determinism<S: StateMachine>(records: &[Record]) -> Verdict {
    let machine = Typed::<S>::new();
    for (position, record) in records.iter().enumerate() {
        step(&machine, record, position, ("determinism", "applied again"))?;
    }
    Ok(())
}

/// A machine that is written and read back between commands does what one does that is not.
pub(super) fn round_trips<S: StateMachine>(records: &[Record], rng: &mut Random) -> Verdict {
    let mut machine = Typed::<S>::new();
    for (position, record) in records.iter().enumerate() {
        step(&machine, record, position, ("snapshot round trip", "read back before"))?;
        // After the first commands each time, when a state is small and its corners are near.
        if position < 8 || rng.chance(1, 4) {
            machine = round_trip(&machine, record, position)?;
        }
    }
    Ok(())
}

fn round_trip<S: StateMachine>(machine: &Typed<S>, record: &Record, position: usize) -> Result<Typed<S>, Violation> {
    let after = || describe::<S>(record, position);
    let failed = |error: MachineError| Violation::of("snapshot round trip", format!("{error}, after {}", after()));
    let written = machine.snapshot().map_err(failed)?;
    let restored = Typed::<S>::new();
    restored.restore(Some(&written)).map_err(failed)?;
    let again = restored.snapshot().map_err(failed)?;
    if written != again {
        let difference = show::difference::<S>(("written", &written), ("read back, written again", &again));
        let detail = format!("the state is another once it was read back, after {}\n{difference}", after());
        return Err(Violation::of("snapshot round trip", detail));
    }
    Ok(restored)
}

fn step<S: StateMachine>(
    machine: &Typed<S>,
    record: &Record,
    position: usize,
    (property, how): (&'static str, &str),
) -> Verdict {
    let at = || describe::<S>(record, position);
    let reply = apply(machine, record).map_err(|error| Violation::of(property, format!("{error}, at {}", at())))?;
    if reply != record.reply {
        let second = format!("{how} it is");
        let answers = show::replies::<S>(("in the run it was", &record.reply), (&second, &reply));
        let detail = format!("the answers differ since {}\n{answers}", at());
        return Err(Violation::of(property, detail));
    }
    let Some(expected) = &record.state else { return Ok(()) };
    let state = machine.snapshot().map_err(|error| Violation::of(property, format!("{error}, after {}", at())))?;
    if state != *expected {
        let difference = show::difference::<S>(("in the run", expected), (how, &state));
        return Err(Violation::of(property, format!("the states differ since {}\n{difference}", at())));
    }
    Ok(())
}
