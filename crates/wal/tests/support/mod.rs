//! What the tests of the store share: runs to write, a disk that fails on demand, and what may be found after it did.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod disk;
pub mod enumeration;
pub mod flips;
pub mod medium;
pub mod ops;
pub mod oracle;
pub mod power;
pub mod records;
pub mod sweep;

use bytes::Bytes;
use slimcluster_core::storage::{LogSummary, Recovered, Write};
use slimcluster_core::types::StoreId;
use slimcluster_core::{
    Block, GroupId, HardState, Index, LogTime, MachineId, NodeId, Run, RunHeader, RunKind, SessionId, Term, WallTime,
    WriteSeq,
};
use slimcluster_wal::{FreshIds, Options, Wal, WalError};

use disk::MemoryDisk;

pub const CLUSTER: &str = "shop";
pub const FRESH: FreshIds = FreshIds { node: NodeId(7), store: StoreId(0x1234_5678_9abc_def0_1122_3344_5566_7788) };

/// Small segments, so that short logs span several.
pub fn options(segment_bytes: u64) -> Options {
    Options { segment_bytes, ..Options::default() }
}

pub fn open(disk: &MemoryDisk, segment_bytes: u64) -> Result<(Wal, Recovered), WalError> {
    Wal::open(disk.process(), options(segment_bytes), CLUSTER, FRESH)
}

/// A log in memory that makes the runs which continue it.
#[derive(Clone, Default)]
pub struct Author {
    pub log: LogSummary,
    pub runs: Vec<Run>,
}

impl Author {
    /// A run of commands at `first`, which may cut the log.
    pub fn splice(&mut self, term: u64, first: u64, commands: &[&[u8]]) -> Run {
        self.cut(first);
        let chain = self.runs.last().map_or(self.log.base_chain(), Run::chain_end);
        let header = RunHeader {
            group: GroupId::DEFAULT,
            kind: RunKind::Command,
            codec: 1,
            command_version: 1,
            term: Term(term),
            first: Index(first),
            machine: MachineId(3),
            log_time: LogTime(first),
            wall_time: WallTime(9),
            chain,
        };
        let count = commands.len() as u32;
        let block = Block { session: SessionId(2), first_number: first, count, acked_below: 1 };
        let run = Run::commands(header, vec![block], commands.iter().copied()).unwrap();
        self.put(&run);
        run
    }

    /// Splices a run that another author has made.
    pub fn put(&mut self, run: &Run) {
        self.cut(run.first().0);
        self.log.splice(run).unwrap();
        self.runs.push(run.clone());
    }

    fn cut(&mut self, first: u64) {
        while self.runs.last().is_some_and(|run| run.last().0 >= first) {
            let last = self.runs.pop().unwrap();
            self.runs.extend(last.slice(Index(0), Index(first - 1)));
        }
    }

    /// A run at the end of the log, in the term of its end.
    pub fn append(&mut self, commands: &[&[u8]]) -> Run {
        let last = self.log.last();
        self.splice(last.term.0.max(1), last.index.0 + 1, commands)
    }
}

pub fn runs(runs: &[Run]) -> Write {
    Write { seq: WriteSeq(1), group: GroupId::DEFAULT, identity: None, hard_state: None, runs: runs.to_vec() }
}

pub fn hard_state(term: u64, vote: u128) -> Write {
    let state = HardState { term: Term(term), vote: Some(NodeId(vote)) };
    Write { hard_state: Some(state), ..runs(&[]) }
}

/// Every entry of the log, read back in small pieces.
pub fn read_all(wal: &Wal, log: &LogSummary) -> Vec<(u64, u64, Bytes)> {
    let reader = wal.reader();
    let mut entries = Vec::new();
    let mut next = log.base().index.next();
    while next <= log.last().index {
        let fetched = reader.fetch(GroupId::DEFAULT, next, log.last().index, 300).unwrap();
        assert!(!fetched.runs.is_empty(), "entry {next} of {log:?}");
        for run in &fetched.runs {
            assert_eq!(run.first(), next);
            entries.extend(run.entries().map(|entry| (run.term().0, entry.index.0, entry.payload)));
            next = run.last().next();
        }
    }
    entries
}

/// What `read_all` must give for the author's log.
pub fn entries(author: &Author) -> Vec<(u64, u64, Bytes)> {
    let entries = |run: &Run| {
        let term = run.term().0;
        run.entries().map(|entry| (term, entry.index.0, entry.payload)).collect::<Vec<_>>()
    };
    author.runs.iter().flat_map(entries).collect()
}
