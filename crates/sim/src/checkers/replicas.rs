//! Equal replicas (X3): at equal applied index all replicas have carried out the same commands with the same replies. One rolling
//! hash per replica, compared at every command.

use std::collections::BTreeMap;

use slimcluster_core::Index;

use super::Violation;
use super::witness::Effect;
use crate::network::Endpoint;

/// What every replica must have done, in order.
#[derive(Debug, Default)]
pub struct Replicas {
    /// (index, hash of this effect and all before it), as the first replica to get there had it.
    effects: Vec<(Index, u64)>,
    /// Everything up to here was applied by some replica: the effects are complete so far.
    applied: Index,
    replicas: BTreeMap<Endpoint, Replica>,
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, Default)]
struct Replica {
    effects: usize,
    chain: u64,
}

impl Replicas {
    /// A replica has applied everything up to `through`, with these effects since the last time. Returns how many of the effects,
    /// from the end, no replica had before it.
    pub fn on_applied(&mut self, endpoint: Endpoint, through: Index, effects: &[Effect]) -> Result<usize, Violation> {
        let replica = self.replicas.entry(endpoint).or_default();
        let differs = |detail: String| {
            Err(Violation::of("equal replicas", format!("n{}, start {}: {detail}", endpoint.place + 1, endpoint.start)))
        };
        let mut new = 0;
        for effect in effects {
            replica.chain = effect.chain(replica.chain);
            let own = (effect.index, replica.chain);
            match self.effects.get(replica.effects) {
                Some(first) if *first == own => {}
                Some(first) => return differs(format!("{effect:?} makes {own:x?}, elsewhere it is {first:x?}")),
                None if effect.index <= self.applied => return differs(format!("{effect:?} happened nowhere else")),
                None => {
                    self.effects.push(own);
                    new += 1;
                }
            }
            replica.effects += 1;
        }
        if let Some((index, _)) = self.effects.get(replica.effects).filter(|(index, _)| *index <= through) {
            return differs(format!("applied through {through}, without what happened elsewhere at {index}"));
        }
        self.applied = self.applied.max(through);
        Ok(new)
    }

    /// The process has ended, and its replica with it.
    pub fn on_ended(&mut self, endpoint: Endpoint) {
        self.replicas.remove(&endpoint);
    }
}

#[cfg(test)]
mod tests {
    use slimcluster_core::{CommandId, SessionId};

    use super::*;

    const fn effect(index: u64, reply: u64) -> Effect {
        let command = CommandId { session: SessionId(2), number: index };
        Effect { index: Index(index), command, bytes: 0, reply }
    }

    fn endpoint(place: usize) -> Endpoint {
        Endpoint { place, start: 1 }
    }

    #[test]
    fn equal_replicas_pass_however_they_slice() {
        let mut replicas = Replicas::default();
        assert_eq!(replicas.on_applied(endpoint(0), Index(4), &[effect(3, 1), effect(4, 2)]), Ok(2));
        assert_eq!(replicas.on_applied(endpoint(1), Index(3), &[effect(3, 1)]), Ok(0));
        assert_eq!(replicas.on_applied(endpoint(1), Index(6), &[effect(4, 2), effect(6, 3)]), Ok(1));
        replicas.on_ended(endpoint(0));
        assert_eq!(replicas.on_applied(endpoint(0), Index(3), &[effect(3, 1)]), Ok(0));
    }

    #[test]
    fn each_difference_is_found() {
        for (through, effects) in [
            (4, &[effect(3, 1), effect(4, 9)][..]),
            (4, &[effect(4, 2)]),
            (4, &[effect(3, 1)]),
            (5, &[effect(3, 1), effect(4, 2), effect(5, 1)]),
        ] {
            let mut replicas = Replicas::default();
            replicas.on_applied(endpoint(0), Index(5), &[effect(3, 1), effect(4, 2)]).unwrap();
            assert!(replicas.on_applied(endpoint(1), Index(through), effects).is_err(), "{effects:?}");
        }
    }
}
