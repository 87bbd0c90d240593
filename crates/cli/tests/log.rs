//! `slimcluster log` as a process: what it prints and how it exits.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use slimcluster_core::storage::Write;
use slimcluster_core::types::StoreId;
use slimcluster_core::{
    GroupId, HardState, Index, LogTime, MachineId, NodeId, Run, RunHeader, RunKind, Term, WallTime, WriteSeq,
};
use slimcluster_wal::{FreshIds, Options, StdDisk, Wal};

fn log(command: &str, directory: &Path) -> (i32, String, String) {
    let program = env!("CARGO_BIN_EXE_slimcluster");
    let Output { status, stdout, stderr } =
        Command::new(program).args(["log", command]).arg(directory).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A store of one vote and one entry.
fn store(directory: &Path) -> Wal {
    let disk = Arc::new(StdDisk::open(directory).unwrap());
    let fresh = FreshIds { node: NodeId(0xabc), store: StoreId(0xdef) };
    let options = Options { segment_bytes: 8192, ..Options::default() };
    let (mut wal, _) = Wal::open(disk, options, "shop", fresh).unwrap();
    let header = RunHeader {
        group: GroupId::DEFAULT,
        kind: RunKind::Noop,
        codec: 0,
        command_version: 0,
        term: Term(4),
        first: Index(1),
        machine: MachineId(0),
        log_time: LogTime(0),
        wall_time: WallTime(0),
        chain: 0,
    };
    let runs = vec![Run::single(header, Default::default())];
    let hard_state = Some(HardState { term: Term(4), vote: Some(NodeId(0xabc)) });
    wal.write(&[Write { seq: WriteSeq(1), group: GroupId::DEFAULT, identity: None, hard_state, runs }]).unwrap();
    wal.idle().unwrap();
    wal
}

#[test]
fn a_sound_store_is_shown_and_verified() {
    let root = tempfile::tempdir().unwrap();
    drop(store(root.path()));
    let (code, out, err) = log("inspect", root.path());
    assert_eq!((code, err.as_str()), (0, ""));
    for line in [
        "cluster id:  shop",
        "phase:       fresh, part of no cluster",
        "hard state:  term 4, voted for 00000000000000000000000000000abc (write 2)",
        "Splice, Noop 1 to 1 of term 4",
        "log:         entries 1 to 1, the last of term 4",
        "no damage",
    ] {
        assert!(out.contains(line), "{line} in\n{out}");
    }
    let (code, out, _) = log("verify", root.path());
    assert_eq!((code, out.contains("no damage"), out.contains("record:")), (0, true, false));
}

#[test]
fn damage_is_named_with_its_place_and_nothing_is_changed() {
    let root = tempfile::tempdir().unwrap();
    drop(store(root.path()));
    let file = root.path().join("log-0000000000000001");
    let mut bytes = fs::read(&file).unwrap();
    // In the entry's record; the empty batch behind it tells rot from a torn write.
    bytes[200] ^= 1;
    fs::write(&file, &bytes).unwrap();
    for command in ["inspect", "verify"] {
        let (code, out, err) = log(command, root.path());
        assert_eq!(code, 1, "{err}");
        assert!(out.contains("cluster id:  shop"));
        assert!(err.contains("log-0000000000000001 is damaged at offset"), "{err}");
    }
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_running_node_and_a_missing_directory_are_said_so() {
    let root = tempfile::tempdir().unwrap();
    let wal = store(root.path());
    let (code, _, err) = log("verify", root.path());
    assert_eq!((code, err.contains("in use by a running node")), (2, true), "{err}");
    drop(wal);
    let other = tempfile::tempdir().unwrap();
    let (code, _, err) = log("verify", other.path());
    assert_eq!((code, err.contains("holds no data of a node")), (2, true), "{err}");
    let missing = root.path().join("missing");
    let (code, _, err) = log("inspect", &missing);
    assert_eq!((code, err.contains("missing") && err.contains("a node keeps its data")), (2, true), "{err}");
    assert!(!missing.exists());
}
