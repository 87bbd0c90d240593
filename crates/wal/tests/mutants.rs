//! The test of the tests: a store that lacks one safeguard is caught. Needs the feature `mutants`.

#![cfg(feature = "mutants")]

mod support;

use slimcluster_core::mutants::Mutant;
use slimcluster_wal::Options;
use support::enumeration::explore;
use support::flips::{Directory, flip_every_bit, flip_under_a_reader};
use support::ops::{Op, SEGMENT};
use support::records::{close_short_and_rot, forge_each_field, mix_two_histories};
use support::sweep::{lose_writes, sweep};

use Op::{Adopt, Append, Batch, Elect, Fill, Idle, Splice, Vote};

type Check = fn(&Options) -> Result<(), String>;

/// The checks that the other tests of this directory make, each with less to do: by name.
const CHECKS: &[(&str, Check)] = &[
    ("enumeration", |options| {
        let lives = [vec![], vec![vec![]], vec![vec![Adopt]], vec![vec![Elect]], vec![vec![Fill, Fill]]];
        let crashed = [vec![vec![Vote], vec![Vote]], vec![vec![Batch], vec![Batch]], vec![vec![Append, Splice]]];
        explore(options, &[lives.as_slice(), crashed.as_slice()].concat()).map(drop)
    }),
    ("sweep", |options| sweep(options, &vec![vec![Vote, Append, Fill, Fill], vec![Append]]).map(drop)),
    ("flips", |options| {
        for ops in [vec![Vote, Append, Idle], vec![Append, Vote], vec![Append, Vote, Append]] {
            flip_every_bit(options, &Directory::of(options, &ops)?)?;
        }
        Ok(())
    }),
    ("flips under a reader", |options| {
        flip_under_a_reader(options, &Directory::of(options, &[Append, Idle])?).map(drop)
    }),
    ("lost writes", |options| lose_writes(options, &[Vote, Append, Fill, Fill, Idle]).map(drop)),
    ("forged fields", forge_each_field),
    ("mixed histories", mix_two_histories),
    ("rot of a batch that was closed short", close_short_and_rot),
];

/// Each mutant of the store and the checks that catch it, some of them by more than one.
#[test]
fn each_missing_safeguard_of_the_store_is_noticed() {
    let of_the_store = |mutant: &&Mutant| mutant.name().starts_with("wal-") || **mutant == Mutant::RecoverySyncSkipped;
    let sound = support::options(SEGMENT);
    for (name, check) in CHECKS {
        check(&sound).unwrap_or_else(|violation| panic!("{name}, with every safeguard: {violation}"));
    }
    for mutant in Mutant::ALL.iter().filter(of_the_store) {
        let options = Options { mutant: Some(*mutant), ..sound.clone() };
        let caught = CHECKS.iter().find_map(|(name, check)| Some((name, check(&options).err()?)));
        let (name, violation) = caught.unwrap_or_else(|| panic!("nobody missed the safeguard of {mutant}"));
        println!("{mutant}: {name}: {violation}");
    }
}
