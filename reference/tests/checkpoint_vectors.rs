//! Directories that `DashFlow` 1.11.3, the original, wrote with its file checkpointers, and its
//! answers when they were damaged in 375 ways. Every intact checkpoint loads equal; every damaged
//! one is a typed error or an older valid one; and where our answer is another than the original's
//! it is of a class in [`CLASSES`], which the manual shows.
//!
//! `DASHPROOF_V1_VECTORS` names another directory of the same shape; its counts may differ.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dashproof_reference::checkpoint::{
    Checkpoint, CheckpointError, ErrorKind, MemoryFs, Options, Schema, SeededEntropy, Store,
};
use dashproof_reference::fs::Fs as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize, Deserialize)]
struct FixtureState {
    step: u32,
    total: i64,
    count: u64,
    level: u8,
    delta: i16,
    ratio: f64,
    weight: f32,
    done: bool,
    grade: char,
    title: String,
    note: Option<String>,
    tags: Vec<String>,
    scores: Vec<f64>,
    limits: BTreeMap<String, i32>,
    span: (u16, i32),
    rgb: [u8; 3],
    phase: Phase,
    owner: Person,
    blob: String,
}

#[derive(Serialize, Deserialize)]
enum Phase {
    Idle,
    Running(u32),
    Paused { reason: String, at: i64 },
    Pair(u8, String),
}

#[derive(Serialize, Deserialize)]
struct Person {
    name: String,
    age: Option<u8>,
    address: Option<Address>,
}

#[derive(Serialize, Deserialize)]
struct Address {
    street: String,
    zip: u32,
}

/// How our answers differ from the original's: class, answers in it, and why.
const CLASSES: &[(&str, usize, &str)] = &[
    ("any-variant", 249, "one reader reads every variant, so that a file of another one is found"),
    ("damaged-is-not-absent", 1, "a damaged file of that id or thread is an error, not nothing"),
    (
        "error-kind",
        77,
        "bytes that are wrong are `IntegrityCheckFailed` or `DeserializationFailed` \
      and never `Io` or a panic; a newer format is `SchemaMismatch`",
    ),
    ("from-files", 308, "answers come from the files, not from `index.bin`"),
    ("id-and-thread", 2, "a generated id starts with its thread: another thread inside is damage"),
    ("listed-once", 8, "an id is listed once, copies and temporary files aside"),
    ("name-and-id", 20, "a file that is named for another id than the one inside is damaged"),
    ("newer-schema", 25, "a schema version newer than the reader's is refused"),
    ("newest-valid", 148, "`latest` passes over damage to the newest valid checkpoint"),
    ("nothing-follows", 12, "bytes behind a payload or a gzip member are damage"),
    ("one-bad-file", 9, "one bad file does not make the list fail"),
    ("only-valid-listed", 24, "what the original lists and we cannot read is not listed"),
    ("timestamp", 3, "a timestamp with more than a second of nanoseconds is damage"),
    ("version-0", 1, "format version 0, which never was, is damage"),
];

/// The original's kind of error and ours, where they differ.
const OTHER_KINDS: &[(&str, &str)] = &[
    // wrong bytes of a gzip file, or none of a file
    ("Io", "IntegrityCheckFailed"),
    // a panic over an impossible timestamp
    ("Other", "DeserializationFailed"),
    // found by a check before the decoding
    ("DeserializationFailed", "IntegrityCheckFailed"),
    // a newer format version
    ("IntegrityCheckFailed", "SchemaMismatch"),
];

const MANUAL: &str = include_str!("../src/manual/checkpoint.md");

fn root() -> (PathBuf, bool) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints-v1");
    std::env::var_os("DASHPROOF_V1_VECTORS").map_or((own, true), |dir| (dir.into(), false))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A file system that holds a directory of the set.
fn copied(dir: &Path) -> MemoryFs {
    let fs = MemoryFs::new();
    fs.create_dir(Path::new("/c")).unwrap();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        put(&fs, &entry.file_name().to_string_lossy(), &std::fs::read(entry.path()).unwrap());
    }
    fs
}

fn put(fs: &MemoryFs, name: &str, bytes: &[u8]) {
    let _ = fs.remove(&at(name));
    fs.create_new(&at(name)).unwrap().write_all(bytes).unwrap();
}

