//! Sessions: each command applies at most once, however often and in whatever order its copies arrive (rules 13, 14; thesis 6.3).
//!
//! Everything here is a function of the log, so every replica forgets the same reply at the same entry.

use std::collections::BTreeMap;

use super::outcome::CommandOutcome;
use crate::mutants::mutant;
use crate::situations::{Situation, sometimes};
use crate::storage::Reply;
use crate::{CommandId, Generation, Index, NodeId, SessionId};

/// How far the numbers of a session may spread above the lowest that its owner still awaits (rule 14). It bounds the numbers
/// remembered; an owner keeps fewer in flight.
pub const WINDOW_NUMBERS: u64 = 65_536;
/// Bytes of replies kept per session (rule 14): what a duplicate may still be answered from.
pub const REPLIES_BYTES_MAX: usize = 4 << 20;
/// Open sessions, one per node that ever submitted and was not closed since: far above any cluster, so that only a flood of new
/// identities meets it. The oldest is closed to make room.
pub const SESSIONS_MAX: usize = 4_096;

/// The open sessions of a group.
// Invariant: at most one session per node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sessions {
    open: BTreeMap<SessionId, Session>,
}

/// One session.
// Invariant: every number in `replies` and `applied` is at least `acked_below` and less than `WINDOW_NUMBERS` above it, and stands
// in one of the two; `reply_bytes` is the sum over `replies` and at most `REPLIES_BYTES_MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) node: NodeId,
    pub(super) generation: Generation,
    pub(super) acked_below: u64,
    /// Applied numbers whose replies are kept.
    pub(super) replies: BTreeMap<u64, (Index, Reply)>,
    /// Applied numbers whose replies had to go; they must still not be applied again.
    pub(super) applied: BTreeMap<u64, Index>,
    reply_bytes: usize,
}

/// What the table knows of a command before it is applied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Not applied so far: apply it, then `record` it.
    New,
    /// Settled, at this index where it is still known: do not apply it.
    Settled(Option<Index>, CommandOutcome),
}

impl Sessions {
    /// The entry at `index` opens a session for `generation` of `node` and closes the node's older one. None when the node has a
    /// session of this generation or a higher one: a late or doubled entry changes nothing.
    pub(super) fn open(&mut self, index: Index, node: NodeId, generation: Generation) -> Option<SessionId> {
        let older = self.open.iter().find(|(_, session)| session.node == node).map(|(id, s)| (*id, s.generation));
        if let Some((id, open_generation)) = older {
            if generation <= open_generation {
                sometimes(Situation::SessionAskedTwice);
                return None;
            }
            sometimes(Situation::SessionReplaced);
            self.open.remove(&id);
        }
        while self.open.len() >= SESSIONS_MAX {
            self.open.pop_first();
        }
        let id = SessionId(index.0);
        self.open.insert(id, Session::new(node, generation));
        Some(id)
    }

    /// Closes a session, if it is open. Its commands are never applied from here on.
    pub(super) fn close(&mut self, id: SessionId) {
        self.open.remove(&id);
    }

    /// The open session of one process start of one node.
    pub(super) fn of(&self, node: NodeId, generation: Generation) -> Option<SessionId> {
        self.iter().find(|(_, session)| session.node == node && session.generation == generation).map(|(id, _)| id)
    }

    /// What is known of `command`, whose owner has the replies of all numbers below `acked_below`. Changes nothing.
    pub(super) fn look_up(&self, command: CommandId, acked_below: u64) -> Known {
        let Some(session) = self.open.get(&command.session) else {
            return Known::Settled(None, CommandOutcome::UnknownSession);
        };
        if mutant!(HighestNumberOnly)
            && let Some((highest, (index, reply))) = session.replies.last_key_value()
            && *highest >= command.number
        {
            return Known::Settled(Some(*index), CommandOutcome::Applied(reply.clone()));
        }
        if let Some((index, reply)) = session.replies.get(&command.number) {
            sometimes(Situation::DuplicateAnswered);
            return Known::Settled(Some(*index), CommandOutcome::Applied(reply.clone()));
        }
        if let Some(index) = session.applied.get(&command.number) {
            return Known::Settled(Some(*index), CommandOutcome::Evicted);
        }
        if command.number < session.acked_below.max(acked_below) {
            return Known::Settled(None, CommandOutcome::Evicted);
        }
        Known::New
    }

