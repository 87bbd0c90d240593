//! The handle of a running node.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, PoisonError};

use slimcluster_core::NodeId;
use slimcluster_core::machine::{CODEC_USER_MIN, Codec, Typed};

use crate::StateMachine;
use crate::builder::{ClusterBuilder, check_http};
use crate::driver::{Request, Shared};
use crate::error::{LeaveError, ReplicateError};
use crate::events::Events;
use crate::replicated::Replicated;
use crate::status::{Leader, Member, Status};

/// A node of a cluster, running in this process. Cheap to clone; every clone is the same node.
///
/// The node stops when [`Cluster::shutdown`] is called, when a signal asks for it, or in the background when the last clone and the last
/// [`Replicated`] of it are dropped. What the methods return that do not wait are snapshots: they never block.
#[derive(Clone)]
pub struct Cluster {
    handle: Arc<Handle>,
}

/// Stops the node when the last one who could use it is gone.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Refused only when the node has stopped already.
        let _ = self.shared.inbox.push(Request::Shutdown);
    }
}

impl Cluster {
    /// Describes a node of the cluster with this id. Nodes of different cluster ids refuse each other.
    pub fn builder(cluster_id: impl Into<String>) -> ClusterBuilder {
        ClusterBuilder::new(cluster_id.into())
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Cluster { handle: Arc::new(Handle { shared }) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// The id that the cluster's nodes share.
    pub fn cluster_id(&self) -> &str {
        &self.shared().cluster_id
    }

    /// This node's identity.
    pub fn node_id(&self) -> NodeId {
        self.shared().view.load().own
    }

    /// This node's human name.
    pub fn node_name(&self) -> &str {
        &self.shared().node_name
    }

    /// The leader, as far as this node knows; none while there is none.
    pub fn leader(&self) -> Option<Leader> {
        self.shared().view.load().status.leader.clone()
    }

    /// Whether this node takes itself for the leader. Another may have been elected since: see [`Leader`].
    pub fn is_leader(&self) -> bool {
        self.shared().view.load().status.leader.as_ref().is_some_and(|leader| leader.is_self)
    }

    /// This node as a member.
    pub fn self_node(&self) -> Member {
        self.shared().view.load().self_node.clone()
    }

    /// All members that this node knows, itself included, sorted by name.
    pub fn members(&self) -> Vec<Member> {
        self.shared().view.load().members.to_vec()
    }

    /// All members that this node knows, except itself, sorted by name.
    pub fn other_members(&self) -> Vec<Member> {
        self.shared().view.load().members.iter().filter(|member| !member.is_self).cloned().collect()
    }

    /// Where the node stands.
    pub fn status(&self) -> Status {
        self.shared().status()
    }

    /// Follows the status.
    pub fn watch_status(&self) -> StatusWatch {
        StatusWatch { changes: self.shared().changes.subscribe(), shared: Arc::clone(self.shared()) }
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        self.shared().subscribe()
    }

    /// Whether the node takes part in consensus.
    pub fn has_consensus(&self) -> bool {
        self.shared().consensus
    }

    /// Attaches replicated state under a name: the same name on every node is the same state. Returns at once, also before a cluster exists;
    /// submits and reads wait for it. Commands in the log wait for their machine, so attach every machine soon after the start. The same name
    /// again gives the same state.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn replicate<S: StateMachine>(&self, name: impl Into<String>) -> Result<Replicated<S>, ReplicateError> {
        self.attach(name.into(), Typed::new(), None)
    }

    /// As [`Cluster::replicate`], writing commands with a codec of the application's own. Every node must be given it, or apply halts there.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn replicate_with<S: StateMachine, C: Codec<S::Command> + Clone>(
        &self,
        name: impl Into<String>,
        codec: C,
    ) -> Result<Replicated<S>, ReplicateError> {
        if codec.id() < CODEC_USER_MIN {
            return Err(ReplicateError::Codec { id: codec.id() });
        }
        let machine = Typed::<S>::with_codecs(vec![Box::new(codec.clone())]);
        self.attach(name.into(), machine, Some(Arc::new(codec)))
    }

