//! `run --agree` over the real program: what lanes say of each other, and exit codes.
#![cfg(test)]

#[path = "support/program.rs"]
mod program;

use std::path::Path;
use std::process::Output;

use dashproof::exit;
use program::{code, dashproof, root, stdout};

/// Runs on `sim` and `wire` with scenarios of its own.
fn agree(dir: &Path, args: &[&str]) -> Output {
    let out = dir.join("out");
    let own = ["--scenarios", dir.to_str().unwrap(), "--out", out.to_str().unwrap()];
    dashproof(&[&["run", "--lanes", "sim,wire", "--agree"], args, &own].concat())
}

/// A folder with this scenario alone, and this file of explanations beside it.
fn library(id: &str, agreement: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = format!("{id}.toml");
    let to = dir.path().join(&file);
    std::fs::create_dir(to.parent().unwrap()).unwrap();
    std::fs::copy(root().join("scenarios").join(&file), &to).unwrap();
    if !agreement.is_empty() {
        std::fs::write(to.parent().unwrap().join("agreement.toml"), agreement).unwrap();
    }
    dir
}

/// The summary of a run in JSON.
fn summary(output: &Output) -> serde_json::Value {
    serde_json::from_str(stdout(output).lines().last().unwrap()).unwrap()
}

const SMALL: &str = "codec/strict";
/// The model broker has no SASL, which only librdkafka minds.
const DIFFERS: &str = "security/secrets-stay-inside";

fn explanation(id: &str, field: &str) -> String {
    format!(
        "[[difference]]\nid = \"{id}\"\nlanes = [\"sim\", \"wire\"]\nfield = \"{field}\"\n\
         reason = \"it is so\"\n"
    )
}

#[test]
fn lanes_that_agree_are_told_in_a_table_and_a_line() {
    let dir = library(SMALL, "");
    let output = agree(dir.path(), &[]);
    assert_eq!(code(&output), exit::PROVEN, "{}", stdout(&output));
    let text = stdout(&output);
    assert!(text.contains("scenario      sim   wire  agreement\n"), "{text}");
    assert!(text.contains("codec/strict  pass  pass  agree\n"), "{text}");
    let last = text.lines().last().unwrap();
    let line = "dashproof agree: 1 pair of lanes compared, 1 scenario; 0 differences; 0 more \
                explained: proven";
    assert_eq!(last, line);
}

#[test]
fn a_difference_that_nothing_explains_ends_with_a_violation_and_is_told_with_both_sides() {
    let dir = library(DIFFERS, "");
    let output = agree(dir.path(), &[]);
    assert_eq!(code(&output), exit::VIOLATION, "{}", stdout(&output));
    let text = stdout(&output);
    let told = "DIFFERS  security/secrets-stay-inside between sim and wire, seed 0
  class/acked
    sim        39 events
    wire       no event
  reproduce  dashproof run security/secrets-stay-inside --lanes sim,wire --seed 0 --agree
";
    assert!(text.contains(told), "{text}");
    assert!(text.contains("differs  differs  1 NOT EXPLAINED"), "{text}");
}

#[test]
fn a_difference_that_is_explained_is_told_with_its_reason() {
    let dir = library(DIFFERS, &explanation(DIFFERS, "class/acked"));
    let output = agree(dir.path(), &["--format", "json"]);
    assert_eq!(code(&output), exit::PROVEN, "{}", stdout(&output));
    let text = stdout(&output);
    let pair = text.lines().find(|line| line.contains("\"type\":\"agreement\"")).unwrap();
    let pair: serde_json::Value = serde_json::from_str(pair).unwrap();
    assert_eq!(pair["differences"][0]["explained"], "it is so", "{pair}");
    assert_eq!(pair["differences"][0]["sim"], "39 events", "{pair}");
    let table = &summary(&output)["agreement"]["table"][0];
    assert_eq!((&table["explained"], &table["lanes"]["wire"]), (&1.into(), &"pass".into()));
}

#[test]
fn an_explanation_that_no_difference_needs_is_stale() {
    let dir = library(SMALL, &explanation(SMALL, "class/dropped/deadline"));
    let output = agree(dir.path(), &[]);
    assert_eq!(code(&output), exit::STALE, "{}", stdout(&output));
    let text = stdout(&output);
    assert!(text.contains("STALE  "), "{text}");
    assert!(text.contains("agreement.toml:1: codec/strict on sim and wire agrees in"), "{text}");
    assert!(text.trim_end().ends_with("1 STALE explanation: stale"), "{text}");
}

#[test]
fn one_lane_is_nothing_to_compare() {
    let output = dashproof(&["run", SMALL, "--lanes", "sim", "--agree"]);
    assert_eq!(code(&output), exit::INCONCLUSIVE);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("--agree was given one lane, sim; nothing was run"), "{error}");
}

#[test]
fn scenarios_of_one_lane_are_nothing_to_compare() {
    let output = dashproof(&["run", "outage/a-bad-day", "--lanes", "sim,wire", "--agree"]);
    assert_eq!(code(&output), exit::INCONCLUSIVE);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains(
            "nothing to compare: outage/a-bad-day: of the lanes sim, wire only sim can run it; it \
             is written for sim"
        ),
        "{error}"
    );
}

