//! Every check on this repository. That each of them can fail is shown beside its code.

use xtask::tree::{self, Finding, Tree};
use xtask::{documents, layering, purity, sizes, words};

fn repository() -> Tree {
    Tree::read(&tree::root()).expect("the repository can be read")
}

#[track_caller]
fn holds(check: impl Fn(&Tree) -> Vec<Finding>) {
    let findings: Vec<String> = check(&repository()).iter().map(Finding::to_string).collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn the_files_are_found() {
    // A check of nothing passes: make sure that there is something.
    let tree = repository();
    for path in ["crates/core/src/raft/mod.rs", "crates/core/Cargo.toml", "README.md", "ARCHITECTURE.md", ".ci/run"] {
        assert!(tree.text(path).is_some(), "{path}");
    }
}

#[test]
fn core_names_no_clock_thread_socket_file_runtime_or_seeded_map() {
    holds(purity::check);
}

#[test]
fn raft_and_swim_never_name_each_other_nor_node() {
    holds(layering::check_modules);
}

#[test]
fn dependencies_between_packages_point_one_way() {
    holds(layering::check_packages);
}

#[test]
fn no_file_is_too_long() {
    for (path, lines) in sizes::listed(&repository()) {
        println!("{path}: {lines} lines without its tests");
    }
    holds(sizes::check);
}

#[test]
fn no_banned_words() {
    holds(words::check);
}

#[test]
fn architecture_names_every_package_and_module_folder() {
    holds(documents::check_architecture);
}

#[test]
fn the_readme_shows_the_counter_verbatim() {
    holds(documents::check_program);
}

#[test]
fn the_counter_is_at_most_sixty_lines() {
    holds(documents::check_program_size);
}

#[test]
fn the_readme_begins_with_two_commands_and_ci_runs_them() {
    holds(documents::check_commands);
}

#[test]
fn every_rule_that_is_cited_stands_on_its_page() {
    holds(documents::check_rules);
}
