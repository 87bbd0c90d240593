//! A property that does not hold.

use std::fmt;

/// Which property, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property, in words.
    pub property: &'static str,
    /// What was seen.
    pub detail: String,
}

/// What a checker says.
pub type Verdict = Result<(), Violation>;

impl Violation {
    /// `property` does not hold, as `detail` shows.
    pub fn of(property: &'static str, detail: impl Into<String>) -> Self {
        Violation { property, detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.detail)
    }
}
