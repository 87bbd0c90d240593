//! The page that says why the library may be trusted names every situation and every deliberate bug: what is added is looked at there.

use slimcluster_core::situations::Situation;

const PAGE: &str = include_str!("../../../CORRECTNESS.md");
const MUTANTS: &str = include_str!("../../core/src/mutants.rs");

/// Its rows of the form `| a | ...` that have this in the first column.
fn has_row(first: &str) -> bool {
    PAGE.lines().any(|line| line.starts_with(&format!("| {first} |")))
}

#[test]
fn every_situation_is_on_the_page() {
    let missing: Vec<_> = Situation::ALL.iter().filter(|situation| !has_row(situation.describe())).collect();
    assert!(missing.is_empty(), "add to CORRECTNESS.md what `situations 3000` prints of {missing:?}");
}

#[test]
fn every_mutant_is_on_the_page() {
    let names = MUTANTS.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split_once(" = \""));
    let names: Vec<&str> = names.map(|(_, name)| name).collect();
    assert!(names.len() > 60, "the table of mutants looks different: {names:?}");
    let missing: Vec<_> = names.into_iter().filter(|name| !has_row(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "add to CORRECTNESS.md what `mutants` prints of {missing:?}");
}
