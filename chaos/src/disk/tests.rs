use std::path::{Path, PathBuf};

use dashproof_reference::fs::{Fs, FsFile};
use proptest::prelude::*;

use super::crash::{state, states};
use super::*;

fn started() -> SimFs {
    let fs = SimFs::new(Image::default());
    fs.create_dir(Path::new("/d")).unwrap();
    fs
}

fn file(fs: &SimFs, name: &str, bytes: &[u8]) -> Box<dyn FsFile> {
    let mut file = fs.create_new(&Path::new("/d").join(name)).unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn last(fs: &SimFs) -> Vec<Image> {
    let log = fs.log();
    let ops = log.0.len() as u64;
    let all = states(&log, &fs.base(), 7).states.into_iter();
    all.filter(|state| state.ops == ops).map(|state| state.image).collect()
}

#[test]
fn a_file_and_its_name_are_durable_only_after_both_syncs() {
    let fs = started();
    let mut a = file(&fs, "a", b"bytes");
    let contents = |fs: &SimFs| {
        let mut all: Vec<Option<Vec<u8>>> =
            last(fs).iter().map(|image| image.file("/d/a").map(<[u8]>::to_vec)).collect();
        all.sort();
        all
    };
    let torn = contents(&fs);
    assert!(torn.contains(&None) && torn.contains(&Some(Vec::new())), "{torn:?}");
    assert!(torn.contains(&Some(b"by".to_vec())) && torn.contains(&Some(b"bytes".to_vec())));
    a.sync().unwrap();
    assert_eq!(contents(&fs), [None, Some(b"bytes".to_vec())]);
    fs.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(contents(&fs), [Some(b"bytes".to_vec())]);
}

#[test]
fn a_rename_can_be_durable_before_the_bytes_of_its_file() {
    let fs = started();
    let _unsynced = file(&fs, "tmp", b"bytes");
    fs.rename(Path::new("/d/tmp"), Path::new("/d/a")).unwrap();
    let all = last(&fs);
    assert!(all.iter().any(|image| image.file("/d/a") == Some(b"")));
    let both = |image: &Image| image.file("/d/a").is_some() && image.file("/d/tmp").is_some();
    assert!(!all.iter().any(both), "a rename is never half done");
}

#[test]
fn a_removal_can_be_lost_until_the_directory_is_synced() {
    let fs = started();
    file(&fs, "a", b"x").sync().unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    fs.remove(Path::new("/d/a")).unwrap();
    assert_eq!(last(&fs).len(), 2);
    fs.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(last(&fs), [Image { files: std::collections::BTreeMap::new(), ..fs.live() }]);
}

#[test]
fn bytes_of_a_failed_sync_stay_lost_though_the_next_sync_says_ok() {
    let fs = started();
    let mut a = file(&fs, "a", b"bytes");
    let (op, failure) = ("sync".to_owned(), Failure::LostPages);
    fs.fail(Break { fault: 0, op, nth: 1, from_then_on: false, failure });
    assert!(a.sync().is_err());
    a.write_all(b"!").unwrap();
    a.sync().unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(fs.read(Path::new("/d/a"), 100).unwrap(), b"bytes!");
    assert!(last(&fs).iter().all(|image| image.file("/d/a") == Some(b"\0\0\0\0\0!")));
}

#[test]
fn the_nth_call_fails_once_or_from_then_on_until_it_is_mended() {
    let fs = started();
    let path = |n: u32| PathBuf::from(format!("/d/{n}"));
    let broken = |nth, from_then_on| Break {
        fault: 3,
        op: "create".to_owned(),
        nth,
        from_then_on,
        failure: Failure::named("EACCES").unwrap(),
    };
    fs.fail(broken(2, false));
    let ok: Vec<bool> = (0..4).map(|n| fs.create_new(&path(n)).is_ok()).collect();
    assert_eq!(ok, [true, false, true, true]);
    fs.fail(broken(2, true));
    let ok: Vec<bool> = (4..8).map(|n| fs.create_new(&path(n)).is_ok()).collect();
    assert_eq!(ok, [true, false, false, false]);
    fs.mend(3);
    let error = fs.create_new(&path(4)).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    assert!(fs.create_new(&path(9)).is_ok());
}

#[test]
fn a_full_disk_takes_what_fits_and_says_so() {
    let fs = started();
    fs.fill(3, 0);
    let mut a = fs.create_new(Path::new("/d/a")).unwrap();
    assert_eq!(a.write(b"bytes").unwrap(), 3);
    assert_eq!(a.write(b"es").unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    fs.mend(0);
    a.write_all(b"es").unwrap();
    assert_eq!(fs.read(Path::new("/d/a"), 100).unwrap(), b"bytes");
}

#[test]
fn a_dead_machine_does_nothing_more() {
    let fs = started();
    fs.die_after(2);
    let mut a = fs.create_new(Path::new("/d/a")).unwrap();
    assert!(a.write(b"x").is_ok() && a.write(b"y").is_err() && a.sync().is_err());
    assert!(fs.is_dead() && fs.list(Path::new("/d")).is_err());
    assert_eq!(fs.log().0.len(), 3);
}

#[test]
fn a_lock_is_held_until_it_is_dropped() {
    let fs = started();
    let path = Path::new("/d/lock");
    let held = fs.lock(path, "me").unwrap();
    assert_eq!(fs.lock(path, "you").err().unwrap().to_string(), "locked by me");
    drop(held);
    assert!(fs.lock(path, "you").is_ok());
}

#[test]
fn more_than_four_names_are_sampled_and_that_is_counted() {
    let fs = started();
    for n in 0..5 {
        file(&fs, &n.to_string(), b"").sync().unwrap();
    }
    let all = states(&fs.log(), &fs.base(), 1);
    assert_eq!(all.tally.points, fs.log().0.len() as u64 + 1);
    assert_eq!(
        all.tally.sampled, 2,
        "after the fifth creation and its sync: an empty write is none"
    );
    assert_eq!(all.tally.states, all.states.len() as u64);
}

#[test]
fn an_open_file_is_still_its_own_after_damage_to_another() {
    let fs = started();
    let (mut z, mut a, mut gone) =
        (file(&fs, "z", b"z"), file(&fs, "a", b"a"), file(&fs, "g", b""));
    fs.remove(Path::new("/d/g")).unwrap();
    fs.damage(Path::new("/d/a"), Some(b"A".to_vec()));
    gone.write_all(b"nowhere").unwrap();
    z.write_all(b"y").unwrap();
    a.write_all(b"b").unwrap();
    let live = fs.live();
    assert_eq!((live.file("/d/a"), live.file("/d/z")), (Some(&b"Ab"[..]), Some(&b"zy"[..])));
    assert_eq!(live.files.len(), 2);
}

#[test]
fn a_sync_that_is_tried_again_after_it_failed_proves_nothing() {
    let fs = started();
    let mut a = file(&fs, "a", b"bytes");
    fs.sync_dir(Path::new("/d")).unwrap();
    let (op, failure) = ("sync".to_owned(), Failure::named("EIO").unwrap());
    fs.fail(Break { fault: 0, op, nth: 1, from_then_on: false, failure });
    assert!(a.sync().is_err() && a.sync().is_ok());
    let all = last(&fs);
    assert!(all.iter().any(|image| image.file("/d/a") == Some(b"")));
    assert!(all.iter().any(|image| image.file("/d/a") == Some(b"bytes")));
}

#[test]
fn a_directory_sync_that_is_tried_again_after_it_failed_proves_nothing() {
    let fs = started();
    let mut a = file(&fs, "a", b"bytes");
    a.sync().unwrap();
    let (op, failure) = ("sync_dir".to_owned(), Failure::named("EIO").unwrap());
    fs.fail(Break { fault: 0, op, nth: 1, from_then_on: false, failure });
    let dir = Path::new("/d");
    assert!(fs.sync_dir(dir).is_err() && fs.sync_dir(dir).is_ok());
    let there = |image: &Image| image.file("/d/a").is_some();
    assert!(last(&fs).iter().any(there) && !last(&fs).iter().all(there));
    // what happens to the same name later, and is durable, is out of doubt
    fs.remove(Path::new("/d/a")).unwrap();
    fs.sync_dir(dir).unwrap();
    assert!(!last(&fs).iter().any(there));
}

#[test]
fn a_length_can_be_durable_before_its_bytes_are() {
    let fs = started();
    drop(file(&fs, "a", &[7; 600]));
    let zeros = [0; 600];
    assert!(last(&fs).iter().any(|image| image.file("/d/a") == Some(&zeros[..])));
}

#[test]
fn damage_at_rest_makes_nothing_else_durable() {
    let fs = started();
    drop(file(&fs, "a", b"in flight"));
    fs.damage(Path::new("/d/b"), Some(b"at rest".to_vec()));
    let all = last(&fs);
    assert!(all.iter().all(|image| image.file("/d/b") == Some(b"at rest")));
    assert!(all.iter().any(|image| image.file("/d/a").is_none()));
    assert!(all.iter().any(|image| image.file("/d/a") == Some(b"in flight")));
    fs.damage(Path::new("/d/b"), None);
    assert!(last(&fs).iter().all(|image| image.file("/d/b").is_none()));
}

#[test]
fn a_file_is_not_renamed_to_a_name_that_is_too_long() {
    let fs = started();
    drop(file(&fs, "a", b"x"));
    let long = PathBuf::from(format!("/d/{}", "x".repeat(256)));
    let error = fs.rename(Path::new("/d/a"), &long).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidFilename);
    assert!(fs.live().file("/d/a").is_some());
}

#[test]
fn any_one_of_several_writes_can_be_the_lost_one() {
    let fs = started();
    let mut a = file(&fs, "a", &[1; 512]);
    a.write_all(&[2; 512]).unwrap();
    a.write_all(&[3; 512]).unwrap();
    let all = last(&fs);
    for hole in 0..2 {
        let mut bytes = [[1_u8; 512], [2; 512], [3; 512]];
        bytes[hole] = [0; 512];
        let bytes = bytes.concat();
        assert!(all.iter().any(|image| image.file("/d/a") == Some(&*bytes)), "hole {hole}");
    }
}

#[test]
fn a_failure_that_an_operation_cannot_have_is_never_met() {
    let fs = started();
    let mut a = file(&fs, "a", b"x");
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let met = seen.clone();
    fs.watch(move |seen| met.lock().unwrap().extend(seen.fault));
    for (fault, op, failure) in [
        (0, "sync", Failure::Short),
        (1, "write", Failure::LostPages),
        (2, "write", Failure::Short),
    ] {
        fs.fail(Break { fault, op: op.to_owned(), nth: 1, from_then_on: false, failure });
    }
    a.sync().unwrap();
    assert_eq!(a.write(b"four").unwrap(), 2);
    assert_eq!(*seen.lock().unwrap(), [2]);
}

/// What somebody does to a directory of two files.
fn doings() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec((0..9_u8, 0..3_u8, 0..3_u8), 0..14)
}

