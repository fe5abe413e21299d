//! `run`, `judge`, `replay` and `prove` over the real program: what a user reads, and exit codes.
#![cfg(test)]

#[path = "support/program.rs"]
mod program;

use std::path::Path;
use std::process::Output;

use dashproof::exit;
use dashproof::history::{reader, writer};
use program::{code, dashproof, root, stdout};

/// The text with every measured time replaced.
fn redacted(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive([' ', '\n']) {
        let bare = word.trim_end_matches([' ', '\n', ',', ':']);
        let seconds = bare.contains('.') && bare.parse::<f64>().is_ok();
        out.push_str(&if seconds { word.replacen(bare, "TIME", 1) } else { word.to_owned() });
    }
    out
}

/// Runs a scenario in simulation and keeps what it wrote.
fn recorded(dir: &Path, args: &[&str]) -> Output {
    let out = dir.to_str().unwrap();
    dashproof(&[&["run", "--lane", "sim", "--out", out], args].concat())
}

const SMALL: &str = "shutdown/in-flight";

#[test]
fn a_run_ends_with_a_table_the_laws_and_one_line() {
    let output = dashproof(&["run", SMALL, "--lane", "sim"]);
    assert_eq!(code(&output), exit::PROVEN, "{}", stdout(&output));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "progress in a pipe");
    insta::assert_snapshot!(redacted(&stdout(&output)));
}

#[test]
fn what_a_run_writes_gives_the_same_verdict_and_replays_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(code(&recorded(dir.path(), &[SMALL, "--seed", "3"])), exit::PROVEN);
    let cell = dir.path().join(SMALL).join("sim-seed3");
    for name in ["events.jsonl", "ledger.json", "metrics.prom", "scenario.toml"] {
        assert!(cell.join(name).metadata().unwrap().len() > 0, "{name} is empty");
    }
    let judged = dashproof(&["judge", cell.to_str().unwrap()]);
    assert_eq!(code(&judged), exit::PROVEN, "{}", stdout(&judged));
    let replayed = dashproof(&["replay", cell.to_str().unwrap()]);
    assert_eq!(code(&replayed), exit::PROVEN, "{}", stdout(&replayed));
    assert!(stdout(&replayed).contains("identical"), "{}", stdout(&replayed));
}

#[test]
fn another_history_of_the_same_cell_is_nondeterminism() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), &[SMALL]);
    let history = dir.path().join(SMALL).join("sim-seed0/events.jsonl");
    let file = std::io::BufReader::new(std::fs::File::open(&history).unwrap());
    let mut lines = reader::read(file, "events.jsonl").unwrap();
    lines[9].t_us += 1;
    std::fs::write(&history, writer::to_text(&lines).unwrap()).unwrap();
    let replayed = dashproof(&["replay", history.to_str().unwrap()]);
    assert_eq!(code(&replayed), exit::NONDETERMINISM, "{}", stdout(&replayed));
    assert!(stdout(&replayed).contains("differs"), "{}", stdout(&replayed));
}

#[test]
fn a_history_that_was_edited_is_neither_judged_nor_replayed() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), &[SMALL]);
    let history = dir.path().join(SMALL).join("sim-seed0/events.jsonl");
    let text = std::fs::read_to_string(&history).unwrap();
    assert!(text.contains("\"thread\":\"t3\""), "the history has changed its looks");
    std::fs::write(&history, text.replacen("\"thread\":\"t3\"", "\"thread\":\"t9\"", 1)).unwrap();
    for verb in ["judge", "replay"] {
        let output = dashproof(&[verb, history.to_str().unwrap()]);
        assert_eq!(code(&output), exit::USAGE, "{verb}: {}", stdout(&output));
    }
}

#[test]
fn a_driver_that_cannot_start_is_an_environment_error_and_nobodys_broken_promise() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["run", SMALL, "--lane", "wire", "--driver", "/nowhere/driver", "--out"];
    let output = dashproof(&[&args[..], &[dir.path().to_str().unwrap()]].concat());
    assert_eq!(code(&output), exit::ENVIRONMENT, "{}", stdout(&output));
    let text = stdout(&output);
    assert!(text.contains("environment: cannot start `/nowhere/driver`"), "{text}");
    assert!(!text.contains("broken: "), "{text}");
}

#[test]
fn a_failure_told_by_file_is_reproduced_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    std::fs::copy(root().join("scenarios/outage/all-brokers-3s.toml"), &path).unwrap();
    let path = path.to_str().unwrap();
    let output = recorded(dir.path(), &[path, "--saboteur", "discards"]);
    let line = format!("reproduce  dashproof run {path} --lane sim --seed 0 --saboteur discards");
    assert!(stdout(&output).contains(&line), "{}", stdout(&output));
}

#[test]
fn a_history_that_was_cut_is_not_judged() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path(), &[SMALL]);
    let history = dir.path().join(SMALL).join("sim-seed0/events.jsonl");
    let text = std::fs::read_to_string(&history).unwrap();
    let mut ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    ends.pop();
    ends.extend([text.len() - 20, text.len() / 2, 0]);
    for end in ends.into_iter().rev().take(9) {
        std::fs::write(&history, &text[..end]).unwrap();
        let judged = dashproof(&["judge", history.to_str().unwrap()]);
        assert_eq!(code(&judged), exit::USAGE, "cut after {end} of {} bytes", text.len());
    }
}

