use std::sync::Arc;

use super::*;
use crate::checkpoint::{Compression, ErrorKind, IndexDamage};

/// Two checkpoints of `t`, one of `u`, and the index.
fn directory() -> MemoryFs {
    let fs = MemoryFs::new();
    let store = open(&fs);
    save(&store, "u", "other");
    save(&store, "t", "older");
    store.save(&Draft::new("t", "newest".to_owned()).id("newest")).unwrap();
    store.close();
    fs
}

fn corrupt_files(store: &Store<String>) -> u64 {
    let all = store.counters().all();
    all.iter().filter(|(s, ..)| s.contains("corrupt_files")).map(|(.., n)| n).sum()
}

fn index_damage(store: &Store<String>, damage: IndexDamage) -> u64 {
    store.counters().get("dashstream_checkpoint_index_damage_total", damage.as_str())
}

/// The newest file was damaged: its thread falls back, nothing else changes.
fn assert_newest_is_lost(fs: &MemoryFs, what: &str) {
    let store = open(fs);
    assert_eq!(latest(&store, "t").as_deref(), Some("older"), "{what}");
    let error = store.load("newest").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::IntegrityCheckFailed, "{what}: {error}");
    assert!(error.path().is_some() && error.checkpoint_id() == Some("newest"));
    assert_eq!(latest(&store, "u").as_deref(), Some("other"), "{what}");
    assert_eq!(corrupt_files(&store), 1, "{what}");
    save(&store, "t", "next");
    assert_eq!(latest(&store, "t").as_deref(), Some("next"), "{what}");
}

#[test]
fn any_flipped_bit_and_any_cut_of_the_newest_file_is_found_with_and_without_the_index() {
    for index in [true, false] {
        let reference = directory();
        let newest = files(&reference).pop().unwrap();
        let whole = bytes(&reference, &newest);
        for at in 0..whole.len() * 2 {
            let fs = directory();
            if !index {
                fs.remove(&path("index.dck")).unwrap();
            }
            let damaged = if let Some(cut) = at.checked_sub(whole.len()) {
                whole[..cut].to_vec()
            } else {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << (at % 8);
                damaged
            };
            put(&fs, &newest, &damaged);
            assert_newest_is_lost(&fs, &format!("index {index}, at {at}"));
        }
    }
}

#[test]
fn garbage_stray_bytes_zeros_and_a_missing_file_are_found() {
    let reference = directory();
    let newest = files(&reference).pop().unwrap();
    let whole = bytes(&reference, &newest);
    let longer = [whole.as_slice(), b"x"].concat();
    let other = bytes(&reference, &files(&reference)[0]);
    for damaged in [vec![0; whole.len()], vec![255; whole.len()], longer, other, Vec::new()] {
        let fs = directory();
        put(&fs, &newest, &damaged);
        assert_newest_is_lost(&fs, &format!("{} bytes", damaged.len()));
    }
    let fs = directory();
    fs.remove(&path(&newest)).unwrap();
    fs.create_dir(&path(&newest)).unwrap();
    assert_newest_is_lost(&fs, "a directory");
}

#[test]
fn garbage_behind_a_file_that_makes_it_longer_than_any_state_hides_nothing_older() {
    for index in [true, false] {
        let fs = directory();
        let newest = files(&fs).pop().unwrap();
        let mut longer = bytes(&fs, &newest);
        longer.resize(longer.len() + (2 << 20), 0);
        put(&fs, &newest, &longer);
        if !index {
            fs.remove(&path("index.dck")).unwrap();
        }
        let store = open_on(fs, options(7).max_state(1 << 20));
        assert_eq!(latest(&store, "t").as_deref(), Some("older"));
        let error = store.load("newest").unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::IntegrityCheckFailed, "{error}");
        let reason = "dashstream_checkpoint_corrupt_files_total";
        assert_eq!(store.counters().get(reason, "trailing"), 1);
    }
}

