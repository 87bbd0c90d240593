//! Good-bye: leaving, and the announcement of a restart. A few members have to say that they heard it, for the process ends right after.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::dissemination::Lanes;
use super::{Body, MemberState, Output, RESTARTING_MAX, Seq, Swim};
use crate::mutants::mutant;
use crate::{Instant, NodeId};

/// A good-bye under way.
#[derive(Debug)]
pub(super) struct Goodbye {
    /// Who is told.
    told: Vec<NodeId>,
    /// The pings that tell it.
    pings: BTreeMap<Seq, NodeId>,
    acknowledged: BTreeSet<NodeId>,
    resend_at: Instant,
    ends_at: Instant,
}

impl Goodbye {
    pub(super) fn deadline(&self) -> Instant {
        self.resend_at.min(self.ends_at)
    }
}

impl Swim {
    /// Leaves for good: Left is terminal for this generation.
    pub(super) fn on_leave(&mut self) {
        self.own.key = self.own.key.seen_as(MemberState::Left);
        self.own.left_at = Some(self.now);
        self.say_goodbye();
    }

    /// Says that this node will be back. It is a change of its record, so that it reaches everybody as any change does.
    pub(super) fn on_restarting(&mut self, time: Duration) {
        self.own.restarting_until = Some(self.now + time.min(RESTARTING_MAX));
        self.own.record.version += 1;
        self.say_goodbye();
    }

    fn say_goodbye(&mut self) {
        if mutant!(LeaveUnsaid) {
            self.outputs.push_back(Output::GoodbyeAcknowledged);
            return;
        }
        self.queue.push(self.own.id, true);
        let mut told = self.probe.order.members().to_vec();
        self.rng.shuffle(&mut told);
        told.truncate(TOLD_MAX);
        self.goodbye = Some(Goodbye {
            told,
            pings: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            resend_at: self.now,
            ends_at: self.now + self.options.goodbye_timeout,
        });
        self.on_goodbye_timeout();
    }

    /// Tells those that have not acknowledged yet once more, or gives up.
    pub(super) fn on_goodbye_timeout(&mut self) {
        let now = self.now;
        let Some(goodbye) = &mut self.goodbye else { return };
        if goodbye.told.is_empty() || goodbye.ends_at <= now {
            self.goodbye = None;
            self.outputs.push_back(Output::GoodbyeAcknowledged);
            return;
        }
        if goodbye.resend_at > now {
            return;
        }
        goodbye.resend_at = now + self.options.goodbye_timeout / 4;
        let missing: Vec<NodeId> =
            goodbye.told.iter().filter(|id| !goodbye.acknowledged.contains(id)).copied().collect();
        for id in missing {
            let Some((to, generation)) = self.table.get(id).and_then(|e| Some((e.address()?, e.known.key.generation)))
            else {
                continue;
            };
            let seq = self.next_seq();
            if let Some(goodbye) = &mut self.goodbye {
                goodbye.pings.insert(seq, id);
            }
            let lanes = Lanes { to: Some(id), introduce: true, ..Lanes::default() };
            self.send(to, Body::Ping { seq, target: Some((id, generation)) }, lanes);
        }
    }

    /// An acknowledgement, perhaps of the good-bye.
    pub(super) fn on_goodbye_ack(&mut self, sender: NodeId, seq: Seq) {
        let Some(goodbye) = &mut self.goodbye else { return };
        if goodbye.pings.get(&seq) != Some(&sender) {
            return;
        }
        goodbye.acknowledged.insert(sender);
        if goodbye.acknowledged.len() >= goodbye.told.len().min(ACKNOWLEDGED_MIN) {
            self.goodbye = None;
            self.outputs.push_back(Output::GoodbyeAcknowledged);
        }
    }
}

/// Members told directly; more would not make it surer.
const TOLD_MAX: usize = 8;
/// Members that have to know before the node goes: each of them tells the others.
const ACKNOWLEDGED_MIN: usize = 3;