fn at(name: &str) -> PathBuf {
    Path::new("/c").join(name)
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn edit(fs: &MemoryFs, root: &Path, edit: &Value, name: impl Fn(&str) -> String) {
    let text = |key: &str| edit[key].as_str().unwrap();
    let number = |key: &str| usize::try_from(edit[key].as_u64().unwrap()).unwrap();
    let path = name(text("path"));
    let mut bytes = fs.read(&at(&path), u64::MAX).unwrap_or_default();
    match text("op") {
        "xor" => bytes[number("offset")] ^= u8::try_from(number("byte")).unwrap(),
        "truncate" => bytes.truncate(number("len")),
        "fill" => {
            let end = number("offset") + number("len");
            bytes[number("offset")..end].fill(u8::try_from(number("byte")).unwrap());
        }
        "splice" => {
            let end = number("offset") + number("remove");
            bytes.splice(number("offset")..end, unhex(text("hex")));
        }
        "append" => bytes.extend(unhex(text("hex"))),
        "append_file" => bytes.extend(fs.read(&at(&name(text("from"))), u64::MAX).unwrap()),
        "write" => bytes = unhex(text("hex")),
        "copy" => bytes = fs.read(&at(&name(text("from"))), u64::MAX).unwrap(),
        "copy_in" => bytes = std::fs::read(root.join(text("from"))).unwrap(),
        "rename" => return fs.rename(&at(&name(text("from"))), &at(&path)).unwrap(),
        "delete" => return fs.remove(&at(&path)).unwrap(),
        "mkdir" => return fs.create_dir(&at(&path)).unwrap(),
        other => panic!("the set has a new edit: {other}"),
    }
    put(fs, &path, &bytes);
}

/// What the set says of an undamaged directory.
struct Expected {
    checkpoints: BTreeMap<String, Value>,
    threads: BTreeMap<String, Value>,
    list_threads: Value,
}

impl Expected {
    fn read(folder: &Path) -> Self {
        let all = json(&folder.join("expected.json"));
        let by = |list: &Value, key: &str| {
            let list = list.as_array().unwrap().iter();
            list.map(|v| (v[key].as_str().unwrap().to_owned(), v.clone())).collect()
        };
        Self {
            checkpoints: by(&all["checkpoints"], "id"),
            threads: by(&all["threads"], "thread_id"),
            list_threads: all["list_threads"].clone(),
        }
    }

    fn load(&self, id: &str) -> Value {
        match self.checkpoints.get(id) {
            Some(c) if c["load"].is_object() => c["load"].clone(),
            Some(_) => json!({ "ok": id }),
            None => json!({ "ok": null }),
        }
    }

    fn latest(&self, thread: &str) -> Value {
        self.threads.get(thread).map_or(json!({ "ok": null }), |t| t["get_latest"].clone())
    }

    fn list(&self, thread: &str) -> Value {
        self.threads.get(thread).map_or(json!([]), |t| t["list"].clone())
    }
}

/// Sorted keys, so that texts compare as values do, -0.0 included.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, String> =
                map.iter().map(|(k, v)| (k, canonical(v))).collect();
            format!("{sorted:?}")
        }
        Value::Array(list) => format!("{:?}", list.iter().map(canonical).collect::<Vec<_>>()),
        other => other.to_string(),
    }
}

fn content(checkpoint: &Checkpoint<FixtureState>) -> Value {
    let info = &checkpoint.info;
    json!({
        "id": info.id, "thread_id": info.thread_id, "node": info.node,
        "timestamp": { "secs": info.timestamp.secs, "nanos": info.timestamp.nanos },
        "parent_id": info.parent_id, "metadata": info.metadata,
        "state": serde_json::to_value(&checkpoint.state).unwrap(),
    })
}

fn open(fs: &MemoryFs, schema: u64) -> Store<FixtureState> {
    let schema = Schema::new(u32::try_from(schema).unwrap());
    let options = Options::new().schema(schema).entropy(SeededEntropy::new(1));
    Store::open(Arc::new(fs.clone()), "/c", options).unwrap()
}

fn kind(error: &CheckpointError) -> &'static str {
    match error.kind() {
        ErrorKind::IntegrityCheckFailed => "IntegrityCheckFailed",
        ErrorKind::DeserializationFailed => "DeserializationFailed",
        ErrorKind::SchemaMismatch { .. } => "SchemaMismatch",
        ErrorKind::MigrationFailed { .. } => "MigrationFailed",
        other => panic!("{other:?} has no place here"),
    }
}

