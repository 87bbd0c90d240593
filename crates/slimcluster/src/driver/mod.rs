//! The loop that owns I/O. It holds no protocol decision: everything that happens becomes an `Input` of the core, and every `Output` of the
//! core is carried out at once, in the order polled.
//!
//! ```text
//!  application ──► inbox ──►┌────────────────────────────┐──► links, datagrams, multicast, discovery
//!  (submit, read)           │ event_loop: core::Node     │◄── (local tasks on the same thread)
//!  wal_thread ◄── writes ───│ one thread per node        │
//!      └──────► inbox ─────►│                            │──► publish ──► snapshots, events (application)
//!  apply_thread ◄── runs ───└────────────────────────────┘
//!      └──────► inbox (Applied), and the applied index straight to readers
//! ```
//!
//! One turn of the loop: take everything that has arrived, hand it to the core, judge a passed deadline only after that, drain the outputs,
//! let each link write what was queued for it in one piece, publish what changed, wait. Batches form from what arrived during the previous turn
//! or sync; there is no linger timer.
//!
//! * `start` makes the thread and brings a node up in an order in which a refusal leaves nothing behind.
//! * `inbox` is the one queue into the loop from other threads; `shared` is what they see of the node.
//! * `event_loop` is the turn described above.
//! * `links` are the streams with their two lanes; `datagrams` receives; `resolve` asks the discovery sources.
//! * `wal_thread` writes and syncs; `apply_thread` applies; machines that all declare themselves `INLINE` are applied by the loop itself.
//! * `answers` are the application's requests that the core has; `publish` turns events and status into what the application and the log see.

mod answers;
mod apply_thread;
mod datagrams;
mod event_loop;
mod inbox;
mod links;
mod publish;
mod resolve;
mod shared;
mod start;
mod wal_thread;

pub(crate) use inbox::Request;
pub(crate) use shared::Shared;
pub(crate) use start::{StartOptions, start};
