//! Stores: for each law a history that keeps it and one that breaks it.

mod more;
mod plays;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{edits, mangle};

use crate::history::reader::tests::histories;
use crate::history::{
    CrashState, DamageSeen, FORMAT_VERSION, FaultPhase, Found, Kind, Line, Src, StoreAnswer,
    StoreCall,
};
use crate::oracle::{LawStatus, judge};
use crate::scenario::model::{CheckpointSubject, Scenario};

/// A store's history under construction.
struct Tale {
    lines: Vec<Line>,
    calls: u64,
    temporary: u64,
}

fn scenario() -> Scenario {
    let checkpoint = CheckpointSubject { variant: "file".into(), keep_newest: None };
    Scenario { checkpoint: Some(checkpoint), ..Scenario::default() }
}

impl Tale {
    fn new() -> Self {
        let mut tale = Self { lines: Vec::new(), calls: 0, temporary: 0 };
        tale.line(
            Src::Harness,
            Kind::Run {
                scenario: "checkpoint/tale".into(),
                text: String::new(),
                lane: "disk".into(),
                seed: 0,
                subject: "reference".into(),
                run: "00".repeat(10),
                environment: Vec::new(),
            },
        );
        tale.opened("file")
    }

    fn line(&mut self, src: Src, kind: Kind) {
        let n = self.lines.len() as u64;
        self.lines.push(Line { v: FORMAT_VERSION, n, t_us: n, inc: 0, src, kind });
    }

    fn call(&mut self, call: StoreCall) {
        self.calls += 1;
        self.line(Src::Harness, Kind::StoreCall(StoreCall { call: self.calls, ..call }));
    }

    fn answer(mut self, op: &str, answer: StoreAnswer) -> Self {
        let (call, op) = (self.calls, op.to_owned());
        self.line(Src::Subject, Kind::StoreAnswer(StoreAnswer { call, op, ..answer }));
        self
    }

    fn refused(self, op: &str, kind: &str) -> Self {
        let error = Some(kind.to_owned());
        self.answer(op, StoreAnswer { error, text: kind.to_owned(), ..StoreAnswer::default() })
    }

    fn opened(mut self, variant: &str) -> Self {
        self.call(StoreCall { variant: Some(variant.into()), ..StoreCall::of("open") });
        self.answer("open", StoreAnswer::default())
    }

    fn fs(&mut self, op: &str, path: &str, error: Option<&str>) {
        let (op, path) = (op.to_owned(), path.to_owned());
        self.line(Src::Fs, Kind::Fs { op, path, error: error.map(str::to_owned) });
    }

    fn saving(&mut self, thread: &str, sha: &str) {
        let (thread, sha) = (Some(thread.to_owned()), Some(sha.to_owned()));
        self.call(StoreCall { thread, sha, ..StoreCall::of("save") });
    }

    /// A name that nobody guesses, and the one that the file gets.
    fn names(&mut self) -> (String, String) {
        self.temporary += 1;
        let digits = self.temporary.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (format!("/store/tmp-{digits:016x}.dck"), format!("/store/{:016x}.dck", self.temporary))
    }

    fn steps(&mut self, steps: &[&str]) {
        let (temporary, name) = self.names();
        for step in steps {
            let (op, error) = step.split_once('!').map_or((*step, None), |(op, e)| (op, Some(e)));
            let path = match op {
                "rename" => format!("{temporary} -> {name}"),
                "sync_dir" => "/store".to_owned(),
                _ => temporary.clone(),
            };
            self.fs(op, &path, error);
        }
    }

    /// A save with these steps.
    fn saved_by(mut self, steps: &[&str], thread: &str, id: &str, sha: &str) -> Self {
        self.saving(thread, sha);
        self.steps(steps);
        self.answer("save", StoreAnswer { id: Some(id.into()), ..StoreAnswer::default() })
    }

    fn saved(self, thread: &str, id: &str, sha: &str) -> Self {
        self.saved_by(&["create", "write", "sync", "rename", "sync_dir"], thread, id, sha)
    }

