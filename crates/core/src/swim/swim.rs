//! The failure detector and the member table as one value: what goes in, what comes out, and who handles it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::dissemination::{Lanes, Queue};
use super::goodbye::Goodbye;
use super::probe::Probe;
use super::sync::Sync;
use super::table::{Allowance, Entry, Table};
use super::{Body, Incarnation, Key, Member, MemberState, Message, Meta, Options, Record, Seq, Update};
use crate::mutants::mutant;
use crate::random::Random;
use crate::{Generation, Instant, NodeId};

/// This node, as it introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Identity.
    pub id: NodeId,
    /// Human name.
    pub name: String,
    /// Where others reach it.
    pub address: SocketAddr,
    /// The number of its process start.
    pub generation: Generation,
    /// What it advertises.
    pub meta: Meta,
}

/// How many bytes a datagram takes. Given from outside, because SWIM knows no encoding. The sum of the head and of each update must be an upper
/// bound of the datagram's length.
#[derive(Clone, Copy, Debug)]
pub struct Sizer {
    /// Bytes of a datagram with this body and no updates, the envelope included.
    pub head: fn(&Body) -> usize,
    /// Bytes that one update adds.
    pub update: fn(&Update) -> usize,
}

/// Everything that can happen to SWIM.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline of `poll_timeout` has passed, and everything that had arrived before was handled.
    Timeout,
    /// A datagram arrived and was decoded.
    Message {
        /// Its source, to which an answer goes; never remembered as anybody's address.
        from: SocketAddr,
        /// Who says to have sent it.
        sender: NodeId,
        /// Which process start of the sender.
        generation: Generation,
        /// What it says.
        message: Message,
    },
    /// The answer to [`Output::Discover`]. Own addresses are harmless.
    Discovered(Vec<SocketAddr>),
    /// Somebody announced itself by multicast; it gets one rate-limited ping and nothing else (rule 34).
    Announced(SocketAddr),
    /// How late the event loop was: deadlines move by as much, for the answers may lie unread.
    Lateness(Duration),
    /// This node advertises something else.
    SetMeta(Meta),
    /// This node stops and will be back within this time (at most 10 min). Ends with [`Output::GoodbyeAcknowledged`].
    Restarting {
        /// How long it will take.
        for_: Duration,
    },
    /// This node leaves for good. Ends with [`Output::GoodbyeAcknowledged`].
    Leave,
}

/// Everything that SWIM wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram.
    Send {
        /// To whom.
        to: SocketAddr,
        /// What.
        message: Message,
    },
    /// Ask every discovery source; answer with [`Input::Discovered`].
    Discover,
    /// Something that the application may want to know.
    Event(Event),
    /// Enough peers know that this node leaves or restarts, or the wait for them is over.
    GoodbyeAcknowledged,
}

/// Something that happened to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member appeared, or came back from the dead.
    Joined(Member),
    /// A member said good-bye.
    Left(Member),
    /// A member is taken for dead.
    Failed(Member),
    /// A member does not answer.
    Suspected(Member),
    /// A member is back from suspicion, or announced a restart, or restarted.
    StatusChanged(Member),
    /// A member is reached elsewhere.
    AddressChanged(Member),
    /// A member advertises something else.
    MetaChanged(Member),
    /// A warning for the log, in plain words.
    Warning(String),
}

/// What this node says about itself.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) id: NodeId,
    /// Alive or Left.
    pub(super) key: Key,
    /// Invariant: of the key's generation.
    pub(super) record: Record,
    pub(super) restarting_until: Option<Instant>,
    pub(super) left_at: Option<Instant>,
    /// When a refutation was last sent out of turn.
    pub(super) refuted_at: Option<Instant>,
    joined_at: Instant,
}

impl Own {
    /// The opinion that counts.
    pub(super) fn update(&self, now: Instant) -> Update {
        let restarting = self.restarting_until.map(|until| until.since(now)).filter(|remaining| !remaining.is_zero());
        let record = Record { restarting, ..self.record.clone() };
        let age = self.left_at.map_or(Duration::ZERO, |at| now.since(at));
        Update { id: self.id, key: self.key, record: Some(record), age }
    }

    fn member(&self, now: Instant) -> Member {
        Member {
            id: self.id,
            generation: self.key.generation,
            name: self.record.name.clone(),
            address: self.record.address,
            meta: self.record.meta.clone(),
            state: self.key.rank,
            restarting: self.restarting_until.is_some_and(|until| until > now),
            joined_at: self.joined_at,
            last_seen: now,
        }
    }
}

