//! Stores over the real program: a crash state that a run recorded becomes a directory again, and
//! `checkpoint` tells what is in it.
#![cfg(test)]

#[path = "support/program.rs"]
mod program;

use std::path::{Path, PathBuf};
use std::process::Output;

use dashproof::exit;
use program::{code, dashproof, stdout};
use serde_json::Value;

fn json(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const CRASHES: &str = "checkpoint/crash-points";

/// A recorded run and the crash state of its end: its folder, and a directory made of the disk.
fn recorded(dir: &Path) -> (PathBuf, PathBuf) {
    let out = dir.to_str().unwrap();
    let run = dashproof(&["run", CRASHES, "--lane", "disk", "--out", out]);
    assert_eq!(code(&run), exit::PROVEN, "{}", stdout(&run));
    assert!(stdout(&run).contains("crash states, every one"), "{}", stdout(&run));
    let cell = dir.join(CRASHES).join("disk-seed0");
    let text = std::fs::read_to_string(cell.join("events.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let states: Vec<Value> = lines.filter(|line| line["kind"] == "crash_state").collect();
    let last = states.last().unwrap();
    let disk = dir.join("disk");
    let (name, to) = (last["state"].as_str().unwrap(), disk.to_str().unwrap());
    let args = ["replay", cell.to_str().unwrap(), "--crash-state", name, "--to", to];
    let shown = dashproof(&args);
    assert_eq!(code(&shown), exit::PROVEN, "{}", String::from_utf8_lossy(&shown.stderr));
    assert!(stdout(&shown).contains(name), "{}", stdout(&shown));
    (cell, disk)
}

#[test]
fn a_directory_without_a_checkpoint_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let looked = dashproof(&["checkpoint", "verify", dir.path().to_str().unwrap()]);
    assert_eq!(code(&looked), exit::INCONCLUSIVE, "{}", stdout(&looked));
}

#[test]
fn a_saboteur_that_has_nothing_to_be_wrong_about_is_not_run() {
    for args in [["state/growing", "single-shot-send"], ["outage/ack-loss", "trusts-the-index"]] {
        let run = dashproof(&["run", args[0], "--saboteur", args[1]]);
        assert_eq!(code(&run), exit::USAGE, "{args:?}: {}", stdout(&run));
    }
}

#[test]
fn a_failing_history_of_state_diffs_is_judged_the_same_and_replayed_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let id = "state/oversized-in-a-chain";
    for (saboteur, law) in [("diff-on-stale-base", "R5"), ("whole-state-retained", "R3")] {
        let run = dashproof(&["run", id, "--saboteur", saboteur, "--out", out]);
        assert_eq!(code(&run), exit::VIOLATION, "{}", stdout(&run));
        assert!(stdout(&run).contains(&format!("{law} broken")), "{}", stdout(&run));
        let cell = dir.path().join(id).join(format!("disk-seed0-{saboteur}"));
        let judged = dashproof(&["judge", cell.to_str().unwrap()]);
        assert_eq!(code(&judged), exit::VIOLATION, "{}", stdout(&judged));
        assert!(stdout(&judged).contains(&format!("{law} broken")), "{}", stdout(&judged));
        let replayed = dashproof(&["replay", cell.to_str().unwrap()]);
        assert_eq!(code(&replayed), exit::PROVEN, "{}", stdout(&replayed));
        assert!(stdout(&replayed).contains("identical"), "{}", stdout(&replayed));
    }
}

#[test]
fn a_scenario_about_states_is_explained_in_words() {
    let shown = dashproof(&["show", "state/oversized-in-a-chain"]);
    assert_eq!(code(&shown), exit::PROVEN);
    insta::assert_snapshot!(stdout(&shown));
}

#[test]
fn a_crash_state_becomes_a_directory_whose_checkpoints_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let (_, disk) = recorded(dir.path());
    let path = disk.to_str().unwrap();
    let listed = dashproof(&["checkpoint", "ls", path]);
    assert_eq!(code(&listed), exit::PROVEN);
    insta::assert_snapshot!(stdout(&listed));
    let threads = json(&dashproof(&["checkpoint", "ls", path, "--format", "json"]));
    assert_eq!(threads.len(), 2);
    for thread in &threads {
        let all = thread["checkpoints"].as_array().unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(thread["latest"], all[0]["checkpoint"]["id"]);
    }
}

