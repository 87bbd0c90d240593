//! What a node knows about a member: the order of rule 31, the owner's record, and the view of the application.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::mutants::mutant;
use crate::{Generation, Instant, NodeId};

/// What a node advertises of itself to all members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Host and port of the HTTP interface that the application serves, as others should dial it.
    pub http: Option<String>,
    /// Whether the node takes part in consensus (and so may be asked to form a cluster).
    pub consensus: bool,
}

/// The state of a member, as the failure detector sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// Answers.
    Alive,
    /// Does not answer; has the suspicion time to refute.
    Suspect,
    /// Has not refuted.
    Dead,
    /// Said good-bye.
    Left,
}

/// A member, as the application sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Identity.
    pub id: NodeId,
    /// Human name.
    pub name: String,
    /// Where its transport listens, as it advertises.
    pub address: SocketAddr,
    /// The number of its process start.
    pub generation: Generation,
    /// What it advertises.
    pub meta: Meta,
    /// Its state.
    pub state: MemberState,
    /// It announced that it is restarting.
    pub restarting: bool,
    /// When this node first saw it in its present process, by this node's clock.
    pub joined_at: Instant,
    /// When it was last known to answer, by this node's clock.
    pub last_seen: Instant,
}

/// The number that only its owner raises within a generation, to refute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// The whole conflict rule (rule 31): of two opinions about a member the greater holds. `left` stands before `incarnation`, so Left is
/// terminal within its generation; Suspect and Dead are refuted by a higher incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The process start that the opinion is about.
    pub generation: Generation,
    /// The member said good-bye.
    pub left: bool,
    /// The owner's refutation number.
    pub incarnation: Incarnation,
    /// The opinion. `Left` exactly when `left`.
    pub rank: MemberState,
}

impl Key {
    /// Alive at the given numbers.
    pub const fn alive(generation: Generation, incarnation: Incarnation) -> Self {
        Key { generation, left: false, incarnation, rank: MemberState::Alive }
    }

    /// The same generation and incarnation, seen as `rank`.
    #[must_use]
    pub fn seen_as(self, rank: MemberState) -> Self {
        Key { left: rank == MemberState::Left, rank, ..self }
    }
}

/// What the owner says about itself. Ordered by (generation, version) alone, apart from [`Key`], so that a change of meta never clears a
/// suspicion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The process start that wrote it.
    pub generation: Generation,
    /// Raised by the owner at every change within a generation.
    pub version: u64,
    /// Human name, at most [`NAME_BYTES_MAX`].
    pub name: String,
    /// Where the owner's transport listens.
    pub address: SocketAddr,
    /// What it advertises.
    pub meta: Meta,
    /// The owner is about to be down for this long from now and will be back.
    pub restarting: Option<Duration>,
}

impl Record {
    /// What decides between two records of one owner.
    pub fn order(&self) -> (Generation, u64) {
        (self.generation, self.version)
    }
}

/// The latest opinion about a member, and the latest record of its owner. Merging is a join: in whatever order, grouping or number updates come,
/// the result is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The greatest key seen.
    pub(super) key: Key,
    /// The greatest record seen; none while only hearsay without a record has come.
    pub(super) record: Option<Record>,
}

/// What a merge has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) key: bool,
    pub(super) record: bool,
}

impl Known {
    /// Takes the greater of each part. The number is kept even where the state does not change, so that no older news can win later.
    pub(super) fn merge(&mut self, key: Key, record: Option<&Record>) -> Changed {
        let mut changed = Changed::default();
        if key > self.key || (mutant!(OlderOpinionTaken) && key != self.key) {
            self.key = key;
            changed.key = true;
        }
        let newer = |new: &&Record| self.record.as_ref().is_none_or(|held| new.order() > held.order());
        if let Some(record) = record.filter(newer) {
            self.record = Some(record.clone());
            changed.record = true;
        }
        changed
    }
}

/// One opinion about one member, as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// About whom.
    pub id: NodeId,
    /// The opinion.
    pub key: Key,
    /// The owner's record where it may be unknown to the receiver; Suspect and Dead travel without it.
    pub record: Option<Record>,
    /// For Dead and Left: how long ago that became known, so that all nodes forget it together.
    pub age: Duration,
}

/// The longest name, in bytes: a Kubernetes pod name has at most 63 in practice; together with [`HTTP_BYTES_MAX`] one update always fits into one
/// datagram in every encoding.
pub const NAME_BYTES_MAX: usize = 128;
/// The longest advertised HTTP authority, in bytes.
pub const HTTP_BYTES_MAX: usize = 200;
/// The longest announced restart (rule 30).
pub const RESTARTING_MAX: Duration = Duration::from_secs(600);

/// Whether members can be reached at `address`: no port 0, not unspecified, multicast or broadcast.
pub fn is_usable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Whether `text` may be a name or an HTTP authority: nothing that a codec would have to escape, nothing that could garble a log line.
pub fn is_plain(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && !text.chars().any(|c| c.is_control() || c == '"' || c == '\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state() -> impl Strategy<Value = MemberState> {
        prop::sample::select(&[MemberState::Alive, MemberState::Suspect, MemberState::Dead, MemberState::Left][..])
    }

    /// Small numbers, so that equal ones are frequent. A record is what its owner wrote under its number, the same for everybody.
    fn known() -> impl Strategy<Value = Known> {
        let record = prop::option::of((0..3_u64, 0..3_u64));
        (0..3_u64, 0..3_u64, state(), record).prop_map(|(generation, incarnation, rank, record)| Known {
            key: Key::alive(Generation(generation), Incarnation(incarnation)).seen_as(rank),
            record: record.map(|(generation, version)| Record {
                generation: Generation(generation),
                version,
                name: format!("{generation}.{version}"),
                address: SocketAddr::from(([10, 0, 0, 1], 1)),
                meta: Meta::default(),
                restarting: None,
            }),
        })
    }

    fn merged(a: &Known, b: &Known) -> Known {
        let mut result = a.clone();
        let changed = result.merge(b.key, b.record.as_ref());
        assert_eq!((changed.key, changed.record), (result.key != a.key, result.record != a.record));
        result
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_and_idempotent(a in known(), b in known(), c in known()) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &a), a.clone());
            prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
        }
    }

    #[test]
    fn the_order_is_generation_then_left_then_incarnation_then_rank() {
        let key =
            |generation, incarnation, rank| Key::alive(Generation(generation), Incarnation(incarnation)).seen_as(rank);
        use MemberState::{Alive, Dead, Left, Suspect};
        let ascending = [
            key(1, 0, Alive),
            key(1, 0, Suspect),
            key(1, 0, Dead),
            key(1, 1, Alive),
            key(1, 9, Dead),
            key(1, 0, Left),
            key(1, 3, Left),
            key(2, 0, Alive),
        ];
        assert!(ascending.is_sorted());
    }

    #[test]
    fn usable_addresses() {
        let usable = |text: &str| is_usable(text.parse().unwrap());
        assert!(usable("127.0.0.1:1") && usable("10.0.0.1:65535") && usable("[::1]:1") && usable("[fe80::1]:1"));
        assert!(!usable("[::ffff:224.0.0.1]:1") && !usable("0.0.0.0:1") && !usable("10.0.0.1:0"));
    }
}
