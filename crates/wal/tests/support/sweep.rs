//! Every call of a workload fails once, in every way that it can: nothing acknowledged is lost, and nobody goes on as if nothing had been.

use slimcluster_core::storage::Recovered;
use slimcluster_core::{GroupId, Index};
use slimcluster_wal::{Options, Space, Wal, WalError};

use super::disk::{Failure, MemoryDisk, Operation};
use super::enumeration::{Trace, check};
use super::ops::Op;
use super::oracle::Expectation;
use super::power::{PowerLoss, Tears};
use super::{CLUSTER, FRESH};

/// What the store did about the failures, by number of calls.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// An open failed.
    pub refused: usize,
    /// The store was poisoned.
    pub poisoned: usize,
    /// There was no space for the next segment, and it went on when there was.
    pub back_pressure: usize,
    /// The caller did not notice: the call was made again, or only a comfort was lost.
    pub unnoticed: usize,
}

/// How a call of this kind may fail, writes that get lost aside.
fn failures(operation: Operation) -> &'static [Failure] {
    use Failure::*;
    match operation {
        Operation::Write => &[Device, Full, Short, Interrupted],
        Operation::Read => &[Device, Short, Interrupted],
        Operation::Sync => &[Device, DeviceHalf, Full],
        Operation::Create => &[Device, DeviceHalf, Full],
        Operation::Rename | Operation::Remove | Operation::SyncDirectory => &[Device, DeviceHalf],
        Operation::Lock | Operation::List | Operation::Open | Operation::Length | Operation::DropCache => &[Device],
    }
}

/// Performs `lives`, one process after the other, once for each call that they make and each way in which it can fail.
pub fn sweep(options: &Options, lives: &Trace) -> Result<Swept, String> {
    let mut swept = Swept::default();
    for (at, (operation, file)) in calls(options, lives)?.iter().enumerate() {
        for failure in failures(*operation) {
            let planned = Planned { operation: *operation, file, failure: *failure };
            let context = |violation| format!("call {} of {file:?}, {operation:?}, {failure:?}: {violation}", at + 1);
            fail(options, lives, at as u64 + 1, &planned, &mut swept).map_err(context)?;
        }
    }
    Ok(swept)
}

/// The calls of a run without a failure.
fn calls(options: &Options, lives: &Trace) -> Result<Vec<(Operation, String)>, String> {
    let (disk, mut expected) = (MemoryDisk::default(), Expectation::default());
    disk.keep_history();
    for (salt, life) in lives.iter().enumerate() {
        let (mut wal, recovered) = open(options, &disk).map_err(|error| error.to_string())?;
        expected.check(&recovered)?;
        for op in life {
            op.perform(salt as u8, &mut wal, &mut expected).map_err(|error| error.to_string())?;
        }
    }
    Ok(disk.history())
}

/// The failure of one run.
struct Planned<'a> {
    operation: Operation,
    file: &'a str,
    failure: Failure,
}

impl Planned<'_> {
    /// Done again until it is done: the caller never hears of it.
    fn is_transient(&self) -> bool {
        matches!(self.failure, Failure::Short | Failure::Interrupted)
    }

    /// Rule 6: before any of it was written.
    fn is_lack_of_space(&self) -> bool {
        self.failure == Failure::Full && matches!(self.operation, Operation::Create | Operation::Write)
    }
}