    fn damaged(mut self, how: &str, thread: &str, id: &str) -> Self {
        let (thread, id, how) = (thread.to_owned(), id.to_owned(), how.to_owned());
        let seen = DamageSeen { fault: 0, how, path: "/store/x".into(), id, thread };
        self.line(Src::Fs, Kind::DamageSeen(seen));
        self
    }

    fn met(mut self, name: &str) -> Self {
        let name = name.to_owned();
        self.line(Src::Harness, Kind::Fault { fault: 0, name, phase: FaultPhase::Effect });
        self
    }

    fn asked_latest(mut self, thread: &str) -> Self {
        self.call(StoreCall { thread: Some(thread.into()), ..StoreCall::of("latest") });
        self
    }

    fn latest(self, thread: &str, id: &str, sha: &str) -> Self {
        let (id, of, sha) = (Some(id.into()), Some(thread.into()), Some(sha.into()));
        self.asked_latest(thread)
            .answer("latest", StoreAnswer { id, thread: of, sha, ..StoreAnswer::default() })
    }

    fn asked_load(mut self, id: &str) -> Self {
        self.call(StoreCall { id: Some(id.into()), ..StoreCall::of("load") });
        self
    }

    fn loaded(self, thread: &str, id: &str, sha: &str) -> Self {
        let (of, sha, given) = (Some(thread.into()), Some(sha.into()), Some(id.into()));
        self.asked_load(id)
            .answer("load", StoreAnswer { id: given, thread: of, sha, ..StoreAnswer::default() })
    }

    fn listed(mut self, thread: &str, ids: &[&str]) -> Self {
        self.call(StoreCall { thread: Some(thread.into()), ..StoreCall::of("list") });
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        self.answer("list", StoreAnswer { ids, ..StoreAnswer::default() })
    }

    /// A store that lists these, newest first, and gives the first as the latest.
    fn crash_state(mut self, ops: u64, listed: &[(&str, &str)], left: &[&str]) -> Self {
        let mut found = Found::default();
        if let Some((id, sha)) = listed.first() {
            (found.id, found.sha) = (Some((*id).into()), Some((*sha).into()));
        }
        let listed = listed.iter().map(|(id, sha)| ((*id).to_owned(), (*sha).to_owned()));
        found.listed = listed.collect();
        let latest = BTreeMap::from([("t".to_owned(), found)]);
        let left = left.iter().map(|name| (*name).to_owned()).collect();
        let state = format!("m0.op{ops}.v0");
        let state = CrashState { state, ops, latest, left, ..CrashState::default() };
        self.line(Src::Fs, Kind::CrashState(state));
        self
    }

    /// Broken laws with their rules.
    fn broken(&self) -> Vec<String> {
        let judgement = judge(&self.lines, &scenario());
        judgement.violations.iter().map(|v| format!("{} {}", v.law, v.rule)).collect()
    }

    fn checks(&self, law: &str) -> u64 {
        let judgement = judge(&self.lines, &scenario());
        let status = judgement.laws.into_iter().find(|(id, _)| id.as_str() == law);
        match status {
            Some((_, LawStatus::Held { checks })) => checks,
            other => panic!("{law}: {other:?}"),
        }
    }
}

#[track_caller]
fn keeps(tale: &Tale, law: &str) {
    assert_eq!(tale.broken(), Vec::<String>::new());
    assert!(tale.checks(law) > 0, "{law} was not judged");
}

#[track_caller]
fn breaks(tale: &Tale, rule: &str) {
    assert_eq!(tale.broken(), [rule]);
}

fn two() -> Tale {
    Tale::new().saved("t", "a", "s1").saved("t", "b", "s2")
}