#[test]
fn a_stray_name_at_the_end_of_the_order_is_damage_and_stops_no_save() {
    let fs = directory();
    let zeros = "0".repeat(32);
    put(&fs, &format!("3fffffffffffffff-{zeros}-{zeros}-00000000.dck"), b"");
    for round in 0..3 {
        let store = open(&fs);
        assert_eq!(corrupt_files(&store), 1, "round {round}");
        let info = save(&store, "t", "next");
        assert_eq!(info.generation, 4 + round);
        assert_eq!(latest(&store, "t").as_deref(), Some("next"));
    }
}

#[test]
fn a_damaged_file_keeps_its_generation_to_itself() {
    let fs = directory();
    put(&fs, &files(&fs).pop().unwrap(), b"");
    assert_eq!(save(&open(&fs), "t", "next").generation, 4);
}

#[test]
fn an_intact_file_that_is_longer_than_any_state_is_refused_and_not_passed_over() {
    let fs = directory();
    let store = open_on(fs.clone(), options(7).compression(Compression::None));
    save(&store, "t", &"long".repeat(1 << 20));
    store.close();
    let store = open_on(fs, options(7).max_state(16));
    assert_eq!(store.latest("t").unwrap_err().kind(), &ErrorKind::Oversize);
    assert_eq!(corrupt_files(&store), 0);
}

#[test]
fn a_thread_of_which_everything_is_damaged_is_an_error_and_not_nothing() {
    let fs = directory();
    for name in files(&fs).split_off(1) {
        put(&fs, &name, b"DCHK");
    }
    let store = open(&fs);
    let error = store.latest("t").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::IntegrityCheckFailed);
    assert_eq!(latest(&store, "u").as_deref(), Some("other"));
    assert_eq!(store.delete_thread("t").unwrap(), 2);
    assert_eq!(latest(&store, "t"), None);
}

#[test]
fn damage_is_counted_once_however_often_it_is_met() {
    let fs = directory();
    let newest = files(&fs).pop().unwrap();
    let mut damaged = bytes(&fs, &newest);
    *damaged.last_mut().unwrap() ^= 1;
    put(&fs, &newest, &damaged);
    let store = open(&fs);
    for _ in 0..3 {
        latest(&store, "t");
        store.load("newest").unwrap_err();
    }
    assert_eq!(corrupt_files(&store), 1);
    let reason = "dashstream_checkpoint_corrupt_files_total";
    assert_eq!(store.counters().get(reason, "payload_crc"), 1);
}

/// All answers of a store.
fn answers(store: &Store<String>) -> impl PartialEq + std::fmt::Debug + use<> {
    let threads = store.list_threads();
    let lists: Vec<_> = threads.iter().map(|t| store.list(&t.thread_id)).collect();
    let latest: Vec<_> = threads.iter().map(|t| latest(store, &t.thread_id)).collect();
    (threads, lists, latest, store.load("newest").map(|c| c.state).ok())
}

/// Opens a directory twice: the answers are right, the damage is counted, and then it is gone.
fn assert_index_is_repaired(fs: &MemoryFs, damage: Option<IndexDamage>, what: &str) {
    let right = answers(&open(&directory()));
    let store = open(fs);
    assert_eq!(answers(&store), right, "{what}");
    let counted: Vec<IndexDamage> =
        IndexDamage::ALL.into_iter().filter(|d| index_damage(&store, *d) > 0).collect();
    match damage {
        Some(damage) => assert_eq!(counted, [damage], "{what}"),
        None => assert!(!counted.is_empty(), "{what}"),
    }
    drop(store);
    let store = open(fs);
    assert!(IndexDamage::ALL.into_iter().all(|d| index_damage(&store, d) == 0), "{what}");
    assert_eq!(answers(&store), right, "{what}");
}

#[test]
fn any_flipped_bit_and_any_cut_of_the_index_changes_no_answer() {
    let whole = bytes(&directory(), "index.dck");
    for at in 0..whole.len() * 2 {
        let fs = directory();
        let mut damaged = whole.clone();
        match at.checked_sub(whole.len()) {
            Some(cut) => damaged.truncate(cut),
            None => damaged[at] ^= 1 << (at % 8),
        }
        put(&fs, "index.dck", &damaged);
        assert_index_is_repaired(&fs, None, &format!("at {at}"));
    }
}

