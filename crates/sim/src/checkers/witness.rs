//! A state machine that is watched: what it was made to do, command by command, for the checkers of the replicas.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use slimcluster_core::machine::{ApplyContext, Command, Machine, MachineError};
use slimcluster_core::{CommandId, Index};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// One command that a replica has carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Where it stands in the log.
    pub index: Index,
    /// Which command.
    pub command: CommandId,
    /// The hash of the command's bytes.
    pub bytes: u64,
    /// The hash of the reply in its replicated form.
    pub reply: u64,
}

impl Effect {
    /// One word that stands for the effect and, through `before`, for all effects before it.
    pub fn chain(&self, before: u64) -> u64 {
        let Effect { index, command, bytes, reply } = self;
        let mut words = [0; 40];
        let fields = [index.0, command.session.0, command.number, *bytes, *reply];
        for (slot, field) in words.chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        xxh3_64_with_seed(&words, before)
    }
}

/// The hash of a reply.
pub fn digest(reply: &[u8]) -> u64 {
    xxh3_64(reply)
}

/// The effects that a machine has had and nobody has judged yet. Bounded by what one slice applies.
pub type Effects = Arc<Mutex<Vec<Effect>>>;

/// A state machine, watched.
pub struct Witness {
    machine: Box<dyn Machine>,
    effects: Effects,
}

impl Witness {
    /// `machine`, which notes its effects in `effects`.
    pub fn new(machine: Box<dyn Machine>, effects: Effects) -> Self {
        Witness { machine, effects }
    }
}

/// Takes what was noted.
pub fn take(effects: &Effects) -> Vec<Effect> {
    std::mem::take(&mut *effects.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Machine for Witness {
    fn inline(&self) -> bool {
        self.machine.inline()
    }

    fn apply(&self, cx: &ApplyContext, command: Command<'_>) -> Result<Bytes, MachineError> {
        let reply = self.machine.apply(cx, command)?;
        let effect =
            Effect { index: cx.index(), command: cx.command(), bytes: digest(command.bytes), reply: digest(&reply) };
        self.effects.lock().unwrap_or_else(PoisonError::into_inner).push(effect);
        Ok(reply)
    }

    fn snapshot(&self) -> Result<Bytes, MachineError> {
        self.machine.snapshot()
    }

    fn restore(&self, state: Option<&[u8]>) -> Result<(), MachineError> {
        self.machine.restore(state)
    }
}
