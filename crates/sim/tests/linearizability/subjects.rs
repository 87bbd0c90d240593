//! The services whose histories are judged: registers, a log, a queue.

use slimcluster_core::random::Random;
use slimcluster_sim::linearizability::Model;

/// A model that can also play the service.
pub trait Subject: Model<Input: Clone, Output: Clone + PartialEq> + Default {
    /// Draws what a client asks.
    fn draw_input(rng: &mut Random, number: u64) -> Self::Input;
    /// What the service answers.
    fn respond(state: &Self::State, input: &Self::Input) -> (Self::State, Self::Output);
    /// Draws an answer, plausible or not.
    fn draw_output(rng: &mut Random) -> Self::Output;
}

/// Registers with compare-and-swap.
#[derive(Default)]
pub struct Registers;

#[derive(Clone, Debug, PartialEq)]
pub enum Register {
    Read { key: u64 },
    Write { key: u64, value: u64 },
    Swap { key: u64, from: u64, to: u64 },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Value(u64),
    Written,
    Swapped(bool),
}

impl Model for Registers {
    type Key = u64;
    type State = u64;
    type Input = Register;
    type Output = Answer;

    fn key(&self, input: &Register) -> u64 {
        let (Register::Read { key } | Register::Write { key, .. } | Register::Swap { key, .. }) = input;
        *key
    }

    fn initial(&self, _: &u64) -> u64 {
        0
    }

    fn step(&self, state: &u64, input: &Register, output: Option<&Answer>) -> Option<u64> {
        let (next, answer) = Registers::respond(state, input);
        output.is_none_or(|output| *output == answer).then_some(next)
    }

    fn is_read(&self, input: &Register) -> bool {
        matches!(input, Register::Read { .. })
    }
}

impl Subject for Registers {
    fn draw_input(rng: &mut Random, _: u64) -> Register {
        let key = rng.below(2);
        match rng.below(3) {
            0 => Register::Read { key },
            1 => Register::Write { key, value: rng.below(3) },
            _ => Register::Swap { key, from: rng.below(3), to: rng.below(3) },
        }
    }

    fn respond(state: &u64, input: &Register) -> (u64, Answer) {
        match *input {
            Register::Read { .. } => (*state, Answer::Value(*state)),
            Register::Write { value, .. } => (value, Answer::Written),
            Register::Swap { from, to, .. } if from == *state => (to, Answer::Swapped(true)),
            Register::Swap { .. } => (*state, Answer::Swapped(false)),
        }
    }

    fn draw_output(rng: &mut Random) -> Answer {
        match rng.below(4) {
            0 => Answer::Written,
            1 => Answer::Swapped(rng.chance(1, 2)),
            _ => Answer::Value(rng.below(3)),
        }
    }
}

/// A log: an append answers its place, a read the whole of it.
#[derive(Default)]
pub struct Log;

#[derive(Clone, Debug, PartialEq)]
pub enum LogInput {
    Append(u64),
    Read,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LogOutput {
    Place(usize),
    Entries(Vec<u64>),
}

impl Model for Log {
    type Key = ();
    type State = Vec<u64>;
    type Input = LogInput;
    type Output = LogOutput;

    fn key(&self, _: &LogInput) {}

    fn initial(&self, (): &()) -> Vec<u64> {
        Vec::new()
    }

    fn step(&self, state: &Vec<u64>, input: &LogInput, output: Option<&LogOutput>) -> Option<Vec<u64>> {
        let (next, answer) = Log::respond(state, input);
        output.is_none_or(|output| *output == answer).then_some(next)
    }

    fn is_read(&self, input: &LogInput) -> bool {
        *input == LogInput::Read
    }
}

impl Subject for Log {
    fn draw_input(rng: &mut Random, number: u64) -> LogInput {
        if rng.chance(1, 3) { LogInput::Read } else { LogInput::Append(number) }
    }

    fn respond(state: &Vec<u64>, input: &LogInput) -> (Vec<u64>, LogOutput) {
        match input {
            LogInput::Append(entry) => ([state.as_slice(), &[*entry]].concat(), LogOutput::Place(state.len())),
            LogInput::Read => (state.clone(), LogOutput::Entries(state.clone())),
        }
    }

    fn draw_output(rng: &mut Random) -> LogOutput {
        LogOutput::Place(rng.below(4) as usize)
    }
}

/// A bag that hands out any of its items: a service with a choice, hence a set of states as the state.
#[derive(Default)]
pub struct Bag;

#[derive(Clone, Debug, PartialEq)]
pub enum BagInput {
    Put(u64),
    Take,
}

impl Model for Bag {
    type Key = ();
    /// Every content that explains what was seen, each sorted.
    type State = Vec<Vec<u64>>;
    type Input = BagInput;
    /// What was taken; none of an empty bag, and of a put.
    type Output = Option<u64>;

    fn key(&self, _: &BagInput) {}

    fn initial(&self, (): &()) -> Self::State {
        vec![Vec::new()]
    }

    fn step(&self, state: &Self::State, input: &BagInput, output: Option<&Option<u64>>) -> Option<Self::State> {
        let mut next: Vec<Vec<u64>> = Vec::new();
        for content in state {
            match input {
                BagInput::Put(item) => {
                    if output.is_none_or(Option::is_none) {
                        next.push([content.as_slice(), &[*item]].concat());
                    }
                }
                BagInput::Take if content.is_empty() => {
                    if output.is_none_or(Option::is_none) {
                        next.push(Vec::new());
                    }
                }
                BagInput::Take => {
                    for (at, item) in content.iter().enumerate() {
                        if output.is_none_or(|output| *output == Some(*item)) {
                            let mut rest = content.clone();
                            rest.remove(at);
                            next.push(rest);
                        }
                    }
                }
            }
        }
        next.iter_mut().for_each(|content| content.sort_unstable());
        next.sort_unstable();
        next.dedup();
        (!next.is_empty()).then_some(next)
    }
}

impl Subject for Bag {
    fn draw_input(rng: &mut Random, _: u64) -> BagInput {
        if rng.chance(1, 2) { BagInput::Take } else { BagInput::Put(rng.below(3)) }
    }

    fn respond(state: &Self::State, input: &BagInput) -> (Self::State, Option<u64>) {
        let output = match input {
            BagInput::Put(_) => None,
            BagInput::Take => state.first().and_then(|content| content.last().copied()),
        };
        (Bag.step(state, input, Some(&output)).unwrap(), output)
    }

    fn draw_output(rng: &mut Random) -> Option<u64> {
        rng.chance(2, 3).then(|| rng.below(3))
    }
}
