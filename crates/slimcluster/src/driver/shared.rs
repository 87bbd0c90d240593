//! What the application sees of the node: snapshots that the event loop publishes, and the queue back to it.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use slimcluster_core::{Index, MachineId, NodeId};
use tokio::sync::{broadcast, watch};

use super::inbox::Inbox;
use crate::events::{EVENTS_KEPT, Event, Events};
use crate::serialization::Serialization;
use crate::status::{Member, Status};

/// The state that a node shares with its handles.
pub(crate) struct Shared {
    pub cluster_id: String,
    pub node_name: String,
    pub consensus: bool,
    pub serialization: Serialization,
    pub request_timeout: Duration,
    pub started: SystemTime,
    /// The way in.
    pub inbox: Inbox,
    /// The newest snapshot.
    pub view: ArcSwap<View>,
    /// Counts the snapshots.
    pub changes: watch::Sender<u64>,
    /// Published by the apply thread, straight to readers.
    pub applied: watch::Sender<AppliedState>,
    /// The machines' ids by name.
    pub machines: watch::Sender<BTreeMap<String, MachineId>>,
    /// The machines that the application attached, as their `Typed<S>`.
    pub attached: Mutex<BTreeMap<String, Box<dyn Any + Send + Sync>>>,
    /// True at the very end, when threads, addresses and the directory are free.
    pub stopped: watch::Sender<bool>,
    /// Apart from the view, because they change with every command.
    pub commit_index: AtomicU64,
    /// Whether SIGTERM and Ctrl-C are this crate's affair.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "asked by whoever serves HTTP"))]
    pub handle_signals: bool,
    /// Somebody who serves the application's requests handles the signals, and stops the node after them.
    pub signals_taken: AtomicBool,
    /// The node is ending: nothing should wait for better times any more.
    pub ending: AtomicBool,
    events: Mutex<Option<broadcast::Sender<Event>>>,
}

/// How far this node has applied.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppliedState {
    /// Everything up to here.
    pub index: Index,
    /// Nothing more will be applied.
    pub halted: bool,
}

/// One consistent look at the node. Its indices are those of the moment when something else changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub own: NodeId,
    pub status: Status,
    pub members: Arc<[Member]>,
    pub self_node: Member,
    /// What was refused so far, by reason.
    pub dropped: Arc<[(String, u64)]>,
}

impl Shared {
    pub fn new(parts: SharedParts, view: View) -> Self {
        Shared {
            cluster_id: parts.cluster_id,
            node_name: parts.node_name,
            consensus: parts.consensus,
            serialization: parts.serialization,
            request_timeout: parts.request_timeout,
            started: parts.started,
            inbox: Inbox::default(),
            view: ArcSwap::from_pointee(view),
            changes: watch::Sender::new(0),
            applied: watch::Sender::default(),
            machines: watch::Sender::default(),
            attached: Mutex::default(),
            stopped: watch::Sender::new(false),
            commit_index: AtomicU64::new(0),
            handle_signals: parts.handle_signals,
            signals_taken: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            events: Mutex::new(Some(broadcast::Sender::new(EVENTS_KEPT))),
        }
    }

    /// The newest status, with the newest indices.
    pub fn status(&self) -> Status {
        let mut status = self.view.load().status.clone();
        let applied = self.applied.borrow().index;
        // Two threads publish; what is applied is committed, and the founding entry is applied by definition.
        status.applied_index = status.applied_index.max(applied);
        status.commit_index = Index(self.commit_index.load(Ordering::Relaxed)).max(status.applied_index);
        status
    }

    pub fn subscribe(&self) -> Events {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = match &*events {
            Some(events) => events.subscribe(),
            // A node that has stopped: a stream that has ended.
            None => broadcast::Sender::new(1).subscribe(),
        };
        Events::new(receiver, self.started)
    }

    pub fn emit(&self, event: Event) {
        if let Some(events) = &*self.events.lock().unwrap_or_else(PoisonError::into_inner) {
            // Nobody may be listening.
            let _ = events.send(event);
        }
    }

    pub fn end_events(&self) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub async fn wait_stopped(&self) {
        let mut stopped = self.stopped.subscribe();
        // The sender lives in `self`, so the wait ends only by the value.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

/// What of the options a handle needs.
pub(crate) struct SharedParts {
    pub cluster_id: String,
    pub node_name: String,
    pub consensus: bool,
    pub serialization: Serialization,
    pub request_timeout: Duration,
    pub started: SystemTime,
    pub handle_signals: bool,
}
