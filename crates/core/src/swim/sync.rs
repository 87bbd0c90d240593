//! Sync: how a node gets to know everybody at once, and how what was torn apart grows together again.
//!
//! The asker reads the member table of another page by page, one datagram per request, in the order of ids. A lost page is asked for again; a page
//! that comes twice changes nothing. Joining is a sync with a seed. Afterwards a sync with a random member now and then finds what dissemination has
//! missed, and one with a dead member or with a seed that is not a member heals partitions: for ever, for nobody else would do it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::dissemination::Lanes;
use super::{Body, Event, MemberState, Message, Seq, Swim, Update, is_usable};
use crate::mutants::mutant;
use crate::{Instant, NodeId};

/// The reading of one table.
#[derive(Debug)]
struct Exchange {
    to: SocketAddr,
    /// Who is expected to answer, where known.
    member: Option<NodeId>,
    /// The last id read.
    after: Option<NodeId>,
    /// This node was alone when it began: everybody else knows already what it learns, so it need not spread it.
    is_join: bool,
    /// Tries left to get the present page.
    tries: u32,
    deadline: Instant,
}

/// What syncing remembers.
#[derive(Debug)]
pub(super) struct Sync {
    exchanges: BTreeMap<Seq, Exchange>,
    seeds: Vec<SocketAddr>,
    /// Addresses at which this node has met itself.
    own_addresses: BTreeSet<SocketAddr>,
    /// Pings that answer an announcement.
    introductions: BTreeMap<SocketAddr, (Seq, Instant)>,
    reconnect_at: Instant,
    /// The wait before the next try, while alone: doubled each time.
    join_wait: Duration,
    sync_at: Instant,
    /// The mean wait before the next sync: short while syncs bring news, then doubled until `sync_interval`.
    sync_wait: Duration,
    has_warned: bool,
}

impl Sync {
    pub(super) fn new(now: Instant, join_wait: Duration, sync_in: Duration) -> Self {
        Sync {
            exchanges: BTreeMap::new(),
            seeds: Vec::new(),
            own_addresses: BTreeSet::new(),
            introductions: BTreeMap::new(),
            reconnect_at: now + join_wait,
            join_wait,
            sync_at: now + sync_in,
            sync_wait: sync_in,
            has_warned: false,
        }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Instant {
        let exchange = self.exchanges.values().map(|exchange| exchange.deadline).min();
        exchange.into_iter().fold(self.reconnect_at.min(self.sync_at), Instant::min)
    }
}

impl Swim {
    /// What the clock brings: unanswered requests, the next try to reconnect, the next sync.
    pub(super) fn on_sync_timeout(&mut self) {
        let now = self.now;
        let late: Vec<Seq> =
            self.sync.exchanges.iter().filter(|(_, exchange)| exchange.deadline <= now).map(|(seq, _)| *seq).collect();
        for seq in late {
            if let Some(exchange) = self.sync.exchanges.remove(&seq)
                && exchange.tries > 1
            {
                self.request_page(Exchange { tries: exchange.tries - 1, ..exchange });
            }
        }
        if self.sync.reconnect_at <= now {
            self.reconnect();
        }
        if self.sync.sync_at <= now {
            self.sync.sync_wait = (self.sync.sync_wait * 2).min(self.options.sync_interval);
            self.sync.sync_at = now + self.jittered(self.sync.sync_wait);
            self.outputs.push_back(super::Output::Discover);
            let partner = self.rng.pick(self.probe.order.members()).copied();
            if let Some((id, to)) = partner.and_then(|id| Some((id, self.table.get(id)?.address()?))) {
                self.start_sync(to, Some(id));
            }
        }
    }

    /// Tries to find those who should be there and are not.
    fn reconnect(&mut self) {
        let is_alone = self.table.present() == 0;
        let wait = if is_alone { self.sync.join_wait } else { self.options.reconnect_interval };
        self.sync.join_wait = (wait * 2).min(self.options.reconnect_interval);
        self.sync.reconnect_at = self.now + self.jittered(wait);
        if is_alone {
            self.outputs.push_back(super::Output::Discover);
        }
        self.ask_seeds(self.sync.seeds.clone());

        let present = self.present_addresses();
        let is_lost = |entry: &super::table::Entry| entry.visible && entry.state() == MemberState::Dead;
        let lost: Vec<(NodeId, SocketAddr)> = self
            .table
            .iter()
            .filter(|(_, entry)| is_lost(entry))
            .filter_map(|(id, entry)| Some((id, entry.address()?)))
            .filter(|(_, address)| !present.contains(address))
            .collect();
        if let Some((id, to)) = self.rng.pick(&lost).copied().filter(|_| !mutant!(LostNeverAsked)) {
            self.start_sync(to, Some(id));
        }
    }

