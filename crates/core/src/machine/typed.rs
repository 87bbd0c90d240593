//! From the user's types to bytes: a machine behind one lock, and the erased form that the host applies to.

use std::sync::{Arc, RwLock};

use bytes::Bytes;

use super::codec::{CODEC_JSON, CODEC_POSTCARD, Codec, CodecError, Json, Postcard, encode_reply};
use super::state_machine::{ApplyContext, StateMachine};

/// A command as it stands in the log.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// The id of the codec that wrote it.
    pub codec: u8,
    /// The version of its type.
    pub version: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Why a machine does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// A newer build wrote the command. Apply halts; nothing is lost.
    #[error("the command is of version {found}, this build knows versions up to {known}: upgrade this node")]
    Version {
        /// The command's.
        found: u32,
        /// The highest known.
        known: u32,
    },
    /// The machine was built without this codec. Apply halts; nothing is lost.
    #[error("the command is written with codec {0}, which this node was not given")]
    UnknownCodec(u8),
    /// The bytes are not a command, or the reply cannot be written. Apply halts; nothing is lost.
    #[error("the {what} cannot be {done}: {error}")]
    Codec {
        /// What: command, reply or state.
        what: &'static str,
        /// What was tried: read or written.
        done: &'static str,
        /// The codec's words.
        error: CodecError,
    },
    /// The user's code panicked; the state may be half changed and is not shown any more. Apply halts.
    #[error("it panicked: {0}")]
    Panicked(String),
    /// A snapshot that this build cannot read. Nothing was restored.
    #[error("the snapshot cannot be read: {0}")]
    Malformed(&'static str),
    /// Two machines of one name. The first stays registered.
    #[error("a machine named {0:?} is registered already")]
    AlreadyRegistered(String),
}

/// A state machine without its types. All methods lock for themselves: apply and restore exclusively, snapshot shared.
pub trait Machine: Send + Sync {
    /// Whether it may be applied on the node's own thread (rule 40).
    fn inline(&self) -> bool;

    /// Applies one command and returns the reply's replicated form. After an error nothing may be applied until a `restore`.
    ///
    /// May panic where the user's code does; the host catches it, and the state is not readable any more.
    fn apply(&self, cx: &ApplyContext, command: Command<'_>) -> Result<Bytes, MachineError>;

    /// The state in its replicated form.
    fn snapshot(&self) -> Result<Bytes, MachineError>;

    /// Replaces the state; none is the state before the first command. On an error the state is as before.
    fn restore(&self, state: Option<&[u8]>) -> Result<(), MachineError>;
}

/// The user's state machine behind one lock, shared between apply and readers. Cloning shares it.
pub struct Typed<S: StateMachine> {
    state: Arc<RwLock<S>>,
    codecs: Arc<Vec<Box<dyn Codec<S::Command>>>>,
}

impl<S: StateMachine> Clone for Typed<S> {
    fn clone(&self) -> Self {
        Typed { state: Arc::clone(&self.state), codecs: Arc::clone(&self.codecs) }
    }
}

impl<S: StateMachine> Default for Typed<S> {
    fn default() -> Self {
        Typed::new()
    }
}

impl<S: StateMachine> Typed<S> {
    /// The state before the first command. Reads postcard and JSON commands.
    pub fn new() -> Self {
        Typed::with_codecs(Vec::new())
    }

    /// As `new`, reading the user's own codecs too.
    pub fn with_codecs(codecs: Vec<Box<dyn Codec<S::Command>>>) -> Self {
        Typed { state: Arc::new(RwLock::new(S::default())), codecs: Arc::new(codecs) }
    }

    /// Runs `read` on the state, on the caller's thread, under the shared lock: apply waits meanwhile.
    pub fn read<R>(&self, read: impl FnOnce(&S) -> R) -> Result<R, MachineError> {
        match self.state.read() {
            Ok(state) => Ok(read(&state)),
            Err(_) => Err(half_changed()),
        }
    }

    fn decode(&self, command: Command<'_>) -> Result<S::Command, MachineError> {
        let decoded = match command.codec {
            CODEC_POSTCARD => Postcard.decode(command.bytes),
            CODEC_JSON => Json.decode(command.bytes),
            id => match self.codecs.iter().find(|codec| codec.id() == id) {
                Some(codec) => codec.decode(command.bytes),
                None => return Err(MachineError::UnknownCodec(id)),
            },
        };
        decoded.map_err(|error| MachineError::Codec { what: "command", done: "read", error })
    }
}

impl<S: StateMachine> Machine for Typed<S> {
    fn inline(&self) -> bool {
        S::INLINE
    }

    fn apply(&self, cx: &ApplyContext, command: Command<'_>) -> Result<Bytes, MachineError> {
        if command.version > S::VERSION {
            return Err(MachineError::Version { found: command.version, known: S::VERSION });
        }
        let decoded = self.decode(command)?;
        let mut state = self.state.write().map_err(|_| half_changed())?;
        let reply = state.apply(cx, decoded);
        drop(state);
        encode_reply(command.codec, &reply).map_err(|error| MachineError::Codec {
            what: "reply",
            done: "written",
            error,
        })
    }

    fn snapshot(&self) -> Result<Bytes, MachineError> {
        let state = self.state.read().map_err(|_| half_changed())?;
        match postcard::to_stdvec(&*state) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => {
                Err(MachineError::Codec { what: "state", done: "written", error: CodecError(error.to_string()) })
            }
        }
    }

    fn restore(&self, bytes: Option<&[u8]>) -> Result<(), MachineError> {
        let restored = match bytes {
            None => S::default(),
            Some(bytes) => postcard::from_bytes(bytes).map_err(|error| MachineError::Codec {
                what: "state",
                done: "read",
                error: CodecError(error.to_string()),
            })?,
        };
        // A state that a panic left half changed is replaced whole, so the lock is sound again.
        let mut state = self.state.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        *state = restored;
        drop(state);
        self.state.clear_poison();
        Ok(())
    }
}

fn half_changed() -> MachineError {
    MachineError::Panicked("an earlier command left the state half changed".to_owned())
}