#[test]
fn verify_names_the_damaged_file_and_its_reason_and_ends_with_a_violation() {
    let dir = tempfile::tempdir().unwrap();
    let (_, disk) = recorded(dir.path());
    let path = disk.to_str().unwrap();
    let sound = dashproof(&["checkpoint", "verify", path]);
    assert_eq!(code(&sound), exit::PROVEN, "{}", stdout(&sound));
    let threads = json(&dashproof(&["checkpoint", "ls", path, "--format", "json"]));
    let newest = threads[0]["checkpoints"][0]["file"].as_str().unwrap().to_owned();
    let older = threads[0]["checkpoints"][1]["checkpoint"]["id"].clone();
    let mut bytes = std::fs::read(disk.join(&newest)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(disk.join(&newest), bytes).unwrap();

    let ill = dashproof(&["checkpoint", "verify", path]);
    assert_eq!(code(&ill), exit::VIOLATION);
    assert!(stdout(&ill).contains(&newest), "{}", stdout(&ill));
    let ill = json(&dashproof(&["checkpoint", "verify", path, "--format", "json"]));
    assert_eq!(ill.len(), 2, "the file, and a summary");
    assert_eq!((&ill[1]["ill"], &ill[1]["exit"]), (&1.into(), &exit::VIOLATION.into()));
    assert_eq!((&ill[0]["file"], &ill[0]["reason"]), (&newest.into(), &"payload_crc".into()));
    let threads = json(&dashproof(&["checkpoint", "ls", path, "--format", "json"]));
    assert_eq!(threads[0]["latest"], older, "the newest that is not damaged");
}

#[test]
fn a_recorded_cell_of_the_disk_lane_replays_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (cell, _) = recorded(dir.path());
    let replayed = dashproof(&["replay", cell.to_str().unwrap()]);
    assert_eq!(code(&replayed), exit::PROVEN, "{}", stdout(&replayed));
    assert!(stdout(&replayed).contains("identical"), "{}", stdout(&replayed));
}

#[test]
fn a_lost_record_of_the_spool_is_shown_by_the_commands_of_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let args = ["--lane", "sim", "--saboteur", "spooled-before-sync", "--out", out];
    let run = dashproof(&[&["run", "shutdown/spool-mid-run"][..], &args].concat());
    assert_eq!(code(&run), exit::VIOLATION);
    let text = stdout(&run);
    assert!(text.contains("D11 broken"), "{text}");
    let line = text.lines().find(|line| line.contains("reproduce")).unwrap();
    let (_, replay) = line.split_once(" ; dashproof ").unwrap();
    let replay = replay.replace("target/runs", out);
    let shown = dashproof(&replay.split(' ').collect::<Vec<_>>());
    assert_eq!(code(&shown), exit::PROVEN, "{replay}");
    assert!(stdout(&shown).contains(".spool"), "{}", stdout(&shown));
}

#[test]
fn a_scenario_without_store_and_spool_has_no_crash_states() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let run = dashproof(&["run", "shutdown/twice", "--lane", "sim", "--out", out]);
    assert_eq!(code(&run), exit::PROVEN, "{}", stdout(&run));
    let cell = dir.path().join("shutdown/twice/sim-seed0");
    let none = dashproof(&["replay", cell.to_str().unwrap(), "--crash-state", "m0.op0.v0"]);
    assert_eq!(code(&none), exit::USAGE);
    let text = String::from_utf8(none.stderr).unwrap();
    assert!(text.contains("no store, no spool"), "{text}");
}

#[test]
fn a_crash_state_that_is_not_there_and_a_folder_that_is_not_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (cell, _) = recorded(dir.path());
    let none = dashproof(&["replay", cell.to_str().unwrap(), "--crash-state", "m9.op1.v0"]);
    assert_eq!(code(&none), exit::USAGE);
    let text = String::from_utf8(none.stderr).unwrap();
    assert!(text.contains("has no crash state `m9.op1.v0`"), "{text}");
    let none = dashproof(&["checkpoint", "ls", "/no/such/folder"]);
    assert_eq!(code(&none), exit::USAGE);
}

