//! The probe: one member per interval, directly, then through others, then suspicion (SWIM paper, sections 3.1 and 4.3).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::dissemination::Lanes;
use super::table::Entry;
use super::{Body, MemberState, Seq, Swim};
use crate::mutants::mutant;
use crate::random::Random;
use crate::{Generation, Instant, NodeId};

/// The order of the probes: a random permutation of the members that take part, walked to its end and then shuffled anew. Every member is probed
/// within 2n - 1 intervals, for it may come first in one walk and last in the next.
#[derive(Debug, Default)]
pub(super) struct ProbeOrder {
    order: Vec<NodeId>,
    /// The next to be probed. Invariant: at most `order.len()`.
    cursor: usize,
}

impl ProbeOrder {
    /// A new member goes to a random place of the part not yet walked: elsewhere it could lose its turn.
    pub(super) fn insert(&mut self, id: NodeId, rng: &mut Random) {
        let unprobed = (self.order.len() - self.cursor) as u64;
        self.order.insert(self.cursor + rng.below(unprobed + 1) as usize, id);
    }

    /// Keeps the turns of all others.
    pub(super) fn remove(&mut self, id: NodeId) {
        if let Some(at) = self.order.iter().position(|other| *other == id) {
            self.order.remove(at);
            self.cursor -= usize::from(at < self.cursor);
        }
    }

    /// Makes `id` the next, if it is in the order at all.
    pub(super) fn prefer(&mut self, id: NodeId) {
        if self.order.contains(&id) {
            self.remove(id);
            self.order.insert(self.cursor, id);
        }
    }

    fn next(&mut self, rng: &mut Random) -> Option<NodeId> {
        if self.cursor >= self.order.len() {
            rng.shuffle(&mut self.order);
            self.cursor = 0;
        }
        let id = self.order.get(self.cursor).copied()?;
        self.cursor += 1;
        Some(id)
    }

    pub(super) fn members(&self) -> &[NodeId] {
        &self.order
    }
}

/// The probe of one interval.
#[derive(Debug)]
pub(super) struct Round {
    seq: Seq,
    target: NodeId,
    generation: Generation,
    /// Where the target was pinged.
    address: SocketAddr,
    /// Who was asked to ping. An `Ack` counts from these and from the target, not from whoever else heard of the number.
    relays: Vec<NodeId>,
    /// Success of one path is final for the interval.
    is_answered: bool,
    /// It has had its grace after a stall.
    is_delayed: bool,
    /// When others are asked; none once they were.
    indirect_at: Option<Instant>,
    ends_at: Instant,
}

/// A ping made for somebody else.
#[derive(Debug)]
struct Relay {
    target: NodeId,
    origin: SocketAddr,
    origin_seq: Seq,
    expires_at: Instant,
}

/// What probing remembers.
#[derive(Debug, Default)]
pub(super) struct Probe {
    pub(super) order: ProbeOrder,
    pub(super) round: Option<Round>,
    /// When the next round begins; none while there is nobody to probe.
    next_at: Option<Instant>,
    relays: BTreeMap<Seq, Relay>,
}

impl Probe {
    /// When something is due. Relays expire by themselves.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let Some(round) = &self.round else { return self.next_at };
        let indirect = round.indirect_at.filter(|_| !round.is_answered);
        Some(indirect.map_or(round.ends_at, |at| at.min(round.ends_at)))
    }

    /// How late the verdict of this round is. Zero once the round got its grace.
    pub(super) fn lateness(&self, now: Instant) -> Duration {
        let open = self.round.as_ref().filter(|round| !round.is_answered && !round.is_delayed);
        open.map_or(Duration::ZERO, |round| now.since(round.ends_at))
    }

    /// The event loop stood still for `lateness`: the round gets the time back, and once at least `grace` from now, for the answers may have been
    /// held up with it. Only once, or a loop that is always late would never judge.
    pub(super) fn delay(&mut self, now: Instant, lateness: Duration, grace: Duration) {
        if let Some(round) = self.round.as_mut().filter(|round| !round.is_answered) {
            round.ends_at += lateness;
            if !round.is_delayed {
                round.is_delayed = true;
                round.ends_at = round.ends_at.max(now + grace);
            }
        }
    }
}

