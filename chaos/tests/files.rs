//! The lane `files`: real processes on real directories.
#![cfg(test)]

#[path = "support/program.rs"]
mod program;

use std::path::{Path, PathBuf};

use dashproof::exit;
use program::{code, dashproof, root, stdout};

const DASHPROOF: &str = env!("CARGO_BIN_EXE_dashproof");

fn on_files(args: &[&str]) -> (u8, String) {
    let out = tempfile::tempdir().unwrap();
    let lane = ["run", "--lane", "files", "--out", out.path().to_str().unwrap()];
    let output = dashproof(&[&lane, args].concat());
    (code(&output), stdout(&output) + &String::from_utf8_lossy(&output.stderr))
}

/// A scenario of the test's own.
fn file(dir: &Path, name: &str, body: &str) -> PathBuf {
    let path = dir.join(name);
    let head = "id = \"own/own\"\nsummary = \"own\"\nlanes = [\"files\"]\nbudget = \"5s\"\n\
                [subject.checkpoint]\n[[load]]\nsaves = 4\nthreads = 2\n";
    std::fs::write(&path, format!("{head}{body}")).unwrap();
    path
}

fn own(body: &str) -> (u8, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "own.toml", body);
    on_files(&[path.to_str().unwrap()])
}

#[test]
fn the_reference_lives_through_kills_at_named_phases() {
    let (code, text) = on_files(&["checkpoint/killed-*", "checkpoint/dead-holder"]);
    assert_eq!(code, exit::PROVEN, "{text}");
    assert!(text.contains("4 cells, 4 pass"), "{text}");
}

#[test]
fn the_reference_comes_in_by_the_door_of_any_driver() {
    let driver = format!("{DASHPROOF} driver");
    let (code, text) =
        on_files(&["checkpoint/sizes", "checkpoint/bit-rot-newest", "--driver", &driver]);
    assert_eq!(code, exit::PROVEN, "{text}");
    assert!(text.contains("K9 not judged 2 times: a driver's file operations"), "{text}");
}

#[test]
fn a_driver_without_stores_is_not_applicable_and_proves_nothing() {
    let driver = "sh chaos/tests/drivers/liar.sh";
    let (code, text) = on_files(&["checkpoint/sizes", "--driver", driver]);
    assert_eq!(code, exit::INCONCLUSIVE, "{text}");
    assert!(text.contains("does not declare checkpoint.close"), "{text}");
}

#[test]
fn a_phase_that_never_comes_leaves_the_run_inconclusive() {
    let (code, text) =
        own("[[fault]]\nat = \"9ms\"\nkind = \"subject.crash\"\nphase = \"after remove\"\n");
    assert_eq!(code, exit::INCONCLUSIVE, "{text}");
    assert!(text.contains("fault 1 (subject.crash) was met by nothing"), "{text}");
}

#[test]
fn saves_that_find_no_open_store_are_said_to_be_missing() {
    let (code, text) = own("[[action]]\nat = \"2500us\"\nkind = \"close\"\ndeadline = \"1s\"\n");
    assert_eq!(code, exit::INCONCLUSIVE, "{text}");
    assert!(text.contains("load 1: 1 saves found no open store"), "{text}");
}

#[test]
fn a_lock_by_the_existence_of_a_file_is_caught_by_a_dead_holder() {
    let saboteur = "lock-that-outlives-its-holder";
    let (code, text) = on_files(&["checkpoint/dead-holder", "--saboteur", saboteur]);
    assert_eq!(code, exit::VIOLATION, "{text}");
    assert!(text.contains("K1 broken"), "{text}");
}

#[test]
fn a_driver_that_ends_in_the_middle_is_to_blame() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("mortal.sh");
    let names = ["open", "save", "load", "latest", "list", "close"];
    let names = names.map(|name| format!("\"checkpoint.{name}\"")).join(",");
    let hello = format!(
        "{{\"type\":\"reply\",\"id\":1,\"ok\":{{\"version\":1,\"capabilities\":[{names}]}}}}"
    );
    std::fs::write(&script, format!("read hello\necho '{hello}'\nread other\nexit 3\n")).unwrap();
    let driver = format!("sh {}", script.display());
    let (code, text) = on_files(&["checkpoint/sizes", "--driver", &driver]);
    assert_eq!(code, exit::VIOLATION, "{text}");
    assert!(text.contains("the subject's process ended in the middle of the run"), "{text}");
}

#[test]
fn nothing_is_left_of_a_run_in_the_temporary_directory() {
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(DASHPROOF)
        .args(["run", "checkpoint/disk-full", "checkpoint/index-foreign", "--lane", "files"])
        .current_dir(root())
        .env("TMPDIR", dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
