//! A whole node, with a sound store and a sound state machine, among peers, a network and an application that do what the input says.
//!
//! The node may refuse, drop, warn and stop with a reason. It may not panic, run in circles, or send what its peers could not read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use slimcluster_core::machine::{Budget, CODEC_POSTCARD, Host};
use slimcluster_core::node::bootstrap::BootstrapOptions;
use slimcluster_core::node::io::{Input, LinkId, Meta, Output, RequestId, Submit};
use slimcluster_core::node::message::{Forward, ForwardRefused, Hello, PeerMessage};
use slimcluster_core::node::{ConsensusOptions, Membership, Node, NodeOptions, ProposalOptions, bootstrap};
use slimcluster_core::raft::{
    self, AppendEntries, AppendEntriesResponse, Configuration, ConfiguredNode, Conflict, PreVote, PreVoteResponse,
    RequestVote, RequestVoteResponse, Resign, Standing,
};
use slimcluster_core::storage::{Fetched, Identity, LogSummary, Phase, Recovered};
use slimcluster_core::types::StoreId;
use slimcluster_core::wire::{
    Assembler, Codec, FRAME_BYTES_MAX, cluster_tag, decode_datagram, decode_peer_message, encode_peer_message,
};
use slimcluster_core::{
    Block, ClusterUuid, CommandId, Durability, Generation, GroupId, HardState, Index, Instant, LogId, LogTime,
    MachineId, NodeId, Nonce, Run, RunHeader, RunKind, SessionId, Term, WallTime, WriteSeq, swim,
};

use crate::draw::Draw;
use crate::gossip::CLUSTER_ID;
use crate::peer::{KINDS, head};
use crate::{allocations, seal};

const OWN: NodeId = NodeId(1);
/// The peers of the founding set; a fourth is a stranger.
const PEERS: u128 = 4;
const UUID: ClusterUuid = ClusterUuid(0xc1);
/// Things that happen in one input.
const EVENTS_MAX: usize = 200;
/// More outputs than any one event may bring: every link, every waiting request and every member has a few.
const OUTPUTS_MAX: usize = 20_000;
/// The longest pause of a process: a suspended machine that wakes after a day.
const PAUSE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Deadlines that may follow each other without time passing.
const TIMEOUTS_MAX: usize = 50;

/// A node and everything that its inputs make of it.
pub fn node(bytes: &[u8]) {
    // Queues and caches of the options, and what the test itself keeps.
    allocations::within(64 << 20, "a node", || {
        let mut draw = Draw::new(bytes);
        let mut trial = Trial::new(draw.u8());
        trial.settle();
        for _ in 0..EVENTS_MAX {
            if draw.is_empty() || trial.stopped {
                break;
            }
            trial.happen(&mut draw);
            trial.settle();
        }
    });
}

/// A node, and what surrounds it.
struct Trial {
    node: Node,
    now: Instant,
    codec: Codec,
    host: Host,
    /// The log as its store would have it.
    log: LogSummary,
    runs: Vec<Run>,
    last_write: WriteSeq,
    last_accepted: u64,
    /// The link on which each peer has introduced itself.
    inbound: BTreeMap<NodeId, LinkId>,
    /// Links that the node has dialled.
    dialled: Vec<LinkId>,
    /// What the node sends is put together and read, as its peers would.
    assemblers: BTreeMap<LinkId, Assembler>,
    last_request: u64,
    stopped: bool,
}

