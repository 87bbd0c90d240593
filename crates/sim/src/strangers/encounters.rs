//! What the second cluster does in the world, and what must not come of it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use slimcluster_core::node::bootstrap::BootstrapOptions;
use slimcluster_core::node::io::{Event as NodeEvent, Input, LinkId, Meta, Output, Stage};
use slimcluster_core::node::message::PeerMessage;
use slimcluster_core::node::{ConsensusOptions, Membership, Node, NodeOptions, ProposalOptions};
use slimcluster_core::random::Random;
use slimcluster_core::situations::{Situation, sometimes};
use slimcluster_core::wire::{Assembler, decode_peer_message};
use slimcluster_core::{Durability, NodeId, Nonce, raft, swim};

use super::stranger::Stranger;
use crate::budget::Standing;
use crate::checkers::{Verdict, Violation};
use crate::lifecycle::CLUSTER_ID;
use crate::network::Endpoint;
use crate::plan::Plan;
use crate::streams::{Concern, stream};
use crate::strike::FaultClass;
use crate::trace::digest;
use crate::world::{Event, MILLISECOND, World};

/// The cluster id of foreigners.
const FOREIGN_ID: &str = "foreign";
/// Most nodes of the second cluster.
const NODES_MAX: u64 = 3;

/// Which cluster it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One with another cluster id.
    Foreigners,
    /// One with the same cluster id, formed apart.
    Namesakes,
}

/// How far they have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// They have not come yet.
    Awaited,
    /// They are there, and nothing passes between them and us.
    Apart,
    /// They are there.
    Met,
    /// They have gone for good.
    Gone,
}

/// The second cluster of a world.
pub struct Strangers {
    kind: Kind,
    presence: Presence,
    nodes: Vec<Stranger>,
    /// All ids that its nodes have had.
    ids: BTreeSet<NodeId>,
}

impl Strangers {
    /// The second cluster of a plan, if there is one in it. Its places are the last ones.
    pub fn of(plan: &Plan) -> Option<Box<Self>> {
        let comes = plan.strikes.iter().any(|strike| strike.class == FaultClass::Strangers);
        comes.then(|| {
            let mut rng = stream(plan.seed, Concern::Strangers, 0);
            let count = 1 + rng.below(NODES_MAX);
            // A fixed membership takes everybody of the cluster id for a member for ever, also who has gone for good.
            let is_namesake = rng.chance(1, 3) && !plan.swarm.static_members;
            let nodes = (0..count).map(|number| {
                let address = SocketAddr::from((Ipv4Addr::new(10, 77, 0, number as u8 + 1), 7_000));
                let place = plan.swarm.nodes + 1 + number as usize;
                Stranger::new(place, address, stream(plan.seed, Concern::Strangers, 1 + number))
            });
            Box::new(Strangers {
                kind: if is_namesake { Kind::Namesakes } else { Kind::Foreigners },
                presence: Presence::Awaited,
                nodes: nodes.collect(),
                ids: BTreeSet::new(),
            })
        })
    }

    /// How many places it has on the network.
    pub fn places(&self) -> usize {
        self.nodes.len()
    }