#[test]
fn a_lane_that_is_not_there_is_told_and_the_others_are_compared() {
    let output = dashproof(&["run", SMALL, "--lanes", "sim,wire,external", "--agree"]);
    assert_eq!(code(&output), exit::INCONCLUSIVE, "{}", stdout(&output));
    let text = stdout(&output);
    assert!(text.contains("NOT RUN: lane external: no cluster is named"), "{text}");
    assert!(text.contains("codec/strict  pass  pass  not run   agree"), "{text}");
    assert!(text.trim_end().ends_with("NOT RUN: external: inconclusive"), "{text}");
}

#[test]
fn explanations_that_cannot_be_understood_are_refused_before_anything_runs() {
    let dir = library(SMALL, &explanation("codec/strikt", "class/acked"));
    let agreement = dir.path().join("codec/agreement.toml");
    let check = dashproof(&["check", agreement.to_str().unwrap()]);
    assert_eq!(code(&check), exit::USAGE);
    let text = stdout(&check);
    assert!(text.contains("agreement.toml:2:6: there is no scenario `codec/strikt`"), "{text}");
    assert!(text.contains("did you mean `codec/strict`?"), "{text}");
    let file = dir.path().join("codec/strict.toml");
    for target in [SMALL, file.to_str().unwrap()] {
        assert_eq!(code(&agree(dir.path(), &[target])), exit::USAGE, "{target}");
    }
}

#[test]
fn every_wrong_broker_is_caught_by_lanes_that_do_not_agree() {
    let brokers = ["broker-acks-before-append", "broker-forgets", "broker-misorders"];
    let output = dashproof(&[&["prove"], &brokers[..]].concat());
    let text = stdout(&output);
    assert_eq!(code(&output), exit::PROVEN, "{text}");
    assert!(text.lines().last().unwrap().contains("3 of 3 saboteurs caught"), "{text}");
    for field in ["AGREE law/D2", "AGREE law/D6"] {
        assert!(text.contains(field), "{text}");
    }
}

#[test]
fn a_wrong_broker_is_nowhere_but_on_wire() {
    for more in [&["--lane", "sim"][..], &["--lanes", "sim,kafka", "--agree"]] {
        let output = dashproof(&[&["run", SMALL, "--saboteur", "broker-forgets"], more].concat());
        assert_eq!(code(&output), exit::USAGE, "{}", stdout(&output));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("broker-forgets acts on wire only"), "{error}");
    }
}

#[test]
fn a_wrong_broker_beside_sound_ones_is_said_to_be_on_its_lane_only() {
    let dir = library(SMALL, "");
    let output = agree(dir.path(), &["--saboteur", "broker-forgets"]);
    let text = stdout(&output);
    assert!(text.trim_end().ends_with(": proven (broker-forgets on wire only)"), "{text}");
}

#[test]
fn a_named_scenario_of_which_no_two_lanes_ran_is_no_part_of_an_agreement() {
    let lanes = ["--lanes", "sim,wire", "--agree"];
    let output = dashproof(&[&["run", SMALL, "outage/a-bad-day"], &lanes[..]].concat());
    assert_eq!(code(&output), exit::INCONCLUSIVE, "{}", stdout(&output));
    let text = stdout(&output);
    let why = "NOT COMPARED: outage/a-bad-day: of the lanes sim, wire only sim can run it; it is \
               written for ";
    assert!(text.contains(why), "{text}");
    assert!(text.contains("1 scenario not compared"), "{text}");
    assert!(text.trim_end().ends_with(": inconclusive"), "{text}");
}

#[test]
fn a_scenario_that_a_pattern_found_and_no_two_lanes_can_run_is_only_counted() {
    let dir = library(SMALL, "");
    let lonely = dir.path().join("codec/lonely.toml");
    let text = std::fs::read_to_string(dir.path().join("codec/strict.toml")).unwrap();
    let lanes = text.lines().find(|line| line.starts_with("lanes")).unwrap();
    let text = text.replace("codec/strict", "codec/lonely").replace(lanes, "lanes = [\"sim\"]");
    std::fs::write(lonely, text).unwrap();
    let output = agree(dir.path(), &["codec/*"]);
    let text = stdout(&output);
    assert_eq!(code(&output), exit::PROVEN, "{text}");
    assert!(!text.contains("NOT COMPARED"), "{text}");
    assert!(text.contains("0 more explained; 1 scenario not compared: proven"), "{text}");
}

#[test]
fn a_missing_lane_that_nobody_named_decides_nothing_in_a_comparison_either() {
    let dir = library(SMALL, "");
    let scenarios = dir.path().to_str().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dashproof"))
        .args(["run", "--agree", "--scenarios", scenarios])
        .current_dir(root())
        .env("DOCKER_HOST", "unix:///nowhere.sock")
        .output()
        .unwrap();
    let text = stdout(&output);
    assert_eq!(code(&output), exit::PROVEN, "{text}");
    assert!(text.contains("NOT RUN: lane kafka: "), "{text}");
    assert!(text.contains("2 pass, 1 NOT RUN"), "{text}");
}