/// One node's SWIM.
#[derive(Debug)]
pub struct Swim {
    pub(super) options: Options,
    pub(super) sizer: Sizer,
    pub(super) rng: Random,
    /// The time of the last input.
    pub(super) now: Instant,
    pub(super) own: Own,
    pub(super) table: Table,
    pub(super) queue: Queue,
    pub(super) probe: Probe,
    pub(super) sync: Sync,
    pub(super) goodbye: Option<Goodbye>,
    /// What all senders that are not in the table share.
    strangers: Allowance,
    /// When somebody last answered something that this node had asked, or this node started.
    pub(super) answered_at: Instant,
    refused: u64,
    pub(super) outputs: VecDeque<Output>,
}

impl Swim {
    /// A node that knows nobody yet. It asks for discovery at once.
    pub fn new(options: Options, local: Local, sizer: Sizer, rng_seed: u64, now: Instant) -> Self {
        let Local { id, name, address, generation, meta } = local;
        let generation = if mutant!(GenerationRepeated) { Generation(1) } else { generation };
        let mut rng = Random::new(rng_seed);
        let mut queue = Queue::default();
        queue.push(id, true);
        let sync_in = rng.duration(options.sync_interval / 2, options.sync_interval * 3 / 2);
        let join_wait = rng.duration(options.join_interval / 2, options.join_interval);
        Swim {
            sizer,
            rng,
            now,
            own: Own {
                id,
                key: Key::alive(generation, Incarnation(0)),
                record: Record { generation, version: 0, name, address, meta, restarting: None },
                restarting_until: None,
                left_at: None,
                refuted_at: None,
                joined_at: now,
            },
            table: Table::default(),
            queue,
            probe: Probe::default(),
            sync: Sync::new(now, join_wait, sync_in),
            goodbye: None,
            strangers: Allowance::new(now),
            answered_at: now,
            refused: 0,
            outputs: VecDeque::from([Output::Discover]),
            options,
        }
    }