#[test]
fn a_violation_is_told_with_its_law_its_history_and_the_way_back_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["outage/all-brokers-3s", "--saboteur", "discards"];
    let output = recorded(dir.path(), &args);
    assert_eq!(code(&output), exit::VIOLATION);
    let text = stdout(&output);
    for part in ["D2 broken: ", "  expected ", "  observed ", "  blame ", "  reproduce ", "offered"]
    {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let cell = dir.path().join("outage/all-brokers-3s/sim-seed0-discards");
    let judged = dashproof(&["judge", cell.to_str().unwrap()]);
    assert_eq!(code(&judged), exit::VIOLATION);
    let again = |text: &str| {
        let from = text.find("D2 broken").unwrap();
        text[from..].lines().take(12).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(again(&stdout(&judged)), again(&text), "judge tells another story");
}

#[test]
fn a_fault_that_nobody_met_is_inconclusive_and_never_green() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("late.toml");
    let text = "id = \"outage/late\"\nsummary = \"a fault after everything is over\"\n\
                lanes = [\"sim\"]\n[[load]]\nevents = 5\n[[fault]]\nat = \"8s\"\n\
                kind = \"request.error\"\napi = \"Produce\"\ncode = \"INVALID_RECORD\"\n\
                [[action]]\nat = \"9s\"\nkind = \"close\"\ndeadline = \"1s\"\n";
    std::fs::write(&path, text).unwrap();
    let output = recorded(dir.path(), &[path.to_str().unwrap()]);
    assert_eq!(code(&output), exit::INCONCLUSIVE, "{}", stdout(&output));
    assert!(stdout(&output).contains("fault 1 (request.error) was met by nothing"));
}

#[test]
fn json_is_one_object_per_line_and_the_summary_comes_last() {
    let output = dashproof(&["run", SMALL, "--lane", "sim", "--seeds", "0..2", "--format", "json"]);
    assert_eq!(code(&output), exit::PROVEN);
    let lines: Vec<serde_json::Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["cell", "cell", "summary"]);
    assert_eq!(lines[0]["verdict"], "pass");
    assert_eq!(lines[2]["exit"], 0);
}

#[test]
fn proving_a_saboteur_names_the_law_and_the_seed() {
    let output = dashproof(&["prove", "counter-off-by-one"]);
    assert_eq!(code(&output), exit::PROVEN, "{}", stdout(&output));
    let text = stdout(&output);
    assert!(text.lines().nth(1).unwrap().contains("M1"), "{text}");
    assert!(text.lines().last().unwrap().contains("1 of 1 saboteurs caught"), "{text}");
}

#[test]
fn every_saboteur_names_scenarios_and_laws_that_exist() {
    let library = dashproof::scenario::load_dir(&root().join("scenarios")).unwrap();
    for saboteur in dashproof::saboteur::all() {
        let law = dashproof::oracle::LawId::from_name(saboteur.law);
        assert!(law.is_some() || saboteur.law == dashproof::saboteur::AGREE, "{saboteur:?}");
        assert!(!saboteur.scenarios.is_empty(), "{saboteur:?}");
        for id in saboteur.scenarios {
            let scenario = library.get(id);
            assert!(scenario.is_some_and(|s| s.lanes.contains(&saboteur.lane)), "{saboteur:?}");
        }
    }
}

/// Runs for a while, and gets this signal.
#[cfg(unix)]
fn signalled(signal: rustix::process::Signal, more: &[&str]) -> Output {
    let args = [&["run", "outage/*", "--lane", "sim", "--seeds", "0..2000"], more].concat();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dashproof"));
    command.args(args).current_dir(root());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
    child.wait_with_output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_run_that_is_interrupted_says_how_far_it_came_and_ends_with_the_shells_code() {
    let output = signalled(rustix::process::Signal::INT, &[]);
    assert_eq!(code(&output), exit::INTERRUPTED);
    let error = String::from_utf8(output.stderr).unwrap();
    let last = error.lines().last().unwrap();
    assert!(last.starts_with("dashproof run: interrupted by SIGINT: "), "{error}");
    assert!(last.contains(" cells done"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_run_that_is_terminated_tells_programs_how_far_it_came() {
    let output = signalled(rustix::process::Signal::TERM, &["--format", "json"]);
    assert_eq!(code(&output), exit::TERMINATED);
    let last = stdout(&output).lines().last().unwrap().to_owned();
    let summary: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&summary["interrupted"], &summary["exit"]), (&"SIGTERM".into(), &143.into()));
    assert!(summary["done"].as_u64().unwrap() < summary["of"].as_u64().unwrap(), "{summary}");
}

#[test]
fn a_run_of_nothing_tells_programs_its_code_and_why() {
    for (args, wanted) in [
        (&["run", SMALL, "--lane", "external"][..], exit::INCONCLUSIVE),
        (&["run", SMALL, "--lane", "files"], exit::INCONCLUSIVE),
        (&["run", "no/such"], exit::USAGE),
        (&["prove", "flush-early", "--lanes", "external"], exit::INCONCLUSIVE),
    ] {
        let output = dashproof(&[args, &["--format", "json"]].concat());
        assert_eq!(code(&output), wanted, "{args:?}");
        let text = stdout(&output);
        let summary: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&summary["type"], &summary["exit"]), (&"summary".into(), &wanted.into()));
        assert!(!summary["nothing_was_run"][0].as_str().unwrap().is_empty(), "{summary}");
        assert!(!output.stderr.is_empty(), "people are told too: {args:?}");
    }
}

