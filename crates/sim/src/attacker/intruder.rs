//! The attacker as an endpoint: what it has heard, the links that it holds, and what it knows of each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use bytes::Bytes;
use slimcluster_core::node::io::{Lane, LinkId};
use slimcluster_core::situations::{Situation, sometimes};

use super::siege::Weapon;
use super::tape::Tape;
use crate::checkers::amplification::Amplification;
use crate::checkers::{Verdict, Violation};
use crate::network::{Arrival, Endpoint, Network};
use crate::plan::Plan;
use crate::streams::{Concern, stream};
use crate::world::{MILLISECOND, SECOND};

/// Where the attacker listens.
pub(super) const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 66, 0, 1), 7_000));
/// An address that is nobody's: what nodes send there answers somebody who has proven nothing.
pub const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 66, 0, 2), 7_000));

/// A link that proves nothing is closed within this time by a healthy node: three seconds of a clock that may be slow by a fifth, and some
/// time to do it.
const CLOSED_WITHIN: u64 = 3 * SECOND * 5 / 4 + 500 * MILLISECOND;

/// What the attacker is on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guise {
    /// It says nothing.
    Silent,
    /// It says what is no greeting, or a greeting that is not accepted.
    Forger,
    /// A node has dialled it, at an address that a guest gave.
    Dialled,
    /// It greets under a made-up id, for a cluster of another uuid.
    Guest,
    /// It greets as a node of the cluster, with a copy of what that node said, and says nothing more.
    Impostor,
}

impl Guise {
    /// Whether a node must close the link by itself.
    fn proves_nothing(self) -> bool {
        matches!(self, Guise::Silent | Guise::Forger | Guise::Dialled)
    }
}

#[derive(Debug)]
struct Link {
    guise: Guise,
    /// The place at the other end.
    victim: usize,
    /// What it says as soon as it is up.
    says: Vec<Bytes>,
    up_since: Option<u64>,
}

/// The attacker of a world.
#[derive(Debug)]
pub struct Attacker {
    pub(super) endpoint: Endpoint,
    pub(super) tape: Tape,
    /// What it has used so far.
    pub(super) weapons: BTreeSet<Weapon>,
    links: BTreeMap<LinkId, Link>,
    dialled: u64,
    pub(crate) amplification: Amplification,
}

impl Attacker {
    /// The attacker of a plan, if there is one in it. Its place is the one behind those of the nodes.
    pub fn of(plan: &Plan) -> Option<Box<Self>> {
        let attacks = plan.strikes.iter().any(|strike| strike.class.is_hostile());
        attacks.then(|| {
            Box::new(Attacker {
                endpoint: Endpoint { place: plan.swarm.nodes, start: 1 },
                tape: Tape::new(stream(plan.seed, Concern::Attacker, 0)),
                weapons: BTreeSet::new(),
                links: BTreeMap::new(),
                dialled: 0,
                amplification: Amplification::default(),
            })
        })
    }

    /// It begins to listen, so that it can be dialled.
    pub(super) fn listen(&self, network: &mut Network) {
        network.listen(ADDRESS, self.endpoint);
    }

    /// Dials a node, to be `guise` and to say this.
    pub(super) fn dial(
        &mut self,
        (now, network): (u64, &mut Network),
        (victim, to): (usize, SocketAddr),
        guise: Guise,
        says: Vec<Bytes>,
    ) -> LinkId {
        let link = LinkId(2 * self.dialled + 1);
        self.dialled += 1;
        self.links.insert(link, Link { guise, victim, says, up_since: None });
        network.connect(now, self.endpoint, link, to);
        link
    }

    /// Closes a link that need not be closed by others.
    pub(super) fn hang_up(&mut self, now: u64, network: &mut Network, link: LinkId) {
        if self.links.get(&link).is_some_and(|link| !link.guise.proves_nothing()) {
            self.links.remove(&link);
            network.close(now, self.endpoint, link);
        }
    }

    /// Goes: what need not be closed by others it closes itself.
    pub(crate) fn withdraw(&mut self, now: u64, network: &mut Network) {
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            self.hang_up(now, network, link);
        }
    }

    /// Something reaches the attacker, from the place of a node where that is known. Forged frames are said to whoever dials it.
    pub(crate) fn on_arrival(&mut self, now: u64, network: &mut Network, arrival: &Arrival) -> Verdict {
        match arrival {
            Arrival::Datagram(..) => {}
            Arrival::Connected(id) => {
                let Some(link) = self.links.get_mut(id) else { return Ok(()) };
                link.up_since = Some(now);
                for frame in std::mem::take(&mut link.says) {
                    network.send_frame(now, self.endpoint, *id, Lane::Control, frame);
                }
            }
            Arrival::Accepted(id, _) => {
                let victim = network.other_end(self.endpoint, *id).map_or(usize::MAX, |other| other.place);
                let link = Link { guise: Guise::Dialled, victim, says: Vec::new(), up_since: Some(now) };
                self.links.insert(*id, link);
            }
            Arrival::Frame(id, bytes) => {
                if let Some(Link { guise: Guise::Silent, victim, .. }) = self.links.get(id) {
                    let detail = format!("n{} says {} bytes on a link that is silent", victim + 1, bytes.len());
                    return Err(Violation::of("a silent link is told nothing", detail));
                }
            }
            Arrival::Disconnected(id, reason) => {
                if let Some(Link { guise, up_since: Some(_), .. }) = self.links.remove(id)
                    && guise.proves_nothing()
                    && *reason == "closed by peer"
                {
                    sometimes(Situation::HostileLinkClosed);
                }
            }
        }
        Ok(())
    }

    /// The links that prove nothing and that nodes still hold: the place, and since when.
    fn held(&self, network: &Network) -> impl Iterator<Item = (usize, u64)> {
        let is_held = |id| network.is_held_by_other(self.endpoint, id);
        let held = self.links.iter().filter(move |(id, link)| link.guise.proves_nothing() && is_held(**id));
        held.filter_map(|(_, link)| Some((link.victim, link.up_since?)))
    }

    /// A place that still holds such a link.
    pub(crate) fn missing(&self, network: &Network) -> Option<String> {
        let (victim, since) = self.held(network).next()?;
        Some(format!("n{} holds a link that has proven nothing since {since} us", victim + 1))
    }

    /// Since `began` these places are healthy: what has been opened there since and proves nothing is closed in time.
    pub(crate) fn check_held(&self, network: &Network, now: u64, began: u64, is_healthy: &[bool]) -> Verdict {
        let is_late = |(victim, since): &(usize, u64)| {
            is_healthy.get(*victim) == Some(&true) && *since >= began && now > since + CLOSED_WITHIN
        };
        match self.held(network).find(is_late) {
            None => Ok(()),
            Some((victim, since)) => {
                let detail = format!("n{} holds one since {since} us", victim + 1);
                Err(Violation::of("a link that proves nothing is closed", detail))
            }
        }
    }
}
