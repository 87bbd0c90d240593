//! Bytes that nobody wrote (bad input 51 to 59): told from a torn end, refused with a name and a place, and left as they are.

mod support;

use slimcluster_core::{GroupId, Index};
use slimcluster_wal::{Damage, Wal, WalError};
use support::disk::MemoryDisk;
use support::ops::SEGMENT;
use support::records::{FIRST, HEAD, HEADER, close_short_and_rot, forge_each_field, mix_two_histories, records, seal};
use support::*;

/// A store of three batches in one segment, and its author.
fn small(idle: bool) -> (MemoryDisk, Author) {
    let disk = MemoryDisk::default();
    let mut author = Author::default();
    let (mut wal, _) = open(&disk, SEGMENT).unwrap();
    wal.write(&[hard_state(3, 7), runs(&[author.append(&[b"one"])])]).unwrap();
    wal.write(&[hard_state(4, 8), runs(&[author.append(&[b"two", b"2"]), author.append(&[b"and"])])]).unwrap();
    wal.write(&[runs(&[author.append(&[b"three"])])]).unwrap();
    if idle {
        wal.idle().unwrap();
    }
    (disk, author)
}

/// A store of many segments, several batches in each.
fn large() -> (MemoryDisk, Author) {
    let disk = MemoryDisk::default();
    let mut author = Author::default();
    let (mut wal, _) = open(&disk, SEGMENT).unwrap();
    for byte in 0..40u8 {
        wal.write(&[runs(&[author.append(&[&[byte; 300]])])]).unwrap();
        wal.prepare_segment().unwrap();
    }
    wal.idle().unwrap();
    (disk, author)
}

fn contents(disk: &MemoryDisk) -> Vec<(String, Vec<u8>)> {
    disk.names().into_iter().map(|name| (name.clone(), disk.contents(&name))).collect()
}

/// Opening must name the damage and change nothing.
#[track_caller]
fn refused(disk: &MemoryDisk) -> Damage {
    let before = contents(disk);
    let damage = match open(disk, SEGMENT) {
        Err(WalError::Damaged(damage)) => damage,
        Err(error) => panic!("{error}"),
        Ok((_, recovered)) => panic!("opened with {:?}", recovered.log.last()),
    };
    assert!(contents(disk) == before, "a damaged store was changed");
    damage
}

