//! One storage under trial, and beside it what it ought to hold.

use std::sync::Arc;

use bytes::Bytes;
use slimcluster_core::random::Random;
use slimcluster_core::storage::{Identity, LogSummary, Phase, Recovered, Write};
use slimcluster_core::types::StoreId;
use slimcluster_core::{
    Block, Generation, GroupId, HardState, Index, LogTime, MachineId, NodeId, Run, RunHeader, RunKind, SessionId, Term,
    WallTime, WriteSeq,
};

use super::suite::{Bench, Inject};
use crate::Durability;
use crate::contract::case::{Breach, Verdict, breach, equal, holds};
use crate::storage::{OpenOptions, Opened, Storage, StorageError, StorageReader, StorageWriter};

pub(super) const GROUP: GroupId = GroupId::DEFAULT;
pub(super) const ALL: usize = usize::MAX;

/// One storage, the ends of its present open, and what it ought to hold.
pub(super) struct Trial {
    pub storage: Box<dyn Storage>,
    pub options: OpenOptions,
    pub expected: Expected,
    ends: Option<(Box<dyn StorageWriter>, Arc<dyn StorageReader>)>,
    seq: WriteSeq,
}

/// What a storage ought to hold.
// Invariant: `runs` are contiguous, begin behind the base of `log` and end with it.
#[derive(Clone)]
pub(super) struct Expected {
    pub identity: Identity,
    pub hard_state: HardState,
    pub log: LogSummary,
    pub runs: Vec<Run>,
}

impl Trial {
    /// A new storage of the suite's maker, open.
    pub fn new(bench: &Bench, name: &str) -> Result<Trial, Breach> {
        Trial::of((bench.make)(name))
    }

    /// A new storage over a medium that can be made to fail, open.
    pub fn faulty(bench: &Bench, name: &str) -> Result<(Trial, Inject), Breach> {
        let make = bench.faulty.as_ref().ok_or_else(|| breach("a medium that can fail", "none"))?;
        let (storage, inject) = make(name);
        Ok((Trial::of(storage)?, inject))
    }

    fn of(storage: Box<dyn Storage>) -> Result<Trial, Breach> {
        let options = OpenOptions {
            cluster_id: CLUSTER_ID.to_owned(),
            node: NodeId(0xa11ce000 << 96),
            store: StoreId(0x57080000 << 96),
        };
        let expected = Expected::fresh(&options);
        let mut trial = Trial { storage, options, expected, ends: None, seq: WriteSeq(0) };
        trial.open()?;
        Ok(trial)
    }

    /// Opens, and compares what is found with what is expected. The generation must rise.
    pub fn open(&mut self) -> Result<Recovered, Breach> {
        let recovered = self.open_unjudged()?;
        self.expected.check(&recovered)?;
        Ok(recovered)
    }

    /// Opens, and takes over the new generation without a look at the rest.
    pub fn open_unjudged(&mut self) -> Result<Recovered, Breach> {
        let opened = self.storage.open(&self.options);
        let Opened { recovered, writer, reader } = opened.map_err(|error| breach("the storage opens", error))?;
        let before = self.expected.identity.generation;
        let generation = recovered.identity.generation;
        if self.storage.durability() == Durability::Ephemeral {
            self.expected = Expected::fresh(&self.options);
        } else {
            holds(generation > before, format!("a generation above {before}"), generation)?;
        }
        self.expected.identity.generation = generation;
        self.ends = Some((writer, reader));
        Ok(recovered)
    }

    /// Ends as a process does.
    pub fn close(&mut self) {
        self.ends = None;
    }

    /// Ends, starts again, compares, and reads everything back.
    pub fn restart(&mut self) -> Verdict {
        self.close();
        self.open()?;
        self.check_log()
    }

    /// The writing end. Only a trial that is open has one.
    pub fn writer(&mut self) -> Result<&mut dyn StorageWriter, Breach> {
        match &mut self.ends {
            Some((writer, _)) => Ok(writer.as_mut()),
            None => Err(breach("an open storage", "a closed one")),
        }
    }

    /// The reading end. Only a trial that is open has one.
    pub fn reader(&self) -> Result<Arc<dyn StorageReader>, Breach> {
        let reader = self.ends.as_ref().map(|(_, reader)| Arc::clone(reader));
        reader.ok_or_else(|| breach("an open storage", "a closed one"))
    }

