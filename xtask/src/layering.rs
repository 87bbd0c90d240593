//! Dependencies point one way: between the modules of `core` (architecture invariant 2) and between the packages.

use std::collections::BTreeMap;

use crate::source;
use crate::tree::{Finding, Tree};

const CORE: &str = "crates/core/src/";

/// For a module of `core`, the modules that it must never name.
const MODULES: &[(&str, &[&str])] = &[
    ("raft", &["swim", "node", "machine", "wire"]),
    ("swim", &["raft", "node", "machine", "wire"]),
    ("machine", &["raft", "swim", "node"]),
];

/// For each package folder, the packages of this workspace that it may use.
const PACKAGES: &[(&str, &[&str])] = &[
    ("crates/core", &[]),
    ("crates/wal", &["slimcluster-core"]),
    ("crates/slimcluster", &["slimcluster-core", "slimcluster-wal"]),
    ("crates/sim", &["slimcluster-core", "slimcluster-wal"]),
    ("crates/cli", &["slimcluster-core", "slimcluster-wal", "slimcluster"]),
    ("examples/", &["slimcluster"]),
    ("fuzz/targets", &["slimcluster-core", "slimcluster-wal", "slimcluster-sim"]),
    ("fuzz", &["slimcluster-fuzz-targets"]),
    ("xtask", &[]),
];

/// Package folders that must stay free of async runtimes and sockets, in tests too.
const SYNCHRONOUS: &[&str] = &["crates/core", "crates/wal", "crates/sim"];

/// What an async runtime or a socket library is called.
const RUNTIMES: &[&str] = &[
    "tokio",
    "tokio-util",
    "async-std",
    "smol",
    "futures",
    "futures-util",
    "hyper",
    "axum",
    "tower",
    "mio",
    "socket2",
];

/// Every module of `core` that names one which it must not know.
pub fn check_modules(tree: &Tree) -> Vec<Finding> {
    let roots = reexports(tree.text("crates/core/src/lib.rs").unwrap_or_default());
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let Some(module) = path.strip_prefix(CORE).map(module_of) else { continue };
        let Some((own, forbidden)) = MODULES.iter().find(|(name, _)| module.first() == Some(name)) else { continue };
        for named in source::paths(&source::production_code(text)) {
            let Some(target) = resolve(&module, &named.parts, &roots) else { continue };
            if forbidden.contains(&target.as_str()) {
                let text = format!("`{own}` names `{target}` (`{}`); only `node` knows both", named.parts.join("::"));
                findings.push(Finding::at(path, named.line, text));
            }
        }
    }
    findings
}

/// Every package that depends on one above it, or on a runtime that it must not know.
pub fn check_packages(tree: &Tree) -> Vec<Finding> {
    let manifests: Vec<(&str, Manifest)> = tree
        .packages()
        .filter_map(|folder| Some((folder, Manifest::parse(tree.text(&format!("{folder}/Cargo.toml"))?))))
        .collect();
    let names: Vec<&str> = manifests.iter().map(|(_, manifest)| manifest.name.as_str()).collect();
    let mut findings = Vec::new();
    for (folder, manifest) in &manifests {
        let path = format!("{folder}/Cargo.toml");
        let matches = |entry: &str| entry == *folder || (entry.ends_with('/') && folder.starts_with(entry));
        let Some((_, allowed)) = PACKAGES.iter().find(|(entry, _)| matches(entry)) else {
            let text = "a package that the layering does not know; give it a place in xtask/src/layering.rs";
            findings.push(Finding::of(&path, text));
            continue;
        };
        // A package may name itself: that is how its own tests switch on its features.
        for (line, dependency) in manifest.dependencies.iter().filter(|(_, name)| *name != manifest.name) {
            if names.contains(&dependency.as_str()) && !allowed.contains(&dependency.as_str()) {
                let text = format!("`{}` must not depend on `{dependency}`: dependencies point one way", manifest.name);
                findings.push(Finding::at(&path, *line, text));
            }
            if SYNCHRONOUS.contains(folder) && RUNTIMES.contains(&dependency.as_str()) {
                let text = format!("`{dependency}` below the `slimcluster` crate; the runtime lives there alone");
                findings.push(Finding::at(&path, *line, text));
            }
        }
    }
    findings
}

struct Manifest {
    name: String,
    dependencies: Vec<(usize, String)>,
}

impl Manifest {
    /// Reads the name and the keys of every dependency table; the manifests of this workspace need no more of TOML.
    fn parse(text: &str) -> Manifest {
        let mut manifest = Manifest { name: String::new(), dependencies: Vec::new() };
        let mut section = String::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(header) = line.strip_prefix('[') {
                header.trim_end_matches(']').clone_into(&mut section);
                // [dependencies.tokio]
                if let Some((table, name)) = section.rsplit_once('.')
                    && table.ends_with("dependencies")
                {
                    manifest.dependencies.push((number + 1, name.to_owned()));
                }
            } else if let Some((key, value)) = line.split_once('=') {
                let key = key.trim();
                if section.ends_with("dependencies") {
                    let name = key.split('.').next().unwrap_or(key).trim_matches('"');
                    manifest.dependencies.push((number + 1, name.to_owned()));
                } else if section == "package" && key == "name" {
                    value.trim().trim_matches('"').clone_into(&mut manifest.name);
                }
            }
        }
        manifest
    }
}

