//! What a store does when nothing goes wrong.

mod support;

use slimcluster_core::raft::{Configuration, ConfiguredNode, Standing};
use slimcluster_core::storage::{KnownPeer, Phase};
use slimcluster_core::types::COUNTER_MAX;
use slimcluster_core::{ClusterUuid, Durability, Generation, GroupId, HardState, Index, LogId, NodeId, Nonce, Term};
use slimcluster_wal::{Space, Wal, WalError};
use support::disk::MemoryDisk;
use support::*;

#[test]
fn a_new_store_is_empty_and_every_open_is_a_new_generation() {
    let disk = MemoryDisk::default();
    for generation in 1..4 {
        let (_, recovered) = open(&disk, 4096).unwrap();
        assert_eq!(recovered.identity.node, FRESH.node);
        assert_eq!(recovered.identity.generation, Generation(generation));
        assert_eq!(recovered.identity.phase, Phase::Fresh);
        assert_eq!(recovered.hard_state, HardState::default());
        assert_eq!(recovered.log.last(), LogId::ZERO);
    }
    assert_eq!(disk.names(), ["hardstate", "identity", "log-0000000000000001"]);
}

#[test]
fn what_was_written_is_found_again() {
    let disk = MemoryDisk::default();
    let mut author = Author::default();
    let (mut wal, _) = open(&disk, 4096).unwrap();
    wal.write(&[hard_state(1, 7)]).unwrap();
    for round in 0..200u8 {
        // Two writes in one batch, one of them with two runs; every tenth round cuts the log.
        let mut batch = vec![
            runs(&[author.append(&[b"one", &[round; 40]])]),
            runs(&[author.append(&[b""]), author.append(&[&[round; 90]])]),
        ];
        if round % 10 == 9 {
            let last = author.log.last();
            batch.push(runs(&[author.splice(last.term.0 + 1, last.index.0 - 4, &[b"other"])]));
        }
        wal.write(&batch).unwrap();
        wal.prepare_segment().unwrap();
    }
    wal.write(&[hard_state(30, 8)]).unwrap();
    assert_eq!(read_all(&wal, &author.log), entries(&author));
    assert!(disk.names().len() > 5, "the log spans several segments");

    let (wal, recovered) = open(&disk, 4096).unwrap();
    assert_eq!(recovered.log, author.log);
    assert_eq!(recovered.hard_state, HardState { term: Term(30), vote: Some(NodeId(8)) });
    assert_eq!(read_all(&wal, &recovered.log), entries(&author));
    assert_eq!(recovered.tail.last().unwrap().chain_end(), author.log.chain());
}

#[test]
fn the_tail_is_contiguous_bounded_and_never_empty() {
    let disk = MemoryDisk::default();
    let mut author = Author::default();
    let (mut wal, _) = open(&disk, 8192).unwrap();
    for _ in 0..50 {
        wal.write(&[runs(&[author.append(&[&[1; 100], &[2; 100]])])]).unwrap();
    }
    wal.write(&[runs(&[author.splice(2, 90, &[b"cut in the middle of a run"]), author.append(&[b"a"])])]).unwrap();
    // With 5,000 bytes the tail holds sixteen runs before the cut takes five and a half of them.
    for (tail_bytes_max, runs) in [(0, 1), (400, 2), (5000, 13), (1 << 20, 47)] {
        let options = slimcluster_wal::Options { tail_bytes_max, ..options(8192) };
        let (_, recovered) = Wal::open(disk.process(), options, CLUSTER, FRESH).unwrap();
        assert_eq!(recovered.tail.len(), runs, "{tail_bytes_max}");
        assert!(recovered.tail.windows(2).all(|pair| pair[0].last().next() == pair[1].first()));
        assert_eq!(recovered.tail.last().unwrap().last(), Index(91));
    }
}