    fn attach<S: StateMachine>(
        &self,
        name: String,
        machine: Typed<S>,
        codec: Option<Arc<dyn Codec<S::Command>>>,
    ) -> Result<Replicated<S>, ReplicateError> {
        let shared = self.shared();
        if !shared.consensus {
            return Err(ReplicateError::NoConsensus);
        }
        if name.is_empty() || name.len() > MACHINE_NAME_BYTES_MAX {
            return Err(ReplicateError::Name { name, bytes_max: MACHINE_NAME_BYTES_MAX });
        }
        let mut attached = shared.attached.lock().unwrap_or_else(PoisonError::into_inner);
        let machine = match attached.get(&name) {
            Some(known) => match known.downcast_ref::<Typed<S>>() {
                Some(known) => known.clone(),
                None => return Err(ReplicateError::OtherType { name }),
            },
            None => {
                let request = Request::Register { name: name.clone(), machine: Box::new(machine.clone()) };
                shared.inbox.push(request).map_err(|_| ReplicateError::ShuttingDown)?;
                attached.insert(name.clone(), Box::new(machine.clone()) as Box<dyn Any + Send + Sync>);
                machine
            }
        };
        Ok(Replicated::new(self.clone(), name, machine, codec))
    }

    /// What this node has refused so far, by reason, with how often: malformed, foreign or oversized messages and the like.
    pub fn dropped(&self) -> Vec<(String, u64)> {
        self.shared().view.load().dropped.to_vec()
    }

    /// Says where this node's HTTP interface is reached from now on, as `HOST:PORT`; none if it has none. Members see it. What cannot be an
    /// address is not advertised, with a warning in the log.
    pub fn advertise_http(&self, address: Option<String>) {
        if let Some(Err(error)) = address.as_deref().map(check_http) {
            return tracing::warn!(node = self.node_name(), "{error}");
        }
        // A node that has stopped advertises nothing.
        let _ = self.shared().inbox.push(Request::Advertise(address));
    }

    /// Stops the node: hands over leadership where it has it, says "back soon", flushes, and ends its threads. Never changes who votes: the
    /// node is expected back. Returns when it has stopped, within ten seconds.
    pub async fn shutdown(&self) {
        // Refused only when the node has stopped already.
        let _ = self.shared().inbox.push(Request::Shutdown);
        self.stopped().await;
    }

    /// Waits until the node has stopped, for whatever reason.
    pub async fn stopped(&self) {
        self.shared().wait_stopped().await;
    }

    /// Whether the node has stopped.
    pub fn is_stopped(&self) -> bool {
        *self.shared().stopped.borrow()
    }

    /// Ends the node as a crash would: no farewell, nothing flushed that was not acknowledged. For tests of failures. Returns when its threads
    /// have ended and its addresses and directory are free.
    pub async fn abort(&self) {
        let _ = self.shared().inbox.push(Request::Abort);
        self.stopped().await;
    }

    /// Leaves the cluster for good, then stops. Other than after [`Cluster::shutdown`], nobody expects the node back.
    ///
    /// # Errors
    /// The node goes on as before.
    pub async fn leave_cluster(&self) -> Result<(), LeaveError> {
        let own = self.node_id();
        if self.status().voters.contains(&own) {
            return Err(LeaveError::Voter);
        }
        self.shared().inbox.push(Request::Leave).map_err(|_| LeaveError::ShuttingDown)?;
        self.stopped().await;
        Ok(())
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("cluster_id", &self.cluster_id()).field("node", &self.node_name()).finish()
    }
}

// The name stands in the log and in messages to people.
const MACHINE_NAME_BYTES_MAX: usize = 128;

/// Follows a node's status.
#[derive(Clone)]
pub struct StatusWatch {
    changes: tokio::sync::watch::Receiver<u64>,
    shared: Arc<Shared>,
}

impl StatusWatch {
    /// The status now.
    pub fn current(&self) -> Status {
        self.shared.status()
    }

    /// Waits for the next change of stage, role, term, leader, members or voters (indices alone are no change), and gives the new status; none
    /// once the node has stopped.
    pub async fn changed(&mut self) -> Option<Status> {
        if *self.shared.stopped.borrow() {
            return None;
        }
        let mut stopped = self.shared.stopped.subscribe();
        tokio::select! {
            changed = self.changes.changed() => changed.ok().map(|()| self.shared.status()),
            _ = stopped.wait_for(|stopped| *stopped) => None,
        }
    }

    /// Waits until `condition` holds, and gives the status for which it did; none if the node stops first. Looked at whenever the status changes.
    pub async fn wait_for(&mut self, mut condition: impl FnMut(&Status) -> bool) -> Option<Status> {
        self.changes.mark_unchanged();
        let mut status = self.current();
        while !condition(&status) {
            status = self.changed().await?;
        }
        Some(status)
    }
}

impl fmt::Debug for StatusWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StatusWatch").field(&self.current()).finish()
    }
}