    fn cluster_id(&self) -> &'static str {
        if self.kind == Kind::Foreigners { FOREIGN_ID } else { CLUSTER_ID }
    }

    /// Where others find them, when they can.
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let are_there = self.presence == Presence::Met;
        self.nodes.iter().filter(move |_| are_there).map(|node| node.address)
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter_map(Stranger::node)
    }

    fn are_working(&self) -> bool {
        self.nodes.iter().all(|node| node.node().is_some_and(|node| node.status().stage == Stage::Working))
    }

    fn find(&mut self, endpoint: Endpoint) -> Option<&mut Stranger> {
        self.nodes.iter_mut().find(|node| node.endpoint == endpoint && node.node().is_some())
    }

    fn is_place(&self, place: usize) -> bool {
        self.nodes.iter().any(|node| node.endpoint.place == place)
    }

    /// One of the two clusters says this to the other.
    fn check_said(&self, message: &PeerMessage) -> Verdict {
        use PeerMessage::{Bootstrap, Hello, Refused, Welcome};
        match (self.kind, message) {
            (_, Hello(_) | Refused(_)) | (Kind::Namesakes, Welcome(_) | Bootstrap(_)) => {
                if let Refused(_) = message {
                    sometimes(Situation::StrangerRefused);
                }
                Ok(())
            }
            _ => Err(Violation::of("clusters never mix", format!("said to a node of another cluster: {message:?}"))),
        }
    }

    /// A node, one of theirs or not, has seen this; a foreigner is nobody's member.
    fn check_seen(&self, is_theirs: bool, event: &NodeEvent) -> Verdict {
        use NodeEvent::{AddressChanged, Failed, Joined, Left, MetaChanged, StatusChanged, Suspected};
        match event {
            Joined(member)
            | Left(member)
            | Failed(member)
            | Suspected(member)
            | StatusChanged(member)
            | AddressChanged(member)
            | MetaChanged(member)
                if self.kind == Kind::Foreigners && self.ids.contains(&member.id) != is_theirs =>
            {
                Err(Violation::of("clusters never mix", format!("a member of another cluster: {event:?}")))
            }
            _ => Ok(()),
        }
    }

    /// No node counts one of the other cluster.
    fn check_voters<'a>(&self, ours: impl Iterator<Item = &'a Node>) -> Verdict {
        let ours = ours.map(|node| (node, false));
        for (node, is_theirs) in ours.chain(self.running().map(|node| (node, true))) {
            let Some(raft) = node.raft() else { continue };
            let mut voters = raft.configuration().voters();
            if let Some(voter) = voters.find(|voter| self.ids.contains(voter) != is_theirs) {
                let detail = format!("node {} counts {voter}, which is of another cluster", node.id());
                return Err(Violation::of("clusters never mix", detail));
            }
        }
        Ok(())
    }
}

impl World {
    /// A strike: they come, or meet us, or one of them starts again somewhere.
    pub(crate) fn meet_strangers(&mut self, rng: &mut Random) -> Verdict {
        let Some(strangers) = &mut self.strangers else { return Ok(()) };
        match (strangers.presence, strangers.kind) {
            (Presence::Awaited, Kind::Foreigners) => {
                strangers.presence = Presence::Met;
                self.start_strangers()
            }
            (Presence::Awaited, Kind::Namesakes) => {
                let mut places = 0..self.swarm.nodes;
                let is_formed = |place: usize| {
                    self.checkers.stores[place].is_formed() && *self.budget.standing(place) == Standing::Whole
                };
                if !places.all(is_formed) {
                    return Ok(());
                }
                strangers.presence = Presence::Apart;
                self.cut_off_strangers(true);
                self.start_strangers()
            }
            (Presence::Apart, _) => {
                if strangers.are_working() {
                    sometimes(Situation::NamesakesMet);
                    strangers.presence = Presence::Met;
                    self.cut_off_strangers(false);
                }
                Ok(())
            }
            (Presence::Met, _) => self.restart_stranger(rng),
            (Presence::Gone, _) => Ok(()),
        }
    }

    /// The faults are over: namesakes go, for as long as they are there the members of both clusters see each other.
    pub(crate) fn part_with_namesakes(&mut self) -> Verdict {
        self.check_strangers()?;
        let World { strangers: Some(strangers), network, now, .. } = self else { return Ok(()) };
        if strangers.kind == Kind::Namesakes {
            strangers.presence = Presence::Gone;
            for node in strangers.nodes.iter_mut().filter(|node| node.node().is_some()) {
                node.end();
                network.process_ended(*now, node.endpoint, false);
            }
        }
        Ok(())
    }

    /// Neither cluster has anything of the other.
    pub(crate) fn check_strangers(&self) -> Verdict {
        let Some(strangers) = &self.strangers else { return Ok(()) };
        strangers.check_voters(self.places.iter().flat_map(|place| &place.process).map(|process| &process.node))
    }

