//! Situations that the simulator must have met: rare places in the code and rare moments of a cluster, each with a name.
//!
//! A simulator that never reaches a place proves nothing about it. [`sometimes`] marks such a place, and the simulator counts how
//! often each was reached. Without the cargo feature `situations` a mark is an empty function and costs nothing.

/// Declares the situations: a name for code, and a sentence for people.
macro_rules! situations {
    ($($name:ident: $text:literal,)*) => {
        /// A situation with a name; [`Situation::describe`] says what it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Situation {
            $(#[doc = $text] $name,)*
        }

        impl Situation {
            /// Every situation.
            pub const ALL: &'static [Situation] = &[$(Situation::$name,)*];

            /// What has happened, in words.
            pub fn describe(self) -> &'static str {
                match self {
                    $(Situation::$name => $text,)*
                }
            }
        }
    };
}

situations! {
    // Elections.
    LeaderElected: "a leader was elected",
    PreVoteRefusedForTheLeader: "a pre-vote was refused for the sake of a leader in contact",
    PreVoteAfterContactLost: "a pre-vote was granted because a known leader was silent",
    PreVoteRefusedForItsLog: "a pre-vote was refused because the asker's log was behind",
    VoteRefusedForTheLeader: "a vote was refused for the sake of a leader in contact",
    VoteRefusedForItsLog: "a vote was refused because the candidate's log was behind",
    VoteGivenToAnother: "a vote was refused because another candidate of the term had it",
    CandidatesMet: "two candidates of one term asked each other",
    CandidateFollowed: "a candidate met the leader of its own term",
    ElectionUndecided: "an election ended without a leader",
    LeaderMetHigherTerm: "a leader met a higher term",
    QuorumLost: "a leader stepped down because a quorum was silent",
    SuccessorCampaigned: "a leader resigned and its successor campaigned at once",
    LowerTermAnswered: "AppendEntries of a lower term were refused",

    // Replication.
    TailCutOff: "an uncommitted tail was cut off",
    UnwrittenTailCutOff: "a tail was cut off that was not durable yet",
    WriteOutlivedItsEntries: "entries were cut off while their write was on its way",
    GapRefused: "AppendEntries that would leave a gap were refused",
    ConflictRefused: "AppendEntries were refused where an entry of another term stood",
    RefusalOvertaken: "a refusal became void before it was sent",
    LateRefusalIgnored: "a leader got a refusal that told it nothing",
    CopyOfEntries: "entries arrived that stood there already",
    LeaderHasNoRoom: "a leader refused commands because too many bytes of others were not committed yet",
    WindowFull: "a leader waited because a peer's window was full",
    WindowTakenForLost: "a leader took what a silent peer was sent for lost",
    FetchedToReplicate: "a leader read its log back for a peer",
    FetchedToApply: "a node read its log back to apply it",

    // Commit and apply.
    OlderEntriesCommitted: "an entry of the leader's own term committed older ones with it",
    OlderEntriesWaited: "a quorum held an entry of an earlier term, which did not commit by that",
    TermOfItsNoop: "a leadership ended that had appended nothing but its no-op",
    CommittedBeforeOwnDisk: "a leader committed what its own disk did not hold yet",
    CommitNotProved: "a leader's commit index was beyond what its messages had proved",
    ApplyHeldBack: "apply was held back by its byte bound",
    AppliedBeforeDurable: "an entry was handed over to apply before it was durable here",

    // Sessions.
    SessionReplaced: "a restarted node's session closed its older one",
    SessionAskedTwice: "a session was asked for that was open already",
    DuplicateAnswered: "a copy of an applied command was answered with its first reply",
    CommandSentAgain: "a command was sent to a second leader, or again",
    ResubmitFoundOutcome: "a resubmitted command had its outcome already",
    ForwardRefused: "a forward was refused by a node that did not lead its term",
    ForwardTakenOnce: "a copy of a forward was dropped",
    NeverSent: "a command was refused that was never sent to a leader",

    // Reads.
    ReadConfirmed: "a quorum confirmed a read",
    ReadsShared: "several reads were confirmed by one round",
    ReadWaitedForNoop: "a read waited until its leader had committed in its own term",
    ReadGivenUp: "a leadership ended with reads unanswered",
    ReadAskedElsewhere: "a read was asked of a node that did not lead",

    // Bootstrap and links.
    Promised: "a node promised to form a cluster",
    PromiseResumed: "a node started with a promise of an earlier process",
    PromiseGivenUp: "a node gave up its promise and took a new id",
    IdGivenUpForAnother: "a fresh node took a new id because another had given up a set with it",
    PromiseStoodInTheWay: "a node waited for the end of a promise that it had given up",
    FormedOnTheWordOfAnother: "a node learned from a formed one that all had promised",
    JoinOnly: "a node met a cluster that was formed without it",
    LinkReplaced: "a peer dialled again while its older link still stood",
    LinkToAnEarlierProcess: "a link turned out to lead to an earlier process",
    AddressOfAnother: "a node dialled an address that belonged to another node by then",
    SecondWay: "a node dialled a peer that it reached already",
    ProofLate: "a link was closed because its peer proved nothing in time",
    UnprovenDropped: "a message was dropped whose sender had not proven its cluster",

    SilentLinkClosed: "a link was closed that had been accepted and on which nobody ever answered",
    MessageCutInTheMiddle: "a connection ended when the first frames of a message had arrived and the rest had not",
    FrameInHole: "a frame was too large for a path that small ones passed",
    DatagramInHole: "a datagram was too large for a path that small ones passed",
    QueueOfASlowReaderFull: "a link was closed because its reader was slow and the queue was full",

    // Processes and clocks.
    CrashBetweenOutputs: "a process died between two outputs of one step",
    LeaderEndedInWrite: "a leader died between a write and its sync",
    LeaderEndedWithRequests: "a leader died that owed answers",
    EndedWhileApplying: "a process died while it applied",
    EndedWhileStopping: "a process died while it stopped in order",
    EndedWhileStandingStill: "a process died while it stood still",
    PowerLostAfterRecovery: "a machine lost power soon after a process had recovered on it",
    DiedInRecovery: "a process died while it recovered",
    DiedInRecoveryAgain: "a process died while it recovered, and the next one as well",
    LeaderWokeAfterFailOver: "a leader stood still through a fail-over and went on",
    FormerLeaderAskedToRead: "a leader that had a successor already was asked for a read",
    FormerLeaderAskedToWrite: "a leader that had a successor already was given a command",
    WriteEndedInPause: "a write became durable while its process stood still",
    ClockOfALeaderJumped: "the monotonic clock of a leader jumped forward",
    ClockOfALeaderStoodStill: "the monotonic clock of a leader stood still",
    WallClockOfALeaderWentBack: "the wall clock of a leader went back",
    DiskOfALeaderFailed: "a write or sync of a leader failed",
    LeaderToldToStop: "a leader was told to stop",
    LeaderBrokenForGood: "a leader was among the nodes that broke for good",
    LedFromOutside: "a node outside the healthy majority led it to the end",
    PowerLostEverywhere: "every machine lost power while all processes ran",
    CommittedBeyondAHalt: "entries were committed beyond one on which a state machine panicked",
    EveryReplicaHalted: "apply stood still on every running replica",
    OneReplicaHalted: "apply stood still on one replica",
    StrangerRefused: "nodes of two clusters met, and one refused the other",
    AddressOfAnotherCluster: "a node of another cluster started at the address of one of ours, and ours at its own",
    NamesakesMet: "two clusters met that had been formed apart under one cluster id",
    WrongClusterIdRefused: "a start with the name of another cluster was refused",
    AskedTwiceAtOnce: "the outcome of a command was asked for twice at once",
    NoMajorityFormed: "the faults ended before a majority had formed a cluster",

    // Gossip.
    MemberIsolated: "a member of SWIM could talk to nobody",
    MembersCrashedTogether: "several members of SWIM crashed at once",
    AddressTakenOver: "a newcomer got the address of a member that had crashed",
    MemberMoved: "a member came back at another address",
    PairCut: "two members could talk to each other only through others",
    MembersSlow: "members of SWIM stood still again and again, for moments or for a few probes",
    TroubleMixed: "members of SWIM ended, started, stood still and were cut off at the same time",
    DatagramsReplayed: "old datagrams arrived again from addresses that had not sent them",

    // Attacks.
    HostileLinkClosed: "a node closed a link that proved nothing",
    HostileDatagramDropped: "a node dropped and counted what the attacker sent for a datagram",
    OldGossipReplayed: "the attacker sent a datagram of long ago again",

    // Storage.
    TornTailCut: "recovery cut a torn tail",
    TornSegmentBoundary: "the torn tail that recovery cut lay in the segment behind the one in which the log ends",
    DamagedStoreRefused: "a damaged store was refused with a named error",
    LastBatchRotten: "the last synced batch was hurt before anything followed it, which no single node can notice",
    WipedVoter: "the disk of a voter was replaced by an empty one",
    DiskFullAtLeader: "the disk of a leader was full",
    DiskFullAtFollower: "the disk of a follower was full",
    DiskHasSpaceAgain: "a full disk had space again",
}

