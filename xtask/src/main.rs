//! `cargo xtask check` reads and judges, `cargo xtask fix` writes: the two commands to learn.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, ExitCode};

use xtask::tree::{self, Tree};
use xtask::{documents, layering, purity, sizes, words};

const USAGE: &str = "usage: cargo xtask check    formatting, lints, documentation, repository rules; writes nothing
       cargo xtask fix      formats the code, rewrites the golden files and the README's program";

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("check") => check(),
        Some("fix") => fix(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs every step even if one fails: whoever asks wants to see all that is to do.
fn check() -> bool {
    let formatted = cargo(&["fmt", "--all", "--check"], &[]);
    let linted = cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[]);
    let documented = cargo(&["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")]);
    let tidy = tidy();
    formatted && linted && documented && tidy
}

/// Formats first, so that a failing rewrite still leaves formatted code.
fn fix() -> bool {
    let formatted = cargo(&["fmt", "--all"], &[]);
    let shown = show_program().map_err(|error| eprintln!("{}: {error}", documents::README)).is_ok();
    let rewritten = cargo(&["test", "--package", "slimcluster-core", "--quiet"], &[("UPDATE_GOLDENFILES", "1")]);
    println!("rewritten; read the difference before you commit it");
    formatted && shown && rewritten
}

/// Puts the counter's program into the README.
fn show_program() -> io::Result<()> {
    let root = tree::root();
    let readme = std::fs::read_to_string(root.join(documents::README))?;
    let program = std::fs::read_to_string(root.join(documents::PROGRAM))?;
    let fixed = documents::with_program(&readme, &program).ok_or_else(|| io::Error::other("has no ```rust block"))?;
    std::fs::write(root.join(documents::README), fixed)
}

/// The repository rules, as `cargo test -p xtask` runs them.
fn tidy() -> bool {
    let tree = match Tree::read(&tree::root()) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("{error}");
            return false;
        }
    };
    let checks = [
        purity::check,
        layering::check_modules,
        layering::check_packages,
        sizes::check,
        words::check,
        documents::check_architecture,
        documents::check_program,
        documents::check_program_size,
        documents::check_commands,
        documents::check_rules,
    ];
    let findings: Vec<_> = checks.iter().flat_map(|check| check(&tree)).collect();
    for finding in &findings {
        eprintln!("{finding}");
    }
    for (path, lines) in sizes::listed(&tree) {
        println!("{path}: {lines} lines without its tests; {} is the limit", sizes::LINES_MAX);
    }
    findings.is_empty()
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> bool {
    println!("cargo {}", arguments.join(" "));
    let cargo = std::env::var_os("CARGO");
    let program = cargo.as_deref().unwrap_or(OsStr::new("cargo"));
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().copied()).current_dir(tree::root());
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cargo cannot be started: {error}");
            false
        }
    }
}
