//! The user's deterministic code, and the host that applies, deduplicates and serialises it.
//!
//! A user writes a [`StateMachine`]: plain serde types and one method. [`Typed`] puts it behind one lock, which apply takes to
//! write and readers share (rule 40), and erases its types to a [`Machine`]. The [`Host`], one per group, is fed the committed runs
//! and works them off in slices; what it does with an entry depends on the entry and the replicated state alone:
//!
//! * *Command*: looked up in its session first. An unknown session's command is never applied (rule 13); a number that was
//!   applied, or lies below what its owner still awaits, is answered from the kept replies and not applied again (rule 14).
//! * *Session*: opens a session for one process start of one node, or closes one.
//! * *Machine*: gives a name its machine id (rule 37).
//! * *Noop*, *Configuration*: nothing to apply.
//!
//! Apply never skips. It stands still, and says why, at a command for a machine that the application has not registered, and for
//! good at one that the machine panics on or that this build cannot read: skipping would make replicas differ, silently.
//!
//! The host's replicated state (sessions, names, machines) serialises itself: the same log gives the same bytes on every replica,
//! provided that the user's `Serialize` has one order (a `BTreeMap`, not a `HashMap`).
//!
//! Deliberately absent: a clock (log time comes with the entry), a retry (a command that failed halts), and a query type (readers
//! borrow the state).

mod codec;
mod entry;
mod host;
mod outcome;
mod record;
mod session;
mod state_machine;
mod typed;

#[cfg(test)]
mod tests;

pub use codec::{
    CODEC_JSON, CODEC_POSTCARD, CODEC_USER_MIN, Codec, CodecError, Json, Postcard, decode_reply, encode_reply,
};
pub use entry::{EntryError, MachineEntry, SessionEntry};
pub use host::{Budget, Host};
pub use outcome::{Applied, CommandOutcome, Waiting};
pub use session::{REPLIES_BYTES_MAX, SESSIONS_MAX, WINDOW_NUMBERS};
pub use state_machine::{ApplyContext, StateMachine};
pub use typed::{Command, Machine, MachineError, Typed};
