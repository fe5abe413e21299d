//! House rules that a compiler does not know, as a test (the idea is `TigerBeetle`'s `tidy`).
//!
//! Each rule is a function from a file's text to complaints, and has a test of its own that it
//! bites. A complaint says what to use instead.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A banned text, and what to use instead.
struct Ban {
    text: &'static str,
    instead: &'static str,
}

const fn ban(text: &'static str, instead: &'static str) -> Ban {
    Ban { text, instead }
}

/// What would let the real world into a replay.
const DETERMINISM: &[Ban] = &[
    ban("SystemTime::now", "take the time as an argument"),
    ban("std::time::Instant", "the lane's clock or tokio::time::Instant"),
    ban("std::thread", "a task of the lane's runtime"),
    ban("thread::sleep", "tokio::time::sleep"),
    ban("thread_rng", "a seeded fastrand::Rng"),
    ban("rand::rng", "a seeded fastrand::Rng"),
    ban("fastrand::Rng::new()", "fastrand::Rng::with_seed"),
    ban("getrandom", "entropy given as an argument"),
    ban("Uuid::new_v4", "an id made from the seed"),
    ban("HashMap", "BTreeMap or IndexMap: hash order breaks replay"),
    ban("HashSet", "BTreeSet or IndexSet: hash order breaks replay"),
    ban("RandomState", "an ordered container"),
    ban("spawn_blocking", "nothing may block inside the sim"),
];

/// What the sans-IO core may not know.
const CORE: &[Ban] = &[
    ban("tokio", "effects: the core does no I/O"),
    ban("rdkafka", "the Transport trait"),
    ban("std::fs", "effects: the core does no I/O"),
    ban("std::net", "effects: the core does no I/O"),
    ban("async fn", "effects: the core does not wait"),
];

const PRINTS: &[Ban] = &[
    ban("println!", "tracing"),
    ban("eprintln!", "tracing"),
    ban("print!(", "tracing"),
    ban("dbg!(", "tracing"),
];

const EVERYWHERE: &[Ban] = &[
    ban("#[allow(", "#[expect(…, reason = \"…\")]"),
    ban("#![allow(", "#![expect(…, reason = \"…\")]"),
    ban(concat!("TO", "DO"), "do it, or open an issue"),
    ban(concat!("FIX", "ME"), "do it, or open an issue"),
    ban(concat!("../", "shared"), "what the project needs, it contains"),
];

/// Code lines only: comments may name what code may not use.
fn banned(text: &str, bans: &[Ban], in_comments: bool) -> Vec<String> {
    let mut out = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if !in_comments && line.trim_start().starts_with("//") {
            continue;
        }
        for ban in bans.iter().filter(|b| line.contains(b.text)) {
            out.push(format!("{}: `{}` is banned here: use {}", i + 1, ban.text, ban.instead));
        }
    }
    out
}

fn too_long_lines(text: &str) -> Vec<String> {
    text.lines()
        .enumerate()
        .filter(|(_, l)| l.chars().count() > 100)
        .map(|(i, l)| format!("{}: {} columns, at most 100", i + 1, l.chars().count()))
        .collect()
}

fn too_long_file(text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines > 500 { vec![format!("1: {lines} lines, at most 500: split it")] } else { Vec::new() }
}

/// Relies on rustfmt: a function ends with the first `}` at the indent of its head.
fn too_long_functions(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        let is_fn = !body.starts_with("//")
            && !body.ends_with(';')
            && body.split("fn ").next().is_some_and(|head| {
                body.contains("fn ")
                    && head.split_whitespace().all(|w| {
                        matches!(w, "pub" | "async" | "const" | "unsafe" | "extern")
                            || w.starts_with("pub(")
                            || w.starts_with('"')
                    })
            });
        if !is_fn {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        if let Some(len) = lines.iter().skip(i).position(|l| *l == close)
            && len + 1 > 70
        {
            out.push(format!("{}: function of {} lines, at most 70", i + 1, len + 1));
        }
    }
    out
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return out };
    for entry in entries.map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            if entry.file_name().is_some_and(|n| n != "target") {
                out.extend(rust_files(&entry));
            }
        } else if entry.extension().is_some_and(|e| e == "rs") {
            out.push(entry);
        }
    }
    out.sort();
    out
}

fn is_test(path: &Path) -> bool {
    path.components().any(|c| {
        let c = c.as_os_str().to_string_lossy();
        c == "tests" || c == "tests.rs" || c == "benches" || c == "fuzz" || c == "testing"
    })
}