#[test]
fn k1_takes_the_last_acknowledged_or_the_one_in_flight_after_a_crash() {
    let tale = || Tale::new().saved("t", "a", "s1").saved("t", "b", "s2");
    keeps(&tale().crash_state(10, &[("b", "s2"), ("a", "s1")], &[]), "K1");
    keeps(&tale().crash_state(7, &[("a", "s1")], &[]), "K1");
    keeps(&tale().crash_state(9, &[("b", "s2"), ("a", "s1")], &[]), "K1");
    keeps(&tale().crash_state(2, &[], &[]), "K1");
    breaks(&tale().crash_state(10, &[("a", "s1")], &[]), "K1 crash");
    breaks(&tale().crash_state(5, &[], &[]), "K1 crash");
    breaks(&tale().crash_state(10, &[("b", "s1"), ("a", "s1")], &[]), "K2 content");
}

#[test]
fn k1_wants_the_latest_and_the_list_of_one_story() {
    let mut tale = two().crash_state(9, &[("b", "s2"), ("a", "s1")], &[]);
    if let Some(Line { kind: Kind::CrashState(state), .. }) = tale.lines.last_mut() {
        for found in state.latest.values_mut() {
            (found.id, found.sha) = (Some("a".into()), Some("s1".into()));
        }
    }
    breaks(&tale, "K1 mix");
}

#[test]
fn k1_judges_a_reopened_directory() {
    keeps(&two().opened("file").latest("t", "b", "s2").listed("t", &["b", "a"]), "K1");
    breaks(&two().opened("file").latest("t", "a", "s1"), "K1 reopen");
    breaks(&two().opened("file").listed("t", &["b"]), "K1 reopen");
}

#[test]
fn k2_wants_the_newest_undamaged_one_and_never_a_damaged_one() {
    keeps(&two().damaged("bit", "t", "b").latest("t", "a", "s1"), "K2");
    let all = || two().damaged("bit", "t", "a").damaged("cut", "t", "b");
    keeps(&all().asked_latest("t").refused("latest", "integrity_check_failed"), "K2");
    breaks(&two().damaged("bit", "t", "b").latest("t", "b", "s2"), "K2 damaged");
    let none = two().damaged("bit", "t", "b").asked_latest("t");
    breaks(&none.answer("latest", StoreAnswer::default()), "K2 newest_undamaged");
    let none = all().asked_latest("t").answer("latest", StoreAnswer::default());
    breaks(&none, "K2 newest_undamaged");
    breaks(&two().loaded("t", "a", "s2"), "K2 content");
    breaks(&two().loaded("u", "a", "s1"), "K2 thread");
    breaks(&two().latest("t", "c", "s3"), "K2 unknown");
}

#[test]
fn k3_wants_the_same_answers_whatever_the_index_is() {
    keeps(
        &two().met("fs.index").opened("file").latest("t", "b", "s2").listed("t", &["b", "a"]),
        "K3",
    );
    breaks(&two().met("fs.index").opened("file").latest("t", "a", "s1"), "K3 index");
}

#[test]
fn k4_wants_ids_of_their_own_and_names_that_are_safe() {
    keeps(&two(), "K4");
    breaks(&Tale::new().saved("t", "a", "s1").saved("u", "a", "s2"), "K4 unique");
    for name in ["/store/../x", "/abs", "/store/con.txt", "/store/a:b", "/store/x."] {
        let mut tale = two();
        tale.saving("t", "s3");
        for (op, path) in [("create", name), ("sync", name), ("sync_dir", "/store")] {
            tale.fs(op, path, None);
        }
        let tale = tale.answer("save", StoreAnswer { id: Some("c".into()), ..Default::default() });
        breaks(&tale, "K4 names");
    }
    let mut tale = two();
    tale.call(StoreCall::of("second_open"));
    breaks(&tale.answer("second_open", StoreAnswer::default()), "K4 locked");
    let mut tale = two();
    tale.call(StoreCall::of("second_open"));
    keeps(&tale.refused("second_open", "locked"), "K4");
}

#[test]
fn k5_wants_the_order_of_saves_when_the_clock_goes_back() {
    let tale = || Tale::new().saved("t", "a", "s1").met("clock.back").saved("t", "b", "s2");
    keeps(&tale().latest("t", "b", "s2"), "K5");
    breaks(&tale().latest("t", "a", "s1"), "K5 clock");
    breaks(&tale().listed("t", &["a", "b"]), "K5 clock");
}

