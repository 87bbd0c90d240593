//! Stopping: never a change of the configuration (rule 30).

use std::time::Duration;

use super::io::{Output, Refused};
use super::node::Node;
use crate::{Instant, raft, swim};

/// A stopping node waits this long for the outcomes of what its application submitted before it hands over.
const DRAIN_FOR: Duration = Duration::from_millis(1_000);
/// ... and this long in all for its disk and for its good-bye to be acknowledged.
const STOP_WITHIN: Duration = Duration::from_millis(3_000);

/// How far a stop has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopping {
    since: Instant,
    resigned: bool,
    pub(super) said_goodbye: bool,
}

impl Stopping {
    /// When to look again.
    pub(super) fn deadline(self, now: Instant) -> Instant {
        let drained = self.since + DRAIN_FOR;
        if drained > now { drained } else { self.since + STOP_WITHIN }
    }
}

impl Node {
    pub(super) fn stop(&mut self, leaving: bool) {
        if self.stopping.is_some() {
            return;
        }
        let resigned = self.raft.is_none();
        self.stopping = Some(Stopping { since: self.now, resigned, said_goodbye: self.swim.is_none() });
        if let Some(swim) = &mut self.swim {
            let ephemeral = self.options.consensus.as_ref().is_some_and(|c| c.bootstrap.is_ephemeral());
            let goodbye = if leaving || ephemeral {
                swim::Input::Leave
            } else {
                swim::Input::Restarting { for_: self.options.restart_within }
            };
            swim.handle(self.now, goodbye);
        }
    }

    /// Stops in order: outcomes first, then leadership, then the disk and the good-bye (rule 30).
    pub(super) fn go_on_stopping(&mut self) {
        let Some(mut stopping) = self.stopping else { return };
        let waited = self.now.since(stopping.since);
        if !stopping.resigned && (self.proposals.is_idle() && self.reads.is_idle() || waited >= DRAIN_FOR) {
            self.feed_raft(raft::Input::Resign);
            stopping.resigned = true;
            self.stopping = Some(stopping);
            self.drain_parts();
            stopping = self.stopping.unwrap_or(stopping);
        }
        let done = stopping.resigned && stopping.said_goodbye && self.writes.is_empty();
        if done || waited >= STOP_WITHIN {
            self.proposals.shut_down(Refused::ShuttingDown);
            self.reads.shut_down(Refused::ShuttingDown);
            self.drain_parts();
            self.stopped = true;
            self.outputs.push_back(Output::Stopped);
        }
    }
}