    /// The owner of `id` has the replies of all numbers below `acked_below`.
    pub(super) fn acknowledge(&mut self, id: SessionId, acked_below: u64) {
        if let Some(session) = self.open.get_mut(&id) {
            session.forget_below(acked_below);
        }
    }

    /// `command` was applied at `index`; its number is never applied again.
    pub(super) fn record(&mut self, command: CommandId, acked_below: u64, index: Index, reply: Reply) {
        if let Some(session) = self.open.get_mut(&command.session) {
            session.forget_below(acked_below);
            session.record(command.number, index, reply);
        }
    }

    /// The open sessions in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.open.iter().map(|(id, session)| (*id, session))
    }

    /// Adds a session read from a snapshot. False when it contradicts one that is there.
    #[must_use]
    pub(super) fn restore(&mut self, id: SessionId, session: Session) -> bool {
        let known = self.open.contains_key(&id) || self.open.values().any(|open| open.node == session.node);
        if !known {
            self.open.insert(id, session);
        }
        !known
    }
}

impl Session {
    pub(super) fn new(node: NodeId, generation: Generation) -> Self {
        let (replies, applied) = (BTreeMap::new(), BTreeMap::new());
        Session { node, generation, acked_below: 0, replies, applied, reply_bytes: 0 }
    }

    /// A session read from a snapshot.
    pub(super) fn restored(
        node: NodeId,
        generation: Generation,
        acked_below: u64,
        replies: BTreeMap<u64, (Index, Reply)>,
        applied: BTreeMap<u64, Index>,
    ) -> Self {
        let reply_bytes = replies.values().map(|(_, reply)| reply.len()).sum();
        Session { node, generation, acked_below, replies, applied, reply_bytes }
    }

    fn forget_below(&mut self, acked_below: u64) {
        if acked_below <= self.acked_below {
            return;
        }
        self.acked_below = acked_below;
        while let Some(first) = self.replies.first_entry().filter(|first| *first.key() < acked_below) {
            self.reply_bytes -= first.remove().1.len();
        }
        while let Some(first) = self.applied.first_entry().filter(|first| *first.key() < acked_below) {
            first.remove();
        }
    }