#[test]
fn k6_wants_the_same_answers_under_another_variant() {
    keeps(&two().opened("compressed").latest("t", "b", "s2"), "K6");
    breaks(&two().opened("compressed").latest("t", "a", "s1"), "K6 variant");
}

#[test]
fn k7_wants_that_what_was_saved_is_loaded() {
    keeps(&two().loaded("t", "a", "s1"), "K7");
    let unreadable = two().asked_load("a").refused("load", "deserialization_failed");
    breaks(&unreadable, "K7 saved");
}

#[test]
fn k8_wants_a_newer_format_refused_by_name_and_not_passed_over() {
    let tale = || two().damaged("newer_version", "t", "b");
    let refused = |tale: Tale, op: &str| tale.refused(op, "schema_mismatch");
    keeps(&refused(refused(tale().asked_load("b"), "load").asked_latest("t"), "latest"), "K8");
    let vague = tale().asked_load("b").refused("load", "integrity_check_failed");
    breaks(&vague, "K8 typed");
    breaks(&tale().latest("t", "a", "s1"), "K8 passed_over");
}

#[test]
fn k9_wants_syncs_in_their_order_and_none_ignored() {
    keeps(&two(), "K9");
    let by = |steps: &[&str]| Tale::new().saved_by(steps, "t", "a", "s1");
    breaks(&by(&["create", "write", "rename", "sync", "sync_dir"]), "K9 sync_before_rename");
    breaks(&by(&["create", "write", "sync_dir"]), "K9 sync");
    breaks(&by(&["create", "write", "sync", "rename"]), "K9 sync_dir");
    let ignored = by(&["create", "write", "sync!EIO", "sync", "rename", "sync_dir"]);
    breaks(&ignored, "K9 ignored");
    assert!(
        by(&["create", "write", "sync", "rename", "sync_dir!EIO"])
            .broken()
            .contains(&"K9 ignored".to_owned())
    );
}

#[test]
fn k9_wants_temporary_files_that_nobody_guesses_and_that_are_swept() {
    let mut tale = Tale::new();
    for n in 1..=2 {
        tale.saving("t", &format!("s{n}"));
        let temporary = format!("/store/tmp-{n:032x}.dck");
        let name = format!("{temporary} -> /store/{n}.dck");
        for (op, path) in [("create", &temporary), ("sync", &temporary), ("rename", &name)] {
            tale.fs(op, path, None);
        }
        tale.fs("sync_dir", "/store", None);
        let id = Some(format!("i{n}"));
        tale = tale.answer("save", StoreAnswer { id, ..StoreAnswer::default() });
    }
    breaks(&tale, "K9 predictable");
    let left = two().crash_state(10, &[("b", "s2"), ("a", "s1")], &["/store/tmp-1.dck"]);
    breaks(&left, "K9 swept");
}

#[test]
fn k10_wants_that_one_bad_file_blocks_nothing_else() {
    let tale = || two().saved("u", "c", "s3").damaged("cut", "u", "c");
    keeps(&tale().latest("t", "b", "s2").loaded("t", "a", "s1"), "K10");
    breaks(&tale().asked_load("a").refused("load", "integrity_check_failed"), "K10 others");
    let mut blocked = tale();
    blocked.call(StoreCall { variant: Some("file".into()), ..StoreCall::of("open") });
    breaks(&blocked.refused("open", "integrity_check_failed"), "K10 others");
}

#[test]
fn k11_wants_the_kind_that_was_met_and_the_previous_checkpoint_intact() {
    let failing = |errno: &str, kind: &str| {
        let mut tale = two().met("fs.error");
        tale.saving("t", "s3");
        tale.steps(&["create", &format!("write!{errno}"), "remove"]);
        tale.refused("save", kind)
    };
    keeps(&failing("ENOSPC", "storage_full").latest("t", "b", "s2"), "K11");
    keeps(&failing("EROFS", "permission_denied"), "K11");
    breaks(&failing("ENOSPC", "io"), "K11 kind");
    breaks(&failing("EIO", "io").latest("t", "a", "s1"), "K11 harm");
    let ghost = failing("EIO", "io").loaded("t", "c", "s3");
    breaks(&ghost, "K11 ghost");
}