impl Trial {
    fn new(kind: u8) -> Self {
        let peers = if kind & 2 == 0 { 3 } else { 1 };
        let nodes = (1..=peers).map(|id| ConfiguredNode {
            id: NodeId(id),
            name: format!("n{id}"),
            durability: Durability::Fsync,
            standing: Standing::Voter,
        });
        let baseline = Configuration::new(nodes.collect()).expect("a sound configuration");
        let phase = if kind & 1 == 0 { Phase::Formed { uuid: UUID, baseline } } else { Phase::Fresh };
        let log = phase.founding_log(GroupId::DEFAULT);
        let identity = Identity {
            node: OWN,
            store: StoreId(5),
            cluster_id: CLUSTER_ID.to_owned(),
            generation: Generation(1),
            phase,
            abandoned: Vec::new(),
        };
        let recovered = Recovered {
            identity,
            hard_state: HardState { term: Term(1), vote: None },
            log: log.clone(),
            tail: Vec::new(),
            peers: Vec::new(),
        };
        let codec = if kind & 4 == 0 { Codec::Protobuf } else { Codec::Json };
        let consensus = ConsensusOptions {
            raft: raft::Options::lan(),
            bootstrap: BootstrapOptions::new("n1", peers as usize, Durability::Fsync),
            proposals: ProposalOptions::default(),
        };
        let options = NodeOptions {
            name: "n1".to_owned(),
            address: address_of(OWN),
            meta: Meta { http: None, consensus: true },
            codec,
            nonce: Nonce(11),
            membership: if kind & 8 == 0 { Membership::Swim(swim::Options::lan()) } else { Membership::Static },
            announce: kind & 16 == 0,
            consensus: (kind & 32 == 0).then_some(consensus),
            restart_within: Duration::from_secs(60),
        };
        let node = Node::new(options, recovered, 7, Instant::ZERO).expect("a sound store");
        Trial {
            node,
            now: Instant::ZERO,
            codec,
            host: Host::new(OWN, Generation(1)),
            log,
            runs: Vec::new(),
            last_write: WriteSeq(0),
            last_accepted: 0,
            inbound: BTreeMap::new(),
            dialled: Vec::new(),
            assemblers: BTreeMap::new(),
            last_request: 0,
            stopped: false,
        }
    }

    /// One thing happens.
    fn happen(&mut self, draw: &mut Draw<'_>) {
        match draw.u8() % 24 {
            0 => {
                self.now += Duration::from_micros(draw.edgy()).min(PAUSE_MAX);
                self.handle(Input::Timeout);
            }
            1 | 2 => self.wait(draw),
            3 | 4 => {
                let from = draw_address(draw);
                let bytes = seal::datagram(draw.piece(), cluster_tag(CLUSTER_ID)).unwrap_or_default().into();
                self.handle(Input::Datagram { from, bytes });
            }
            5 => {
                let from = draw_address(draw);
                let bytes = seal::datagram(draw.short_piece(), cluster_tag(CLUSTER_ID)).unwrap_or_default().into();
                self.handle(Input::Announcement { from, bytes });
            }
            6 | 7 => self.introduce(draw),
            8 => self.connect(draw),
            9 => {
                let link = self.link(draw);
                self.handle(Input::Disconnected { link, reason: "the input says so".to_owned() });
            }
            10 => {
                let (link, bytes) = (self.link(draw), Bytes::copy_from_slice(draw.piece()));
                self.handle(Input::Frame { link, bytes: seal::link_frame(&bytes).map_or(bytes, Bytes::from) });
            }
            11 => {
                // A record of any kind, whole and sealed.
                let (link, kind) = (self.link(draw), 1 + draw.below(KINDS.len()));
                let (record, body) = (draw.piece(), draw.short_piece());
                let head = head(kind, Codec::Protobuf, record);
                let head_bytes = (head.len() as u32).to_le_bytes();
                let message = [&[1, 1, 0, 3, 0, 0, 0, 0][..], &head_bytes, &head, body].concat();
                let bytes = seal::link_frame(&message).unwrap_or_default().into();
                self.handle(Input::Frame { link, bytes });
            }
            12 => self.handle(Input::Written(self.last_write)),
            13 => self.request(draw),
            14 => self.interfere(draw),
            15 | 16 => {
                let message = self.draw_raft(draw);
                self.hear(draw, &raft_message(message));
            }
            17 | 18 => {
                let message = self.entries(draw);
                self.hear(draw, &raft_message(message));
            }
            19 | 20 => {
                // A vote that was waited for.
                let term = self.term();
                let message = match draw.u8() % 2 {
                    0 => raft::Message::PreVoteResponse(PreVoteResponse { term, asked: term, granted: true }),
                    _ => raft::Message::RequestVoteResponse(RequestVoteResponse { term, granted: true }),
                };
                self.hear(draw, &raft_message(message));
            }
            21 => {
                let message = self.draw_request(draw);
                self.hear(draw, &message);
            }
            22 => {
                let message = draw_bootstrap(draw);
                self.hear(draw, &PeerMessage::Bootstrap(message));
            }
            _ => {
                // Everything written so far matches, as a peer says.
                let match_index = self.log.last().index;
                let response =
                    AppendEntriesResponse { term: self.term(), round: draw.edgy(), match_index, conflict: None };
                self.hear(draw, &raft_message(raft::Message::AppendEntriesResponse(response)));
            }
        }
    }

