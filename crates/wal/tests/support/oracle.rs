//! What a store may hold after a crash: durable <= recovered <= written, and nothing in between that was never its state.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use slimcluster_core::storage::{Identity, KnownPeer, Phase, Recovered, Write};
use slimcluster_core::{Generation, GroupId, HardState, Run};
use slimcluster_wal::{Wal, WalError};

use super::{Author, CLUSTER, FRESH};

/// Everything that a store holds at one moment.
#[derive(Clone)]
pub struct Point {
    /// Its generation may have been raised since, by opens that were cut short.
    pub identity: Identity,
    pub hard_state: HardState,
    pub author: Author,
    pub peers: Vec<KnownPeer>,
}

/// What the caller did, and what it may expect to find.
#[derive(Clone)]
pub struct Expectation {
    /// The states that the store went through, in order, from the last one that is known to be durable.
    points: Vec<Arc<Point>>,
    /// The last of them that was acknowledged.
    durable: usize,
    /// The last generation that an open has returned.
    generation: Generation,
}

impl Default for Expectation {
    /// A store that was never opened.
    fn default() -> Self {
        let identity = Identity {
            node: FRESH.node,
            store: FRESH.store,
            cluster_id: CLUSTER.to_owned(),
            generation: Generation(0),
            phase: Phase::Fresh,
            abandoned: Vec::new(),
        };
        let author = Author { log: identity.phase.founding_log(GroupId::DEFAULT), ..Author::default() };
        let point = Point { identity, hard_state: HardState::default(), author, peers: Vec::new() };
        Expectation { points: vec![Arc::new(point)], durable: 0, generation: Generation(0) }
    }
}

impl Expectation {
    /// The newest state, durable or not.
    pub fn last(&self) -> &Point {
        self.points.last().unwrap()
    }

    /// Hands `batch` over, and notes what became of it.
    pub fn write(&mut self, wal: &mut Wal, batch: &[Write]) -> Result<(), WalError> {
        self.announce(batch);
        wal.write(batch)?;
        self.acknowledge();
        Ok(())
    }

    /// Notes a batch that is about to be handed over: each step of it may be found from now on.
    pub fn announce(&mut self, batch: &[Write]) {
        let (mut hard_state, mut bodies) = (None, Vec::new());
        for write in batch {
            if let Some(identity) = &write.identity {
                self.announce_records(hard_state.take(), std::mem::take(&mut bodies));
                let mut point = self.last().clone();
                point.identity = identity.clone();
                let founding = identity.phase.founding_log(GroupId::DEFAULT);
                if founding.base() != point.author.log.base() {
                    point.author = Author { log: founding, ..Author::default() };
                }
                self.points.push(Arc::new(point));
            }
            hard_state = write.hard_state.or(hard_state);
            bodies.extend(&write.runs);
        }
        self.announce_records(hard_state, bodies);
    }

    /// Term and vote before the records (rule 4), and the records in their order.
    fn announce_records(&mut self, hard_state: Option<HardState>, runs: Vec<&Run>) {
        if let Some(hard_state) = hard_state {
            self.points.push(Arc::new(Point { hard_state, ..self.last().clone() }));
        }
        for run in runs {
            let mut point = self.last().clone();
            point.author.put(run);
            self.points.push(Arc::new(point));
        }
    }

    /// Notes a list of peers that is about to be handed over.
    pub fn announce_peers(&mut self, peers: &[KnownPeer]) {
        self.points.push(Arc::new(Point { peers: peers.to_vec(), ..self.last().clone() }));
    }

    /// Everything that was handed over is durable.
    pub fn acknowledge(&mut self) {
        self.points.drain(..self.points.len() - 1);
        self.durable = 0;
    }

    /// Everything that was handed over since the last acknowledgement was refused before any of it was written.
    pub fn withdraw(&mut self) {
        self.points.truncate(self.durable + 1);
    }

    /// Checks what was recovered; from now on it is what is durable.
    pub fn check(&mut self, recovered: &Recovered) -> Result<(), String> {
        let allowed = &self.points[self.durable..];
        let Some(at) = allowed.iter().position(|point| point.is(recovered)) else {
            let (first, last) = (&allowed[0], &allowed[allowed.len() - 1]);
            return Err(format!(
                "recovered {:?}, {:?}, phase {:?}, peers {}; acknowledged {first}; written {last}",
                recovered.log.last(),
                recovered.hard_state,
                recovered.identity.phase,
                recovered.peers.len(),
            ));
        };
        if recovered.identity.generation <= self.generation {
            return Err(format!("generation {:?} after {:?}", recovered.identity.generation, self.generation));
        }
        let mut found = allowed[at].clone();
        Arc::make_mut(&mut found).identity.generation = recovered.identity.generation;
        let tail: Vec<_> = recovered.tail.iter().flat_map(entries).collect();
        let expected: Vec<_> = found.author.runs.iter().flat_map(entries).collect();
        if tail != expected {
            return Err(format!("the tail holds {} entries and is not the end of the log", tail.len()));
        }
        self.points = vec![found];
        self.durable = 0;
        self.generation = recovered.identity.generation;
        Ok(())
    }

    /// Checks that every entry can be read back, in reads of at most `bytes_max`.
    pub fn check_fetches(&self, wal: &Wal, bytes_max: usize) -> Result<(), String> {
        let log = &self.last().author.log;
        let reader = wal.reader();
        let mut read = Vec::new();
        let mut next = log.base().index.next();
        while next <= log.last().index {
            let fetched = reader.fetch(GroupId::DEFAULT, next, log.last().index, bytes_max);
            let runs = fetched.map_err(|error| format!("reading entry {next}: {error}"))?.runs;
            next = runs.last().ok_or_else(|| format!("entry {next} is not read back"))?.last().next();
            read.extend(runs.iter().flat_map(entries));
        }
        let expected: Vec<_> = self.last().author.runs.iter().flat_map(entries).collect();
        if read == expected { Ok(()) } else { Err("what is read back was not written".to_owned()) }
    }

    /// A number for what may be found; expectations with the same one are taken for equal.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.generation.hash(&mut hasher);
        for point in &self.points[self.durable..] {
            let log = &point.author.log;
            (log.base().index.0, log.last().term.0, log.last().index.0, log.chain()).hash(&mut hasher);
            (point.hard_state.term.0, point.hard_state.vote.map(|node| node.0)).hash(&mut hasher);
            format!("{:?} {:?}", point.identity, point.peers).hash(&mut hasher);
        }
        hasher.finish()
    }
}

impl Point {
    fn is(&self, recovered: &Recovered) -> bool {
        let identity = Identity { generation: self.identity.generation, ..recovered.identity.clone() };
        recovered.log == self.author.log
            && recovered.hard_state == self.hard_state
            && identity == self.identity
            && recovered.peers == self.peers
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (last, phase) = (self.author.log.last(), &self.identity.phase);
        write!(f, "{last:?}, {:?}, phase {phase:?}, peers {}", self.hard_state, self.peers.len())
    }
}

fn entries(run: &Run) -> impl Iterator<Item = (u64, u64, Bytes)> {
    let term = run.term().0;
    run.entries().map(move |entry| (term, entry.index.0, entry.payload))
}