    /// A write with its number, and nothing in it.
    pub fn empty_write(&mut self) -> Write {
        self.seq = self.seq.next();
        Write { seq: self.seq, group: GROUP, identity: None, hard_state: None, runs: Vec::new() }
    }

    /// Expects `run` from now on, and gives the write that brings it.
    pub fn splicing(&mut self, run: Run) -> Result<Write, Breach> {
        self.expected.splice(&run)?;
        Ok(Write { runs: vec![run], ..self.empty_write() })
    }

    /// Expects a run of commands at the end of the log from now on, and gives the write that brings it.
    pub fn appending(&mut self, commands: &[&[u8]]) -> Result<Write, Breach> {
        let run = self.expected.next_run(commands)?;
        self.splicing(run)
    }

    /// Expects this hard state from now on, and gives the write that brings it.
    pub fn voting(&mut self, term: u64, vote: Option<u128>) -> Write {
        let hard_state = HardState { term: Term(term), vote: vote.map(NodeId) };
        self.expected.hard_state = hard_state;
        Write { hard_state: Some(hard_state), ..self.empty_write() }
    }

    /// Expects this phase from now on, and gives the write that brings it. A phase with a founding entry is for an empty log.
    pub fn becoming(&mut self, phase: Phase) -> Write {
        if self.expected.runs.is_empty() {
            self.expected.log = phase.founding_log(GROUP);
        }
        self.expected.identity.phase = phase;
        Write { identity: Some(self.expected.identity.clone()), ..self.empty_write() }
    }

    /// Writes; it must succeed.
    pub fn write(&mut self, batch: &[Write]) -> Verdict {
        self.try_write(batch)?.map_err(|error| breach("the batch is written", error))
    }

    /// Writes, however that ends.
    pub fn try_write(&mut self, batch: &[Write]) -> Result<Result<(), StorageError>, Breach> {
        Ok(self.writer()?.write(batch))
    }

    /// Appends one run in one batch.
    pub fn append(&mut self, commands: &[&[u8]]) -> Verdict {
        let write = self.appending(commands)?;
        self.write(&[write])
    }

    /// Fetches, and judges the answer by itself: it begins at `first`, has no gap, keeps to its bounds, and is what was written.
    pub fn fetch(&self, first: Index, last: Index, bytes_max: usize) -> Result<Vec<Run>, Breach> {
        let bound = if bytes_max == ALL { "any number of".to_owned() } else { bytes_max.to_string() };
        let what = format!("a fetch of {first} to {last} within {bound} bytes");
        let fetched = self.reader()?.fetch(GROUP, first, last, bytes_max);
        let fetched = fetched.map_err(|error| breach(format!("{what} succeeds"), error))?;
        equal(&format!("{what}: the group and index asked for"), &(fetched.group, fetched.first), &(GROUP, first))?;
        let mut next = first;
        for run in &fetched.runs {
            holds(run.first() == next, format!("{what} goes on at {next}"), format!("{:?}", fetched.runs))?;
            holds(run.last() <= last, format!("{what} ends at {last}"), format!("{:?}", fetched.runs))?;
            let written = self.expected.slice(run.first(), run.last());
            holds(written.as_ref() == Some(run), format!("{what} gives what was written: {written:?}"), show(run))?;
            next = run.last().next();
        }
        let bytes: usize = fetched.runs.iter().map(Run::encoded_len).sum();
        let is_one_entry = fetched.runs.len() == 1 && fetched.runs[0].count() == 1;
        holds(bytes <= bytes_max || is_one_entry, format!("{what} keeps to them"), format!("{bytes} bytes"))?;
        let (base, end) = (self.expected.log.base().index, self.expected.log.last().index);
        if first > base && first <= end && first <= last {
            holds(!fetched.runs.is_empty(), format!("{what} gives one entry at least"), "nothing")?;
        }
        Ok(fetched.runs)
    }

    /// Reads the whole log back in pieces and compares it.
    pub fn check_log(&self) -> Verdict {
        let end = self.expected.log.last().index;
        let mut next = self.expected.log.base().index.next();
        while next <= end {
            let runs = self.fetch(next, end, PIECE_BYTES)?;
            next = runs.last().map_or(next, Run::last).next();
        }
        let beyond = self.fetch(end.next(), Index(end.0 + 9), ALL)?;
        holds(beyond.is_empty(), format!("nothing behind {end}"), format!("{beyond:?}"))
    }
}

