//! What happens in the cluster, as a stream.

use std::time::{Duration, SystemTime};

use slimcluster_core::ClusterUuid;
use tokio::sync::broadcast;

use crate::status::{Leader, Member};

/// Something that happened, with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When, by the wall clock of this host at the start of the node and the time that has passed since.
    pub at: SystemTime,
    /// When, as time since the start of the node.
    pub since_start: Duration,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A member appeared.
    Joined(Member),
    /// A member said good-bye.
    Left(Member),
    /// A member is taken for dead.
    Failed(Member),
    /// A member does not answer; it may still refute.
    Suspected(Member),
    /// A member is back from suspicion, announced a restart, or restarted.
    StatusChanged(Member),
    /// A member is reached elsewhere.
    AddressChanged(Member),
    /// A member advertises something else.
    MetaChanged(Member),
    /// The leader changed; none while there is no known leader.
    LeaderChanged(Option<Leader>),
    /// The cluster was formed, or this node found that it belongs to it.
    Formed(ClusterUuid),
    /// Something that an operator should look at, in plain words.
    Warning(String),
    /// Consensus stopped on this node, for this reason. Membership goes on.
    ConsensusStopped(String),
    /// The receiver was slower than the cluster; this many events before the next one were not kept for it.
    Missed(u64),
}

/// Events kept for a slow receiver: a burst of a few per member of a large cluster.
pub(crate) const EVENTS_KEPT: usize = 1024;

/// Receives events from the moment it was made.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
    started: SystemTime,
}

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>, started: SystemTime) -> Self {
        Events { receiver, started }
    }

    /// The next event; none once the node has stopped. A receiver that was too slow gets [`EventKind::Missed`] in place of what
    /// was lost. Cancelling the wait loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => {
                let at = SystemTime::now();
                let since_start = at.duration_since(self.started).unwrap_or_default();
                Some(Event { at, since_start, kind: EventKind::Missed(count) })
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
