//! What a storage does when its medium fails.

use slimcluster_core::Index;
use slimcluster_core::storage::Write;

use super::log::stopped;
use super::suite::{Bench, Fault};
use super::trial::Trial;
use crate::contract::case::{Breach, Verdict, breach, holds};
use crate::storage::StorageError;

pub(super) fn acknowledged_before_the_end(bench: &Bench) -> Verdict {
    let (mut trial, inject) = Trial::faulty(bench, "acknowledged_before_the_end")?;
    for round in 0..5 {
        let batch = [trial.voting(round + 1, Some(3)), trial.appending(&[b"a", &[round as u8; 300]])?];
        trial.write(&batch)?;
        // A process that is killed runs nothing more, so nothing that it would still write may be needed.
        inject(Some(Fault::FailAfter(0)));
        trial.close();
        inject(None);
        trial.restart()?;
    }
    Ok(())
}

pub(super) fn what_cannot_be_synced(bench: &Bench) -> Verdict {
    for what in ["a run", "a hard state", "an identity"] {
        let (mut trial, inject) = Trial::faulty(bench, &format!("what_cannot_be_synced_{}", &what[what.len() - 3..]))?;
        trial.append(&[b"before"])?;
        let acknowledged = trial.expected.clone();
        let write = match what {
            "a run" => trial.appending(&[b"a"])?,
            "a hard state" => trial.voting(9, None),
            _ => trial.becoming(slimcluster_core::storage::Phase::JoinOnly { uuid: slimcluster_core::ClusterUuid(1) }),
        };
        trial.expected = acknowledged;
        inject(Some(Fault::FailSyncs));
        let result = trial.try_write(&[write])?;
        inject(None);
        let is_failure = matches!(result, Err(StorageError::Failed(_)));
        holds(is_failure, format!("`Failed` for {what} that cannot be synced"), format!("{result:?}"))?;
        // That the sync would now succeed proves nothing about what failed before.
        stopped(&mut trial)?;
    }
    Ok(())
}

pub(super) fn a_failed_write_stops_the_storage(bench: &Bench) -> Verdict {
    each_failure(bench, "a_failed_write_stops_the_storage", |trial| {
        stopped(trial)?;
        trial.close();
        let recovered = trial.open_unjudged()?;
        let (before, found) = (&trial.expected.log.last().index, recovered.log.last().index);
        // Nothing is known about the failed batch: it may be there, or not. All before it must be.
        holds(found >= *before, format!("a log that ends at {before} at least"), found)?;
        for run in trial.expected.runs.clone() {
            let fetched = trial.reader()?.fetch(run.group(), run.first(), run.last(), usize::MAX);
            let fetched = fetched.map_err(|error| breach("what was acknowledged is read after a restart", error))?;
            holds(
                fetched.runs == [run],
                "what was acknowledged is found after a restart",
                format!("{:?}", fetched.runs),
            )?;
        }
        Ok(())
    })
}

pub(super) fn hard_state_before_runs(bench: &Bench) -> Verdict {
    each_failure(bench, "hard_state_before_runs", |trial| {
        trial.close();
        let recovered = trial.open_unjudged()?;
        let (log, hard_state) = (recovered.log.last(), recovered.hard_state);
        let expected = format!("a hard state of term {} at least, with a log that ends in it", log.term);
        holds(log.index == Index(1) || hard_state.term >= log.term, expected, format!("{hard_state:?}"))
    })
}

/// Lets an election's batch, a hard state and a run of its term, fail at its first effect on the medium, then at its second, and so on until it
/// succeeds; asks `then` each time, when the medium works again.
fn each_failure(bench: &Bench, name: &str, then: impl Fn(&mut Trial) -> Verdict) -> Verdict {
    for effects in 0..EFFECTS_MAX {
        let (mut trial, inject) = Trial::faulty(bench, &format!("{name}_{effects}"))?;
        trial.append(&[b"before"])?;
        let acknowledged = trial.expected.clone();
        let run = trial.expected.run_at(Index(2), slimcluster_core::Term(8), &[b"of a new term"])?;
        let election = Write { runs: vec![run], ..trial.voting(8, Some(1)) };
        trial.expected = acknowledged;
        inject(Some(Fault::FailAfter(effects)));
        let result = trial.try_write(&[election])?;
        inject(None);
        match result {
            Ok(()) if effects == 0 => return Err(breach("`Failed` from a medium that does nothing more", "Ok")),
            Ok(()) => return Ok(()),
            Err(StorageError::Failed(_)) => then(&mut trial)?,
            Err(StorageError::Full(why)) => {
                return Err(breach("`Failed`: there is space enough", format!("Full: {why}")));
            }
        }
    }
    Err(breach(format!("a batch of less than {EFFECTS_MAX} effects"), "it still fails"))
}

pub(super) fn full_is_back_pressure(bench: &Bench) -> Verdict {
    let (mut trial, inject) = Trial::faulty(bench, "full_is_back_pressure")?;
    trial.append(&[b"while there is space"])?;
    inject(Some(Fault::NoSpace));
    let refused = fill(&mut trial)?;
    let why = trial.writer()?.full();
    holds(why.as_ref().is_some_and(|why| !why.is_empty()), "a reason why there is no room", format!("{why:?}"))?;
    // Nothing of the refused batch is there, and all else is.
    trial.check_log()?;
    let again = trial.try_write(std::slice::from_ref(&refused))?;
    holds(matches!(again, Err(StorageError::Full(_))), "`Full` again", format!("{again:?}"))?;
    trial.check_log()?;
    // A full node still votes (rule 6).
    let vote = trial.voting(50, Some(1));
    trial.write(&[vote])?;

    inject(None);
    for _ in 0..PREPARE_CALLS_MAX {
        if trial.writer()?.full().is_none() {
            break;
        }
        trial.writer()?.prepare().map_err(|error| breach("prepare succeeds: there is space again", error))?;
    }
    let why = trial.writer()?.full();
    holds(why.is_none(), "room again, once there is space and `prepare` was called", format!("{why:?}"))?;
    trial.expected.splice(&refused.runs[0])?;
    trial.write(&[refused])?;
    trial.check_log()?;
    trial.restart()
}

/// Appends until there is no space; gives the write that was refused.
fn fill(trial: &mut Trial) -> Result<Write, Breach> {
    let command = vec![5; FILL_BYTES];
    for _ in 0..FILL_BYTES_MAX / FILL_BYTES {
        let acknowledged = trial.expected.clone();
        let write = trial.appending(&[&command])?;
        match trial.try_write(std::slice::from_ref(&write))? {
            Ok(()) => {}
            Err(StorageError::Full(_)) => {
                trial.expected = acknowledged;
                return Ok(write);
            }
            Err(StorageError::Failed(why)) => return Err(breach("`Full`: nothing has failed", why)),
        }
    }
    Err(breach(format!("`Full` before {FILL_BYTES_MAX} more bytes are written without space"), "all were written"))
}

// More than any batch of two small parts takes: both files replaced, each with its directory.
const EFFECTS_MAX: u64 = 64;
const FILL_BYTES: usize = 256 << 10;
// What a storage may have claimed ahead.
const FILL_BYTES_MAX: usize = 256 << 20;
// A step of preparing is small, so that no commit waits long; what a storage claims ahead is not.
const PREPARE_CALLS_MAX: usize = 1000;