fn done(doings: &[(u8, u8, u8)]) -> SimFs {
    let fs = started();
    let path = |n: u8| PathBuf::from(format!("/d/{n}"));
    let mut open = std::collections::BTreeMap::<u8, Box<dyn FsFile>>::new();
    for (what, a, b) in doings {
        match what {
            0 => {
                if let Ok(file) = fs.create_new(&path(*a)) {
                    open.insert(*a, file);
                }
            }
            1 => drop(open.get_mut(a).map(|file| file.write(&[*b; 700]))),
            2 => drop(open.get_mut(a).map(|file| file.sync())),
            3 => drop(fs.rename(&path(*a), &path(*b))),
            4 => drop(fs.remove(&path(*a))),
            5 => fs.damage(&path(*a), (*b > 0).then(|| vec![*b; 9])),
            6 => drop(fs.sync_dir(Path::new("/d"))),
            8 => {
                fs.remove_dir(Path::new("/d"));
                fs.create_dir(Path::new("/d")).unwrap();
            }
            _ => {
                let (op, failure) = ("sync_dir".to_owned(), Failure::named("EIO").unwrap());
                fs.fail(Break { fault: 0, op, nth: 1, from_then_on: false, failure });
                assert!(fs.sync_dir(Path::new("/d")).is_err());
            }
        }
    }
    fs
}