#[test]
fn a_formed_cluster_starts_its_log_after_the_founding_configuration() {
    let disk = MemoryDisk::default();
    let (mut wal, recovered) = open(&disk, 4096).unwrap();
    let voter = |id, name: &str| ConfiguredNode {
        id: NodeId(id),
        name: name.into(),
        durability: Durability::Fsync,
        standing: Standing::Voter,
    };
    let baseline = Configuration::new(vec![voter(7, "a"), voter(8, "b")]).unwrap();
    let mut identity = recovered.identity;
    identity.phase = Phase::Promised(baseline.clone());
    wal.write(&[slimcluster_core::storage::Write { identity: Some(identity.clone()), ..runs(&[]) }]).unwrap();
    identity.phase = Phase::Formed { uuid: ClusterUuid(5), baseline };
    let mut author = Author { log: identity.phase.founding_log(GroupId::DEFAULT), ..Author::default() };
    let first = author.append(&[b"first"]);
    assert_eq!(first.first(), Index(2));
    let mut write = hard_state(1, 7);
    write.identity = Some(identity.clone());
    write.runs = vec![first];
    wal.write(&[write]).unwrap();
    assert_eq!(read_all(&wal, &author.log), entries(&author));

    let (mut wal, recovered) = open(&disk, 4096).unwrap();
    assert_eq!(recovered.log, author.log);
    assert_eq!(recovered.identity.phase, identity.phase);
    // Another beginning for a log that holds entries is refused, and nothing goes on after that.
    let mut other = recovered.identity;
    other.phase = Phase::Fresh;
    let refused = wal.write(&[slimcluster_core::storage::Write { identity: Some(other), ..runs(&[]) }]);
    assert!(matches!(refused, Err(WalError::Invariant(_))));
    assert!(matches!(wal.write(&[]), Err(WalError::Poisoned { .. })));
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own_size() {
    let disk = MemoryDisk::default();
    let mut author = Author::default();
    let (mut wal, _) = open(&disk, 4096).unwrap();
    for size in [10, 5000, 10, 200_000, 3000, 10] {
        wal.write(&[runs(&[author.append(&[&vec![9; size]])])]).unwrap();
    }
    assert_eq!(read_all(&wal, &author.log), entries(&author));
    let (wal, recovered) = open(&disk, 4096).unwrap();
    assert_eq!(recovered.log, author.log);
    assert_eq!(read_all(&wal, &author.log), entries(&author));
}

#[test]
fn fetches_keep_to_their_bounds() {
    let disk = MemoryDisk::default();
    let mut author = Author::default();
    let (mut wal, _) = open(&disk, 1 << 20).unwrap();
    let run = author.append(&[&[1; 100], &[2; 100], &[3; 100]]);
    wal.write(&[runs(&[run.clone(), author.append(&[b"next"])])]).unwrap();
    let reader = wal.reader();
    let fetch = |first, last, bytes| reader.fetch(GroupId::DEFAULT, Index(first), Index(last), bytes).unwrap().runs;
    let ranges = |runs: Vec<slimcluster_core::Run>| -> Vec<(u64, u64)> {
        runs.iter().map(|run| (run.first().0, run.last().0)).collect()
    };
    assert_eq!(ranges(fetch(1, 9, 1 << 20)), [(1, 3), (4, 4)]);
    assert_eq!(ranges(fetch(2, 9, 1 << 20)), [(2, 3), (4, 4)]);
    assert_eq!(ranges(fetch(2, 2, 1 << 20)), [(2, 2)]);
    assert_eq!(ranges(fetch(1, 9, 0)), [(1, 1)]);
    assert_eq!(ranges(fetch(1, 9, run.encoded_len())), [(1, 3)]);
    assert_eq!(ranges(fetch(1, 9, run.encoded_len() - 1)), [(1, 2)]);
    for (first, last) in [(0, 9), (5, 9), (4, 3)] {
        assert_eq!(ranges(fetch(first, last, 1 << 20)), [(0, 0); 0]);
    }
    assert!(reader.fetch(GroupId(2), Index(1), Index(1), 9).unwrap().runs.is_empty());
}

#[test]
fn the_idle_record_is_written_once() {
    let disk = MemoryDisk::default();
    let mut author = Author::default();
    let (mut wal, _) = open(&disk, 4096).unwrap();
    assert!(wal.needs_idle_record());
    wal.idle().unwrap();
    for write in [runs(&[author.append(&[b"a"])]), hard_state(2, 7)] {
        assert!(!wal.needs_idle_record());
        wal.write(&[write]).unwrap();
        assert!(wal.needs_idle_record());
        wal.idle().unwrap();
    }
    let calls = disk.calls();
    wal.idle().unwrap();
    assert_eq!(disk.calls(), calls);
    let (wal, _) = open(&disk, 4096).unwrap();
    assert!(!wal.needs_idle_record(), "the log ends with the empty batch");
}

#[test]
fn syncs_are_one_per_batch_and_two_at_elections() {
    let disk = MemoryDisk::default();
    let mut author = Author::default();
    let (mut wal, _) = open(&disk, 1 << 20).unwrap();
    let mut calls = |batch: &[slimcluster_core::storage::Write]| {
        let before = disk.calls();
        wal.write(batch).unwrap();
        disk.calls() - before
    };
    let batch: Vec<_> = (0..20).map(|_| runs(&[author.append(&[b"x"]), author.append(&[b"y"])])).collect();
    assert_eq!(calls(&batch), 2, "one write, one sync");
    let mut election = hard_state(2, 7);
    election.runs = vec![author.append(&[b"z"])];
    assert_eq!(calls(&[election.clone()]), 4);
    election.runs = vec![author.append(&[b"z"])];
    assert_eq!(calls(&[election]), 2, "the same term and vote are not written again");
    assert_eq!(calls(&[runs(&[])]), 0);
}

#[test]
fn the_log_says_when_it_has_reached_its_limit() {
    let disk = MemoryDisk::default();
    let mut author = Author::default();
    let limited = slimcluster_wal::Options { log_bytes_max: 10_000, ..options(4096) };
    let (mut wal, _) = Wal::open(disk.process(), limited, CLUSTER, FRESH).unwrap();
    let mut written = 0;
    while wal.space() == Space::Free {
        wal.write(&[runs(&[author.append(&[&[5; 500]])])]).unwrap();
        written += 500;
        assert!(written < 10_000);
    }
    assert!(written > 5_000);
    wal.write(&[runs(&[author.append(&[b"still accepted"])])]).unwrap();
}

#[test]
fn peers_are_remembered() {
    let disk = MemoryDisk::default();
    let (mut wal, recovered) = open(&disk, 4096).unwrap();
    assert_eq!(recovered.peers, []);
    let peers: Vec<KnownPeer> = [("127.0.0.1:5", 4), ("[::1]:60001", 9)]
        .map(|(address, generation)| KnownPeer {
            id: NodeId(u128::MAX - generation as u128),
            name: "n".into(),
            address: address.parse().unwrap(),
            generation: Generation(generation),
            nonce: Nonce(u64::MAX),
        })
        .into();
    wal.remember_peers(&peers[..1]).unwrap();
    wal.remember_peers(&peers).unwrap();
    assert_eq!(open(&disk, 4096).unwrap().1.peers, peers);
    disk.tamper("peers", vec![1; 60]);
    assert_eq!(open(&disk, 4096).unwrap().1.peers, [], "a damaged list is a lost comfort");
}

#[test]
fn impossible_runs_poison_the_store_before_they_are_written() {
    for first in [3, 7] {
        let disk = MemoryDisk::default();
        let (mut wal, _) = open(&disk, 4096).unwrap();
        let mut author = Author::default();
        wal.write(&[runs(&[author.append(&[b"1"])])]).unwrap();
        let mut foreign = Author::default();
        foreign.append(&[b"other", b"2", b"3", b"4", b"5", b"6"]);
        let run = foreign.runs[0].slice(Index(first), Index(9)).unwrap_or_else(|| foreign.append(&[b"7"]));
        assert!(matches!(wal.write(&[runs(&[run])]), Err(WalError::Invariant(_))));
        assert!(matches!(wal.write(&[]), Err(WalError::Poisoned { .. })));
        assert!(matches!(wal.reader().fetch(GroupId::DEFAULT, Index(1), Index(1), 1), Err(WalError::Poisoned { .. })));
        assert_eq!(open(&disk, 4096).unwrap().1.log.last().index, Index(1));
    }
}

/// What no open would believe is not written: the store is poisoned, and what it held stands (rule 28).
#[test]
fn a_term_beyond_the_bound_is_refused_and_the_one_at_the_bound_is_kept() {
    let disk = MemoryDisk::default();
    let (mut wal, _) = open(&disk, 4096).unwrap();
    wal.write(&[hard_state(COUNTER_MAX, 7)]).unwrap();
    assert!(matches!(wal.write(&[hard_state(COUNTER_MAX + 1, 7)]), Err(WalError::Invariant(_))));
    assert!(matches!(wal.write(&[]), Err(WalError::Poisoned { .. })));
    assert_eq!(open(&disk, 4096).unwrap().1.hard_state.term, Term(COUNTER_MAX));
}
