//! A command on which the state machine fails (X2): apply halts before it, on every replica alike, and nobody ever goes past it.

use slimcluster_core::Index;
use slimcluster_core::machine::Waiting;

use super::{Verdict, Violation};

/// Where apply halts.
#[derive(Debug, Default)]
pub struct Poison {
    /// The state machine of this world may fail.
    is_expected: bool,
    /// The entry before which apply halts, with the reason that was given first.
    entry: Option<(Index, String)>,
    /// Everything up to here was applied somewhere.
    applied: Index,
}

impl Poison {
    /// The state machine of this world may fail: a halt is no violation from here on.
    pub fn expect(&mut self) {
        self.is_expected = true;
    }

    /// A replica has applied everything up to `through`, and stands still if `waiting`.
    pub fn on_applied(&mut self, through: Index, waiting: Option<&Waiting>) -> Verdict {
        self.applied = self.applied.max(through);
        if let Some(Waiting::Halted(reason)) = waiting.filter(|_| self.is_expected) {
            let (entry, first) = self.entry.get_or_insert((through.next(), reason.clone()));
            if *entry != through.next() {
                let detail = format!("here before {} ({reason}), elsewhere before {entry} ({first})", through.next());
                return Err(Violation::of("halts at the same entry", detail));
            }
        } else if let Some(waiting) = waiting {
            return Err(Violation::of("apply goes on", format!("it waits after {through}: {waiting:?}")));
        }
        match &self.entry {
            Some((entry, reason)) if *entry <= self.applied => {
                let detail = format!("{} was applied, entry {entry} halts apply: {reason}", self.applied);
                Err(Violation::of("nothing is skipped", detail))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halted() -> Option<Waiting> {
        Some(Waiting::Halted("it panicked".to_owned()))
    }

    #[test]
    fn an_unexpected_halt_is_found() {
        assert!(Poison::default().on_applied(Index(3), halted().as_ref()).is_err());
        let unregistered = Waiting::Unregistered("x".to_owned());
        assert!(Poison::default().on_applied(Index(3), Some(&unregistered)).is_err());
        Poison::default().on_applied(Index(3), None).unwrap();
    }

    #[test]
    fn a_replica_that_halts_elsewhere_or_goes_on_is_found() {
        let poisoned = || {
            let mut poison = Poison::default();
            poison.expect();
            poison.on_applied(Index(3), halted().as_ref()).unwrap();
            poison.on_applied(Index(2), None).unwrap();
            poison.on_applied(Index(3), halted().as_ref()).unwrap();
            poison
        };
        assert!(poisoned().on_applied(Index(2), halted().as_ref()).is_err());
        assert!(poisoned().on_applied(Index(4), None).is_err());
    }
}
