//! One running process: the node, the log and the state machine host that production runs, with its threads as queues.
//!
//! The event loop takes everything that has arrived, then judges its deadline, then drains its outputs. The WAL thread takes all
//! queued writes as one batch. The apply thread works in slices. How long each takes is drawn by [`crate::world`], which moves the
//! process from step to step; nothing here knows the time of the world.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use slimcluster_core::machine::{Applied, Budget, Host};
use slimcluster_core::node::io::{Input, LinkId, Output, RequestId};
use slimcluster_core::node::message::PeerMessage;
use slimcluster_core::node::{Node, NodeOptions};
use slimcluster_core::raft::{self, Observed};
use slimcluster_core::storage::{KnownPeer, Recovered, Write};
use slimcluster_core::wire::{Assembler, decode_peer_message};
use slimcluster_core::{Index, Instant, MachineId, NodeId};
use slimcluster_wal::{Wal, WalReader};

use crate::application::Orders;
use crate::checkers::check_quorum::Contacts;
use crate::checkers::{Verdict, Violation};
use crate::client::Operation;
use crate::clock::Clock;
use crate::network::Endpoint;

/// Entries of one slice of apply.
const SLICE_ENTRIES: usize = 16;
/// A few steps in a row may find that they are late.
const SPINS_MAX: u64 = 100;
/// Bytes of one slice of apply.
const SLICE_BYTES: usize = 16 * 1024;

/// No answer to AppendEntries is longer, in either codec.
const ANSWER_BYTES_MAX: usize = 512;

/// A running process.
pub struct Process {
    /// Where it runs, and which start it is.
    pub endpoint: Endpoint,
    /// Its address.
    pub address: SocketAddr,
    /// What the clock of its place showed at its start: its own time is the time since.
    clock_zero: u64,
    /// The node.
    pub node: Node,
    /// The id that the log gave to the state machine.
    pub machine: Option<MachineId>,
    /// What its state machine has been made to do wrong.
    pub orders: Arc<Orders>,
    /// Which node is, or was, at the other end of each link on which something has arrived.
    pub senders: BTreeMap<LinkId, NodeId>,
    /// Who has answered it while it leads.
    pub contacts: Contacts,
    /// What has arrived and was not handled yet.
    pub inbox: VecDeque<Input>,
    /// The event loop is busy, or frozen, until then.
    pub busy_until: u64,
    /// When it started, in the world's time.
    pub began: u64,
    /// It stood still and has not taken a step since.
    pub was_paused: bool,
    /// Every thread of the process stands still until then.
    pub frozen_until: u64,
    /// When the node wants to be woken, by its own time, as of its last step.
    pub deadline: Option<Instant>,
    /// When the next step of the event loop is due. Invariant: one of `alarms` is not after it.
    pub step_at: Option<u64>,
    /// When it is looked at whether a step is due.
    pub alarms: BTreeSet<u64>,
    /// The log.
    pub wal: Wal,
    /// Reads the log back.
    pub reader: WalReader,
    /// Writes that wait for the WAL thread.
    pub write_queue: Vec<Write>,
    /// The WAL thread is busy until then.
    pub writing_until: Option<u64>,
    /// The batch that it is writing.
    pub writing: Vec<Write>,
    /// The node was told that its disk is full.
    pub is_full: bool,
    /// Peers that wait for the WAL thread.
    pub peers: Option<Vec<KnownPeer>>,
    /// The number of the last batch: tells idle time.
    pub batches: u64,
    /// The state machine host.
    pub host: Host,
    /// A slice is being applied until then.
    pub applying_until: Option<u64>,
    /// The next index that the node will hand over to apply.
    pub next_apply: Index,
    /// Operations that wait for their outcome.
    pub requests: BTreeMap<RequestId, Operation>,
    /// Reads that wait for the replica to reach their index.
    pub reads: Vec<(Index, RequestId)>,
    next_request: u64,
    observed: Option<Observed>,
    /// It leads this term, as of the last step.
    pub leads: Option<slimcluster_core::Term>,
    /// It was told to stop, and does.
    pub is_stopping: bool,
    /// So many datagrams of the attacker have reached it that are none.
    pub garbage: u64,
    /// Its storage failed, or it has stopped: it only waits for its end.
    pub stopped: bool,
    /// So many steps in a row have left a deadline that is over already.
    spins: u64,
}

