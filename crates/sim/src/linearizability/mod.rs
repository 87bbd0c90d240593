//! Linearizability of black-box histories: given only what clients sent, when, and what they were told, is there one order of
//! effects that a single copy could have had?
//!
//! The search is that of Wing and Gong (1993): place one operation after the other, each one only while nothing that is still to be
//! placed had returned before it was invoked, and step a sequential [`Model`] along. Two additions make it usable. Lowe (2017): what was
//! placed, together with the state, is remembered, so that no situation is explored twice. Horn and Kroening (2015): operations on
//! different keys cannot disturb each other, so each key is a search of its own.
//!
//! An outcome that nobody learnt may take effect at any later time, or never. Such operations are what makes searches explode, and
//! three things keep them small: they are tried last; a situation that used a superset of the unknown operations of an earlier one, and
//! is the same otherwise, cannot succeed where the earlier one failed; and where the committed log of the run is at hand,
//! [`History::resolve`] says which of them happened, and by when.
//!
//! The work is bounded. Running out of it is [`Failure::Inconclusive`], a failure of its own kind: it is never taken for a proof. A good
//! history comes with its certificate, the order itself; a bad one with a [`Window`], the shortest beginning that no order explains, as
//! text to be read.
//!
//! Reading order: [`history`] (what clients saw), [`model`] (what one copy would have done), `search` (the search for an order), `check`
//! (key by key), [`window`] (what is shown of a contradiction).
//!
//! Deliberately absent: weaker conditions than linearizability, and threads. A search that needs more than a bounded amount of
//! memory is a history to be cut smaller, by keys or by load.

mod check;
pub mod history;
pub mod model;
mod search;
pub mod window;

pub use check::{Failure, Linearizable, Options, Order, check};
pub use history::{History, Operation, OperationId, Outcome};
pub use model::Model;
pub use window::Window;
