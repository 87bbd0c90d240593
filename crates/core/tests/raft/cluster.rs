//! A few Raft values joined by a network, disks and state machines that a test plays by hand.
//!
//! Nothing happens by itself: messages wait until they are delivered, writes until they are synced, the clock until it is moved.
//! After every input the invariants run, and what no single node can see is checked here: one leader per term, one history of
//! applied entries, no acknowledged read of the past.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use bytes::Bytes;
use slimcluster_core::raft::{
    Configuration, ConfiguredNode, Input, Message, Observed, Options, Output, Proposal, ProposeError, Raft, ReadId,
    RecoveredLog, Role, Standing, check_state, check_step,
};
use slimcluster_core::storage::{Fetched, LogSummary, Phase};
use slimcluster_core::{
    Block, ClusterUuid, Durability, GroupId, HardState, Index, Instant, LogId, MachineId, NodeId, Run, RunKind,
    SessionId, Term, WallTime, WriteSeq,
};

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub from: NodeId,
    pub to: NodeId,
    pub message: Message,
}

/// What a node's disk holds, and what was written and not synced.
pub struct Disk {
    hard_state: HardState,
    runs: Vec<Run>,
    unsynced: VecDeque<(WriteSeq, Option<HardState>, Vec<Run>)>,
}

/// One node: a process that may be down, and a disk that stays.
pub struct Node {
    pub raft: Option<Raft>,
    pub disk: Disk,
    starts: u64,
    applied: Index,
    unapplied: VecDeque<Index>,
    unfetched: VecDeque<(Index, Index, usize)>,
    /// What storage has read and not handed over yet: the log may have changed since.
    loaded: VecDeque<Fetched>,
}

/// What is done at once instead of by hand.
#[derive(Clone, Copy, Debug)]
pub struct Automatic {
    pub sync: bool,
    pub apply: bool,
    pub fetch: bool,
}

pub struct Cluster {
    pub nodes: BTreeMap<NodeId, Node>,
    pub network: Vec<Envelope>,
    pub now: Instant,
    pub automatic: Automatic,
    /// What happened since it was last taken, one line each.
    pub trace: String,
    pub options: Options,
    baseline: Configuration,
    rng_seed: u64,
    proposed: u64,
    leaders: BTreeMap<Term, NodeId>,
    /// The one history: what was applied at each index, by whomever first.
    history: BTreeMap<Index, (Term, u64)>,
    /// Reads under way, with the highest index that any node knew to be committed when they began.
    reads: BTreeMap<ReadId, Index>,
    pub reads_ready: u64,
    read_ids: u64,
}

pub const GROUP: GroupId = GroupId::DEFAULT;

