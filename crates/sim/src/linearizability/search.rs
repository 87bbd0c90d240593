//! The search for an order, in the history of one key.
//!
//! A *situation* is which operations are placed, and the state that they led to. From each, any operation may come next that was invoked
//! before everything still owed had returned: the earliest of those returns is the *horizon*. Where nothing fits any more, the search goes
//! back; where nothing is owed any more, it is done.
//!
//! What may never have happened (an *optional* operation) is placed only in front of an owed one, as a *variant* of the situation: first
//! none, then one, then more, breadth first, so that what needs fewer of them is found first and stands for what needs more. Of equal
//! optional operations the one invoked first is used first: they are interchangeable. So are owed ones whose answers were lost: of those
//! that may come next, the one that is due first is used first.
//!
//! A read that may come next and fits comes next, and nothing else is tried: in an order in which it comes later it can be moved here, as
//! it changes nothing. A read that nobody saw the answer of is left out.

use std::collections::HashMap;

use super::history::{Operation, OperationId, Outcome};
use super::model::Model;

/// Distinct states that are kept of a contradiction: enough to see why nothing fits.
const STATES_MAX: usize = 4;

/// How many optional operations may follow each other, attempt by attempt. Hardly any history needs two, and not to look for them
/// saves nearly all the work. An attempt that felt the bound proves nothing, so it gets half of the work that is left.
const IN_A_ROW: [usize; 3] = [1, 2, usize::MAX];

/// An operation that has to be placed, or may be.
struct Candidate<'a, I, O> {
    id: OperationId,
    input: &'a I,
    output: Option<&'a O>,
    invoked: u64,
    /// By when it took effect; never used of those that may never.
    due: u64,
    /// Names those that took effect, whose answers were lost and whose inputs are equal: they are interchangeable.
    twins: Option<usize>,
}

/// What a search ends with.
pub(super) enum Found<S> {
    /// An order of everything that took effect.
    Order(Vec<OperationId>),
    /// There is none.
    Nothing(Blocked<S>),
    /// The work ran out.
    Inconclusive,
}

/// How far the search came.
pub(super) struct Blocked<S> {
    /// The operation that fits nowhere: it had returned first among those that could not be placed.
    pub(super) id: OperationId,
    /// When it had returned.
    pub(super) horizon: u64,
    /// An order of what had returned before, and perhaps of more.
    pub(super) order: Vec<OperationId>,
    /// States in which everything that had returned before was placed, and it did not fit.
    pub(super) states: Vec<S>,
}

/// What leads from one situation to the next.
struct Step {
    /// The one that led to the situation before.
    before: Option<usize>,
    /// What was placed: optional operations, then an owed one.
    optional: Vec<usize>,
    required: usize,
}

/// A state of the situation, once these optional operations took effect as well.
struct Variant<S> {
    state: S,
    optional: Vec<usize>,
}

/// A situation on the path, and how much of it is explored.
struct Frame<S> {
    /// How it was reached; none at the start.
    step: Option<usize>,
    /// The owed operations that may come next, the first to return first.
    open: Vec<usize>,
    horizon: u64,
    variants: Vec<Variant<S>>,
    /// How many of the variants have led to further ones.
    extended: usize,
    /// Which open operation is to be tried next, in which variant.
    next: (usize, usize),
    /// The only open operation is a read that fits; others are there that it came before.
    is_read: bool,
}

/// The owed operations that are placed, as a normal form: all before the base, and these words from there on. Real time keeps the words
/// few, as an operation long past is placed.
#[derive(PartialEq, Eq, Hash)]
struct Situation<S> {
    base: usize,
    words: Box<[u64]>,
    state: S,
}

/// The operations of one key, sorted for the search.
pub(super) struct Search<'a, M: Model> {
    model: &'a M,
    /// Those that took effect, in the order of their invocations.
    required: Vec<Candidate<'a, M::Input, M::Output>>,
    /// Those that may have, in the order of their invocations.
    optional: Vec<Candidate<'a, M::Input, M::Output>>,
    /// For each optional one the last before it that is equal.
    equal_before: Vec<Option<usize>>,
}

