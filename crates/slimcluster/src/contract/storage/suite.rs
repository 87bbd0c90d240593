//! The suite: how it is given storages, and the list of its cases.

use super::{faults, log, model, restart};
use crate::Durability;
use crate::contract::case::{self, Case, Report};
use crate::storage::Storage;

/// What goes wrong with the medium under a storage, from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This many more effects (a write, a sync, a creation, a rename, a removal) succeed; every one behind them fails, until the fault is
    /// taken away. Reads succeed.
    FailAfter(u64),
    /// Every sync fails; all else succeeds.
    FailSyncs,
    /// Whatever needs more space fails for want of it; what was claimed before can be written.
    NoSpace,
}

/// Gives the medium under a storage a fault, or takes it away.
pub type Inject = Box<dyn Fn(Option<Fault>) + Send + Sync>;

/// The contract of [`Storage`], to be checked; made by [`storage`].
#[must_use = "nothing is asked before `check` or `report`"]
pub struct StorageContract {
    bench: Bench,
    only: Option<String>,
}

/// What the cases are given.
pub(super) struct Bench {
    pub make: Box<Make>,
    pub faulty: Option<Box<MakeFaulty>>,
    pub durability: Durability,
    pub seed: u64,
}

type Make = dyn Fn(&str) -> Box<dyn Storage> + Send + Sync;
type MakeFaulty = dyn Fn(&str) -> (Box<dyn Storage>, Inject) + Send + Sync;

/// The contract of the storages that `make` makes. Each call gets a name that no other call gets and must give a storage that nobody has opened yet;
/// a storage in a directory takes the name for it. The cases open the storage that they are given again and again, as restarts do.
///
/// ```
/// use slimcluster::{Wal, contract};
///
/// let root = tempfile::tempdir()?;
/// contract::storage(move |name| Wal::at(root.path().join(name))).check();
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn storage<S: Storage>(make: impl Fn(&str) -> S + Send + Sync + 'static) -> StorageContract {
    let durability = make("durability").durability();
    let make: Box<Make> = Box::new(move |name| Box::new(make(name)));
    StorageContract { bench: Bench { make, faulty: None, durability, seed: SEED_DEFAULT }, only: None }
}

impl StorageContract {
    /// Asks also what the storage does when its medium fails: `make` gives a storage over a medium that can be made to. Without it those cases
    /// are not asked.
    pub fn with_faults<S: Storage>(
        mut self,
        make: impl Fn(&str) -> (S, Inject) + Send + Sync + 'static,
    ) -> StorageContract {
        self.bench.faulty = Some(Box::new(move |name| {
            let (storage, inject) = make(name);
            (Box::new(storage), inject)
        }));
        self
    }

    /// Draws the random cases from this seed, which every report prints.
    pub fn seed(mut self, seed: u64) -> StorageContract {
        self.bench.seed = seed;
        self
    }

    /// Asks only the case of this name: to look at one breach.
    pub fn only(mut self, name: &str) -> StorageContract {
        self.only = Some(name.to_owned());
        self
    }

    /// Asks every case.
    ///
    /// # Panics
    /// With the report, if a promise was not kept.
    #[track_caller]
    pub fn check(self) {
        self.report().assert_kept();
    }

    /// Asks every case and gives the findings, for a test that expects a breach.
    pub fn report(self) -> Report {
        case::run("storage", self.bench.seed, cases(), self.bench, self.only.as_deref())
    }
}

const SEED_DEFAULT: u64 = 1;

fn always(_: &Bench) -> Option<&'static str> {
    None
}

fn durable(bench: &Bench) -> Option<&'static str> {
    (bench.durability == Durability::Ephemeral).then_some("it says that it is ephemeral")
}

fn ephemeral(bench: &Bench) -> Option<&'static str> {
    (bench.durability == Durability::Fsync).then_some("it says that it is durable")
}

fn faulty(bench: &Bench) -> Option<&'static str> {
    bench.faulty.is_none().then_some("no medium that can be made to fail was given: `with_faults`")
}

