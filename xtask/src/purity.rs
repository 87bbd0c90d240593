//! `core` is pure: it names no clock, thread, socket, file, async runtime or randomly seeded map (architecture invariant 1).
//!
//! Clippy refuses the same by type; this check also sees code behind features and platforms that clippy does not build.
//! Addresses (`std::net::SocketAddr`, `IpAddr`) are data and allowed. Test code may read its own scripts.

use crate::source::{self, CodePath};
use crate::tree::{Finding, Tree};

/// The folder that must be pure.
const CORE: &str = "crates/core/src/";

/// Paths that begin like this, and why not.
const PATHS: &[(&str, &str)] = &[
    ("std::time::Instant", "time is an argument"),
    ("std::time::SystemTime", "time is an argument"),
    ("std::time::UNIX_EPOCH", "time is an argument"),
    ("std::time::*", "time is an argument; name `Duration` alone"),
    ("std::thread", "the core never spawns or waits"),
    ("std::sync::mpsc", "the core never waits"),
    ("std::fs", "the core performs no I/O"),
    ("std::os", "the core performs no I/O"),
    ("std::process", "the core performs no I/O"),
    ("std::env", "options are arguments"),
    ("std::net::TcpListener", "the core performs no I/O"),
    ("std::net::TcpStream", "the core performs no I/O"),
    ("std::net::UdpSocket", "the core performs no I/O"),
    ("std::net::ToSocketAddrs", "names are resolved by the driver"),
    ("std::net::*", "name the address types alone"),
    ("std::collections::*", "name the ordered collections alone"),
    ("std::collections::hash_map", "its order varies"),
    ("std::collections::hash_set", "its order varies"),
    ("std::future", "the core is not async"),
    ("std::task", "the core is not async"),
    ("rand::rng", "randomness is an argument"),
    ("rand::random", "randomness is an argument"),
    ("rand::rngs", "randomness is an argument"),
];

/// Words that are refused wherever they stand, and why.
const WORDS: &[(&str, &str)] = &[
    ("HashMap", "its order varies; use BTreeMap or Vec"),
    ("HashSet", "its order varies; use BTreeSet or Vec"),
    ("RandomState", "it is seeded at random"),
    ("SystemTime", "time is an argument"),
    ("thread_rng", "randomness is an argument"),
    ("from_entropy", "randomness is an argument"),
    ("from_os_rng", "randomness is an argument"),
    ("getrandom", "randomness is an argument"),
    ("OsRng", "randomness is an argument"),
    ("SysRng", "randomness is an argument"),
    ("async", "the core is not async"),
    ("await", "the core is not async"),
    ("tokio", "the core is not async"),
    ("futures", "the core is not async"),
    ("async_std", "the core is not async"),
    ("smol", "the core is not async"),
    // The traits of `std::io` over bytes in memory are fine; what leads to a console is not.
    ("stdin", "the core performs no I/O"),
    ("stdout", "the core performs no I/O"),
    ("stderr", "the core performs no I/O"),
    ("print", "the core performs no I/O"),
    ("println", "the core performs no I/O"),
    ("eprint", "the core performs no I/O"),
    ("eprintln", "the core performs no I/O"),
    ("mio", "the core performs no I/O"),
    ("socket2", "the core performs no I/O"),
    ("rustix", "the core performs no I/O"),
    ("libc", "the core performs no I/O"),
];

/// Everything in the production code of `core` that is not pure.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let tests = crate::sizes::test_files(tree);
    let mut findings = Vec::new();
    for (path, text) in tree.rust().filter(|(path, _)| path.starts_with(CORE) && !tests.contains(*path)) {
        for named in source::paths(&source::production_code(text)) {
            if let Some(reason) = refused(&named) {
                findings.push(Finding::at(path, named.line, format!("`{}` in core: {reason}", named.parts.join("::"))));
            }
        }
    }
    findings
}

fn refused(path: &CodePath) -> Option<&'static str> {
    // `use std::time;` would let `time::Instant` pass, and a prelude-like `std::*` anything.
    if ["std::time", "std::net", "std::collections", "std::*"].contains(&path.parts.join("::").as_str()) {
        return Some("name the item that is meant, not its module");
    }
    let by_path = PATHS.iter().find(|(prefix, _)| path.starts_with(prefix));
    let by_word = WORDS.iter().find(|(word, _)| path.parts.iter().any(|part| part == word));
    by_path.or(by_word).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(code: &str) -> usize {
        check(&Tree::of(&[("crates/core/src/raft/log.rs", code)])).len()
    }

    #[test]
    fn pure_code_passes() {
        assert_eq!(
            findings(
                "use std::time::Duration;\nuse std::net::{IpAddr, SocketAddr};\nuse crate::Instant;\nuse std::io;"
            ),
            0
        );
        assert_eq!(findings("// a HashMap would vary\nconst A: &str = \"std::thread\";"), 0);
        assert_eq!(findings("#[cfg(test)]\nmod tests { use std::fs; use std::collections::HashMap; }"), 0);
        let elsewhere = Tree::of(&[("crates/wal/src/disk.rs", "use std::fs::File;")]);
        assert!(check(&elsewhere).is_empty());
    }

    #[test]
    fn a_clock_a_thread_a_socket_a_file_a_runtime_and_a_seeded_map_fail() {
        for code in [
            "use std::time::Instant;",
            "use std::time::{Duration, Instant};",
            "use std::time; fn a() { time::Instant::now(); }",
            "fn a() { std::time::SystemTime::now(); }",
            "fn a() { std::thread::spawn(|| ()); }",
            "use std::net::{SocketAddr, UdpSocket};",
            "use std::fs::File;",
            "use std::io; fn a() { io::stdout(); }",
            "fn a() { println!(); }",
            "fn a() { tokio::spawn(b()) }",
            "async fn a() {}",
            "use std::collections::{BTreeMap, HashMap};",
            "use std::collections::*;",
            "fn a() { rand::rng(); }",
        ] {
            assert_eq!(findings(code), 1, "{code}");
        }
    }

    #[test]
    fn a_file_that_is_a_test_module_may_read_its_scripts() {
        let tree = Tree::of(&[
            ("crates/core/src/raft/mod.rs", "#[cfg(test)]\nmod script;"),
            ("crates/core/src/raft/script.rs", "use std::fs;"),
        ]);
        assert!(check(&tree).is_empty());
    }
}