impl Cluster {
    /// Nodes 1, 2, 3 and so on, in these standings, formed and never started before.
    pub fn new(standings: &[Standing], options: Options, rng_seed: u64) -> Cluster {
        let nodes = standings.iter().enumerate().map(|(at, &standing)| ConfiguredNode {
            id: NodeId(at as u128 + 1),
            name: format!("n{}", at + 1),
            durability: Durability::Fsync,
            standing,
        });
        let baseline = Configuration::new(nodes.collect()).unwrap();
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
            network: Vec::new(),
            now: Instant::ZERO,
            automatic: Automatic { sync: true, apply: true, fetch: true },
            trace: String::new(),
            options,
            rng_seed,
            proposed: 0,
            leaders: BTreeMap::new(),
            history: BTreeMap::new(),
            reads: BTreeMap::new(),
            reads_ready: 0,
            read_ids: 0,
            baseline,
        };
        for at in 0..standings.len() {
            let disk = Disk { hard_state: HardState::default(), runs: Vec::new(), unsynced: VecDeque::new() };
            let node = Node {
                raft: None,
                disk,
                starts: 0,
                applied: Index(1),
                unapplied: VecDeque::new(),
                unfetched: VecDeque::new(),
                loaded: VecDeque::new(),
            };
            cluster.nodes.insert(NodeId(at as u128 + 1), node);
            cluster.start(NodeId(at as u128 + 1));
        }
        cluster
    }

    /// Starts a node with what its disk kept.
    pub fn start(&mut self, id: NodeId) {
        let mut log: LogSummary = self.founded().founding_log(GROUP);
        let node = self.nodes.get_mut(&id).unwrap();
        for run in &node.disk.runs {
            log.splice(run).unwrap();
        }
        let recovered = RecoveredLog {
            hard_state: node.disk.hard_state,
            baseline: self.baseline.clone(),
            log,
            // Half of it, so that older entries must be fetched.
            tail: node.disk.runs[node.disk.runs.len() / 2..].to_vec(),
        };
        node.starts += 1;
        node.applied = Index(1);
        let rng_seed = self.rng_seed ^ ((id.0 as u64) << 32) ^ node.starts;
        node.raft = Some(Raft::new(self.options.clone(), id, GROUP, recovered, rng_seed, self.now).unwrap());
        self.drain(id);
    }

    /// Kills a node; of what was not synced, the first `kept` writes survive.
    pub fn crash(&mut self, id: NodeId, kept: usize) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.raft = None;
        node.unapplied.clear();
        node.unfetched.clear();
        node.loaded.clear();
        for _ in 0..kept {
            node.disk.sync_one();
        }
        node.disk.unsynced.clear();
    }

    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes[&id].raft.is_some()
    }

    pub fn raft(&self, id: NodeId) -> &Raft {
        self.nodes[&id].raft.as_ref().unwrap()
    }

    /// Hash of everything up to and including the founding entry.
    pub fn founding_chain(&self) -> u64 {
        self.founded().founding_log(GROUP).chain()
    }

    fn founded(&self) -> Phase {
        Phase::Formed { uuid: ClusterUuid(1), baseline: self.baseline.clone() }
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// The leader of the highest term, if there is one.
    pub fn leader(&self) -> Option<NodeId> {
        let rafts = self.nodes.values().filter_map(|node| node.raft.as_ref());
        rafts.filter(|raft| raft.role() == Role::Leader).max_by_key(|raft| raft.term()).map(Raft::id)
    }

    /// Hands an input to a node that is up, checks it, and takes its outputs.
    pub fn handle(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        let Some(raft) = &mut self.nodes.get_mut(&id).unwrap().raft else { return };
        let before = Observed::new(raft);
        raft.handle(now, input);
        check_step(&before, raft).unwrap();
        self.drain(id);
    }

    /// Proposes one command per payload, in one proposal.
    pub fn propose(&mut self, id: NodeId, payloads: &[&str]) -> Result<LogId, ProposeError> {
        let answer = self.propose_silently(id, payloads);
        self.drain(id);
        answer
    }

    /// Proposes without taking outputs.
    pub fn propose_silently(&mut self, id: NodeId, payloads: &[&str]) -> Result<LogId, ProposeError> {
        let first_number = self.proposed + 1;
        self.proposed += payloads.len() as u64;
        let count = payloads.len() as u32;
        let proposal = Proposal {
            kind: RunKind::Command,
            machine: MachineId(1),
            codec: 1,
            command_version: 1,
            blocks: vec![Block { session: SessionId(1), first_number, count, acked_below: 0 }],
            commands: payloads.iter().map(|payload| Bytes::copy_from_slice(payload.as_bytes())).collect(),
            wall_time: WallTime(0),
        };
        let now = self.now;
        let Some(raft) = &mut self.nodes.get_mut(&id).unwrap().raft else { return Err(ProposeError::Stopped) };
        raft.propose(now, proposal)
    }

    /// Begins a read; its index must reach what was committed by now.
    pub fn read(&mut self, id: NodeId) -> bool {
        let floor = self.nodes.values().filter_map(|node| node.raft.as_ref()).map(Raft::commit_index).max();
        let floor = floor.unwrap_or_default().max(self.history.keys().next_back().copied().unwrap_or_default());
        self.read_ids += 1;
        let read = ReadId(self.read_ids);
        let now = self.now;
        let Some(raft) = &mut self.nodes.get_mut(&id).unwrap().raft else { return false };
        let is_accepted = raft.read(now, read).is_ok();
        if is_accepted {
            self.reads.insert(read, floor);
        }
        self.drain(id);
        is_accepted
    }

    /// Delivers the message at `at`; lost if the receiver is down.
    pub fn deliver(&mut self, at: usize) {
        let Envelope { from, to, message } = self.network.remove(at);
        self.handle(to, Input::Message { from, message });
    }

    /// Completes everything that was written.
    pub fn sync(&mut self, id: NodeId) {
        while self.sync_one(id) {}
    }

    /// Completes the oldest write.
    pub fn sync_one(&mut self, id: NodeId) -> bool {
        let Some(seq) = self.nodes.get_mut(&id).unwrap().disk.sync_one() else { return false };
        self.handle(id, Input::Written(seq));
        true
    }

    /// Applies what was handed over.
    pub fn apply(&mut self, id: NodeId) {
        while let Some(index) = self.nodes.get_mut(&id).unwrap().unapplied.pop_front() {
            self.handle(id, Input::Applied(index));
        }
    }

    /// Answers the oldest fetch, with what was loaded for it or with what the disk holds now.
    pub fn fetch(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.loaded.is_empty() {
            node.load_one();
        }
        if let Some(fetched) = node.loaded.pop_front() {
            self.handle(id, Input::Fetched(fetched));
        }
    }

    /// Reads what every fetch asks for, and answers none.
    pub fn load(&mut self, id: NodeId) {
        while self.nodes.get_mut(&id).unwrap().load_one() {}
    }

    /// Moves the clock and fires what falls due, in order.
    pub fn advance_to(&mut self, until: Instant) {
        loop {
            let due = self.nodes.iter().filter_map(|(&id, node)| Some((node.raft.as_ref()?.poll_timeout()?, id))).min();
            match due {
                Some((at, id)) if at <= until => {
                    self.now = self.now.max(at);
                    self.handle(id, Input::Timeout);
                }
                _ => break,
            }
        }
        self.now = self.now.max(until);
    }

    /// Delivers and completes until nothing is left to do. Bounded, so that a conversation without end fails.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let before = self.network.len();
            if before > 0 {
                self.deliver(0);
            }
            let mut is_busy = before > 0;
            for id in self.ids() {
                is_busy |= self.sync_one(id);
                self.apply(id);
                is_busy |= self.nodes[&id].is_fetching();
                self.fetch(id);
            }
            if !is_busy {
                return;
            }
        }
        panic!("the nodes do not come to rest:\n{}", self.trace);
    }

    pub fn note(&mut self, line: impl std::fmt::Display) {
        writeln!(self.trace, "{line}").unwrap();
    }

    /// Takes every output of a node.
    pub fn drain(&mut self, id: NodeId) {
        loop {
            let Some(raft) = &mut self.nodes.get_mut(&id).unwrap().raft else { return };
            let Some(output) = raft.poll_output() else { break };
            check_state(raft).unwrap();
            self.on_output(id, output);
        }
        let raft = self.raft(id);
        if raft.role() == Role::Leader {
            let term = raft.term();
            let known = *self.leaders.entry(term).or_insert(id);
            assert_eq!(known, id, "two leaders in term {term}:\n{}", self.trace);
        }
        if self.automatic.sync {
            self.sync(id);
        }
        if self.automatic.apply {
            self.apply(id);
        }
        if self.automatic.fetch && self.nodes[&id].is_fetching() {
            self.fetch(id);
        }
    }

    fn on_output(&mut self, id: NodeId, output: Output) {
        let line = format!("{id:?} {}", super::print::output(&output));
        self.note(line);
        match output {
            Output::Send { to, message } => self.network.push(Envelope { from: id, to, message }),
            Output::Write { seq, hard_state, runs } => {
                self.nodes.get_mut(&id).unwrap().disk.unsynced.push_back((seq, hard_state, runs));
            }
            Output::Fetch { first, last, bytes_max } => {
                self.nodes.get_mut(&id).unwrap().unfetched.push_back((first, last, bytes_max));
            }
            Output::Apply(runs) => self.on_apply(id, &runs),
            Output::ReadReady { id: read, index } => {
                let floor = self.reads.remove(&read).expect("a read is answered once");
                assert!(index >= floor, "read {read:?} at {index} misses entries up to {floor}:\n{}", self.trace);
                self.reads_ready += 1;
            }
            Output::ReadFailed { id: read } => {
                self.reads.remove(&read).expect("a read is answered once");
            }
            Output::LeaderChanged(_) => {}
            Output::Fatal(fatal) => panic!("{id:?} stopped: {fatal}\n{}", self.trace),
        }
    }

    fn on_apply(&mut self, id: NodeId, runs: &[Run]) {
        for run in runs {
            for entry in run.entries() {
                let node = self.nodes.get_mut(&id).unwrap();
                assert_eq!(entry.index, node.applied.next(), "{id:?} skips or repeats entries");
                node.applied = entry.index;
                let chain = run.chain_at(entry.index).unwrap();
                let known = *self.history.entry(entry.index).or_insert((run.term(), chain));
                assert_eq!(known, (run.term(), chain), "{id:?} applies another {}:\n{}", entry.index, self.trace);
            }
            self.nodes.get_mut(&id).unwrap().unapplied.push_back(run.last());
        }
    }
}

