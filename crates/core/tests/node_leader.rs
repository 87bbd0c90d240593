//! What a leader answers a peer that asks it, on links that the test plays by hand.

mod node_support;

use std::collections::BTreeMap;

use node_support::{address, formed_by_two, start};
use slimcluster_core::machine::Applied;
use slimcluster_core::node::Node;
use slimcluster_core::node::io::{Input, LinkId, Output, Role};
use slimcluster_core::node::message::{Forward, ForwardRefused, Hello, PeerMessage};
use slimcluster_core::raft::{AppendEntries, AppendEntriesResponse, Message, PreVoteResponse, RequestVoteResponse};
use slimcluster_core::wire::{Assembler, Codec, decode_peer_message, encode_peer_message};
use slimcluster_core::{
    Block, ClusterUuid, GroupId, Index, Instant, LogId, LogTime, MachineId, Run, RunHeader, RunKind, SessionId, Term,
    WallTime,
};

const CLUSTER: &str = "leader";
const UUID: ClusterUuid = ClusterUuid(0xc1);
const GROUP: GroupId = GroupId::DEFAULT;
const MACHINE: MachineId = MachineId(2);
/// On which the node hears its peer.
const INBOUND: LinkId = LinkId(2);

/// Node 1 with its disk and machine, and node 2, which votes for it and follows it as long as it `follows`.
struct Pair {
    node: Node,
    now: Instant,
    follows: bool,
    assemblers: BTreeMap<LinkId, Assembler>,
    /// What node 2 was told, but for greetings and Raft.
    told: Vec<PeerMessage>,
}

impl Pair {
    /// Node 1 leads.
    fn led() -> Pair {
        let now = Instant::ZERO;
        let node = start(CLUSTER, 2, formed_by_two(UUID));
        let mut pair = Pair { node, now, follows: true, assemblers: BTreeMap::new(), told: Vec::new() };
        pair.node.handle(now, Input::Accepted { link: INBOUND, from: address(2) });
        pair.say(INBOUND, &PeerMessage::Hello(hello()));
        for _ in 0..1_000 {
            if pair.node.status().role == Role::Leader && pair.node.status().ready {
                return pair;
            }
            pair.now = pair.node.poll_timeout().unwrap();
            pair.node.handle(pair.now, Input::Timeout);
            pair.settle();
        }
        panic!("node 1 does not lead: {:?}", pair.node.status());
    }

    fn say(&mut self, link: LinkId, message: &PeerMessage) {
        for bytes in encode_peer_message(Codec::Protobuf, message) {
            self.node.handle(self.now, Input::Frame { link, bytes });
        }
    }

    /// Node 2 says this; whatever follows from it is done.
    fn ask(&mut self, message: &PeerMessage) {
        self.say(INBOUND, message);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Connect { link, .. } => self.node.handle(self.now, Input::Connected(link)),
                Output::Write(write) => self.node.handle(self.now, Input::Written(write.seq)),
                Output::Apply(runs) => {
                    let through = runs.last().map(Run::last).unwrap_or_default();
                    let machines = vec![("counter".to_owned(), MACHINE)];
                    self.node.handle(self.now, Input::Applied(Applied { through, machines, ..Applied::default() }));
                }
                Output::Frame { link, bytes, .. } => {
                    let assembled = self.assemblers.entry(link).or_default().push(&bytes).unwrap();
                    if let Some(message) = assembled {
                        self.on_told(link, decode_peer_message(message).unwrap());
                    }
                }
                _ => {}
            }
        }
    }

    fn on_told(&mut self, link: LinkId, message: PeerMessage) {
        match message {
            PeerMessage::Hello(_) => self.say(link, &PeerMessage::Welcome(hello())),
            PeerMessage::Raft { message, .. } => {
                if let Some(message) = answer(message).filter(|_| self.follows) {
                    self.say(INBOUND, &PeerMessage::Raft { group: GROUP, message });
                }
            }
            PeerMessage::Welcome(_) => {}
            message => self.told.push(message),
        }
    }
}

/// What a node answers that has nothing against the asker.
fn answer(message: Message) -> Option<Message> {
    let granted = true;
    Some(match message {
        Message::PreVote(m) => Message::PreVoteResponse(PreVoteResponse { term: m.term, asked: m.term, granted }),
        Message::RequestVote(m) => Message::RequestVoteResponse(RequestVoteResponse { term: m.term, granted }),
        Message::AppendEntries(m) => {
            let match_index = m.runs.last().map_or(m.prev.index, Run::last);
            let (term, round) = (m.term, m.round);
            Message::AppendEntriesResponse(AppendEntriesResponse { term, round, match_index, conflict: None })
        }
        _ => return None,
    })
}

/// What node 2 says of itself.
fn hello() -> Box<Hello> {
    Box::new(node_support::hello(CLUSTER, Some(UUID)))
}

/// A command of node 2's application.
fn forward(term: Term, number: u64) -> PeerMessage {
    let header = RunHeader {
        group: GROUP,
        kind: RunKind::Command,
        codec: 1,
        command_version: 1,
        term,
        first: Index(1),
        machine: MACHINE,
        log_time: LogTime(0),
        wall_time: WallTime(0),
        chain: 0,
    };
    let block = Block { session: SessionId(2), first_number: number, count: 1, acked_below: 1 };
    PeerMessage::Forward(Forward { run: Run::commands(header, vec![block], [&b"add"[..]]).unwrap(), number })
}

/// Rule 16: what was appended is never refused, whatever the network repeats and whatever has changed meanwhile.
#[test]
fn a_forward_that_comes_twice_is_taken_once() {
    let mut pair = Pair::led();
    let (term, before) = (pair.node.status().term, pair.node.status().commit);
    pair.ask(&forward(term, 1));
    assert_eq!(pair.node.status().commit, before.next());
    pair.node.handle(pair.now, Input::StorageFull(true));
    pair.ask(&forward(term, 1));
    assert_eq!((pair.told.as_slice(), pair.node.status().commit), (&[][..], before.next()));
    // The next one is refused: the storage is full indeed.
    pair.ask(&forward(term, 2));
    let refused = ForwardRefused { group: GROUP, number: 2, term, kind: RunKind::Command, overloaded: true };
    assert_eq!(pair.told, [PeerMessage::ForwardRefused(refused)]);
}

/// Nobody waits for an answer that cannot come any more: who asked is told when the leadership ends, and may ask the next leader.
#[test]
fn a_read_that_waits_is_answered_when_the_leadership_ends() {
    let mut pair = Pair::led();
    pair.follows = false;
    pair.ask(&PeerMessage::ReadIndex { group: GROUP, id: 9 });
    assert_eq!(pair.told, [], "nothing confirms it yet");
    let term = pair.node.status().term.next();
    let prev = LogId::new(Term(1), Index(1));
    let append = AppendEntries { term, prev, prev_chain: 0, leader_commit: Index(0), round: 1, runs: Vec::new() };
    pair.ask(&PeerMessage::Raft { group: GROUP, message: Message::AppendEntries(append) });
    assert_eq!(pair.told, [PeerMessage::ReadIndexResponse { group: GROUP, id: 9, index: None }]);
}
