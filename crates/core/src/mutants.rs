//! Deliberate bugs: each removes one safeguard that the simulator, or a test that the mutant's line names, must miss at once.
//!
//! They exist only with the cargo feature `mutants`; without it `mutant!` is the constant `false` and the code that it guards
//! is compiled away.

/// Declares the mutants: a name for code, a name for the command line, and what is missing.
#[cfg(feature = "mutants")]
macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)*) => {
        /// A safeguard that is missing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Mutant {
            /// Every mutant.
            pub const ALL: &'static [Mutant] = &[$(Mutant::$name,)*];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Mutant::$name => $text,)*
                }
            }
        }
    };
}

#[cfg(feature = "mutants")]
mutants! {
    /// Raft: a vote is answered at once, and term and vote reach the disk only with the next entries (rule 9).
    VoteNotPersisted = "vote-not-persisted",
    /// Raft: an entry of an earlier term commits by counting replicas, and no no-op is put behind it (paper 5.4.2, Figure 8).
    OwnTermCommit = "own-term-commit",
    /// Raft: a node acknowledges, and counts for itself, what its disk has not confirmed (rules 8-10).
    AckBeforeDurable = "ack-before-durable",
    /// Raft: a vote compares the lengths of the logs and ignores their last terms (paper 5.4.1).
    VoteTermNotCompared = "vote-term-not-compared",

    /// Storage: recovery does not sync what it recovered (rule 1).
    RecoverySyncSkipped = "recovery-sync-skipped",

    /// State machines: a command that was applied already is applied again (rule 14).
    SessionDedupSkipped = "session-dedup-skipped",
}

#[cfg(feature = "mutants")]
impl std::fmt::Display for Mutant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no mutant has.
#[cfg(feature = "mutants")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no mutant named {0:?}")]
pub struct UnknownMutant(String);

#[cfg(feature = "mutants")]
impl std::str::FromStr for Mutant {
    type Err = UnknownMutant;

    fn from_str(text: &str) -> Result<Self, UnknownMutant> {
        Mutant::ALL.iter().copied().find(|mutant| mutant.name() == text).ok_or_else(|| UnknownMutant(text.to_owned()))
    }
}

/// Whether `$options` selects this mutant; the constant `false` without the feature.
#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($options:expr, $mutant:ident) => {
        $options.mutant == Some($crate::mutants::Mutant::$mutant)
    };
}

/// Whether `$options` selects this mutant; the constant `false` without the feature.
#[cfg(not(feature = "mutants"))]
#[allow(unused_macros)]
macro_rules! mutant {
    ($options:expr, $mutant:ident) => {
        false
    };
}

#[allow(unused_imports)]
pub(crate) use mutant;
