//! What the attacker does when: a siege is laid by a strike, and goes on message by message.

use std::net::SocketAddr;

use bytes::Bytes;
use slimcluster_core::node::io::{LinkId, Meta};
use slimcluster_core::node::message::{Hello, PeerMessage};
use slimcluster_core::random::Random;
use slimcluster_core::situations::{Situation, sometimes};
use slimcluster_core::wire::{Assembler, cluster_tag, decode_datagram, decode_peer_message};
use slimcluster_core::{ClusterUuid, Generation, Index, LogId, NodeId, Nonce, Term};

use super::forge;
use super::intruder::{ADDRESS, Attacker, Guise, NOBODY};
use crate::checkers::{Verdict, Violation};
use crate::faults::Undo;
use crate::lifecycle::CLUSTER_ID;
use crate::network::{Arrival, Endpoint};
use crate::phases::Phase;
use crate::streams::{Concern, stream};
use crate::swarm::log_uniform;
use crate::world::{Event, MILLISECOND, Place, SECOND, World};

/// The mean pause between two messages while a majority must work: some twenty a second.
const PAUSE_OF_THE_MAJORITY: u64 = 50 * MILLISECOND;
/// Questions of a flood that come together.
const FLOOD_AT_ONCE: u64 = 16;
/// Frames that a guest says after its greeting.
const GUEST_FRAMES: u64 = 6;
/// What is older than this has been overtaken by much.
const OLD: u64 = 10 * SECOND;

/// What a siege is fought with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weapon {
    /// What is no datagram, or not one of this cluster.
    Garbage = 1,
    /// Datagrams that were sent before, from their senders' addresses or others.
    Replay,
    /// Links: silent ones, garbage, greetings that are not accepted, and guests.
    Link,
    /// Questions without end, under the address of somebody else.
    Flood,
}

/// So many messages, with pauses between.
#[derive(Clone, Debug)]
pub struct Siege {
    weapon: Weapon,
    rng: Random,
    left: u64,
    /// Mean pause.
    pause: u64,
    /// Whom a flood is meant for.
    victim: usize,
    /// It ends with the phase.
    phase: Phase,
}

impl World {
    /// A strike of the attacker.
    pub(crate) fn lay_siege(&mut self, weapon: Weapon, victim: usize, mut rng: Random) {
        let Some(attacker) = self.attacker.as_mut() else { return };
        attacker.weapons.insert(weapon);
        attacker.listen(&mut self.network);
        let (left, pause) = match weapon {
            Weapon::Garbage | Weapon::Replay => {
                (log_uniform(&mut rng, 2, 64), log_uniform(&mut rng, MILLISECOND, 100 * MILLISECOND))
            }
            Weapon::Link => (log_uniform(&mut rng, 1, 16), log_uniform(&mut rng, MILLISECOND, 500 * MILLISECOND)),
            Weapon::Flood => (log_uniform(&mut rng, 4, 100), 2 * MILLISECOND),
        };
        self.besiege(Siege { weapon, rng, left, pause, victim, phase: Phase::Faults });
    }

    /// Everything that has struck so far goes on while a majority must work.
    pub(crate) fn besiege_the_majority(&mut self) {
        let weapons = self.attacker.iter().flat_map(|attacker| &attacker.weapons);
        for weapon in weapons.copied().collect::<Vec<_>>() {
            let rng = stream(self.seed, Concern::Attacker, weapon as u64);
            let (left, pause) = (u64::MAX, PAUSE_OF_THE_MAJORITY);
            self.besiege(Siege { weapon, rng, left, pause, victim: 0, phase: Phase::Majority });
        }
    }

    /// The next message of a siege.
    pub(crate) fn besiege(&mut self, mut siege: Siege) {
        let Some(left) = siege.left.checked_sub(1).filter(|_| siege.phase == self.phase) else { return };
        siege.left = left;
        let anybody = siege.rng.below(self.swarm.nodes as u64) as usize;
        match siege.weapon {
            Weapon::Garbage => self.send_garbage(anybody, &mut siege.rng),
            Weapon::Replay => self.replay_gossip(anybody, &mut siege.rng),
            Weapon::Link => self.dial_as_attacker(anybody, &mut siege.rng),
            Weapon::Flood if siege.phase == Phase::Faults => {
                (0..FLOOD_AT_ONCE).for_each(|_| self.ask_as_nobody(siege.victim, &mut siege.rng));
            }
            Weapon::Flood => self.ask_as_nobody(anybody, &mut siege.rng),
        }
        let pause = siege.rng.below(2 * siege.pause);
        self.after(pause, Event::Undo(Undo::Siege(siege)));
    }