#[test]
fn verify_tells_a_broken_name_of_the_directory_and_what_lies_in_a_checkpoints_place() {
    let dir = tempfile::tempdir().unwrap();
    let (_, disk) = recorded(dir.path());
    let path = disk.to_str().unwrap();
    let threads = json(&dashproof(&["checkpoint", "ls", path, "--format", "json"]));
    let newest = threads[0]["checkpoints"][0]["file"].as_str().unwrap().to_owned();
    std::fs::remove_file(disk.join(&newest)).unwrap();
    std::fs::create_dir(disk.join(&newest)).unwrap();
    std::fs::write(disk.join("identity.dck"), b"half").unwrap();
    std::fs::create_dir(disk.join("somebody-elses")).unwrap();
    let verified = dashproof(&["checkpoint", "verify", path, "--format", "json"]);
    assert_eq!(code(&verified), exit::VIOLATION);
    let ill = json(&verified);
    let named = |name: &str| {
        let report = ill.iter().find(|report| report["file"] == name);
        report.map(|report| (report["health"].clone(), report["reason"].clone()))
    };
    assert_eq!(named(&newest), Some(("damaged".into(), "missing".into())));
    assert_eq!(named("identity.dck"), Some(("damaged".into(), "corrupt".into())));
    assert_eq!(named("somebody-elses"), None);
}

/// A directory that the original wrote.
fn original(variant: &str) -> String {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../reference/tests/data");
    data.join("checkpoints-v1").join(variant).join("dir").to_str().unwrap().to_owned()
}

#[test]
fn the_order_of_version_1_is_not_told_where_only_the_type_of_the_state_tells_it() {
    for (variant, told) in [("bare", false), ("compressed", false), ("versioned", true)] {
        let threads =
            json(&dashproof(&["checkpoint", "ls", &original(variant), "--format", "json"]));
        let many = |thread: &&serde_json::Value| {
            thread["thread"].is_string() && thread["checkpoints"].as_array().unwrap().len() > 1
        };
        let thread = threads.iter().find(many).unwrap();
        assert_eq!(thread["latest"].is_string(), told, "{variant}: {thread}");
        assert_eq!(thread["latest_unknown"].is_null(), told, "{variant}: {thread}");
        let first = &thread["checkpoints"][0]["checkpoint"];
        assert!(first["generation"].is_null(), "{first}");
        assert_eq!(first["secs"].is_u64(), told, "{first}");
    }
}

#[test]
fn verify_does_not_call_proven_what_it_cannot_prove() {
    let verified = dashproof(&["checkpoint", "verify", &original("bare")]);
    let text = stdout(&verified);
    assert_eq!(code(&verified), exit::INCONCLUSIVE, "{text}");
    assert!(text.contains("unproven (no_checksum: "), "{text}");
    assert!(text.trim_end().ends_with("that nothing here proves: inconclusive"), "{text}");
}

#[test]
fn a_newest_file_that_cannot_be_given_has_no_older_one_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (_, disk) = recorded(dir.path());
    let path = disk.to_str().unwrap();
    let args = ["checkpoint", "ls", path, "--max-state", "0"];
    let listed = stdout(&dashproof(&args));
    assert!(listed.contains("latest unknown: "), "{listed}");
    assert!(listed.contains("refused (oversize: "), "{listed}");
    let told = String::from_utf8(dashproof(&args).stderr).unwrap();
    assert!(told.contains("more than 0 bytes\nhelp: `--max-state BYTES` lets"), "{told}");
    let threads = json(&dashproof(&[&args[..], &["--format", "json"]].concat()));
    assert!(threads.iter().all(|thread| thread["latest"].is_null()), "{threads:?}");
}

#[test]
fn a_spool_is_told_from_a_directory_of_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("0000000000000001.spool"), b"").unwrap();
    let listed = dashproof(&["checkpoint", "ls", dir.path().to_str().unwrap()]);
    assert_eq!(code(&listed), exit::INCONCLUSIVE);
    let told = String::from_utf8(listed.stderr).unwrap();
    assert!(told.contains("is the spool of a producer, and no directory of checkpoints"), "{told}");
}
