//! Isolation: a node to whom nobody answers is more likely cut off than the last one alive (rule 32).
//!
//! The evidence is silence: no answer from anybody for so long that several probes in a row, each directly and through others, have failed. How
//! many members there are makes no difference, and that others are still heard makes none either: they may not hear this node. As long as the
//! silence lasts, the node suspects nobody, and the suspicions that it holds do not run out. After the longest time that a suspicion may last it
//! gives up everybody, for its own application alone: it tells nobody, then or later.
//!
//! One answer ends it. Who was given up is as before, and a suspicion gets back the time that it has spent in the silence: it runs only while
//! its refutation could have been heard.

use std::net::SocketAddr;
use std::time::Duration;

use super::table::Entry;
use super::{MemberState, Swim};
use crate::NodeId;
use crate::mutants::mutant;

impl Swim {
    /// Whether this node is cut off, as far as it can tell.
    pub(super) fn is_isolated(&self) -> bool {
        // A suspicion lasts at least as long as this, so that none that begins in a silence can run out in it.
        let intervals = SILENT_INTERVALS.min(self.options.suspicion_mult);
        let is_silent = self.now.since(self.answered_at) >= self.options.probe_interval * intervals;
        is_silent && self.has_many_others() && !mutant!(IsolationIgnored)
    }

    /// Among few others silence says little: a cluster of four or fewer cannot tell isolation from failure and does not try.
    fn has_many_others(&self) -> bool {
        let takes_part = |rank| matches!(rank, MemberState::Alive | MemberState::Suspect);
        let others = self.table.iter().filter(|(_, entry)| entry.visible && takes_part(entry.known.key.rank));
        others.take(ISOLATION_OTHERS_MIN).count() == ISOLATION_OTHERS_MIN
    }

    /// How much longer isolation makes a suspicion last, at most.
    pub(super) fn isolation_max(&self) -> Duration {
        self.options.suspicion_time(self.present()) * self.options.suspicion_max_mult.saturating_sub(1)
    }

    /// Another probe has failed. An isolated node does not wait for ever.
    pub(super) fn review_isolation(&mut self) {
        if self.was_silence_long() && self.is_isolated() {
            for id in self.probe.order.members().to_vec() {
                self.give_up(id);
            }
        }
    }

    /// Takes a member for dead without telling anybody.
    pub(super) fn give_up(&mut self, id: NodeId) {
        if mutant!(UnreachableSaid) {
            self.declare_dead(id);
        } else {
            self.table.set_deadline(id, None);
            self.change(id, |entry| entry.unreachable = true);
        }
    }

    /// Somebody has spoken. Perhaps it was given up; whether it also hears this node, a question finds out.
    pub(super) fn on_heard(&mut self, from: SocketAddr, sender: NodeId) {
        if self.table.get(sender).is_some_and(|entry| entry.unreachable) {
            if self.was_silence_long() {
                self.start_sync(from, Some(sender));
            } else {
                self.take_back(sender);
            }
        }
    }

    /// Whether everybody was given up, and not only who was suspect for the longest time.
    fn was_silence_long(&self) -> bool {
        self.now.since(self.answered_at) >= self.isolation_max()
    }

    /// Somebody has answered.
    pub(super) fn on_answer(&mut self) {
        if self.is_isolated() {
            self.end_isolation();
        }
        self.answered_at = self.now;
    }

    fn end_isolation(&mut self) {
        let silence_began = self.answered_at;
        let was_long = self.was_silence_long();
        let is_held_up = |entry: &Entry| entry.unreachable || entry.known.key.rank == MemberState::Suspect;
        let held_up = self.table.iter().filter(|(_, entry)| is_held_up(entry)).map(|(id, _)| id);
        let mut to_tell = SUSPECTS_TOLD_MAX;
        for id in held_up.collect::<Vec<_>>() {
            let is_over = !was_long && self.table.get(id).is_some_and(|entry| entry.unreachable);
            if is_over {
                // It was given up alone, at the end of the longest time: short silences between answers do not begin that anew.
                self.declare_dead(id);
                continue;
            }
            let was_given_up = self.take_back(id);
            if !self.is_suspect(id) {
                continue;
            }
            if !was_given_up {
                let now = self.now;
                self.table.note(id, |entry| entry.silence += now.since(entry.since.max(silence_began)));
                self.arm_suspicion(id);
            }
            // What was said of it meanwhile went nowhere: it could not refute.
            self.queue.push(id, false);
            if to_tell > 0 {
                to_tell -= 1;
                self.tell(id);
            }
        }
    }

    /// A member that was given up is as before; a suspicion begins anew. False if it was not given up.
    pub(super) fn take_back(&mut self, id: NodeId) -> bool {
        let was_given_up = self.table.get(id).is_some_and(|entry| entry.unreachable);
        if was_given_up {
            let now = self.now;
            self.change(id, |entry| entry.unreachable = false);
            if self.is_suspect(id) {
                self.table.note(id, |entry| entry.hold_since(now));
                self.arm_suspicion(id);
            }
        }
        was_given_up
    }
}

/// Isolation is considered from this many other members on.
const ISOLATION_OTHERS_MIN: usize = 4;
/// Probe intervals without an answer that make a silence: two or three rounds have failed by then. Fewer would be chance where messages are lost.
const SILENT_INTERVALS: u32 = 3;
/// Suspects that are told at once when somebody answers again. A silence makes no more than [`SILENT_INTERVALS`]; others hear of them from others.
const SUSPECTS_TOLD_MAX: usize = 8;
