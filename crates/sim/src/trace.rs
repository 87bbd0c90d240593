//! Everything that happens, as one hash, and as text when asked for.
//!
//! The hash is always kept: the same seed must give the same one. Text costs ten times as much, so a run writes none; a failure
//! is run again, which gives the same failure, with the text on.

use std::collections::VecDeque;
use std::io::{self, Write as _};

use xxhash_rust::xxh3::xxh3_64;

/// The last lines that a failure report shows.
const LINES_MAX: usize = 120;

/// How much text a run writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Only the hash.
    Hash,
    /// The last lines, for a failure report.
    Tail,
    /// Every line, to standard output at once.
    Print,
}

/// What happened so far.
#[derive(Debug)]
pub struct Trace {
    detail: Detail,
    hash: u64,
    events: u64,
    lines: VecDeque<String>,
}

impl Trace {
    /// Nothing happened yet.
    pub fn new(detail: Detail) -> Self {
        Trace { detail, hash: 0, events: 0, lines: VecDeque::new() }
    }

    /// Something happened at `at` (virtual microseconds): `words` are its facts, `text` says it to people.
    pub fn event(&mut self, at: u64, words: [u64; 3], text: impl FnOnce() -> String) {
        self.events += 1;
        for word in [at, words[0], words[1], words[2]] {
            self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        if self.detail == Detail::Hash {
            return;
        }
        let line = format!("{:>3}.{:06} {}", at / 1_000_000, at % 1_000_000, text());
        if self.detail == Detail::Print {
            // Whoever reads may have seen enough and gone: the run goes on.
            let _ = writeln!(io::stdout(), "{line}");
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash ^ self.events
    }

    /// How many events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The last lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// One word that stands for `bytes` in the trace.
pub fn digest(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}
