//! S4, S5 and S7 by what members say: no claim about a member goes back, nobody raises a number but its owner, and what is said
//! fits into a datagram.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use slimcluster_core::NodeId;
use slimcluster_core::swim::{Body, Key, MemberState, Message, Update};
use slimcluster_core::wire::decode_datagram;

use super::{Verdict, Violation};
use crate::network::{DATAGRAM_BYTES_MAX, Endpoint};

/// What has been said by whom about whom. Grows with the pairs of processes that ran and members that they spoke of.
#[derive(Debug, Default)]
pub struct Claims {
    /// The greatest that each member has said about itself, and which of its processes said it.
    owners: BTreeMap<NodeId, (Endpoint, Key)>,
    /// The greatest that each running process has said about each other member.
    said: BTreeMap<(Endpoint, NodeId), Key>,
    /// This process can talk to nobody, and these are well: it must not say that one of them is dead.
    cut_off: Option<(Endpoint, BTreeSet<NodeId>)>,
}

impl Claims {
    /// A process sends a datagram, or at least says that it does.
    pub fn on_datagram(&mut self, endpoint: Endpoint, cluster_tag: [u8; 8], bytes: &Bytes) -> Verdict {
        if bytes.len() > DATAGRAM_BYTES_MAX {
            return Err(Violation::of("datagram size", format!("n{} sends {} bytes", endpoint.place + 1, bytes.len())));
        }
        let decoded = decode_datagram(cluster_tag, bytes);
        let (envelope, Message { body, updates }) =
            decoded.map_err(|drop| Violation::of("datagrams decode", format!("n{}: {drop}", endpoint.place + 1)))?;
        // Whoever is asked to settle a disagreement is told what the other side said, not what the asker holds.
        let asked = match body {
            Body::Ping { target, .. } => target.map(|(node, _)| node),
            _ => None,
        };
        for update in &updates {
            if update.id == envelope.sender {
                self.on_own_word(endpoint, update)?;
            } else {
                self.on_hearsay(endpoint, update, asked == Some(update.id))?;
            }
        }
        Ok(())
    }

    /// This process can talk to nobody, though all of these are well; or that is over.
    pub fn cut_off(&mut self, cut_off: Option<(Endpoint, BTreeSet<NodeId>)>) {
        self.cut_off = cut_off;
    }

    /// The process has ended, or goes on under another id and with an empty table.
    pub fn on_ended(&mut self, endpoint: Endpoint) {
        let ended: Vec<_> = self.said.range((endpoint, NodeId(0))..=(endpoint, NodeId(u128::MAX))).collect();
        for key in ended.into_iter().map(|(key, _)| *key).collect::<Vec<_>>() {
            self.said.remove(&key);
        }
    }

    /// S5, the owner's side: it never goes back, and a new process start is a higher generation.
    fn on_own_word(&mut self, endpoint: Endpoint, update: &Update) -> Verdict {
        let Update { id, key, .. } = *update;
        let (speaker, before) = *self.owners.entry(id).or_insert((endpoint, key));
        let goes_on = if speaker == endpoint { key >= before } else { key.generation > before.generation };
        if !goes_on {
            let detail = format!("{id} says {key:?} of itself, after {before:?} (start {})", speaker.start);
            return Err(Violation::of("numbers of a member grow", detail));
        }
        self.owners.insert(id, (endpoint, key));
        Ok(())
    }

