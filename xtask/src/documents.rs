//! The pages say what the code does: ARCHITECTURE.md names what exists, the README shows the program that is built.

use std::collections::BTreeSet;

use crate::tree::{Finding, Tree};
use crate::{sizes, source};

/// The map of the code.
pub const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// The first page.
pub const README: &str = "README.md";
/// The README's program.
pub const PROGRAM: &str = "examples/counter/src/main.rs";
/// The rules that comments cite by number.
pub const RULES: &str = "docs/rules.md";
/// The script that guards every change.
pub const CI: &str = ".ci/run";
/// The two commands of the README's first screen: the main job, and the tests.
pub const COMMANDS: [&str; 2] = ["cargo run --release -p counter -- demo", "cargo test --workspace"];
/// A first program that is longer than this is a program that nobody reads.
pub const PROGRAM_LINES_MAX: usize = 60;

/// Every package and module folder that ARCHITECTURE.md does not name, and every path that it names in vain. A folder is
/// named by its path from the root between backticks: `` `crates/core/src/raft` ``. A source may be named by the end of its
/// path, `` `raft/log.rs` ``, if only one ends so.
pub fn check_architecture(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.text(ARCHITECTURE) else { return vec![Finding::of(ARCHITECTURE, "is missing")] };
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).map(|path| path.trim_end_matches('/')).collect();
    let folders = folders(tree);
    let unnamed = folders.iter().filter(|folder| !named.contains(folder.as_str()));
    let mut findings: Vec<Finding> =
        unnamed.map(|folder| Finding::of(ARCHITECTURE, format!("does not name `{folder}`"))).collect();
    for name in named {
        let sources = tree.rust().filter(|(path, _)| *path == name || path.ends_with(&format!("/{name}"))).count();
        // These three are spoken of in general.
        let is_source = name.ends_with(".rs") && !matches!(name, "lib.rs" | "main.rs" | "mod.rs");
        if is_source && sources != 1 {
            findings.push(Finding::of(ARCHITECTURE, format!("names `{name}`, of which there are {sources}")));
        }
        let is_folder =
            !name.ends_with(".rs") && ["crates/", "examples/", "xtask/"].iter().any(|start| name.starts_with(start));
        if is_folder && !folders.contains(name) {
            findings.push(Finding::of(ARCHITECTURE, format!("names `{name}`, which does not exist")));
        }
    }
    findings
}

/// The README's program is the counter's `main.rs`, verbatim.
pub fn check_program(tree: &Tree) -> Vec<Finding> {
    let Some(program) = tree.text(PROGRAM) else { return vec![Finding::of(PROGRAM, "is missing")] };
    let shown =
        fenced(tree.text(README).unwrap_or_default()).any(|(language, block)| language == "rust" && block == program);
    if shown { Vec::new() } else { vec![Finding::of(README, format!("has no ```rust block that equals {PROGRAM}"))] }
}

/// The README with its ```rust block replaced by `program`; none if it has no such block.
pub fn with_program(readme: &str, program: &str) -> Option<String> {
    let (before, rest) = readme.split_once("```rust\n")?;
    let (_, after) = rest.split_once("```")?;
    Some(format!("{before}```rust\n{program}```{after}"))
}

/// The counter's `main.rs` has at most [`PROGRAM_LINES_MAX`] lines that are neither blank nor comment.
pub fn check_program_size(tree: &Tree) -> Vec<Finding> {
    let text = source::without_comments(tree.text(PROGRAM).unwrap_or_default());
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    if lines <= PROGRAM_LINES_MAX {
        return Vec::new();
    }
    let text = format!("{lines} lines that are neither blank nor comment, at most {PROGRAM_LINES_MAX}");
    vec![Finding::of(PROGRAM, text)]
}

/// The README's first screen, all before its first section, has exactly the two commands, and CI runs the same tests.
pub fn check_commands(tree: &Tree) -> Vec<Finding> {
    let readme = tree.text(README).unwrap_or_default();
    let first_screen = readme.split("\n## ").next().unwrap_or_default();
    let commands: Vec<&str> = fenced(first_screen)
        .filter(|(language, _)| *language == "sh")
        .flat_map(|(_, block)| block.lines())
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .collect();
    let mut findings = Vec::new();
    if commands != COMMANDS {
        findings.push(Finding::of(README, format!("its first screen must have exactly the commands {COMMANDS:?}")));
    }
    for command in COMMANDS {
        if !tree.text(CI).unwrap_or_default().lines().any(|line| line.ends_with(command)) {
            findings.push(Finding::of(CI, format!("does not run `{command}`")));
        }
    }
    findings
}

/// Every rule that a source cites by number, `rule 8` or `rules 8, 9`, and that [`RULES`] does not hold.
pub fn check_rules(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.text(RULES) else { return vec![Finding::of(RULES, "is missing")] };
    let numbers: BTreeSet<u32> = page.lines().filter_map(|line| line.split_once(". ")?.0.parse::<u32>().ok()).collect();
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        for (line, text) in text.lines().enumerate() {
            let unknown = cited(text).filter(|number| !numbers.contains(number));
            findings.extend(
                unknown.map(|number| Finding::at(path, line + 1, format!("cites rule {number}; {RULES} has none"))),
            );
        }
    }
    findings
}

