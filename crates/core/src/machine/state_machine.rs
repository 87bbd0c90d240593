//! What a user writes.

use std::cell::Cell;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use crate::random::Random;
use crate::{CommandId, Index, LogTime, MachineId, Term, WallTime};

/// A replicated state: the same commands in the same order, on every node.
///
/// `apply` must be deterministic: a function of the state, the command and the context. It must not read a clock, draw unseeded
/// random numbers, perform I/O, or depend on the order of a `HashMap`. A panic in it would happen on every node, so it halts apply
/// with its reason; nothing is ever skipped.
pub trait StateMachine: Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What changes the state.
    ///
    /// Commands are written with postcard unless the cluster is told otherwise. It is compact because it writes values and not what
    /// they are, so it reads no type that asks the bytes for their shape: no `#[serde(untagged)]`, `#[serde(tag = "..")]` or
    /// `#[serde(flatten)]`, nothing else that uses `deserialize_any` (such as `serde_json::Value`), and no field that
    /// `skip_serializing_if` has left out. `submit` refuses a command that cannot be read back. Some of these types JSON or a codec of
    /// your own can read; of `Reply` the same holds, and the state itself is always written with postcard.
    type Command: Serialize + DeserializeOwned + Send + 'static;
    /// What `apply` answers to whoever submitted the command. Application errors are values of it.
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// The highest version of `Command` that this build understands; every command is stamped with it. A command of a higher
    /// version halts apply until the node is upgraded.
    const VERSION: u32 = 1;

    /// Whether `apply` is so quick (well under 1 ms, always) that it may run on the node's own thread (rule 40).
    const INLINE: bool = false;

    /// Applies one command.
    fn apply(&mut self, cx: &ApplyContext, command: Self::Command) -> Self::Reply;
}

/// What `apply` may use beside the state and the command: values of the log, equal on every node.
#[derive(Debug)]
pub struct ApplyContext {
    pub(super) index: Index,
    pub(super) term: Term,
    pub(super) log_time: LogTime,
    pub(super) wall_time: WallTime,
    pub(super) machine: MachineId,
    pub(super) command: CommandId,
    pub(super) command_version: u32,
    pub(super) draws: Cell<u64>,
}

impl ApplyContext {
    /// The command's position in the log: unique and rising, hence a fencing token.
    pub fn index(&self) -> Index {
        self.index
    }

    /// Log time: monotone, in microseconds, for durations such as leases (rule 15). It stands still while nothing leads.
    pub fn log_time(&self) -> LogTime {
        self.log_time
    }

    /// The leader's wall clock when it took the command: for display and dates. It may jump, also backwards.
    pub fn wall_time(&self) -> WallTime {
        self.wall_time
    }

    /// The `StateMachine::VERSION` of the node that submitted the command.
    pub fn command_version(&self) -> u32 {
        self.command_version
    }

    /// Which command this is; `resubmit` knows it by this.
    pub fn command(&self) -> CommandId {
        self.command
    }

    /// The context that any other replica has for the same command: nothing was drawn from it yet.
    #[must_use]
    pub fn again(&self) -> Self {
        ApplyContext { draws: Cell::new(0), ..*self }
    }

    /// A random generator, seeded from the log: the same on every node, another one at each call. Not for secrets: whoever can
    /// read the log can compute it.
    pub fn rng(&self) -> Random {
        let draw = self.draws.get();
        self.draws.set(draw + 1);
        // Only what the entry itself determines: how the log was cut into runs differs between nodes.
        let fields = [
            self.index.0,
            self.term.0,
            self.log_time.0,
            self.wall_time.0,
            self.machine.0,
            self.command.session.0,
            self.command.number,
            draw,
        ];
        let mut seed = [0u8; 64];
        for (slot, field) in seed.chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        Random::new(xxh3_64(&seed))
    }
}
