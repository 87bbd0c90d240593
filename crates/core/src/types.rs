//! Newtypes for every number that crosses a function.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The highest value that a term, generation or incarnation may have on the wire (rules 28, 31): 2^48. Beyond it a message is malformed, so that no
/// single packet can exhaust a counter for ever.
pub const COUNTER_MAX: u64 = 1 << 48;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The following number.
            #[must_use]
            pub const fn next(self) -> Self {
                $name(self.0 + 1)
            }

            /// The preceding number; zero has none and stays zero.
            #[must_use]
            pub const fn prev(self) -> Self {
                $name(self.0.saturating_sub(1))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// The 16 bytes of its wire and file form, big-endian.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// From the 16 bytes of its wire and file form.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                $name(u128::from_be_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Small values name nodes in tests and simulations; real ones are random and recognised by their head.
                if self.0 < 1 << 32 { write!(f, "{}", self.0) } else { write!(f, "{:08x}", self.0 >> 96) }
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                u128::from_str_radix(text, 16).map($name)
            }
        }
    };
}

identifier! {
    /// A node's identity: random, kept in its data directory. A wiped disk is a new id.
    NodeId
}
identifier! {
    /// The cluster's identity, derived from its cluster id and its founding set (rule 23).
    ClusterUuid
}
identifier! {
    /// The identity of one data directory; it stands in every record (rule 3).
    StoreId
}
number! {
    /// Logical time of leadership.
    Term
}
number! {
    /// A position in the log. The first entry has index 1; 0 stands before it.
    Index
}
number! {
    /// One Raft log and its configuration. Never reused.
    GroupId
}
number! {
    /// A session: the index of the entry that opened it (rule 13).
    SessionId
}
number! {
    /// A replicated state machine: the index of the entry that named it (rule 37).
    MachineId
}
number! {
    /// The number of a durable batch in a node's one write stream; acknowledged cumulatively.
    WriteSeq
}
number! {
    /// The number of a node's process start, persisted; orders before incarnation.
    Generation
}
number! {
    /// Drawn at random by each process start: tells two holders of one identity apart (rule 21).
    Nonce
}

impl GroupId {
    /// The group that all machines share unless asked otherwise (rule 37).
    pub const DEFAULT: GroupId = GroupId(1);
}

/// A position together with the term of the entry that stands there. Ordered as Raft compares logs: by term, then index.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// Term of the entry.
    pub term: Term,
    /// Position of the entry.
    pub index: Index,
}

impl LogId {
    /// Before the first entry.
    pub const ZERO: LogId = LogId { term: Term(0), index: Index(0) };

    /// The entry of `term` at `index`.
    pub const fn new(term: Term, index: Index) -> Self {
        LogId { term, index }
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What must be durable before a node answers: its term, and whom it voted for in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest term this node has seen.
    pub term: Term,
    /// The node that got this node's vote in `term`.
    pub vote: Option<NodeId>,
}

/// Where a command stands in its session: `resubmit` takes it, and the same command never applies twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId {
    /// The session.
    pub session: SessionId,
    /// The number within the session.
    pub number: u64,
}

/// Whether acknowledged data survives a power loss of the whole cluster (rule 7). Nothing in between exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Every acknowledgement waits for fdatasync.
    Fsync,
    /// In memory: what a majority forgets is gone.
    Ephemeral,
}