fn cases() -> Vec<Case<Bench>> {
    vec![
        Case {
            name: "a_new_storage_is_empty",
            why: "a node that finds anything else believes in promises that it never made",
            rule: "rule 22",
            unless: always,
            run: log::a_new_storage_is_empty,
        },
        Case {
            name: "what_is_acknowledged_is_read_back",
            why: "a leader sends its followers what it reads back, and they compare it by hash",
            rule: "rule 36",
            unless: always,
            run: log::what_is_acknowledged_is_read_back,
        },
        Case {
            name: "a_batch_is_executed_in_order",
            why: "the later of two votes, or of two runs for one place, is the one that was answered for",
            rule: "the writer's `write`",
            unless: always,
            run: log::a_batch_is_executed_in_order,
        },
        Case {
            name: "a_run_cuts_off_what_stands_at_its_place_and_behind",
            why: "what a new leader replaces must never be read again, whatever its length",
            rule: "rule 5",
            unless: always,
            run: log::a_run_cuts_off_what_stands_at_its_place_and_behind,
        },
        Case {
            name: "a_fetch_keeps_to_its_range",
            why: "the core asks for what one follower lacks and relies on where the answer begins",
            rule: "the reader's `fetch`",
            unless: always,
            run: log::a_fetch_keeps_to_its_range,
        },
        Case {
            name: "a_fetch_keeps_to_its_bytes_and_gives_one_entry_at_least",
            why: "memory is bounded by what is asked for, and an empty answer would be asked for again for ever",
            rule: "the reader's `fetch`",
            unless: always,
            run: log::a_fetch_keeps_to_its_bytes,
        },
        Case {
            name: "a_fetch_of_what_is_not_there_is_empty",
            why: "a log may be cut between the question and the answer: that is no failure of the storage",
            rule: "the reader's `fetch`",
            unless: always,
            run: log::a_fetch_of_what_is_not_there_is_empty,
        },
        Case {
            name: "large_runs_are_kept_whole",
            why: "one message may hold 4 MiB, and a batch whatever gathered while the last one was synced",
            rule: "rule 35",
            unless: always,
            run: log::large_runs_are_kept_whole,
        },
        Case {
            name: "the_log_of_a_formed_cluster_starts_behind_its_founding_entry",
            why: "entry 1 stands in the identity, and the first run of the log has index 2",
            rule: "rule 23",
            unless: always,
            run: log::the_log_of_a_formed_cluster_starts_behind_its_founding_entry,
        },
        Case {
            name: "preparing_and_idling_change_nothing_and_come_to_rest",
            why: "both are called between writes, and a storage that always wants more never lets the thread sleep",
            rule: "rules 3, 6",
            unless: always,
            run: log::preparing_and_idling_change_nothing,
        },
        Case {
            name: "readers_see_what_is_acknowledged_while_the_writer_writes",
            why: "reads never queue behind a sync, and never see a run half written",
            rule: "rule 5",
            unless: always,
            run: log::readers_see_what_is_acknowledged,
        },
        Case {
            name: "a_run_that_leaves_a_hole_is_refused_and_stops_the_storage",
            why: "a log with a hole cannot be recovered: the storage is the last to notice, and what follows is not to be trusted",
            rule: "rules 2, 12",
            unless: always,
            run: log::a_hole_is_refused,
        },
        Case {
            name: "random_histories_agree_with_a_plain_list",
            why: "what nobody thought of as a case",
            rule: "all of the above",
            unless: always,
            run: model::random_histories,
        },
        Case {
            name: "every_open_of_an_ephemeral_storage_is_a_new_node",
            why: "a node that forgot what it promised must not come back under the same name",
            rule: "rules 7, 20",
            unless: ephemeral,
            run: restart::every_open_is_a_new_node,
        },
        Case {
            name: "every_open_raises_the_generation",
            why: "two starts of one process with the same generation are taken for clones of each other",
            rule: "rules 21, 31",
            unless: durable,
            run: restart::every_open_raises_the_generation,
        },
        Case {
            name: "the_identity_of_the_first_open_stays",
            why: "a voter that comes back under another id, or from another store, has lost its vote",
            rule: "rule 22",
            unless: durable,
            run: restart::the_first_identity_stays,
        },
        Case {
            name: "another_cluster_id_is_refused_and_changes_nothing",
            why: "a directory of the wrong cluster is an operator's slip that must not cost data",
            rule: "architecture invariant 10",
            unless: durable,
            run: restart::another_cluster_id_is_refused,
        },
        Case {
            name: "a_storage_has_one_holder_at_a_time",
            why: "two processes with one identity vote twice",
            rule: "rule 21",
            unless: durable,
            run: restart::one_holder_at_a_time,
        },
        Case {
            name: "term_and_vote_survive",
            why: "whoever forgets a vote gives a second one in the same term",
            rule: "rule 4",
            unless: durable,
            run: restart::term_and_vote_survive,
        },
        Case {
            name: "acknowledged_runs_survive",
            why: "the acknowledgement is a follower's word that a quorum was built on",
            rule: "rule 1",
            unless: durable,
            run: restart::acknowledged_runs_survive,
        },
        Case {
            name: "each_phase_of_the_identity_survives",
            why: "forming a cluster resumes from the phase that was reached, and a promise is exclusive",
            rule: "rules 22, 24, 25",
            unless: durable,
            run: restart::each_phase_survives,
        },
        Case {
            name: "the_tail_ends_the_log",
            why: "a node starts with the newest runs in memory and goes on with their hash",
            rule: "`Recovered::tail`",
            unless: durable,
            run: restart::the_tail_ends_the_log,
        },
        Case {
            name: "the_peers_are_remembered",
            why: "all nodes may come back at once, and find each other by the last addresses",
            rule: "architecture invariant 9",
            unless: durable,
            run: restart::the_peers_are_remembered,
        },
        Case {
            name: "many_restarts_lose_nothing",
            why: "what each recovery does to the log adds up",
            rule: "rule 1",
            unless: durable,
            run: restart::many_restarts,
        },
        Case {
            name: "what_is_acknowledged_is_there_when_the_process_ends_at_once",
            why: "a process that is killed runs nothing more: what is written at the end is written too late",
            rule: "rule 1",
            unless: faulty,
            run: faults::acknowledged_before_the_end,
        },
        Case {
            name: "what_cannot_be_synced_is_not_acknowledged",
            why: "a write without its sync is in the page cache alone",
            rule: "rule 2",
            unless: faulty,
            run: faults::what_cannot_be_synced,
        },
        Case {
            name: "a_failed_write_stops_the_storage_for_good",
            why: "after a failed sync the cache serves what the medium never got, and a retry succeeds without it",
            rule: "rule 2",
            unless: faulty,
            run: faults::a_failed_write_stops_the_storage,
        },
        Case {
            name: "term_and_vote_are_kept_before_the_runs_of_their_batch",
            why: "a run of a term that its own node does not know proves a leader that it may still vote against",
            rule: "rule 4",
            unless: faulty,
            run: faults::hard_state_before_runs,
        },
        Case {
            name: "a_full_medium_is_back_pressure_and_no_failure",
            why: "a disk gets space again: until then the node serves reads, votes, and refuses commands",
            rule: "rule 6",
            unless: faulty,
            run: faults::full_is_back_pressure,
        },
    ]
}
