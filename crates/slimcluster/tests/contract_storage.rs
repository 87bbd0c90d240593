//! The contract of a storage: ours keep it, and each of its cases catches a storage that does not.

mod contract_storage_support;

use std::sync::Arc;

use contract_storage_support::disk::FaultyDisk;
use contract_storage_support::shelf::{Flaw, Medium, Shelf};
use contract_storage_support::wal_on::WalOn;
use slimcluster::contract::{self, Inject};
use slimcluster::{Memory, Wal};

#[test]
fn memory_keeps_the_contract() {
    contract::storage(|_| Memory).check();
}

#[test]
fn the_log_in_a_directory_keeps_the_contract() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let faulty = move |name: &str| {
        let disk = FaultyDisk::open(&path.join(format!("faulty_{name}")));
        let faults = disk.clone();
        (WalOn::new(disk), Box::new(move |fault| faults.inject(fault)) as Inject)
    };
    let report = contract::storage(move |name| Wal::at(root.path().join(name))).with_faults(faulty).report();
    report.assert_kept();
    assert_eq!(report.not_asked(), ["every_open_of_an_ephemeral_storage_is_a_new_node"]);
}

/// The contract of the sample storage with this flaw.
fn shelf(flaw: Option<Flaw>) -> contract::StorageContract {
    let faulty = move |_: &str| {
        let medium = Arc::new(Medium::default());
        let faults = Arc::clone(&medium);
        (Shelf { medium, flaw }, Box::new(move |fault| faults.inject(fault)) as Inject)
    };
    contract::storage(move |_| Shelf { medium: Arc::default(), flaw }).with_faults(faulty)
}

#[test]
fn a_small_correct_storage_keeps_the_contract() {
    shelf(None).check();
}

#[test]
fn each_case_catches_a_storage_that_breaks_it() {
    use Flaw::*;
    let caught_by = [
        (Prefilled, "a_new_storage_is_empty"),
        (GarblesCommands, "what_is_acknowledged_is_read_back"),
        (BackwardBatches, "a_batch_is_executed_in_order"),
        (KeepsWhatIsCutOff, "a_run_cuts_off_what_stands_at_its_place_and_behind"),
        (WholeRunsOnly, "a_fetch_keeps_to_its_range"),
        (IgnoresBytes, "a_fetch_keeps_to_its_bytes_and_gives_one_entry_at_least"),
        (NothingIfTooLarge, "a_fetch_keeps_to_its_bytes_and_gives_one_entry_at_least"),
        (ErrorBehindTheEnd, "a_fetch_of_what_is_not_there_is_empty"),
        (DropsLargeRuns, "large_runs_are_kept_whole"),
        (StartsEveryLogAtOne, "the_log_of_a_formed_cluster_starts_behind_its_founding_entry"),
        (NeverIdleEnough, "preparing_and_idling_change_nothing_and_come_to_rest"),
        (WritesBehind, "readers_see_what_is_acknowledged_while_the_writer_writes"),
        (TakesHoles, "a_run_that_leaves_a_hole_is_refused_and_stops_the_storage"),
        (ForgetsAfterManyCuts, "random_histories_agree_with_a_plain_list"),
        (RemembersThoughEphemeral, "every_open_of_an_ephemeral_storage_is_a_new_node"),
        (SameGeneration, "every_open_raises_the_generation"),
        (TakesNewIds, "the_identity_of_the_first_open_stays"),
        (AnyCluster, "another_cluster_id_is_refused_and_changes_nothing"),
        (NoLock, "a_storage_has_one_holder_at_a_time"),
        (ForgetsVotes, "term_and_vote_survive"),
        (UndoesCuts, "acknowledged_runs_survive"),
        (ForgetsAbandoned, "each_phase_of_the_identity_survives"),
        (NoTail, "the_tail_ends_the_log"),
        (ForgetsPeers, "the_peers_are_remembered"),
        (LosesTheTwentiethRestart, "many_restarts_lose_nothing"),
        (KeepsAtTheEnd, "what_is_acknowledged_is_there_when_the_process_ends_at_once"),
        (NeverSyncs, "what_cannot_be_synced_is_not_acknowledged"),
        (TriesAgain, "a_failed_write_stops_the_storage_for_good"),
        (RunsFirst, "term_and_vote_are_kept_before_the_runs_of_their_batch"),
        (FullIsFailure, "a_full_medium_is_back_pressure_and_no_failure"),
        (NeverFree, "a_full_medium_is_back_pressure_and_no_failure"),
    ];
    let sound = shelf(None).report();
    for (flaw, case) in caught_by {
        let report = shelf(Some(flaw)).only(case).report();
        assert_eq!(report.breached(), [case], "{flaw:?}: {report}");
    }
    let uncaught: Vec<&str> =
        sound.names().into_iter().filter(|name| caught_by.iter().all(|(_, case)| case != name)).collect();
    assert!(uncaught.is_empty(), "nothing shows that these cases can fail: {uncaught:?}");
}
