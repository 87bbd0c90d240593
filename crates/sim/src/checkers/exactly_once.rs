//! Exactly once (X1): a command has at most one effect, its owner is told of just that one however often it asks, and a command of
//! a session that is closed or was never opened has none (rules 13, 14).

use std::collections::BTreeMap;

use slimcluster_core::machine::SessionEntry;
use slimcluster_core::{CommandId, Generation, Index, NodeId, Run, RunKind, SessionId};

use super::witness::{Effect, digest};
use super::{Verdict, Violation};

/// A session, from its entry to the entry that closed it.
#[derive(Clone, Copy, Debug)]
struct Session {
    node: NodeId,
    generation: Generation,
    closed: Option<Index>,
}

/// The sessions of the committed log, and the effects of their commands.
#[derive(Debug, Default)]
pub struct ExactlyOnce {
    sessions: BTreeMap<SessionId, Session>,
    /// (index, hash of the reply).
    effects: BTreeMap<CommandId, (Index, u64)>,
}

impl ExactlyOnce {
    /// `run` was committed, as known now for the first time.
    pub fn on_committed(&mut self, run: &Run) -> Verdict {
        if run.kind() != RunKind::Session {
            return Ok(());
        }
        let index = run.first();
        match SessionEntry::decode(&run.payload()) {
            Ok(SessionEntry::Open { node, generation }) => {
                let mut older = self.sessions.values_mut().filter(|session| session.node == node);
                let open = older.find(|session| session.closed.is_none());
                if open.as_ref().is_some_and(|open| generation <= open.generation) {
                    return Ok(());
                }
                if let Some(open) = open {
                    open.closed = Some(index);
                }
                self.sessions.insert(SessionId(index.0), Session { node, generation, closed: None });
            }
            Ok(SessionEntry::Close { session }) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.closed.get_or_insert(index);
                }
            }
            Err(error) => return Err(Violation::of("readable entries", format!("{run:?}: {error}"))),
        }
        Ok(())
    }

    /// A command had an effect for the first time.
    pub fn on_effect(&mut self, effect: &Effect) -> Verdict {
        let Effect { index, command, reply, .. } = *effect;
        let session = self.sessions.get(&command.session);
        let is_open = session
            .is_some_and(|session| command.session.0 < index.0 && session.closed.is_none_or(|closed| index < closed));
        if !is_open {
            let detail = format!("{command:?} was applied at {index}, its session is {session:?}");
            return Err(Violation::of("no effect without a session", detail));
        }
        match self.effects.insert(command, (index, reply)) {
            None => Ok(()),
            Some((first, _)) => {
                let detail = format!("{command:?} was applied at {first} and at {index}");
                Err(Violation::of("exactly once", detail))
            }
        }
    }

    /// The owner of a command is told that it was applied at `index` with this reply.
    pub fn on_told(&self, command: CommandId, index: Index, reply: &[u8]) -> Verdict {
        let effect = self.effects.get(&command);
        if effect == Some(&(index, digest(reply))) {
            return Ok(());
        }
        let detail = format!("{command:?} is said to be applied at {index}, its effect is {effect:x?}");
        Err(Violation::of("true replies", detail))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::session;
    use super::*;

    const fn effect(session: u64, number: u64, index: u64) -> Effect {
        Effect { index: Index(index), command: command(session, number), bytes: 0, reply: 0 }
    }

    const fn command(session: u64, number: u64) -> CommandId {
        CommandId { session: SessionId(session), number }
    }

    fn opened() -> ExactlyOnce {
        let mut once = ExactlyOnce::default();
        once.on_committed(&session(2, NodeId(1), 1)).unwrap();
        once
    }

    #[test]
    fn a_second_effect_is_found() {
        let mut once = opened();
        once.on_effect(&effect(2, 1, 3)).unwrap();
        once.on_effect(&effect(2, 2, 4)).unwrap();
        assert!(once.on_effect(&effect(2, 1, 5)).is_err());
    }

    #[test]
    fn an_effect_without_an_open_session_is_found() {
        let mut once = opened();
        assert!(once.on_effect(&effect(3, 1, 4)).is_err(), "never opened");
        once.on_committed(&session(5, NodeId(1), 1)).unwrap();
        once.on_effect(&effect(2, 1, 6)).unwrap();
        once.on_committed(&session(7, NodeId(1), 2)).unwrap();
        assert!(once.on_effect(&effect(2, 2, 8)).is_err(), "closed by a restart");
        once.on_effect(&effect(7, 1, 9)).unwrap();
        assert!(once.on_effect(&effect(5, 1, 10)).is_err(), "a second session of one start");
    }

    #[test]
    fn another_reply_than_that_of_the_effect_is_found() {
        let mut once = opened();
        once.on_effect(&Effect { reply: digest(b"yes"), ..effect(2, 1, 3) }).unwrap();
        once.on_told(command(2, 1), Index(3), b"yes").unwrap();
        assert!(once.on_told(command(2, 1), Index(3), b"no").is_err());
        assert!(once.on_told(command(2, 1), Index(4), b"yes").is_err());
        assert!(once.on_told(command(2, 2), Index(4), b"yes").is_err());
    }
}
