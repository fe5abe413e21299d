use std::sync::Arc;

use super::*;
use crate::history::{FULL_AT, FaultPhase, Kind, Line, writer};
use crate::oracle::{Verdict, judge};

fn input(file: &str, seed: u64, subject: SubjectSpec) -> RunInput {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/checkpoint");
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let scenario = Arc::new(crate::scenario::parse(&text, &path.display().to_string()).unwrap());
    RunInput { scenario, seed, subject }
}

/// A load of one save.
pub(super) fn load() -> crate::scenario::model::Load {
    let good = input("sizes.toml", 0, SubjectSpec::Reference);
    good.scenario.loads.first().cloned().unwrap()
}

fn calls(lines: &[Line], op: &str) -> usize {
    let is_it = |line: &&Line| matches!(&line.kind, Kind::StoreCall(call) if call.op == op);
    lines.iter().filter(is_it).count()
}

#[test]
fn the_same_input_gives_the_same_history_byte_for_byte() {
    let input = input("crash-and-restart.toml", 5, SubjectSpec::Reference);
    let text = |lines: &[Line]| writer::to_text(lines).unwrap();
    let first = run(&input);
    assert_eq!(first.error, None);
    assert!(first.lines.len() > 500);
    assert_eq!(text(&first.lines), text(&run(&input).lines));
}

#[test]
fn variants_take_turns_by_seed() {
    let of = |seed| variant(&input("sizes.toml", seed, SubjectSpec::Reference).scenario, seed);
    assert_eq!([of(0), of(1), of(2), of(3)], ["file", "compressed", "versioned", "file"]);
}

#[test]
fn everything_is_asked_again_under_the_variants_that_can_read_it() {
    let output = run(&input("one-bad-of-many.toml", 0, SubjectSpec::Reference));
    // at the start, after the close, and at the end as itself and as the two others
    assert_eq!(calls(&output.lines, "open"), 5);
    assert_eq!(calls(&output.lines, "save"), 14);
    assert!(calls(&output.lines, "load") > 14 * 4);
}

#[test]
fn a_crash_state_is_shown_again_by_its_name() {
    let input = input("crash-points.toml", 1, SubjectSpec::Reference);
    let output = run(&input);
    let state = |line: &Line| match &line.kind {
        Kind::CrashState(state) => Some(state.clone()),
        _ => None,
    };
    let known = output.lines.iter().filter_map(state).rfind(|state| state.ops == 9);
    let shown = show(&input, &known.unwrap().state).unwrap().unwrap();
    assert!(!shown.files.is_empty());
    assert!(show(&input, "m0.op9.v9999").unwrap().is_none());
    assert!(show(&input, "nonsense").unwrap().is_none());
}

#[test]
fn a_store_without_directory_syncs_is_caught_by_a_crash() {
    let subject = SubjectSpec::Saboteur("no-directory-sync".into());
    let input = input("crash-points.toml", 0, subject);
    let judgement = judge(&run(&input).lines, &input.scenario);
    assert_eq!(judgement.verdict, Verdict::Fail);
    assert!(judgement.violations.iter().any(|v| v.law.as_str() == "K1"));
}

#[test]
fn what_a_store_cannot_do_is_not_applicable() {
    let good = input("sizes.toml", 0, SubjectSpec::Reference);
    let mut scenario = (*good.scenario).clone();
    scenario.checkpoint = None;
    let none = run(&RunInput { scenario: Arc::new(scenario.clone()), ..good.clone() });
    assert!(none.not_applicable.unwrap().contains("the scenario has none"));
    scenario.checkpoint.clone_from(&good.scenario.checkpoint);
    let at = At::Time(std::time::Duration::ZERO);
    scenario.actions.push(crate::scenario::model::Action { at, kind: ActionKind::Metrics });
    let none = run(&RunInput { scenario: Arc::new(scenario), ..good });
    assert!(none.not_applicable.unwrap().contains("metrics"));
}

/// What happened, without what was tried of crashes: of the plays of a full disk only some have it.
fn told(lines: &[Line]) -> Vec<&Kind> {
    let tried = |kind: &&Kind| {
        !matches!(kind, Kind::CrashState(_) | Kind::CrashTally(_) | Kind::Proc { .. })
    };
    lines.iter().map(|line| &line.kind).filter(tried).collect()
}

#[test]
fn a_play_of_a_full_disk_is_the_run_with_so_many_bytes_free() {
    let every = input("disk-full-at-every-byte.toml", 1, SubjectSpec::Reference);
    let all = run(&every);
    assert_eq!(all.error, None);
    let begins = |line: &Line| matches!(&line.kind, Kind::Proc { what, .. } if what == FULL_AT);
    let plays: Vec<&[Line]> = all.lines.split(begins).skip(1).collect();
    assert!(plays.len() > 300, "{} plays", plays.len());
    for free in [0, 57, 300] {
        let one = crate::scenario::with_free(&every.scenario, free).unwrap();
        assert_eq!(one.free, Some(free));
        let alone = run(&RunInput { scenario: Arc::new(one), ..every.clone() });
        let play = plays[usize::try_from(free).unwrap()];
        assert_eq!(told(play), told(&alone.lines[1..]), "{free} bytes free");
    }
}

#[test]
fn a_disk_that_takes_what_a_run_needs_is_the_last_that_is_tried_and_the_only_one_that_is_not_full()
{
    let all = run(&input("disk-full-at-every-byte.toml", 0, SubjectSpec::Reference));
    let begins = |line: &Line| matches!(&line.kind, Kind::Proc { what, .. } if what == FULL_AT);
    let met = |line: &Line| matches!(&line.kind, Kind::Fault { phase, .. } if *phase == FaultPhase::Effect);
    let plays: Vec<bool> =
        all.lines.split(begins).skip(1).map(|play| play.iter().any(met)).collect();
    let (last, others) = plays.split_last().unwrap();
    assert!(!last && others.iter().all(|met| *met));
}

#[test]
fn a_clock_that_is_set_after_the_last_save_is_met_by_nothing() {
    let good = input("clock-back.toml", 0, SubjectSpec::Reference);
    let mut scenario = (*good.scenario).clone();
    assert_eq!(judge(&run(&good).lines, &scenario).verdict, Verdict::Pass);
    scenario.faults[0].at = At::Time(std::time::Duration::from_secs(9));
    let late = RunInput { scenario: Arc::new(scenario.clone()), ..good };
    let judgement = judge(&run(&late).lines, &scenario);
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert!(judgement.why.iter().any(|why| why.contains("met by nothing")), "{judgement:?}");
}
