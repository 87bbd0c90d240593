//! The verdict on a history, key by key.

use std::collections::BTreeMap;
use std::fmt;

use super::history::{History, OperationId};
use super::model::Model;
use super::search::{Found, Search};
use super::window::Window;

/// What a check may cost.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Units of work for the whole history: steps of the model, and comparisons of sets. Memory is bounded by it too, as each unit
    /// remembers at most one state. By default 10,000,000: some seconds and, where states are small, up to a GiB, at the very worst;
    /// a history of 20,000 operations of 8 clients on 40 keys, 400 of them unknown, takes 22,000.
    pub work_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { work_max: 10_000_000 }
    }
}

/// The certificate of a good history: for each key an order that explains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linearizable<K> {
    /// By key.
    pub orders: Vec<Order<K>>,
    /// The work that it took.
    pub work: u64,
}

/// An order that explains the operations of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order<K> {
    /// The key.
    pub key: K,
    /// What took effect, first to last. Unknown operations that are not here are not needed for the explanation.
    pub operations: Vec<OperationId>,
}

/// Why a history was not shown to be linearizable.
#[derive(Clone, Debug)]
pub enum Failure {
    /// No order explains it. The window shows the shortest beginning without one.
    NotLinearizable(Box<Window>),
    /// The work ran out: nothing is shown, neither way. Spread the load over more keys, keep fewer operations in flight, settle unknown
    /// outcomes by [`History::resolve`], or raise `work_max`.
    Inconclusive {
        /// The key at which it ran out.
        key: String,
        /// How many operations that key has.
        operations: usize,
        /// How many of them nobody knows the outcome of.
        unknown: usize,
        /// The bound that was reached.
        work_max: u64,
    },
    /// What was recorded cannot have happened, so there is nothing to judge.
    Malformed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotLinearizable(window) => write!(f, "not linearizable: {window}"),
            Failure::Inconclusive { key, operations, unknown, work_max } => write!(
                f,
                "inconclusive: work_max = {work_max} is used up at key {key} with {operations} operations, {unknown} of them \
                 unknown; use more keys, fewer operations at a time, or raise work_max"
            ),
            Failure::Malformed(why) => write!(f, "this is no history: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Looks for an order of effects that explains `history` under `model`, and that real time allows.
///
/// # Errors
///
/// [`Failure::NotLinearizable`] when there is none. [`Failure::Inconclusive`] when `options.work_max` was too little to know: to be
/// treated as a failure, of its own kind. [`Failure::Malformed`] when the history cannot have happened.
pub fn check<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    options: Options,
) -> Result<Linearizable<M::Key>, Failure> {
    if let Some(why) = history.malformed() {
        return Err(Failure::Malformed(why.to_owned()));
    }
    let mut keys: BTreeMap<M::Key, Vec<OperationId>> = BTreeMap::new();
    for (at, operation) in history.operations().iter().enumerate() {
        keys.entry(model.key(&operation.input)).or_default().push(OperationId(at));
    }
    let mut work = options.work_max;
    let mut orders = Vec::with_capacity(keys.len());
    for (key, ids) in keys {
        let operations = || ids.iter().map(|id| (*id, &history.operations()[id.0]));
        let (found, left) = Search::new(model, operations()).run(&model.initial(&key), work);
        work = left;
        match found {
            Found::Order(operations) => orders.push(Order { key, operations }),
            Found::Nothing(blocked) => {
                return Err(Failure::NotLinearizable(Box::new(Window::of(&key, operations(), blocked))));
            }
            Found::Inconclusive => {
                return Err(Failure::Inconclusive {
                    key: format!("{key:?}"),
                    operations: ids.len(),
                    unknown: operations().filter(|(_, operation)| operation.is_unknown()).count(),
                    work_max: options.work_max,
                });
            }
        }
    }
    Ok(Linearizable { orders, work: options.work_max - work })
}