    /// Until the next deadline. A node that has handled it must have another.
    fn wait(&mut self, draw: &mut Draw<'_>) {
        let late = Duration::from_micros(u64::from(draw.u8()));
        let Some(deadline) = self.node.poll_timeout() else { return };
        self.now = self.now.max(deadline) + late;
        for _ in 0..TIMEOUTS_MAX {
            self.handle(Input::Timeout);
            self.settle();
            if self.node.poll_timeout().is_none_or(|next| next > self.now) {
                return;
            }
        }
        panic!("{TIMEOUTS_MAX} deadlines at {:?}: the node runs in circles", self.now);
    }

    /// A peer dials and introduces itself.
    fn introduce(&mut self, draw: &mut Draw<'_>) {
        let peer = draw_peer(draw);
        self.last_accepted += 2;
        let link = LinkId(self.last_accepted);
        self.handle(Input::Accepted { link, from: address_of(peer) });
        let hello = PeerMessage::Hello(Box::new(self.hello(peer, draw)));
        self.receive(link, &hello);
        self.inbound.insert(peer, link);
    }

    /// A link that the node dialled is up, and somebody welcomes it.
    fn connect(&mut self, draw: &mut Draw<'_>) {
        let Some(&link) = self.dialled.get(draw.below(self.dialled.len())) else { return };
        self.handle(Input::Connected(link));
        let peer = draw_peer(draw);
        let welcome = PeerMessage::Welcome(Box::new(self.hello(peer, draw)));
        self.receive(link, &welcome);
    }

