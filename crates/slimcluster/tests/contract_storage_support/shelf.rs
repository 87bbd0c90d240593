//! A small durable storage whose medium is a value, and the ways in which it can be wrong.

use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use slimcluster::contract::Fault;
use slimcluster::storage::{
    Fetched, Generation, GroupId, HardState, Identity, KnownPeer, LogSummary, OpenOptions, Opened, Phase, Recovered,
    Run, RunHeader, Storage, StorageError, StorageReader, StorageWriter, Write,
};
use slimcluster::{Durability, Index, WallTime};

/// One promise that the storage breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Prefilled,
    GarblesCommands,
    BackwardBatches,
    KeepsWhatIsCutOff,
    WholeRunsOnly,
    IgnoresBytes,
    NothingIfTooLarge,
    ErrorBehindTheEnd,
    DropsLargeRuns,
    StartsEveryLogAtOne,
    NeverIdleEnough,
    WritesBehind,
    TakesHoles,
    ForgetsAfterManyCuts,
    RemembersThoughEphemeral,
    SameGeneration,
    TakesNewIds,
    AnyCluster,
    NoLock,
    ForgetsVotes,
    UndoesCuts,
    ForgetsAbandoned,
    NoTail,
    ForgetsPeers,
    LosesTheTwentiethRestart,
    KeepsAtTheEnd,
    NeverSyncs,
    TriesAgain,
    RunsFirst,
    FullIsFailure,
    NeverFree,
}

/// What outlives the process.
#[derive(Default)]
pub struct Medium(Mutex<Contents>);

#[derive(Default)]
struct Contents {
    kept: Option<Kept>,
    held: bool,
    opens: u64,
    fault: Option<Fault>,
    /// Bytes that may be used without asking for more.
    claimed: usize,
}

/// What a storage holds.
#[derive(Clone)]
struct Kept {
    identity: Identity,
    hard_state: HardState,
    log: LogSummary,
    runs: Vec<Run>,
    peers: Vec<KnownPeer>,
    cuts: u64,
}

impl Medium {
    pub fn inject(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }

