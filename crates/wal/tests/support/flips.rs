//! Every bit of a small directory is turned: opening and reading say so, or give what was written.

use slimcluster_wal::{Options, Wal, WalError};

use super::disk::MemoryDisk;
use super::ops::Op;
use super::oracle::Expectation;
use super::{CLUSTER, FRESH};

/// What became of the flips, by number of bits.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flipped {
    /// Refused as damage.
    pub damaged: usize,
    /// Nothing was lost by it.
    pub harmless: usize,
    /// The known peers were forgotten.
    pub peers: usize,
    /// The one loss that nobody can notice (rule 4): of the very last batch, or the very last term and vote, with nothing behind it.
    pub last: usize,
}

/// A directory, what it holds, and what it held before and during its last step, if that was followed by no record.
pub struct Directory {
    pub disk: MemoryDisk,
    pub holds: Expectation,
    pub held: Option<Expectation>,
}

impl Directory {
    /// What a process leaves that performs `ops`.
    pub fn of(options: &Options, ops: &[Op]) -> Result<Self, String> {
        let (disk, mut holds) = (MemoryDisk::default(), Expectation::default());
        let (mut wal, recovered) = open(options, &disk).map_err(|error| error.to_string())?;
        holds.check(&recovered)?;
        let mut held = None;
        for op in ops {
            held = (*op != Op::Idle).then(|| holds.clone());
            if let Some(held) = &mut held {
                op.announce(1, held);
            }
            op.perform(1, &mut wal, &mut holds).map_err(|error| error.to_string())?;
        }
        Ok(Directory { disk, holds, held })
    }
}

/// Turns each bit of each file in turn and opens the directory.
pub fn flip_every_bit(options: &Options, directory: &Directory) -> Result<Flipped, String> {
    let mut flipped = Flipped::default();
    each_flip(
        &directory.disk,
        |name| !name.is_empty(),
        |disk, name| {
            let mut recovered = match open(options, disk) {
                Err(WalError::Damaged(_)) => {
                    flipped.damaged += 1;
                    return Ok(());
                }
                Err(error) => return Err(error.to_string()),
                Ok((_, recovered)) => recovered,
            };
            if name == "peers" && recovered.peers.is_empty() {
                flipped.peers += 1;
                recovered.peers = directory.holds.last().peers.clone();
            }
            let Err(violation) = directory.holds.clone().check(&recovered) else {
                flipped.harmless += 1;
                return Ok(());
            };
            match directory.held.clone().map(|mut held| held.check(&recovered)) {
                Some(Ok(())) if name == "hardstate" || name.starts_with("log-") => {
                    flipped.last += 1;
                    Ok(())
                }
                _ => Err(violation),
            }
        },
    )?;
    Ok(flipped)
}

/// Turns each bit of the log under a running store and reads everything back; returns how many flips were noticed.
pub fn flip_under_a_reader(options: &Options, directory: &Directory) -> Result<usize, String> {
    let mut noticed = 0;
    let disk = directory.disk.fork();
    let (wal, _) = open(options, &disk).map_err(|error| error.to_string())?;
    each_flip(
        &disk,
        |name| name.starts_with("log-"),
        |flipped, name| {
            let sound = disk.contents(name);
            disk.tamper(name, flipped.contents(name));
            let result = directory.holds.check_fetches(&wal, 300);
            disk.tamper(name, sound);
            match result {
                Err(violation) if violation.contains("damaged") => noticed += 1,
                result => result?,
            }
            Ok(())
        },
    )?;
    Ok(noticed)
}

fn each_flip(
    disk: &MemoryDisk,
    is_wanted: impl Fn(&str) -> bool,
    mut look: impl FnMut(&MemoryDisk, &str) -> Result<(), String>,
) -> Result<(), String> {
    for name in disk.names().into_iter().filter(|name| is_wanted(name)) {
        let mut bytes = disk.contents(&name);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = disk.fork();
            flipped.tamper(&name, bytes.clone());
            let place = |violation| format!("{name}, byte {}, bit {}: {violation}", bit / 8, bit % 8);
            look(&flipped, &name).map_err(place)?;
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
    Ok(())
}

fn open(options: &Options, disk: &MemoryDisk) -> Result<(Wal, slimcluster_core::storage::Recovered), WalError> {
    Wal::open(disk.process(), options.clone(), CLUSTER, FRESH)
}
