//! The member table: everybody but this node itself, with what the protocol must remember about each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::member::{Changed, Known};
use super::{Event, Key, Member, MemberState, Meta, Record, Update};
use crate::{Generation, Instant, NodeId};

/// One member, or a tombstone, or hearsay about somebody whose record has not come yet.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) known: Known,
    /// It is or was a member here: the application has heard of it. A tombstone at first sight never becomes one.
    pub(super) visible: bool,
    /// This node, being isolated, has given it up by itself (rule 32). Never gossiped.
    pub(super) unreachable: bool,
    /// Somebody else answered at its address (rule 32): pinged through others only, until its owner says another address.
    pub(super) address_stale: bool,
    pub(super) joined_at: Instant,
    pub(super) last_seen: Instant,
    /// When the opinion came to be held here.
    pub(super) since: Instant,
    /// For a suspicion: how much of its time this node has spent in isolation.
    pub(super) silence: Duration,
    /// For a tombstone: how old it was then.
    pub(super) age: Duration,
    /// End of the suspicion, or of the tombstone. Invariant: stands in `Table::deadlines` exactly when set.
    pub(super) deadline: Option<Instant>,
    /// The end of the restart that the owner announced.
    pub(super) restarting_until: Option<Instant>,
    /// When its owner was last asked to settle a disagreement.
    pub(super) verified_at: Option<Instant>,
    pub(super) allowance: Allowance,
}

impl Entry {
    /// The state as this node sees it.
    pub(super) fn state(&self) -> MemberState {
        if self.unreachable { MemberState::Dead } else { self.known.key.rank }
    }

    /// Whether it is a member that takes part: probed, asked, counted.
    pub(super) fn is_present(&self) -> bool {
        self.visible && matches!(self.state(), MemberState::Alive | MemberState::Suspect)
    }

    /// The opinion held of it is new.
    pub(super) fn hold_since(&mut self, now: Instant) {
        (self.since, self.silence) = (now, Duration::ZERO);
    }

    /// Where to send to it.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.known.record.as_ref().map(|record| record.address)
    }

    fn view(&self, now: Instant) -> Option<View> {
        let record = self.known.record.as_ref().filter(|_| self.visible)?;
        Some(View {
            state: self.state(),
            generation: self.known.key.generation,
            restarting: self.restarting_until.is_some_and(|until| until > now),
            address: record.address,
            meta: record.meta.clone(),
        })
    }

    /// As the application sees it; none for what was never a member.
    pub(super) fn member(&self, id: NodeId, now: Instant) -> Option<Member> {
        let record = self.known.record.as_ref().filter(|_| self.visible)?;
        Some(Member {
            id,
            generation: self.known.key.generation,
            name: record.name.clone(),
            address: record.address,
            meta: record.meta.clone(),
            state: self.state(),
            restarting: self.restarting_until.is_some_and(|until| until > now),
            joined_at: self.joined_at,
            last_seen: self.last_seen,
        })
    }
}

/// A token bucket: how many messages of one sender are still handled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    tokens: u32,
    filled_at: Instant,
}

impl Allowance {
    /// Full.
    pub(super) fn new(now: Instant) -> Self {
        Allowance { tokens: BURST_MAX, filled_at: now }
    }

    /// Takes one; false when there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let earned = now.since(self.filled_at).as_micros() / MESSAGE_MICROS;
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(BURST_MAX);
            self.filled_at = now;
        }
        let some = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        some
    }
}

/// What the application has been told about a member.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    state: MemberState,
    generation: Generation,
    restarting: bool,
    address: SocketAddr,
    meta: Meta,
}

/// All entries.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<NodeId, Entry>,
    /// The deadlines of all entries, the earliest first.
    deadlines: BTreeSet<(Instant, NodeId)>,
    /// Members that take part. Invariant: the number of entries with `is_present`.
    present: usize,
    /// How each entry touched since the last `take_events` looked before.
    touched: BTreeMap<NodeId, Option<View>>,
}

