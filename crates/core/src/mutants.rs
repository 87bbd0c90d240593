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
    /// Raft: a vote compares with the durable part of the log, not with what was accepted (rule 8).
    VoteComparesDurable = "vote-compares-durable",
    /// Raft: a node votes again in a term in which it has voted for another (paper 5.2).
    SecondVote = "second-vote",
    /// Raft: a node starts without the vote that its disk holds (paper 5.2).
    VoteForgottenAtStart = "vote-forgotten-at-start",
    /// Raft: a candidate counts its own vote before it is durable (invariant 5 of ARCHITECTURE.md).
    OwnVoteAtOnce = "own-vote-at-once",
    /// Raft: a promise of the pre-vote counts as a vote (thesis 9.6).
    PromiseCountsAsVote = "promise-counts-as-vote",
    /// Raft: a refused vote counts as a granted one (a candidate takes an answer for a yes).
    RefusalCountsAsVote = "refusal-counts-as-vote",
    /// Raft: a vote of an earlier term counts in the present one (paper 5.1).
    StaleVoteCounted = "stale-vote-counted",
    /// Raft: half of the voters elect (paper 5.2).
    HalfElects = "half-elects",
    /// Raft: half of the voters commit (paper 5.3).
    HalfCommits = "half-commits",
    /// Raft: a higher term is read and not taken over (paper 5.1).
    HigherTermNotAdopted = "higher-term-not-adopted",
    /// Raft: the entries of a leader of an earlier term are accepted (paper 5.1).
    StaleLeaderObeyed = "stale-leader-obeyed",
    /// Raft: answers to an earlier leadership count in the present one, entries and rounds alike (paper 5.1; thesis 6.4).
    StaleAcknowledgementCounted = "stale-acknowledgement-counted",
    /// Raft: who waited for its leader long enough campaigns without asking for pre-votes (thesis 9.6).
    PreVoteSkipped = "pre-vote-skipped",
    /// Raft: a node in contact with its leader promises and gives its vote to others (thesis 4.2.3; rule 26).
    StickinessIgnored = "stickiness-ignored",
    /// Raft: a leader without contact to a quorum goes on (thesis 6.2).
    CheckQuorumSkipped = "check-quorum-skipped",
    /// Raft: a follower does not compare the term of the entry that a message continues (paper 5.3).
    PrevTermNotChecked = "prev-term-not-checked",
    /// Raft: entries that stand in the log already are written again, and what follows them is cut off (paper 5.3).
    MatchingEntriesTruncate = "matching-entries-truncate",
    /// Raft: a follower commits what the leader has committed, whether its own entries are known to be the leader's or not (paper 5.3).
    LeaderCommitBelieved = "leader-commit-believed",
    /// Raft: an acknowledgement covers all that is durable, beyond what this leader's messages proved (rule 9).
    AckBeyondProof = "ack-beyond-proof",
    /// Raft: what one leader's messages proved is acknowledged to the next one (rule 9).
    ObligationKept = "obligation-kept",
    /// Raft: a late completion covers entries that were cut off (rule 10).
    PendingWritesNotClipped = "pending-writes-not-clipped",
    /// Raft: a late refusal sends a leader back behind what the peer has acknowledged (rule 9).
    LateRefusalBelieved = "late-refusal-believed",
    /// Raft: a node that starts takes everything in its log for applied.
    AppliedAssumedAtStart = "applied-assumed-at-start",
    /// Raft: what was read back for a peer is applied, wherever apply stands.
    FetchedAppliedAnywhere = "fetched-applied-anywhere",

    /// Raft: what a leader has committed goes on to take up room (options, `uncommitted_bytes_max`).
    RoomNotReturned = "room-not-returned",
    /// Raft: a node that may not campaign does not wait again for its leader, so its deadline is always over.
    TimerNotRestarted = "timer-not-restarted",
    /// Reads: a leader answers at once, without asking its quorum (thesis 6.4).
    ReadWithoutRound = "read-without-round",
    /// Reads: the answers to a read are ignored, wherever it was asked.
    ReadAnswersIgnored = "read-answers-ignored",
    /// Reads: a read is confirmed by answers to a round that began before it (thesis 6.4).
    ReadJoinsEarlierRound = "read-joins-earlier-round",
    /// Reads: a leader takes its commit index for current before it has committed in its term (thesis 6.4).
    ReadBeforeOwnCommit = "read-before-own-commit",
    /// Reads and forwards: the numbers of a process begin where those of the process before it began, whose answers may come late.
    NumbersBeginAgain = "numbers-begin-again",

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
    /// Sessions: of a session, only the highest number and its reply are kept (rule 14).
    HighestNumberOnly = "highest-number-only",
    /// Sessions: an applied number is forgotten as soon as a higher one is applied (rule 14).
    NumbersForgottenEarly = "numbers-forgotten-early",

    /// Outcomes: a leader that refuses one message of commands is taken to have refused them all (rule 16).
    RefusalHitsAll = "refusal-hits-all",
    /// Outcomes: with a new leader, the copy that the old one got is forgotten, and the command is not committed at its deadline (rule 16).
    EarlierCopyForgotten = "earlier-copy-forgotten",
    /// Outcomes: a command without an answer is not committed at its deadline (rule 16).
    TimeOutIsNotCommitted = "time-out-is-not-committed",
    /// Outcomes: a command that is sent again gets a new number (rule 16).
    RetryUnderNewNumber = "retry-under-new-number",
    /// Outcomes: an outcome goes to the oldest command that waits, whichever it names.
    OutcomesInOrder = "outcomes-in-order",

    /// Bootstrap: a promise is said before it is durable (rule 22).
    PromiseSaidEarly = "promise-said-early",
    /// Bootstrap: the cluster is formed when one promise is still missing (rule 23).
    PromiseMissing = "promise-missing",
    /// Bootstrap: a set that a member misses is given up under the same id, which then promises another (rules 23, 24).
    SecondPromise = "second-promise",

    /// SWIM: an opinion about a member is taken although a later one is held (rule 31).
    OlderOpinionTaken = "swim-older-opinion-taken",
    /// SWIM: nobody refutes what is said about it (SWIM paper, section 4.2).
    RefutationSkipped = "swim-refutation-skipped",
    /// SWIM: a node takes over what others say about it (rule 31).
    OwnWordYielded = "swim-own-word-yielded",
    /// SWIM: the starts of a node go by one number (rule 31).
    GenerationRepeated = "swim-generation-repeated",
    /// SWIM: a tombstone is forgotten after a second.
    TombstoneForgotten = "swim-tombstone-forgotten",
    /// SWIM: a suspicion never ends.
    SuspicionEndless = "swim-suspicion-endless",
    /// SWIM: who does not answer a probe is dead at once (SWIM paper, section 4.2).
    SuspicionSkipped = "swim-suspicion-skipped",
    /// SWIM: nobody else is asked to ping who does not answer (SWIM paper, section 3.1).
    IndirectProbesSkipped = "swim-indirect-probes-skipped",
    /// SWIM: whoever listens at an address answers the pings that are meant for another, and is believed (rule 32).
    PingTargetIgnored = "swim-ping-target-ignored",
    /// SWIM: an isolated node takes all others for dead, and says so (rule 32).
    IsolationIgnored = "swim-isolation-ignored",
    /// SWIM: who was isolated tells the others whom it has given up (rule 32).
    UnreachableSaid = "swim-unreachable-said",
    /// SWIM: an update rides on one datagram only (SWIM paper, section 4.1).
    UpdateSentOnce = "swim-update-sent-once",
    /// SWIM: who was taken for dead is never asked again.
    LostNeverAsked = "swim-lost-never-asked",
    /// SWIM: a node that leaves tells nobody (rule 30).
    LeaveUnsaid = "swim-leave-unsaid",
    /// SWIM: an announced restart is given no time (rule 30).
    RestartNotAwaited = "swim-restart-not-awaited",
    /// SWIM: a datagram carries all that there is to say (SWIM paper, section 4.1).
    DatagramUnbounded = "swim-datagram-unbounded",

    /// Links: a peer that never proves itself is waited for without end.
    ProofAwaitedForEver = "proof-awaited-for-ever",
    /// Links: whoever has greeted is obeyed, whatever cluster it is of (rule 28).
    UuidNotCompared = "uuid-not-compared",
    /// Links: a greeting of another cluster id is taken for one of this.
    ClusterIdNotCompared = "cluster-id-not-compared",
    /// SWIM: a datagram of another cluster id is taken for one of this.
    ClusterTagNotCompared = "cluster-tag-not-compared",
    /// SWIM: all are answered as often as they ask.
    AnswersUnlimited = "answers-unlimited",

    /// Wire: the checksum of a frame is not verified.
    FrameChecksumSkipped = "frame-checksum-skipped",

    /// The user's state machine: one replica forgets a command and answers as if it had not (U3); the replicas' checkers must see it.
    ApplyForgets = "apply-forgets",
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
#[error("there is no mutant named {0:?}: crates/core/src/mutants.rs has the names")]
pub struct UnknownMutant(String);

