//! What canonical JSON is, type by type, and what has none.

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::{Error as _, SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::state::{
    DegradeReason, DiffConfig, StateError, StateErrorKind, canonical_json, state_hash,
};

fn text<S: Serialize + ?Sized>(state: &S) -> String {
    String::from_utf8(canonical_json(state, &DiffConfig::default()).unwrap()).unwrap()
}

fn error<S: Serialize + ?Sized>(state: &S) -> StateError {
    canonical_json(state, &DiffConfig::default()).unwrap_err()
}

/// Arrays in arrays, so many levels.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inner, _| json!([inner]))
}

#[derive(Serialize)]
enum Kind {
    Unit,
    Newtype(u8),
    Tuple(u8, String),
    Struct { z: Option<u8>, a: () },
}

#[derive(Serialize)]
struct Pair(i8, char);

#[derive(Serialize)]
struct Wrapped(&'static str);

#[test]
fn every_kind_of_value_is_written_as_serde_json_writes_it_but_for_the_order_of_keys() {
    let kinds =
        [Kind::Unit, Kind::Newtype(1), Kind::Tuple(2, "x".into()), Kind::Struct { z: None, a: () }];
    assert_eq!(
        text(&kinds),
        r#"["Unit",{"Newtype":1},{"Tuple":[2,"x"]},{"Struct":{"a":null,"z":null}}]"#
    );
    assert_eq!(text(&(Pair(-1, 'é'), Wrapped("w"), Some(()))), r#"[[-1,"é"],"w",null]"#);
    let strings = "\u{0}\u{8}\t\n\u{c}\r\u{1f}\"\\/\u{7f}é𝄞";
    assert_eq!(text(strings), serde_json::to_string(strings).unwrap());
}

#[test]
fn numbers_keep_their_whole_range_and_serde_jsons_form() {
    let integers = (u64::MAX, i64::MIN, i64::MAX, 0_u8, i128::from(i64::MIN), u128::from(u64::MAX));
    assert_eq!(text(&integers), serde_json::to_string(&integers).unwrap());
    let floats = [0.0, -0.0, 0.1, 1e15, 1e16, 1e17, 1e-7, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0];
    assert_eq!(text(&floats), serde_json::to_string(&floats).unwrap());
    assert_eq!(text(&-0.0), "-0.0");
}

#[test]
fn a_32_bit_float_has_the_text_that_its_readers_will_write_again() {
    for float in [0.1_f32, 1e15, 1e14, 16_777_216.0, f32::MAX, f32::MIN_POSITIVE, -0.0] {
        let read: Value = serde_json::from_str(&serde_json::to_string(&float).unwrap()).unwrap();
        assert_eq!(text(&float), read.to_string());
    }
}

#[test]
fn keys_are_sorted_by_the_bytes_of_the_string_and_not_of_its_escapes() {
    let state = json!({"b": 1, "\u{1}": 2, "\"": 3, "": 4, "é": 5, "\\": 6, "a": 7, "ab": 8});
    let keys = [
        "\"\":4",
        "\"\\u0001\":2",
        "\"\\\"\":3",
        "\"\\\\\":6",
        "\"a\":7",
        "\"ab\":8",
        "\"b\":1",
        "\"é\":5",
    ];
    assert_eq!(text(&state), format!("{{{}}}", keys.join(",")));
}

#[test]
fn integers_bools_chars_and_unit_variants_are_keys_and_nothing_else_but_strings_is() {
    assert_eq!(text(&BTreeMap::from([(10, 0), (9, 0)])), r#"{"10":0,"9":0}"#);
    assert_eq!(text(&BTreeMap::from([(true, 0)])), r#"{"true":0}"#);
    assert_eq!(text(&BTreeMap::from([('x', 0)])), r#"{"x":0}"#);
    assert_eq!(text(&BTreeMap::from([(Some("some"), 0)])), r#"{"some":0}"#);
    for bad in [
        error(&BTreeMap::from([((1, 2), 0)])),
        error(&BTreeMap::from([(vec![1], 0)])),
        error(&BTreeMap::from([((), 0)])),
        error(&BTreeMap::from([(None::<u8>, 0)])),
        error(&json!([1]).as_array().map(|_| FloatKey).unwrap()),
    ] {
        assert_eq!(bad.reason(), DegradeReason::NonStringKey, "{bad}");
    }
}

struct FloatKey;

impl Serialize for FloatKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(&0.5, &0)?;
        map.end()
    }
}

#[test]
fn what_json_does_not_have_is_told_with_its_place() {
    let nan = error(&BTreeMap::from([("a/b", [0.0, f64::NAN])]));
    assert_eq!(nan.kind, StateErrorKind::NotANumber("NaN"));
    assert_eq!(nan.path, "/a~1b/1");
    assert_eq!(error(&f32::INFINITY).reason(), DegradeReason::NotANumber);
    assert_eq!(error(&[u128::MAX]).reason(), DegradeReason::Unserialisable);
    assert_eq!(error(&i128::MIN).reason(), DegradeReason::Unserialisable);
    let key = BTreeMap::from([("k".repeat((64 << 10) + 1), 0)]);
    assert_eq!(error(&key).reason(), DegradeReason::Unserialisable);
    assert_eq!(text(&BTreeMap::from([("k".repeat(64 << 10), 0)])).len(), (64 << 10) + 6);
}

/// A map that gives the same key twice.
struct Twice(usize);

impl Serialize for Twice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for n in 0..self.0 {
            map.serialize_entry(&format!("key {n}"), "some text to fill the window with")?;
        }
        map.serialize_entry("key 7", &0)?;
        map.end()
    }
}

#[test]
fn a_key_that_comes_twice_is_an_error_in_any_window() {
    for window_bytes in [4 << 20, 1000] {
        let config = DiffConfig { window_bytes, ..DiffConfig::default() };
        let error = state_hash(&Twice(200), &config).unwrap_err();
        assert_eq!(error.reason(), DegradeReason::Unserialisable, "{error}");
    }
    assert!(state_hash(&Twice(7), &DiffConfig::default()).is_ok());
}

/// A state that cannot be serialised, and a container that hides it.
struct Broken;

impl Serialize for Broken {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("the database is gone"))
    }
}

