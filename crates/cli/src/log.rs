//! `slimcluster log`: what a data directory holds, read while no node uses it. Nothing is changed.

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
            eprintln!("cannot open {}: {error}", directory.display());
            return ExitCode::from(CANNOT_LOOK);
        }
    };
    let mut printer = Printer { prints_all, records: 0, bytes: 0, batches: 0 };
    match slimcluster_wal::inspect(Arc::new(disk), &mut |seen| printer.seen(seen)) {
        Ok(inspection) => {
            printer.end(&inspection);
            ExitCode::SUCCESS
        }
        Err(error @ WalError::Damaged(_)) => {
            printer.totals();
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
    prints_all: bool,
    records: u64,
    bytes: u64,
    batches: u64,
}

impl Printer {
    fn seen(&mut self, seen: Seen<'_>) {
        match seen {
            Seen::Identity(identity) => print_identity(identity),
            Seen::HardState { state, number } => print_hard_state(state, number),
            Seen::Record { segment, offset, bytes, batch, ends_batch, kind, run } => {
                self.records += 1;
                self.bytes += bytes;
                self.batches += u64::from(ends_batch);
                if self.prints_all {
                    let end = if ends_batch { "." } else { "" };
                    let run = run.map(describe_run).unwrap_or_default();
                    println!("log {segment:>4} {offset:>10}  batch {batch}{end}  {kind:?}  {bytes} bytes{run}");
                }
            }
        }
    }

    fn totals(&self) {
        println!("verified:    {} records in {} batches, {} bytes", self.records, self.batches, self.bytes);
    }

    fn end(&self, inspection: &Inspection) {
        if self.prints_all {
            for segment in &inspection.segments {
                println!("segment:     {}, {} of {} bytes used", segment.name, segment.used, segment.length);
            }
            for peer in &inspection.peers {
                println!("peer:        {} {:?} at {}, generation {}", peer.id, peer.name, peer.address, peer.generation);
            }
        }
        let log = &inspection.log;
        println!("log:         entries {} to {}, the last of term {}", log.base().index.next(), log.last().index, log.last().term);
        self.totals();
        if inspection.has_torn_tail {
            println!("torn tail:   bytes of a batch that was never acknowledged; the next start cuts them");
        }
        println!("no damage");
    }
}

fn print_identity(identity: &Identity) {
    println!("node:        {}", identity.node);
    println!("store:       {}", identity.store);
    println!("cluster id:  {}", identity.cluster_id);
    println!("generation:  {}", identity.generation);
    match &identity.phase {
        Phase::Fresh => println!("phase:       fresh, part of no cluster"),
        Phase::Promised(set) => println!("phase:       promised to form a cluster of {}", names(set)),
        Phase::Formed { uuid, baseline } => println!("phase:       formed {uuid} with {}", names(baseline)),
        Phase::JoinOnly { uuid } => println!("phase:       may only join {uuid}"),
    }
    for abandoned in &identity.abandoned {
        println!("abandoned:   a promise among {} nodes, as {}", abandoned.set.len(), abandoned.node);
    }
}

fn names(configuration: &Configuration) -> String {
    let names: Vec<&str> = configuration.nodes().iter().map(|node| node.name.as_str()).collect();
    names.join(", ")
}

fn print_hard_state(state: HardState, number: u64) {
    let vote = state.vote.map_or("nobody".to_owned(), |node| node.to_string());
    println!("hard state:  term {}, voted for {vote} (write {number})", state.term);
}

fn describe_run(run: &Run) -> String {
    format!(", {:?} {} to {} of term {}", run.kind(), run.first(), run.last(), run.term())
}
