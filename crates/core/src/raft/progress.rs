//! How far a peer is, as its leader knows it, and what may be sent to it now.
//!
//! *Probe*: where the peer's log matches is being found out, with one message per heartbeat or answer. *Replicate*: messages are
//! sent ahead of their answers, as far as the inflight window allows.

use std::collections::VecDeque;
use std::time::Duration;

use super::options::Options;
use crate::mutants::mutant;
use crate::situations::{Situation, sometimes};
use crate::{Index, Instant};

/// The leader's view of one peer.
// Invariant: match_index < next_index; the window holds what lies between them, in order, and nothing while probing.
#[derive(Debug)]
pub(super) struct Progress {
    /// The peer's log is durable and equal to the leader's up to here. Never goes back within a term.
    match_index: Index,
    /// What is sent next.
    next_index: Index,
    /// The first entry that the leader's log holds.
    floor: Index,
    mode: Mode,
    /// When the peer last answered in this term.
    contact: Instant,
    /// When the match index last rose.
    advanced: Instant,
    /// The highest round that the peer has answered.
    round: u64,
    /// The highest round, and the highest commit index, that it was sent.
    round_sent: u64,
    commit_sent: Index,
}

#[derive(Debug)]
enum Mode {
    /// `is_paused`: a probe is out; the next leaves with the next heartbeat, or when the answer moves `next_index`. `carried`:
    /// the entries that it took along, which need not be sent again if it fits.
    Probe {
        is_paused: bool,
        carried: Option<Inflight>,
    },
    Replicate(Inflights),
}

/// Messages that were sent and not acknowledged, oldest first.
#[derive(Debug, Default)]
struct Inflights {
    messages: VecDeque<Inflight>,
    bytes: usize,
}

#[derive(Debug)]
struct Inflight {
    last: Index,
    bytes: usize,
    sent: Instant,
}

/// What may be sent to a peer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// Nothing.
    Nothing,
    /// One message, without waiting for entries that are not at hand.
    Probe,
    /// Entries, if there are any.
    Entries,
}

impl Progress {
    /// Of a peer about which nothing is known: the first probe is at the end of the leader's log.
    pub(super) fn new(next_index: Index, floor: Index, now: Instant) -> Self {
        Progress {
            match_index: Index(0),
            next_index,
            floor,
            mode: Mode::Probe { is_paused: false, carried: None },
            contact: now,
            advanced: now,
            round: 0,
            round_sent: 0,
            commit_sent: Index(0),
        }
    }

    pub(super) fn match_index(&self) -> Index {
        self.match_index
    }

    pub(super) fn next_index(&self) -> Index {
        self.next_index
    }

    pub(super) fn contact(&self) -> Instant {
        self.contact
    }

    pub(super) fn round(&self) -> u64 {
        self.round
    }

    pub(super) fn is_replicating(&self) -> bool {
        matches!(self.mode, Mode::Replicate(_))
    }

    /// What may be sent now.
    pub(super) fn allowance(&self, options: &Options) -> Allowance {
        match &self.mode {
            Mode::Probe { is_paused: true, .. } => Allowance::Nothing,
            Mode::Probe { is_paused: false, .. } => Allowance::Probe,
            Mode::Replicate(window) if window.is_full(options) => Allowance::Nothing,
            Mode::Replicate(_) => Allowance::Entries,
        }
    }

    /// Whether the peer has not been told of this round, or of a commit index that what it was sent covers.
    pub(super) fn lacks_news(&self, round: u64, commit: Index) -> bool {
        self.round_sent < round || (self.is_replicating() && self.commit_sent < commit.min(self.covered()))
    }

    /// Up to here the peer has, or was sent, what the leader holds: the commit index that a message to it may state.
    pub(super) fn covered(&self) -> Index {
        if self.is_replicating() { self.next_index.prev() } else { self.match_index }
    }

    /// A message left, with entries up to `last` if it had any.
    pub(super) fn sent(&mut self, last: Option<Index>, bytes: usize, round: u64, commit: Index, now: Instant) {
        self.round_sent = self.round_sent.max(round);
        self.commit_sent = self.commit_sent.max(commit);
        let Some(last) = last else { return };
        let message = Inflight { last, bytes, sent: now };
        match &mut self.mode {
            Mode::Probe { carried, .. } => *carried = Some(message),
            Mode::Replicate(window) => {
                window.push(message);
                self.next_index = last.next();
            }
        }
    }

