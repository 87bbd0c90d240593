//! What goes into a node and what comes out of it. Plain data, one enum each: a trace of a real run replays in the simulator.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::machine::Applied;
use crate::storage::{Fetched, KnownPeer, Reply, Write};
use crate::swim;
pub use crate::swim::{Member, MemberState, Meta};
use crate::{CommandId, Generation, GroupId, Index, MachineId, NodeId, Run, Term, WallTime, WriteSeq};

/// A stream connection, numbered by this node: dialled ones by the core (odd), accepted ones by the driver (even).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Names a submit or a read of the application, chosen by the driver; the answer carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Everything that can happen to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline of `poll_timeout` has passed (or not: a late or early timeout is harmless).
    Timeout,
    /// The wall clock; the driver says it before it hands over submits. Only stamped into entries.
    WallTime(WallTime),
    /// How late the event loop was when it last woke: local ill-health for SWIM.
    Lateness(Duration),

    /// A datagram arrived.
    Datagram {
        /// Its source.
        from: SocketAddr,
        /// Its bytes.
        bytes: Bytes,
    },
    /// An announcement arrived on the multicast group.
    Announcement {
        /// Its source.
        from: SocketAddr,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Discovery resolved its sources, in answer to [`Output::Discover`]. Own addresses are harmless.
    Discovered(Vec<SocketAddr>),
    /// A dialled link is up.
    Connected(LinkId),
    /// A peer dialled us.
    Accepted {
        /// The new link, of even number.
        link: LinkId,
        /// The source.
        from: SocketAddr,
    },
    /// One frame arrived on a link, without its length prefix.
    Frame {
        /// The link.
        link: LinkId,
        /// The frame.
        bytes: Bytes,
    },
    /// A link is gone, or could not be made. Not said for links that the core closed itself.
    Disconnected {
        /// The link.
        link: LinkId,
        /// Why, for people.
        reason: String,
    },

    /// Every write up to and including this number is durable.
    Written(WriteSeq),
    /// Storage failed; it is poisoned for good (rule 2). The node stops.
    StorageFailed(String),
    /// Storage has run full (or has space again): back-pressure, no failure.
    StorageFull(bool),
    /// The answer to [`Output::Fetch`].
    Fetched(Fetched),
    /// The state machines have applied.
    Applied(Applied),

    /// The application wants a machine of this name (rule 37). Answered by the host once the name has an id.
    Register {
        /// The machine's name.
        name: String,
    },
    /// The application submits a command.
    Submit(Submit),
    /// The application asks again for the outcome of a command (rule 16).
    Resubmit {
        /// Names the answer.
        request: RequestId,
        /// Which command.
        id: CommandId,
    },
    /// The application wants to read linearizably.
    Read {
        /// Names the answer.
        request: RequestId,
    },
    /// The application changed what the node advertises.
    Advertise(Meta),
    /// Stop without changing the configuration (rule 30). Ends with [`Output::Stopped`].
    Shutdown,
    /// Leave the membership for good. Refused for voters until configurations can change.
    Leave,
}

/// A command of the application.
#[derive(Clone, Debug)]
pub struct Submit {
    /// Names the answer.
    pub request: RequestId,
    /// The machine, by the id that its name got.
    pub machine: MachineId,
    /// The id of the codec that encoded it.
    pub codec: u8,
    /// The version of the command's type.
    pub version: u32,
    /// The command.
    pub command: Bytes,
}

/// Everything that a node wants done. Each may be done at once, in the order polled.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a datagram. Loss is expected.
    Datagram {
        /// To whom.
        to: SocketAddr,
        /// At most 1,232 bytes.
        bytes: Bytes,
    },
    /// Ask every discovery source for addresses, names resolved afresh; answer with [`Input::Discovered`].
    Discover,
    /// Send this on the multicast group, if there is one.
    Announce(Bytes),
    /// Dial. Answered by `Connected` or `Disconnected`.
    Connect {
        /// The number of the new link, odd.
        link: LinkId,
        /// Where to.
        to: SocketAddr,
    },
    /// Queue a frame on a link. Control frames overtake log frames; within a lane order is kept.
    Frame {
        /// The link.
        link: LinkId,
        /// Which lane.
        lane: Lane,
        /// The frame, without its length prefix, at most 64 KiB.
        bytes: Bytes,
    },
    /// Close a link; frames queued before are still sent where possible.
    Close(LinkId),

    /// Execute a write after all earlier ones, then say `Written`.
    Write(Write),
    /// Read runs back; answer with `Fetched`.
    Fetch {
        /// The group.
        group: GroupId,
        /// First index wanted.
        first: Index,
        /// Last index wanted.
        last: Index,
        /// Stop after this many bytes, but not before one entry.
        bytes_max: usize,
    },
    /// Apply committed runs in order, then say `Applied`.
    Apply(Vec<Run>),
    /// The node gave up a promise and goes on under a new id (rule 24); the state machine host must know.
    Renamed {
        /// The new id.
        node: NodeId,
        /// The process start, unchanged.
        generation: Generation,
    },
    /// Keep the peers' addresses. Not part of the write stream: losing it costs comfort only.
    RememberPeers(Vec<KnownPeer>),

    /// The outcome of a submit or resubmit.
    Submitted {
        /// Which.
        request: RequestId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The outcome of a read: the state may be read once the machine has applied this index.
    ReadReady {
        /// Which.
        request: RequestId,
        /// The read index, or why there is none.
        index: Result<Index, Refused>,
    },
    /// Something that the application may want to know.
    Event(Event),
    /// The node has stopped; nothing follows.
    Stopped,
}

