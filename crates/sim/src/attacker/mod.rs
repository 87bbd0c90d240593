//! The attacker: an endpoint on the wire that is no member and has no keys, for there are none yet (A1-A3).
//!
//! It hears what nodes say to each other, keeps a sample of it, and speaks to every node, from its own address and under the
//! addresses of others. What it does is a siege, laid by a strike: so many messages with pauses between, all drawn from the strike's
//! generator. Of four kinds: datagrams that are none, old datagrams again, links that prove nothing, and a flood of questions.
//! Whichever have struck in the phase of faults go on, at a lower rate, while a healthy majority must work.
//!
//! # What it does not do
//!
//! Without keys a copy is as good as the original, and whoever knows the cluster id can lie (`slimcluster_core::swim`). What the
//! protocol does not claim to withstand would only show that it does not, so the attacker
//! * makes up no gossip: what it sends is either no datagram at all, or one that a node sent, unchanged, or a bare question;
//! * makes up no message on a link that has proven its cluster: where it copies a whole greeting of a formed node (which takes the place of that
//!   node's link until the node dials again) it then says nothing more, and it does so only in the phase of faults, for it costs the
//!   real node its link;
//! * copies no greeting of a node that still forms a cluster: a promise said again after it was given up counts;
//! * greets under made-up ids only for clusters of another uuid, and not in worlds with a fixed membership, which takes everybody who
//!   greets for a member;
//! * floods only in the phase of faults beyond what all strangers together are answered, which are the newcomers as well.
//!
//! # What must hold
//!
//! All that must hold without it, and: no node panics; whatever is no datagram is counted as dropped; a link that proves nothing is
//! closed in time, and a silent one is told nothing; an address that proved nothing gets so much and no more
//! ([`crate::checkers::amplification`]).
//!
//! Reading order: `tape` (what it has heard), `forge` (what it makes of it), `intruder` (its links, and what it remembers), `siege`
//! (what it does when).

mod forge;
mod intruder;
mod siege;
mod tape;

pub use intruder::{Attacker, NOBODY};
pub use siege::{Siege, Weapon};
