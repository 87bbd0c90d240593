//! What a disk does to a running store: calls that fail, writes that get lost, bits that turn. Each is met everywhere once.

mod support;

use slimcluster_core::NodeId;
use slimcluster_core::storage::{Identity, Write};
use slimcluster_wal::{Space, WalError};
use support::disk::{Failure, MemoryDisk};
use support::flips::{Directory, flip_every_bit, flip_under_a_reader};
use support::ops::{Op, SEGMENT};
use support::sweep::{lose_writes, sweep};
use support::*;

use Op::{Adopt, Append, Batch, Elect, Fill, Idle, Peers, Prepare, Splice, Vote};

/// Three processes, with every step that the store knows and two changes of segment.
fn lives() -> Vec<Vec<Op>> {
    vec![
        vec![Vote, Adopt, Append, Fill, Prepare, Prepare, Peers, Elect, Fill],
        vec![Idle, Batch, Splice, Vote, Adopt, Prepare],
        vec![Fill, Elect, Fill, Idle],
    ]
}

#[test]
fn a_failure_of_any_call_loses_nothing_acknowledged_and_poisons() {
    let swept = sweep(&options(SEGMENT), &lives()).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{swept:?}");
    assert!(
        swept.refused > 100 && swept.poisoned > 100 && swept.back_pressure > 3 && swept.unnoticed > 50,
        "{swept:?}"
    );
}

/// Without space for the next segment nothing is lost, nothing is poisoned, and it goes on when there is space again.
#[test]
fn a_full_disk_is_back_pressure() {
    let disk = MemoryDisk::default();
    let mut author = Author::default();
    let (mut wal, _) = open(&disk, SEGMENT).unwrap();
    disk.set_quota(Some(8192 + 4096 + 4096 + 3000));
    let mut refused = 0;
    let mut warned = false;
    for round in 0..40u8 {
        let batch = [runs(&[author.append(&[&[round; 300]])])];
        warned |= wal.prepare_segment().unwrap() != Space::Free;
        match wal.write(&batch) {
            Ok(()) => {}
            Err(WalError::Full { .. }) => {
                assert!(warned, "the space was said to be full before a write was refused");
                refused += 1;
                assert!(matches!(wal.write(&batch), Err(WalError::Full { .. })));
                wal.idle().unwrap();
                assert!(matches!(wal.space(), Space::Full { .. }));
                disk.set_quota(None);
                wal.prepare_segment().unwrap();
                assert_eq!(wal.space(), Space::Free);
                wal.write(&batch).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(refused, 1);
    assert_eq!(read_all(&wal, &author.log), entries(&author));
    let (wal, recovered) = open(&disk, SEGMENT).unwrap();
    assert_eq!(recovered.log, author.log);
    assert_eq!(read_all(&wal, &author.log), entries(&author));
}

/// An identity that does not fit is back-pressure like a batch that does not: the old one stands, and the new one is tried again.
#[test]
fn an_identity_without_space_is_back_pressure() {
    let disk = MemoryDisk::default();
    let (mut wal, recovered) = open(&disk, SEGMENT).unwrap();
    let node = NodeId(77);
    let identity = Identity { node, ..recovered.identity.clone() };
    let batch = [Write { identity: Some(identity), ..runs(&[]) }];
    disk.set_quota(Some(1));
    for _ in 0..2 {
        assert!(matches!(wal.write(&batch), Err(WalError::Full { .. })));
        assert_eq!(disk.names().iter().filter(|name| name.ends_with(".new")).count(), 0);
    }
    disk.set_quota(None);
    wal.write(&batch).unwrap();
    assert_eq!(open(&disk, SEGMENT).unwrap().1.identity.node, node);
}

#[test]
fn a_lost_write_is_noticed_unless_it_was_the_last() {
    let (noticed, last) =
        lose_writes(&options(SEGMENT), &[Vote, Append, Batch, Fill, Elect, Fill, Fill, Idle]).unwrap();
    assert!(noticed > 5 && last == 0, "{noticed} noticed, {last} not");
    let (noticed, last) = lose_writes(&options(SEGMENT), &[Vote, Append, Batch, Fill, Elect, Fill, Fill]).unwrap();
    assert!(noticed > 5 && last == 1, "{noticed} noticed, {last} not");
    let (_, last) = lose_writes(&options(SEGMENT), &[Append, Vote]).unwrap();
    assert_eq!(last, 1);
}

/// With a record behind the last batch, and behind the last vote, every flip is noticed or harmless.
#[test]
fn every_flipped_bit_is_noticed_or_harmless() {
    for ops in [vec![Vote, Append, Batch, Peers, Fill, Fill, Prepare, Idle], vec![Adopt, Append, Elect, Vote, Idle]] {
        let directory = Directory::of(&options(SEGMENT), &ops).unwrap();
        let flipped = flip_every_bit(&options(SEGMENT), &directory).unwrap_or_else(|violation| panic!("{violation}"));
        println!("{ops:?}: {flipped:?}");
        assert!(flipped.damaged > 5000 && flipped.harmless > 50_000 && flipped.last == 0, "{flipped:?}");
    }
}

/// Without one, the rot of the very last batch, or of the very last vote, cannot be told from a write that was torn (rule 4).
#[test]
fn only_the_rot_of_the_very_last_write_goes_unnoticed() {
    // Records behind the segment's head and three records of the last batch; a slot behind its frame.
    for ops in [vec![Vote, Append, Batch], vec![Vote, Append, Vote], vec![Fill, Fill]] {
        let directory = Directory::of(&options(SEGMENT), &ops).unwrap();
        let flipped = flip_every_bit(&options(SEGMENT), &directory).unwrap_or_else(|violation| panic!("{violation}"));
        println!("{ops:?}: {flipped:?}");
        assert!(flipped.damaged > 1000 && flipped.last > 300, "{flipped:?}");
    }
}

#[test]
fn every_bit_flipped_under_a_running_store_is_noticed_by_the_fetch_that_meets_it() {
    let directory = Directory::of(&options(SEGMENT), &[Append, Batch, Elect, Append, Idle]).unwrap();
    let noticed = flip_under_a_reader(&options(SEGMENT), &directory).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(noticed > 5000, "{noticed}");
}

/// A read that fails loses nothing and stops nobody: the fetch says so, and the next one may succeed (fault K8).
#[test]
fn a_read_error_is_told_by_the_fetch_and_poisons_nothing() {
    let Directory { disk, holds, .. } = Directory::of(&options(SEGMENT), &[Append, Batch, Idle]).unwrap();
    let (mut wal, _) = open(&disk, SEGMENT).unwrap();
    disk.fail_at(1, Failure::Device);
    let violation = holds.check_fetches(&wal, 1 << 20).unwrap_err();
    assert!(violation.contains("cannot read"), "{violation}");
    holds.check_fetches(&wal, 1 << 20).unwrap();
    wal.write(&[runs(&[holds.last().author.clone().append(&[b"goes on"])])]).unwrap();
}
