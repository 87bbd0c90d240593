//! What one copy of the service would have done.

use std::fmt;
use std::hash::Hash;

/// A sequential specification: the service as a value, one operation at a time.
///
/// `step` is a function: it has at most one next state. Where a service may choose, let the state be the *set* of states that it may be
/// in; `step` then keeps those that explain the output, and none is left where nothing does.
pub trait Model {
    /// What is partitioned by: operations of different keys never influence each other. `()` where all may.
    type Key: Ord + Clone + fmt::Debug;
    /// The state of one key.
    type State: Clone + Eq + Hash + fmt::Debug;
    /// What a client sends. Equal inputs are interchangeable.
    type Input: PartialEq + fmt::Debug;
    /// What it is told.
    type Output: fmt::Debug;

    /// Which key `input` is about.
    fn key(&self, input: &Self::Input) -> Self::Key;

    /// The state of `key` before the first operation.
    fn initial(&self, key: &Self::Key) -> Self::State;

    /// The state after `input` took effect in `state` and answered `output`; none where it could not have answered that. Nobody
    /// learnt the output where it is none, so any will do.
    fn step(&self, state: &Self::State, input: &Self::Input, output: Option<&Self::Output>) -> Option<Self::State>;

    /// Whether `input` is a read: wherever [`Model::step`] lets it take effect, the state stays what it is. A read that fits is placed at
    /// once and never tried later, which saves most of the work where reads wait for long. To say no is always right.
    fn is_read(&self, _input: &Self::Input) -> bool {
        false
    }
}
