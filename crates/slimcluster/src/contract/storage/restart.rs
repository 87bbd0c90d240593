//! What the next process finds.

use slimcluster_core::storage::{Abandoned, KnownPeer, Phase};
use slimcluster_core::types::StoreId;
use slimcluster_core::{ClusterUuid, Generation, Index, NodeId, Nonce, Term};

use super::log::{configuration, ten_entries};
use super::suite::Bench;
use super::trial::Trial;
use crate::contract::case::{Verdict, breach, equal, holds};

pub(super) fn every_open_is_a_new_node(bench: &Bench) -> Verdict {
    let mut trial = ten_entries(bench, "every_open_is_a_new_node")?;
    let write = trial.voting(9, Some(1));
    trial.write(&[write])?;
    trial.options.node = NodeId(0xb0b);
    // What is expected of an open of an ephemeral storage is an empty one of the new options.
    trial.restart()
}

pub(super) fn every_open_raises_the_generation(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "every_open_raises_the_generation")?;
    for _ in 0..5 {
        // That it rises is judged by the open itself: with writes in between, and without.
        trial.restart()?;
        trial.restart()?;
        trial.append(&[b"a"])?;
    }
    Ok(())
}

pub(super) fn the_first_identity_stays(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "the_first_identity_stays")?;
    trial.append(&[b"a"])?;
    trial.options.node = NodeId(0xb0b);
    trial.options.store = StoreId(0xb0b);
    trial.restart()
}

pub(super) fn another_cluster_id_is_refused(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "another_cluster_id_is_refused")?;
    trial.append(&[b"a"])?;
    trial.close();
    let own = std::mem::replace(&mut trial.options.cluster_id, "another".to_owned());
    let opened = trial.storage.open(&trial.options).map(drop);
    let Err(error) = opened else { return Err(breach("an error for another cluster id", "an open storage")) };
    holds(!error.to_string().is_empty(), "an error that says what is wrong", "no words")?;
    trial.options.cluster_id = own;
    trial.restart()
}

pub(super) fn one_holder_at_a_time(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "one_holder_at_a_time")?;
    trial.append(&[b"a"])?;
    let second = trial.storage.open(&trial.options).map(drop);
    holds(second.is_err(), "an error: the storage is open already", "a second holder")?;
    // The first goes on, unharmed.
    trial.append(&[b"b"])?;
    trial.check_log()?;
    // The lock goes with the writer: a reader that somebody still holds does not keep the next process out.
    let reader = trial.reader()?;
    trial.restart()?;
    drop(reader);
    Ok(())
}

pub(super) fn term_and_vote_survive(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "term_and_vote_survive")?;
    for (term, vote) in [(1, Some(7)), (2, None), (3, Some(u128::MAX)), (3, Some(u128::MAX)), (TERM_MAX - 2, None)] {
        let write = trial.voting(term, vote);
        trial.write(&[write])?;
        trial.restart()?;
    }
    // The last of several in one batch, with a run between them.
    let mut batch = vec![trial.voting(TERM_MAX - 1, Some(1))];
    batch.push(trial.appending(&[b"a"])?);
    batch.push(trial.voting(TERM_MAX, Some(2)));
    trial.write(&batch)?;
    trial.restart()?;
    trial.restart()
}

pub(super) fn acknowledged_runs_survive(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "acknowledged_runs_survive")?;
    trial.append(&[b"a"])?;
    trial.restart()?;
    let batch = [trial.appending(&[b"b", b""])?, trial.appending(&[&[7; 5000]])?];
    trial.write(&batch)?;
    trial.restart()?;
    let cut = trial.expected.run_at(Index(2), Term(4), &[b"other"])?;
    let write = trial.splicing(cut)?;
    trial.write(&[write])?;
    // What was cut off stays so, also with a restart before anything follows.
    trial.restart()?;
    trial.append(&[b"behind it"])?;
    trial.restart()
}

pub(super) fn each_phase_survives(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "each_phase_survives")?;
    let set = configuration(bench, trial.options.node)?;
    let promised = trial.becoming(Phase::Promised(set.clone()));
    trial.write(&[promised])?;
    trial.restart()?;
    // Rule 24: gives the promise up under a new id, and promises again.
    trial.expected.identity.abandoned.push(Abandoned { node: trial.options.node, set: vec![NodeId(7)] });
    trial.expected.identity.node = NodeId(0xa11ce002 << 96);
    let fresh = trial.becoming(Phase::Fresh);
    trial.write(&[fresh])?;
    trial.restart()?;
    let formed = trial.becoming(Phase::Formed { uuid: ClusterUuid(5), baseline: set });
    let batch = [formed, trial.voting(1, Some(7)), trial.appending(&[b"entry 2"])?];
    trial.write(&batch)?;
    trial.restart()?;

    let mut joiner = Trial::new(bench, "each_phase_survives_join_only")?;
    let join_only = joiner.becoming(Phase::JoinOnly { uuid: ClusterUuid(u128::MAX) });
    joiner.write(&[join_only])?;
    joiner.restart()?;
    joiner.append(&[b"received from the leader"])?;
    joiner.restart()
}

pub(super) fn the_tail_ends_the_log(bench: &Bench) -> Verdict {
    // What the tail must be is judged by each open; here it is asked of logs of which it cannot be all, or is cut short.
    let mut trial = Trial::new(bench, "the_tail_ends_the_log")?;
    let large = vec![9; 1 << 20];
    for _ in 0..40 {
        trial.append(&[&large])?;
    }
    trial.restart()?;
    let cut = trial.expected.run_at(Index(3), Term(2), &[b"most of it is gone"])?;
    let write = trial.splicing(cut)?;
    trial.write(&[write])?;
    trial.restart()
}

pub(super) fn the_peers_are_remembered(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "the_peers_are_remembered")?;
    let peer = |id, address: &str| {
        let address = address.parse().map_err(|_| breach("the suite knows addresses", address))?;
        Ok(KnownPeer {
            id: NodeId(id),
            name: "n".to_owned(),
            address,
            generation: Generation(4),
            nonce: Nonce(u64::MAX),
        })
    };
    let peers = [peer(1, "127.0.0.1:5")?, peer(u128::MAX, "[::1]:60001")?];
    for list in [&peers[..], &peers[1..], &[]] {
        trial.writer()?.remember_peers(list).map_err(|error| breach("the peers are kept", error))?;
        trial.append(&[b"meanwhile"])?;
        trial.close();
        let recovered = trial.open()?;
        equal("the peers found", &recovered.peers[..], list)?;
    }
    Ok(())
}

pub(super) fn many_restarts(bench: &Bench) -> Verdict {
    let mut trial = Trial::new(bench, "many_restarts")?;
    for round in 0..40u64 {
        let write = trial.voting(round + 1, Some(u128::from(round)));
        trial.write(&[write])?;
        trial.append(&[&[round as u8; 900], b"x"])?;
        if round % 7 == 6 {
            let last = trial.expected.log.last();
            let cut = trial.expected.run_at(last.index.prev().prev(), Term(round + 1), &[b"cut"])?;
            let write = trial.splicing(cut)?;
            trial.write(&[write])?;
        }
        trial.restart()?;
    }
    Ok(())
}

/// The highest term that a node ever writes (rule 28).
const TERM_MAX: u64 = slimcluster_core::types::COUNTER_MAX;