impl Swim {
    /// Begins probing when the first member comes, at a random moment so that nodes started together do not beat in time.
    pub(super) fn start_probing(&mut self) {
        if self.probe.round.is_none() && self.probe.next_at.is_none() {
            let wait = self.rng.duration(Duration::ZERO, self.options.probe_interval);
            self.probe.next_at = Some(self.now + wait);
        }
    }

    /// What the clock brings: the end of a round, the turn of the others, the next round.
    pub(super) fn on_probe_timeout(&mut self) {
        if let Some(round) = &self.probe.round
            && round.ends_at <= self.now
        {
            self.conclude();
        }
        if self.probe.next_at.is_some_and(|at| at <= self.now) {
            self.begin();
        }
        if let Some(round) = &self.probe.round
            && !round.is_answered
            && round.indirect_at.is_some_and(|at| at <= self.now)
        {
            self.ask_others();
        }
    }

    fn begin(&mut self) {
        self.probe.next_at = None;
        let Some(target) = self.probe.order.next(&mut self.rng) else { return };
        let found = self.table.get(target).and_then(|entry| Some((entry.address()?, entry.known.key.generation)));
        let Some((address, generation)) = found else {
            // Whoever is in the order has an address; were it otherwise, the next one has its turn.
            self.probe.next_at = Some(self.now + self.options.probe_interval);
            return;
        };
        let seq = self.next_seq();
        let mut indirect_at = self.now + self.options.probe_timeout;
        if let Some(to) = self.direct_address(target) {
            self.ping(to, target, generation, seq);
        } else {
            // Somebody else lives there: only others may know where the target is.
            indirect_at = self.now;
        }
        self.probe.round = Some(Round {
            seq,
            target,
            generation,
            address,
            relays: Vec::new(),
            is_answered: false,
            is_delayed: false,
            indirect_at: Some(indirect_at),
            ends_at: self.now + self.options.probe_interval,
        });
    }

    /// Asks up to k others, and the target itself once more: a single lost datagram shall not cost a suspicion where there are no others.
    fn ask_others(&mut self) {
        let Some(Round { seq, target, generation, address, .. }) = self.probe.round else { return };
        // A member that has taken over the target's address cannot know more than it has said already.
        let is_helpful = |entry: &Entry| entry.state() == MemberState::Alive && entry.address() != Some(address);
        let helpful = |id: &NodeId| *id != target && self.table.get(*id).is_some_and(is_helpful);
        let mut relays: Vec<NodeId> = self.probe.order.members().iter().copied().filter(helpful).collect();
        self.rng.shuffle(&mut relays);
        relays.truncate(if mutant!(IndirectProbesSkipped) { 0 } else { self.options.indirect_probes });
        for relay in &relays {
            if let Some(to) = self.table.get(*relay).and_then(|entry| entry.address()) {
                let lanes = Lanes { to: Some(*relay), ..Lanes::default() };
                self.send(to, Body::PingReq { seq, target }, lanes);
            }
        }
        if let Some(to) = self.direct_address(target) {
            self.ping(to, target, generation, seq);
        }
        if let Some(round) = &mut self.probe.round {
            round.relays = relays;
            round.indirect_at = None;
        }
    }

    fn conclude(&mut self) {
        let Some(round) = self.probe.round.take() else { return };
        // Rounds keep their pace; after a stall they do not pile up.
        self.probe.next_at = Some(self.now);
        if !round.is_answered {
            self.suspect(round.target, round.generation);
            self.review_isolation();
        }
    }

    pub(super) fn ping(&mut self, to: SocketAddr, target: NodeId, generation: Generation, seq: Seq) {
        let lanes = Lanes { to: Some(target), ..Lanes::default() };
        self.send(to, Body::Ping { seq, target: Some((target, generation)) }, lanes);
    }

    /// Where `id` may be pinged; none where somebody else, perhaps this very node, lives at the address that it had.
    pub(super) fn direct_address(&self, id: NodeId) -> Option<SocketAddr> {
        let entry = self.table.get(id).filter(|entry| !entry.address_stale)?;
        entry.address().filter(|address| *address != self.own.record.address)
    }

