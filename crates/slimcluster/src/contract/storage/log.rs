//! What a storage does with a log in one process.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use slimcluster_core::raft::{Configuration, ConfiguredNode, Standing};
use slimcluster_core::storage::{Phase, Write};
use slimcluster_core::{ClusterUuid, GroupId, HardState, Index, NodeId, Term};

use super::suite::Bench;
use super::trial::{ALL, GROUP, Trial};
use crate::contract::case::{Breach, Verdict, breach, equal, holds};
use crate::storage::{StorageError, StorageReader};

pub(super) fn a_new_storage_is_empty(bench: &Bench) -> Verdict {
    // Opening a trial compares everything but the peers with the empty log of a new node.
    let mut trial = Trial::new(bench, "a_new_storage_is_empty")?;
    trial.check_log()?;
    equal("why there is no room", &trial.writer()?.full(), &None)?;
    let mut other = Trial::new(bench, "a_new_storage_is_empty_of_peers")?;
    other.close();
    let recovered = other.open_unjudged()?;
    equal("the peers found", &recovered.peers, &Vec::new())
}

pub(super) fn what_is_acknowledged_is_read_back(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "what_is_acknowledged_is_read_back")?;
    for round in 0..20u8 {
        trial.append(&[b"", &[round; 70], b"three"])?;
        trial.check_log()?;
    }
    Ok(())
}

pub(super) fn a_batch_is_executed_in_order(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "a_batch_is_executed_in_order")?;
    let mut batch = vec![trial.voting(1, Some(5)), trial.appending(&[b"1", b"2", b"3"])?];
    batch.push(trial.voting(2, None));
    let cut = trial.expected.run_at(Index(2), Term(2), &[b"other 2"])?;
    batch.push(trial.splicing(cut)?);
    batch.push(trial.appending(&[b"other 3", b"other 4"])?);
    // Two runs in one write, the second of which cuts off the first.
    let (first, second) = (trial.expected.next_run(&[b"5", b"6"])?, trial.expected.run_at(Index(5), Term(3), &[b"x"])?);
    trial.expected.splice(&first)?;
    let mut both = trial.splicing(second)?;
    both.runs.insert(0, first);
    batch.push(both);
    trial.write(&batch)?;
    trial.check_log()?;
    if bench.durability == crate::Durability::Fsync {
        trial.restart()?;
    }
    Ok(())
}

pub(super) fn a_run_cuts_off_what_stands_at_its_place_and_behind(bench: &Bench) -> Verdict {
    // Into the middle of a run, onto a boundary, onto the very first entry, onto the last; shorter, equal and longer than what it cuts.
    for (place, commands) in [(2, 1), (4, 3), (5, 9), (1, 1), (9, 1), (9, 4), (3, 7)] {
        let mut trial = Trial::new(bench, &format!("a_run_cuts_off_at_{place}_with_{commands}"))?;
        for _ in 0..3 {
            trial.append(&[b"a", b"bb", b"ccc"])?;
        }
        let others: Vec<&[u8]> = vec![b"other"; commands];
        let cut = trial.expected.run_at(Index(place), Term(2), &others)?;
        let write = trial.splicing(cut)?;
        trial.write(&[write])?;
        trial.check_log()?;
        trial.append(&[b"behind"])?;
        trial.check_log()?;
    }
    Ok(())
}

pub(super) fn a_fetch_keeps_to_its_range(bench: &Bench) -> Verdict {
    let trial = ten_entries(bench, "a_fetch_keeps_to_its_range")?;
    for first in 1..=10 {
        for last in first..=12 {
            // Whether it begins and ends where it should is judged by the trial itself.
            let runs = trial.fetch(Index(first), Index(last), ALL)?;
            let end = runs.last().map(|run| run.last());
            let expected = Index(last.min(10));
            equal(&format!("the end of a fetch of {first} to {last} without a bound"), &end, &Some(expected))?;
        }
    }
    Ok(())
}