    /// One effect: a write or a sync.
    fn effect(&self, is_sync: bool) -> Result<(), StorageError> {
        let failed = |what: &str| Err(StorageError::Failed(what.to_owned()));
        match &mut self.lock().fault {
            Some(Fault::FailAfter(0)) => failed("the medium fails"),
            Some(Fault::FailSyncs) if is_sync => failed("the sync fails"),
            Some(Fault::FailAfter(left)) => {
                *left -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A write with its sync.
    fn persist(&self, flaw: Option<Flaw>) -> Result<(), StorageError> {
        self.effect(false)?;
        if flaw == Some(Flaw::NeverSyncs) { Ok(()) } else { self.effect(true) }
    }
}

/// The storage.
pub struct Shelf {
    pub medium: Arc<Medium>,
    pub flaw: Option<Flaw>,
}

impl Storage for Shelf {
    fn open(&self, options: &OpenOptions) -> Result<Opened, StorageError> {
        let is = |flaw| self.flaw == Some(flaw);
        let refuse = |why: &str| Err(StorageError::Failed(why.to_owned()));
        let mut contents = self.medium.lock();
        if contents.held && !is(Flaw::NoLock) {
            return refuse("the shelf is in use");
        }
        let mut kept = contents.kept.take().unwrap_or_else(|| Kept::new(options));
        if kept.identity.cluster_id != options.cluster_id && !is(Flaw::AnyCluster) {
            contents.kept = Some(kept);
            return refuse("the shelf is another cluster's");
        }
        contents.opens += 1;
        if !is(Flaw::SameGeneration) || contents.opens == 1 {
            kept.identity.generation = kept.identity.generation.next();
        }
        if is(Flaw::Prefilled) {
            kept.hard_state.term.0 = 5;
        }
        if is(Flaw::TakesNewIds) {
            kept.identity.node = options.node;
        }
        if is(Flaw::LosesTheTwentiethRestart) && contents.opens == 20 {
            kept.runs.pop();
            kept.recount();
        }
        contents.held = true;
        contents.kept = Some(kept.clone());
        drop(contents);
        let tail = if is(Flaw::NoTail) { Vec::new() } else { kept.runs.iter().rev().take(3).rev().cloned().collect() };
        let recovered = Recovered {
            identity: kept.identity.clone(),
            hard_state: kept.hard_state,
            log: kept.log.clone(),
            tail,
            peers: kept.peers.clone(),
        };
        let view = Arc::new(RwLock::new(kept.clone()));
        let reader = Arc::new(Reader { view: Arc::clone(&view), flaw: self.flaw });
        let (medium, flaw) = (Arc::clone(&self.medium), self.flaw);
        let writer = Box::new(Writer { medium, kept, view, flaw, failed: false, full: None });
        Ok(Opened { recovered, writer, reader })
    }

    fn durability(&self) -> Durability {
        let pretends = self.flaw == Some(Flaw::RemembersThoughEphemeral);
        if pretends { Durability::Ephemeral } else { Durability::Fsync }
    }

    fn describe(&self) -> String {
        "a shelf".to_owned()
    }
}

impl Kept {
    fn new(options: &OpenOptions) -> Self {
        let identity = Identity {
            node: options.node,
            store: options.store,
            cluster_id: options.cluster_id.clone(),
            generation: Generation(0),
            phase: Phase::Fresh,
            abandoned: Vec::new(),
        };
        let (hard_state, log) = (HardState::default(), LogSummary::default());
        Kept { identity, hard_state, log, runs: Vec::new(), peers: Vec::new(), cuts: 0 }
    }

    /// Makes the summary of the log anew.
    fn recount(&mut self) {
        self.log = self.identity.phase.founding_log(GroupId::DEFAULT);
        for run in &self.runs {
            self.log.splice(run).unwrap();
        }
    }

    fn splice(&mut self, run: &Run, flaw: Option<Flaw>) -> Result<(), StorageError> {
        let is = |wanted| flaw == Some(wanted);
        let cuts = run.first() <= self.log.last().index;
        if let Err(error) = self.log.splice(run) {
            return if is(Flaw::TakesHoles) { Ok(()) } else { Err(StorageError::Failed(error.to_string())) };
        }
        let behind: Vec<Run> = self.runs.iter().filter(|old| old.first() > run.last()).cloned().collect();
        while let Some(last) = self.runs.pop_if(|last| last.last() >= run.first()) {
            self.runs.extend(last.slice(last.first(), run.first().prev()));
        }
        if !(is(Flaw::DropsLargeRuns) && run.encoded_len() > 2 << 20) {
            self.runs.push(if is(Flaw::GarblesCommands) { garbled(run) } else { run.clone() });
        }
        if is(Flaw::KeepsWhatIsCutOff) {
            self.runs.extend(behind);
        }
        self.cuts += u64::from(cuts);
        if is(Flaw::ForgetsAfterManyCuts) && self.cuts == 5 {
            self.runs.remove(0);
        }
        Ok(())
    }
}

fn garbled(run: &Run) -> Run {
    let header = RunHeader { wall_time: WallTime(1), ..*run.header() };
    let commands: Vec<_> = run.entries().map(|entry| entry.payload).collect();
    Run::commands(header, run.blocks().to_vec(), commands.iter().map(|command| &command[..])).unwrap()
}

struct Writer {
    medium: Arc<Medium>,
    /// What is written, as far as this process knows.
    kept: Kept,
    /// What readers see.
    view: Arc<RwLock<Kept>>,
    flaw: Option<Flaw>,
    failed: bool,
    full: Option<String>,
}

impl Writer {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn claim(&mut self, bytes: usize) -> Result<(), StorageError> {
        let mut contents = self.medium.lock();
        if contents.claimed < bytes {
            if contents.fault == Some(Fault::NoSpace) {
                let why = "the shelf is full".to_owned();
                self.full = Some(why.clone());
                let is_failure = self.flaw == Some(Flaw::FullIsFailure);
                return Err(if is_failure { StorageError::Failed(why) } else { StorageError::Full(why) });
            }
            contents.claimed = bytes + CLAIM_BYTES;
        }
        contents.claimed -= bytes;
        Ok(())
    }

    /// Brings everything up to `next` to the medium.
    fn keep(&mut self, next: Kept) {
        let before = std::mem::replace(&mut self.kept, next);
        *self.view.write().unwrap() = if self.is(Flaw::WritesBehind) { before } else { self.kept.clone() };
        if !self.is(Flaw::KeepsAtTheEnd) {
            self.commit();
        }
    }

    fn commit(&self) {
        let mut kept = self.kept.clone();
        if self.is(Flaw::ForgetsVotes) {
            kept.hard_state.vote = None;
        }
        if self.is(Flaw::ForgetsAbandoned) {
            kept.identity.abandoned.clear();
        }
        if self.is(Flaw::UndoesCuts) && kept.cuts > 0 {
            return;
        }
        self.medium.lock().kept = Some(kept);
    }

    fn execute(&mut self, batch: &[Write]) -> Result<(), StorageError> {
        let mut next = self.kept.clone();
        let (mut hard_state, mut has_runs) = (None, false);
        let order: Vec<&Write> =
            if self.is(Flaw::BackwardBatches) { batch.iter().rev().collect() } else { batch.iter().collect() };
        for write in order {
            if let Some(identity) = &write.identity {
                self.medium.persist(self.flaw)?;
                next.identity = identity.clone();
                if next.runs.is_empty() && !self.is(Flaw::StartsEveryLogAtOne) {
                    next.log = identity.phase.founding_log(GroupId::DEFAULT);
                }
            }
            hard_state = write.hard_state.or(hard_state);
            for run in &write.runs {
                next.splice(run, self.flaw)?;
                has_runs = true;
            }
        }
        if self.is(Flaw::RunsFirst) && has_runs {
            self.medium.persist(self.flaw)?;
            self.keep(next.clone());
            has_runs = false;
        }
        if let Some(hard_state) = hard_state {
            self.medium.persist(self.flaw)?;
            next.hard_state = hard_state;
            self.keep(Kept { hard_state, ..self.kept.clone() });
        }
        if has_runs {
            self.medium.persist(self.flaw)?;
        }
        self.keep(next);
        Ok(())
    }
}

impl StorageWriter for Writer {
    fn write(&mut self, batch: &[Write]) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Failed("the shelf has failed before".to_owned()));
        }
        self.claim(batch.iter().flat_map(|write| &write.runs).map(Run::encoded_len).sum())?;
        let result = self.execute(batch);
        self.failed = result.is_err() && !self.is(Flaw::TriesAgain);
        result
    }