#[test]
fn garbage_behind_the_end_is_cut_and_zeroed_for_good() {
    for garbage in [vec![0xff; 900], vec![0xff; 3], vec![1; 30], (0..=255).collect()] {
        let (disk, author) = small(true);
        let mut bytes = disk.contents(FIRST);
        let (at, size) = *records(&bytes).last().unwrap();
        let end = at + size;
        bytes[end..end + garbage.len()].copy_from_slice(&garbage);
        let length = bytes.len();
        bytes[length - 2] = 7;
        disk.tamper(FIRST, bytes);
        assert_eq!(open(&disk, SEGMENT).unwrap().1.log, author.log);
        disk.lose_power();
        assert!(disk.contents(FIRST)[end..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn half_a_record_at_the_end_of_a_segment_is_cut() {
    let (disk, author) = small(true);
    let mut bytes = disk.contents(FIRST);
    let record = records(&bytes)[2];
    let tail = bytes.len() - 40;
    let header: Vec<u8> = bytes[record.0..record.0 + 40].to_vec();
    bytes[tail..].copy_from_slice(&header);
    disk.tamper(FIRST, bytes);
    assert_eq!(open(&disk, SEGMENT).unwrap().1.log, author.log);
}

#[test]
fn absurd_lengths_and_counts_are_refused_before_anything_is_reserved() {
    let (disk, _) = small(true);
    let sound = disk.contents(FIRST);
    let record = records(&sound)[1];
    for length in [u32::MAX, u32::MAX - 60, 1 << 31, 0, 4096] {
        let mut bytes = sound.clone();
        bytes[record.0 + 4..record.0 + 8].copy_from_slice(&length.to_le_bytes());
        seal(&mut bytes, record);
        disk.tamper(FIRST, bytes);
        assert_eq!(refused(&disk).offset, record.0 as u64, "{length}");
    }
    // The frame holds and the run in it contradicts itself: blocks, count and data length stand at the end of its header.
    for field in [64, 68, 72] {
        let mut bytes = sound.clone();
        let at = record.0 + HEADER + field;
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        seal(&mut bytes, record);
        disk.tamper(FIRST, bytes);
        assert_eq!(refused(&disk).offset, record.0 as u64);
    }
}

#[test]
fn an_absurd_entry_in_a_sound_frame_is_refused() {
    let (disk, _) = small(true);
    let sound = disk.contents(FIRST);
    let record = records(&sound)[2];
    // Term, first index and chain of the run; the record stands in the middle, so nothing that follows links any more.
    for (field, value) in [(16, 0u64), (16, u64::MAX), (24, 0), (24, 9), (24, u64::MAX), (56, 1), (8, 2)] {
        let mut bytes = sound.clone();
        let at = record.0 + HEADER + field;
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        seal(&mut bytes, record);
        disk.tamper(FIRST, bytes);
        assert!(refused(&disk).offset >= record.0 as u64, "{field} {value}");
    }
}

#[test]
fn unknown_kinds_and_flags_are_refused() {
    let (disk, _) = small(true);
    let sound = disk.contents(FIRST);
    let record = records(&sound)[2];
    for (field, value) in [(60, 9), (60, 3), (60, 1), (61, 0x80)] {
        let mut bytes = sound.clone();
        bytes[record.0 + field] = value;
        seal(&mut bytes, record);
        disk.tamper(FIRST, bytes);
        assert_eq!(refused(&disk).offset, record.0 as u64);
    }
}

#[test]
fn misplaced_missing_and_foreign_segments_are_refused() {
    let name = |number| format!("log-{number:016x}");
    let (sound, _) = large();
    let with = |change: &dyn Fn(&MemoryDisk)| {
        let disk = sound.fork();
        change(&disk);
        refused(&disk)
    };
    let swapped = with(&|disk| {
        let (two, three) = (disk.contents(&name(2)), disk.contents(&name(3)));
        disk.tamper(&name(2), three);
        disk.tamper(&name(3), two);
    });
    assert_eq!((swapped.file, swapped.what.contains("wrong name")), (name(2), true));
    with(&|disk| disk.tamper(&name(3), disk.contents(&name(2))));
    with(&|disk| disk.tamper(&name(9), disk.contents(&name(2))));
    let missing = with(&|disk| disk.delete(&name(2)));
    assert_eq!(missing.file, name(1), "the log ends where the missing segment should follow");
    assert_eq!(with(&|disk| disk.delete(&name(1))).file, name(1));
    with(&|disk| disk.tamper(&name(2), vec![0; 4096]));
    with(&|disk| disk.tamper(&name(2), Vec::new()));
    with(&|disk| disk.tamper(&name(2), disk.contents(&name(2))[..2000].to_vec()));

    let last = sound.names().into_iter().rfind(|name| !sound.contents(name)[HEAD..].iter().all(|byte| *byte == 0));
    let (last, bytes) = last.map(|name| (name.clone(), sound.contents(&name))).unwrap();
    let (first_end, _) = records(&bytes)[2];
    assert_eq!(with(&|disk| disk.tamper(&last, bytes[..first_end].to_vec())).file, last, "cut where a batch ends");

    let other = MemoryDisk::default();
    let fresh = slimcluster_wal::FreshIds { store: slimcluster_core::types::StoreId(99), ..FRESH };
    let (mut wal, _) = Wal::open(other.process(), options(SEGMENT), CLUSTER, fresh).unwrap();
    for byte in 0..40u8 {
        let mut author = Author::default();
        wal.write(&[runs(&[author.append(&[&[byte; 300]])])]).unwrap();
    }
    let foreign = with(&|disk| disk.tamper(&name(2), other.contents(&name(2))));
    assert!(foreign.what.contains("another data directory"), "{foreign:?}");
}

#[test]
fn a_hole_in_an_early_segment_is_damage_and_names_the_place() {
    let (sound, _) = large();
    for number in 1..=4 {
        let name = format!("log-{number:016x}");
        let bytes = sound.contents(&name);
        for record in records(&bytes) {
            let disk = sound.fork();
            let mut bytes = bytes.clone();
            bytes[record.0..record.0 + record.1].fill(0);
            disk.tamper(&name, bytes);
            let damage = refused(&disk);
            if record.0 > HEAD {
                assert_eq!((damage.file, damage.offset), (name.clone(), record.0 as u64));
            }
        }
    }
}

/// A search reads 256 KiB at a time from where the log ends on. Places around the end of the first piece, so that the header of the one
/// later record lies in it, in the next one, or in both.
#[test]
fn a_later_record_is_found_wherever_a_search_divides_the_file() {
    const PIECE: usize = 256 << 10;
    for place in (PIECE - 2 * HEADER..=PIECE + HEADER).step_by(8) {
        let disk = MemoryDisk::default();
        let mut author = Author::default();
        let (mut wal, _) = open(&disk, 1 << 20).unwrap();
        let around = author.clone().append(&[b""]).encoded_len() + HEADER;
        wal.write(&[runs(&[author.append(&[&vec![7; place - around]])])]).unwrap();
        wal.idle().unwrap();
        let mut bytes = disk.contents(FIRST);
        let [.., (damaged, _), (later, _)] = records(&bytes)[..] else { panic!("two records") };
        assert_eq!(later - damaged, place);
        bytes[damaged + HEADER] ^= 1;
        disk.tamper(FIRST, bytes);
        assert_eq!(refused(&disk).offset, damaged as u64, "{place}");
    }
}

#[test]
fn a_lost_log_is_noticed_by_what_the_other_files_remember() {
    // The log as it was yesterday, under a hard state of today.
    let (disk, mut author) = small(true);
    let yesterday = disk.contents(FIRST);
    let (mut wal, _) = open(&disk, SEGMENT).unwrap();
    wal.write(&[runs(&[author.append(&[b"today"])])]).unwrap();
    wal.write(&[hard_state(9, 7)]).unwrap();
    disk.tamper(FIRST, yesterday.clone());
    assert!(refused(&disk).what.contains("was synced"));

    // The same under an identity of today.
    let (disk, mut author) = small(true);
    let (mut wal, _) = open(&disk, SEGMENT).unwrap();
    wal.write(&[runs(&[author.append(&[b"today"])])]).unwrap();
    open(&disk, SEGMENT).unwrap();
    disk.tamper(FIRST, yesterday);
    assert!(refused(&disk).what.contains("was synced"));

    // The hard state of yesterday, under a log that names a later one.
    let (disk, _) = small(true);
    let yesterday = disk.contents("hardstate");
    let (mut wal, _) = open(&disk, SEGMENT).unwrap();
    wal.write(&[hard_state(9, 7)]).unwrap();
    wal.idle().unwrap();
    disk.tamper("hardstate", yesterday);
    assert_eq!(refused(&disk).file, "hardstate");
}

#[test]
fn without_a_readable_hard_state_the_store_is_refused() {
    let (sound, _) = small(true);
    let bytes = sound.contents("hardstate");
    // Writes 1 to 3: the newest is in the second slot.
    for (keep_old, keep_new) in [(true, false), (false, true), (false, false)] {
        let disk = sound.fork();
        let mut bytes = bytes.clone();
        if !keep_old {
            bytes[..4096].fill(0);
        }
        if !keep_new {
            bytes[4096..].fill(0xff);
        }
        disk.tamper("hardstate", bytes);
        if keep_new {
            open(&disk, SEGMENT).unwrap();
        } else {
            assert_eq!(refused(&disk).file, "hardstate");
        }
    }
    for bytes in [Vec::new(), bytes[..4100].to_vec(), [&bytes[4096..], &bytes[4096..]].concat()] {
        let disk = sound.fork();
        let is_copy = bytes.len() == 8192;
        disk.tamper("hardstate", bytes);
        // A copy of the newest slot in the place of the other one was misdirected; the newest one itself is still there.
        if is_copy { drop(open(&disk, SEGMENT).unwrap()) } else { drop(refused(&disk)) }
    }
    sound.delete("hardstate");
    assert_eq!(refused(&sound).file, "hardstate");
}

#[test]
fn a_store_that_lost_its_identity_is_not_taken_for_a_new_one() {
    for file in ["hardstate", FIRST] {
        let (disk, _) = small(true);
        disk.delete("identity");
        disk.delete(file);
        assert_eq!(refused(&disk).file, "identity");
    }
}

#[test]
fn other_clusters_other_versions_and_running_processes_are_refused() {
    let (disk, _) = small(true);
    let before = contents(&disk);
    let other = Wal::open(disk.process(), options(SEGMENT), "other", FRESH);
    let message = other.err().unwrap().to_string();
    assert!(message.contains("\"shop\"") && message.contains("\"other\""), "{message}");
    assert!(contents(&disk) == before);

    let (wal, _) = open(&disk, SEGMENT).unwrap();
    let second = Wal::open(disk.second_process(), options(SEGMENT), CLUSTER, FRESH);
    assert!(matches!(second, Err(WalError::InUse { .. })));
    drop(wal);

    // A version from the future with a checksum that holds; the checksum of a small file stands behind its length.
    for (name, at, start, crc) in [("identity", 8, 0, 16), ("hardstate", 8, 0, 16), (FIRST, 8, 0, 60)] {
        let disk = disk.fork();
        let mut bytes = disk.contents(name);
        bytes[start + at] = 2;
        if crc == 60 {
            let sum = crc32c::crc32c(&bytes[..60]);
            bytes[60..64].copy_from_slice(&sum.to_le_bytes());
        } else {
            let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
            let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..16]), &bytes[20..20 + length]);
            bytes[16..20].copy_from_slice(&sum.to_le_bytes());
        }
        disk.tamper(name, bytes);
        let error = open(&disk, SEGMENT).err().unwrap();
        assert!(matches!(&error, WalError::Version { version: 2, .. }), "{name}: {error}");
    }
}

#[test]
fn a_batch_that_was_closed_short_is_not_taken_for_torn_later() {
    close_short_and_rot(&options(SEGMENT)).unwrap();
}

#[test]
fn a_record_from_elsewhere_is_no_part_of_the_log() {
    forge_each_field(&options(SEGMENT)).unwrap();
}

#[test]
fn a_mixture_of_two_histories_is_noticed_by_the_links() {
    mix_two_histories(&options(SEGMENT)).unwrap();
}

#[test]
fn rot_under_a_running_store_is_noticed_by_the_fetch_that_meets_it() {
    let (disk, _) = small(true);
    let (wal, _) = open(&disk, SEGMENT).unwrap();
    let mut bytes = disk.contents(FIRST);
    let (at, size) = records(&bytes)[2];
    bytes[at + size - 9] ^= 0x40;
    disk.tamper(FIRST, bytes);
    let reader = wal.reader();
    assert!(reader.fetch(GroupId::DEFAULT, Index(1), Index(1), 1000).is_ok());
    match reader.fetch(GroupId::DEFAULT, Index(1), Index(9), 1000) {
        Err(WalError::Damaged(damage)) => assert_eq!((damage.file.as_str(), damage.offset), (FIRST, at as u64)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_crash_left_of_a_new_store_is_replaced() {
    let disk = MemoryDisk::default();
    disk.tamper("identity.new", vec![1; 30]);
    disk.tamper("hardstate", vec![0; 100]);
    disk.tamper(FIRST, vec![3; 10_000]);
    disk.tamper("notes.txt", b"not ours".to_vec());
    let (_, recovered) = open(&disk, SEGMENT).unwrap();
    assert_eq!(recovered.identity.node, FRESH.node);
    assert_eq!(disk.names(), ["hardstate", "identity", FIRST, "notes.txt"]);
}