pub(super) fn a_fetch_keeps_to_its_bytes(bench: &Bench) -> Verdict {
    let trial = ten_entries(bench, "a_fetch_keeps_to_its_bytes")?;
    let whole: usize = trial.expected.runs.iter().map(|run| run.encoded_len()).sum();
    for bytes_max in (0..whole + 10).step_by(7).chain([ALL]) {
        for first in 1..=10 {
            // The bound, and the one entry, are judged by the trial itself.
            trial.fetch(Index(first), Index(10), bytes_max)?;
        }
    }
    let runs = trial.fetch(Index(1), Index(10), whole)?;
    equal("the end of a fetch that fits exactly", &runs.last().map(|run| run.last()), &Some(Index(10)))
}

pub(super) fn a_fetch_of_what_is_not_there_is_empty(bench: &Bench) -> Verdict {
    let trial = ten_entries(bench, "a_fetch_of_what_is_not_there_is_empty")?;
    let reader = trial.reader()?;
    // Before the log, behind it, backwards, of another group, and at the edges of the numbers.
    let questions = [
        (GROUP, 0, 10),
        (GROUP, 0, 0),
        (GROUP, 11, 11),
        (GROUP, 11, 99),
        (GROUP, 5, 4),
        (GROUP, 9, 2),
        (GROUP, u64::MAX, u64::MAX),
        (GROUP, u64::MAX, 0),
        (GroupId(GROUP.0 + 1), 1, 10),
    ];
    for (group, first, last) in questions {
        let what = format!("a fetch of {first} to {last} of group {group}");
        let fetched = reader.fetch(group, Index(first), Index(last), ALL);
        let fetched = fetched.map_err(|error| breach(format!("{what} is empty"), error))?;
        holds(fetched.runs.is_empty(), format!("{what} is empty"), format!("{:?}", fetched.runs))?;
    }
    Ok(())
}

pub(super) fn large_runs_are_kept_whole(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "large_runs_are_kept_whole")?;
    let large: Vec<u8> = (0..3 << 20).map(|at: u32| (at ^ (at >> 8)) as u8).collect();
    trial.append(&[b"before"])?;
    trial.append(&[&large])?;
    let many = vec![&b"small"[..]; 20_000];
    trial.append(&many)?;
    let batch = (0..8).map(|_| trial.appending(&[&large[..1 << 20], b"with it"])).collect::<Result<Vec<Write>, _>>()?;
    trial.write(&batch)?;
    let end = trial.expected.log.last().index;
    let mut next = Index(1);
    while next <= end {
        next = trial.fetch(next, end, 4 << 20)?.last().map_or(next, |run| run.last()).next();
    }
    Ok(())
}

pub(super) fn the_log_of_a_formed_cluster_starts_behind_its_founding_entry(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "the_log_of_a_formed_cluster")?;
    let baseline = configuration(bench, trial.options.node)?;
    let promised = trial.becoming(Phase::Promised(baseline.clone()));
    trial.write(&[promised])?;
    let formed = trial.becoming(Phase::Formed { uuid: ClusterUuid(0xc0ffee), baseline });
    let mut batch = vec![formed, trial.voting(1, Some(7))];
    batch.push(trial.appending(&[b"entry 2", b"entry 3"])?);
    equal("the first index", &trial.expected.runs[0].first(), &Index(2))?;
    trial.write(&batch)?;
    trial.check_log()?;
    let reader = trial.reader()?;
    let fetched = reader.fetch(GROUP, Index(1), Index(3), ALL).map_err(|error| breach("a fetch of entry 1", error))?;
    holds(fetched.runs.is_empty(), "nothing from entry 1 on: it is not in the log", format!("{:?}", fetched.runs))
}

pub(super) fn preparing_and_idling_change_nothing(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "preparing_and_idling_change_nothing")?;
    for round in 0..30u8 {
        trial.append(&[&[round; 3000]])?;
        let writer = trial.writer()?;
        writer.prepare().map_err(|error| breach("prepare succeeds", error))?;
        if writer.needs_idle() {
            writer.idle().map_err(|error| breach("idle succeeds", error))?;
        }
        holds(!writer.needs_idle(), "nothing more to do when idle was called", "`needs_idle` says that there is")?;
        equal("why there is no room", &writer.full(), &None)?;
    }
    trial.check_log()?;
    if bench.durability == crate::Durability::Fsync {
        trial.restart()?;
    }
    Ok(())
}

