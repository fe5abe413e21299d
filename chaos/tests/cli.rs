//! The program as a user meets it: what it prints, and the exit code it ends with.
#![cfg(test)]

#[path = "support/program.rs"]
mod program;

use std::process::Output;

use dashproof::exit;
use program::{code, dashproof, stdout};

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Exit code and what a person reads on stderr, for snapshots.
fn refused(args: &[&str]) -> String {
    let output = dashproof(args);
    assert_eq!(stdout(&output), "", "something was run");
    format!("exit {}\n{}", code(&output), stderr(&output))
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

/// A file that is fine but for what is put in.
fn scenario(id: &str, more: &str) -> String {
    format!("id = \"{id}\"\nsummary = \"nothing\"\nlanes = [\"sim\"]\n{more}[[load]]\nevents = 1\n")
}

#[test]
fn an_unknown_id_is_a_misuse_and_the_nearest_is_named() {
    insta::assert_snapshot!(refused(&["run", "outage/all-broker-3s"]), @r"
    exit 2
    error: no scenario has the id `outage/all-broker-3s`: did you mean `outage/all-brokers-3s`?
    help: `dashproof list` shows every id
    ");
}

#[test]
fn a_glob_that_matches_nothing_proves_nothing() {
    assert_eq!(code(&dashproof(&["run", "outage/zzz*"])), exit::INCONCLUSIVE);
}

#[test]
fn a_row_that_nothing_guards_yet_proves_nothing() {
    let output = dashproof(&["run", "--row", "SAF-1"]);
    assert_eq!(code(&output), exit::INCONCLUSIVE);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no scenario guards the row SAF-1 yet"), "{text}");
}

#[test]
fn a_folder_without_scenario_files_proves_nothing() {
    let dir = folder(&[]);
    let output = dashproof(&["check", dir.path().to_str().unwrap()]);
    assert_eq!(code(&output), exit::INCONCLUSIVE);
}

#[test]
fn two_files_with_one_id_are_not_run_together() {
    let other = scenario("outage/a", "").replace("nothing", "something");
    let dir = folder(&[("outage/a.toml", &scenario("outage/a", "")), ("x/a.toml", &other)]);
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let output = dashproof(&["run", &file("outage/a.toml"), &file("x/a.toml")]);
    assert_eq!(code(&output), exit::USAGE);
}

#[test]
fn an_output_folder_that_cannot_be_made_is_told_before_anything_runs() {
    let dir = folder(&[("taken", "")]);
    let out = dir.path().join("taken/out");
    let output = dashproof(&["run", "--lane", "sim", "--out", out.to_str().unwrap()]);
    assert_eq!(code(&output), exit::ENVIRONMENT);
    assert_eq!(stdout(&output), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_verdict_that_cannot_be_written_is_no_success() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dashproof"));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let output = command.arg("list").stdout(full).output().unwrap();
    assert_eq!(code(&output), exit::ENVIRONMENT);
}

#[test]
fn a_missing_scenario_file_is_told_with_its_name() {
    insta::assert_snapshot!(refused(&["run", "nowhere/at-all.toml"]), @r"
    exit 2
    error: nowhere/at-all.toml:1:1: cannot be read: No such file or directory (os error 2)
      help: name a scenario file; ids, which `dashproof list` shows, have no `.toml`

    1 problem in scenario files; nothing was run
    ");
}

#[test]
fn a_malformed_scenario_file_runs_nothing() {
    let dir = folder(&[("outage/bad.toml", &scenario("outage/bad", "budgt = \"3s\"\n"))]);
    let path = dir.path().join("outage/bad.toml");
    let output = dashproof(&["run", path.to_str().unwrap()]);
    assert_eq!(code(&output), exit::USAGE);
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("bad.toml:4:1: unknown key `budgt`"), "{}", stderr(&output));
    assert!(stderr(&output).contains("did you mean `budget`?"), "{}", stderr(&output));
}

#[test]
fn an_empty_selection_is_inconclusive() {
    insta::assert_snapshot!(refused(&["run", "--family", "codec", "--tag", "crash"]), @r"
    exit 3
    error: the selection is empty: no scenario meets all of its conditions
    help: drop a condition; `dashproof list` shows what there is
    ");
}

#[test]
fn a_family_that_does_not_exist_selects_nothing() {
    insta::assert_snapshot!(refused(&["run", "--family", "outages"]), @r"
    exit 3
    error: no scenario has the family `outages`: did you mean `outage`?
    ");
}

#[test]
fn a_lane_that_does_not_exist_is_a_misuse() {
    let output = dashproof(&["run", "--lane", "wired"]);
    assert_eq!(code(&output), exit::USAGE);
    assert!(stderr(&output).contains("did you mean `wire`?"), "{}", stderr(&output));
}

#[test]
fn a_lane_that_is_not_there_fails_the_command_that_asked_for_it() {
    let args = ["run", "codec/strict", "--lanes", "sim,external"];
    let output = dashproof(&args);
    assert_eq!(code(&output), exit::INCONCLUSIVE);
    let text = stdout(&output);
    assert!(text.contains("NOT RUN: lane external: no cluster is named"), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.contains("1 cells, 1 pass, 1 NOT RUN"), "{last}");
    assert!(last.ends_with(": inconclusive"), "{last}");
    let allowed = dashproof(&[&args[..], &["--allow-not-run"]].concat());
    assert_eq!(code(&allowed), exit::PROVEN, "{}", stdout(&allowed));
    let text = stdout(&allowed);
    assert!(text.trim_end().ends_with(": proven, but for what was NOT RUN"), "{text}");
}

#[test]
fn a_scenario_that_is_not_written_for_the_lane_leaves_nothing_to_run() {
    insta::assert_snapshot!(refused(&["run", "outage/retryable-codes", "--lane", "wire"]), @r"
    exit 3
    error: nothing to run: 1 scenario selected, none of them is written for wire
    help: they are written for sim
    ");
}

#[test]
fn an_empty_range_of_seeds_is_a_misuse() {
    let output = dashproof(&["run", "outage/all-brokers-3s", "--seeds", "5..5"]);
    assert_eq!(code(&output), exit::USAGE);
    assert!(stderr(&output).contains("the range of seeds `5..5` is empty"), "{}", stderr(&output));
}

#[test]
fn an_unknown_saboteur_is_a_misuse() {
    insta::assert_snapshot!(refused(&["prove", "flush-erly"]), @r"
    exit 2
    error: unknown saboteur `flush-erly`: did you mean `flush-early`?
    ");
}

#[test]
fn an_unknown_verb_is_a_misuse_with_a_suggestion() {
    let output = dashproof(&["lst"]);
    assert_eq!(code(&output), exit::USAGE);
    assert!(stderr(&output).contains("list"), "{}", stderr(&output));
}

#[test]
fn help_is_no_error() {
    let output = dashproof(&["--help"]);
    assert_eq!(code(&output), exit::PROVEN);
    insta::assert_snapshot!(stdout(&output));
}

#[test]
fn list_as_json_is_an_array_of_objects_with_an_id() {
    let output = dashproof(&["list", "--format", "json"]);
    assert_eq!(code(&output), exit::PROVEN);
    let all: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let ids: Vec<&str> = all.iter().map(|object| object["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"outage/all-brokers-3s"), "{ids:?}");
    assert!(ids.is_sorted(), "{ids:?}");
}

#[test]
fn families_tags_and_rows_narrow_a_selection() {
    let ids = |args: &[&str]| {
        let output = dashproof(&[&["list", "--format", "json"], args].concat());
        let all: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        all.iter().map(|object| object["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = ids(&[]);
    let crashes = ids(&["--tag", "crash"]);
    assert!(crashes.contains(&"shutdown/crash-and-restart".to_owned()), "{crashes:?}");
    assert!(crashes.len() < all.len());
    assert!(ids(&["--family", "dlq"]).iter().all(|id| id.starts_with("dlq/")));
    let both = ids(&["--family", "dlq", "--family", "codec"]);
    assert!(both.len() > ids(&["--family", "dlq"]).len());
    assert!(ids(&["--row", "PERF-4"]).contains(&"outage/cold-start".to_owned()));
    assert!(ids(&["outage/queue-*"]).len() >= 2);
}

#[test]
fn every_audit_row_that_this_version_answers_is_guarded_by_a_scenario() {
    let rows = [
        "RES-1", "RES-2", "RES-3", "OBS-1", "OBS-2", "OBS-3", "OBS-4", "SEC-2", "SEC-3", "INT-1",
        "INT-5", "PERF-2", "PERF-3", "PERF-4", "SAF-4",
    ];
    for row in rows {
        assert_eq!(code(&dashproof(&["list", "--row", row])), exit::PROVEN, "{row}");
    }
}

#[test]
fn show_tells_a_scenario_in_words() {
    let output = dashproof(&["show", "outage/all-brokers-3s"]);
    assert_eq!(code(&output), exit::PROVEN);
    insta::assert_snapshot!(stdout(&output));
}

#[test]
fn check_tells_that_every_shipped_scenario_is_good() {
    let output = dashproof(&["check"]);
    assert_eq!(code(&output), exit::PROVEN, "{}", stdout(&output));
    assert!(stdout(&output).ends_with("scenarios: no problem\n"), "{}", stdout(&output));
}

#[test]
fn check_refuses_an_id_that_two_files_use_and_one_that_is_in_the_wrong_place() {
    let dir = folder(&[
        ("outage/a.toml", &scenario("outage/a", "")),
        ("outage/b.toml", &scenario("outage/b", "aliases = [\"outage/a\"]\n")),
        ("dlq/c.toml", &scenario("outage/c", "")),
    ]);
    let output = dashproof(&["check", dir.path().to_str().unwrap()]);
    assert_eq!(code(&output), exit::USAGE);
    let text = stdout(&output).replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(text);
}

#[test]
fn check_as_json_gives_places_to_programs() {
    let dir = folder(&[("outage/a.toml", &scenario("outage/a", "budgt = \"3s\"\n"))]);
    let output = dashproof(&["check", dir.path().to_str().unwrap(), "--format", "json"]);
    assert_eq!(code(&output), exit::USAGE);
    let problems: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&problems[0]["line"], &problems[0]["column"]), (&4.into(), &1.into()));
}

#[test]
fn doctor_tells_what_is_there_and_the_remedy_for_what_is_not() {
    let output = dashproof(&["doctor", "--json"]);
    assert_eq!(code(&output), exit::PROVEN, "{}", stdout(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let sim = findings.iter().find(|finding| finding["what"] == "lane sim").unwrap();
    assert_eq!(sim["here"], true);
    for finding in findings.iter().filter(|finding| finding["here"] == false) {
        assert_ne!(finding["remedy"], "", "{finding}");
    }
}

#[test]
fn judging_what_is_no_history_is_a_misuse() {
    let dir = folder(&[("events.jsonl", "{\"v\":1}\n")]);
    let output = dashproof(&["judge", dir.path().to_str().unwrap()]);
    assert_eq!(code(&output), exit::USAGE);
    assert!(stderr(&output).contains("events.jsonl:1"), "{}", stderr(&output));
    assert_eq!(code(&dashproof(&["judge", "nowhere.jsonl"])), exit::USAGE);
    assert_eq!(code(&dashproof(&["replay", "nowhere.jsonl"])), exit::USAGE);
}

#[test]
fn nothing_is_coloured_or_overwritten_in_a_pipe() {
    for args in [&["list"][..], &["doctor"], &["check"], &["show", "outage/flapping"]] {
        let output = dashproof(args);
        assert!(!stdout(&output).contains('\x1b'), "{args:?}");
        assert_eq!(stderr(&output), "", "{args:?}");
    }
}

#[test]
fn a_named_scenario_that_is_written_for_no_named_lane_is_told_and_no_part_of_a_proof() {
    let args = ["run", "codec/strict", "outage/leader-killed", "--lanes", "sim"];
    let output = dashproof(&args);
    assert_eq!(code(&output), exit::INCONCLUSIVE);
    let text = stdout(&output);
    let told = "NOT RUN: outage/leader-killed: it is written for kafka, not for sim\n";
    assert!(text.contains(told), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.contains("1 cells, 1 pass, 1 NOT RUN"), "{last}");
    assert!(last.ends_with(": inconclusive"), "{last}");
    let allowed = dashproof(&[&args[..], &["--allow-not-run", "--format", "json"]].concat());
    assert_eq!(code(&allowed), exit::PROVEN);
    let summary = stdout(&allowed).lines().last().unwrap().to_owned();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["not_run"], 1);
    assert_eq!(summary["scenarios_not_run"][0]["scenario"], "outage/leader-killed");
}

#[test]
fn what_a_pattern_finds_and_no_named_lane_runs_is_counted_and_decides_nothing() {
    let output = dashproof(&["run", "security/secrets*", "security/tls*", "--lanes", "sim"]);
    assert_eq!(code(&output), exit::PROVEN);
    let text = stdout(&output);
    assert!(text.contains("left out: 2 of 3 selected: not written for sim\n"), "{text}");
}

#[test]
fn one_play_of_a_free_choice_is_named_in_the_verdict() {
    let output = dashproof(&["run", "checkpoint/disk-full-at-every-byte", "--free", "100"]);
    let text = stdout(&output);
    assert!(text.trim_end().ends_with(": proven (1 play, choice 100)"), "{text}");
}

#[test]
fn a_nearby_id_is_offered_and_nonsense_is_not() {
    let told = |id: &str| stderr(&dashproof(&["run", id]));
    assert!(
        told("outage/nope").contains("`outage/nope`: one of `outage/"),
        "{}",
        told("outage/nope")
    );
    for id in ["outge/resets", "outage/reset", "resets"] {
        assert!(told(id).contains("did you mean `outage/resets`?"), "{}", told(id));
    }
    let far = told("foo/bar");
    assert!(far.contains("its family would be one of `checkpoint`, `codec`"), "{far}");
}

#[test]
fn check_names_both_files_of_one_id_wherever_they_come_from() {
    let other = scenario("outage/a", "").replace("nothing", "something");
    let dir =
        folder(&[("x/outage/a.toml", &scenario("outage/a", "")), ("y/outage/a.toml", &other)]);
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for (a, b) in [("x", "y"), ("x/outage/a.toml", "y/outage/a.toml"), ("x", "y/outage/a.toml")] {
        let output = dashproof(&["check", &at(a), &at(b)]);
        assert_eq!(code(&output), exit::USAGE, "{a} {b}");
        let text = stdout(&output);
        let both = ["x/outage/a.toml", "y/outage/a.toml"].map(at);
        assert!(both.iter().all(|file| text.contains(file.as_str())), "{text}");
    }
    let same = dashproof(&["check", &at("x"), &at("x/outage/a.toml")]);
    assert!(stdout(&same).contains("1 scenario: no problem"), "{}", stdout(&same));
}

#[test]
fn what_a_run_left_is_checked_in_its_place_and_beside_its_scenario() {
    let text = scenario("outage/a", "");
    let dir = folder(&[
        ("outage/a.toml", &text),
        ("out/outage/a/sim-seed0/scenario.toml", &text),
        ("out/outage/a/sim-seed1/scenario.toml", &text),
    ]);
    let output = dashproof(&["check", dir.path().to_str().unwrap()]);
    assert_eq!(code(&output), exit::PROVEN, "{}", stdout(&output));
    assert!(stdout(&output).contains("3 scenarios: no problem"), "{}", stdout(&output));
    let moved = folder(&[("elsewhere/scenario.toml", &text)]);
    let output = dashproof(&["check", moved.path().to_str().unwrap()]);
    assert_eq!(code(&output), exit::USAGE);
    let rule = "or of FAMILY/NAME/CELL/scenario.toml, which a run left";
    assert!(stdout(&output).contains(rule), "{}", stdout(&output));
    let alone = moved.path().join("elsewhere/scenario.toml");
    assert_eq!(code(&dashproof(&["check", alone.to_str().unwrap()])), exit::PROVEN);
}