    /// Discovery found addresses.
    pub(super) fn on_discovered(&mut self, found: Vec<SocketAddr>) {
        let mut seeds: Vec<SocketAddr> = Vec::new();
        for address in found {
            if is_usable(address) && !seeds.contains(&address) && seeds.len() < SEEDS_MAX {
                seeds.push(address);
            }
        }
        let new: Vec<SocketAddr> = seeds.iter().filter(|seed| !self.sync.seeds.contains(seed)).copied().collect();
        // A source that fails for a moment must not make the node forget whom it could ask.
        if !seeds.is_empty() {
            self.sync.seeds = seeds;
        }
        self.ask_seeds(new);
    }

    /// Asks a few of these addresses that are not known to be a member's: all at once would be a herd.
    fn ask_seeds(&mut self, mut seeds: Vec<SocketAddr>) {
        let present = self.present_addresses();
        seeds.retain(|seed| !present.contains(seed) && !self.sync.own_addresses.contains(seed));
        self.rng.shuffle(&mut seeds);
        for to in seeds.into_iter().take(SEEDS_ASKED_MAX) {
            self.start_sync(to, None);
        }
    }

    /// Somebody announced itself by multicast. A ping finds out whether it is true; an address that is a member's needs none.
    pub(super) fn on_announced(&mut self, address: SocketAddr) {
        let now = self.now;
        let pause = self.options.probe_interval;
        self.sync.introductions.retain(|_, (_, sent_at)| now.since(*sent_at) < pause);
        let is_known = self.sync.own_addresses.contains(&address) || self.present_addresses().contains(&address);
        let is_busy = self.sync.introductions.len() >= INTRODUCTIONS_MAX;
        if !is_usable(address) || is_known || is_busy || self.sync.introductions.contains_key(&address) {
            return;
        }
        let seq = self.next_seq();
        self.sync.introductions.insert(address, (seq, now));
        self.send(address, Body::Ping { seq, target: None }, Lanes { introduce: true, ..Lanes::default() });
    }

    /// The announced one answered.
    pub(super) fn on_introduced(&mut self, from: SocketAddr, sender: NodeId, seq: Seq) {
        let before = self.sync.introductions.len();
        self.sync.introductions.retain(|_, (asked, _)| *asked != seq);
        if self.sync.introductions.len() < before {
            self.start_sync(from, Some(sender));
        }
    }

    /// Something that this node sent came back to it: the address is its own.
    pub(super) fn on_echo(&mut self, message: &Message) {
        let own = match message.body {
            Body::SyncRequest { seq, .. } => self.sync.exchanges.remove(&seq).map(|exchange| exchange.to),
            Body::Ping { seq, target: None } => {
                let mut introductions = self.sync.introductions.iter();
                introductions.find(|(_, (asked, _))| *asked == seq).map(|(address, _)| *address)
            }
            _ => None,
        };
        if let Some(address) = own.filter(|_| self.sync.own_addresses.len() < SEEDS_MAX) {
            self.sync.own_addresses.insert(address);
        }
    }

    /// Begins to read the table of whoever listens at `to`.
    pub(super) fn start_sync(&mut self, to: SocketAddr, member: Option<NodeId>) {
        let is_under_way = self.sync.exchanges.values().any(|exchange| exchange.to == to);
        if is_under_way || self.sync.exchanges.len() >= EXCHANGES_MAX {
            return;
        }
        let is_join = self.table.present() == 0;
        // The first page is not asked for again: whoever wanted the sync will want it again soon.
        self.request_page(Exchange { to, member, after: None, is_join, tries: 1, deadline: self.now });
    }

    fn request_page(&mut self, exchange: Exchange) {
        let seq = self.next_seq();
        let (to, after, member) = (exchange.to, exchange.after, exchange.member);
        let patience = self.rng.duration(self.options.probe_timeout, self.options.probe_timeout * 2);
        self.sync.exchanges.insert(seq, Exchange { deadline: self.now + patience, ..exchange });
        self.send(to, Body::SyncRequest { seq, after }, Lanes { to: member, introduce: true, ..Lanes::default() });
    }

    /// One page of this node's table, in the order of ids. The first page says who this node is.
    pub(super) fn on_sync_request(&mut self, from: SocketAddr, seq: Seq, after: Option<NodeId>, asker: Lanes) {
        let body = |next| Body::SyncResponse { seq, next, observed: from };
        let mut message = Message { body: body(None), updates: Vec::new() };
        let head = (self.sizer.head)(&body(Some(self.own.id)));
        let mut left = self.options.datagram_bytes_max.saturating_sub(head);
        if after.is_none() {
            let own = self.own.update(self.now);
            self.add(&mut message, &mut left, own);
        }
        let asker_entry = asker.to.and_then(|id| Some((id, self.table.get(id)?)));
        if let Some((id, entry)) = asker_entry
            && (asker.correct || entry.known.key.rank != MemberState::Alive)
        {
            let about_asker = Update { record: None, ..entry.update(id, false, self.now) };
            self.add(&mut message, &mut left, about_asker);
        }
        // Even where the first page has room for nobody else, the next request must not look like the first.
        let mut read = after.unwrap_or(NodeId(0));
        for (id, entry) in self.table.behind(after) {
            if Some(id) != asker.to {
                let with_record = entry.known.key.rank != MemberState::Left;
                if !self.add(&mut message, &mut left, entry.update(id, with_record, self.now)) {
                    message.body = body(Some(read));
                    break;
                }
            }
            read = id;
        }
        self.outputs.push_back(super::Output::Send { to: from, message });
    }

