use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::checkpoint::{Compression, ErrorKind, Schema, Value};

fn variants() -> [Options; 4] {
    [
        options(1),
        options(1).compression(Compression::Zstd(3)),
        options(1).schema(Schema::new(9)),
        options(1).schema(Schema::new(9)).compression(Compression::Zstd(-1)),
    ]
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Phase {
    Idle,
    Running(u32),
    Pair(u8, String),
    Paused { at: i64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    count: u64,
    total: i64,
    ratio: f64,
    weight: f32,
    grade: char,
    note: Option<String>,
    by_number: BTreeMap<i16, Vec<u8>>,
    phase: Phase,
}

fn states() -> impl Strategy<Value = State> {
    let phase = prop_oneof![
        Just(Phase::Idle),
        any::<u32>().prop_map(Phase::Running),
        any::<(u8, String)>().prop_map(|(a, b)| Phase::Pair(a, b)),
        any::<i64>().prop_map(|at| Phase::Paused { at }),
    ];
    let rest = any::<(u64, i64, f64, f32, char, Option<String>, BTreeMap<i16, Vec<u8>>)>();
    (rest, phase).prop_map(|((count, total, ratio, weight, grade, note, by_number), phase)| State {
        count,
        total,
        ratio,
        weight,
        grade,
        note,
        by_number,
        phase,
    })
}

proptest! {
    #[test]
    fn every_variant_gives_back_any_state_and_reads_the_files_of_every_other(state in states()) {
        let fs = MemoryFs::new();
        let mut saved = Vec::new();
        for options in variants() {
            let schema = Schema::new(9).migrate(1, Ok).migrate(2, Ok).migrate(3, Ok)
                .migrate(4, Ok).migrate(5, Ok).migrate(6, Ok).migrate(7, Ok).migrate(8, Ok);
            let store = Store::<State>::open(Arc::new(fs.clone()), "/c", options).unwrap();
            saved.push(store.save(&Draft::new("t", state.clone())).unwrap().id);
            drop(store);
            let options = super::options(2).schema(schema);
            let store = Store::<State>::open(Arc::new(fs.clone()), "/c", options).unwrap();
            for id in &saved {
                // NaN is not equal to itself
                let back = store.load(id).unwrap().state;
                prop_assert_eq!(format!("{back:?}"), format!("{state:?}"));
            }
        }
    }
}

#[test]
fn nan_and_infinity_survive() {
    for options in variants() {
        let store = Store::<f64>::open(Arc::new(MemoryFs::new()), "/c", options).unwrap();
        for state in [f64::NAN, f64::INFINITY, -0.0] {
            let id = store.save(&Draft::new("t", state)).unwrap().id;
            assert_eq!(store.load(&id).unwrap().state.to_bits(), state.to_bits());
        }
    }
}

#[test]
fn an_older_schema_goes_through_every_step_and_a_newer_one_is_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        full_name: String,
        age: u64,
    }
    let fs = MemoryFs::new();
    let old = Store::<BTreeMap<String, String>>::open(Arc::new(fs.clone()), "/c", options(1));
    let old = old.unwrap();
    let state = BTreeMap::from([("name".to_owned(), "Ada".to_owned())]);
    let id = old.save(&Draft::new("t", state)).unwrap().id;
    drop(old);

    let schema = |steps: bool| {
        let schema = Schema::new(3).migrate(1, |mut value| {
            let name = value.remove("name").ok_or("no name")?;
            value.set("full_name", name);
            Ok(value)
        });
        if !steps {
            return schema;
        }
        schema.migrate(2, |mut value| {
            value.set("age", Value::Unsigned(36));
            Ok(value)
        })
    };
    let open =
        |schema| Store::<New>::open(Arc::new(fs.clone()), "/c", options(2).schema(schema)).unwrap();
    let store = open(schema(true));
    let new = New { full_name: "Ada".into(), age: 36 };
    assert_eq!(store.load(&id).unwrap().state, new);
    assert_eq!(store.load(&id).unwrap().info.schema, 1, "the file is as it was");
    let newer = store.save(&Draft::new("t", new)).unwrap().id;
    drop(store);

    let store = open(schema(false));
    let failed = ErrorKind::MigrationFailed { from: 2, to: 3 };
    assert_eq!(store.load(&id).unwrap_err().kind(), &failed);
    drop(store);

    let store = open(Schema::new(2));
    let mismatch = ErrorKind::SchemaMismatch { found: 3, supported: 2 };
    assert_eq!(store.load(&newer).unwrap_err().kind(), &mismatch);
    assert_eq!(store.latest("t").unwrap_err().kind(), &mismatch);
}