/// The two lanes of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Votes, heartbeats, answers.
    Control,
    /// Runs and forwarded commands.
    Log,
}

/// How a submit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Applied exactly once.
    Committed {
        /// Where.
        id: CommandId,
        /// The index of its entry.
        index: Index,
        /// What the machine answered.
        reply: Reply,
    },
    /// Certainly not applied, now or later.
    NotCommitted(Refused),
    /// It may have been applied or may still be; `Resubmit` finds out.
    Unknown {
        /// The command.
        id: CommandId,
    },
}

/// Why nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No leader was found in time, or no cluster exists yet.
    NoLeader,
    /// A queue, the log or the disk is full.
    Overloaded,
    /// The command is larger than the limit.
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The node is stopping.
    ShuttingDown,
    /// The group has stopped; see the status.
    Failed,
}

/// The Raft role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// No consensus, no cluster yet, or stopped.
    None,
    /// Listens without a vote.
    Learner,
    /// Follows.
    Follower,
    /// Campaigns.
    Candidate,
    /// Leads.
    Leader,
}

/// The leader as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderInfo {
    /// Who.
    pub id: NodeId,
    /// In which term.
    pub term: Term,
}

/// Something that happened, for the application. Its time is that of the `handle` that produced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member appeared.
    Joined(Member),
    /// A member said good-bye.
    Left(Member),
    /// A member is taken for dead.
    Failed(Member),
    /// A member does not answer.
    Suspected(Member),
    /// A member is back from suspicion, or announced a restart, or restarted.
    StatusChanged(Member),
    /// A member is reached elsewhere.
    AddressChanged(Member),
    /// A member advertises something else.
    MetaChanged(Member),
    /// The leader changed; none while there is no known leader.
    LeaderChanged(Option<LeaderInfo>),
    /// The cluster was formed.
    Formed(crate::ClusterUuid),
    /// A warning for the log, in plain words.
    Warning(String),
    /// Consensus stopped on this node.
    ConsensusStopped(String),
}

impl From<swim::Event> for Event {
    fn from(event: swim::Event) -> Self {
        match event {
            swim::Event::Joined(member) => Event::Joined(member),
            swim::Event::Left(member) => Event::Left(member),
            swim::Event::Failed(member) => Event::Failed(member),
            swim::Event::Suspected(member) => Event::Suspected(member),
            swim::Event::StatusChanged(member) => Event::StatusChanged(member),
            swim::Event::AddressChanged(member) => Event::AddressChanged(member),
            swim::Event::MetaChanged(member) => Event::MetaChanged(member),
            swim::Event::Warning(text) => Event::Warning(text),
        }
    }
}

/// A snapshot of where the node stands. Cheap; compared by the driver, published when it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader that it knows.
    pub leader: Option<LeaderInfo>,
    /// The highest index known to be committed.
    pub commit: Index,
    /// The highest index applied on this node.
    pub applied: Index,
    /// Everything that the present leader had committed when it was met is applied here.
    pub ready: bool,
    /// What stage of its life the node is in.
    pub stage: Stage,
    /// The cluster, once formed or met.
    pub uuid: Option<crate::ClusterUuid>,
    /// The voters of the configuration in force.
    pub voters: Vec<NodeId>,
}

/// Where a node stands, with the reason in plain words where it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is no cluster yet.
    Forming {
        /// What is missing.
        waiting: String,
    },
    /// The cluster exists, a leader does not, or is not known here.
    WaitingForLeader {
        /// Why.
        waiting: String,
    },
    /// Apply stands still: the next entry is for a machine that was not registered, or that refuses it for good.
    WaitingForMachine {
        /// Why.
        waiting: String,
    },
    /// All is well.
    Working,
    /// Consensus has stopped on this node.
    Stopped {
        /// Why.
        reason: String,
    },
}