impl Process {
    /// A process over an open store.
    pub fn new(
        endpoint: Endpoint,
        address: SocketAddr,
        (now, clock): (u64, &Clock),
        options: NodeOptions,
        (wal, recovered): (Wal, Recovered),
        host: Host,
        rng_seed: u64,
    ) -> Result<Self, String> {
        let (reader, log) = (wal.reader(), recovered.log.base());
        let node = Node::new(options, recovered, rng_seed, Instant::ZERO)?;
        let deadline = node.poll_timeout();
        Ok(Process {
            endpoint,
            address,
            clock_zero: clock.shows(now),
            node,
            machine: None,
            orders: Arc::default(),
            senders: BTreeMap::new(),
            contacts: Contacts::default(),
            inbox: VecDeque::new(),
            busy_until: now,
            began: now,
            was_paused: false,
            frozen_until: now,
            deadline,
            step_at: None,
            alarms: BTreeSet::new(),
            wal,
            reader,
            write_queue: Vec::new(),
            writing_until: None,
            writing: Vec::new(),
            is_full: false,
            peers: None,
            batches: 0,
            host,
            applying_until: None,
            next_apply: Index(2).max(log.index.next()),
            requests: BTreeMap::new(),
            reads: Vec::new(),
            next_request: 1,
            observed: None,
            leads: None,
            is_stopping: false,
            garbage: 0,
            stopped: false,
            spins: 0,
        })
    }

    /// A step is over: the node says when it wants the next. One whose deadline is over again and again, whatever it did at the last
    /// one, would keep its core busy for nothing.
    pub fn end_step(&mut self, time: Instant) -> Verdict {
        self.deadline = self.node.poll_timeout();
        let is_due = self.deadline.is_some_and(|deadline| deadline <= time);
        self.spins = if is_due { self.spins + 1 } else { 0 };
        if self.spins > SPINS_MAX {
            let detail =
                format!("n{}: {} steps in a row with a deadline in the past", self.endpoint.place + 1, self.spins);
            return Err(Violation::of("no spinning", detail));
        }
        Ok(())
    }

    /// Raft's own invariants, after every input.
    pub fn check_invariants(&mut self) -> Verdict {
        let Some(raft) = self.node.raft() else { return Ok(()) };
        let broken = |fatal: raft::Fatal| Violation::of("invariants of Raft", fatal.to_string());
        raft::check_state(raft).map_err(broken)?;
        if let Some(before) = &self.observed {
            raft::check_step(before, raft).map_err(broken)?;
        }
        self.observed = Some(Observed::new(raft));
        Ok(())
    }

    /// Hands an input to the node. What answers a leader is noted.
    pub fn handle(&mut self, time: Instant, input: Input) {
        if let (Some(term), Input::Frame { link, bytes }) = (self.leads, &input)
            && bytes.len() <= ANSWER_BYTES_MAX
            && let Some(&sender) = self.senders.get(link)
            && let Some(Ok(PeerMessage::Raft { message, .. })) =
                Assembler::default().push(bytes).ok().flatten().map(decode_peer_message)
            && let raft::Message::AppendEntriesResponse(response) = message
            && response.term == term
        {
            self.contacts.on_answer(term, sender, time);
        }
        self.node.handle(time, input);
    }

    /// The process has handled all that has arrived, and judged its deadlines.
    pub fn check_contacts(&mut self, time: Instant) -> Verdict {
        let Some(raft) = self.node.raft() else { return Ok(()) };
        let leads = (raft.role() == raft::Role::Leader).then(|| raft.term());
        self.contacts.check(raft.id(), leads, raft.configuration().voters(), time)
    }

    /// The process's own time. This and [`Process::world_time`] are where the time of a node and that of the world meet.
    pub fn time(&self, clock: &Clock, now: u64) -> Instant {
        Instant::from_micros(clock.shows(now).saturating_sub(self.clock_zero))
    }

    /// The first moment of the world at which it is `at` for the process; none while its clock stands still.
    pub fn world_time(&self, clock: &Clock, at: Instant) -> Option<u64> {
        clock.world_time(self.clock_zero.saturating_add(at.as_micros()))
    }

    /// Registers an operation; its outcome will name it.
    pub fn begin(&mut self, operation: Operation) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.requests.insert(request, operation);
        request
    }

    /// The next output of the node.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.node.poll_output()
    }

    /// Applies one slice; tells what the node must know. The clients use the machine of this `name`.
    pub fn apply_slice(&mut self, name: &str) -> Option<Applied> {
        let applied = self.host.step(Budget { entries_max: SLICE_ENTRIES, bytes_max: SLICE_BYTES })?;
        if let Some((_, id)) = applied.machines.iter().find(|(machine, _)| machine == name) {
            self.machine = Some(*id);
        }
        Some(applied)
    }

    /// Takes the reads whose index the replica has reached.
    pub fn ready_reads(&mut self) -> Vec<RequestId> {
        let applied = self.host.applied();
        let ready = self.reads.iter().filter(|(index, _)| *index <= applied).map(|(_, request)| *request).collect();
        self.reads.retain(|(index, _)| *index > applied);
        ready
    }
}
