//! Crashes at every call, and of what was not durable then every subset (or many of them) survives.
//!
//! The property: durable <= recovered <= written. And what was recovered is durable from then on.

mod support;

use proptest::prelude::*;
use slimcluster_core::HardState;
use slimcluster_core::random::Random;
use slimcluster_core::storage::{LogSummary, Write};
use slimcluster_wal::{Wal, WalError};
use support::disk::{Failure, MemoryDisk, Pending};
use support::*;

const SEGMENT: u64 = 4096;

/// Up to this many pending pieces every subset is tried; above, as many random ones as fit in the time.
const EXHAUSTIVE_PENDING: usize = 11;
const RANDOM_SUBSETS: usize = 500;

/// What the caller did, and what it may expect to find.
#[derive(Clone)]
struct Expectation {
    /// The logs after each run that was handed over, in order.
    logs: Vec<LogSummary>,
    /// The last of them that was acknowledged.
    durable_log: usize,
    hard_states: Vec<HardState>,
    durable_hard_state: usize,
}

impl Expectation {
    fn new() -> Self {
        Expectation {
            logs: vec![LogSummary::default()],
            durable_log: 0,
            hard_states: vec![HardState::default()],
            durable_hard_state: 0,
        }
    }

    /// Notes a write that is about to be handed over.
    fn written(&mut self, batch: &[Write]) {
        for write in batch {
            for run in &write.runs {
                let mut log = self.logs.last().unwrap().clone();
                log.splice(run).unwrap();
                self.logs.push(log);
            }
            self.hard_states.extend(write.hard_state);
        }
    }

    fn acknowledged(&mut self) {
        self.durable_log = self.logs.len() - 1;
        self.durable_hard_state = self.hard_states.len() - 1;
    }

    /// Checks what was recovered; from now on it is what is durable.
    fn check(&mut self, recovered: &slimcluster_core::storage::Recovered) {
        let at = self.logs[self.durable_log..].iter().rposition(|log| *log == recovered.log);
        let at = at.unwrap_or_else(|| {
            let acknowledged = self.logs[self.durable_log].last();
            panic!("recovered {:?}, acknowledged {acknowledged:?}", recovered.log.last())
        });
        self.durable_log += at;
        self.logs.truncate(self.durable_log + 1);
        let states = &self.hard_states[self.durable_hard_state..];
        let at = states.iter().position(|state| *state == recovered.hard_state);
        self.durable_hard_state += at.unwrap_or_else(|| panic!("{:?} is none of {states:?}", recovered.hard_state));
        self.hard_states.truncate(self.durable_hard_state + 1);
    }
}

/// The trace that is crashed: elections, batches over several segments, cuts.
fn trace() -> Vec<Vec<Write>> {
    let mut author = Author::default();
    let mut trace = vec![vec![hard_state(1, 7)]];
    trace.push(vec![runs(&[author.append(&[b"a"])]), runs(&[author.append(&[&[2; 700], b"b"])])]);
    trace.push(vec![runs(&[author.append(&[&[3; 1500]]), author.append(&[b"c"])])]);
    let before = runs(&[author.append(&[b"d"])]);
    let mut election = hard_state(2, 9);
    election.runs = vec![author.splice(2, 3, &[b"cut"])];
    trace.push(vec![before, election]);
    trace.push(vec![runs(&[author.append(&[&[4; 2000]]), author.append(&[b"e", b"f"])])]);
    trace.push(vec![hard_state(3, 9)]);
    trace.push(vec![runs(&[author.append(&[b"g"])])]);
    trace
}

/// Runs the trace upon an open store until it is through or the process dies.
fn perform(wal: &mut Wal, trace: &[Vec<Write>], expected: &mut Expectation) -> Result<(), WalError> {
    for (at, batch) in trace.iter().enumerate() {
        expected.written(batch);
        wal.write(batch)?;
        expected.acknowledged();
        wal.prepare_segment()?;
        if at % 3 == 2 {
            wal.idle()?;
        }
    }
    Ok(())
}

/// Opens what a crash left, checks it, and checks that it has become durable by that.
fn check(disk: &MemoryDisk, mut expected: Expectation, context: &str) {
    let (wal, recovered) = open(disk, SEGMENT).unwrap_or_else(|error| panic!("{context}: {error}"));
    expected.check(&recovered);
    assert_eq!(read_all(&wal, &recovered.log).len() as u64, recovered.log.last().index.0);
    disk.lose_power(&[]);
    let (_, again) = open(disk, SEGMENT).unwrap_or_else(|error| panic!("{context}, again: {error}"));
    assert_eq!((again.log, again.hard_state), (recovered.log, recovered.hard_state), "{context}");
    assert_eq!(again.identity.generation, recovered.identity.generation.next());
}