impl<'a, M: Model> Search<'a, M> {
    /// A search in `operations`, which are about one key.
    pub(super) fn new(
        model: &'a M,
        operations: impl IntoIterator<Item = (OperationId, &'a Operation<M::Input, M::Output>)>,
    ) -> Self {
        let (mut required, mut optional) = (Vec::new(), Vec::new());
        for (id, Operation { input, invoked, outcome, .. }) in operations {
            let candidate = |output, due| Candidate { id, input, output, invoked: *invoked, due, twins: None };
            match outcome {
                Outcome::Returned { at, output } => required.push(candidate(Some(output), *at)),
                Outcome::Applied { by } => required.push(candidate(None, *by)),
                Outcome::Unknown if model.is_read(input) => {}
                Outcome::Unknown => optional.push(candidate(None, u64::MAX)),
                Outcome::Refused => {}
            }
        }
        name_twins(&mut required);
        required.sort_by_key(|candidate| candidate.invoked);
        optional.sort_by_key(|candidate| candidate.invoked);
        let equal_before = |at: usize| (0..at).rev().find(|before| optional[*before].input == optional[at].input);
        Search { model, equal_before: (0..optional.len()).map(equal_before).collect(), required, optional }
    }

    /// Searches from `initial` on with `work` units of work; tells how many are left, too.
    pub(super) fn run(&self, initial: &M::State, mut work: u64) -> (Found<M::State>, u64) {
        for in_a_row in IN_A_ROW {
            let kept = if in_a_row == usize::MAX { 0 } else { work / 2 };
            let mut attempt = Attempt::new(self, in_a_row, work - kept);
            let found = attempt.run(initial.clone());
            work = kept + attempt.work;
            if let Ok(Some(found)) = found {
                return (found, work);
            }
        }
        (Found::Inconclusive, work)
    }
}

/// Tells which owed operations are interchangeable, by the place of the first of them.
fn name_twins<I: PartialEq, O>(required: &mut [Candidate<'_, I, O>]) {
    let mut firsts: Vec<usize> = Vec::new();
    for at in 0..required.len() {
        if required[at].output.is_some() {
            continue;
        }
        let first = firsts.iter().copied().find(|first| required[*first].input == required[at].input).unwrap_or(at);
        if first == at {
            firsts.push(at);
        }
        required[at].twins = Some(first);
    }
}

/// One attempt, with what changes on the way.
struct Attempt<'s, 'a, M: Model> {
    search: &'s Search<'a, M>,
    required_placed: Bits,
    optional_placed: Bits,
    /// All required ones before this are placed.
    below: usize,
    /// Every situation that was entered, with the sets of optional operations that it was entered with; none of the sets is a subset
    /// of another. It is only looked up, never walked through, and holds at most one set for each unit of work.
    entered: HashMap<Situation<M::State>, Vec<Box<[u64]>>>,
    /// Every step into a situation that was entered, so that an order can be named by its last step. Bounded like `entered`.
    steps: Vec<Step>,
    /// Units of work that are left: a step of the model, or a comparison of two sets.
    work: u64,
    /// How many optional operations may follow each other.
    in_a_row: usize,
    /// That bound was felt.
    is_limited: bool,
    /// The furthest that any order came, and the last step of the first that did.
    furthest: Option<(Blocked<M::State>, Option<usize>)>,
}

/// The work has run out.
struct Exhausted;

impl<'s, 'a, M: Model> Attempt<'s, 'a, M> {
    fn new(search: &'s Search<'a, M>, in_a_row: usize, work: u64) -> Self {
        Attempt {
            search,
            required_placed: Bits::new(search.required.len()),
            optional_placed: Bits::new(search.optional.len()),
            below: 0,
            entered: HashMap::new(),
            steps: Vec::new(),
            work,
            in_a_row,
            is_limited: false,
            furthest: None,
        }
    }

    /// Searches from `initial` on. None: there is no order within the bound, and the bound was felt.
    fn run(&mut self, initial: M::State) -> Result<Option<Found<M::State>>, Exhausted> {
        let search = self.search;
        let mut path = vec![self.frame(initial, None)?];
        while let Some(frame) = path.last_mut() {
            if frame.open.is_empty() {
                return Ok(Some(Found::Order(self.order(frame.step))));
            }
            let Some((variant, at)) = self.next(frame)? else {
                self.note_blocked(frame);
                self.take_back(frame.step);
                path.pop();
                continue;
            };
            let Variant { state, optional } = &frame.variants[variant];
            let candidate = &search.required[at];
            let next = if frame.is_read {
                // It was looked at already, and changes nothing.
                Some(state.clone())
            } else {
                self.spend(1)?;
                search.model.step(state, candidate.input, candidate.output)
            };
            let Some(state) = next else { continue };
            let step = Some(self.place(Step { before: frame.step, optional: optional.clone(), required: at }));
            if self.enter(&state)? {
                path.push(self.frame(state, step)?);
            } else {
                self.take_back(step);
                self.steps.pop();
            }
        }
        let furthest = self.furthest.take().filter(|_| !self.is_limited);
        Ok(furthest.map(|(blocked, step)| Found::Nothing(Blocked { order: self.order(step), ..blocked })))
    }

    fn frame(&mut self, state: M::State, step: Option<usize>) -> Result<Frame<M::State>, Exhausted> {
        let mut horizon = u64::MAX;
        let mut open = Vec::new();
        for (at, candidate) in self.search.required.iter().enumerate().skip(self.below) {
            if candidate.invoked > horizon {
                break;
            }
            if !self.required_placed.contains(at) {
                horizon = horizon.min(candidate.due);
                open.push(at);
            }
        }
        open.sort_by_key(|at| self.search.required[*at].due);
        // Of twins that may come next, the one that is due first stands for all: where another came first, the two can change places.
        let mut seen = Vec::new();
        open.retain(|at| match self.search.required[*at].twins {
            Some(twins) if seen.contains(&twins) => false,
            twins => {
                seen.extend(twins);
                true
            }
        });
        let read = self.fitting_read(&state, &open)?;
        if let Some(at) = read {
            open = vec![at];
        }
        let variants = vec![Variant { state, optional: Vec::new() }];
        let is_read = read.is_some();
        // Nothing that may never have happened is placed in front of a read that fits without it.
        Ok(Frame { step, open, horizon, variants, extended: usize::from(is_read), next: (0, 0), is_read })
    }

    /// A read among `open` that fits.
    fn fitting_read(&mut self, state: &M::State, open: &[usize]) -> Result<Option<usize>, Exhausted> {
        let Search { model, required, .. } = self.search;
        for at in open {
            let candidate = &required[*at];
            if model.is_read(candidate.input) {
                self.spend(1)?;
                if model.step(state, candidate.input, candidate.output).is_some() {
                    return Ok(Some(*at));
                }
            }
        }
        Ok(None)
    }

    /// The next owed operation to try, and the variant to try it in.
    fn next(&mut self, frame: &mut Frame<M::State>) -> Result<Option<(usize, usize)>, Exhausted> {
        loop {
            let (variant, open) = frame.next;
            if variant >= frame.variants.len() {
                if frame.extended >= frame.variants.len() {
                    return Ok(None);
                }
                self.extend(frame)?;
            } else if let Some(at) = frame.open.get(open) {
                frame.next.1 += 1;
                return Ok(Some((variant, *at)));
            } else {
                frame.next = (variant + 1, 0);
            }
        }
    }

    /// Lets one more optional operation take effect in the next variant, each that may. Variants with fewer of them come first, so one
    /// that is reached in the same state by some of the operations of another is there before it.
    fn extend(&mut self, frame: &mut Frame<M::State>) -> Result<(), Exhausted> {
        let from = frame.extended;
        frame.extended += 1;
        for (at, candidate) in self.search.optional.iter().enumerate() {
            if candidate.invoked > frame.horizon {
                break;
            }
            let Variant { state, optional } = &frame.variants[from];
            let is_placed = |at: usize| self.optional_placed.contains(at) || optional.contains(&at);
            if is_placed(at) || self.search.equal_before[at].is_some_and(|before| !is_placed(before)) {
                continue;
            }
            if optional.len() >= self.in_a_row {
                self.is_limited = true;
                break;
            }
            let Some(state) = self.search.model.step(state, candidate.input, None) else {
                self.spend(1)?;
                continue;
            };
            self.spend(1 + frame.variants.len() as u64)?;
            let covers = |variant: &Variant<M::State>| {
                variant.optional.iter().all(|used| *used == at || optional.contains(used)) && variant.state == state
            };
            if !frame.variants.iter().any(covers) {
                let optional = [optional.as_slice(), &[at]].concat();
                frame.variants.push(Variant { state, optional });
            }
        }
        Ok(())
    }

    fn place(&mut self, step: Step) -> usize {
        step.optional.iter().for_each(|at| self.optional_placed.insert(*at));
        self.required_placed.insert(step.required);
        while self.below < self.search.required.len() && self.required_placed.contains(self.below) {
            self.below += 1;
        }
        self.steps.push(step);
        self.steps.len() - 1
    }

    fn take_back(&mut self, step: Option<usize>) {
        let Some(step) = step.map(|step| &self.steps[step]) else { return };
        step.optional.iter().for_each(|at| self.optional_placed.remove(*at));
        self.required_placed.remove(step.required);
        self.below = self.below.min(step.required);
    }

    /// Whether the situation is worth exploring: it is not if the same was entered with some of the optional operations that it used, and
    /// no others. Whatever could follow here could have followed there.
    fn enter(&mut self, state: &M::State) -> Result<bool, Exhausted> {
        let base = self.below / 64;
        let words = self.required_placed.words_from(base);
        let used = self.optional_placed.words_from(0);
        let sets = self.entered.entry(Situation { base, words, state: state.clone() }).or_default();
        let compared = sets.len() as u64;
        let is_new = !sets.iter().any(|set| is_subset(set, &used));
        if is_new {
            sets.retain(|set| !is_subset(&used, set));
            sets.push(used);
        }
        self.spend(compared)?;
        Ok(is_new)
    }

    fn spend(&mut self, units: u64) -> Result<(), Exhausted> {
        self.work = self.work.checked_sub(units).ok_or(Exhausted)?;
        Ok(())
    }

    /// What was placed up to `last`, first to last.
    fn order(&self, last: Option<usize>) -> Vec<OperationId> {
        let steps = std::iter::successors(last, |step| self.steps[*step].before).map(|step| &self.steps[step]);
        let mut order = Vec::new();
        for step in steps {
            order.push(self.search.required[step.required].id);
            order.extend(step.optional.iter().rev().map(|at| self.search.optional[*at].id));
        }
        order.reverse();
        order
    }

    /// Nothing follows the situation. The furthest of these is what a person wants to see: every order fails at its horizon or before,
    /// and up to there at least one succeeds.
    fn note_blocked(&mut self, frame: &Frame<M::State>) {
        if frame.is_read {
            // What is blocked is what came after it.
            return;
        }
        let Some(first) = frame.open.first().map(|at| &self.search.required[*at]) else { return };
        if self.furthest.as_ref().is_none_or(|(furthest, _)| furthest.horizon < frame.horizon) {
            let blocked = Blocked { id: first.id, horizon: frame.horizon, order: Vec::new(), states: Vec::new() };
            self.furthest = Some((blocked, frame.step));
        }
        let Some((furthest, _)) = self.furthest.as_mut().filter(|(furthest, _)| furthest.id == first.id) else {
            return;
        };
        for Variant { state, .. } in &frame.variants {
            let is_kept = furthest.states.len() >= STATES_MAX || furthest.states.contains(state);
            if !is_kept && self.search.model.step(state, first.input, first.output).is_none() {
                furthest.states.push(state.clone());
            }
        }
    }
}

/// A set of small numbers.
struct Bits {
    words: Vec<u64>,
    /// All words from here on are zero, and have always been: the search goes forward for the most part.
    touched: usize,
}

impl Bits {
    fn new(len: usize) -> Self {
        Bits { words: vec![0; len.div_ceil(64)], touched: 0 }
    }

    fn contains(&self, at: usize) -> bool {
        self.words[at / 64] & (1 << (at % 64)) != 0
    }

    fn insert(&mut self, at: usize) {
        self.words[at / 64] |= 1 << (at % 64);
        self.touched = self.touched.max(at / 64 + 1);
    }

    fn remove(&mut self, at: usize) {
        self.words[at / 64] &= !(1 << (at % 64));
    }

    /// The words from `base` on, without zeros at the end.
    fn words_from(&self, base: usize) -> Box<[u64]> {
        let words = self.words.get(base..self.touched).unwrap_or_default();
        let len = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        words[..len].into()
    }
}

fn is_subset(set: &[u64], of: &[u64]) -> bool {
    set.len() <= of.len() && set.iter().zip(of).all(|(set, of)| set & !of == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_one_form() {
        let mut bits = Bits::new(200);
        for at in [0, 63, 64, 130] {
            bits.insert(at);
            assert!(bits.contains(at));
        }
        assert_eq!(&*bits.words_from(1), [1, 4]);
        bits.remove(130);
        assert_eq!(&*bits.words_from(1), [1]);
        assert!(bits.words_from(2).is_empty());
        assert!(bits.words_from(9).is_empty());
    }

    #[test]
    fn subsets_of_any_length() {
        assert!(is_subset(&[], &[]) && is_subset(&[], &[5]) && is_subset(&[1], &[5]) && is_subset(&[1], &[1, 1]));
        assert!(!is_subset(&[2], &[5]) && !is_subset(&[0, 1], &[5]));
    }
}