    fn request(&mut self, draw: &mut Draw<'_>) {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        let input = match draw.u8() % 4 {
            0 => Input::Register { name: format!("m{}", draw.u8() % 4) },
            1 => Input::Read { request },
            2 => {
                let id = CommandId { session: SessionId(draw.edgy()), number: draw.edgy() };
                Input::Resubmit { request, id }
            }
            _ => Input::Submit(Submit {
                request,
                machine: MachineId(draw.edgy()),
                codec: CODEC_POSTCARD,
                version: 1,
                command: Bytes::copy_from_slice(draw.short_piece()),
            }),
        };
        self.handle(input);
    }

    /// What the driver, the discovery and the operator say.
    fn interfere(&mut self, draw: &mut Draw<'_>) {
        let input = match draw.u8() % 12 {
            0 => Input::StorageFull(draw.bool()),
            1 => Input::WallTime(WallTime(draw.edgy())),
            2 => Input::Lateness(Duration::from_micros(draw.edgy())),
            3 => Input::Discovered((0..draw.u8() % 8).map(|_| draw_address(draw)).collect()),
            4 => Input::Advertise(Meta { http: Some("n1:80".to_owned()), consensus: draw.bool() }),
            5 => Input::StorageFailed("the input says so".to_owned()),
            6 => Input::Shutdown,
            7 => Input::Leave,
            8 => Input::Written(WriteSeq(draw.edgy())),
            9 => Input::Connected(LinkId(draw.edgy())),
            10 => Input::Accepted { link: LinkId(2 * (draw.edgy() >> 1)), from: draw_address(draw) },
            _ => Input::Fetched(Fetched { group: GroupId(draw.edgy()), first: Index(draw.edgy()), runs: Vec::new() }),
        };
        self.handle(input);
    }

    /// A Raft message whose numbers are the input's.
    fn draw_raft(&self, draw: &mut Draw<'_>) -> raft::Message {
        // Terms near the node's own are the interesting ones.
        let term = if draw.u8() & 1 == 0 { Term(self.term().0 + draw.u8() as u64 % 3) } else { Term(draw.edgy()) };
        let id = |draw: &mut Draw<'_>| LogId::new(Term(draw.edgy()), Index(draw.edgy()));
        match draw.u8() % 7 {
            0 => raft::Message::PreVote(PreVote { term, last: id(draw) }),
            1 => raft::Message::PreVoteResponse(PreVoteResponse { term, asked: Term(draw.edgy()), granted: true }),
            2 => raft::Message::RequestVote(RequestVote { term, last: id(draw), released: draw.bool() }),
            3 => raft::Message::RequestVoteResponse(RequestVoteResponse { term, granted: draw.bool() }),
            4 => raft::Message::AppendEntries(AppendEntries {
                term,
                prev: id(draw),
                prev_chain: draw.edgy(),
                leader_commit: Index(draw.edgy()),
                round: draw.edgy(),
                runs: Vec::new(),
            }),
            5 => raft::Message::AppendEntriesResponse(AppendEntriesResponse {
                term,
                round: draw.edgy(),
                match_index: Index(draw.edgy()),
                conflict: (draw.bool()).then(|| Conflict { rejected: Index(draw.edgy()), hint: id(draw) }),
            }),
            _ => raft::Message::Resign(Resign { term, successor: draw.bool() }),
        }
    }

    /// Entries that follow the node's log, or replace its end.
    fn entries(&self, draw: &mut Draw<'_>) -> raft::Message {
        let term = Term(self.term().0 + u64::from(draw.one_in(16)));
        let back = draw.u8() as usize % 4;
        let kept = self.runs.len().saturating_sub(if back == 3 { 1 } else { 0 });
        let (prev, chain) = match kept.checked_sub(1).and_then(|at| self.runs.get(at)) {
            Some(run) => (run.last_id(), run.chain_end()),
            None => (self.log.base(), self.log.base_chain()),
        };
        let run = match draw.u8() % 8 {
            0 => Vec::new(),
            1 => vec![run_at(prev, chain, term, RunKind::Noop, draw)],
            2 => vec![run_at(prev, chain, term, RunKind::Session, draw)],
            3 => vec![run_at(prev, chain, term, RunKind::Machine, draw)],
            4 => vec![run_at(prev, chain, term, RunKind::Configuration, draw)],
            _ => vec![run_at(prev, chain, term, RunKind::Command, draw)],
        };
        let leader_commit = Index(prev.index.0.saturating_sub(1) + u64::from(draw.u8() % 3));
        raft::Message::AppendEntries(AppendEntries {
            term,
            prev,
            prev_chain: chain,
            leader_commit,
            round: draw.edgy(),
            runs: run,
        })
    }

    fn draw_request(&self, draw: &mut Draw<'_>) -> PeerMessage {
        let (group, term) = (GroupId::DEFAULT, self.term());
        match draw.u8() % 4 {
            0 => PeerMessage::ReadIndex { group, id: draw.edgy() },
            1 => PeerMessage::ReadIndexResponse { group, id: draw.edgy(), index: Some(Index(draw.edgy())) },
            2 => PeerMessage::ForwardRefused(ForwardRefused {
                group,
                number: draw.edgy(),
                term,
                kind: RunKind::Command,
                overloaded: draw.bool(),
            }),
            _ => {
                let kind = [RunKind::Command, RunKind::Session, RunKind::Machine, RunKind::Noop][draw.below(4)];
                let run = run_at(LogId::ZERO, 0, term, kind, draw);
                PeerMessage::Forward(Forward { run, number: draw.edgy() })
            }
        }
    }

    /// The node hears a message from a peer that has introduced itself.
    fn hear(&mut self, draw: &mut Draw<'_>, message: &PeerMessage) {
        let peers: Vec<LinkId> = self.inbound.values().copied().collect();
        match peers.get(draw.below(peers.len())) {
            Some(&link) => self.receive(link, message),
            // Nobody has yet: the first to speak introduces itself.
            None => self.introduce(draw),
        }
    }

    fn receive(&mut self, link: LinkId, message: &PeerMessage) {
        for bytes in encode_peer_message(self.codec, message) {
            self.handle(Input::Frame { link, bytes });
        }
    }

    fn hello(&self, peer: NodeId, draw: &mut Draw<'_>) -> Hello {
        let oddity = draw.u8();
        let claim = match oddity % 8 {
            0..=2 => bootstrap::Claim::Formed { uuid: UUID, members: (1..=3).map(NodeId).collect() },
            3 => bootstrap::Claim::Fresh { sees: None },
            4 => bootstrap::Claim::Promised { uuid: ClusterUuid(u128::from(draw.u8())) },
            5 => bootstrap::Claim::JoinOnly { uuid: UUID, is_alone: draw.bool() },
            6 => bootstrap::Claim::Formed { uuid: ClusterUuid(draw.u8().into()), members: vec![peer, OWN] },
            _ => bootstrap::Claim::Fresh { sees: Some(ClusterUuid(u128::from(draw.u8()))) },
        };
        let is_fresh = matches!(claim, bootstrap::Claim::Fresh { .. });
        let bootstrap = bootstrap::Hello {
            name: format!("n{peer:?}"),
            node_count: if oddity & 64 == 0 { 3 } else { draw.u8().into() },
            durability: Durability::Fsync,
            revision: draw.edgy(),
            claim,
        };
        Hello {
            cluster_id: if oddity & 128 == 0 || oddity & 32 == 0 { CLUSTER_ID.to_owned() } else { "other".to_owned() },
            uuid: (!is_fresh).then_some(UUID),
            from: peer,
            to: None,
            name: format!("n{peer:?}"),
            address: address_of(peer),
            generation: Generation(draw.edgy() >> 16),
            nonce: Nonce(draw.edgy()),
            last: LogId::ZERO,
            meta: Meta { http: None, consensus: true },
            bootstrap: Some(bootstrap),
        }
    }

    /// One of the links that exist, or none that does.
    fn link(&self, draw: &mut Draw<'_>) -> LinkId {
        let links: Vec<LinkId> = self.inbound.values().chain(&self.dialled).copied().collect();
        links.get(draw.below(links.len() + 1)).copied().unwrap_or(LinkId(draw.edgy()))
    }

    fn term(&self) -> Term {
        self.node.status().term
    }

    fn handle(&mut self, input: Input) {
        self.node.handle(self.now, input);
    }

    /// Carries out what the node wants done, and what comes of that.
    fn settle(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            match self.node.poll_output() {
                Some(output) => self.carry_out(output),
                None => return,
            }
        }
        panic!("more than {OUTPUTS_MAX} outputs for one event");
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Datagram { bytes, .. } => {
                assert!(bytes.len() <= 1_232, "a datagram of {} bytes", bytes.len());
                let decoded = decode_datagram(cluster_tag(CLUSTER_ID), &bytes);
                assert!(decoded.is_ok(), "the node sends what no member can read: {decoded:?}");
            }
            Output::Frame { link, bytes, .. } => {
                assert!(bytes.len() <= FRAME_BYTES_MAX);
                let assembled = self.assemblers.entry(link).or_default().push(&bytes).expect("own frames are sound");
                if let Some(assembled) = assembled {
                    let decoded = decode_peer_message(assembled.clone());
                    assert!(decoded.is_ok(), "the node sends what no peer can read: {assembled:?}");
                }
            }
            Output::Connect { link, .. } => self.dialled.push(link),
            Output::Close(link) => {
                self.dialled.retain(|dialled| *dialled != link);
                self.inbound.retain(|_, inbound| *inbound != link);
                self.assemblers.remove(&link);
            }
            Output::Write(write) => {
                assert!(write.seq > self.last_write, "writes are numbered in order");
                self.last_write = write.seq;
                if let Some(identity) = write.identity
                    && self.runs.is_empty()
                {
                    self.log = identity.phase.founding_log(GroupId::DEFAULT);
                }
                for run in write.runs {
                    self.log.splice(&run).expect("what is written continues the log");
                    while self.runs.last().is_some_and(|last| last.last() >= run.first()) {
                        let cut = self.runs.pop();
                        self.runs.extend(cut.and_then(|cut| cut.slice(Index(0), run.first().prev())));
                    }
                    self.runs.push(run);
                }
            }
            Output::Fetch { group, first, last, .. } => {
                let runs = self.runs.iter().filter_map(|run| run.slice(first, last)).collect();
                self.handle(Input::Fetched(Fetched { group, first, runs }));
            }
            Output::Apply(runs) => {
                self.host.apply(runs);
                while let Some(applied) = self.host.step(Budget { entries_max: 100, bytes_max: 1 << 20 }) {
                    self.handle(Input::Applied(applied));
                }
            }
            Output::Renamed { node, generation } => self.host.change_owner(node, generation),
            Output::Stopped => self.stopped = true,
            Output::Discover
            | Output::Announce(_)
            | Output::RememberPeers(_)
            | Output::Submitted { .. }
            | Output::ReadReady { .. }
            | Output::Event(_) => {}
        }
    }
}