/// Puts the values that differ under their dotted paths.
fn differences(path: &str, ours: &Value, saved: &Value, out: &mut serde_json::Map<String, Value>) {
    // metadata is one value: its keys are data
    if let (Value::Object(fields), true) = (ours, saved.is_object() && path != "metadata") {
        for (field, value) in fields {
            let path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
            differences(&path, value, &saved[field], out);
        }
    } else if canonical(ours) != canonical(saved) {
        out.insert(path.to_owned(), ours.clone());
    }
}

/// Our answer, in the set's words, with what is not as it was saved under `altered`.
fn told(
    result: Result<Option<Checkpoint<FixtureState>>, CheckpointError>,
    expected: &Expected,
) -> Value {
    match result {
        Ok(None) => json!({ "ok": null }),
        Err(error) if error.kind() == &ErrorKind::NotFound => json!({ "ok": null }),
        Err(error) => json!({ "err": kind(&error), "text": error.to_string() }),
        Ok(Some(checkpoint)) => {
            let saved = &expected.checkpoints[&checkpoint.info.id];
            let mut altered = serde_json::Map::new();
            differences("", &content(&checkpoint), saved, &mut altered);
            let mut answer = json!({ "ok": checkpoint.info.id });
            if !altered.is_empty() {
                answer["altered"] = altered.into();
            }
            answer
        }
    }
}

#[test]
fn every_intact_checkpoint_loads_equal_and_every_list_is_the_originals() {
    let (root, own) = root();
    let mut count = 0;
    for entry in std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()) {
        if !entry.join("expected.json").is_file() {
            continue;
        }
        let expected = Expected::read(&entry);
        let store = open(&copied(&entry.join("dir")), 3);
        for (id, saved) in &expected.checkpoints {
            count += 1;
            let ours = told(store.load(id).map(Some), &expected);
            match saved["load"]["err"]["kind"].as_str() {
                None => assert_eq!(ours, json!({ "ok": id }), "{}", entry.display()),
                // saved by the original with an Ok, and lost to it as to us: JSON has no NaN
                Some(kind) => assert_eq!(ours["err"], kind),
            }
        }
        for (thread, answers) in &expected.threads {
            let ids: Vec<String> = store.list(thread).into_iter().map(|i| i.id).collect();
            assert_eq!(json!(ids), answers["list"]);
        }
        assert_eq!(threads(&store), expected.list_threads);
    }
    assert!(count == 43 || !own, "{count} checkpoints");
}

fn threads(store: &Store<FixtureState>) -> Value {
    let row = |t: dashproof_reference::checkpoint::ThreadInfo| {
        json!([t.thread_id, t.newest.id, t.newest.timestamp.secs, t.newest.timestamp.nanos])
    };
    store.list_threads().into_iter().map(row).collect()
}

/// One question, the original's answer and ours.
struct Answer<'a> {
    question: &'static str,
    original: Value,
    ours: Value,
    /// What there is by our own account: each id's load, and the list that the question is about.
    loads: &'a BTreeMap<String, Value>,
    list: &'a [String],
}