/// Every subset of what is pending, or a random choice of them with the extremes.
fn subsets(pending: &[Pending], random: &mut Random) -> Vec<Vec<Pending>> {
    if pending.len() <= EXHAUSTIVE_PENDING {
        let chosen = |mask: u32| pending.iter().enumerate().filter(move |(at, _)| mask & 1 << at != 0);
        return (0..1u32 << pending.len()).map(|mask| chosen(mask).map(|(_, p)| p.clone()).collect()).collect();
    }
    let mut subsets = vec![Vec::new(), pending.to_vec()];
    for _ in 0..RANDOM_SUBSETS {
        let odds = 1 + random.below(9);
        subsets.push(pending.iter().filter(|_| random.chance(odds, 10)).cloned().collect());
    }
    subsets
}

/// The process dies at each of its calls in turn; then the power fails, or only the process was lost.
#[test]
fn a_crash_at_any_call_keeps_what_was_acknowledged() {
    let trace = trace();
    let mut random = Random::new(1);
    let mut states = 0;
    for call in 1.. {
        let disk = MemoryDisk::default();
        disk.fail_at(call, Failure::Death);
        let mut expected = Expectation::new();
        let outcome = open(&disk, SEGMENT).and_then(|(mut wal, _)| perform(&mut wal, &trace, &mut expected));
        disk.heal();
        for kept in subsets(&disk.pending(), &mut random) {
            let disk = disk.fork();
            disk.lose_power(&kept);
            check(&disk, expected.clone(), &format!("call {call}, kept {kept:?}"));
            states += 1;
        }
        check(&disk.fork(), expected, &format!("call {call}, the process alone"));
        if outcome.is_ok() {
            assert!(call > 60, "the trace has {call} calls");
            break;
        }
    }
    println!("{states} crash states");
}

/// A second process takes over with the cache of the first, dies at each call of its recovery, and then the power fails.
#[test]
fn a_crash_at_any_call_of_recovery_keeps_what_was_acknowledged() {
    let trace = trace();
    let mut random = Random::new(2);
    for first_call in (1..).step_by(3) {
        let disk = MemoryDisk::default();
        disk.fail_at(first_call, Failure::Death);
        let mut expected = Expectation::new();
        let outcome = open(&disk, SEGMENT).and_then(|(mut wal, _)| perform(&mut wal, &trace, &mut expected));
        // Half of the first process's unsynced pages are lost with the power, or none: the process alone died.
        disk.heal();
        for lost in [true, false] {
            let disk = disk.fork();
            if lost {
                let kept: Vec<_> = disk.pending().into_iter().filter(|_| random.chance(1, 2)).collect();
                disk.lose_power(&kept);
            }
            for call in 1.. {
                let disk = disk.fork();
                disk.fail_at(call, Failure::Death);
                let opened = open(&disk, SEGMENT);
                disk.heal();
                let mut expected = expected.clone();
                if let Ok((_, recovered)) = &opened {
                    expected.check(recovered);
                }
                let kept: Vec<_> = disk.pending().into_iter().filter(|_| random.chance(1, 2)).collect();
                disk.lose_power(&kept);
                check(&disk, expected, &format!("calls {first_call} and {call}"));
                if opened.is_ok() {
                    break;
                }
            }
        }
        if outcome.is_ok() {
            break;
        }
    }
}

