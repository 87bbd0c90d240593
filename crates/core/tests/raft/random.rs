//! Random histories: loss, doubles, any order, late syncs, crashes that lose what was not synced; then peace, in which all must
//! agree within a bound.

use std::time::Duration;

use slimcluster_core::NodeId;
use slimcluster_core::raft::{Input, Options, Role, Standing};
use slimcluster_core::random::Random;

use super::cluster::{Automatic, Cluster};

/// What one seed saw, so that a test of many can tell that they tested something.
#[derive(Debug, Default)]
pub struct Tally {
    pub applied: u64,
    pub terms: u64,
    pub reads: u64,
}

/// Small limits, so that windows fill, caches evict and messages are cut.
fn tight() -> Options {
    Options {
        append_bytes_max: 300,
        inflight_messages_max: 3,
        inflight_bytes_max: 700,
        uncommitted_bytes_max: 4000,
        cache_bytes_max: 900,
        apply_bytes_max: 600,
        ..Options::lan()
    }
}

pub fn run(rng_seed: u64, steps: u32) -> Tally {
    let mut rng = Random::new(rng_seed);
    let standings: &[Standing] = match rng.below(6) {
        0 => &[Standing::Voter],
        1 | 2 => &[Standing::Voter; 3],
        3 => &[Standing::Voter; 5],
        4 => &[Standing::Voter, Standing::Voter, Standing::Voter, Standing::Learner],
        _ => &[Standing::Voter, Standing::Voter, Standing::Outgoing, Standing::Incoming, Standing::Demoting],
    };
    let options = if rng.chance(2, 3) { tight() } else { Options::lan() };
    let mut cluster = Cluster::new(standings, options, rng_seed);
    cluster.automatic = Automatic { sync: false, apply: false, fetch: false };
    let ids = cluster.ids();
    // Some seeds are rough, some nearly quiet: each kind reaches other states.
    let loss = rng.below(20);
    let crashes = rng.below(8);
    let pace = if rng.chance(1, 2) { 12_000 } else { 100_000 };
    let delivery = 15 + rng.below(40);
    let mut cut: Option<NodeId> = None;

    for _ in 0..steps {
        // Only the newest lines are of use when a seed fails.
        if cluster.trace.len() > 200_000 {
            cluster.trace.drain(..100_000);
        }
        let id = ids[rng.below(ids.len() as u64) as usize];
        match rng.below(100) {
            0..50 => {
                if rng.below(50) > delivery {
                    continue;
                }
                if cluster.network.is_empty() {
                    continue;
                }
                // Mostly in order, sometimes any message.
                let at = if rng.chance(3, 4) { 0 } else { rng.below(cluster.network.len() as u64) as usize };
                let envelope = cluster.network[at].clone();
                let is_cut = cut.is_some_and(|cut| envelope.from == cut || envelope.to == cut);
                if is_cut || rng.chance(loss, 100) {
                    cluster.network.remove(at);
                    continue;
                }
                if rng.chance(1, 20) {
                    cluster.network.push(envelope);
                }
                cluster.deliver(at);
            }
            50..66 => {
                cluster.sync_one(id);
            }
            66..72 => cluster.apply(id),
            72 => cluster.load(id),
            73..78 => cluster.fetch(id),
            78..86 => {
                let until = cluster.now + Duration::from_micros(rng.below(pace));
                cluster.advance_to(until);
            }
            86..94 => {
                let target = cluster.leader().filter(|_| rng.chance(9, 10)).unwrap_or(id);
                for count in 0..=rng.below(3) {
                    let payloads = ["x", "a longer payload of some bytes", "y"];
                    let _ = cluster.propose_silently(target, &payloads[..=count as usize]);
                }
                cluster.drain(target);
            }
            94 | 95 => {
                let target = cluster.leader().unwrap_or(id);
                cluster.read(target);
            }
            96 => {
                let peer = ids[rng.below(ids.len() as u64) as usize];
                let input = if rng.chance(1, 2) { Input::PeerConnected(peer) } else { Input::PeerDisconnected(peer) };
                cluster.handle(id, input);
            }
            97 => {
                let peer = ids[rng.below(ids.len() as u64) as usize];
                cluster.handle(id, Input::LeaderGone(peer));
            }
            98 => cut = rng.chance(2, 3).then(|| cluster.leader().filter(|_| rng.chance(1, 2)).unwrap_or(id)),
            _ => {
                if !cluster.is_up(id) {
                    cluster.start(id);
                } else if rng.below(8) < crashes {
                    if rng.chance(1, 4) {
                        cluster.handle(id, Input::Resign);
                    }
                    let kept = rng.below(1 + cluster.nodes[&id].disk.unsynced() as u64) as usize;
                    cluster.crash(id, kept);
                }
            }
        }
    }
    peace(&mut cluster)
}

