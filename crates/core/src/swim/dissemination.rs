//! Dissemination: which updates ride on the next datagram.
//!
//! There is one slot per member, so the queue is bounded by the table however much happens; a newer update takes the older one's slot. Four
//! lanes fill a datagram, in this order: what this node says about itself, what it holds about the receiver (so that the accused hears first), what
//! the receiver needs at once to settle or drop an accusation, and then everybody's updates, the least sent first.

use std::collections::{BTreeMap, BTreeSet};

use super::{Body, MemberState, Message, Swim, Update};
use crate::NodeId;
use crate::mutants::mutant;

/// Updates waiting to be sent a few more times.
#[derive(Debug, Default)]
pub(super) struct Queue {
    slots: BTreeMap<NodeId, Slot>,
    /// The slots by how often they were sent, then by age. Invariant: one per slot.
    order: BTreeSet<(u32, u64, NodeId)>,
    pushed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    sent: u32,
    stamp: u64,
    with_record: bool,
}

impl Queue {
    /// Queues what is known about `id`, to be sent from the beginning.
    pub(super) fn push(&mut self, id: NodeId, with_record: bool) {
        let before = self.remove(id);
        // A record still on its way must not be lost to a change of opinion that overtakes it.
        let with_record = with_record || before.is_some_and(|slot| slot.with_record);
        self.pushed += 1;
        self.insert(id, Slot { sent: 0, stamp: self.pushed, with_record });
    }

    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.slots.contains_key(&id)
    }

    /// Notes that `id` was sent once more, and forgets it at the limit.
    fn sent(&mut self, id: NodeId, limit: u32) {
        if let Some(slot) = self.remove(id)
            && slot.sent + 1 < limit
            && !mutant!(UpdateSentOnce)
        {
            self.insert(id, Slot { sent: slot.sent + 1, ..slot });
        }
    }

    pub(super) fn remove_member(&mut self, id: NodeId) {
        self.remove(id);
    }

    fn insert(&mut self, id: NodeId, slot: Slot) {
        self.slots.insert(id, slot);
        self.order.insert((slot.sent, slot.stamp, id));
    }

    fn remove(&mut self, id: NodeId) -> Option<Slot> {
        let slot = self.slots.remove(&id)?;
        self.order.remove(&(slot.sent, slot.stamp, id));
        Some(slot)
    }

    /// Who waits, the least sent first, and whether the record goes along.
    fn waiting(&self) -> impl Iterator<Item = (NodeId, bool)> {
        let with_record = |id| self.slots.get(id).is_some_and(|slot| slot.with_record);
        self.order.iter().map(move |(_, _, id)| (*id, with_record(id)))
    }

    /// What must always hold; the first breach in words.
    pub(super) fn check(&self) -> Result<(), String> {
        let order: BTreeSet<_> = self.slots.iter().map(|(id, slot)| (slot.sent, slot.stamp, *id)).collect();
        if order == self.order { Ok(()) } else { Err("the order of the updates is not that of their slots".into()) }
    }
}

/// What goes on a datagram before the queue is asked.
#[derive(Default)]
pub(super) struct Lanes {
    /// Whom the datagram is for, where known.
    pub(super) to: Option<NodeId>,
    /// The receiver may not know this node.
    pub(super) introduce: bool,
    /// The receiver goes by a number that this node knows to be outdated.
    pub(super) correct: bool,
    /// What the receiver ought to hear at once: an accusation by somebody else, or news that refute what it said.
    pub(super) urgent: Vec<Update>,
}

impl Swim {
    /// A message to `lanes.to`, filled up with updates.
    pub(super) fn compose(&mut self, body: Body, lanes: Lanes) -> Message {
        let mut message = Message { body, updates: Vec::new() };
        let bytes_max = if mutant!(DatagramUnbounded) { 60_000 } else { self.options.datagram_bytes_max };
        let mut left = bytes_max.saturating_sub((self.sizer.head)(&message.body));
        let count_max = self.options.piggyback_updates_max.unwrap_or(usize::MAX);
        let limit = self.options.retransmits_max(self.present());

        // The first three lanes are a few updates at most and pass whatever the limit on the number is.
        if lanes.introduce || self.queue.contains(self.own.id) {
            self.queue.sent(self.own.id, limit);
            self.add(&mut message, &mut left, self.own.update(self.now));
        }
        if let Some((id, entry)) = lanes.to.and_then(|id| Some((id, self.table.get(id)?)))
            && (lanes.correct || entry.known.key.rank != MemberState::Alive)
        {
            let update = entry.update(id, false, self.now);
            self.add(&mut message, &mut left, Update { record: None, ..update });
        }
        for update in lanes.urgent {
            self.add(&mut message, &mut left, update);
        }

        let mut sent = Vec::new();
        for (id, with_record) in self.queue.waiting().take(LOOKED_AT_MAX) {
            if message.updates.len() >= count_max || left < UPDATE_BYTES_MIN {
                break;
            }
            // The receiver has been told what concerns it, and nobody needs telling about itself what it said itself; and what was urgent is said.
            if id == self.own.id || Some(id) == lanes.to || message.updates.iter().any(|update| update.id == id) {
                continue;
            }
            let Some(entry) = self.table.get(id) else { continue };
            let update = entry.update(id, with_record, self.now);
            let bytes = (self.sizer.update)(&update);
            if bytes <= left {
                left -= bytes;
                message.updates.push(update);
                sent.push(id);
            }
        }
        for id in sent {
            self.queue.sent(id, limit);
        }
        message
    }

    /// Adds an update if it still fits.
    pub(super) fn add(&self, message: &mut Message, left: &mut usize, update: Update) -> bool {
        let bytes = (self.sizer.update)(&update);
        let fits = bytes <= *left;
        if fits {
            *left -= bytes;
            message.updates.push(update);
        }
        fits
    }
}

/// Updates looked at per datagram: what fits into the longest one, twice over.
const LOOKED_AT_MAX: usize = 96;
/// No update is shorter in any encoding: below this the datagram is full.
const UPDATE_BYTES_MIN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_sent_goes_first_and_each_only_so_often() {
        let mut queue = Queue::default();
        let waiting = |queue: &Queue| queue.waiting().map(|(id, _)| id.0).collect::<Vec<_>>();
        for id in [3, 1, 2] {
            queue.push(NodeId(id), false);
        }
        assert_eq!(waiting(&queue), [3, 1, 2]);
        queue.sent(NodeId(3), 2);
        assert_eq!(waiting(&queue), [1, 2, 3]);
        queue.sent(NodeId(3), 2);
        assert_eq!(waiting(&queue), [1, 2]);
        queue.sent(NodeId(1), 2);
        queue.push(NodeId(1), false);
        assert_eq!(waiting(&queue), [2, 1]);
        queue.check().unwrap();
    }

    #[test]
    fn a_record_on_its_way_survives_a_newer_opinion() {
        let mut queue = Queue::default();
        queue.push(NodeId(1), true);
        queue.push(NodeId(1), false);
        assert_eq!(queue.waiting().collect::<Vec<_>>(), [(NodeId(1), true)]);
    }
}
