//! One node of the second cluster, with a disk and a state machine host that answer at once.

use std::collections::VecDeque;
use std::net::SocketAddr;

use slimcluster_core::machine::{Budget, Host};
use slimcluster_core::node::io::{Input, Output};
use slimcluster_core::node::{Node, NodeOptions};
use slimcluster_core::random::Random;
use slimcluster_core::storage::Fetched;
use slimcluster_core::types::StoreId;
use slimcluster_core::{Instant, NodeId};
use slimcluster_wal::{FreshIds, Options as WalOptions, Wal, WalError, WalReader};

use crate::checkers::Violation;
use crate::disk::SimDisk;
use crate::network::Endpoint;

/// Everything that is to be applied is, in one go.
const UNBOUNDED: Budget = Budget { entries_max: usize::MAX, bytes_max: usize::MAX };

/// Segments as small as the logs are: nobody looks at what these nodes do at the end of one.
const SEGMENT_BYTES: u64 = 32 * 1024;

/// A place of the second cluster, and perhaps its process.
pub(super) struct Stranger {
    /// Its place on the network, and which start it is.
    pub endpoint: Endpoint,
    /// Its address.
    pub address: SocketAddr,
    /// Decides its ids.
    pub rng: Random,
    disk: SimDisk,
    process: Option<Process>,
}

struct Process {
    node: Node,
    wal: Wal,
    reader: WalReader,
    host: Host,
    began: u64,
    inbox: VecDeque<Input>,
    /// When its next step is planned.
    step_at: Option<u64>,
}

impl Stranger {
    /// A place with an empty disk.
    pub fn new(place: usize, address: SocketAddr, mut rng: Random) -> Self {
        let disk = SimDisk::new(rng.fork(0));
        Stranger { endpoint: Endpoint { place, start: 0 }, address, rng, disk, process: None }
    }

    /// The node, while it runs.
    pub fn node(&self) -> Option<&Node> {
        self.process.as_ref().map(|process| &process.node)
    }

    /// Its process starts at `now`, as part of the cluster with this id.
    pub fn start(&mut self, now: u64, cluster_id: &str, options: NodeOptions) -> Result<(), Violation> {
        let fresh = FreshIds { node: NodeId(self.rng.next_u128()), store: StoreId(self.rng.next_u128()) };
        let rng_seed = self.rng.next();
        let options_of_log = WalOptions { segment_bytes: SEGMENT_BYTES, ..WalOptions::default() };
        let (wal, recovered) =
            Wal::open(self.disk.mount(), options_of_log, cluster_id, fresh).map_err(|error| self.broken(error))?;
        let host = Host::new(recovered.identity.node, recovered.identity.generation);
        let node = Node::new(options, recovered, rng_seed, Instant::ZERO);
        let node = node.map_err(|reason| Violation::of("recovery", format!("{}: {reason}", self.name())))?;
        self.endpoint.start += 1;
        let reader = wal.reader();
        self.process = Some(Process { node, wal, reader, host, began: now, inbox: VecDeque::new(), step_at: None });
        Ok(())
    }

    /// Its process is gone.
    pub fn end(&mut self) {
        self.disk.process_crash();
        self.process = None;
    }

    /// Something reaches it.
    pub fn hand(&mut self, input: Input) {
        if let Some(process) = &mut self.process {
            process.inbox.push_back(input);
        }
    }

    /// When it wants to take its next step, if that is not planned yet.
    pub fn plan_step(&mut self, now: u64) -> Option<u64> {
        let process = self.process.as_mut()?;
        let at = now.max(process.began + process.node.poll_timeout()?.as_micros());
        if process.step_at.is_some_and(|planned| planned > now && planned <= at) {
            return None;
        }
        process.step_at = Some(at);
        Some(at)
    }

    /// Everything that has arrived is handled and its deadline judged; returns what it wants done beyond its own place.
    pub fn step(&mut self, now: u64) -> Result<Vec<Output>, Violation> {
        let Some(process) = &mut self.process else { return Ok(Vec::new()) };
        let mut outputs = Vec::new();
        process.step(now, &mut outputs).map_err(|error| self.broken(error))?;
        Ok(outputs)
    }

    /// What it is called in texts.
    pub fn name(&self) -> String {
        format!("stranger at {}", self.address)
    }

    fn broken(&self, error: WalError) -> Violation {
        Violation::of("storage works", format!("{}: {error}", self.name()))
    }
}

impl Process {
    fn step(&mut self, now: u64, outputs: &mut Vec<Output>) -> Result<(), WalError> {
        let Process { node, wal, reader, host, began, inbox, .. } = self;
        let time = Instant::from_micros(now - *began);
        loop {
            while let Some(input) = inbox.pop_front() {
                node.handle(time, input);
            }
            if node.poll_timeout().is_some_and(|deadline| deadline <= time) {
                node.handle(time, Input::Timeout);
            }
            match node.poll_output() {
                None => return Ok(()),
                Some(Output::Write(write)) => {
                    wal.write(std::slice::from_ref(&write))?;
                    wal.prepare_segment()?;
                    inbox.push_back(Input::Written(write.seq));
                }
                Some(Output::Fetch { group, first, last, bytes_max }) => {
                    let Fetched { runs, .. } = reader.fetch(group, first, last, bytes_max)?;
                    inbox.push_back(Input::Fetched(Fetched { group, first, runs }));
                }
                Some(Output::Apply(runs)) => {
                    host.apply(runs);
                    inbox.extend(std::iter::from_fn(|| host.step(UNBOUNDED)).map(Input::Applied));
                }
                Some(Output::Renamed { node, generation }) => host.change_owner(node, generation),
                Some(Output::RememberPeers(peers)) => wal.remember_peers(&peers)?,
                Some(output) => outputs.push(output),
            }
        }
    }
}
