//! Replicated state, as the application uses it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use slimcluster_core::machine::{self, Codec, Typed};
use slimcluster_core::node::io::Outcome;
use slimcluster_core::{CommandId, Index, MachineId};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::StateMachine;
use crate::cluster::Cluster;
use crate::driver::{Request, Shared};
use crate::error::{ReadError, Refused, SubmitError};
use crate::serialization::Serialization;

/// A state machine that all nodes of the cluster hold alike. Cheap to clone; works on every node, whoever leads.
pub struct Replicated<S: StateMachine> {
    cluster: Cluster,
    name: Arc<str>,
    machine: Typed<S>,
    /// The application's own, if it has one.
    codec: Option<Arc<dyn Codec<S::Command>>>,
}

impl<S: StateMachine> Replicated<S> {
    pub(crate) fn new(
        cluster: Cluster,
        name: String,
        machine: Typed<S>,
        codec: Option<Arc<dyn Codec<S::Command>>>,
    ) -> Self {
        Replicated { cluster, name: name.into(), machine, codec }
    }

    /// The name that it was attached under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node that it was attached to.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Applies `command` exactly once, on every node, and gives what [`StateMachine::apply`] replied. Cancelling the wait does not take the
    /// command back.
    ///
    /// # Errors
    /// Within the request timeout, [`SubmitError::NotCommitted`]: certainly not applied, now or later; or [`SubmitError::Unknown`]: it
    /// may have been applied, and [`Replicated::resubmit`] finds out.
    pub async fn submit(&self, command: S::Command) -> Result<S::Reply, SubmitError> {
        let shared = self.cluster.shared();
        let (codec, command) = encode(self.codec.as_deref(), shared.serialization, &command)?;
        let machine = self.machine_id(shared).await?;
        let (answer, outcome) = oneshot::channel();
        let request = Request::Submit { machine, codec, version: S::VERSION, command, answer };
        shared.inbox.push(request).map_err(Refused::from)?;
        self.outcome(outcome).await
    }

    /// Finds out what became of a command whose outcome was unknown: applies it if it was not applied yet, and never twice. It can be asked
    /// for two minutes long, the latest 4,096 of a node, and less long where newer commands need the memory; from then on it stays unknown.
    ///
    /// # Errors
    /// As [`Replicated::submit`].
    pub async fn resubmit(&self, id: CommandId) -> Result<S::Reply, SubmitError> {
        let (answer, outcome) = oneshot::channel();
        // The node that stops takes the knowledge with it: the command stays as unknown as it was.
        let pushed = self.cluster.shared().inbox.push(Request::Resubmit { id, answer });
        pushed.map_err(|_| SubmitError::Unknown { id })?;
        self.outcome(outcome).await
    }

    async fn outcome(&self, outcome: oneshot::Receiver<Outcome>) -> Result<S::Reply, SubmitError> {
        match outcome.await {
            Ok(Outcome::Committed { reply, .. }) => {
                machine::decode_reply(&reply).map_err(|error| SubmitError::Reply(error.to_string()))
            }
            Ok(Outcome::NotCommitted(refused)) => Err(SubmitError::NotCommitted(refused.into())),
            Ok(Outcome::Unknown { id }) => Err(SubmitError::Unknown { id }),
            Err(_) => Err(SubmitError::NodeStopped),
        }
    }

    /// The machine's id. The log gives it once a cluster exists; until then commands cannot even be addressed.
    async fn machine_id(&self, shared: &Shared) -> Result<MachineId, Refused> {
        if let Some(id) = shared.machines.borrow().get(&*self.name) {
            return Ok(*id);
        }
        let mut machines = shared.machines.subscribe();
        let known = machines.wait_for(|machines| machines.contains_key(&*self.name));
        let waited = tokio::select! {
            waited = tokio::time::timeout(shared.request_timeout, known) => waited,
            () = shared.wait_stopped() => return Err(Refused::ShuttingDown),
        };
        match waited {
            Ok(Ok(machines)) => machines.get(&*self.name).copied().ok_or(Refused::NoLeader),
            Ok(Err(_)) => Err(Refused::ShuttingDown),
            Err(_) => Err(Refused::NoLeader),
        }
    }

