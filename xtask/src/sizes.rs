//! No god-file: a source with more than 1,000 lines that are not tests fails, one with more than 600 is listed.

use std::collections::BTreeSet;

use crate::source;
use crate::tree::{Finding, Tree};

/// Above this a file fails.
pub const LINES_MAX: usize = 1_000;
/// Above this a file is listed, so that its author sees it grow.
pub const LINES_LISTED: usize = 600;

/// Every file above [`LINES_MAX`].
pub fn check(tree: &Tree) -> Vec<Finding> {
    let over = sizes(tree).filter(|(_, lines)| *lines > LINES_MAX);
    over.map(|(path, lines)| {
        Finding::of(path, format!("{lines} lines without its tests, at most {LINES_MAX}; split it by concept"))
    })
    .collect()
}

/// Every file above [`LINES_LISTED`], with its lines.
pub fn listed(tree: &Tree) -> Vec<(&str, usize)> {
    sizes(tree).filter(|(_, lines)| *lines > LINES_LISTED).collect()
}

/// The sources that hold nothing but tests: below a `tests` folder, or declared behind `#[cfg(test)]`.
pub fn test_files(tree: &Tree) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, text) in tree.rust() {
        let stem = path.trim_end_matches(".rs");
        let folder = match stem.rsplit_once('/') {
            Some((folder, "mod" | "lib" | "main")) => folder,
            _ => stem,
        };
        for module in source::test_modules(text) {
            let below = format!("{folder}/{module}/");
            let files =
                tree.rust().filter(|(file, _)| *file == format!("{folder}/{module}.rs") || file.starts_with(&below));
            found.extend(files.map(|(file, _)| file.to_owned()));
        }
        if path.contains("/tests/") {
            found.insert(path.to_owned());
        }
    }
    found
}

fn sizes(tree: &Tree) -> impl Iterator<Item = (&str, usize)> {
    let tests = test_files(tree);
    tree.rust()
        .filter(move |(path, _)| !tests.contains(*path))
        .map(|(path, text)| (path, source::production_lines(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_god_file_fails_and_a_growing_one_is_listed() {
        let long = "fn a() {}\n".repeat(LINES_MAX + 1);
        let growing = "fn a() {}\n".repeat(LINES_LISTED + 1);
        let tree = Tree::of(&[("crates/core/src/a.rs", &long), ("crates/core/src/b.rs", &growing)]);
        assert_eq!(check(&tree).len(), 1);
        assert_eq!(listed(&tree).len(), 2);
    }

    #[test]
    fn tests_do_not_count() {
        let tests = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn b() {}\n".repeat(LINES_MAX));
        let file = "fn a() {}\n".repeat(LINES_MAX + 1);
        let tree = Tree::of(&[("crates/a/src/lib.rs", &tests), ("crates/a/tests/long.rs", &file)]);
        assert!(check(&tree).is_empty());
        assert!(listed(&tree).is_empty());
    }
}
