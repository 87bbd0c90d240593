//! What the disk keeps and what it loses.

use std::sync::Arc;

use slimcluster_core::random::Random;
use slimcluster_wal::Disk;

use super::*;

fn read(disk: &Arc<dyn Disk>, name: &str) -> Vec<u8> {
    let file = disk.open(name).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

#[test]
fn a_process_crash_keeps_what_was_never_synced() {
    let disk = SimDisk::new(Random::new(1));
    let mounted = disk.mount();
    mounted.create("a").unwrap().write_at(b"hello", 0).unwrap();
    disk.process_crash();
    assert!(mounted.list().is_err());
    assert_eq!(read(&disk.mount(), "a"), b"hello");
}

#[test]
fn a_power_loss_keeps_what_was_synced_and_perhaps_more() {
    let (mut lost, mut kept, mut partly) = (0, 0, 0);
    for rng_seed in 0..200 {
        let disk = SimDisk::new(Random::new(rng_seed));
        let mounted = disk.mount();
        let file = mounted.create("a").unwrap();
        file.write_at(&[1; 2048], 0).unwrap();
        file.sync().unwrap();
        mounted.sync_directory().unwrap();
        file.write_at(&[2; 2048], 1024).unwrap();
        disk.power_loss();
        let bytes = read(&disk.mount(), "a");
        assert_eq!(bytes[..1024], [1; 1024]);
        match bytes[1024..].iter().filter(|byte| **byte == 2).count() {
            0 => lost += 1,
            2048 => kept += 1,
            _ => partly += 1,
        }
    }
    assert!(lost > 10 && kept > 10 && partly > 10);
}

#[test]
fn a_name_without_a_synced_directory_may_vanish() {
    let survivors = (0..100)
        .filter(|rng_seed| {
            let disk = SimDisk::new(Random::new(*rng_seed));
            let mounted = disk.mount();
            let file = mounted.create("a").unwrap();
            file.write_at(b"hello", 0).unwrap();
            file.sync().unwrap();
            disk.power_loss();
            disk.mount().list().unwrap() == ["a"]
        })
        .count();
    assert!((10..90).contains(&survivors));
}

#[test]
fn a_failed_sync_hides_behind_the_cache() {
    let mut hidden = 0;
    for rng_seed in 0..50 {
        let disk = SimDisk::new(Random::new(rng_seed));
        let mounted = disk.mount();
        let file = mounted.create("a").unwrap();
        mounted.sync_directory().unwrap();
        file.write_at(&[7; 1024], 0).unwrap();
        disk.fail_next_sync();
        assert!(file.sync().is_err());
        assert!(disk.has_failed());
        file.sync().unwrap();
        assert_eq!(read(&mounted, "a"), [7; 1024]);
        disk.process_crash();
        let mounted = disk.mount();
        assert_eq!(read(&mounted, "a"), [7; 1024]);
        mounted.open("a").unwrap().drop_cache().unwrap();
        hidden += usize::from(read(&mounted, "a") != [7; 1024]);
    }
    assert!(hidden > 20);
}

#[test]
fn a_process_dies_between_two_calls() {
    let disk = SimDisk::new(Random::new(3));
    let mounted = disk.mount();
    disk.crash_after(2);
    let file = mounted.create("a").unwrap();
    file.write_at(b"one", 0).unwrap();
    assert!(file.write_at(b"two", 3).is_err());
    assert!(disk.is_dead() && file.len().is_err());
}

/// A file of eight sectors of ones, synced.
fn filled(rng_seed: u64) -> (SimDisk, Arc<dyn Disk>) {
    let disk = SimDisk::new(Random::new(rng_seed));
    let mounted = disk.mount();
    let file = mounted.create("a").unwrap();
    file.write_at(&[1; 4096], 0).unwrap();
    file.sync().unwrap();
    mounted.sync_directory().unwrap();
    (disk, mounted)
}

#[test]
fn rot_changes_one_bit_and_is_healed() {
    let mut at_once = 0;
    for rng_seed in 0..40 {
        let (disk, mounted) = filled(rng_seed);
        assert_eq!(disk.rot(&mut Random::new(rng_seed)).as_deref(), Some("a"));
        at_once += usize::from(read(&mounted, "a") != [1; 4096]);
        assert!(disk.is_wounded());
        mounted.open("a").unwrap().drop_cache().unwrap();
        let rotten = read(&mounted, "a");
        let bits: u32 = rotten.iter().map(|byte| (byte ^ 1).count_ones()).sum();
        assert_eq!(bits, 1);
        disk.heal();
        assert_eq!(read(&mounted, "a"), [1; 4096]);
        assert!(!disk.is_wounded());
    }
    assert!((10..30).contains(&at_once));
}

#[test]
fn a_sector_goes_astray_and_the_disk_says_nothing() {
    for stray in [Stray::Phantom, Stray::Misdirected] {
        let mut hidden = 0;
        for rng_seed in 0..40 {
            let (disk, mounted) = filled(rng_seed);
            let file = mounted.open("a").unwrap();
            disk.stray_next_sync(stray);
            file.write_at(&[2; 1024], 1024).unwrap();
            file.sync().unwrap();
            assert!(disk.is_wounded() && !disk.has_failed());
            disk.power_loss();
            let bytes = read(&disk.mount(), "a");
            let mut expected = [1; 4096];
            expected[1024..2048].fill(2);
            hidden += usize::from(bytes != expected);
            disk.heal();
            assert_eq!(read(&disk.mount(), "a"), expected);
        }
        // It may land where it belongs.
        assert!(hidden > 30, "{stray:?}: {hidden}");
    }
}

/// Three sectors of a log are written one after the other; `stray` befalls the last.
fn strayed(rng_seed: u64, stray: Stray) -> SimDisk {
    let disk = SimDisk::new(Random::new(rng_seed));
    let mounted = disk.mount();
    let file = mounted.create("log-1").unwrap();
    mounted.sync_directory().unwrap();
    for sector in 0..3 {
        if sector == 2 {
            disk.stray_next_sync(stray);
        }
        file.write_at(&[1 + sector as u8; 512], sector * 512).unwrap();
        file.sync().unwrap();
    }
    disk
}

#[test]
fn what_goes_astray_at_the_end_is_told_from_what_does_before_it() {
    let of = |stray| (0..40).map(move |rng_seed| strayed(rng_seed, stray));
    // The second sector is gone with the third, or the third alone; not where the first is gone and the second is whole.
    let hidden = of(Stray::Misdirected).filter(|disk| disk.is_astray_to_the_end("log-")).count();
    assert!((10..40).contains(&hidden), "{hidden}");
    assert!(of(Stray::Phantom).all(|disk| disk.is_astray_to_the_end("log-")));
    assert!(of(Stray::Phantom).all(|disk| !disk.is_astray_to_the_end("other-")));
    for disk in of(Stray::Phantom) {
        // A bit of the sector before it leaves the rest of that sector to be read.
        let mut rng = Random::new(7);
        while disk.rot(&mut rng).is_none() {}
        assert!(!disk.is_astray_to_the_end("log-"));
    }
    for disk in of(Stray::Phantom) {
        // What is written into the same sector afterwards shows that something is missing before it.
        let file = disk.mount().open("log-1").unwrap();
        file.write_at(&[4; 100], 2 * 512 + 300).unwrap();
        file.sync().unwrap();
        assert!(!disk.is_astray_to_the_end("log-"));
    }
}

#[test]
fn an_unreadable_sector_fails_until_it_is_written() {
    let (disk, mounted) = filled(1);
    disk.break_sector(&mut Random::new(1));
    let file = mounted.open("a").unwrap();
    file.drop_cache().unwrap();
    assert!(file.read_at(&mut [0; 4096], 0).is_err());
    file.write_at(&[3; 4096], 0).unwrap();
    assert_eq!(read(&mounted, "a"), [3; 4096]);
    file.sync().unwrap();
    file.drop_cache().unwrap();
    assert_eq!(read(&mounted, "a"), [3; 4096]);
}

#[test]
fn space_runs_out_and_comes_back() {
    let (disk, mounted) = filled(1);
    let file = mounted.open("a").unwrap();
    disk.limit_space(Some(100));
    assert_eq!(file.write_at(&[2; 300], 4000).unwrap(), 196);
    assert_eq!(file.write_at(&[2; 1], 4196).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[2; 8], 0).unwrap(), 8);
    assert_eq!(mounted.create("b").err().unwrap().kind(), std::io::ErrorKind::StorageFull);
    mounted.remove("a").unwrap();
    mounted.create("b").unwrap();
    disk.limit_space(None);
    assert_eq!(mounted.open("b").unwrap().write_at(&[2; 9999], 0).unwrap(), 9999);
}