    fn record(&mut self, number: u64, index: Index, reply: Reply) {
        // An owner that runs ahead of its window gives up what it leaves behind: applied or not, it is never applied from now on.
        self.forget_below(number.saturating_sub(WINDOW_NUMBERS - 1));
        if mutant!(NumbersForgottenEarly) {
            self.replies.clear();
            self.reply_bytes = 0;
        }
        self.reply_bytes += reply.len();
        self.replies.insert(number, (index, reply));
        // Beyond the byte bound the lowest numbers lose their replies, not their mark: the owner has had those the longest.
        while self.reply_bytes > REPLIES_BYTES_MAX {
            let Some((number, (index, reply))) = self.replies.pop_first() else { break };
            self.reply_bytes -= reply.len();
            self.applied.insert(number, index);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const NODE: NodeId = NodeId(1);
    const ID: SessionId = SessionId(10);

    fn opened() -> Sessions {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.open(Index(10), NODE, Generation(3)), Some(ID));
        sessions
    }

    fn command(number: u64) -> CommandId {
        CommandId { session: ID, number }
    }

    fn applied(index: u64, reply: &'static str) -> Known {
        Known::Settled(Some(Index(index)), CommandOutcome::Applied(Bytes::from_static(reply.as_bytes())))
    }

    fn evicted(index: Option<u64>) -> Known {
        Known::Settled(index.map(Index), CommandOutcome::Evicted)
    }

    #[test]
    fn a_higher_generation_closes_the_older_session_and_a_lower_one_opens_nothing() {
        let mut sessions = opened();
        assert_eq!(sessions.open(Index(11), NODE, Generation(2)), None);
        assert_eq!(sessions.open(Index(12), NODE, Generation(3)), None, "one session per process start");
        assert_eq!(sessions.open(Index(13), NodeId(2), Generation(1)), Some(SessionId(13)));
        assert_eq!(sessions.look_up(command(1), 1), Known::New);
        assert_eq!(sessions.open(Index(14), NODE, Generation(4)), Some(SessionId(14)));
        assert_eq!(sessions.look_up(command(1), 1), Known::Settled(None, CommandOutcome::UnknownSession));
        assert_eq!(sessions.of(NODE, Generation(4)), Some(SessionId(14)));
        sessions.close(SessionId(14));
        assert_eq!(sessions.of(NODE, Generation(4)), None);
        assert_eq!(sessions.iter().count(), 1);
    }

    #[test]
    fn numbers_apply_in_any_order_each_once() {
        let mut sessions = opened();
        for (number, index) in [(5, 20), (3, 21), (4, 22)] {
            assert_eq!(sessions.look_up(command(number), 3), Known::New);
            sessions.record(command(number), 3, Index(index), Bytes::from_static(b"r"));
        }
        assert_eq!(sessions.look_up(command(3), 3), applied(21, "r"));
        assert_eq!(sessions.look_up(command(2), 3), evicted(None), "its owner no longer awaits it");
        // A copy that still carries an older acknowledgement changes nothing.
        sessions.acknowledge(ID, 5);
        sessions.acknowledge(ID, 3);
        assert_eq!(sessions.look_up(command(4), 3), evicted(None));
        assert_eq!(sessions.look_up(command(5), 3), applied(20, "r"));
        assert_eq!(sessions.look_up(command(6), 3), Known::New);
    }

    #[test]
    fn the_window_moves_over_what_it_leaves_behind() {
        let mut sessions = opened();
        sessions.record(command(0), 0, Index(20), Bytes::from_static(b"a"));
        sessions.record(command(WINDOW_NUMBERS - 1), 0, Index(21), Bytes::from_static(b"b"));
        assert_eq!(sessions.look_up(command(0), 0), applied(20, "a"));
        sessions.record(command(WINDOW_NUMBERS), 0, Index(22), Bytes::from_static(b"c"));
        assert_eq!(sessions.look_up(command(0), 0), evicted(None));
        assert_eq!(sessions.look_up(command(1), 0), Known::New);
    }

    #[test]
    fn beyond_the_byte_bound_the_lowest_replies_go_but_not_their_marks() {
        let mut sessions = opened();
        let big = Bytes::from(vec![7; REPLIES_BYTES_MAX / 2]);
        for number in [2, 1] {
            sessions.record(command(number), 1, Index(20 + number), big.clone());
        }
        assert!(matches!(sessions.look_up(command(1), 1), Known::Settled(Some(Index(21)), CommandOutcome::Applied(_))));
        sessions.record(command(3), 1, Index(23), Bytes::from_static(b"x"));
        assert_eq!(sessions.look_up(command(1), 1), evicted(Some(21)));
        assert!(matches!(sessions.look_up(command(2), 1), Known::Settled(_, CommandOutcome::Applied(_))));
        // A reply beyond the bound by itself is not kept at all.
        sessions.record(command(4), 1, Index(24), Bytes::from(vec![7; REPLIES_BYTES_MAX + 1]));
        assert_eq!(sessions.look_up(command(4), 1), evicted(Some(24)));
        assert_eq!(sessions.look_up(command(5), 1), Known::New);
    }

    #[test]
    fn a_flood_of_identities_closes_the_oldest_sessions() {
        let mut sessions = Sessions::default();
        for node in 0..=SESSIONS_MAX as u64 {
            sessions.open(Index(1 + node), NodeId(u128::from(node)), Generation(1));
        }
        assert_eq!(sessions.iter().count(), SESSIONS_MAX);
        assert_eq!(sessions.of(NodeId(0), Generation(1)), None);
    }
}