impl Answer<'_> {
    fn is_same(&self) -> bool {
        match (self.original["err"].as_str(), self.ours["err"].as_str()) {
            (Some(original), Some(ours)) => original == ours,
            (None, None) => self.original == self.ours,
            _ => false,
        }
    }

    /// The class of a difference; an `Err` is one that must not be.
    fn class(&self) -> Result<&'static str, String> {
        let class = match self.question {
            "load" => self.load(),
            "latest" => self.latest(),
            "list" => self.listed(),
            _ => Some("from-files"),
        };
        class.ok_or_else(|| {
            format!("{}: theirs {}, ours {}", self.question, self.original, self.ours)
        })
    }

    /// Ours are an error, theirs are not or are of another kind.
    fn stricter(&self) -> Option<&'static str> {
        let text = self.ours["text"].as_str()?;
        if let Some(theirs) = self.original["err"].as_str() {
            let kinds = (theirs, self.ours["err"].as_str()?);
            return OTHER_KINDS.contains(&kinds).then_some("error-kind");
        }
        if self.original["ok"].is_null() {
            return Some("damaged-is-not-absent");
        }
        let because = [
            ("is named for another id", "name-and-id"),
            ("is for another thread", "id-and-thread"),
            ("follow the", "nothing-follows"),
            ("version 0 never was", "version-0"),
            ("timestamp is none", "timestamp"),
            ("schema version", "newer-schema"),
        ];
        because.iter().find(|(part, _)| text.contains(part)).map(|(_, class)| *class)
    }

    fn load(&self) -> Option<&'static str> {
        if self.ours["err"].is_string() {
            return self.stricter();
        }
        // right content where the original's reader for the directory had none
        let found = self.ours["ok"].is_string() && self.ours["altered"].is_null();
        let theirs_none = self.original["ok"].is_null();
        (found && theirs_none).then_some("any-variant")
    }

    fn latest(&self) -> Option<&'static str> {
        let Some(id) = self.ours["ok"].as_str() else { return self.stricter() };
        let newest = self.list.iter().find(|id| self.loads[*id]["ok"].is_string())?;
        if id != newest || self.ours != self.loads[id] {
            return None;
        }
        Some(match (self.original["err"].is_string(), self.original["ok"].is_null()) {
            (true, _) => "newest-valid",
            (_, true) => "any-variant",
            // by the index or by a file's name, and not what the files say
            _ => "from-files",
        })
    }

    fn listed(&self) -> Option<&'static str> {
        let Some(theirs) = self.original.as_array() else { return Some("one-bad-file") };
        let theirs: Vec<&str> = theirs.iter().map(|v| v.as_str().unwrap()).collect();
        let ours: Vec<&str> = self.list.iter().map(String::as_str).collect();
        let mut once = theirs.clone();
        once.dedup();
        if once == ours {
            return Some("listed-once");
        }
        let unlisted = |id: &str| {
            !ours.contains(&id) && self.loads.get(id).is_none_or(|l| !l["ok"].is_string())
        };
        once.retain(|id| !unlisted(id));
        if once == ours {
            return Some("only-valid-listed");
        }
        let more = ours.iter().filter(|id| !once.contains(id));
        let valid = more.clone().all(|id| self.loads[*id]["ok"].is_string());
        valid.then_some("any-variant")
    }
}

/// The original's answers of a case, filled up with those of the undamaged directory.
struct Theirs<'a> {
    case: &'a Value,
    errors: &'a Value,
    expected: &'a Expected,
    thread: &'a str,
    load_id: &'a str,
}

impl Theirs<'_> {
    fn resolved(&self, answer: &Value) -> Value {
        let Some(error) = answer["err"].as_str() else { return answer.clone() };
        json!({ "err": self.errors[error]["kind"] })
    }

    fn load(&self, id: &str) -> Value {
        let others = &self.case["other_loads"];
        let given = [&self.case["load"], &others[id], &others["*"]];
        let given = given.into_iter().skip(usize::from(id != self.load_id));
        let given = given.take(if id == self.load_id { 1 } else { 2 }).find(|v| !v.is_null());
        given.map_or_else(|| kinds(self.expected.load(id)), |answer| self.resolved(answer))
    }

    fn latest(&self, thread: &str) -> Value {
        let other = &self.case["other_threads"][thread]["get_latest"];
        let given = if thread == self.thread { &self.case["get_latest"] } else { other };
        match given.as_str() {
            Some("=load") => self.load(self.load_id),
            _ if given.is_null() => kinds(self.expected.latest(thread)),
            _ => self.resolved(given),
        }
    }

    fn list(&self, thread: &str) -> Value {
        let other = &self.case["other_threads"][thread]["list"];
        let given = if thread == self.thread { &self.case["list"] } else { other };
        if given.is_null() {
            return self.expected.list(thread);
        }
        let Some(without) = given["without"].as_array() else { return self.resolved(given) };
        let all = self.expected.list(thread);
        all.as_array().unwrap().iter().filter(|id| !without.contains(id)).cloned().collect()
    }

    fn list_threads(&self) -> Value {
        let given = &self.case["list_threads"];
        if given.is_null() {
            return self.expected.list_threads.clone();
        }
        let Some(replaced) = given["replaced"].as_array() else { return given.clone() };
        let mut rows = self.expected.list_threads.as_array().unwrap().clone();
        rows.retain(|row| !replaced.iter().any(|r| r[0] == row[0]));
        rows.extend(replaced.iter().cloned());
        rows.sort_by_key(|r| std::cmp::Reverse((r[2].as_u64(), r[3].as_u64())));
        rows.into()
    }
}