#[test]
fn what_was_deleted_stays_so() {
    let deleting = || {
        let mut tale = two();
        tale.call(StoreCall { id: Some("b".into()), ..StoreCall::of("delete") });
        tale.fs("remove", "/store/0000000000000002.dck", None);
        tale
    };
    let deleted = || {
        let mut tale = deleting();
        tale.fs("sync_dir", "/store", None);
        tale.answer("delete", StoreAnswer { count: Some(1), ..StoreAnswer::default() })
    };
    keeps(&deleted().latest("t", "a", "s1").crash_state(12, &[("a", "s1")], &[]), "K1");
    keeps(&deleted().crash_state(11, &[("b", "s2"), ("a", "s1")], &[]).listed("t", &["a"]), "K7");
    breaks(&deleted().loaded("t", "b", "s2"), "K1 deleted");
    breaks(&deleted().crash_state(12, &[("b", "s2"), ("a", "s1")], &[]), "K1 crash");
    let early = deleting().answer("delete", StoreAnswer { count: Some(1), ..Default::default() });
    breaks(&early, "K9 sync_dir");
}

#[test]
fn verify_names_every_damaged_file() {
    let verified = |names: &[&str]| {
        let mut tale = two().damaged("bit", "t", "a");
        tale.call(StoreCall::of("verify"));
        let ids = names.iter().map(|name| (*name).to_owned()).collect();
        tale.answer("verify", StoreAnswer { ids, ..StoreAnswer::default() })
    };
    keeps(&verified(&["x"]), "K2");
    breaks(&verified(&[]), "K2 verify");
}

fn scrape(saves: u64, corrupt: u64) -> String {
    let series = [
        ("saves_total", saves),
        ("save_failures_total", 0),
        ("loads_total", 0),
        ("load_failures_total", 0),
        ("deletes_total", 0),
        ("delete_failures_total", 0),
        ("swept_temp_files_total", 0),
        ("corrupt_files_total", corrupt),
        ("index_damage_total", 0),
    ];
    let text = |(name, value): (&str, u64)| {
        let name = format!("dashstream_checkpoint_{name}");
        format!("# TYPE {name} counter\n{name} {value}\n")
    };
    series.into_iter().map(text).collect()
}

#[test]
fn m1_wants_what_the_harness_counted() {
    let scraped = |mut tale: Tale, text: String| {
        tale.line(Src::Subject, Kind::Scrape { text, last: true });
        tale
    };
    keeps(&scraped(two(), scrape(2, 0)), "M1");
    breaks(&scraped(two(), scrape(3, 0)), "M1 equal");
    let damaged = || two().damaged("bit", "t", "a");
    keeps(&scraped(damaged(), scrape(2, 1)), "K2");
    breaks(&scraped(damaged(), scrape(2, 0)), "K2 counted");
    let silent = two().met("fs.index").opened("file");
    breaks(&scraped(silent, scrape(0, 0)), "K3 silent");
}

/// A history with everything in it.
fn lively() -> Tale {
    two()
        .saved("u", "c", "s3")
        .damaged("bit", "u", "c")
        .latest("t", "b", "s2")
        .loaded("t", "a", "s1")
        .listed("t", &["b", "a"])
        .crash_state(10, &[("b", "s2"), ("a", "s1")], &[])
        .met("fs.index")
        .opened("compressed")
        .latest("t", "b", "s2")
}

proptest! {
    #[test]
    fn any_lines_about_a_store_are_judged(lines in histories()) {
        prop_assert_eq!(judge(&lines, &scenario()), judge(&lines, &scenario()));
    }

    #[test]
    fn a_mangled_history_of_a_store_is_judged(
        edits in edits()
    ) {
        let mut lines = lively().lines;
        mangle(&mut lines, edits);
        let judgement = judge(&lines, &scenario());
        prop_assert!(judgement.violations.iter().all(|v| v.to_string().contains("reproduce")));
    }
}
