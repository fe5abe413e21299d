use std::sync::Arc;

use crate::history::{Kind, Line, StateReceived, writer};
use crate::lane::{RunInput, SubjectSpec, disk};
use crate::oracle::{Verdict, judge};
use crate::scenario::model::{Action, ActionKind, At};

fn input(file: &str, seed: u64, subject: SubjectSpec) -> RunInput {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/state");
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let scenario = Arc::new(crate::scenario::parse(&text, &path.display().to_string()).unwrap());
    RunInput { scenario, seed, subject }
}

fn received(lines: &[Line]) -> Vec<&StateReceived> {
    let mut all = Vec::new();
    for line in lines {
        if let Kind::StateReceived(received) = &line.kind {
            all.push(received);
        }
    }
    all
}

#[test]
fn the_same_input_gives_the_same_history_byte_for_byte_heap_and_all() {
    let text = |lines: &[Line]| writer::to_text(lines).unwrap();
    for file in ["messages-lost.toml", "oversized-in-a-chain.toml", "no-digests.toml"] {
        let input = input(file, 5, SubjectSpec::Reference);
        let first = disk::run(&input);
        assert_eq!(first.error, None);
        assert!(first.lines.iter().any(|line| matches!(line.kind, Kind::StateHeap(_))));
        assert_eq!(text(&first.lines), text(&disk::run(&input).lines), "{file}");
        // on a thread that has done nothing yet
        let other = std::thread::spawn(move || disk::run(&input)).join().unwrap();
        assert_eq!(text(&first.lines), text(&other.lines), "{file}");
    }
}

#[test]
fn a_loss_is_told_as_many_states_later_as_the_file_says() {
    let output = disk::run(&input("oversized-in-a-chain.toml", 0, SubjectSpec::Reference));
    let lost = received(&output.lines).into_iter().find(|received| received.message == "lost");
    let told = output.lines.iter().position(|line| matches!(line.kind, Kind::StateLost(_)));
    let before = received(&output.lines[..told.unwrap()]);
    assert_eq!(before.last().unwrap().step, lost.unwrap().step + 3);
}

#[test]
fn every_event_arrives_and_every_state_that_was_sent_is_had() {
    let output = disk::run(&input("messages-lost.toml", 1, SubjectSpec::Reference));
    let all = received(&output.lines);
    assert_eq!(all.len(), 60);
    assert!(all.iter().all(|received| received.event));
    assert_eq!(all.iter().filter(|received| received.message == "lost").count(), 5);
    // between a loss and its report receivers know that they cannot follow
    assert!(all.iter().any(|received| received.error.is_some()));
}

#[test]
fn a_whole_state_that_is_kept_is_caught_by_the_allocator() {
    let subject = SubjectSpec::Saboteur("whole-state-retained".into());
    let input = input("two-megabytes.toml", 0, subject);
    let judgement = judge(&disk::run(&input).lines, &input.scenario);
    assert_eq!(judgement.verdict, Verdict::Fail);
    let kept = judgement.violations.iter().find(|v| v.law.as_str() == "R3" && v.rule == "kept");
    assert!(kept.is_some(), "{:?}", judgement.violations);
}

#[test]
fn what_state_diffs_have_not_is_not_applicable() {
    let good = input("each-twice.toml", 0, SubjectSpec::Reference);
    let mut scenario = (*good.scenario).clone();
    let at = At::Time(std::time::Duration::ZERO);
    scenario.actions.push(Action { at, kind: ActionKind::Open });
    let none = disk::run(&RunInput { scenario: Arc::new(scenario), ..good });
    assert!(none.not_applicable.unwrap().contains("no actions"));
}

#[test]
fn a_load_that_waits_for_a_number_never_reached_is_not_done() {
    let good = input("messages-lost.toml", 0, SubjectSpec::Reference);
    let mut scenario = (*good.scenario).clone();
    let load = crate::scenario::model::Load {
        at: At::Offered(1_000_000),
        ..scenario.loads.first().cloned().unwrap()
    };
    scenario.loads.push(load);
    let n = scenario.loads.len();
    let output = disk::run(&RunInput { scenario: Arc::new(scenario.clone()), ..good });
    let judgement = judge(&output.lines, &scenario);
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    let text = format!("load {n} never began: it waited for 1000000 states");
    assert!(judgement.why.contains(&text), "{:?}", judgement.why);
}