    fn send_garbage(&mut self, victim: usize, rng: &mut Random) {
        let World { attacker: Some(attacker), network, places, now, .. } = self else { return };
        let bytes = forge::datagram(rng, &attacker.tape);
        let from = if rng.chance(1, 2) { ADDRESS } else { places[rng.below(places.len() as u64) as usize].address };
        network.send_datagram(*now, attacker.endpoint.place, from, places[victim].address, bytes);
    }

    /// To anybody, as whoever said it, as somebody else, or as nobody.
    fn replay_gossip(&mut self, victim: usize, rng: &mut Random) {
        let World { attacker: Some(attacker), network, places, now, .. } = self else { return };
        let Some(heard) = attacker.tape.datagrams.pick(rng) else { return };
        let (sender, bytes) = heard.what.clone();
        let from = match rng.below(4) {
            0 | 1 => sender,
            2 => places[rng.below(places.len() as u64) as usize].address,
            _ => ADDRESS,
        };
        if *now > heard.at + OLD {
            sometimes(Situation::OldGossipReplayed);
        }
        network.send_datagram(*now, attacker.endpoint.place, from, places[victim].address, bytes);
    }

    fn ask_as_nobody(&mut self, victim: usize, rng: &mut Random) {
        let World { attacker: Some(attacker), network, places, now, .. } = self else { return };
        let bytes = forge::question(rng);
        network.send_datagram(*now, attacker.endpoint.place, NOBODY, places[victim].address, bytes);
    }

    fn dial_as_attacker(&mut self, victim: usize, rng: &mut Random) {
        let World { attacker: Some(attacker), network, places, now, phase, swarm, .. } = self else { return };
        let id = places[victim].process.as_ref().map(|process| process.node.id());
        let (guise, says) = match rng.below(6) {
            0 => (Guise::Silent, Vec::new()),
            1 | 2 => (Guise::Forger, forge::frames(rng, &attacker.tape)),
            3 if !swarm.static_members => (Guise::Guest, guest(attacker, id, rng)),
            3 => (Guise::Forger, refused(attacker, rng)),
            _ => copy(attacker, id, *phase, rng),
        };
        let link = attacker.dial((*now, network), (victim, places[victim].address), guise, says);
        let hold = rng.below(4 * SECOND);
        self.after(hold, Event::Undo(Undo::HangUp(link)));
    }

    /// The attacker has held a link for long enough.
    pub(crate) fn hang_up(&mut self, link: LinkId) {
        let World { attacker: Some(attacker), network, now, .. } = self else { return };
        attacker.hang_up(*now, network, link);
    }

    /// Whether this is the attacker's endpoint, which then has got something.
    pub(crate) fn reaches_attacker(&mut self, endpoint: Endpoint, arrival: &Arrival) -> Result<bool, Violation> {
        let World { attacker: Some(attacker), network, now, .. } = self else { return Ok(false) };
        let is_reached = endpoint == attacker.endpoint;
        if is_reached {
            attacker.on_arrival(*now, network, arrival)?;
        }
        Ok(is_reached)
    }

    /// A datagram of the attacker has reached a process.
    pub(crate) fn note_hostile(&mut self, endpoint: Endpoint, arrival: &Arrival) {
        let Arrival::Datagram(_, bytes) = arrival else { return };
        let is_garbage = decode_datagram(cluster_tag(CLUSTER_ID), bytes).is_err();
        if let Some(process) = self.process(endpoint).filter(|_| is_garbage) {
            process.garbage += 1;
        }
    }

    /// Z1: the process has handled everything that has arrived, and counts what it did not take.
    pub(crate) fn check_drops(&mut self, endpoint: Endpoint) -> Verdict {
        // Nobody reads datagrams where the members are a fixed list.
        let is_deaf = self.swarm.static_members;
        let Some(process) = self.process(endpoint).filter(|process| process.garbage > 0) else { return Ok(()) };
        if is_deaf || process.is_stopping {
            return Ok(());
        }
        sometimes(Situation::HostileDatagramDropped);
        let drops = process.node.drops().filter(|(reason, _)| reason.starts_with("datagram"));
        let (dropped, garbage) = (drops.map(|(_, count)| count).sum::<u64>(), process.garbage);
        if dropped < garbage {
            let detail = format!("n{} has got {garbage} and counts {dropped}", endpoint.place + 1);
            return Err(Violation::of("what is no datagram is counted", detail));
        }
        Ok(())
    }
}

