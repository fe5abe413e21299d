use std::sync::Arc;

use super::faulty::{FaultyFs, Op};
use super::*;
use crate::checkpoint::{CheckpointError, ErrorKind};

const EIO: i32 = 5;
const EACCES: i32 = 13;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

fn kind_of(errno: i32) -> ErrorKind {
    match errno {
        ENOSPC => ErrorKind::StorageFull,
        EACCES | EROFS => ErrorKind::PermissionDenied,
        _ => ErrorKind::Io,
    }
}

fn prepared() -> (FaultyFs, Store<String>) {
    let fs = FaultyFs::default();
    let store = open_on(fs.clone(), options(7));
    save(&store, "t", "old");
    (fs, store)
}

fn in_flight(store: &Store<String>) -> Result<Info, CheckpointError> {
    store.save(&Draft::new("t", "new".to_owned()).id("mine"))
}

/// How many operations a save takes that can fail.
fn steps() -> Vec<Op> {
    let (fs, store) = prepared();
    let before = fs.log().len();
    in_flight(&store).unwrap();
    fs.log().split_off(before)
}

#[test]
fn a_save_syncs_the_file_before_its_name_and_the_directory_before_its_ok() {
    let kinds: Vec<&str> = steps().iter().map(Op::kind).collect();
    assert_eq!(kinds, ["create", "write", "write", "sync", "rename", "sync_dir"]);
}

#[test]
fn every_failure_at_every_step_is_told_apart_and_leaves_the_earlier_checkpoint() {
    for errno in [EIO, EACCES, EMFILE, ENOSPC, EROFS] {
        for n in 0..steps().len() {
            let (fs, store) = prepared();
            fs.fail(n, errno);
            let error = in_flight(&store).unwrap_err();
            assert_eq!(error.kind(), &kind_of(errno), "step {n}: {error}");
            assert_eq!((error.thread_id(), error.checkpoint_id()), (Some("t"), Some("mine")));
            assert!(error.path().is_some() && error.io_error().is_some());
            assert_eq!(latest(&store, "t").unwrap(), "old", "step {n}");
            assert_eq!(ids(&store, "t").len(), 1, "step {n}");
            let failures = "dashstream_checkpoint_save_failures_total";
            assert_eq!(store.counters().get(failures, kind_of(errno).as_str()), 1);
            // the same id is free again, and only the acknowledged save comes back
            in_flight(&store).unwrap();
            assert_eq!(latest(&store, "t").unwrap(), "new");
            drop(store);
            let store = open(&fs.inner);
            assert_eq!((ids(&store, "t").len(), files(&fs.inner).len()), (2, 2), "step {n}");
            assert_eq!(store.load("mine").unwrap().state, "new");
        }
    }
}

#[test]
fn a_save_whose_undoing_fails_too_shows_in_no_answer_and_is_gone_before_the_next_ok() {
    let (fs, store) = prepared();
    fs.fail(5, EIO);
    fs.fail_all(Some("remove"), EIO);
    in_flight(&store).unwrap_err();
    assert_eq!(files(&fs.inner).len(), 2, "it could not be removed");
    assert_eq!(latest(&store, "t").unwrap(), "old");
    assert_eq!(store.load("mine").unwrap_err().kind(), &ErrorKind::NotFound);
    fs.fail_all(None, 0);
    let before = fs.log().len();
    in_flight(&store).unwrap();
    let kinds: Vec<&str> = fs.log().split_off(before).iter().map(Op::kind).collect();
    let order = ["remove", "create", "write", "write", "sync", "rename", "sync_dir"];
    assert_eq!(kinds, order, "gone by the sync that makes the next one durable");
    assert_eq!(files(&fs.inner).len(), 2);
}

#[test]
fn no_change_succeeds_while_the_file_of_a_failed_save_cannot_be_removed() {
    let (fs, store) = prepared();
    fs.fail(5, EIO);
    fs.fail_all(Some("remove"), EACCES);
    in_flight(&store).unwrap_err();
    let rejected = files(&fs.inner).pop().unwrap();
    let other = Draft::new("other", "x".to_owned());
    for error in [store.save(&other).unwrap_err(), store.delete("none").unwrap_err()] {
        assert_eq!(error.kind(), &ErrorKind::PermissionDenied);
        assert_eq!(error.path(), Some(path(&rejected).as_path()), "{error}");
    }
    assert_eq!(names(&fs.inner).len(), 4, "identity, lock, old and rejected: nothing is staged");
    fs.fail_all(None, 0);
    store.save(&other).unwrap();
    drop(store);
    assert_eq!(latest(&open(&fs.inner), "t").as_deref(), Some("old"));
}

