//! Suspicion: what becomes of a member that does not answer, and how this node refutes what is said about itself.

use std::time::Duration;

use super::{Key, MemberState, Swim, Update};
use crate::mutants::mutant;
use crate::types::COUNTER_MAX;
use crate::{Generation, NodeId};

impl Swim {
    /// This node's probe found no answer.
    pub(super) fn suspect(&mut self, id: NodeId, generation: Generation) {
        let Some(entry) = self.table.get(id) else { return };
        let key = entry.known.key;
        // It may have restarted, left or been declared dead while the probe was out.
        if key.rank == MemberState::Alive && key.generation == generation {
            let verdict = if mutant!(SuspicionSkipped) { MemberState::Dead } else { MemberState::Suspect };
            self.learn(&Update { id, key: key.seen_as(verdict), record: None, age: Duration::ZERO });
        }
    }

    /// Gives a new suspicion its time. The number of members is that of now: one armed with ghosts counted in would last too long.
    pub(super) fn arm_suspicion(&mut self, id: NodeId) {
        let Some(entry) = self.table.get(id).filter(|entry| !entry.unreachable) else { return };
        let time = self.options.suspicion_time(self.present());
        let end = entry.since + time;
        // An announced restart is given the time that it asked for.
        let until = entry.restarting_until.filter(|_| !mutant!(RestartNotAwaited));
        let end = until.map_or(end, |until| end.max(until));
        self.table.set_deadline(id, Some(end));
    }

    /// A suspicion was not refuted in time.
    pub(super) fn on_suspicion_timeout(&mut self, id: NodeId) {
        let Some(entry) = self.table.get(id) else { return };
        if mutant!(SuspicionEndless) {
            self.table.set_deadline(id, Some(self.now + Duration::from_secs(3_600)));
            return;
        }
        if !self.is_isolated() {
            self.declare_dead(id);
            return;
        }
        // Most of the others do not answer either: more likely this node is cut off than all of them dead. It waits, but not for ever.
        let last = entry.since + self.options.suspicion_time(self.present()) * self.options.suspicion_max_mult;
        if self.now < last {
            self.table.set_deadline(id, Some(last));
        } else {
            self.table.set_deadline(id, None);
            self.change(id, |entry| entry.unreachable = true);
        }
    }

    fn declare_dead(&mut self, id: NodeId) {
        if let Some(entry) = self.table.get(id) {
            let key = entry.known.key.seen_as(MemberState::Dead);
            self.learn(&Update { id, key, record: None, age: Duration::ZERO });
        }
    }

    /// Turns verdicts passed in isolation into common knowledge once this node is no longer isolated.
    pub(super) fn review_unreachable(&mut self) {
        if self.is_isolated() {
            return;
        }
        let unreachable: Vec<NodeId> =
            self.table.iter().filter(|(_, entry)| entry.unreachable).map(|(id, _)| id).collect();
        for id in unreachable {
            self.declare_dead(id);
        }
    }

    /// A member given up in isolation has spoken: it is suspect again, and may refute.
    pub(super) fn reconsider(&mut self, id: NodeId) {
        if self.table.get(id).is_some_and(|entry| entry.unreachable) {
            let now = self.now;
            self.change(id, |entry| {
                entry.unreachable = false;
                entry.since = now;
            });
            self.arm_suspicion(id);
        }
    }

    /// Whether most of the members that were probed last did not answer. A cluster of four or fewer cannot tell isolation from failure and does
    /// not try.
    fn is_isolated(&self) -> bool {
        let (mut others, mut failing) = (0, 0);
        for (_, entry) in self.table.iter() {
            if entry.visible && matches!(entry.known.key.rank, MemberState::Alive | MemberState::Suspect) {
                others += 1;
                failing += usize::from(entry.probe_failed);
            }
        }
        others >= ISOLATION_OTHERS_MIN && failing * 2 > others && !mutant!(IsolationIgnored)
    }

    /// Somebody says something about this node. Whatever exceeds what it says itself is refuted by a number that exceeds it in turn; nothing about
    /// itself is ever adopted.
    pub(super) fn hear_about_self(&mut self, update: &Update) {
        if mutant!(RefutationSkipped) {
            return;
        }
        let mut outdone = false;
        if mutant!(OwnWordYielded) && update.key > self.own.key {
            self.own.key = update.key;
            return;
        }
        if update.key > self.own.key && !self.own.key.left {
            outdone = self.own.exceed(update.key);
        }
        if let Some(record) = &update.record
            && record.order() > self.own.record.order()
            && record.generation == self.own.record.generation
            && record.version < COUNTER_MAX
        {
            self.own.record.version = record.version + 1;
            outdone = true;
        }
        if outdone {
            self.queue.push(self.own.id, true);
            self.hasten_refutation();
        }
    }

    /// A refutation races against the suspicion time: a few members hear it at once, and no more often than a probe goes out.
    fn hasten_refutation(&mut self) {
        if self.own.refuted_at.is_some_and(|at| self.now.since(at) < self.options.probe_interval) {
            return;
        }
        self.own.refuted_at = Some(self.now);
        let mut told = self.probe.order.members().to_vec();
        self.rng.shuffle(&mut told);
        for id in told.into_iter().take(REFUTATION_TOLD_MAX) {
            self.tell(id);
        }
    }

    /// A ping for the sake of what rides on it; no answer is awaited.
    fn tell(&mut self, id: NodeId) {
        let Some(entry) = self.table.get(id) else { return };
        let Some(to) = self.direct_address(id) else { return };
        let generation = entry.known.key.generation;
        let seq = self.next_seq();
        self.ping(to, id, generation, seq);
    }
}

impl super::swim::Own {
    /// Raises the own key above `accused`: by incarnation where that suffices; by a new generation against a higher one, against Left, which is
    /// terminal within its generation, and at the bound of incarnations (rule 31). False if even the generations are used up.
    fn exceed(&mut self, accused: Key) -> bool {
        let same_start = accused.generation == self.key.generation && !accused.left;
        if same_start && accused.incarnation.0 < COUNTER_MAX {
            self.key.incarnation = accused.incarnation;
            self.key.incarnation.0 += 1;
        } else if accused.generation.0 < COUNTER_MAX {
            self.key = Key::alive(accused.generation.next(), super::Incarnation(0));
            self.record.generation = self.key.generation;
            self.record.version = 0;
        } else {
            return false;
        }
        true
    }
}

/// Isolation is considered from this many other members on.
const ISOLATION_OTHERS_MIN: usize = 4;
/// Members that hear a refutation at once; with each round their number multiplies.
const REFUTATION_TOLD_MAX: usize = 3;
