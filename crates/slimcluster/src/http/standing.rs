//! What delegation must know of the cluster: who this node is, and who leads.

use http::HeaderValue;
use slimcluster_core::{ClusterUuid, NodeId, Term};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::headers;

/// The leader, as far as this node knows: Raft's (node, term), and its own word for where its HTTP interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownLeader {
    pub id: NodeId,
    pub term: Term,
    pub http: Option<String>,
    pub is_self: bool,
}

/// Where this node stands, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub cluster: Option<ClusterUuid>,
    pub own: NodeId,
    pub leader: Option<KnownLeader>,
}

impl Standing {
    /// Whether this node takes itself for the leader.
    pub fn is_led_here(&self) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.is_self)
    }

    /// The echo of this node if it is whom `addressee` names, in that role and term.
    pub fn echo_if_addressed(&self, addressee: &HeaderValue) -> Option<HeaderValue> {
        let cluster = self.cluster?;
        let leader = self.leader.as_ref().filter(|leader| leader.is_self && leader.id == self.own)?;
        let is_me = *addressee == headers::addressee(cluster, self.own, leader.term);
        is_me.then(|| headers::echo(self.own, leader.term))
    }
}

/// Tells where this node stands. Reading it takes no lock that anyone holds for long.
pub(super) trait Standpoint: Send + Sync + 'static {
    /// Now.
    fn standing(&self) -> Standing;
    /// Changes after every change of the standing.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// Waits for a leader whom a request can go to; at `deadline` gives the standing as it is.
pub(super) async fn wait_for_leader(standpoint: &dyn Standpoint, deadline: Instant) -> Standing {
    let mut changes = standpoint.changes();
    loop {
        // Subscribed before looking, so that no change falls between.
        changes.mark_unchanged();
        let standing = standpoint.standing();
        // A leader whose address is not known yet counts as none: gossip about a new member takes a moment.
        let found = standing.cluster.is_some()
            && standing.leader.as_ref().is_some_and(|leader| leader.is_self || leader.http.is_some());
        if found {
            return standing;
        }
        match timeout_at(deadline, changes.changed()).await {
            Ok(Ok(())) => {}
            // Late, or the node is gone and nothing will change any more.
            Ok(Err(_)) | Err(_) => return standpoint.standing(),
        }
    }
}
