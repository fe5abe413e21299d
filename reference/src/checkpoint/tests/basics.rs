use std::sync::Arc;

use super::*;
use crate::checkpoint::{ErrorKind, Health, MAX_STATE, Role, inspect};

#[test]
fn what_was_saved_is_loaded_by_id_and_as_latest_after_a_reopen() {
    let fs = MemoryFs::new();
    let store = open(&fs);
    let draft = Draft::new("t", "1".to_owned()).node("n").parent_id("p").metadata("k", "v");
    let a = store.save(&draft).unwrap();
    let b = save(&store, "t", "2");
    let check = |store: &Store<String>| {
        assert_eq!(store.load(&a.id).unwrap().info, a);
        assert_eq!(latest(store, "t").unwrap(), "2");
        assert_eq!(store.list("t"), [b.clone(), a.clone()]);
        assert_eq!(store.latest("other").unwrap(), None);
        assert_eq!(store.load("other").unwrap_err().kind(), &ErrorKind::NotFound);
    };
    check(&store);
    drop(store); // no index
    check(&open(&fs));
    open(&fs).close();
    check(&open(&fs));
}

#[test]
fn order_is_that_of_the_saves_whatever_the_clock_says() {
    let fs = MemoryFs::new();
    let store = open(&fs);
    let first = save(&store, "t", "1");
    let second = save(&store, "t", "2");
    assert!(second.timestamp < first.timestamp && second.generation > first.generation);
    save(&store, "u", "3");
    drop(store);
    let store = open(&fs);
    assert_eq!(latest(&store, "t").unwrap(), "2");
    let threads: Vec<String> = store.list_threads().into_iter().map(|t| t.thread_id).collect();
    assert_eq!(threads, ["u", "t"]);
}

#[test]
fn hostile_ids_and_threads_are_kept_apart_and_shape_no_path() {
    let long = "x".repeat(300);
    let hostile = [
        "../x",
        "/etc/passwd",
        "",
        &long,
        "index",
        "index.dck",
        "a\0b",
        "Twin",
        "twin",
        "CON",
        "nul.txt",
        "a/b\\c",
        ".",
        "..",
        "e\u{301}",
        "é",
    ];
    let fs = MemoryFs::new();
    let store = open(&fs);
    for name in hostile {
        store.save(&Draft::new(name, name.to_owned()).id(name)).unwrap();
    }
    drop(store);
    let store = open(&fs);
    for name in hostile {
        assert_eq!(store.load(name).unwrap().state, name);
        assert_eq!(latest(&store, name).unwrap(), name);
        assert_eq!(ids(&store, name), [name]);
    }
    assert_eq!(files(&fs).len(), hostile.len());
    assert!(files(&fs).iter().all(|n| n.len() == 95));
}

#[test]
fn an_id_that_is_there_is_refused_and_nothing_is_replaced() {
    let fs = MemoryFs::new();
    let store = open(&fs);
    let draft = |state: &str| Draft::new("t", state.to_owned()).id("mine");
    store.save(&draft("1")).unwrap();
    let error = store.save(&draft("2")).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::AlreadyExists);
    assert_eq!((error.thread_id(), error.checkpoint_id()), (Some("t"), Some("mine")));
    assert_eq!(store.load("mine").unwrap().state, "1");
    assert!(store.delete("mine").unwrap());
    store.save(&draft("3")).unwrap();
    assert_eq!(store.load("mine").unwrap().state, "3");
}

#[test]
fn fields_over_their_limit_are_refused() {
    let store = open(&MemoryFs::new());
    let error = store.save(&Draft::new("t", String::new()).id("x".repeat(1 << 20))).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidId);
    assert!(error.to_string().len() < 400, "{error}");
    let store = open_on(MemoryFs::new(), options(1).max_state(10));
    let error = store.save(&Draft::new("t", "0123456789".to_owned())).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Oversize);
    save(&store, "t", "012345678");
}

#[test]
fn a_second_store_is_told_who_holds_the_directory_and_a_gone_one_blocks_nobody() {
    let fs = MemoryFs::new();
    let first = open_on(fs.clone(), options(1).holder("the first"));
    let second = Store::<String>::open(Arc::new(fs.clone()), "/c", options(2));
    let error = second.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Locked { holder: "the first".into() });
    assert!(error.to_string().contains("in use by the first"), "{error}");
    drop(first);
    open(&fs);
}

