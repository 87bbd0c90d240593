//! Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input"): as few items as still fail.

use super::trials::Trials;
use crate::plan::Plan;

impl Trials<'_> {
    /// Removes as many of `items` as it can, such that what `build` makes of the best plan and the rest still fails. What is left is
    /// minimal: without any one of them it would pass, unless the budget ended first.
    pub(super) fn minimise<T: Clone>(&mut self, mut items: Vec<T>, build: impl Fn(&Plan, &[T]) -> Plan) {
        let mut base = self.best.clone();
        if items.is_empty() || self.first(&[build(&base, &[])]).is_some() {
            return;
        }
        let mut parts = 2;
        while items.len() > 1 && !self.spent() {
            let size = items.len().div_ceil(parts);
            let rests: Vec<Vec<T>> = (0..items.len())
                .step_by(size)
                .map(|start| {
                    let end = (start + size).min(items.len());
                    [&items[..start], &items[end..]].concat()
                })
                .collect();
            let candidates: Vec<Plan> = rests.iter().map(|rest| build(&base, rest)).collect();
            match self.first(&candidates) {
                Some(taken) => {
                    items = rests[taken].clone();
                    base.seed = self.best.seed;
                    parts = (parts - 1).max(2);
                }
                None if size == 1 => return,
                None => parts = (2 * parts).min(items.len()),
            }
        }
    }
}