/// Notes that `situation` has come about.
#[cfg(not(feature = "situations"))]
#[inline(always)]
pub fn sometimes(_situation: Situation) {}

#[cfg(feature = "situations")]
pub use counting::{Counts, sometimes, take, uncounted};

#[cfg(feature = "situations")]
mod counting {
    use std::cell::Cell;

    use super::Situation;

    /// How often each situation came about, in the order of [`Situation::ALL`].
    pub type Counts = [u64; Situation::ALL.len()];

    std::thread_local! {
        /// A simulated world runs on one thread, with all of its nodes.
        static COUNTS: [Cell<u64>; Situation::ALL.len()] = const { [const { Cell::new(0) }; Situation::ALL.len()] };
    }

    /// Notes that `situation` has come about, for the world that runs on this thread.
    #[inline]
    pub fn sometimes(situation: Situation) {
        COUNTS.with(|counts| counts[situation as usize].update(|count| count + 1));
    }

    /// Runs `look`, which only looks at the world: what comes about in it is not counted.
    pub fn uncounted<T>(look: impl FnOnce() -> T) -> T {
        let before = take();
        let seen = look();
        COUNTS.with(|counts| counts.iter().zip(before).for_each(|(count, before)| count.set(before)));
        seen
    }

    /// What came about on this thread since the last call.
    pub fn take() -> Counts {
        COUNTS.with(|counts| std::array::from_fn(|at| counts[at].take()))
    }
}