    fn on_hearsay(&mut self, endpoint: Endpoint, update: &Update, is_question: bool) -> Verdict {
        let Update { id, key, .. } = *update;
        let number = |key: Key| (key.generation, key.left, key.incarnation);
        // S5, everybody else's side.
        if self.owners.get(&id).is_none_or(|(_, owner)| number(*owner) < number(key)) {
            let detail = format!("n{} says {key:?} of {id}, which has not said so itself", endpoint.place + 1);
            return Err(Violation::of("only its owner raises a number", detail));
        }
        if is_question {
            return Ok(());
        }
        // S4: Dead stands above Alive of the same number, so whoever resurrects goes back.
        let before = self.said.entry((endpoint, id)).or_insert(key);
        if key < *before {
            let detail = format!("n{} says {key:?} of {id}, after {before:?}", endpoint.place + 1);
            return Err(Violation::of("no resurrection", detail));
        }
        *before = key;
        // Rule 32: under isolation the verdict is this node's own, and no news.
        let is_cut_off = |(cut_off, well): &(Endpoint, BTreeSet<NodeId>)| *cut_off == endpoint && well.contains(&id);
        if key.rank == MemberState::Dead && self.cut_off.as_ref().is_some_and(is_cut_off) {
            let detail = format!("n{} can talk to nobody and says that {id} is dead", endpoint.place + 1);
            return Err(Violation::of("an isolated member accuses nobody", detail));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slimcluster_core::Generation;
    use slimcluster_core::swim::{Incarnation, Seq};
    use slimcluster_core::wire::{Codec, Envelope, cluster_tag, encode_datagram};

    use super::*;

    fn say(claims: &mut Claims, place: u128, start: u64, about: u128, key: Key) -> Verdict {
        let tag = cluster_tag("test");
        let envelope = Envelope { cluster_tag: tag, sender: NodeId(place), generation: Generation(start) };
        let update = Update { id: NodeId(about), key, record: None, age: Duration::ZERO };
        let message = Message { body: Body::Ack { seq: Seq(1) }, updates: vec![update] };
        let bytes = encode_datagram(Codec::Protobuf, &envelope, &message);
        claims.on_datagram(Endpoint { place: place as usize, start }, tag, &bytes)
    }

    fn alive(generation: u64, incarnation: u64) -> Key {
        Key::alive(Generation(generation), Incarnation(incarnation))
    }

    #[test]
    fn a_resurrection_is_found_and_a_refutation_is_none() {
        let mut claims = Claims::default();
        say(&mut claims, 1, 1, 1, alive(1, 0)).unwrap();
        say(&mut claims, 2, 1, 1, alive(1, 0).seen_as(MemberState::Dead)).unwrap();
        say(&mut claims, 3, 1, 1, alive(1, 0)).unwrap();
        assert_eq!(say(&mut claims, 2, 1, 1, alive(1, 0)).unwrap_err().property, "no resurrection");
        say(&mut claims, 1, 1, 1, alive(1, 1)).unwrap();
        say(&mut claims, 2, 1, 1, alive(1, 1)).unwrap();
        // Its next process has an empty table, and nothing to take back.
        claims.on_ended(Endpoint { place: 2, start: 1 });
        say(&mut claims, 2, 1, 1, alive(1, 0)).unwrap();
    }

    #[test]
    fn who_can_talk_to_nobody_must_not_say_that_the_others_are_dead() {
        let mut claims = Claims::default();
        say(&mut claims, 1, 1, 1, alive(1, 0)).unwrap();
        say(&mut claims, 9, 1, 9, alive(1, 0)).unwrap();
        claims.cut_off(Some((Endpoint { place: 2, start: 1 }, [NodeId(1)].into())));
        let dead = alive(1, 0).seen_as(MemberState::Dead);
        say(&mut claims, 2, 1, 1, alive(1, 0).seen_as(MemberState::Suspect)).unwrap();
        say(&mut claims, 2, 1, 9, dead).unwrap();
        say(&mut claims, 3, 1, 1, dead).unwrap();
        assert!(say(&mut claims, 2, 1, 1, dead).is_err());
    }

    #[test]
    fn numbers_that_are_made_up_or_go_back_are_found() {
        let mut claims = Claims::default();
        say(&mut claims, 1, 3, 1, alive(3, 1)).unwrap();
        assert!(say(&mut claims, 1, 3, 1, alive(3, 0)).is_err(), "back");
        assert!(say(&mut claims, 2, 1, 1, alive(3, 2)).is_err(), "an incarnation of others");
        assert!(say(&mut claims, 2, 1, 1, alive(4, 0)).is_err(), "a generation of others");
        assert!(say(&mut claims, 2, 1, 1, alive(3, 1).seen_as(MemberState::Left)).is_err(), "a good-bye of others");
        assert!(say(&mut claims, 2, 1, 9, alive(1, 0)).is_err(), "nobody");
        assert!(say(&mut claims, 1, 4, 1, alive(3, 2)).is_err(), "a start under the old number");
        say(&mut claims, 1, 5, 1, alive(4, 0)).unwrap();
    }
}
