//! The store on the real file system: modes, locks, links, and how fast it is (printed, not judged).

mod support;

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use slimcluster_wal::{Disk, Options, StdDisk, Wal, WalError};
use support::*;

fn open_at(path: &Path, options: Options) -> Result<(Wal, slimcluster_core::storage::Recovered), WalError> {
    Wal::open(Arc::new(StdDisk::open(path).unwrap()), options, CLUSTER, FRESH)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_store_is_made_private_and_found_again() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("above/data");
    let mut author = Author::default();
    let (mut wal, _) = open_at(&path, options(64 << 10)).unwrap();
    for byte in 0..200u8 {
        wal.write(&[runs(&[author.append(&[&[byte; 1000]])])]).unwrap();
        wal.prepare_segment().unwrap();
    }
    assert_eq!(read_all(&wal, &author.log), entries(&author));
    drop(wal);
    assert_eq!((mode(&root.path().join("above")), mode(&path)), (0o700, 0o700));
    for entry in fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    let (wal, recovered) = open_at(&path, options(64 << 10)).unwrap();
    assert_eq!(recovered.log, author.log);
    assert_eq!(read_all(&wal, &author.log), entries(&author));
}

#[test]
fn a_directory_has_one_writer_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let (wal, _) = open_at(root.path(), options(4096)).unwrap();
    let error = open_at(root.path(), options(4096)).err().unwrap();
    assert!(matches!(error, WalError::InUse { .. }));
    assert!(error.to_string().contains(root.path().to_str().unwrap()), "{error}");
    drop(wal);
    open_at(root.path(), options(4096)).unwrap();
}

#[test]
fn a_reader_that_outlives_the_writer_does_not_hold_the_directory() {
    let root = tempfile::tempdir().unwrap();
    let (wal, _) = open_at(root.path(), options(4096)).unwrap();
    let reader = wal.reader();
    drop(wal);
    open_at(root.path(), options(4096)).unwrap();
    drop(reader);
}

#[test]
fn links_and_other_things_than_files_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (real, link) = (root.path().join("real"), root.path().join("link"));
    open_at(&real, options(4096)).unwrap();
    symlink(&real, &link).unwrap();
    let error = StdDisk::open(&link).err().unwrap();
    assert!(error.to_string().contains("symbolic link"), "{error}");

    fs::rename(real.join("identity"), root.path().join("elsewhere")).unwrap();
    symlink(root.path().join("elsewhere"), real.join("identity")).unwrap();
    let error = open_at(&real, options(4096)).err().unwrap();
    assert!(error.to_string().contains("symbolic link"), "{error}");

    fs::remove_file(real.join("identity")).unwrap();
    fs::create_dir(real.join("identity")).unwrap();
    assert!(matches!(open_at(&real, options(4096)), Err(WalError::Io { .. })));
    assert!(StdDisk::open(root.path().join("elsewhere")).is_err(), "a file is no directory");
}

#[test]
fn looking_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    assert!(StdDisk::open_read_only(root.path().join("missing")).is_err());
    assert!(!root.path().join("missing").exists());
    drop(open_at(root.path(), options(4096)).unwrap());
    let disk = StdDisk::open_read_only(root.path()).unwrap();
    for result in [disk.create("new").err(), disk.rename("identity", "x").err(), disk.remove("identity").err()] {
        assert_eq!(result.unwrap().kind(), io::ErrorKind::ReadOnlyFilesystem);
    }
    let file = disk.open("identity").unwrap();
    assert!(file.write_at(b"x", 0).is_err());
    assert!(file.len().unwrap() > 0);
}

#[test]
fn speed_of_group_commit() {
    let root = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let (mut wal, _) = open_at(root.path(), Options::default()).unwrap();
    println!("a new store: {:?}", started.elapsed());
    let mut author = Author::default();
    for size in [100, 4_000, 64_000] {
        let (rounds, command) = (300, vec![7; size]);
        let batches: Vec<_> = (0..rounds).map(|_| runs(&[author.append(&[&command])])).collect();
        let mut times = Vec::new();
        for batch in batches {
            let started = Instant::now();
            wal.write(&[batch]).unwrap();
            times.push(started.elapsed());
            wal.prepare_segment().unwrap();
        }
        times.sort_unstable();
        println!("a batch of {size} bytes: median {:?}, p99 {:?}", times[rounds / 2], times[rounds * 99 / 100]);
    }
    drop(wal);
    let started = Instant::now();
    let (wal, recovered) = open_at(root.path(), Options::default()).unwrap();
    println!("{} entries recovered in {:?}", recovered.log.last().index, started.elapsed());
    let started = Instant::now();
    assert_eq!(read_all(&wal, &recovered.log).len(), 900);
    println!("and read back one by one in {:?}", started.elapsed());
}
