//! What every [`Transport`](crate::Transport) must do.
//!
//! Each case binds nodes of a network of its own and lets them talk, on an event loop as a node has one. [`datagrams`] may be lost, doubled and
//! reordered, so a case repeats what it says until it is heard; they are never cut, joined or altered. [`streams`] are reliable and in order
//! until they end, and slow down whoever writes faster than the other side reads. [`endpoints`] come and go.

mod network;
mod suite;

mod datagrams;
mod streams;

mod endpoints;

pub use suite::{TransportContract, transport};