#[test]
fn a_missing_stale_dangling_foreign_newer_or_garbage_index_is_told_and_repaired() {
    let fs = directory();
    fs.remove(&path("index.dck")).unwrap();
    assert_index_is_repaired(&fs, Some(IndexDamage::Missing), "missing");

    let fs = MemoryFs::new();
    let store = open(&fs);
    save(&store, "u", "other");
    store.close();
    let stale = bytes(&fs, "index.dck");
    let fs = directory();
    put(&fs, "index.dck", &stale);
    assert_index_is_repaired(&fs, Some(IndexDamage::Stale), "stale");

    let fs = directory();
    let store = open(&fs);
    let extra = save(&store, "t", "extra");
    store.close();
    let newer = bytes(&fs, "index.dck");
    fs.remove(&path(&files(&fs).pop().unwrap())).unwrap();
    put(&fs, "index.dck", &newer);
    assert_eq!(open(&fs).load(&extra.id).unwrap_err().kind(), &ErrorKind::NotFound);
    put(&fs, "index.dck", &newer);
    assert_index_is_repaired(&fs, Some(IndexDamage::Dangling), "dangling");

    let other = MemoryFs::new();
    let store = open_on(other.clone(), options(99));
    save(&store, "t", "elsewhere");
    store.close();
    let fs = directory();
    put(&fs, "index.dck", &bytes(&other, "index.dck"));
    assert_index_is_repaired(&fs, Some(IndexDamage::Foreign), "foreign");

    let fs = directory();
    let mut newer = bytes(&fs, "index.dck");
    newer[4] = 3;
    put(&fs, "index.dck", &newer);
    assert_index_is_repaired(&fs, Some(IndexDamage::Newer), "newer");

    let fs = directory();
    put(&fs, "index.dck", b"{}");
    assert_index_is_repaired(&fs, Some(IndexDamage::Corrupt), "garbage");

    let fs = directory();
    fs.remove(&path("index.dck")).unwrap();
    fs.create_dir(&path("index.dck")).unwrap();
    let store = open(&fs);
    assert_eq!(answers(&store), answers(&open(&directory())));
}

#[test]
fn a_newer_format_is_refused_by_name_hides_nothing_older_and_is_never_removed() {
    let fs = directory();
    let newest = files(&fs).pop().unwrap();
    let mut newer = bytes(&fs, &newest);
    newer[4] = 3;
    newer[20..].reverse();
    put(&fs, &newest, &newer);
    let store = open(&fs);
    let mismatch = ErrorKind::SchemaMismatch { found: 3, supported: 2 };
    assert_eq!(store.load("newest").unwrap_err().kind(), &mismatch);
    // resuming from the older one would be wrong
    assert_eq!(store.latest("t").unwrap_err().kind(), &mismatch);
    assert_eq!(latest(&store, "u").as_deref(), Some("other"));
    assert_eq!(store.delete("newest").unwrap_err().kind(), &mismatch);
    assert_eq!(store.delete_thread("t").unwrap_err().kind(), &mismatch);
    save(&store, "t", "next");
    assert_eq!(latest(&store, "t").as_deref(), Some("next"));
    store.retain(keep(1)).unwrap();
    assert_eq!(bytes(&fs, &newest), newer);
    assert_eq!(corrupt_files(&store), 0);
}

#[test]
fn any_bytes_under_a_checkpoints_name_are_a_typed_error() {
    let reference = directory();
    let newest = files(&reference).pop().unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..500 {
        let fs = directory();
        let mut garbage = bytes(&reference, &newest);
        let len = garbage.len();
        let from = random.usize(0..len);
        random.fill(&mut garbage[from..]);
        put(&fs, &newest, &garbage);
        let store = Store::<String>::open(Arc::new(fs), "/c", options(1)).unwrap();
        store.load("newest").unwrap_err();
        assert_eq!(latest(&store, "u").as_deref(), Some("other"));
    }
}
