//! What a run leaves behind that a signal ended: nothing, at once or at the next start.
#![cfg(test)]
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dashproof::exit;
use rustix::process::{Pid, Signal, kill_process};

/// A store on the real file system; the second on a small one of its own, where that can be
/// mounted.
const SCENARIOS: [&str; 2] = ["checkpoint/crash-and-restart", "checkpoint/disk-full"];

fn start(place: &Path, scenario: &str, lane: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dashproof"));
    command.args(["run", scenario, "--lane", lane]);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).env("TMPDIR", place);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What lies in a directory now.
fn there(place: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn is_mounted(place: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.contains(place.to_str().unwrap())
}

/// Starts a run and sends it this signal as soon as its cell has begun; its code, if it has one.
fn signalled(place: &Path, scenario: &str, signal: Signal) -> Option<i32> {
    let child = start(place, scenario, "files");
    let until = Instant::now() + Duration::from_secs(20);
    let begun = || {
        let begun = |dir: &PathBuf| dir.join("disk/store").exists() || dir.join("room").exists();
        there(place).iter().any(begun)
    };
    while !begun() {
        assert!(Instant::now() < until, "no cell began");
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
    child.wait_with_output().unwrap().status.code()
}

#[test]
fn a_signal_leaves_no_directory_and_no_file_system() {
    for (scenario, signal, code) in [
        (SCENARIOS[0], Signal::TERM, exit::TERMINATED),
        (SCENARIOS[1], Signal::INT, exit::INTERRUPTED),
    ] {
        let place = tempfile::tempdir().unwrap();
        let ended = signalled(place.path(), scenario, signal);
        assert_eq!(ended, Some(i32::from(code)), "{scenario}");
        assert_eq!(there(place.path()), Vec::<PathBuf>::new(), "{scenario}");
        assert!(!is_mounted(place.path()), "{scenario}");
    }
}

#[test]
fn what_a_killed_run_left_is_gone_after_the_next() {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(signalled(place.path(), SCENARIOS[1], Signal::KILL), None);
    assert_eq!(there(place.path()).len(), 1, "nothing was left, so nothing is shown");
    let own = place.path().join("dashproof-of-mine");
    std::fs::create_dir(&own).unwrap();
    let next = start(place.path(), "codec/strict", "sim").wait_with_output().unwrap();
    assert_eq!(next.status.code(), Some(0));
    assert_eq!(there(place.path()), [own], "only what is ours and nobody's any more");
    assert!(!is_mounted(place.path()));
}