#[cfg(feature = "mutants")]
impl std::str::FromStr for Mutant {
    type Err = UnknownMutant;

    fn from_str(text: &str) -> Result<Self, UnknownMutant> {
        Mutant::ALL.iter().copied().find(|mutant| mutant.name() == text).ok_or_else(|| UnknownMutant(text.to_owned()))
    }
}

#[cfg(feature = "mutants")]
pub use planting::{Planted, is_planted, plant};

#[cfg(feature = "mutants")]
mod planting {
    use std::cell::Cell;

    use super::Mutant;

    std::thread_local! {
        /// A simulated world runs on one thread, with all of its nodes.
        static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// What was planted before stands again when this is dropped.
    #[must_use]
    #[derive(Debug)]
    pub struct Planted(Option<Mutant>);

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.set(self.0);
        }
    }

    /// Leaves the safeguard out of everything that this thread runs; none: all are there.
    pub fn plant(mutant: Option<Mutant>) -> Planted {
        Planted(PLANTED.replace(mutant))
    }

    /// Whether the safeguard is left out on this thread.
    #[inline]
    pub fn is_planted(mutant: Mutant) -> bool {
        PLANTED.get() == Some(mutant)
    }
}

/// Whether this safeguard is left out; the constant `false` without the feature.
#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($mutant:ident) => {
        $crate::mutants::is_planted($crate::mutants::Mutant::$mutant)
    };
}

/// Whether this safeguard is left out; the constant `false` without the feature.
#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($mutant:ident) => {
        false
    };
}

pub(crate) use mutant;
