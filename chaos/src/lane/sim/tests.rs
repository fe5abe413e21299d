use std::fs;
use std::path::Path;

use super::*;
use crate::history::{Kind, Line};
use crate::oracle;
use crate::scenario;

fn load(path: &str) -> Arc<Scenario> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(path);
    let text = fs::read_to_string(&path).unwrap();
    Arc::new(scenario::parse(&text, &path.display().to_string()).unwrap())
}

fn cell(path: &str, seed: u64) -> RunInput {
    RunInput { scenario: load(path), seed, subject: SubjectSpec::Reference }
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
}

#[test]
fn an_outage_runs_to_its_end_and_keeps_the_laws() {
    let input = cell("outage/all-brokers-3s.toml", 1);
    let output = run(&input);
    assert_eq!(output.error, None);
    let judgement = oracle::judge(&output.lines, &input.scenario);
    let broken: Vec<_> =
        judgement.violations.iter().map(|v| (v.law, &v.expected, &v.observed)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_same_seed_gives_the_same_history_and_another_seed_another() {
    let history = |seed| text(&run(&cell("shutdown/in-flight.toml", seed)).lines);
    let first = history(7);
    assert!(first.lines().count() > 1000, "nothing happened");
    assert_eq!(first, history(7));
    assert_ne!(first, history(8));
}

#[test]
fn the_spool_is_opened_on_every_disk_that_the_death_of_the_subject_could_leave() {
    let input = cell("shutdown/spool-crash-in-drain.toml", 3);
    let lines = run(&input).lines;
    assert_eq!(text(&lines), text(&run(&input).lines));
    let state = |line: &Line| match &line.kind {
        Kind::CrashState(state) => state.spool.clone().map(|spool| (state.clone(), spool)),
        _ => None,
    };
    let states: Vec<_> = lines.iter().filter_map(state).collect();
    let tried = |machine: &str| states.iter().filter(|(s, _)| s.state.starts_with(machine)).count();
    assert!(tried("m0.") > 20 && tried("m1.") > 20, "at the crash, and at the end");
    assert!(states.iter().any(|(_, spool)| spool.events.len() > 20));

    let (last, _) = states.last().unwrap();
    let shown = show(&input, &last.state).unwrap().unwrap();
    assert!(shown.files.iter().any(|(name, _)| name.starts_with("epoch-")), "{:?}", shown.files);
    assert!(show(&input, "m0.op1.v99").unwrap().is_none());
    let without = cell("shutdown/in-flight.toml", 1);
    assert!(show(&without, "m0.op0.v0").unwrap().is_none());
}

#[test]
fn a_spool_that_is_not_synced_is_caught_where_no_process_dies() {
    for (name, law) in [
        ("spooled-before-sync", "D11"),
        ("spool-segment-unnamed", "D11"),
        ("epoch-not-durable", "D6"),
    ] {
        let mut input = cell("shutdown/spool-and-drain.toml", 0);
        input.subject = SubjectSpec::Saboteur(name.to_owned());
        let lines = run(&input).lines;
        let judged = |lines: &[Line]| {
            let violations = oracle::judge(lines, &input.scenario).violations;
            violations.into_iter().map(|v| (v.law.as_str(), v.rule)).collect::<Vec<_>>()
        };
        let broken = judged(&lines);
        assert!(broken.iter().any(|(l, rule)| *l == law && rule.starts_with("crash_")), "{name}");
        // nothing else shows it
        let is_state =
            |line: &&Line| !matches!(line.kind, Kind::CrashState(_) | Kind::CrashTally(_));
        let blind: Vec<Line> = lines.iter().filter(is_state).cloned().collect();
        assert_eq!(judged(&blind), [], "{name}");
    }
}

#[test]
fn the_versions_a_replay_relies_on_are_those_of_the_lock_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock = fs::read_to_string(path).unwrap();
    for (name, version) in [("turmoil", TURMOIL), ("tokio", TOKIO)] {
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"");
        assert!(lock.contains(&entry), "{name} is not {version} in Cargo.lock");
    }
}

#[test]
fn a_driver_is_refused_for_it_is_a_process() {
    let mut input = cell("shutdown/in-flight.toml", 1);
    input.subject = SubjectSpec::Driver(vec!["python3".to_owned()]);
    let error = run(&input).error.unwrap();
    assert!(error.message.contains("real-time lanes"), "{error}");
}

/// A subject that does one bad thing at `open`.
struct Bad(fn());

impl Subject for Bad {
    fn call(
        &self,
        op: crate::subject::protocol::Op,
    ) -> dashproof_reference::core::BoxFuture<
        '_,
        Result<crate::subject::protocol::Answer, crate::subject::protocol::OpError>,
    > {
        if matches!(op, crate::subject::protocol::Op::Open { .. }) {
            (self.0)();
        }
        Box::pin(async { Ok(crate::subject::protocol::Answer::default()) })
    }
}

fn bad(deed: fn()) -> RunOutput {
    run::play(&cell("shutdown/in-flight.toml", 1), Arc::new(move |_, _| Arc::new(Bad(deed))), None)
}

#[test]
fn a_panicking_task_of_the_subject_is_an_error_with_its_text_and_no_abort() {
    let output = bad(|| drop(tokio::spawn(async { panic!("the task fell over") })));
    let error = output.error.unwrap();
    assert!(error.message.contains("the task fell over"), "{error}");
    let told = output.lines.iter().any(|line| {
        matches!(&line.kind, Kind::Proc { what, text, .. }
            if what == "panic" && text.contains("the task fell over"))
    });
    assert!(told, "the panic is not in the history");
}

#[test]
fn a_host_that_never_waits_is_a_livelock_blamed_on_it() {
    let output = bad(|| {
        drop(tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        }));
    });
    let error = output.error.unwrap();
    assert_eq!(error.blame, "implementation", "{error}");
}

#[test]
fn a_step_that_polls_for_too_long_is_a_livelock_though_it_ends() {
    let output = bad(|| {
        drop(tokio::spawn(async {
            for _ in 0..300_000 {
                tokio::task::yield_now().await;
            }
        }));
    });
    let error = output.error.unwrap();
    assert_eq!(error.blame, "implementation", "{error}");
    assert!(error.message.contains("time stands still"), "{error}");
}

/// Twenty-five thousand events at once would be half a livelock.
#[test]
fn a_load_without_a_rate_lets_time_pass() {
    let text = r#"
id = "outage/flood"
since = "1.0"
summary = "as many events as there are, as fast as send returns"
guards = ["RES-1"]
lanes = ["sim"]
budget = "20s"

[subject.producer]
queue = { max_events = 50000 }

[[load]]
events = 25_000
threads = 4
"#;
    let scenario = Arc::new(scenario::parse(text, "flood.toml").unwrap());
    let output = run(&RunInput { scenario, seed: 1, subject: SubjectSpec::Reference });
    assert_eq!(output.error, None);
    let mut instants = std::collections::BTreeMap::<u64, u64>::new();
    for line in output.lines.iter().filter(|l| matches!(l.kind, Kind::Offered { .. })) {
        *instants.entry(line.t_us).or_default() += 1;
    }
    assert_eq!(instants.values().sum::<u64>(), 25_000);
    assert!(instants.len() > 2 && instants.values().all(|n| *n <= 10_000), "{instants:?}");
}