impl Node {
    fn is_fetching(&self) -> bool {
        !self.unfetched.is_empty() || !self.loaded.is_empty()
    }

    /// Reads what the oldest fetch asks for.
    fn load_one(&mut self) -> bool {
        let Some((first, last, bytes_max)) = self.unfetched.pop_front() else { return false };
        let mut runs: Vec<Run> = Vec::new();
        let mut bytes = 0;
        for run in self.disk.runs.iter().filter_map(|run| run.slice(first, last)) {
            if bytes > 0 && bytes + run.encoded_len() > bytes_max {
                break;
            }
            let fitting = run.head_within(bytes_max - bytes.min(bytes_max));
            bytes += fitting.encoded_len();
            let is_cut = fitting.last() < run.last();
            runs.push(fitting);
            if is_cut {
                break;
            }
        }
        self.loaded.push_back(Fetched { group: GROUP, first, runs });
        true
    }
}

impl Disk {
    fn sync_one(&mut self) -> Option<WriteSeq> {
        let (seq, hard_state, runs) = self.unsynced.pop_front()?;
        self.hard_state = hard_state.unwrap_or(self.hard_state);
        for run in runs {
            self.runs = self.runs.iter().filter_map(|old| old.slice(old.first(), run.first().prev())).collect();
            self.runs.push(run);
        }
        Some(seq)
    }

    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }
}