/// `raft/leader.rs` is `["raft", "leader"]`, `raft/mod.rs` is `["raft"]`.
fn module_of(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    if parts.last() == Some(&"mod") {
        parts.pop();
    }
    parts
}

/// What the crate root re-exports: the name, and the module that it comes from.
fn reexports(lib: &str) -> BTreeMap<String, String> {
    let paths = source::paths(&source::production_code(lib));
    let pairs = paths.into_iter().filter(|path| path.parts.len() > 1 && path.parts[0] != "std");
    pairs.filter_map(|path| Some((path.parts.last()?.clone(), path.parts[0].clone()))).collect()
}

/// The top module of the crate that `parts`, written in `module`, leads to; none if it leads elsewhere.
fn resolve(module: &[&str], parts: &[String], roots: &BTreeMap<String, String>) -> Option<String> {
    let mut base: Vec<&str> = module.to_vec();
    let mut rest = parts;
    match parts.first()?.as_str() {
        "crate" | "slimcluster_core" => {
            base.clear();
            rest = &parts[1..];
        }
        "self" => rest = &parts[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        _ => return None,
    }
    let top = base.first().copied().or(rest.first().map(String::as_str))?;
    Some(roots.get(top).cloned().unwrap_or_else(|| top.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(path: &str, code: &str) -> usize {
        check_modules(&Tree::of(&[("crates/core/src/lib.rs", "pub use node::Node;\npub mod raft;"), (path, code)]))
            .len()
    }

    #[test]
    fn raft_and_swim_know_what_lies_below_them() {
        assert_eq!(
            modules("crates/core/src/raft/leader.rs", "use super::log::Log;\nuse crate::{NodeId, run::Run};"),
            0
        );
        assert_eq!(modules("crates/core/src/raft/leader.rs", "/// See [`crate::swim`].\nfn node(node: u8) {}"), 0);
        assert_eq!(modules("crates/core/src/node/node.rs", "use crate::{raft::Raft, swim::Swim};"), 0);
    }

    #[test]
    fn raft_and_swim_never_name_each_other_nor_node() {
        assert_eq!(modules("crates/core/src/raft/leader.rs", "use crate::swim::Member;"), 1);
        assert_eq!(modules("crates/core/src/raft/leader.rs", "use crate::{NodeId, swim};"), 1);
        assert_eq!(modules("crates/core/src/raft/leader.rs", "fn a(b: super::super::node::Input) {}"), 1);
        assert_eq!(modules("crates/core/src/raft/mod.rs", "use super::swim::Swim;"), 1);
        assert_eq!(modules("crates/core/src/raft/leader.rs", "use crate::Node;"), 1, "through a re-export");
        assert_eq!(modules("crates/core/src/swim/probe.rs", "use crate::raft::Raft;"), 1);
        assert_eq!(modules("crates/core/src/swim/probe.rs", "use crate::node::io::Input;"), 1);
    }

    fn packages(folder: &str, dependencies: &str) -> usize {
        let manifest = format!("[package]\nname = \"own\"\n\n{dependencies}\n");
        let files = [
            ("crates/core/Cargo.toml", "[package]\nname = \"slimcluster-core\""),
            ("crates/wal/Cargo.toml", "[package]\nname = \"slimcluster-wal\""),
            ("crates/slimcluster/Cargo.toml", "[package]\nname = \"slimcluster\""),
            (folder, &manifest),
        ];
        check_packages(&Tree::of(&files)).len()
    }

    #[test]
    fn dependencies_point_one_way() {
        assert_eq!(packages("crates/wal/Cargo.toml", "[dependencies]\nslimcluster-core.workspace = true"), 0);
        assert_eq!(
            packages("examples/kv/Cargo.toml", "[dependencies]\nslimcluster.workspace = true\ntokio = \"1\""),
            0
        );
        assert_eq!(packages("crates/core/Cargo.toml", "[dependencies]\nslimcluster-wal = { path = \"../wal\" }"), 1);
        assert_eq!(packages("crates/wal/Cargo.toml", "[dependencies.slimcluster]\nworkspace = true"), 1);
        assert_eq!(packages("crates/sim/Cargo.toml", "[dev-dependencies]\nslimcluster.workspace = true"), 1);
        assert_eq!(packages("examples/kv/Cargo.toml", "[dependencies]\nslimcluster-core.workspace = true"), 1);
    }

    #[test]
    fn no_runtime_below_the_facade() {
        assert_eq!(packages("crates/wal/Cargo.toml", "[dependencies]\ntokio.workspace = true"), 1);
        assert_eq!(packages("crates/core/Cargo.toml", "[target.'cfg(unix)'.dependencies]\nmio = \"1\""), 1);
        assert_eq!(packages("crates/sim/Cargo.toml", "[dev-dependencies]\ntokio = { workspace = true }"), 1);
    }

    #[test]
    fn an_unknown_package_must_be_placed() {
        assert_eq!(packages("crates/new/Cargo.toml", ""), 1);
    }
}
