//! Random histories of writes, cuts, crashes and reopenings, longer and wilder than those that are enumerated.

mod support;

use proptest::prelude::*;
use slimcluster_core::random::Random;
use slimcluster_wal::Wal;
use support::disk::{Failure, MemoryDisk};
use support::ops::{Op, SEGMENT};
use support::oracle::Expectation;
use support::power::{PowerLoss, Tears};
use support::*;

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// Batches of runs: for each how far back it cuts, and the sizes of its commands.
    Write(Vec<(u64, Vec<usize>)>),
    Perform(Op),
    Reopen,
    /// The process dies at a call soon after; the seed says what survives the power loss, if there is one.
    Crash {
        call: u64,
        power: Option<u64>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let run = (prop_oneof![4 => Just(0u64), 1 => 1u64..6], prop::collection::vec(0usize..900, 1..4));
    prop_oneof![
        8 => prop::collection::vec(run, 1..4).prop_map(Step::Write),
        4 => prop::sample::select(&Op::ALL[..]).prop_map(Step::Perform),
        1 => Just(Step::Reopen),
        2 => (1u64..30, prop::option::of(any::<u64>())).prop_map(|(call, power)| Step::Crash { call, power }),
    ]
}

/// Opens, and holds what is found against what may be.
fn reopen(disk: &MemoryDisk, expected: &mut Expectation) -> Result<Wal, String> {
    let (wal, recovered) = open(disk, SEGMENT).map_err(|error| error.to_string())?;
    expected.check(&recovered)?;
    Ok(wal)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A store against a list in memory, through any history.
    #[test]
    fn a_store_is_a_list_with_a_memory(steps in prop::collection::vec(step(), 1..40)) {
        let mut disk = MemoryDisk::default();
        let mut expected = Expectation::default();
        let mut wal = reopen(&disk, &mut expected).unwrap();
        let mut power = None;
        for (at, step) in steps.into_iter().enumerate() {
            let result = match step {
                Step::Write(batch) => {
                    let mut author = expected.last().author.clone();
                    let mut writes = Vec::new();
                    for (back, sizes) in batch {
                        let (base, last) = (author.log.base(), author.log.last());
                        let back = back.min(last.index.0 - base.index.0);
                        let commands: Vec<Vec<u8>> = sizes.into_iter().map(|size| vec![size as u8; size]).collect();
                        let commands: Vec<&[u8]> = commands.iter().map(Vec::as_slice).collect();
                        let term = last.term.0.max(1) + u64::from(back > 0);
                        writes.push(runs(&[author.splice(term, last.index.0 + 1 - back, &commands)]));
                    }
                    expected.write(&mut wal, &writes)
                }
                Step::Perform(op) => op.perform(at as u8, &mut wal, &mut expected),
                Step::Reopen => match open(&disk, SEGMENT) {
                    Ok((new, recovered)) => {
                        wal = new;
                        expected.check(&recovered).unwrap();
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                Step::Crash { call, power: seed } => {
                    disk.fail_at(call, Failure::Death);
                    power = seed;
                    Ok(())
                }
            };
            if result.is_err() {
                disk.heal();
                if let Some(seed) = power {
                    disk = PowerLoss::of(&disk, &[(Tears::Many, usize::MAX)]).any(&mut Random::new(seed));
                }
                wal = reopen(&disk, &mut expected).unwrap();
            }
        }
        disk.heal();
        expected.check_fetches(&wal, 300).unwrap();
    }
}
