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
    /// Storage: the name of a new segment is not made durable (rule 1; `crates/wal/tests/mutants.rs`, as those that follow).
    SegmentNameNotSynced = "wal-segment-name-not-synced",
    /// Storage: a sync that failed is tried again, and believed when it then succeeds (rule 2).
    FailedSyncRetried = "wal-failed-sync-retried",
    /// Storage: opening reads what the page cache serves, not what the medium holds (rule 2).
    CacheNotDropped = "wal-cache-not-dropped",
    /// Storage: what stands behind a torn end is left there (rule 3).
    TornTailKept = "wal-torn-tail-kept",
    /// Storage: a batch of which recovery found only the beginning is not ended before the next one (rule 3).
    TornBatchNotClosed = "wal-torn-batch-not-closed",
    /// Storage: a record need not follow the record that it was written behind (rule 3).
    LinkNotChecked = "wal-link-not-checked",
    /// Storage: a record may name another use of the segment's file (rule 3).
    UseNumberNotChecked = "wal-use-number-not-checked",
    /// Storage: what does not verify is cut, although a later batch shows that it was synced (rule 3).
    DamageTakenForTorn = "wal-damage-taken-for-torn",
    /// Storage: an idle log is not ended by an empty batch (rule 3).
    IdleRecordSkipped = "wal-idle-record-skipped",
    /// Storage: term and vote are written after the records of their batch (rule 4).
    HardStateAfterRecords = "wal-hard-state-after-records",
    /// Storage: term and vote have one slot, so a write goes over the state in force (rule 4).
    SingleHardStateSlot = "wal-single-hard-state-slot",
    /// Storage: a log may end below the batch that the hard state names as synced (rule 4).
    SyncedBatchIgnored = "wal-synced-batch-ignored",
    /// Storage: recovery hands over runs that a later splice had cut off (rule 5).
    SpliceDoesNotCut = "wal-splice-does-not-cut",
    /// Storage: the checksum of a record is not verified when it is read back (rule 20).
    FetchNotVerified = "wal-fetch-not-verified",
    /// Storage: a file takes the place of the identity before its bytes are durable (rule 22).
    IdentityNotSynced = "wal-identity-not-synced",

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