#[test]
fn the_same_seeds_make_the_same_bytes() {
    let run = || {
        let fs = MemoryFs::new();
        let store = open(&fs);
        save(&store, "t", "1");
        save(&store, "u", "2");
        store.close();
        names(&fs).into_iter().map(|n| (n.clone(), bytes(&fs, &n))).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn deletes_say_what_there_was_and_stay_deleted() {
    let fs = MemoryFs::new();
    let store = open(&fs);
    let a = save(&store, "t", "1");
    for state in ["2", "3"] {
        save(&store, "t", state);
    }
    save(&store, "u", "4");
    assert!(store.delete(&a.id).unwrap());
    assert!(!store.delete(&a.id).unwrap());
    assert_eq!(store.delete_thread("t").unwrap(), 2);
    assert_eq!(store.delete_thread("t").unwrap(), 0);
    let check = |store: &Store<String>| {
        assert_eq!((latest(store, "t"), latest(store, "u").as_deref()), (None, Some("4")));
        assert_eq!(store.list_threads().len(), 1);
    };
    check(&store);
    assert_eq!(store.counters().get("dashstream_checkpoint_deletes_total", "request"), 3);
    drop(store);
    check(&open(&fs));
}

#[test]
fn retention_keeps_the_newest_of_each_thread() {
    let fs = MemoryFs::new();
    let store = open_on(fs.clone(), options(7).keep_newest(keep(2)));
    for n in 0..5 {
        save(&store, "t", &n.to_string());
        save(&store, "u", &n.to_string());
    }
    assert_eq!((ids(&store, "t").len(), latest(&store, "t").as_deref()), (2, Some("4")));
    assert_eq!(files(&fs).len(), 4);
    assert_eq!(store.retain(keep(1)).unwrap(), 2);
    assert_eq!(store.retain(keep(1)).unwrap(), 0);
    assert_eq!(latest(&store, "u").unwrap(), "4");
    assert_eq!(store.counters().get("dashstream_checkpoint_deletes_total", "retention"), 8);
}

#[test]
fn retention_never_removes_the_newest_that_can_be_loaded() {
    let fs = MemoryFs::new();
    let store = open(&fs);
    for state in ["1", "2", "3"] {
        save(&store, "t", state);
    }
    let newest = files(&fs).pop().unwrap();
    let mut damaged = bytes(&fs, &newest);
    *damaged.last_mut().unwrap() ^= 1;
    put(&fs, &newest, &damaged);
    assert_eq!(store.retain(keep(1)).unwrap(), 1);
    assert_eq!(latest(&store, "t").unwrap(), "2");
}

#[test]
fn verify_and_inspect_tell_the_health_of_every_file() {
    let fs = MemoryFs::new();
    let store = open(&fs);
    let a = save(&store, "t", "1");
    save(&store, "t", "2");
    store.close();
    let newest = files(&fs).pop().unwrap();
    let mut damaged = bytes(&fs, &newest);
    *damaged.last_mut().unwrap() ^= 1;
    put(&fs, &newest, &damaged);
    put(&fs, "notes.txt", b"?");
    let store = open(&fs);
    let by_type = store.verify().unwrap();
    let without = inspect(&fs, std::path::Path::new("/c"), MAX_STATE).unwrap();
    for reports in [by_type, without] {
        let summary: Vec<_> = reports
            .iter()
            .map(|r| (r.role, r.health, r.reason.as_ref().map(|(reason, _)| *reason)))
            .collect();
        assert_eq!(
            summary,
            [
                (Role::Checkpoint, Health::Healthy, None),
                (Role::Checkpoint, Health::Damaged, Some("payload_crc")),
                (Role::Housekeeping, Health::Healthy, None),
                (Role::Index, Health::Healthy, None),
                (Role::Housekeeping, Health::Healthy, None),
                (Role::Foreign, Health::Healthy, None),
            ]
        );
        assert_eq!(reports[0].info.as_ref(), Some(&a));
        assert_eq!((reports[0].format, reports[0].variant), (Some(2), Some("plain")));
    }
}

#[test]
fn verify_and_inspect_tell_a_broken_name_of_the_directory() {
    let broken: [fn(&mut Vec<u8>); 3] =
        [|bytes| bytes[3] ^= 1, |bytes| bytes.truncate(9), |bytes| bytes.extend([0; 100])];
    for change in broken {
        let fs = MemoryFs::new();
        let store = open(&fs);
        save(&store, "t", "1");
        let identity = |reports: Vec<crate::checkpoint::FileReport>| {
            let report = reports.into_iter().find(|report| report.name == "identity.dck");
            report.map(|report| (report.health, report.reason.map(|(reason, _)| reason)))
        };
        assert_eq!(identity(store.verify().unwrap()), Some((Health::Healthy, None)));
        let mut bytes = bytes(&fs, "identity.dck");
        change(&mut bytes);
        put(&fs, "identity.dck", &bytes);
        let ill = Some((Health::Damaged, Some("corrupt")));
        assert_eq!(identity(store.verify().unwrap()), ill);
        assert_eq!(identity(inspect(&fs, std::path::Path::new("/c"), MAX_STATE).unwrap()), ill);
    }
}

#[test]
fn inspect_holds_no_more_than_it_may_and_tells_a_long_state_from_what_was_put_behind_one() {
    let fs = MemoryFs::new();
    let store = open(&fs);
    save(&store, "t", &"long".repeat(1 << 16));
    save(&store, "t", "short");
    let mut short = bytes(&fs, &files(&fs)[1]);
    short.resize(short.len() + (1 << 18), 0);
    put(&fs, &files(&fs)[1].clone(), &short);
    let reports = inspect(&fs, std::path::Path::new("/c"), 64).unwrap();
    let told: Vec<_> = reports
        .iter()
        .filter(|report| report.role == Role::Checkpoint)
        .map(|report| (report.health, report.reason.as_ref().map(|(reason, _)| *reason)))
        .collect();
    let long = (Health::Refused, Some("oversize"));
    assert_eq!(told, [long, (Health::Damaged, Some("trailing"))]);
}

#[test]
fn inspect_finds_the_thread_of_a_file_whose_header_is_broken_by_its_name() {
    let fs = MemoryFs::new();
    let store = open(&fs);
    save(&store, "t", "1");
    save(&store, "t", "2");
    put(&fs, &files(&fs)[1].clone(), b"broken");
    let reports = inspect(&fs, std::path::Path::new("/c"), MAX_STATE).unwrap();
    assert_eq!((reports[1].health, &reports[1].info), (Health::Damaged, &None));
    assert_eq!((reports[1].thread.as_deref(), reports[1].generation), (Some("t"), Some(2)));
}
