//! `slimcluster log`: what a data directory holds, read while no node uses it. Nothing is changed.

use std::fmt::Arguments;
use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use slimcluster_core::raft::Configuration;
use slimcluster_core::storage::{Identity, Phase};
use slimcluster_core::{HardState, Run};
use slimcluster_wal::{Inspection, Seen, StdDisk, WalError};

/// The directory could not be looked at; nothing is known of its contents.
const CANNOT_LOOK: u8 = 2;

/// Prints everything that the directory holds, up to the first damage. 1 when there is any, 2 when it could not be looked at.
pub fn inspect(directory: &Path) -> ExitCode {
    look(directory, true)
}

/// Verifies the directory and says so in a few lines. 1 when it is damaged, 2 when it could not be looked at.
pub fn verify(directory: &Path) -> ExitCode {
    look(directory, false)
}

fn look(directory: &Path, prints_all: bool) -> ExitCode {
    let disk = match StdDisk::open_read_only(directory) {
        Ok(disk) => disk,
        Err(error) => {
            let directory = directory.display();
            eprintln!("cannot open {directory}: {error}; give the directory in which a node keeps its data");
            return ExitCode::from(CANNOT_LOOK);
        }
    };
    let out = BufWriter::new(io::stdout().lock());
    let mut printer = Printer { out, prints_all, records: 0, bytes: 0, batches: 0 };
    let result = slimcluster_wal::inspect(Arc::new(disk), &mut |seen| printer.seen(seen));
    match &result {
        Ok(inspection) => printer.end(inspection),
        Err(WalError::Damaged(_)) => printer.totals(),
        Err(_) => {}
    }
    // Before the reason on the other stream, so that the two stand in order. A reader who has gone wants nothing more.
    let _ = printer.out.flush();
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(error @ WalError::Damaged(_)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Err(WalError::InUse { directory }) => {
            eprintln!("{directory} is in use by a running node: stop it first, or look at a copy");
            ExitCode::from(CANNOT_LOOK)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(CANNOT_LOOK)
        }
    }
}

/// Prints what is seen, and counts it.
struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    prints_all: bool,
    records: u64,
    bytes: u64,
    batches: u64,
}

impl Printer {
    fn seen(&mut self, seen: Seen<'_>) {
        match seen {
            Seen::Identity(identity) => self.identity(identity),
            Seen::HardState { state, number } => self.hard_state(state, number),
            Seen::Record { segment, offset, bytes, batch, ends_batch, kind, run } => {
                self.records += 1;
                self.bytes += bytes;
                self.batches += u64::from(ends_batch);
                if self.prints_all {
                    let end = if ends_batch { ", its last" } else { "" };
                    let run = run.map(describe_run).unwrap_or_default();
                    self.line(format_args!(
                        "record:      segment {segment} at {offset}, {bytes} bytes, batch {batch}{end}: {kind:?}{run}"
                    ));
                }
            }
        }
    }

    fn identity(&mut self, identity: &Identity) {
        self.line(format_args!("node:        {}", identity.node));
        self.line(format_args!("store:       {}", identity.store));
        self.line(format_args!("cluster id:  {}", identity.cluster_id));
        self.line(format_args!("generation:  {}", identity.generation));
        let phase = match &identity.phase {
            Phase::Fresh => "fresh, part of no cluster".to_owned(),
            Phase::Promised(set) => format!("promised to form a cluster of {}", names(set)),
            Phase::Formed { uuid, baseline } => format!("formed {uuid} with {}", names(baseline)),
            Phase::JoinOnly { uuid } => format!("may only join {uuid}"),
        };
        self.line(format_args!("phase:       {phase}"));
        for abandoned in &identity.abandoned {
            let count = abandoned.set.len();
            self.line(format_args!("abandoned:   a promise among {count} nodes, as {}", abandoned.node));
        }
    }

    fn hard_state(&mut self, state: HardState, number: u64) {
        let vote = state.vote.map_or("nobody".to_owned(), |node| node.to_string());
        self.line(format_args!("hard state:  term {}, voted for {vote} (write {number})", state.term));
    }

    fn totals(&mut self) {
        let (records, batches, bytes) = (self.records, self.batches, self.bytes);
        self.line(format_args!("verified:    {records} records, {batches} batches, {bytes} bytes"));
    }

    fn end(&mut self, inspection: &Inspection) {
        if self.prints_all {
            for segment in &inspection.segments {
                let (name, used, length) = (&segment.name, segment.used, segment.length);
                self.line(format_args!("segment:     {name}, {used} of {length} bytes used"));
            }
            for peer in &inspection.peers {
                let (id, name, address) = (peer.id, &peer.name, peer.address);
                self.line(format_args!("peer:        {id} {name:?} at {address}, generation {}", peer.generation));
            }
        }
        let (base, last) = (inspection.log.base(), inspection.log.last());
        if base == last {
            self.line(format_args!("log:         empty, after entry {}", base.index));
        } else {
            let first = base.index.next();
            self.line(format_args!("log:         entries {first} to {}, the last of term {}", last.index, last.term));
        }
        self.totals();
        if inspection.has_torn_tail {
            self.line(format_args!(
                "torn tail:   bytes of a batch that was never acknowledged; the next start cuts them"
            ));
        }
        self.line(format_args!("no damage"));
    }

    /// A reader who has gone, as after `| head`, wants nothing more: that is no failure.
    fn line(&mut self, line: Arguments<'_>) {
        let _ = writeln!(self.out, "{line}");
    }
}

fn names(configuration: &Configuration) -> String {
    let names: Vec<&str> = configuration.nodes().iter().map(|node| node.name.as_str()).collect();
    names.join(", ")
}

fn describe_run(run: &Run) -> String {
    format!(", {:?} {} to {} of term {}", run.kind(), run.first(), run.last(), run.term())
}