#[test]
fn nothing_that_was_under_way_is_left_in_a_directory_that_is_gone() {
    let fs = started();
    drop(file(&fs, "a", b"x"));
    fs.rename(Path::new("/d/a"), Path::new("/d/b")).unwrap();
    fs.remove_dir(Path::new("/d"));
    assert!(last(&fs).iter().all(|image| image.files.is_empty()));
}

proptest! {
    #[test]
    fn what_programs_see_is_always_one_of_the_disks(doings in doings()) {
        let fs = done(&doings);
        prop_assert!(last(&fs).contains(&fs.live()));
    }

    #[test]
    fn a_disk_is_found_again_by_its_name(doings in doings(), seed: u64) {
        let fs = done(&doings);
        let (log, base) = (fs.log(), fs.base());
        for known in states(&log, &base, seed).states {
            prop_assert_eq!(state(&log, &base, seed, &known.name), Some(known));
        }
    }

    #[test]
    fn after_everything_is_synced_there_is_one_disk(doings in doings()) {
        let never_fails: Vec<(u8, u8, u8)> =
            doings.into_iter().filter(|(what, ..)| *what != 7).collect();
        let fs = done(&never_fails);
        let mut a = fs.create_new(Path::new("/d/last")).unwrap();
        a.sync().unwrap();
        fs.sync_dir(Path::new("/d")).unwrap();
        let with = |image: &Image| image.file("/d/last").is_some();
        prop_assert!(last(&fs).iter().all(with));
        let names = |image: &Image| image.files.keys().cloned().collect::<Vec<_>>();
        let live = names(&fs.live());
        prop_assert!(last(&fs).iter().all(|image| names(image) == live));
    }
}

#[test]
fn a_machine_dies_before_or_after_the_nth_operation_of_a_kind() {
    let ops = |before: bool| {
        let fs = started();
        fs.die_at("sync", 2, before);
        let mut a = file(&fs, "a", b"bytes");
        a.sync().unwrap();
        let mut b = file(&fs, "b", b"bytes");
        assert_eq!(b.sync().is_ok(), !before);
        assert!(fs.is_dead());
        assert!(fs.sync_dir(Path::new("/d")).is_err(), "nothing happens any more");
        fs.log().0.len()
    };
    // the directory, and for each file its creation and a write
    assert_eq!([ops(true), ops(false)], [1 + 3 + 2, 1 + 3 + 3]);
}