pub(super) fn readers_see_what_is_acknowledged(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "readers_see_what_is_acknowledged")?;
    let reader = trial.reader()?;
    let (acknowledged, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| -> Verdict {
            while !done.load(Ordering::Acquire) {
                read_up_to(&*reader, acknowledged.load(Ordering::Acquire))?;
            }
            read_up_to(&*reader, acknowledged.load(Ordering::Acquire))
        });
        let writing = (|| -> Verdict {
            for _ in 0..100 {
                let first = trial.expected.log.last().index.0 + 1;
                let commands: Vec<Vec<u8>> = (first..first + 5).map(command_at).collect();
                trial.append(&commands.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
                acknowledged.store(first + 4, Ordering::Release);
            }
            Ok(())
        })();
        done.store(true, Ordering::Release);
        let read = reading.join().unwrap_or_else(|_| Err(breach("a reader that does not panic", "a panic")));
        writing.and(read)
    })
}

/// What stands at `index` in the log that two threads share.
fn command_at(index: u64) -> Vec<u8> {
    vec![index as u8; (index % 90) as usize]
}

/// Everything that was acknowledged must be there, and be what was written; more may be there.
fn read_up_to(reader: &dyn StorageReader, acknowledged: u64) -> Verdict {
    let mut next = 1;
    while next <= acknowledged {
        let fetched = reader.fetch(GROUP, Index(next), Index(acknowledged), 2000);
        let fetched = fetched.map_err(|error| breach("a fetch beside the writer succeeds", error))?;
        holds(!fetched.runs.is_empty(), format!("entry {next}: up to {acknowledged} is acknowledged"), "nothing")?;
        for entry in fetched.runs.iter().flat_map(|run| run.entries()) {
            equal("the index of an entry read beside the writer", &entry.index, &Index(next))?;
            equal(&format!("entry {next}"), &entry.payload[..], &command_at(next)[..])?;
            next += 1;
        }
    }
    Ok(())
}

pub(super) fn a_hole_is_refused(bench: &Bench) -> Verdict {
    let mut trial = ten_entries(bench, "a_hole_is_refused")?;
    let hole = trial.expected.run_at(Index(12), Term(1), &[b"behind a hole"])?;
    let write = Write { runs: vec![hole], ..trial.empty_write() };
    let refused = trial.try_write(&[write])?;
    let is_failure = matches!(refused, Err(StorageError::Failed(_)));
    holds(is_failure, "`Failed` for a run at 12 behind a log that ends at 10", format!("{refused:?}"))?;
    stopped(&mut trial)?;
    if bench.durability == crate::Durability::Fsync {
        trial.restart()?;
    }
    Ok(())
}

/// The storage must take nothing more, whatever it is.
pub(super) fn stopped(trial: &mut Trial) -> Verdict {
    let run = trial.expected.next_run(&[b"too late"])?;
    let late = [
        Write { runs: vec![run], ..trial.empty_write() },
        Write { hard_state: Some(HardState { term: Term(999), vote: None }), ..trial.empty_write() },
    ];
    for write in late {
        let what = if write.runs.is_empty() { "a hard state" } else { "a run" };
        let result = trial.try_write(&[write])?;
        let is_failure = matches!(result, Err(StorageError::Failed(_)));
        holds(is_failure, format!("`Failed` for {what} after a failure, for good"), format!("{result:?}"))?;
    }
    Ok(())
}

/// A founding configuration of two nodes that `node` is one of.
pub(super) fn configuration(bench: &Bench, node: NodeId) -> Result<Configuration, Breach> {
    let voter = |id, name: &str| ConfiguredNode {
        id,
        name: name.to_owned(),
        durability: bench.durability,
        standing: Standing::Voter,
    };
    let nodes = vec![voter(node, "a"), voter(NodeId(7), "b")];
    Configuration::new(nodes).map_err(|error| breach("the suite makes configurations", error))
}

/// Runs of one to four entries, ten in all.
pub(super) fn ten_entries(bench: &Bench, name: &str) -> Result<Trial, Breach> {
    let mut trial = Trial::new(bench, name)?;
    let commands: [&[u8]; 4] = [&[1; 100], b"", &[3; 30], b"four"];
    for count in 1..=4 {
        trial.append(&commands[..count])?;
    }
    Ok(trial)
}