/// Applies a rule to the files under some folders and fails with every complaint at once.
fn check(dirs: &[&str], tests_too: bool, rule: impl Fn(&str) -> Vec<String>) {
    let mut complaints = Vec::new();
    let mut seen = 0;
    for dir in dirs {
        let path = root().join(dir);
        let files = if path.is_file() { vec![path] } else { rust_files(&path) };
        for file in files.into_iter().filter(|f| tests_too || !is_test(f)) {
            seen += 1;
            let text = fs::read_to_string(&file).unwrap();
            let name = file.strip_prefix(root()).unwrap().display().to_string();
            complaints.extend(rule(&text).into_iter().map(|c| format!("{name}:{c}")));
        }
    }
    assert!(seen > 0, "no file under {dirs:?}: the rule guards nothing");
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// The text before the unit tests, which may print, sleep and measure.
fn without_unit_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

const SIM: &[&str] = &[
    "reference/src/core",
    "chaos/src/lane/sim",
    "chaos/src/lane/disk",
    "chaos/src/disk",
    "chaos/src/broker",
    "chaos/src/fault",
    "chaos/src/oracle",
    "chaos/src/subject/driver.rs",
    "chaos/src/subject/reference.rs",
    "chaos/src/subject/runner.rs",
    "chaos/src/subject/runner",
];

#[test]
fn nothing_that_replays_reads_the_real_world() {
    check(SIM, false, |t| banned(without_unit_tests(t), DETERMINISM, false));
}

#[test]
fn the_core_does_no_io() {
    check(&["reference/src/core"], false, |t| banned(without_unit_tests(t), CORE, false));
}

#[test]
fn the_reference_never_prints() {
    check(&["reference/src"], false, |t| banned(without_unit_tests(t), PRINTS, false));
}

#[test]
fn nothing_is_left_for_later_and_lints_are_expected_not_allowed() {
    let dirs = ["reference/src", "chaos/src", "benches"];
    check(&dirs, true, |t| banned(t, EVERYWHERE, true));
}

#[test]
fn files_functions_and_lines_stay_short() {
    check(&["reference/src", "chaos/src"], false, |t| {
        let mut out = too_long_file(without_unit_tests(t));
        out.extend(too_long_functions(without_unit_tests(t)));
        out.extend(too_long_lines(t));
        out
    });
}

#[test]
fn unsafe_code_lives_in_the_ffi_module_and_the_counting_allocator_only() {
    let allowed = ["reference/src/runtime/rdkafka/ffi.rs", "chaos/src/heap.rs"];
    let allowed = allowed.map(|file| root().join(file));
    for dir in ["reference/src", "chaos/src"] {
        for file in rust_files(&root().join(dir)) {
            let text = fs::read_to_string(&file).unwrap();
            let unsafe_line = text.lines().find(|l| {
                let l = l.trim_start();
                !l.starts_with("//") && (l.contains("unsafe {") || l.contains("unsafe fn"))
            });
            let fine = allowed.contains(&file) || unsafe_line.is_none();
            assert!(fine, "{}: {unsafe_line:?}", file.display());
        }
    }
}

#[test]
fn tokio_is_built_without_the_features_that_bring_wall_clock_fairness() {
    let out = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "-e",
            "features",
            "-i",
            "tokio",
            "--prefix",
            "none",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let tree = String::from_utf8(out.stdout).unwrap();
    assert!(tree.contains("tokio feature \"rt\""), "unexpected tree:\n{tree}");
    for feature in ["parking_lot", "full"] {
        let line = format!("tokio feature \"{feature}\"");
        assert!(!tree.contains(&line), "a dependency turns on tokio's `{feature}`:\n{tree}");
    }
}

#[test]
fn every_dependency_has_its_reason_in_the_manual() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let page = fs::read_to_string(root().join("chaos/src/manual/dependencies.md")).unwrap();
    let (_, list) = manifest.split_once("[workspace.dependencies]").unwrap();
    let list = list.split_once("\n[").map_or(list, |(list, _)| list);
    let names = list.lines().filter_map(|line| Some(line.split_once(" = ")?.0.trim()));
    let wanted: Vec<&str> =
        names.filter(|name| !name.starts_with('#') && !name.starts_with("dashproof")).collect();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let told: Vec<&str> = rows.filter(|name| *name != "crate").collect();
    assert_eq!(told, wanted);
}

#[test]
fn every_rule_bites() {
    assert_eq!(banned("let t = SystemTime::now();", DETERMINISM, false).len(), 1);
    assert_eq!(banned("// SystemTime::now", DETERMINISM, false).len(), 0);
    assert_eq!(banned("use std::fs;", CORE, false).len(), 1);
    assert_eq!(banned("    println!(\"x\");", PRINTS, false).len(), 1);
    assert_eq!(banned(concat!("// TO", "DO"), EVERYWHERE, true).len(), 1);
    assert_eq!(too_long_lines(&"x".repeat(101)).len(), 1);
    assert_eq!(too_long_lines(&"x".repeat(100)).len(), 0);
    assert_eq!(too_long_file(&"x\n".repeat(501)).len(), 1);
    let long = format!("pub async fn f() {{\n{}}}\n", "    x;\n".repeat(69));
    assert_eq!(too_long_functions(&long).len(), 1);
    let short = format!("fn f() {{\n{}}}\n", "    x;\n".repeat(68));
    assert_eq!(too_long_functions(&short).len(), 0);
}