    /// A page arrived; an unasked one was dropped before.
    pub(super) fn on_sync_response(&mut self, seq: Seq, next: Option<NodeId>, observed: SocketAddr, page: &[Update]) {
        let Some(exchange) = self.sync.exchanges.remove(&seq) else { return };
        let mut has_news = false;
        for update in page {
            has_news |= self.learn_from_page(update, !exchange.is_join);
        }
        if has_news {
            // Where one page brought news there may be more, above all while many join at once: what came while the pages were read stood
            // perhaps on none of them.
            self.sync.sync_wait = self.options.reconnect_interval.min(self.options.sync_interval);
            self.sync.sync_at = self.sync.sync_at.min(self.now + self.jittered(self.sync.sync_wait));
        }
        self.compare_observed(observed);
        // Ids that do not grow would lead in a circle.
        if let Some(next) = next.filter(|next| exchange.after.is_none_or(|after| *next > after)) {
            self.request_page(Exchange { after: Some(next), tries: PAGE_TRIES_MAX, ..exchange });
        }
    }

    /// Whether `seq` names a request that waits for its page.
    pub(super) fn expects_page(&self, seq: Seq) -> bool {
        self.sync.exchanges.contains_key(&seq)
    }

    /// A table may be out of date by as much as its owner was cut off. Where one accuses or has given up and the other has not, neither is believed:
    /// the subject is asked, hears the accusation, and refutes it if it lives. If it does not, the next probe finds out. Whether it was news.
    fn learn_from_page(&mut self, update: &Update, spread: bool) -> bool {
        let told = update.key;
        if let Some(entry) = self.table.get(update.id) {
            let held = entry.known.key;
            let accuses = matches!(told.rank, MemberState::Suspect | MemberState::Dead) && told.rank != held.rank;
            let is_accused = accuses && told > held && entry.is_present();
            let is_given_up = entry.state() == MemberState::Dead && held > told && told.rank < MemberState::Dead;
            if is_accused || is_given_up {
                self.verify(update);
                return false;
            }
        }
        self.learn_and(update, spread)
    }

    fn verify(&mut self, update: &Update) {
        let Update { id, key: told, .. } = *update;
        let Some(entry) = self.table.get(id) else { return };
        let now = self.now;
        if entry.verified_at.is_some_and(|at| now.since(at) < self.options.probe_interval) {
            return;
        }
        let held = entry.known.key;
        let Some(to) = update.record.as_ref().map(|record| record.address).or(entry.address()) else { return };
        let urgent = (told > held).then(|| Update { record: None, ..update.clone() }).into_iter().collect();
        self.table.note(id, |entry| entry.verified_at = Some(now));
        self.probe.order.prefer(id);
        let target = Some((id, held.generation.max(told.generation)));
        let seq = self.next_seq();
        self.send(to, Body::Ping { seq, target }, Lanes { to: Some(id), introduce: true, urgent, ..Lanes::default() });
    }

    /// Others see this node elsewhere than it says. Nobody adopts what was observed (rule 34); a person is told, once.
    fn compare_observed(&mut self, observed: SocketAddr) {
        let advertised = self.own.record.address;
        if observed == advertised || self.sync.has_warned {
            return;
        }
        self.sync.has_warned = true;
        self.outputs.push_back(super::Output::Event(Event::Warning(format!(
            "a member sees this node at {observed}, but it advertises {advertised}; if others cannot reach that, set `advertise`"
        ))));
    }

    fn present_addresses(&self) -> BTreeSet<SocketAddr> {
        let present = self.table.iter().filter(|(_, entry)| entry.is_present());
        present.filter_map(|(_, entry)| entry.address()).chain([self.own.record.address]).collect()
    }

    /// Within 50 % of `mean`, so that nodes started together do not act together.
    fn jittered(&mut self, mean: Duration) -> Duration {
        self.rng.duration(mean / 2, mean * 3 / 2)
    }
}

/// Tables read at the same time: one per seed asked, and a few for what happens meanwhile.
const EXCHANGES_MAX: usize = 8;
/// How often one page is asked for before the sync is given up.
const PAGE_TRIES_MAX: u32 = 4;
/// Seeds kept. More than a discovery source has any reason to name.
const SEEDS_MAX: usize = 64;
/// Seeds asked at a time.
const SEEDS_ASKED_MAX: usize = 4;
/// Announced addresses pinged at a time: a flood of announcements must not become a flood of pings.
const INTRODUCTIONS_MAX: usize = 16;
