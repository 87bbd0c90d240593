//! SWIM as we do it: who is there, told by everybody to everybody.
//!
//! Every node keeps a table of all members and, once per interval, probes one of them. What it finds out, and what it hears, rides on the pings and
//! answers that are sent anyway. No message grows with the cluster, no node sends more when there are more nodes, and nobody decides: the table is
//! advice. **It never changes a quorum.** (Das, Gupta, Motivala: "SWIM", DSN 2002; what is taken from Lifeguard is said where it stands.)
//!
//! # A probe
//!
//! ```text
//!  A                         B                      C, D, E
//!  |-- Ping (B, generation) ->|                         |      B is picked from a random permutation: 2n-1 intervals at most
//!  |<-------- Ack ------------|                         |      done
//!  |        no Ack within probe_timeout                 |
//!  |-- Ping once more ------->|                         |
//!  |-- PingReq (B) ---------------------------------- ->|      to k others, each of which
//!  |                          |<------- Ping -----------|      pings B at the address that it knows itself
//!  |                          |-------- Ack ----------->|
//!  |<------------------ Ack ----------------------------|      done
//!  |        no Ack until the end of the interval        |
//!  |  Suspect (B): told to B first, then by dissemination to all
//!  |        B hears it: Alive with the next incarnation, told to all
//!  |        B does not within suspicion_mult * max(1, log10 n) intervals: Dead
//! ```
//!
//! A ping names the process start that it means. Another start of the same node, or another node at the same address, answers `Gone`: a restart
//! is certain after one round trip, and a reused address accuses nobody (rule 32).
//!
//! # What decides
//!
//! Of two opinions about a member the greater [`Key`] holds: (generation, left, incarnation, rank). That is the whole conflict rule; it needs no clock,
//! and merging is a join: commutative, associative, idempotent. Only the owner raises generation and incarnation. Dead is refuted by the next
//! incarnation, Left only by the next generation. What the owner says about itself (name, address, meta, a restart that it announces) is its
//! [`Record`], ordered apart by (generation, version), so that a change of meta clears no suspicion. Nobody adopts anything about itself from others:
//! what exceeds its own word, it exceeds in turn.
//!
//! Dead and Left stay in the table as tombstones for 24 hours, and their age travels along, so that all forget them together and no stale record
//! makes them members again.
//!
//! # How a node gets in, and back in
//!
//! Joining is to read a seed's table, page by page ([`Body::SyncRequest`]); the request introduces the asker. The same exchange with a random
//! member now and then finds what dissemination has missed, and with the dead and the missing seeds heals partitions, for ever. Where two tables
//! contradict each other about somebody, neither is believed: the subject is asked.
//!
//! # The files, in reading order
//!
//! `member` (the order, the record), `message`, `options`, `table` (what is remembered, which events follow), `swim` (the value: inputs, outputs,
//! dispatch), `probe`, `suspicion` (and refutation), `isolation`, `dissemination` (what rides on a datagram), `sync` (join, anti-entropy,
//! reconnection), `goodbye`, `invariants`.
//!
//! # Deliberately absent, for now
//!
//! Lifeguard's local health and nacks, suspicion times that shrink with independent accusers, adapted probe timeouts, flap damping, digests instead of
//! whole tables, user messages, encryption. Datagrams carry a key id for the last; until then whoever knows the cluster id can lie.

mod dissemination;
mod goodbye;
mod invariants;
mod isolation;
mod member;
mod message;
mod options;
mod probe;
mod suspicion;
#[expect(clippy::module_inception, reason = "the value has the protocol's name")]
mod swim;
mod sync;
mod table;

pub use member::{
    HTTP_BYTES_MAX, Incarnation, Key, Member, MemberState, Meta, NAME_BYTES_MAX, RESTARTING_MAX, Record, Update,
    is_plain, is_usable,
};
pub use message::{Body, Message, Seq};
pub use options::{Options, OptionsError};
pub use swim::{Event, Input, Local, Output, Sizer, Swim};