/// `expected.json` gives errors with their texts.
fn kinds(answer: Value) -> Value {
    match answer["err"]["kind"].as_str() {
        Some(kind) => json!({ "err": kind }),
        None => answer,
    }
}

/// Asks everything of one case; gives the class of each different answer.
fn ask(root: &Path, group: &Value, case: &Value, all: &Value) -> Vec<Result<&'static str, String>> {
    let pick = |key: &str| case[key].as_str().or_else(|| group[key].as_str()).unwrap_or_default();
    let folder = root.join(group["dir"].as_str().unwrap());
    let expected = Expected::read(&folder);
    let fs = copied(&folder.join("dir"));
    let name = |text: &str| {
        let newest = text.replace("@newest", group["newest"].as_str().unwrap());
        newest.replace("@older", group["older"].as_str().unwrap())
    };
    for change in case["edits"].as_array().into_iter().flatten() {
        edit(&fs, root, change, name);
    }
    let default = all["reader_schema_version"].as_u64().unwrap();
    let store = open(&fs, case["reader_schema_version"].as_u64().unwrap_or(default));
    let (thread, load_id) = (pick("thread_id"), pick("load_id"));
    let theirs = Theirs { case, errors: &all["errors"], expected: &expected, thread, load_id };

    let ids: BTreeSet<&str> =
        expected.checkpoints.keys().map(String::as_str).chain([load_id]).collect();
    let loads: BTreeMap<String, Value> = ids
        .iter()
        .map(|id| ((*id).to_owned(), told(store.load(id).map(Some), &expected)))
        .collect();
    let mut out = Vec::new();
    let mut answer = |question, original, ours, list: &[String]| {
        let answer = Answer { question, original, ours, loads: &loads, list };
        if !answer.is_same() {
            out.push(answer.class());
        }
    };
    for id in &ids {
        answer("load", theirs.load(id), loads[*id].clone(), &[]);
    }
    let asked: BTreeSet<&str> =
        expected.threads.keys().map(String::as_str).chain([thread]).collect();
    let mut listed = BTreeSet::new();
    for thread in asked {
        let list: Vec<String> = store.list(thread).into_iter().map(|i| i.id).collect();
        let ours = told(store.latest(thread), &expected);
        answer("latest", theirs.latest(thread), ours, &list);
        answer("list", theirs.list(thread), json!(list), &list);
        listed.extend(list.first().map(|id| (thread.to_owned(), id.clone())));
    }
    let rows = threads(&store);
    answer("list_threads", theirs.list_threads(), rows.clone(), &[]);
    let named: BTreeSet<(String, String)> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r[0].as_str().unwrap().to_owned(), r[1].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(named, listed, "list_threads and list agree");
    out
}

#[test]
fn every_damaged_case_is_answered_as_the_original_or_differs_by_a_class_of_the_manual() {
    let (root, own) = root();
    let all = json(&root.join("answers.json"));
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut cases, mut wrong) = (0, Vec::new());
    for group in all["groups"].as_array().unwrap() {
        for case in group["cases"].as_array().unwrap() {
            cases += 1;
            for class in ask(&root, group, case, &all) {
                match class {
                    Ok(class) => *classes.entry(class).or_default() += 1,
                    Err(text) => wrong.push(format!("{} {}: {text}", group["dir"], case["name"])),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} unexplained:\n{}", wrong.len(), wrong.join("\n"));
    if own {
        assert_eq!(cases, 375);
        let known: BTreeMap<&str, usize> = CLASSES.iter().map(|(c, n, _)| (*c, *n)).collect();
        assert_eq!(classes, known);
    } else {
        let known: BTreeSet<&str> = CLASSES.iter().map(|(c, ..)| *c).collect();
        assert!(classes.keys().all(|class| known.contains(class)), "{classes:?}");
    }
}

#[test]
fn the_manual_shows_every_class_of_difference() {
    let section = MANUAL.split("## Other answers than the original's").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let shown: Vec<&str> = section.lines().filter(|l| l.starts_with("| `")).collect();
    let rows: Vec<String> =
        CLASSES.iter().map(|(class, n, why)| format!("| `{class}` | {n} | {why} |")).collect();
    assert_eq!(shown, rows);
}
