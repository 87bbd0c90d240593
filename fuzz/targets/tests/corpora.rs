//! Every input that was ever kept, on a plain build: what a fuzzer found once is tested for ever.

use std::fs;
use std::path::{Path, PathBuf};

use slimcluster_fuzz_targets::{TARGETS, Target, find, seeds};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// The files of a target; none if there is no folder of its name.
fn inputs(kind: &str, target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder(kind).join(target.name)) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read(&file).expect("a readable file"))).collect()
}

/// Judges the inputs and gives the targets that have none. A failure names its file, since the panic of a target names only what does
/// not hold.
fn judge(kind: &str) -> Vec<&'static str> {
    let mut without = Vec::new();
    for target in TARGETS {
        let inputs = inputs(kind, target);
        if inputs.is_empty() {
            without.push(target.name);
        }
        for (file, bytes) in inputs {
            let result = std::panic::catch_unwind(|| (target.run)(&bytes));
            assert!(result.is_ok(), "{} fails for {}; the reason stands above", target.name, file.display());
        }
    }
    without
}

#[test]
fn regressions_stay_fixed() {
    let without = judge("regressions");
    assert!(without.len() < TARGETS.len(), "there are regressions, but none was found");
}

#[test]
fn every_kept_input_holds() {
    let without = judge("corpus");
    assert!(without.is_empty(), "every target has a corpus, but there is none of {without:?}");
}

#[test]
fn every_target_has_seeds_and_holds_for_them() {
    let seeds = seeds::all();
    for seed in &seeds {
        let target = find(seed.target).unwrap_or_else(|| panic!("a seed for {}, which is no target", seed.target));
        assert!(seed.bytes.len() <= target.input_bytes_max, "{seed:?} is longer than its target looks at");
        (target.run)(&seed.bytes);
    }
    for target in TARGETS {
        assert!(seeds.iter().any(|seed| seed.target == target.name), "{} has no seed", target.name);
    }
}

#[test]
fn every_folder_belongs_to_a_target() {
    for kind in ["corpus", "regressions"] {
        let Ok(entries) = fs::read_dir(folder(kind)) else { continue };
        for entry in entries {
            let name = entry.expect("a readable folder").file_name();
            let name = name.to_string_lossy();
            assert!(find(&name).is_some(), "fuzz/{kind}/{name} belongs to no target");
        }
    }
}