#[test]
fn a_state_whose_type_does_not_read_what_it_writes_is_refused_before_anything_is_written() {
    #[derive(Debug, Serialize, Deserialize)]
    struct OneWay {
        #[serde(rename(serialize = "out"))]
        within: u8,
    }
    let fs = MemoryFs::new();
    let store = Store::<OneWay>::open(Arc::new(fs.clone()), "/c", options(1)).unwrap();
    let error = store.save(&Draft::new("t", OneWay { within: 1 })).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::SerializationFailed);
    assert!(files(&fs).is_empty());
    assert_eq!(store.counters().get("dashstream_checkpoint_written_bytes_total", ""), 0);
}

#[test]
fn a_large_state_is_verified_while_it_is_written_and_leaves_nothing_when_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Large {
        #[serde(rename(serialize = "out"))]
        within: String,
    }
    let fs = MemoryFs::new();
    let store = Store::<Large>::open(Arc::new(fs.clone()), "/c", options(1)).unwrap();
    let before = names(&fs);
    let error = store.save(&Draft::new("t", Large { within: "x".repeat(1 << 20) })).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::SerializationFailed);
    assert_eq!(names(&fs), before);
    let store = open(&MemoryFs::new());
    let large = "y".repeat(1 << 20);
    save(&store, "t", &large);
    save(&store, "t", "small, in the buffer of the large one");
    assert_eq!(store.load(&ids(&store, "t")[1]).unwrap().state, large);
}

#[test]
fn a_state_of_another_type_is_an_error_and_no_older_one_is_given() {
    let fs = MemoryFs::new();
    let numbers = Store::<u8>::open(Arc::new(fs.clone()), "/c", options(1)).unwrap();
    numbers.save(&Draft::new("t", 1)).unwrap();
    drop(numbers);
    let store = open(&fs);
    assert_eq!(store.latest("t").unwrap_err().kind(), &ErrorKind::DeserializationFailed);
}

#[test]
fn version_1_files_are_older_than_every_generation_and_stay_as_they_are() {
    // a bare payload: {id, thread, state, node, timestamp, parent, metadata}
    let text = |t: &str| [&(t.len() as u64).to_le_bytes()[..], t.as_bytes()].concat();
    let old = |id: &str, secs: u64, state: &str| {
        let time = [&secs.to_le_bytes()[..], &[0; 4]].concat();
        let rest = [vec![0], 0_u64.to_le_bytes().to_vec()].concat();
        [text(id), text("t"), text(state), text("n"), time, rest].concat()
    };
    let fs = MemoryFs::new();
    drop(open(&fs));
    put(&fs, "a.bin", &old("a", 9_000_000_000, "late"));
    put(&fs, "b.bin", &old("b", 1, "early"));
    let store = open(&fs);
    assert_eq!(
        (ids(&store, "t"), latest(&store, "t").as_deref()),
        (vec!["a".to_owned(), "b".to_owned()], Some("late"))
    );
    let new = save(&store, "t", "new");
    assert_eq!((new.generation, latest(&store, "t").as_deref()), (1, Some("new")));
    let taken = store.save(&Draft::new("t", String::new()).id("a")).unwrap_err();
    assert_eq!(taken.kind(), &ErrorKind::AlreadyExists);
    store.close();
    let store = open(&fs);
    assert_eq!(ids(&store, "t"), [new.id, "a".to_owned(), "b".to_owned()]);
    assert_eq!(store.retain(keep(2)).unwrap(), 1);
    assert_eq!(names(&fs).iter().filter(|n| *n == "a.bin" || *n == "b.bin").count(), 1);
}
