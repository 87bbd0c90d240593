//! The contracts of the plug-ins, as suites that anyone's implementation must pass in an ordinary `#[test]`.
//!
//! What [`Storage`](crate::Storage), [`Transport`](crate::Transport) and [`Codec`](crate::Codec) ask for in words is stated here as named cases.
//! Each says in one sentence why it is asked, and by which rule (`docs/rules.md` of the repository), invariant (`ARCHITECTURE.md`) or item
//! of the trait; a breach names the case, what was expected and what was seen. A plug-in that passes can stand in for ours, which pass
//! the same suites.
//!
//! ```
//! slimcluster::contract::storage(|_| slimcluster::Memory).check();
//! ```
//!
//! Every case gets a plug-in of its own and runs on a thread of its own, so that one that panics or never ends is a breach like any other.
//! A case that cannot be asked (durability of a memory storage, faults of a medium that cannot be made to fail) is listed as not asked, never as
//! kept. The feature `contract` of this crate brings the suites; it adds no dependency and belongs into `[dev-dependencies]`.
//!
//! Deliberately absent: how fast a plug-in is, and power loss, which only a medium under the suite's control can show. [`Fault`] comes as
//! close as a process can: what is not synced when the medium fails must not have been acknowledged.

mod case;

mod codec;
mod storage;
mod transport;

pub use case::{Breach, Finding, Report};
pub use codec::{CodecContract, codec};
pub use storage::{Fault, Inject, StorageContract, storage};
pub use transport::{TransportContract, transport};