    /// Handles one input; several may follow each other before outputs are polled.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Timeout => self.on_timeout(),
            Input::Message { from, sender, generation, message } => self.on_message(from, sender, generation, message),
            Input::Discovered(addresses) => self.on_discovered(addresses),
            Input::Announced(address) => self.on_announced(address),
            Input::Lateness(lateness) => self.on_lateness(lateness),
            Input::SetMeta(meta) => self.on_set_meta(meta),
            Input::Restarting { for_ } => self.on_restarting(for_),
            Input::Leave => self.on_leave(),
        }
        let events = self.table.take_events(self.now);
        self.outputs.extend(events.into_iter().map(Output::Event));
    }

    /// The next thing to do. Drain before sleeping.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `Timeout` is due. None once the node has left.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let goodbye = self.goodbye.as_ref().map(Goodbye::deadline);
        if self.own.key.left {
            return goodbye;
        }
        let deadline = self.table.next_deadline().map(|(at, _)| at);
        [goodbye, deadline, self.probe.deadline(), Some(self.sync.deadline())].into_iter().flatten().min()
    }

    /// The generation that this node goes by: it stands in the envelope of every datagram. It exceeds the one given at the start if members
    /// remember a higher one.
    pub fn generation(&self) -> Generation {
        self.own.key.generation
    }

    /// Everybody known, self included, in the order of ids; the dead and the departed as long as they are remembered.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        let member = |(id, entry): (NodeId, &Entry)| entry.member(id, self.now);
        let before = self.table.iter().take_while(|(id, _)| *id < self.own.id);
        let behind = self.table.behind(Some(self.own.id));
        before.filter_map(member).chain([self.own.member(self.now)]).chain(behind.filter_map(member))
    }

    /// One member.
    pub fn member(&self, id: NodeId) -> Option<Member> {
        if id == self.own.id {
            return Some(self.own.member(self.now));
        }
        self.table.get(id)?.member(id, self.now)
    }

    /// Messages refused since the start because their sender sent too many, or because they came from this node itself.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn on_timeout(&mut self) {
        // A verdict that falls late was perhaps held up together with the answers. The host says so where it measures its lateness; then the
        // deadline has moved already, and this finds nothing.
        let lateness = self.probe.lateness(self.now);
        if lateness > self.options.probe_timeout / 2 {
            self.delay_probe(lateness);
        }
        if !self.own.key.left {
            while let Some((_, id)) = self.table.next_deadline().filter(|(at, _)| *at <= self.now) {
                self.on_deadline(id);
            }
            self.on_probe_timeout();
            self.on_sync_timeout();
        }
        self.on_goodbye_timeout();
    }

    /// The end of a suspicion or of a tombstone.
    fn on_deadline(&mut self, id: NodeId) {
        if self.is_suspect(id) {
            self.on_suspicion_timeout(id);
        } else {
            self.queue.remove_member(id);
            self.table.forget(id);
        }
    }

    fn on_message(&mut self, from: SocketAddr, sender: NodeId, generation: Generation, message: Message) {
        if sender == self.own.id {
            self.refused += 1;
            self.on_echo(&message);
            return;
        }
        if !self.allows(sender) {
            self.refused += 1;
            return;
        }
        let Message { body, updates } = message;
        // What is said comes before what is asked, so that the answer knows it already.
        match body {
            Body::SyncResponse { seq, next, observed } => {
                if !self.expects_page(seq) {
                    return;
                }
                self.on_answer();
                self.on_sync_response(seq, next, observed, &updates);
            }
            _ => updates.iter().for_each(|update| self.learn(update)),
        }
        let urgent = self.refuting(&updates);

        let known = self.table.get(sender).filter(|entry| entry.known.record.is_some());
        let known_generation = known.map(|entry| entry.known.key.generation);
        let is_stranger = known_generation.is_none_or(|known| known < generation);
        let is_outdated = known_generation.is_some_and(|known| known > generation);
        if is_stranger {
            // It takes part and has not been heard of, or has restarted. Its own word is the only one that counts.
            self.start_sync(from, Some(sender));
        } else if !is_outdated {
            let now = self.now;
            self.table.note(sender, |entry| entry.last_seen = now);
            self.on_heard(from, sender);
        }

        // Whoever accuses this node hears its word, and be it for the second time: it may be the last who has not.
        let accuses = |update: &Update| update.id == self.own.id && update.key.rank != MemberState::Alive;
        let introduce = is_stranger || updates.iter().any(accuses);
        let is_remark = matches!(body, Body::Ack { .. } | Body::PingReq { .. } | Body::Gone { .. });
        if is_remark && !is_stranger && !is_outdated && !urgent.is_empty() {
            // It gets no answer that could carry this, and what a member says may ride on such messages alone.
            let body = Body::Ping { seq: self.next_seq(), target: Some((sender, generation)) };
            self.send(from, body, Lanes { to: Some(sender), urgent: urgent.clone(), ..Lanes::default() });
        }
        let asker = Lanes { to: Some(sender), introduce, correct: is_outdated, urgent };
        match body {
            Body::Ping { seq, target } => self.on_ping(from, seq, target, asker),
            Body::SyncRequest { seq, after } => self.on_sync_request(from, seq, after, asker),
            // Only a question is answered, so that two who disagree about a number do not correct each other for ever.
            _ if is_outdated => {}
            Body::Ack { seq } => self.on_ack(from, sender, seq),
            Body::PingReq { seq, target } => self.on_ping_req(from, seq, target),
            Body::Gone { seq } => self.on_gone(sender, seq),
            Body::SyncResponse { .. } => {}
        }
    }

    /// What refutes the accusations among `updates` that are out of date, or tells of an announced restart that their sender does not know of. It
    /// may be the last who has not heard, when nobody else passes the news on any more. To be asked when all of `updates` is learned: one of them
    /// may hold what refutes another.
    fn refuting(&self, updates: &[Update]) -> Vec<Update> {
        let refuting = |update: &Update| {
            let entry = self.table.get(update.id).filter(|_| update.key.rank != MemberState::Alive)?;
            let held = entry.update(update.id, false, self.now);
            let is_excused = update.key == held.key && update.record.is_none() && held.record.is_some();
            (update.key < held.key || is_excused).then_some(held)
        };
        updates.iter().filter_map(refuting).take(REFUTING_MAX).collect()
    }

    fn on_ping(&mut self, from: SocketAddr, seq: Seq, target: Option<(NodeId, Generation)>, asker: Lanes) {
        let is_meant =
            mutant!(PingTargetIgnored) || target.is_none_or(|target| target == (self.own.id, self.own.key.generation));
        let body = if is_meant { Body::Ack { seq } } else { Body::Gone { seq } };
        let introduce = asker.introduce || !is_meant || target.is_none() || self.own.key.left;
        self.send(from, body, Lanes { introduce, ..asker });
    }

    fn on_lateness(&mut self, lateness: Duration) {
        if lateness < LATENESS_MIN {
            return;
        }
        self.delay_probe(lateness);
        // Nothing is heard by a loop that stands still.
        self.answered_at = (self.answered_at + lateness).min(self.now);
        // Suspicions run in time awake. They are long, so that they need no grace.
        let suspects: Vec<(NodeId, Instant)> = self
            .table
            .iter()
            .filter(|(id, _)| self.is_suspect(*id))
            .filter_map(|(id, e)| Some((id, e.deadline?)))
            .collect();
        for (id, deadline) in suspects {
            self.table.note(id, |entry| entry.since += lateness);
            self.table.set_deadline(id, Some(deadline + lateness));
        }
    }

    fn delay_probe(&mut self, lateness: Duration) {
        self.probe.delay(self.now, lateness, lateness.min(self.options.probe_timeout));
    }

    fn on_set_meta(&mut self, meta: Meta) {
        if meta != self.own.record.meta {
            self.own.record.meta = meta;
            self.own.record.version += 1;
            self.queue.push(self.own.id, true);
        }
    }

    /// Takes an update that is to be passed on.
    pub(super) fn learn(&mut self, update: &Update) {
        self.learn_and(update, true);
    }

    /// Takes an update and, if it is news, does what follows from it. Whether it was.
    pub(super) fn learn_and(&mut self, update: &Update, spread: bool) -> bool {
        let Update { id, key, age, .. } = *update;
        if id == self.own.id {
            self.hear_about_self(update);
            return false;
        }
        let is_tombstone = key.rank >= MemberState::Dead;
        // Everybody else forgets it now; taking it in again would keep it alive for ever.
        if is_tombstone && age >= self.options.tombstone_time {
            return false;
        }
        let is_news = self.table.get(id).is_none();
        if is_news && ((key.rank == MemberState::Alive && update.record.is_none()) || !self.has_room()) {
            return false;
        }
        let was_present = self.is_present(id);
        let changed = self.table.merge(self.now, update);
        if changed.key || changed.record {
            match self.table.get(id).map(|entry| entry.known.key.rank) {
                // Also when only a record came: it may announce a restart.
                Some(MemberState::Suspect) => self.arm_suspicion(id),
                Some(MemberState::Alive) => self.table.set_deadline(id, None),
                _ if changed.key => {
                    let remaining = self.options.tombstone_time.saturating_sub(age);
                    let remaining = if mutant!(TombstoneForgotten) { Duration::from_secs(1) } else { remaining };
                    self.table.set_deadline(id, Some(self.now + remaining));
                }
                _ => {}
            }
            if spread {
                self.queue.push(id, changed.record);
            }
        }
        self.keep_order(id, was_present);
        changed.key || changed.record
    }

    /// Changes an entry by a decision of this node alone.
    pub(super) fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Entry)) {
        let was_present = self.is_present(id);
        self.table.change(self.now, id, change);
        self.keep_order(id, was_present);
    }

    /// Those who take part are probed, and no others.
    fn keep_order(&mut self, id: NodeId, was_present: bool) {
        match (was_present, self.is_present(id)) {
            (false, true) => {
                self.probe.order.insert(id, &mut self.rng);
                self.start_probing();
            }
            (true, false) => self.probe.order.remove(id),
            _ => {}
        }
    }

    fn is_present(&self, id: NodeId) -> bool {
        self.table.get(id).is_some_and(Entry::is_present)
    }

    pub(super) fn is_suspect(&self, id: NodeId) -> bool {
        self.table.get(id).is_some_and(|entry| entry.known.key.rank == MemberState::Suspect)
    }

    /// Makes room in a full table at the cost of a tombstone. False if it is full of members.
    fn has_room(&mut self) -> bool {
        if self.table.len() + 1 < self.options.members_max {
            return true;
        }
        let Some(oldest) = self.table.oldest_tombstone() else { return false };
        self.queue.remove_member(oldest);
        self.table.forget(oldest);
        true
    }

    fn allows(&mut self, sender: NodeId) -> bool {
        let now = self.now;
        let mut allowed = None;
        self.table.note(sender, |entry| allowed = Some(entry.allowance.take(now)));
        allowed.unwrap_or_else(|| self.strangers.take(now)) || mutant!(AnswersUnlimited)
    }

    /// How many members take part, this node included.
    pub(super) fn present(&self) -> usize {
        self.table.present() + 1
    }

    pub(super) fn next_seq(&mut self) -> Seq {
        Seq(self.rng.next())
    }

    pub(super) fn send(&mut self, to: SocketAddr, body: Body, lanes: Lanes) {
        let message = self.compose(body, lanes);
        self.outputs.push_back(Output::Send { to, message });
    }
}

/// Refutations that an answer carries out of turn.
const REFUTING_MAX: usize = 4;
/// Below this an event loop is not late, only busy.
const LATENESS_MIN: Duration = Duration::from_millis(10);