fn fail(options: &Options, lives: &Trace, call: u64, planned: &Planned<'_>, swept: &mut Swept) -> Result<(), String> {
    let (disk, mut expected) = (MemoryDisk::default(), Expectation::default());
    disk.fail_at(call, planned.failure);
    let has_failed = || disk.calls() >= call;
    for (salt, life) in lives.iter().enumerate() {
        let (mut wal, mut recovered) = match open(options, &disk) {
            Ok(opened) => opened,
            Err(error) if has_failed() && !planned.is_transient() => {
                if matches!(error, WalError::Damaged(_)) {
                    return Err(format!("taken for damage: {error}"));
                }
                swept.refused += 1;
                return reopen(options, &disk, &expected);
            }
            Err(error) => return Err(error.to_string()),
        };
        if planned.file == "peers" && has_failed() && recovered.peers.is_empty() {
            // Known peers that cannot be read are a lost comfort, until the next open.
            recovered.peers = expected.last().peers.clone();
        }
        expected.check(&recovered)?;
        for op in life {
            let calls = disk.calls();
            let result = op.perform(salt as u8, &mut wal, &mut expected);
            let failed_now = calls < call && has_failed();
            match result {
                Ok(()) if failed_now && planned.is_lack_of_space() => {
                    // Either a step of claiming was refused, or the list of peers was not replaced.
                    if *op == Op::Peers {
                        return reopen_without_peers(options, &disk, swept);
                    }
                    swept.back_pressure += 1;
                    if *op == Op::Prepare && wal.space() == Space::Free {
                        return Err("the lack of space is not told".to_owned());
                    }
                }
                Ok(()) => {}
                Err(WalError::Full { .. }) if failed_now && planned.is_lack_of_space() => {
                    swept.back_pressure += 1;
                    expected.withdraw();
                    let result = op.perform(salt as u8, &mut wal, &mut expected);
                    result.map_err(|error| format!("tried again with space: {error}"))?;
                }
                Err(error) if failed_now && !planned.is_transient() => {
                    swept.poisoned += 1;
                    is_poisoned(&mut wal).map_err(|call| format!("{call} goes on after {error}"))?;
                    return reopen(options, &disk, &expected);
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }
    if !planned.is_transient() && !planned.is_lack_of_space() && planned.file != "peers" {
        return Err("nobody noticed".to_owned());
    }
    swept.unnoticed += usize::from(!planned.is_lack_of_space());
    reopen(options, &disk, &expected)
}

fn open(options: &Options, disk: &MemoryDisk) -> Result<(Wal, Recovered), WalError> {
    Wal::open(disk.process(), options.clone(), CLUSTER, FRESH)
}

/// Rule 2: no call of a poisoned store does anything.
fn is_poisoned(wal: &mut Wal) -> Result<(), &'static str> {
    let reader = wal.reader();
    let calls = [
        ("write", wal.write(&[]).err()),
        ("idle", wal.idle().err()),
        ("prepare_segment", wal.prepare_segment().err()),
        ("remember_peers", wal.remember_peers(&[]).err()),
        ("fetch", reader.fetch(GroupId::DEFAULT, Index(1), Index(9), 100).err()),
    ];
    let going_on = calls.iter().find(|(_, error)| !matches!(error, Some(WalError::Poisoned { .. })));
    going_on.map_or(Ok(()), |(call, _)| Err(call))
}

/// The next process finds what it must: with the cache of the one before, and after every power loss.
fn reopen(options: &Options, disk: &MemoryDisk, expected: &Expectation) -> Result<(), String> {
    disk.heal();
    for state in PowerLoss::of(disk, &[(Tears::Few, 256), (Tears::None, 256)]) {
        check(options, &state, expected.clone()).map_err(|violation| format!("after a power loss, {violation}"))?;
    }
    check(options, &disk.fork(), expected.clone()).map_err(|violation| format!("the process alone, {violation}"))
}

/// Nothing but the new list of peers may be lost when there is no space for it: the rest of the run is like any other.
fn reopen_without_peers(options: &Options, disk: &MemoryDisk, swept: &mut Swept) -> Result<(), String> {
    disk.heal();
    swept.unnoticed += 1;
    let (_, recovered) = open(options, disk).map_err(|error| error.to_string())?;
    if recovered.peers.is_empty() { Ok(()) } else { Err("a list of peers that was not written".to_owned()) }
}

/// Each write of a workload in turn is reported as done and never reaches the medium, and then the power fails (fault K6). Returns
/// how many of the losses were noticed, and how many were of the kind that rule 4 names: the last batch, or the last term and vote.
pub fn lose_writes(options: &Options, ops: &[Op]) -> Result<(usize, usize), String> {
    let (mut noticed, mut last) = (0, 0);
    let lives = vec![ops.to_vec()];
    let calls = calls(options, &lives)?;
    let writes = calls.iter().enumerate().filter(|(_, (operation, _))| *operation == Operation::Write);
    for (at, (_, file)) in writes {
        let (disk, mut expected) = (MemoryDisk::default(), Expectation::default());
        disk.fail_at(at as u64 + 1, Failure::Phantom);
        let (mut wal, recovered) = match open(options, &disk) {
            Err(WalError::Damaged(_)) => {
                noticed += 1;
                continue;
            }
            opened => opened.map_err(|error| error.to_string())?,
        };
        expected.check(&recovered)?;
        let mut before_last = expected.clone();
        for op in ops {
            before_last = expected.clone();
            op.perform(0, &mut wal, &mut expected).map_err(|error| error.to_string())?;
        }
        disk.lose_power();
        match open(options, &disk) {
            Err(WalError::Damaged(_)) => noticed += 1,
            Err(error) => return Err(format!("call {} of {file}: {error}", at + 1)),
            Ok((_, mut recovered)) => {
                if file.starts_with("peers") {
                    recovered.peers = expected.last().peers.clone();
                }
                if expected.clone().check(&recovered).is_err() {
                    let violation = before_last.check(&recovered);
                    violation.map_err(|violation| format!("call {} of {file}: {violation}", at + 1))?;
                    last += 1;
                }
            }
        }
    }
    Ok((noticed, last))
}