    /// What foreigners lack to be well, as they must be after the last fault.
    pub(crate) fn missing_to_strangers(&self) -> Option<String> {
        let strangers = self.strangers.as_ref().filter(|strangers| strangers.presence == Presence::Met)?;
        let stage = |node: &Node| format!("{:?}", node.status().stage);
        (!strangers.are_working()).then(|| {
            format!(
                "the second cluster is not working: {}",
                strangers.running().map(stage).collect::<Vec<_>>().join("; ")
            )
        })
    }

    /// Addresses of strangers that are among the seeds of our nodes.
    pub(crate) fn stranger_addresses(&self) -> Vec<SocketAddr> {
        self.strangers.iter().flat_map(|strangers| strangers.addresses()).collect()
    }

    /// A process of ours says something on a link, perhaps to a stranger.
    pub(crate) fn check_said_to_stranger(&self, receiver: Option<Endpoint>, message: &PeerMessage) -> Verdict {
        match &self.strangers {
            Some(strangers) if receiver.is_some_and(|receiver| self.is_stranger(receiver)) => {
                strangers.check_said(message)
            }
            _ => Ok(()),
        }
    }

    /// A process of ours has seen something.
    pub(crate) fn check_seen_of_strangers(&self, event: &NodeEvent) -> Verdict {
        self.strangers.as_ref().map_or(Ok(()), |strangers| strangers.check_seen(false, event))
    }

    /// Whether this is a stranger's place.
    pub(crate) fn is_stranger(&self, endpoint: Endpoint) -> bool {
        self.strangers.as_ref().is_some_and(|strangers| strangers.is_place(endpoint.place))
    }

    /// A stranger takes a step, with something that has reached it.
    pub(crate) fn on_stranger(&mut self, endpoint: Endpoint, input: Option<Input>) -> Verdict {
        let World { strangers: Some(strangers), trace, now, .. } = self else { return Ok(()) };
        let Some(stranger) = strangers.find(endpoint) else { return Ok(()) };
        if let Some(input) = input {
            stranger.hand(input);
        }
        let outputs = stranger.step(*now)?;
        let id = stranger.node().map(Node::id);
        strangers.ids.extend(id);
        trace.event(*now, [32, endpoint.place as u64, outputs.len() as u64], || {
            format!("stranger {} steps", endpoint.place)
        });
        for output in outputs {
            self.on_output_of_stranger(endpoint, output)?;
        }
        self.plan_step_of_stranger(endpoint);
        Ok(())
    }

    fn on_output_of_stranger(&mut self, endpoint: Endpoint, output: Output) -> Verdict {
        let World { strangers: Some(strangers), network, trace, now, checkers, .. } = self else { return Ok(()) };
        let Some(stranger) = strangers.find(endpoint) else { return Ok(()) };
        match output {
            Output::Datagram { to, bytes } => {
                trace.event(*now, [33, endpoint.place as u64, digest(&bytes)], || {
                    format!("stranger {} -> datagram of {} bytes to {to}", endpoint.place, bytes.len())
                });
                let from = stranger.address;
                if strangers.kind == Kind::Namesakes {
                    checkers.on_datagram(endpoint, &bytes)?;
                }
                network.send_datagram(*now, endpoint.place, from, to, bytes);
            }
            Output::Discover => {
                let theirs: Vec<_> = strangers.nodes.iter().map(|node| node.address).collect();
                let ours = self.places.iter().map(|place| place.address);
                let found = Input::Discovered(theirs.into_iter().chain(ours).collect());
                self.after(MILLISECOND, Event::Stranger(endpoint, Some(Box::new(found))));
            }
            Output::Connect { link, to } => network.connect(*now, endpoint, link, to),
            Output::Frame { link, lane, bytes } => {
                self.check_frame_of_stranger(endpoint, link, &bytes)?;
                self.network.send_frame(self.now, endpoint, link, lane, bytes);
            }
            Output::Close(link) => network.close(*now, endpoint, link),
            Output::Event(event) => strangers.check_seen(true, &event)?,
            _ => {}
        }
        Ok(())
    }