impl World {
    /// A process sends a datagram: the attacker hears it, and if it answers nobody, that is counted.
    pub(crate) fn overhear_datagram(&mut self, endpoint: Endpoint, to: SocketAddr, bytes: &Bytes) -> Verdict {
        let World { attacker: Some(attacker), places, now, .. } = self else { return Ok(()) };
        let Place { clock, process: Some(process), address, .. } = &places[endpoint.place] else { return Ok(()) };
        if to == NOBODY {
            attacker.amplification.on_datagram(endpoint, process.node.id(), process.time(clock, *now))?;
        }
        attacker.tape.hear_datagram(*now, *address, bytes.clone());
        Ok(())
    }

    /// A process sends a frame, of this message if it is a short one.
    pub(crate) fn overhear_frame(&mut self, frame: &Bytes, message: Option<&PeerMessage>) {
        match (&mut self.attacker, message) {
            (None, _) => {}
            (Some(attacker), Some(PeerMessage::Hello(hello))) => attacker.tape.hear_greeting(hello),
            (Some(attacker), _) => attacker.tape.hear_frame(frame.clone()),
        }
    }
}

/// Somebody of another cluster of the same cluster id, who then says what nodes of this cluster say to each other.
fn guest(attacker: &Attacker, victim: Option<NodeId>, rng: &mut Random) -> Vec<Bytes> {
    let hello = Hello {
        cluster_id: CLUSTER_ID.to_owned(),
        uuid: rng.chance(1, 2).then(|| ClusterUuid(rng.next_u128())),
        from: NodeId(rng.next_u128()),
        to: victim.filter(|_| rng.chance(1, 2)),
        name: "guest".to_owned(),
        address: if rng.chance(1, 2) { ADDRESS } else { NOBODY },
        generation: Generation(1 + rng.below(1 << 40)),
        nonce: Nonce(rng.next()),
        last: LogId { index: Index(rng.below(1 << 40)), term: Term(rng.below(1 << 40)) },
        meta: Meta { http: None, consensus: true },
        bootstrap: None,
    };
    let mut says = forge::greeting(rng, hello);
    let frames = (0..rng.below(GUEST_FRAMES)).filter_map(|_| attacker.tape.frames.pick(rng).cloned());
    says.extend(frames.filter(is_of_a_formed_cluster));
    says
}

/// Whether the frame is one of those that count only from who has proven the cluster.
fn is_of_a_formed_cluster(frame: &Bytes) -> bool {
    let message = Assembler::unproven().push(frame).ok().flatten().map(decode_peer_message);
    use PeerMessage::{Forward, ForwardRefused, Raft, ReadIndex, ReadIndexResponse};
    matches!(
        message,
        Some(Ok(Raft { .. } | Forward(_) | ForwardRefused(_) | ReadIndex { .. } | ReadIndexResponse { .. }))
    )
}

/// The greeting of a node, for another cluster id.
fn refused(attacker: &Attacker, rng: &mut Random) -> Vec<Bytes> {
    let hello = attacker.tape.greetings.pick(rng).cloned();
    let hello = hello.map(|hello| Hello { cluster_id: "another".to_owned(), ..hello });
    hello.map(|hello| forge::greeting(rng, hello)).unwrap_or_default()
}

/// The greeting of a node, as it was said. One that was meant for another is refused; of those that are not, see the rules of the
/// attacker.
fn copy(attacker: &Attacker, victim: Option<NodeId>, phase: Phase, rng: &mut Random) -> (Guise, Vec<Bytes>) {
    let hello = attacker.tape.greetings.pick(rng).cloned();
    let Some(hello) = hello else { return (Guise::Forger, forge::frames(rng, &attacker.tape)) };
    let is_meant_for_another = hello.to.is_some() && victim.is_some() && hello.to != victim;
    if is_meant_for_another {
        (Guise::Forger, forge::greeting(rng, hello))
    } else if phase == Phase::Faults {
        (Guise::Impostor, forge::greeting(rng, hello))
    } else {
        (Guise::Forger, refused(attacker, rng))
    }
}