    /// An answer to a probe, to a relayed probe, or to a good-bye.
    pub(super) fn on_ack(&mut self, from: SocketAddr, sender: NodeId, seq: Seq) {
        let is_ours = |round: &&mut Round| {
            let is_asked = round.target == sender || round.relays.contains(&sender);
            round.seq == seq && (is_asked || mutant!(PingTargetIgnored))
        };
        if let Some(round) = self.probe.round.as_mut().filter(is_ours) {
            let is_first = !std::mem::replace(&mut round.is_answered, true);
            let target = round.target;
            self.answered(target);
            if is_first {
                self.on_answer();
            }
        } else if let Some(relay) =
            self.probe.relays.get(&seq).filter(|relay| relay.target == sender || mutant!(PingTargetIgnored))
        {
            let (origin, origin_seq) = (relay.origin, relay.origin_seq);
            self.probe.relays.remove(&seq);
            self.send(origin, Body::Ack { seq: origin_seq }, Lanes::default());
        } else {
            self.on_introduced(from, sender, seq);
            self.on_goodbye_ack(sender, seq);
        }
    }

    /// Somebody else than the one meant was there: another process start of the same node, or a stranger (rule 32).
    pub(super) fn on_gone(&mut self, sender: NodeId, seq: Seq) {
        let Some(round) = self.probe.round.as_mut().filter(|round| round.seq == seq && !round.is_answered) else {
            self.probe.relays.remove(&seq);
            return;
        };
        let (target, address) = (round.target, round.address);
        if sender == target {
            // It restarted. What it says about itself came along and has been merged.
            round.is_answered = true;
            self.answered(target);
        } else {
            round.indirect_at = round.indirect_at.map(|_| self.now);
            self.table.note(target, |entry| entry.address_stale |= entry.address() == Some(address));
        }
        self.on_answer();
    }

    /// A request to ping. Only a member whose address this node knows itself is pinged.
    pub(super) fn on_ping_req(&mut self, origin: SocketAddr, origin_seq: Seq, target: NodeId) {
        let now = self.now;
        self.probe.relays.retain(|_, relay| relay.expires_at > now);
        if self.probe.relays.len() >= RELAYS_MAX {
            return;
        }
        let Some(entry) = self.table.get(target).filter(|entry| entry.visible) else { return };
        let Some(address) = self.direct_address(target) else { return };
        let generation = entry.known.key.generation;
        let seq = self.next_seq();
        let expires_at = now + self.options.probe_interval;
        self.probe.relays.insert(seq, Relay { target, origin, origin_seq, expires_at });
        self.ping(address, target, generation, seq);
    }

    fn answered(&mut self, id: NodeId) {
        let now = self.now;
        self.table.note(id, |entry| entry.last_seen = now);
    }
}

/// Pings for others under way: what 64 members that see their probes fail at the same time ask of one relay, four times over.
const RELAYS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_its_turn_within_2n_minus_1_intervals() {
        let mut rng = Random::new(7);
        let mut order = ProbeOrder::default();
        let n = 13;
        for id in 0..n {
            order.insert(NodeId(id), &mut rng);
        }
        let mut last: BTreeMap<NodeId, u128> = (0..n).map(|id| (NodeId(id), 0)).collect();
        for turn in 1..10_000 {
            let id = order.next(&mut rng).unwrap();
            assert!(turn - last[&id] < 2 * n);
            last.insert(id, turn);
        }
    }

    #[test]
    fn joining_and_leaving_take_nobodys_turn() {
        let mut rng = Random::new(8);
        let mut order = ProbeOrder::default();
        for id in 0..10 {
            order.insert(NodeId(id), &mut rng);
        }
        let mut probed: Vec<NodeId> = (0..4).map(|_| order.next(&mut rng).unwrap()).collect();
        order.remove(probed[1]);
        order.insert(NodeId(10), &mut rng);
        let unprobed = *order.members().last().unwrap();
        order.remove(unprobed);
        probed.extend((0..6).map(|_| order.next(&mut rng).unwrap()));
        probed.extend([unprobed]);
        probed.sort();
        assert_eq!(probed, (0..11).map(NodeId).collect::<Vec<_>>());
    }
}
