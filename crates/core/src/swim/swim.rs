//! The failure detector and the member table as one value: what goes in, what comes out, and who handles it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Body, Member, Message, Meta, Options, Update};
use crate::{Generation, Instant, NodeId};

/// This node, as it introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Identity.
    pub id: NodeId,
    /// Human name.
    pub name: String,
    /// Where others reach it.
    pub address: SocketAddr,
    /// The number of its process start.
    pub generation: Generation,
    /// What it advertises.
    pub meta: Meta,
}

/// How many bytes a datagram takes. Given from outside, because SWIM knows no encoding. The sum of the head and of each update must be an upper
/// bound of the datagram's length.
#[derive(Clone, Copy, Debug)]
pub struct Sizer {
    /// Bytes of a datagram with this body and no updates, the envelope included.
    pub head: fn(&Body) -> usize,
    /// Bytes that one update adds.
    pub update: fn(&Update) -> usize,
}

/// Everything that can happen to SWIM.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline of `poll_timeout` has passed, and everything that had arrived before was handled.
    Timeout,
    /// A datagram arrived and was decoded.
    Message {
        /// Its source, to which an answer goes; never remembered as anybody's address.
        from: SocketAddr,
        /// Who says to have sent it.
        sender: NodeId,
        /// Which process start of the sender.
        generation: Generation,
        /// What it says.
        message: Message,
    },
    /// The answer to [`Output::Discover`]. Own addresses are harmless.
    Discovered(Vec<SocketAddr>),
    /// Somebody announced itself by multicast; it gets one rate-limited ping and nothing else (rule 34).
    Announced(SocketAddr),
    /// How late the event loop was: deadlines move by as much, for the answers may lie unread.
    Lateness(Duration),
    /// This node advertises something else.
    SetMeta(Meta),
    /// This node stops and will be back within this time (at most 10 min). Ends with [`Output::GoodbyeAcknowledged`].
    Restarting {
        /// How long it will take.
        for_: Duration,
    },
    /// This node leaves for good. Ends with [`Output::GoodbyeAcknowledged`].
    Leave,
}

/// Everything that SWIM wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram.
    Send {
        /// To whom.
        to: SocketAddr,
        /// What.
        message: Message,
    },
    /// Ask every discovery source; answer with [`Input::Discovered`].
    Discover,
    /// Something that the application may want to know.
    Event(Event),
    /// Enough peers know that this node leaves or restarts, or the wait for them is over.
    GoodbyeAcknowledged,
}

/// Something that happened to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member appeared, or came back from the dead.
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
    /// A warning for the log, in plain words.
    Warning(String),
}

/// One node's SWIM.
#[derive(Debug)]
pub struct Swim {
    options: Options,
    local: Local,
    sizer: Sizer,
    now: Instant,
    outputs: VecDeque<Output>,
}

impl Swim {
    /// A node that knows nobody yet. It asks for discovery at once.
    pub fn new(options: Options, local: Local, sizer: Sizer, rng_seed: u64, now: Instant) -> Self {
        let _ = rng_seed;
        Swim { options, local, sizer, now, outputs: VecDeque::from([Output::Discover]) }
    }

    /// Handles one input; several may follow each other before outputs are polled.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = now;
        let _ = (input, &self.options, &self.sizer);
    }

    /// The next thing to do. Drain before sleeping.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `Timeout` is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The generation that this node goes by: it stands in the envelope of every datagram. It exceeds the one given at the start if members
    /// remember a higher one.
    pub fn generation(&self) -> Generation {
        self.local.generation
    }

    /// Everybody known, self included, in the order of ids; the dead and the departed as long as they are remembered.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        std::iter::empty()
    }

    /// One member.
    pub fn member(&self, id: NodeId) -> Option<Member> {
        self.members().find(|member| member.id == id)
    }
}