/// The numbers behind the words `rule` and `rules` in a line.
fn cited(line: &str) -> impl Iterator<Item = u32> + '_ {
    let is_word = |at: usize| !line[..at].ends_with(char::is_alphanumeric);
    let places = line.match_indices("rule").filter(move |(at, _)| is_word(*at));
    places.flat_map(|(at, word)| {
        let rest = &line[at + word.len()..];
        let rest = rest.strip_prefix('s').unwrap_or(rest).strip_prefix(' ').unwrap_or_default();
        let list = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, ',' | ' ' | '-')).unwrap_or(rest.len());
        rest[..list].split([',', ' ', '-']).filter_map(|number| number.parse().ok())
    })
}

/// The fenced blocks of a page: language and content.
fn fenced(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'))
}

/// Every package folder, and every folder of modules below a `src` that are not tests alone.
fn folders(tree: &Tree) -> BTreeSet<String> {
    let tests = sizes::test_files(tree);
    let mut folders: BTreeSet<String> = tree.packages().map(str::to_owned).collect();
    for (path, _) in tree.rust().filter(|(path, _)| !tests.contains(*path)) {
        let Some((folder, _)) = path.rsplit_once('/') else { continue };
        if folder.contains("/src/") {
            folders.insert(folder.to_owned());
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exists_must_be_named_and_what_is_named_must_exist() {
        let tree = |page| {
            let files = [
                (ARCHITECTURE, page),
                ("crates/core/Cargo.toml", ""),
                ("crates/core/src/lib.rs", ""),
                ("crates/core/src/raft/mod.rs", ""),
            ];
            check_architecture(&Tree::of(&files)).len()
        };
        assert_eq!(tree("`crates/core` has `crates/core/src/raft/`, see `crates/core/src/lib.rs` and `Raft`"), 0);
        assert_eq!(tree("`crates/core` has rafts"), 1);
        assert_eq!(tree("crates/core has `crates/core/src/raft`"), 1);
        assert_eq!(tree("`crates/core` has `crates/core/src/raft` and `crates/core/src/swim`"), 1);
        assert_eq!(tree("`crates/core`, `crates/core/src/raft`, `raft/mod.rs`"), 0);
        assert_eq!(tree("`crates/core`, `crates/core/src/raft`, `raft/leader.rs`"), 1);
        assert_eq!(check_architecture(&Tree::of(&[])).len(), 1);
    }

    #[test]
    fn a_rule_that_is_cited_must_stand_on_its_page() {
        let findings = |source| {
            let page = "# Rules\n\n8. **Votes** compare. 12. is no rule.\n9. **Gate.**\n";
            check_rules(&Tree::of(&[(RULES, page), ("a.rs", source)]))
        };
        assert!(findings("/// Compares (rule 8).\n// By rules 8, 9: a ruler 7, rule of 3, overrule 5.").is_empty());
        assert_eq!(
            findings("\n/// By rules 8-10.")[0],
            Finding::at("a.rs", 2, "cites rule 10; docs/rules.md has none")
        );
        assert_eq!(findings("/// rule 12").len(), 1);
        assert_eq!(check_rules(&Tree::of(&[])).len(), 1);
    }

    #[test]
    fn the_readme_shows_the_program_that_is_built() {
        let readme = "# A\n\n```sh\nls\n```\n\n```rust\nfn main() {}\n```\n";
        assert!(check_program(&Tree::of(&[(README, readme), (PROGRAM, "fn main() {}\n")])).is_empty());
        assert_eq!(check_program(&Tree::of(&[(README, readme), (PROGRAM, "fn main() { }\n")])).len(), 1);
        assert_eq!(check_program(&Tree::of(&[(README, readme)])).len(), 1);
        let changed = "fn main() { }\n";
        let fixed = with_program(readme, changed).expect("there is a block");
        assert!(check_program(&Tree::of(&[(README, &fixed), (PROGRAM, changed)])).is_empty());
    }

    #[test]
    fn the_program_stays_short() {
        let program = |lines| format!("//! A page.\n\n/* more */\n{}", "fn a() {} // b\n".repeat(lines));
        assert!(check_program_size(&Tree::of(&[(PROGRAM, &program(PROGRAM_LINES_MAX))])).is_empty());
        assert_eq!(check_program_size(&Tree::of(&[(PROGRAM, &program(PROGRAM_LINES_MAX + 1))])).len(), 1);
    }

    #[test]
    fn the_first_screen_has_exactly_two_commands_and_ci_runs_them() {
        let ci = format!("step demo {}\nstep tests {}\n", COMMANDS[0], COMMANDS[1]);
        let readme = |more: &str| {
            format!("# A\n```sh\n{}  # the demo\n{}\n{more}```\n\n## B\n```sh\nls\n```\n", COMMANDS[0], COMMANDS[1])
        };
        assert!(check_commands(&Tree::of(&[(README, &readme("")), (CI, &ci)])).is_empty());
        assert_eq!(check_commands(&Tree::of(&[(README, &readme("make\n")), (CI, &ci)])).len(), 1);
        assert_eq!(check_commands(&Tree::of(&[(README, &readme("")), (CI, "cargo test\n")])).len(), 2);
    }
}
