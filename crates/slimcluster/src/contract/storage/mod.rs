//! What every [`Storage`](crate::Storage) must do.
//!
//! A [`trial`] drives one storage and keeps beside it, in plain values, what the storage ought to hold; it compares the two at each step that
//! can be compared: what a fetch reads, what an open finds. A case is then a short script of changes. [`log`] asks what the storage does in one
//! process, [`restart`] what the next one finds, [`faults`] what happens when the medium fails, and [`model`] draws scripts at random.

mod suite;
mod trial;

mod log;
mod restart;

mod faults;
mod model;

pub use suite::{Fault, Inject, StorageContract, storage};