#[derive(Serialize)]
struct Rows {
    rows: Broken,
}

struct Hiding;

impl Serialize for Hiding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        let _ = seq.serialize_element(&Broken);
        let _ = seq.serialize_element(&1);
        seq.end()
    }
}

#[test]
fn a_states_own_error_is_kept_even_where_a_container_swallows_it() {
    let own = error(&Rows { rows: Broken });
    assert_eq!(own.to_string(), "not serialisable: the database is gone (at `/rows`)");
    assert_eq!(error(&Hiding).path, "/0");
}

#[test]
fn nesting_is_let_in_up_to_the_limit_and_read_back_by_serde_json() {
    assert!(canonical_json(&nested(100), &DiffConfig::default()).is_ok());
    assert_eq!(error(&nested(101)).kind, StateErrorKind::TooDeep { limit: 100 });
    let deepest = DiffConfig { max_depth: 1000, ..DiffConfig::default() };
    let text = canonical_json(&nested(127), &deepest).unwrap();
    assert!(serde_json::from_slice::<Value>(&text).is_ok());
    let error = canonical_json(&nested(128), &deepest).unwrap_err();
    assert_eq!(error.kind, StateErrorKind::TooDeep { limit: 127 });
}

#[test]
fn a_long_path_and_a_long_error_are_cut() {
    struct Talkative;
    impl Serialize for Talkative {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom(format_args!("{:é>300}", "")))
        }
    }
    let error = error(&BTreeMap::from([("k".repeat(1000), vec![Talkative])]));
    assert!(error.path.len() <= 200 && error.to_string().len() < 500, "{error}");
}

/// Says something else each time it is asked.
struct Moody(std::cell::Cell<usize>);

impl Serialize for Moody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.set(self.0.get() + 1);
        serializer.collect_seq((0..300).map(|n| n * self.0.get() % 1000))
    }
}

impl fmt::Debug for Moody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Moody")
    }
}

#[test]
fn a_state_that_changes_between_two_walks_is_an_error_and_never_an_endless_one() {
    let config = DiffConfig { window_bytes: 256, ..DiffConfig::default() };
    let error = state_hash(&Moody(1.into()), &config).unwrap_err();
    assert_eq!(error.reason(), DegradeReason::Unserialisable, "{error}");
}

#[test]
fn a_collected_string_is_a_string() {
    struct Displayed;
    impl Serialize for Displayed {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str("a \"quoted\" text")
        }
    }
    assert_eq!(text(&Displayed), r#""a \"quoted\" text""#);
}
