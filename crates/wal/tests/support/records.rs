//! Records that verify and do not belong where they stand: the header of each says so.

use slimcluster_wal::{Options, Wal, WalError};

use super::disk::MemoryDisk;
use super::flips::{Directory, flip_every_bit};
use super::medium::SECTOR;
use super::ops::Op;
use super::oracle::Expectation;
use super::{CLUSTER, FRESH, runs};

pub const FIRST: &str = "log-0000000000000001";
/// Bytes of a segment's head and of a record's header.
pub const HEAD: usize = 64;
pub const HEADER: usize = 64;

/// The records of a segment: offset and whole length.
pub fn records(segment: &[u8]) -> Vec<(usize, usize)> {
    let mut records = Vec::new();
    let mut at = HEAD;
    while segment[at + 8] != 0 || segment[at + 9] != 0 {
        let length = u32::from_le_bytes(segment[at + 4..at + 8].try_into().unwrap()) as usize;
        let size = (HEADER + length).next_multiple_of(8);
        records.push((at, size));
        at += size;
    }
    records
}

/// Gives a changed record a checksum that holds.
pub fn seal(segment: &mut [u8], (at, size): (usize, usize)) {
    let crc = crc32c::crc32c(&segment[at + 4..at + size]);
    segment[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// The last record of a log names another store, segment use, place, batch or record before it than it should, with a checksum that
/// holds: it was written elsewhere or at another time (fault K6). It is not taken for a part of the log.
pub fn forge_each_field(options: &Options) -> Result<(), String> {
    let directory = Directory::of(options, &[Op::Append, Op::Append])?;
    let sound = directory.disk.contents(FIRST);
    let last = *records(&sound).last().unwrap();
    for (field, at) in [("store", 8), ("use number", 24), ("offset", 32), ("batch", 40), ("previous", 56)] {
        let disk = directory.disk.fork();
        let mut bytes = sound.clone();
        bytes[last.0 + at] ^= 2;
        seal(&mut bytes, last);
        disk.tamper(FIRST, bytes);
        match open(options, &disk) {
            Err(WalError::Damaged(_)) => {}
            Err(error) => return Err(format!("{field}: {error}")),
            Ok((_, recovered)) if recovered.log == directory.holds.last().author.log => {
                return Err(format!("a record with another {field} is taken for a part of the log"));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Two histories from one point, of batches of equal sizes: the medium holds the one, but some sectors of the other (fault K6: writes
/// got lost, or reads are stale). Whatever the mixture, one of the two is found, or damage.
pub fn mix_two_histories(options: &Options) -> Result<(), String> {
    let Directory { disk, holds, .. } = Directory::of(options, &[Op::Vote])?;
    let write = |text: &[u8]| -> Result<(MemoryDisk, Expectation), String> {
        let (disk, mut expected) = (disk.fork(), holds.clone());
        let (mut wal, recovered) = open(options, &disk).map_err(|error| error.to_string())?;
        expected.check(&recovered)?;
        for _ in 0..2 {
            let run = expected.last().author.clone().append(&[&text.repeat(80)]);
            expected.write(&mut wal, &[runs(&[run])]).map_err(|error| error.to_string())?;
            // The empty batch holds nothing that would contradict the batch before it, but for its link.
            wal.idle().map_err(|error| error.to_string())?;
        }
        Ok((disk, expected))
    };
    let histories = [write(b"one ")?, write(b"two ")?];
    let bytes = histories.each_ref().map(|(disk, _)| disk.contents(FIRST));
    let pieces: Vec<(usize, usize)> = records(&bytes[0]).into_iter().skip(1).collect();
    for mask in 0..1u32 << pieces.len() {
        for whole_records in [true, false] {
            let mut mixed = bytes[0].clone();
            for (at, (start, size)) in pieces.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1) {
                let place = if whole_records { *start..start + size } else { (at + 1) * SECTOR..(at + 2) * SECTOR };
                mixed[place.clone()].copy_from_slice(&bytes[1][place]);
            }
            let disk = histories[0].0.fork();
            disk.tamper(FIRST, mixed);
            match open(options, &disk) {
                Err(WalError::Damaged(_)) => {}
                Err(error) => return Err(format!("{mask:b}: {error}")),
                Ok((_, recovered)) => {
                    let is_one = histories.iter().any(|(_, expected)| expected.clone().check(&recovered).is_ok());
                    // All but the last record, an empty one, may be left: that was never acknowledged to anyone.
                    if !is_one {
                        return Err(format!("{mask:b}: a mixture of two histories is taken for one"));
                    }
                    let links = records(&disk.contents(FIRST));
                    is_linked(&disk.contents(FIRST), &links).map_err(|violation| format!("{mask:b}: {violation}"))?;
                }
            }
        }
    }
    Ok(())
}

/// Each record of an open log names the checksum of the one before.
fn is_linked(segment: &[u8], records: &[(usize, usize)]) -> Result<(), String> {
    for pair in records.windows(2) {
        let [(before, _), (at, _)] = [pair[0], pair[1]];
        if segment[at + 56..at + 60] != segment[before..before + 4] {
            return Err(format!("the record at {at} does not follow the one at {before}"));
        }
    }
    Ok(())
}

/// Only the first record of a batch survives a crash; recovery keeps it, ends the batch, and the log goes on. What was kept was lent out
/// by that: if it rots later, that is damage, not a torn write.
pub fn close_short_and_rot(options: &Options) -> Result<(), String> {
    let Directory { disk, mut holds, .. } = Directory::of(options, &[Op::Append])?;
    let (mut wal, recovered) = open(options, &disk).map_err(|error| error.to_string())?;
    holds.check(&recovered)?;
    let mut author = holds.last().author.clone();
    let batch = [runs(&[author.append(&[b"kept"]), author.append(&[b"lost"])])];
    holds.announce(&batch);
    wal.write(&batch).map_err(|error| error.to_string())?;
    let mut bytes = disk.contents(FIRST);
    let (at, size) = *records(&bytes).last().unwrap();
    bytes[at..at + size].fill(0);
    disk.tamper(FIRST, bytes);

    let (mut wal, recovered) = open(options, &disk).map_err(|error| error.to_string())?;
    holds.check(&recovered)?;
    let run = holds.last().author.clone().append(&[b"next"]);
    let mut held = holds.clone();
    holds.write(&mut wal, &[runs(std::slice::from_ref(&run))]).map_err(|error| error.to_string())?;
    held.announce(&[runs(&[run])]);
    flip_every_bit(options, &Directory { disk, holds, held: Some(held) }).map(drop)
}

fn open(options: &Options, disk: &MemoryDisk) -> Result<(Wal, slimcluster_core::storage::Recovered), WalError> {
    Wal::open(disk.process(), options.clone(), CLUSTER, FRESH)
}