    fn prepare(&mut self) -> Result<(), StorageError> {
        if self.medium.lock().fault != Some(Fault::NoSpace) && !self.is(Flaw::NeverFree) {
            self.full = None;
        }
        Ok(())
    }

    fn needs_idle(&self) -> bool {
        self.is(Flaw::NeverIdleEnough)
    }

    fn full(&self) -> Option<String> {
        self.full.clone()
    }

    fn remember_peers(&mut self, peers: &[KnownPeer]) -> Result<(), StorageError> {
        if !self.is(Flaw::ForgetsPeers) {
            self.keep(Kept { peers: peers.to_vec(), ..self.kept.clone() });
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.is(Flaw::KeepsAtTheEnd) && self.medium.effect(false).is_ok() {
            self.commit();
        }
        self.medium.lock().held = false;
    }
}

struct Reader {
    view: Arc<RwLock<Kept>>,
    flaw: Option<Flaw>,
}

impl StorageReader for Reader {
    fn fetch(&self, group: GroupId, first: Index, last: Index, bytes_max: usize) -> Result<Fetched, StorageError> {
        let is = |flaw| self.flaw == Some(flaw);
        let view = self.view.read().unwrap();
        let mut fetched = Fetched { group, first, runs: Vec::new() };
        let end = view.runs.last().map_or(Index(0), Run::last);
        if first > end && is(Flaw::ErrorBehindTheEnd) {
            return Err(StorageError::Failed(format!("the log ends at {end}")));
        }
        let (mut next, mut left) = (first, if is(Flaw::IgnoresBytes) { usize::MAX } else { bytes_max });
        if group != GroupId::DEFAULT || first > last {
            return Ok(fetched);
        }
        for run in view.runs.iter().filter(|run| run.last() >= first) {
            if run.first() > next || next > last {
                break;
            }
            let slice = if is(Flaw::WholeRunsOnly) { Some(run.clone()) } else { run.slice(next, last) };
            let Some(slice) = slice else { break };
            let head = slice.head_within(left);
            let fits = head.encoded_len() <= left;
            if !fits && (!fetched.runs.is_empty() || is(Flaw::NothingIfTooLarge)) {
                break;
            }
            left = left.saturating_sub(head.encoded_len());
            next = head.last().next();
            let is_whole = head == slice;
            fetched.runs.push(head);
            if !is_whole {
                break;
            }
        }
        Ok(fetched)
    }
}

// Small, so that a full shelf is soon noticed.
const CLAIM_BYTES: usize = 1 << 20;