fn draw_bootstrap(draw: &mut Draw<'_>) -> bootstrap::Message {
    let ids = |draw: &mut Draw<'_>| (0..draw.u8() % 5).map(|_| NodeId(u128::from(draw.u8() % 6))).collect();
    match draw.u8() % 2 {
        0 => bootstrap::Message::Promises { uuid: UUID, promised: ids(draw) },
        _ => {
            let node = NodeId(u128::from(draw.u8() % 6));
            bootstrap::Message::Abandoned(vec![slimcluster_core::storage::Abandoned { node, set: ids(draw) }])
        }
    }
}

/// A run behind `prev`. Commands get a block of their own.
fn run_at(prev: LogId, chain: u64, term: Term, kind: RunKind, draw: &mut Draw<'_>) -> Run {
    let header = RunHeader {
        group: GroupId::DEFAULT,
        kind,
        codec: CODEC_POSTCARD,
        command_version: 1,
        term,
        first: prev.index.next(),
        machine: MachineId(draw.edgy()),
        log_time: LogTime(draw.edgy()),
        wall_time: WallTime(draw.edgy()),
        chain,
    };
    if kind != RunKind::Command {
        return Run::single(header, Bytes::copy_from_slice(draw.short_piece()));
    }
    let count = 1 + draw.u8() % 4;
    let first_number = draw.edgy().min(u64::MAX - u64::from(count));
    let (session, acked_below) = (SessionId(draw.edgy()), draw.edgy());
    let block = Block { session, first_number, count: count.into(), acked_below };
    let command = draw.short_piece();
    Run::commands(header, vec![block], (0..count).map(|_| command)).expect("blocks and commands agree")
}

fn raft_message(message: raft::Message) -> PeerMessage {
    PeerMessage::Raft { group: GroupId::DEFAULT, message }
}

fn draw_peer(draw: &mut Draw<'_>) -> NodeId {
    NodeId(2 + u128::from(draw.u8()) % PEERS)
}

fn address_of(node: NodeId) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7_000 + node.0 as u16))
}

fn draw_address(draw: &mut Draw<'_>) -> SocketAddr {
    match draw.u8() {
        byte @ 0..=239 => address_of(NodeId(1 + u128::from(byte) % 6)),
        _ => SocketAddr::from((draw.u32().to_be_bytes(), draw.u16())),
    }
}