/// Each call fails once, in each way (bad input 60): the writer stops for good, and nothing acknowledged is lost.
#[test]
fn a_failure_of_any_call_poisons_and_loses_nothing_acknowledged() {
    let trace = trace();
    for failure in [Failure::Device, Failure::Full] {
        for call in 1.. {
            let disk = MemoryDisk::default();
            disk.fail_at(call, failure);
            let mut expected = Expectation::new();
            let mut through = false;
            match open(&disk, SEGMENT) {
                Err(_) => {}
                Ok((mut wal, _)) => match perform(&mut wal, &trace, &mut expected) {
                    // No call failed, or one did that was only the claim of more space.
                    Ok(()) => through = disk.calls() < call,
                    Err(WalError::Full { .. }) => assert_eq!(failure, Failure::Full),
                    Err(_) => {
                        assert!(matches!(wal.write(&trace[0]), Err(WalError::Poisoned { .. })), "call {call}");
                        assert!(matches!(wal.idle(), Err(WalError::Poisoned { .. })));
                        assert!(matches!(wal.prepare_segment(), Err(WalError::Poisoned { .. })));
                        assert!(matches!(wal.remember_peers(&[]), Err(WalError::Poisoned { .. })));
                    }
                },
            }
            disk.heal();
            let powered = disk.fork();
            powered.lose_power(&[]);
            check(&powered, expected.clone(), &format!("call {call}, {failure:?}, power lost"));
            check(&disk, expected, &format!("call {call}, {failure:?}"));
            if through {
                break;
            }
        }
    }
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
        warned |= wal.prepare_segment().unwrap() != slimcluster_wal::Space::Free;
        match wal.write(&batch) {
            Ok(()) => {}
            Err(WalError::Full { .. }) => {
                assert!(warned, "the space was said to be full before a write was refused");
                refused += 1;
                assert!(matches!(wal.write(&batch), Err(WalError::Full { .. })));
                wal.idle().unwrap();
                assert!(matches!(wal.space(), slimcluster_wal::Space::Full { .. }));
                disk.set_quota(None);
                wal.prepare_segment().unwrap();
                assert_eq!(wal.space(), slimcluster_wal::Space::Free);
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

/// What recovery found in the cache must not be lent out before it is on the medium (rule 1): the mutant shows that this test sees it.
#[cfg(feature = "mutants")]
#[test]
fn without_the_sync_of_recovery_acknowledged_data_is_lost() {
    let disk = MemoryDisk::default();
    let mut author = Author::default();
    let (mut wal, _) = open(&disk, SEGMENT).unwrap();
    // The process dies after the write and before the sync.
    disk.fail_at(2, Failure::Death);
    wal.write(&[runs(&[author.append(&[b"lent"])])]).unwrap_err();
    let mutant = Some(slimcluster_core::mutants::Mutant::RecoverySyncSkipped);
    let options = slimcluster_wal::Options { mutant, ..options(SEGMENT) };
    let (_, recovered) = Wal::open(disk.process(), options, CLUSTER, FRESH).unwrap();
    assert_eq!(recovered.log, author.log);
    disk.lose_power(&[]);
    // It is not lost in silence: the identity, written at the end of that recovery, knows of a batch that is gone.
    assert!(matches!(open(&disk, SEGMENT), Err(WalError::Damaged(_))));
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// Batches of runs: for each how far back it cuts, and the sizes of its commands.
    Write(Vec<(u64, Vec<usize>)>),
    Vote,
    Idle,
    Prepare,
    Reopen,
    /// The process dies at a call soon after; the bits say what survives the power loss, if there is one.
    Crash {
        call: u64,
        power: Option<u64>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let run = (prop_oneof![4 => Just(0u64), 1 => 1u64..6], prop::collection::vec(0usize..900, 1..4));
    prop_oneof![
        8 => prop::collection::vec(run, 1..4).prop_map(Step::Write),
        1 => Just(Step::Vote),
        1 => Just(Step::Idle),
        2 => Just(Step::Prepare),
        1 => Just(Step::Reopen),
        2 => (1u64..30, prop::option::of(any::<u64>())).prop_map(|(call, power)| Step::Crash { call, power }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A store against a list in memory, through any history of writes, cuts, crashes and reopenings.
    #[test]
    fn a_store_is_a_list_with_a_memory(steps in prop::collection::vec(step(), 1..40)) {
        let disk = MemoryDisk::default();
        let mut expected = Expectation::new();
        // For each log that may be recovered, the author that wrote it.
        let mut authors = vec![Author::default()];
        let mut votes = 0;
        let (mut wal, _) = open(&disk, SEGMENT).unwrap();
        let mut power = None;
        for step in steps {
            let mut result = Ok(());
            match step {
                Step::Write(batch) => {
                    let mut author = authors.last().unwrap().clone();
                    let mut writes = Vec::new();
                    for (back, sizes) in batch {
                        let last = author.log.last();
                        let back = back.min(last.index.0);
                        let commands: Vec<Vec<u8>> = sizes.into_iter().map(|size| vec![size as u8; size]).collect();
                        let commands: Vec<&[u8]> = commands.iter().map(Vec::as_slice).collect();
                        let term = last.term.0.max(1) + u64::from(back > 0);
                        writes.push(runs(&[author.splice(term, last.index.0 + 1 - back, &commands)]));
                        authors.push(author.clone());
                    }
                    expected.written(&writes);
                    result = wal.write(&writes);
                    if result.is_ok() {
                        expected.acknowledged();
                    }
                }
                Step::Vote => {
                    votes += 1;
                    let write = hard_state(votes, u128::from(votes % 3));
                    expected.written(std::slice::from_ref(&write));
                    result = wal.write(&[write]);
                    if result.is_ok() {
                        expected.acknowledged();
                    }
                }
                Step::Idle => result = wal.idle(),
                Step::Prepare => result = wal.prepare_segment().map(drop),
                Step::Reopen => {
                    let reopened = open(&disk, SEGMENT);
                    result = reopened.map(|(new, recovered)| {
                        wal = new;
                        expected.check(&recovered);
                    });
                    authors.truncate(expected.logs.len());
                }
                Step::Crash { call, power: bits } => {
                    disk.fail_at(call, Failure::Death);
                    power = bits;
                }
            }
            if result.is_err() {
                disk.heal();
                if let Some(bits) = power {
                    let pending = disk.pending().into_iter().enumerate();
                    let kept: Vec<_> = pending.filter(|(at, _)| bits >> (at % 64) & 1 != 0).map(|(_, p)| p).collect();
                    disk.lose_power(&kept);
                }
                let (new, recovered) = open(&disk, SEGMENT).unwrap();
                wal = new;
                expected.check(&recovered);
                authors.truncate(expected.logs.len());
            }
            let author = authors.last().unwrap();
            prop_assert_eq!(&author.log, expected.logs.last().unwrap());
        }
        disk.heal();
        let author = authors.last().unwrap();
        prop_assert_eq!(read_all(&wal, &author.log), entries(author));
    }
}
