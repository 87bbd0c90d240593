//! What will happen, in order of time; of one moment, in the order in which it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things that will happen. They are large and stay where they are; what the heap moves about is three words each.
#[derive(Debug)]
pub struct Schedule<T> {
    /// Time, order of planning, and the place in `things`.
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    things: Vec<Option<T>>,
    /// Places in `things` that are empty. Invariant: every other place is in `heap`, once.
    empty: Vec<usize>,
    planned: u64,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Schedule { heap: BinaryHeap::new(), things: Vec::new(), empty: Vec::new(), planned: 0 }
    }
}

impl<T> Schedule<T> {
    /// `thing` will happen at `at`, after everything that was planned for that moment before.
    pub fn push(&mut self, at: u64, thing: T) {
        self.planned += 1;
        let place = self.empty.pop().unwrap_or_else(|| {
            self.things.push(None);
            self.things.len() - 1
        });
        self.things[place] = Some(thing);
        self.heap.push(Reverse((at, self.planned, place)));
    }

    /// What happens next, and when.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        self.empty.push(place);
        Some((at, self.things[place].take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_order_of_time_and_then_of_planning() {
        let mut schedule = Schedule::default();
        for (at, thing) in [(5, "c"), (3, "a"), (5, "d"), (3, "b")] {
            schedule.push(at, thing);
        }
        assert_eq!(schedule.pop(), Some((3, "a")));
        schedule.push(4, "between");
        let rest: Vec<_> = std::iter::from_fn(|| schedule.pop()).collect();
        assert_eq!(rest, [(3, "b"), (4, "between"), (5, "c"), (5, "d")]);
        assert_eq!((schedule.things.len(), schedule.empty.len()), (4, 4));
    }
}