impl Expected {
    fn fresh(options: &OpenOptions) -> Self {
        let identity = Identity {
            node: options.node,
            store: options.store,
            cluster_id: options.cluster_id.clone(),
            generation: Generation(0),
            phase: Phase::Fresh,
            abandoned: Vec::new(),
        };
        Expected { identity, hard_state: HardState::default(), log: LogSummary::default(), runs: Vec::new() }
    }

    /// What an open found must be this.
    pub fn check(&self, recovered: &Recovered) -> Verdict {
        equal("the identity found", &recovered.identity, &self.identity)?;
        equal("the hard state found", &recovered.hard_state, &self.hard_state)?;
        equal("the log found", &recovered.log, &self.log)?;
        self.check_tail(&recovered.tail)
    }

    /// The tail must be the end of the log, without a gap, and not be missing.
    pub fn check_tail(&self, tail: &[Run]) -> Verdict {
        let end = self.log.last().index;
        let Some(last) = tail.last() else {
            return holds(self.runs.is_empty(), format!("a tail that ends at {end}"), "no tail");
        };
        holds(last.last() == end, format!("a tail that ends at {end}"), format!("{tail:?}"))?;
        let gapless = tail.windows(2).all(|pair| pair[0].last().next() == pair[1].first());
        holds(gapless, "a tail without gaps", format!("{tail:?}"))?;
        let written = |run: &Run| self.slice(run.first(), run.last()).as_ref() == Some(run);
        holds(tail.iter().all(written), "a tail of what was written", format!("{tail:?}"))
    }

    /// Adds `run` at its place and forgets whatever stood there and behind.
    pub fn splice(&mut self, run: &Run) -> Verdict {
        self.log.splice(run).map_err(|error| breach("the suite writes what fits", error))?;
        while let Some(last) = self.runs.pop_if(|last| last.last() >= run.first()) {
            self.runs.extend(last.slice(last.first(), run.first().prev()));
        }
        self.runs.push(run.clone());
        Ok(())
    }

    /// The entries from `first` to `last`, if they stand in one run.
    pub fn slice(&self, first: Index, last: Index) -> Option<Run> {
        let at = self.runs.partition_point(|run| run.last() < first);
        self.runs.get(at).filter(|run| run.first() <= first && last <= run.last())?.slice(first, last)
    }

    /// A run of commands for the end of the log.
    pub fn next_run(&self, commands: &[&[u8]]) -> Result<Run, Breach> {
        let last = self.log.last();
        self.run_at(last.index.next(), last.term.max(Term(1)), commands)
    }

    /// A run of commands of `term` for the place `first`, with the hash of what stands before.
    pub fn run_at(&self, first: Index, term: Term, commands: &[&[u8]]) -> Result<Run, Breach> {
        let before = first.prev();
        let holder = self.runs.iter().find(|run| run.first() <= before && before <= run.last());
        let chain = holder.and_then(|run| run.chain_at(before)).unwrap_or_else(|| self.log.base_chain());
        let header = RunHeader {
            group: GROUP,
            kind: RunKind::Command,
            codec: 1,
            command_version: 1,
            term,
            first,
            machine: MachineId(3),
            log_time: LogTime(first.0),
            wall_time: WallTime(1_700_000_000_000_000),
            chain,
        };
        // Two sessions where there are two commands, so that slices must recompute the blocks.
        let (count, half) = (commands.len() as u32, commands.len() as u32 / 2);
        let block = |session, first_number, count| Block { session, first_number, count, acked_below: 1 };
        let blocks = [block(SessionId(2), first.0, half), block(SessionId(4), 7, count - half)];
        let blocks = blocks.into_iter().filter(|block| block.count > 0).collect();
        Run::commands(header, blocks, commands.iter().copied()).map_err(|error| breach("the suite makes runs", error))
    }
}

/// Commands of random content and sizes.
pub(super) fn random_commands(random: &mut Random) -> Vec<Bytes> {
    let count = 1 + random.below(5);
    let command = |random: &mut Random| {
        let bytes = if random.chance(1, 20) { random.below(40_000) } else { random.below(200) };
        (0..bytes).map(|_| random.next() as u8).collect()
    };
    (0..count).map(|_| command(random)).collect()
}

/// A run as a breach shows it.
fn show(run: &Run) -> String {
    format!("{run:?} after {:016x}, {} bytes", run.header().chain, run.encoded_len())
}

const CLUSTER_ID: &str = "contract";
// Small enough that a log of a few runs takes several fetches.
const PIECE_BYTES: usize = 500;