    /// Reads linearizably: sees every command that was acknowledged, by any node, before the call. `read` runs on this thread and must be quick:
    /// apply waits meanwhile.
    ///
    /// # Errors
    /// Nothing was read, within the request timeout.
    pub async fn read<R>(&self, read: impl FnOnce(&S) -> R) -> Result<R, ReadError> {
        let shared = self.cluster.shared();
        let deadline = Instant::now() + shared.request_timeout;
        let (answer, index) = oneshot::channel();
        shared.inbox.push(Request::Read { answer }).map_err(|refusal| refusal.into_read_error())?;
        // The core gives up at the deadline by itself; the margin only tells its answer from its silence.
        let index = match timeout_at(deadline + MARGIN, index).await {
            Ok(Ok(index)) => index?,
            Ok(Err(_)) => return Err(ReadError::ShuttingDown),
            Err(_) => return Err(ReadError::NoLeader),
        };
        wait_applied(shared, index, deadline).await?;
        self.machine.read(read).map_err(|_| ReadError::Failed)
    }

    /// Reads what this node has applied so far, without asking anyone: it may be stale.
    ///
    /// # Errors
    /// [`ReadError::Failed`] when the machine has panicked.
    pub fn read_local<R>(&self, read: impl FnOnce(&S) -> R) -> Result<R, ReadError> {
        self.machine.read(read).map_err(|_| ReadError::Failed)
    }
}

/// The id of the codec that writes `command`, and its bytes.
fn encode<C: Serialize + DeserializeOwned + 'static>(
    own: Option<&dyn Codec<C>>,
    serialization: Serialization,
    command: &C,
) -> Result<(u8, Bytes), Refused> {
    let (codec, remedy): (&dyn Codec<C>, _) = match (own, serialization) {
        (Some(codec), _) => (codec, "decode of the codec must read whatever its encode writes"),
        (None, Serialization::Protobuf) => (&machine::Postcard, POSTCARD_REMEDY),
        (None, Serialization::Json) => (&machine::Json, "its Deserialize must read whatever its Serialize writes"),
    };
    let bytes = codec.encode(command).map_err(|error| Refused::Codec(error.to_string()))?;
    // What cannot be read back would be committed, and then halt apply on every node for good.
    match codec.decode(&bytes) {
        Ok(_) => Ok((codec.id(), bytes)),
        Err(error) => Err(Refused::Codec(format!("it was written and cannot be read back ({error}); {remedy}"))),
    }
}

/// Waits until this node has applied `index`.
async fn wait_applied(shared: &Shared, index: Index, deadline: Instant) -> Result<(), ReadError> {
    if shared.applied.borrow().index >= index {
        return Ok(());
    }
    let mut applied = shared.applied.subscribe();
    let caught_up = applied.wait_for(|applied| applied.index >= index || applied.halted);
    let waited = tokio::select! {
        waited = timeout_at(deadline, caught_up) => waited,
        () = shared.wait_stopped() => return Err(ReadError::ShuttingDown),
    };
    match waited {
        Ok(Ok(applied)) if applied.index >= index => Ok(()),
        Ok(Ok(_)) => Err(ReadError::Failed),
        Ok(Err(_)) => Err(ReadError::ShuttingDown),
        Err(_) => Err(ReadError::Behind),
    }
}

const MARGIN: Duration = Duration::from_millis(500);

const POSTCARD_REMEDY: &str = "postcard reads no #[serde(untagged)], tag, flatten or skip_serializing_if: leave them off the \
                               command, or choose .serialization(Json) or a codec of your own";

impl<S: StateMachine> Clone for Replicated<S> {
    fn clone(&self) -> Self {
        Replicated {
            cluster: self.cluster.clone(),
            name: Arc::clone(&self.name),
            machine: self.machine.clone(),
            codec: self.codec.clone(),
        }
    }
}

impl<S: StateMachine> fmt::Debug for Replicated<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicated").field("name", &self.name).field("cluster", &self.cluster).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ApplyContext;

    #[derive(Default, serde::Serialize, serde::Deserialize)]
    struct Sum(u64);

    impl StateMachine for Sum {
        type Command = u64;
        type Reply = u64;

        fn apply(&mut self, _: &ApplyContext, command: u64) -> u64 {
            self.0 += command;
            self.0
        }
    }

    /// Handlers run on multi-threaded runtimes: every future of the API may move between threads.
    #[test]
    fn futures_are_send() {
        fn is_send<T: Send>(_: impl FnOnce(Replicated<Sum>, Cluster, crate::ClusterBuilder) -> T) {}
        is_send(|sum, _, _| async move { sum.submit(1).await });
        is_send(|sum, _, _| async move { sum.read(|sum| sum.0).await });
        is_send(|_, cluster, _| async move { cluster.replicate::<Sum>("sum").await });
        is_send(|_, cluster, _| async move { cluster.leave_cluster().await });
        is_send(|_, cluster, _| async move { cluster.shutdown().await });
        is_send(|_, cluster, _| async move { cluster.watch_status().wait_for(|_| true).await });
        is_send(|_, _, builder| async move { builder.start().await });
    }
}