    /// What left was a probe.
    pub(super) fn pause(&mut self) {
        if let Mode::Probe { is_paused, .. } = &mut self.mode {
            *is_paused = true;
        }
    }

    /// A heartbeat is due: a probe may be repeated, and a window that got no answer for too long is taken for lost.
    pub(super) fn on_heartbeat(&mut self, now: Instant, patience: Duration) {
        match &mut self.mode {
            Mode::Probe { is_paused, .. } => *is_paused = false,
            Mode::Replicate(window) => {
                let oldest = window.messages.front().map(|message| message.sent.max(self.advanced));
                if oldest.is_some_and(|since| now - since >= patience) {
                    sometimes(Situation::WindowTakenForLost);
                    self.probe();
                }
            }
        }
    }

    /// What was sent may be lost: starts again behind what is known to have arrived.
    pub(super) fn probe(&mut self) {
        self.next_index = self.match_index.next().max(self.floor);
        self.mode = Mode::Probe { is_paused: false, carried: None };
        self.commit_sent = Index(0);
    }

    /// The peer answered in this term.
    pub(super) fn on_answer(&mut self, now: Instant, round: u64) {
        self.contact = self.contact.max(now);
        self.round = self.round.max(round);
    }

    /// The peer's log matches up to `index`.
    pub(super) fn advance(&mut self, index: Index, now: Instant) {
        if index > self.match_index {
            self.match_index = index;
            self.advanced = now;
        }
        match &mut self.mode {
            Mode::Replicate(window) => window.acknowledge(index),
            // The peer holds the entry before the probe, so the probe was not refused.
            Mode::Probe { carried, .. } if self.match_index >= self.next_index.prev() => {
                let mut window = Inflights::default();
                if let Some(message) = carried.take_if(|message| message.last > self.match_index) {
                    self.next_index = message.last.next();
                    window.push(message);
                }
                self.mode = Mode::Replicate(window);
            }
            Mode::Probe { .. } => {}
        }
        self.next_index = self.next_index.max(self.match_index.next());
    }

    /// The peer refused a message whose `prev` was at `rejected`; `candidate` is where its hint says to try next. Returns false
    /// if the refusal is a late one and tells nothing.
    pub(super) fn back_off(&mut self, rejected: Index, candidate: Index) -> bool {
        let is_late = match self.mode {
            Mode::Probe { .. } => rejected != self.next_index.prev(),
            Mode::Replicate(_) => rejected >= self.next_index,
        };
        // A peer that lacks what stands before the log needs a snapshot, not an earlier entry.
        let lowest = if mutant!(LateRefusalBelieved) { self.floor } else { self.match_index.next().max(self.floor) };
        if is_late || rejected < lowest {
            return false;
        }
        let next_index = candidate.clamp(lowest, rejected);
        // A refusal that moves nothing must not be answered at once, or the two would talk at the speed of the network.
        let is_paused = matches!(self.mode, Mode::Probe { .. }) && next_index == self.next_index;
        self.next_index = next_index;
        self.mode = Mode::Probe { is_paused, carried: None };
        self.commit_sent = Index(0);
        true
    }

    /// What the struct's invariant says, with the end of the leader's log.
    pub(super) fn is_consistent(&self, last: Index) -> bool {
        let is_ordered = self.match_index < self.next_index && self.next_index <= last.next();
        is_ordered
            && match &self.mode {
                Mode::Probe { .. } => true,
                Mode::Replicate(window) => {
                    let ends = || window.messages.iter().map(|message| message.last);
                    ends().next().is_none_or(|oldest| oldest > self.match_index)
                        && ends().next_back().map_or(self.match_index, |newest| newest) == self.next_index.prev()
                        && window.bytes == window.messages.iter().map(|message| message.bytes).sum::<usize>()
                }
            }
    }
}

impl Inflights {
    fn is_full(&self, options: &Options) -> bool {
        self.messages.len() >= options.inflight_messages_max || self.bytes >= options.inflight_bytes_max
    }

    fn push(&mut self, message: Inflight) {
        self.bytes += message.bytes;
        self.messages.push_back(message);
    }

