//! Every subset of what may have happened, in every order, across all keys at once.

use std::collections::BTreeMap;

use slimcluster_sim::linearizability::{Model, Operation, Outcome};

/// What an order has to hold: each operation one after the other, in this number of the history.
pub fn explains<M: Model>(model: &M, operations: &[Operation<M::Input, M::Output>], order: &[usize]) -> bool {
    let mut states = BTreeMap::new();
    order.iter().all(|at| step(model, &mut states, &operations[*at]))
        && order.iter().enumerate().all(|(place, at)| {
            order[place..].iter().all(|later| operations[*later].due().is_none_or(|due| operations[*at].invoked <= due))
        })
}

/// Whether some order holds all of `required`, and any of `optional`.
pub fn some_order<M: Model>(
    model: &M,
    operations: &[Operation<M::Input, M::Output>],
    required: &[usize],
    optional: &[usize],
) -> bool {
    (0..1u32 << optional.len()).any(|chosen| {
        let chosen = optional.iter().enumerate().filter(|(bit, _)| chosen & (1 << bit) != 0).map(|(_, at)| *at);
        let mut rest: Vec<usize> = required.iter().copied().chain(chosen).collect();
        permute(model, operations, &BTreeMap::new(), &mut rest)
    })
}

/// Whether the history is linearizable.
pub fn is_linearizable<M: Model>(model: &M, operations: &[Operation<M::Input, M::Output>]) -> bool {
    let all = || 0..operations.len();
    let required: Vec<usize> = all().filter(|at| operations[*at].due().is_some()).collect();
    let optional: Vec<usize> = all().filter(|at| operations[*at].is_unknown()).collect();
    some_order(model, operations, &required, &optional)
}

fn permute<M: Model>(
    model: &M,
    operations: &[Operation<M::Input, M::Output>],
    states: &BTreeMap<M::Key, M::State>,
    rest: &mut Vec<usize>,
) -> bool {
    if rest.is_empty() {
        return true;
    }
    (0..rest.len()).any(|next| {
        let at = rest.swap_remove(next);
        let mut states = states.clone();
        let in_time = rest.iter().all(|other| operations[*other].due().is_none_or(|due| operations[at].invoked <= due));
        let found = in_time && step(model, &mut states, &operations[at]) && permute(model, operations, &states, rest);
        rest.push(at);
        let last = rest.len() - 1;
        rest.swap(next, last);
        found
    })
}

fn step<M: Model>(
    model: &M,
    states: &mut BTreeMap<M::Key, M::State>,
    operation: &Operation<M::Input, M::Output>,
) -> bool {
    let key = model.key(&operation.input);
    let output = match &operation.outcome {
        Outcome::Returned { output, .. } => Some(output),
        _ => None,
    };
    let state = states.remove(&key).unwrap_or_else(|| model.initial(&key));
    let Some(next) = model.step(&state, &operation.input, output) else { return false };
    states.insert(key, next);
    true
}