impl Table {
    pub(super) fn get(&self, id: NodeId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// Entries behind `after`, in the order of ids.
    pub(super) fn behind(&self, after: Option<NodeId>) -> impl Iterator<Item = (NodeId, &Entry)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.entries.range((after.map_or(Unbounded, Excluded), Unbounded)).map(|(id, entry)| (*id, entry))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many members take part, besides this node.
    pub(super) fn present(&self) -> usize {
        self.present
    }

    /// Merges an opinion; an unknown subject gets an entry. What is Dead or Left at first sight is a tombstone, not a member.
    pub(super) fn merge(&mut self, now: Instant, update: &Update) -> Changed {
        if !self.entries.contains_key(&update.id) {
            self.touched.entry(update.id).or_insert(None);
            self.entries.insert(update.id, Entry::new(update, now));
            self.settle(update.id, now);
            return Changed { key: true, record: update.record.is_some() };
        }
        self.change(now, update.id, |entry| {
            let changed = entry.known.merge(update.key, update.record.as_ref());
            if changed.key {
                entry.hold_since(now);
                entry.age = update.age;
                entry.unreachable = false;
                entry.verified_at = None;
            }
            if changed.record {
                entry.address_stale = false;
                entry.restarting_until = restarting_until(update.record.as_ref(), now);
            }
            changed
        })
        .unwrap_or_default()
    }

    /// Changes an entry, and keeps what is derived from it. None if there is none.
    pub(super) fn change<T>(&mut self, now: Instant, id: NodeId, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let entry = self.entries.get_mut(&id)?;
        self.touched.entry(id).or_insert_with(|| entry.view(now));
        self.present -= usize::from(entry.is_present());
        let result = change(entry);
        self.settle(id, now);
        Some(result)
    }

    /// Notes something that the application does not see and nothing is derived from.
    pub(super) fn note(&mut self, id: NodeId, note: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(&id) {
            note(entry);
        }
    }

    /// Sets the end of a suspicion or tombstone.
    pub(super) fn set_deadline(&mut self, id: NodeId, deadline: Option<Instant>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            if let Some(old) = entry.deadline.take() {
                self.deadlines.remove(&(old, id));
            }
            entry.deadline = deadline;
            self.deadlines.extend(deadline.map(|at| (at, id)));
        }
    }

    /// Forgets a tombstone.
    pub(super) fn forget(&mut self, id: NodeId) {
        self.set_deadline(id, None);
        if let Some(entry) = self.entries.remove(&id) {
            self.present -= usize::from(entry.is_present());
            self.touched.remove(&id);
        }
    }

    /// The tombstone that would be forgotten first; what makes room in a full table.
    pub(super) fn oldest_tombstone(&self) -> Option<NodeId> {
        let is_tombstone = |id: &NodeId| self.get(*id).is_some_and(|entry| entry.known.key.rank >= MemberState::Dead);
        self.deadlines.iter().map(|(_, id)| *id).find(is_tombstone)
    }

    /// The earliest end of a suspicion or tombstone.
    pub(super) fn next_deadline(&self) -> Option<(Instant, NodeId)> {
        self.deadlines.first().copied()
    }

    /// The events that tell the application what changed since the last call: at most a few per member, however much happened.
    pub(super) fn take_events(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        for (id, before) in std::mem::take(&mut self.touched) {
            let Some(entry) = self.entries.get(&id) else { continue };
            if let (Some(after), Some(member)) = (entry.view(now), entry.member(id, now)) {
                events.extend(tell(before.as_ref(), &after).into_iter().map(|event| event(member.clone())));
            }
        }
        events
    }

    /// Derives visibility and the count of the present.
    fn settle(&mut self, id: NodeId, now: Instant) {
        let before = self.touched.get(&id).cloned().flatten();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let here = entry.known.record.is_some() && matches!(entry.state(), MemberState::Alive | MemberState::Suspect);
        if here && (!entry.visible || before.is_some_and(|view| view.state >= MemberState::Dead)) {
            entry.visible = true;
            entry.joined_at = now;
            entry.last_seen = now;
        }
        self.present += usize::from(entry.is_present());
    }