/// Everyone is up, nothing is lost: soon there is a leader, it commits, and all apply the same.
fn peace(cluster: &mut Cluster) -> Tally {
    for id in cluster.ids() {
        // A node that resigned in vain stays what it is; it is restarted like every other.
        cluster.crash(id, usize::from(cluster.nodes[&id].disk.unsynced() > 0));
        cluster.start(id);
    }
    cluster.automatic = Automatic { sync: true, apply: true, fetch: true };
    let mut is_proposed = false;
    for _ in 0..400 {
        let until = cluster.now + Duration::from_millis(10);
        cluster.advance_to(until);
        cluster.settle();
        let Some(leader) = cluster.leader() else { continue };
        if !is_proposed {
            is_proposed = cluster.propose(leader, &["peace"]).is_ok() && cluster.read(leader);
            cluster.settle();
            continue;
        }
        let raft = cluster.raft(leader);
        let (last, term) = (raft.last().index, raft.term());
        let is_level = |id: &NodeId| {
            let raft = cluster.raft(*id);
            (raft.applied_index(), raft.term(), raft.last().index) == (last, term, last)
        };
        if cluster.ids().iter().all(is_level) {
            assert!(cluster.ids().iter().all(|&id| id == leader || cluster.raft(id).role() == Role::Follower));
            return Tally { applied: last.0, terms: term.0, reads: cluster.reads_ready };
        }
    }
    panic!("no agreement after four quiet seconds:\n{}", &cluster.trace[cluster.trace.len().saturating_sub(20_000)..]);
}

/// Runs these seeds; the name of one that fails is in the panic's message.
fn run_all(seeds: std::ops::Range<u64>) {
    let mut sum = Tally::default();
    let count = seeds.end - seeds.start;
    for rng_seed in seeds {
        let result = std::panic::catch_unwind(|| run(rng_seed, 4000));
        let Ok(tally) = result else { panic!("seed {rng_seed} failed") };
        sum.applied += tally.applied;
        sum.terms += tally.terms;
        sum.reads += tally.reads;
    }
    println!("{count} seeds: {sum:?}");
    let is_lively = sum.applied > count * 50 && sum.terms > count * 4 && sum.reads > count * 5;
    assert!(is_lively, "too quiet to prove much: {sum:?}");
}

#[test]
fn random_histories_keep_every_invariant_and_end_in_agreement() {
    run_all(0..300);
}

#[test]
#[ignore = "minutes: for changes to Raft itself"]
fn very_many_random_histories() {
    run_all(1000..41_000);
}

#[cfg(feature = "mutants")]
#[test]
fn every_mutant_is_caught() {
    use slimcluster_core::mutants::Mutant;

    let mutants =
        [Mutant::VoteNotPersisted, Mutant::OwnTermCommit, Mutant::AckBeforeDurable, Mutant::VoteTermNotCompared];
    for mutant in mutants {
        let is_caught = |rng_seed: &u64| {
            let _planted = slimcluster_core::mutants::plant(Some(mutant));
            std::panic::catch_unwind(|| run(*rng_seed, 4000)).is_err()
        };
        let caught = (0..1000).find(is_caught);
        println!("{mutant}: caught by seed {caught:?}");
        assert!(caught.is_some(), "{mutant} survives");
    }
}