#[test]
fn a_named_lane_that_nothing_selected_is_written_for_is_told_and_not_green() {
    let args = ["run", SMALL, "--lanes", "sim,files", "--seeds", "0"];
    let output = dashproof(&args);
    let text = stdout(&output);
    assert_eq!(code(&output), exit::INCONCLUSIVE, "{text}");
    let told = "NOT RUN: lane files: nothing of what is selected is written for it";
    assert!(text.contains(told), "{text}");
    assert!(text.lines().last().unwrap().contains("1 pass, lane files NOT RUN"), "{text}");
    let allowed = dashproof(&[&args[..], &["--allow-not-run"]].concat());
    assert_eq!(code(&allowed), exit::PROVEN, "{}", stdout(&allowed));
}

#[test]
fn what_prove_does_not_run_can_be_allowed() {
    let args = ["prove", "flush-early", "broker-forgets", "--lanes", "sim", "--allow-not-run"];
    let output = dashproof(&args);
    let text = stdout(&output);
    assert_eq!(code(&output), exit::PROVEN, "{text}");
    assert!(text.contains("NOT RUN: broker-forgets: caught on wire, not on sim"), "{text}");
    assert!(text.trim_end().ends_with("proven, but for what was NOT RUN"), "{text}");
}

#[test]
fn a_lane_without_saboteurs_is_told_and_so_are_those_that_have_some() {
    let output = dashproof(&["prove", "--lanes", "external"]);
    assert_eq!(code(&output), exit::INCONCLUSIVE, "{}", stdout(&output));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("no saboteur is caught on external; nothing was run"), "{error}");
    assert!(error.contains("leave --lane out, or name sim, "), "{error}");
    let output = dashproof(&["prove", "flush-early", "--lanes", "sim,external"]);
    assert_eq!(code(&output), exit::INCONCLUSIVE, "{}", stdout(&output));
    let text = stdout(&output);
    assert!(text.contains("NOT RUN: lane external: no saboteur is caught there"), "{text}");
}

#[test]
fn a_saboteur_that_is_caught_on_another_lane_than_the_named_one_is_not_run() {
    let output = dashproof(&["prove", "flush-early", "broker-forgets", "--lanes", "sim"]);
    assert_eq!(code(&output), exit::INCONCLUSIVE, "{}", stdout(&output));
    let text = stdout(&output);
    assert!(text.contains("NOT RUN: broker-forgets: caught on wire, not on sim"), "{text}");
    assert!(text.lines().last().unwrap().contains("1 of 1 saboteurs caught, 1 NOT RUN"), "{text}");
    let none = dashproof(&["prove", "flush-early", "--lanes", "kafka"]);
    assert_eq!(code(&none), exit::INCONCLUSIVE, "{}", stdout(&none));
    assert_eq!(stdout(&none), "");
}

#[test]
fn a_name_of_the_wrong_kind_is_told_as_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (file, empty) = (dir.path().join("notes.txt"), dir.path().join("empty"));
    std::fs::write(&file, "no scenario").unwrap();
    std::fs::create_dir(&empty).unwrap();
    let (file, empty) = (file.to_str().unwrap(), empty.to_str().unwrap());
    for (args, wanted, told) in [
        (&["run", file][..], exit::USAGE, "it is a file, and files of scenarios end in .toml"),
        (&["show", file], exit::USAGE, "it is a file, and files of scenarios end in .toml"),
        (&["run", empty], exit::USAGE, "it is a folder; `--scenarios DIR` names one"),
        (&["run", "--scenarios", empty], exit::INCONCLUSIVE, "scenarios are files FAMILY/NAME"),
        (&["list", "--scenarios", file], exit::USAGE, "is no folder\nhelp: name the folder"),
        (&["checkpoint", "ls", file], exit::USAGE, "is no folder\nhelp: name the folder"),
        (&["judge", file], exit::USAGE, "help: a history is what `dashproof run --out DIR`"),
        (&["run", SMALL, "--out", file], exit::ENVIRONMENT, "help: name a folder in which files"),
        (&["driver", "--saboteur", "nobody"], exit::USAGE, "unknown saboteur `nobody`: "),
        (&["mock-cluster", "1000000"], exit::USAGE, "1000000 is not in 1..=100"),
    ] {
        let output = dashproof(args);
        let error = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(code(&output), wanted, "{args:?}: {error}");
        assert!(error.contains(told), "{args:?}: {error}");
    }
}