    /// What must always hold; the first breach in words.
    pub(super) fn check(&self) -> Result<(), String> {
        let present = self.entries.values().filter(|entry| entry.is_present()).count();
        if present != self.present {
            return Err(format!("{present} members take part, {} are counted", self.present));
        }
        let deadlines: BTreeSet<_> = self.iter().filter_map(|(id, entry)| Some((entry.deadline?, id))).collect();
        if deadlines != self.deadlines {
            return Err("the deadlines are not those of the entries".into());
        }
        for (id, Entry { known: Known { key, record }, deadline, unreachable, visible, .. }) in self.iter() {
            if key.left != (key.rank == MemberState::Left) {
                return Err(format!("{id} has left by half"));
            }
            if record.as_ref().is_some_and(|record| record.generation > key.generation) {
                return Err(format!("the record of {id} comes from a start that nobody has heard of"));
            }
            if deadline.is_some() != (key.rank != MemberState::Alive && !*unreachable) {
                return Err(format!("{id} is {:?} with the deadline {deadline:?}", key.rank));
            }
            if *visible && record.is_none() {
                return Err(format!("{id} is a member without a record"));
            }
        }
        Ok(())
    }
}

impl Entry {
    fn new(update: &Update, now: Instant) -> Self {
        Entry {
            known: Known { key: update.key, record: update.record.clone() },
            visible: false,
            unreachable: false,
            address_stale: false,
            joined_at: now,
            last_seen: now,
            since: now,
            silence: Duration::ZERO,
            age: update.age,
            deadline: None,
            restarting_until: restarting_until(update.record.as_ref(), now),
            verified_at: None,
            allowance: Allowance::new(now),
        }
    }

    /// The opinion, to be told to others. Who is told of a suspicion is told of the announced restart that excuses it.
    pub(super) fn update(&self, id: NodeId, with_record: bool, now: Instant) -> Update {
        let Known { key, record } = &self.known;
        let remaining = self.restarting_until.map(|until| until.since(now)).filter(|remaining| !remaining.is_zero());
        let is_excused = key.rank == MemberState::Suspect && remaining.is_some();
        let record = record.as_ref().filter(|_| with_record || is_excused || key.rank == MemberState::Alive);
        let age = if is_tombstone(*key) { self.age + now.since(self.since) } else { Duration::ZERO };
        Update { id, key: *key, record: record.map(|record| Record { restarting: remaining, ..record.clone() }), age }
    }
}

fn is_tombstone(key: Key) -> bool {
    key.rank >= MemberState::Dead
}

fn restarting_until(record: Option<&Record>, now: Instant) -> Option<Instant> {
    record.and_then(|record| record.restarting).map(|time| now + time)
}

/// The events that lead from one view to another. Present means Alive or Suspect.
fn tell(before: Option<&View>, after: &View) -> Vec<fn(Member) -> Event> {
    let Some(before) = before else {
        return vec![Event::Joined];
    };
    let mut events: Vec<fn(Member) -> Event> = Vec::new();
    match (before.state, after.state) {
        (MemberState::Dead | MemberState::Left, MemberState::Alive | MemberState::Suspect) => {
            return vec![Event::Joined];
        }
        (MemberState::Left, MemberState::Left) => return events,
        (_, MemberState::Left) => return vec![Event::Left],
        (MemberState::Alive | MemberState::Suspect, MemberState::Dead) => return vec![Event::Failed],
        // An announced restart is no failure, and its silence no surprise.
        (MemberState::Alive, MemberState::Suspect) if !after.restarting => events.push(Event::Suspected),
        _ if before.state != after.state
            || before.generation != after.generation
            || (after.restarting && !before.restarting) =>
        {
            events.push(Event::StatusChanged);
        }
        _ => {}
    }
    if before.address != after.address {
        events.push(Event::AddressChanged);
    }
    if before.meta != after.meta {
        events.push(Event::MetaChanged);
    }
    events
}

/// Messages of one sender handled in a burst: a table of 10,000 members read page by page still passes in a few seconds.
const BURST_MAX: u32 = 512;
/// One message earned per this many microseconds (500 per second): hundreds of times what an honest sender needs when nothing is wrong.
const MESSAGE_MICROS: u128 = 2_000;