#[test]
fn a_change_without_anything_to_do_ends_a_failed_rename_durably() {
    let (fs, store) = prepared();
    fs.fail(4, EIO);
    in_flight(&store).unwrap_err();
    assert!(!store.delete("none").unwrap());
    assert_eq!(fs.log().last(), Some(&Op::SyncDir));
}

#[test]
fn temporary_files_of_a_dead_process_are_swept_and_no_others() {
    let fs = MemoryFs::new();
    drop(open(&fs));
    let temp = crate::checkpoint::name::temporary([3; 16]);
    for name in [temp.as_str(), ".alpha.bin.3f2b.tmp", "tmp-x.dck"] {
        put(&fs, name, b"half");
    }
    let store = open(&fs);
    let left = ["identity.dck", "lock.dck", ".alpha.bin.3f2b.tmp", "tmp-x.dck"];
    let mut left: Vec<String> = left.map(str::to_owned).into();
    left.sort();
    assert_eq!(names(&fs), left);
    assert_eq!(store.counters().get("dashstream_checkpoint_swept_temp_files_total", ""), 1);
}

#[test]
fn a_failed_delete_is_told_and_its_retry_makes_it_durable() {
    let (fs, store) = prepared();
    let id = ids(&store, "t").remove(0);
    fs.fail_all(Some("remove"), EACCES);
    let error = store.delete(&id).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::PermissionDenied);
    assert_eq!(store.load(&id).unwrap().state, "old");
    fs.fail_all(Some("sync_dir"), EIO);
    assert_eq!(store.delete(&id).unwrap_err().kind(), &ErrorKind::Io);
    assert_eq!(store.load(&id).unwrap_err().kind(), &ErrorKind::NotFound);
    // until a directory sync succeeds nobody is told that it is gone
    assert_eq!(store.delete(&id).unwrap_err().kind(), &ErrorKind::Io);
    fs.fail_all(None, 0);
    let before = fs.log().len();
    assert!(!store.delete(&id).unwrap());
    assert_eq!(fs.log().split_off(before), [Op::SyncDir]);
}

#[test]
fn what_is_only_unreadable_now_is_not_passed_over() {
    let (fs, store) = prepared();
    save(&store, "t", "new");
    fs.fail_all(Some("read"), EMFILE);
    assert_eq!(store.latest("t").unwrap_err().kind(), &ErrorKind::Io);
    fs.fail_all(None, 0);
    assert_eq!(latest(&store, "t").unwrap(), "new");
}

#[test]
fn a_full_disk_keeps_nothing_from_being_opened_and_read() {
    let (fs, store) = prepared();
    drop(store);
    fs.fail_all(Some("create"), ENOSPC);
    let store = Store::<String>::open(Arc::new(fs.clone()), "/c", options(8)).unwrap();
    assert_eq!(latest(&store, "t").unwrap(), "old");
    let failed = "dashstream_checkpoint_index_write_failures_total";
    assert_eq!(store.counters().get(failed, ""), 1);
}

#[test]
fn an_open_makes_durable_what_it_shows_before_it_answers() {
    let (fs, store) = prepared();
    drop(store);
    let before = fs.log().len();
    let store = open_on(fs.clone(), options(8));
    assert_eq!(fs.log().get(before), Some(&Op::SyncDir));
    drop(store);
    fs.fail_all(Some("sync_dir"), EIO);
    let error = Store::<String>::open(Arc::new(fs.clone()), "/c", options(9)).unwrap_err();
    assert_eq!((error.kind(), error.path()), (&ErrorKind::Io, Some(Path::new("/c"))));
    fs.fail_all(None, 0);
    assert_eq!(latest(&open_on(fs, options(9)), "t").as_deref(), Some("old"));
}

#[test]
fn a_directory_that_may_not_be_synced_is_opened_and_no_change_is_said_to_be_durable() {
    for errno in [EACCES, EROFS] {
        let (fs, store) = prepared();
        drop(store);
        fs.fail_all(Some("sync_dir"), errno);
        let store = open_on(fs.clone(), options(8));
        assert_eq!(latest(&store, "t").as_deref(), Some("old"));
        assert_eq!(store.delete("none").unwrap_err().kind(), &ErrorKind::PermissionDenied);
        fs.fail_all(None, 0);
        assert!(!store.delete("none").unwrap());
    }
}

#[test]
fn retention_behind_a_save_does_not_unsay_its_ok() {
    let fs = FaultyFs::default();
    let store = open_on(fs.clone(), options(7).keep_newest(keep(1)));
    save(&store, "t", "1");
    fs.fail_all(Some("remove"), EIO);
    save(&store, "t", "2");
    let failed = "dashstream_checkpoint_delete_failures_total";
    assert_eq!(store.counters().get(failed, "io"), 1);
    fs.fail_all(None, 0);
    save(&store, "t", "3");
    assert_eq!((ids(&store, "t").len(), latest(&store, "t").as_deref()), (1, Some("3")));
}