    fn check_frame_of_stranger(&self, endpoint: Endpoint, link: LinkId, frame: &Bytes) -> Verdict {
        let (Some(strangers), Some(receiver)) = (&self.strangers, self.network.other_end(endpoint, link)) else {
            return Ok(());
        };
        let message = Assembler::default().push(frame).ok().flatten().map(decode_peer_message);
        match message {
            Some(Ok(message)) if receiver.place < self.swarm.nodes => strangers.check_said(&message),
            _ => Ok(()),
        }
    }

    fn plan_step_of_stranger(&mut self, endpoint: Endpoint) {
        let now = self.now;
        let stranger = self.strangers.as_mut().and_then(|strangers| strangers.find(endpoint));
        if let Some(at) = stranger.and_then(|stranger| stranger.plan_step(now)) {
            self.at(at, Event::Stranger(endpoint, None));
        }
    }

    fn start_strangers(&mut self) -> Verdict {
        let count = self.strangers.as_ref().map_or(0, |strangers| strangers.places());
        (0..count).try_for_each(|number| self.start_stranger(number))
    }

    fn start_stranger(&mut self, number: usize) -> Verdict {
        let World { strangers: Some(strangers), network, swarm, now, trace, .. } = self else { return Ok(()) };
        let (cluster_id, count) = (strangers.cluster_id(), strangers.places());
        let Some(stranger) = strangers.nodes.get_mut(number) else { return Ok(()) };
        let name = format!("s{}", number + 1);
        let swim = if swarm.quick_swim { swim::Options::local() } else { swim::Options::lan() };
        let bootstrap = BootstrapOptions::new(name.clone(), count, Durability::Fsync);
        let options = NodeOptions {
            name,
            address: stranger.address,
            meta: Meta::default(),
            codec: swarm.codecs.get(number).copied().unwrap_or_default(),
            nonce: Nonce(stranger.rng.next()),
            membership: if swarm.static_members { Membership::Static } else { Membership::Swim(swim) },
            announce: false,
            consensus: Some(ConsensusOptions {
                raft: raft::Options::lan(),
                bootstrap,
                proposals: ProposalOptions::default(),
            }),
            restart_within: Duration::from_secs(10),
        };
        trace.event(*now, [34, number as u64, 0], || format!("{} of cluster {cluster_id:?} starts", stranger.name()));
        stranger.start(*now, cluster_id, options)?;
        network.listen(stranger.address, stranger.endpoint);
        let endpoint = stranger.endpoint;
        self.on_stranger(endpoint, None)
    }

    /// One of them starts again, at times where one of ours was, which gets its address.
    fn restart_stranger(&mut self, rng: &mut Random) -> Verdict {
        self.check_strangers()?;
        let count = self.strangers.as_ref().map_or(0, |strangers| strangers.places());
        let (number, place) = (rng.below(count as u64) as usize, rng.below(self.swarm.nodes as u64) as usize);
        let swaps = rng.chance(1, 2);
        if swaps {
            self.crash(place, false)?;
        }
        let World { strangers: Some(strangers), network, places, now, .. } = self else { return Ok(()) };
        let Some(stranger) = strangers.nodes.get_mut(number) else { return Ok(()) };
        stranger.end();
        network.process_ended(*now, stranger.endpoint, rng.chance(1, 3));
        if swaps {
            sometimes(Situation::AddressOfAnotherCluster);
            std::mem::swap(&mut stranger.address, &mut places[place].address);
            self.plan_start(place);
        }
        self.start_stranger(number)
    }

    fn cut_off_strangers(&mut self, cut: bool) {
        let World { strangers: Some(strangers), network, swarm, .. } = self else { return };
        for theirs in strangers.nodes.iter().map(|node| node.endpoint.place) {
            for ours in 0..swarm.nodes {
                network.cut(ours, theirs, cut);
                network.cut(theirs, ours, cut);
            }
        }
    }
}
