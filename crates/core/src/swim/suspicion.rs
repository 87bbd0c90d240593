//! Suspicion: what becomes of a member that does not answer, and how this node refutes what is said about itself.

use std::time::Duration;

use super::table::Entry;
use super::{Key, MemberState, Swim, Update};
use crate::mutants::mutant;
use crate::types::COUNTER_MAX;
use crate::{Generation, Instant, NodeId};

impl Swim {
    /// This node's probe found no answer.
    pub(super) fn suspect(&mut self, id: NodeId, generation: Generation) {
        let Some(entry) = self.table.get(id) else { return };
        let key = entry.known.key;
        // It may have restarted, left or been declared dead while the probe was out. To whom nobody answers, one silence
        // more says nothing.
        if key.rank == MemberState::Alive && key.generation == generation && !self.is_isolated() {
            let verdict = if mutant!(SuspicionSkipped) { MemberState::Dead } else { MemberState::Suspect };
            self.learn(&Update { id, key: key.seen_as(verdict), record: None, age: Duration::ZERO });
        }
    }

    /// Gives a suspicion its time. The second half begins with a question: see `on_suspicion_timeout`.
    pub(super) fn arm_suspicion(&mut self, id: NodeId) {
        if let Some(entry) = self.table.get(id).filter(|entry| !entry.unreachable) {
            let question = self.suspicion_aged(entry, self.options.suspicion_time(self.present()) / 2);
            self.table.set_deadline(id, Some(question));
        }
    }

    /// When a suspicion is so old. Its time goes by the number of members of now: with ghosts counted in it would last too long.
    fn suspicion_aged(&self, entry: &Entry, time: Duration) -> Instant {
        let end = entry.since + time + entry.silence.min(self.isolation_max());
        // An announced restart is given the time that it asked for.
        let until = entry.restarting_until.filter(|_| !mutant!(RestartNotAwaited));
        until.map_or(end, |until| end.max(until))
    }

    /// A suspicion has lasted for a while without being refuted.
    ///
    /// A refutation reaches all but a few, whom chance leaves out where messages are lost. Who has heard of none after half of the time asks the
    /// suspect itself, once per interval: most have by then, so that nobody is asked by all.
    pub(super) fn on_suspicion_timeout(&mut self, id: NodeId) {
        let Some(entry) = self.table.get(id) else { return };
        let time = self.options.suspicion_time(self.present());
        let end = self.suspicion_aged(entry, time);
        let last = entry.since + time + self.isolation_max();
        let soon = self.now + self.options.probe_interval;
        if mutant!(SuspicionEndless) {
            self.table.set_deadline(id, Some(self.now + Duration::from_secs(3_600)));
        } else if self.is_isolated() {
            // The first answer settles when it ends. If none comes, this does.
            if self.now < last {
                self.table.set_deadline(id, Some(last));
            } else {
                self.give_up(id);
            }
        } else if self.now < end {
            self.tell(id);
            self.table.set_deadline(id, Some(soon.min(end)));
        } else {
            self.declare_dead(id);
        }
    }

    pub(super) fn declare_dead(&mut self, id: NodeId) {
        if let Some(entry) = self.table.get(id) {
            let key = entry.known.key.seen_as(MemberState::Dead);
            self.learn(&Update { id, key, record: None, age: Duration::ZERO });
        }
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
    pub(super) fn tell(&mut self, id: NodeId) {
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

/// Members that hear a refutation at once; with each round their number multiplies.
const REFUTATION_TOLD_MAX: usize = 3;