    fn acknowledge(&mut self, index: Index) {
        while let Some(oldest) = self.messages.front()
            && oldest.last <= index
        {
            self.bytes -= oldest.bytes;
            self.messages.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// A peer that matches up to 10, with 11..=13 and 14..=16 in flight.
    fn replicating() -> Progress {
        let mut progress = Progress::new(Index(11), Index(1), at(0));
        progress.advance(Index(10), at(0));
        progress.sent(Some(Index(13)), 100, 1, Index(10), at(1));
        progress.sent(Some(Index(16)), 100, 1, Index(10), at(2));
        progress
    }

    #[test]
    fn a_probe_is_sent_once_until_a_heartbeat_or_an_answer() {
        let options = Options::lan();
        let mut progress = Progress::new(Index(11), Index(1), at(0));
        assert_eq!(progress.allowance(&options), Allowance::Probe);
        progress.pause();
        assert_eq!(progress.allowance(&options), Allowance::Nothing);
        progress.on_heartbeat(at(50), Duration::from_millis(200));
        assert_eq!(progress.allowance(&options), Allowance::Probe);
        progress.advance(Index(10), at(51));
        assert_eq!(progress.allowance(&options), Allowance::Entries);
        assert!(progress.is_consistent(Index(10)));
    }

    #[test]
    fn what_a_probe_carried_is_not_sent_again() {
        let mut progress = Progress::new(Index(11), Index(1), at(0));
        progress.sent(Some(Index(14)), 100, 1, Index(10), at(0));
        progress.pause();
        progress.advance(Index(10), at(1));
        assert_eq!((progress.is_replicating(), progress.next_index()), (true, Index(15)));
        assert!(progress.is_consistent(Index(14)));
        progress.advance(Index(14), at(2));
        assert!(progress.is_consistent(Index(14)));
    }

    #[test]
    fn the_window_is_bounded_by_messages_and_by_bytes() {
        let progress = replicating();
        let allowance = |messages, bytes| {
            let options = Options { inflight_messages_max: messages, inflight_bytes_max: bytes, ..Options::lan() };
            progress.allowance(&options)
        };
        assert_eq!(allowance(3, 201), Allowance::Entries);
        assert_eq!(allowance(2, 201), Allowance::Nothing);
        assert_eq!(allowance(3, 200), Allowance::Nothing);
    }

    #[test]
    fn acknowledgements_open_the_window_and_never_go_back() {
        let mut progress = replicating();
        progress.advance(Index(13), at(5));
        assert!(progress.is_consistent(Index(16)));
        progress.advance(Index(11), at(6));
        assert_eq!((progress.match_index(), progress.next_index()), (Index(13), Index(17)));
        progress.advance(Index(16), at(7));
        assert!(progress.is_consistent(Index(16)));
    }

    #[test]
    fn late_refusals_change_nothing() {
        let mut progress = replicating();
        // Before what is known to match, and beyond what was ever sent.
        assert!(!progress.back_off(Index(10), Index(3)));
        assert!(!progress.back_off(Index(40), Index(3)));
        assert!(progress.is_replicating());
        // A gap in the window: the peer ends at 12.
        assert!(progress.back_off(Index(13), Index(13)));
        assert_eq!((progress.is_replicating(), progress.next_index()), (false, Index(13)));
        // The second refusal of the same gap is not about this probe.
        assert!(!progress.back_off(Index(16), Index(13)));
        assert!(progress.is_consistent(Index(16)));
    }

    #[test]
    fn a_refusal_that_moves_nothing_waits_for_the_heartbeat() {
        let mut progress = Progress::new(Index(2), Index(1), at(0));
        progress.pause();
        assert!(progress.back_off(Index(1), Index(9)));
        assert_eq!(progress.allowance(&Options::lan()), Allowance::Probe);
        progress.pause();
        assert!(!progress.back_off(Index(1), Index(1)));
        assert_eq!(progress.allowance(&Options::lan()), Allowance::Nothing);
    }

    #[test]
    fn a_silent_window_is_given_up() {
        let patience = Duration::from_millis(200);
        let mut progress = replicating();
        progress.on_heartbeat(at(150), patience);
        assert!(progress.is_replicating());
        progress.advance(Index(13), at(160));
        progress.on_heartbeat(at(350), patience);
        assert!(progress.is_replicating());
        progress.on_heartbeat(at(360), patience);
        assert_eq!((progress.is_replicating(), progress.next_index()), (false, Index(14)));
        assert!(progress.is_consistent(Index(16)));
    }
}
