//! What a strict reader found missing.

use super::*;
use crate::history::CrashTally;
use crate::oracle::LawId;

#[test]
fn crash_states_are_counted_by_the_variant_and_operation_that_they_came_in() {
    let mut tale = two().crash_state(0, &[], &[]).crash_state(3, &[("a", "s1")], &[]);
    tale = tale.crash_state(10, &[("b", "s2"), ("a", "s1")], &[]);
    tale = tale.opened("versioned");
    tale.fs("remove", "/store/index", None);
    tale = tale.crash_state(11, &[("b", "s2"), ("a", "s1")], &[]);
    let crashes = judge(&tale.lines, &scenario()).counts.crashes;
    let wanted = [("file/none", 1), ("file/save", 2), ("versioned/open", 1)];
    assert_eq!(crashes, wanted.map(|(what, n)| (what.to_owned(), n)).into());
}

#[test]
fn crash_states_that_are_not_in_the_history_are_not_judged() {
    let tallied = |states: u64| {
        let mut tale = two().crash_state(10, &[("b", "s2"), ("a", "s1")], &[]);
        let tally = CrashTally { points: 1, states, ..CrashTally::default() };
        tale.line(Src::Fs, Kind::CrashTally(tally));
        judge(&tale.lines, &scenario())
    };
    assert!(!tallied(1).why.iter().any(|why| why.contains("crash states")));
    let cut = tallied(3);
    assert!(cut.why.iter().any(|why| why.contains("holds 1 of 3 crash states")), "{:?}", cut.why);
}

#[test]
fn k9_wants_the_directory_synced_after_a_save_that_also_retires() {
    let saved = |steps: &[&str]| {
        let mut tale = Tale::new();
        let (thread, sha) = (Some("t".to_owned()), Some("s1".to_owned()));
        tale.call(StoreCall { thread, sha, keep: Some(2), ..StoreCall::of("save") });
        tale.steps(steps);
        tale.answer("save", StoreAnswer { id: Some("a".into()), ..StoreAnswer::default() })
    };
    keeps(&saved(&["create", "write", "sync", "rename", "sync_dir", "remove"]), "K9");
    breaks(&saved(&["create", "write", "sync", "rename"]), "K9 sync_dir");
}

#[test]
fn k9_does_not_forgive_a_failed_sync_of_the_directory_because_the_next_says_ok() {
    let steps = ["create", "write", "sync", "rename", "sync_dir!EIO", "sync_dir"];
    breaks(&Tale::new().saved_by(&steps, "t", "a", "s1"), "K9 ignored");
}

impl Tale {
    /// A save of `b` in thread `t` that fails when its file has its name already: 5 operations.
    fn not_saved(mut self) -> Self {
        let (thread, sha) = (Some("t".to_owned()), Some("s2".to_owned()));
        self.call(StoreCall { id: Some("b".into()), thread, sha, ..StoreCall::of("save") });
        self.steps(&["create", "write", "sync", "rename", "sync_dir!EIO"]);
        self.refused("save", "io")
    }
}

fn not_saved() -> Tale {
    Tale::new().saved("t", "a", "s1").not_saved()
}

#[test]
fn k1_lets_a_failed_save_come_back_only_before_the_next_change_that_is_acknowledged() {
    let back: &[_] = &[("b", "s2"), ("a", "s1")];
    keeps(&not_saved().crash_state(10, back, &[]), "K1");
    let later = || not_saved().saved("u", "c", "s3");
    keeps(&later().crash_state(14, back, &[]), "K1");
    keeps(&later().crash_state(15, &[("a", "s1")], &[]), "K1");
    breaks(&later().crash_state(15, back, &[]), "K1 crash");
    breaks(&later().crash_state(15, &[("a", "s1"), ("b", "s2")], &[]), "K1 deleted");
    let mut deleted = not_saved();
    deleted.call(StoreCall { id: Some("none".into()), ..StoreCall::of("delete") });
    let deleted = deleted.answer("delete", StoreAnswer::default());
    breaks(&deleted.crash_state(10, back, &[]), "K1 crash");
}

#[test]
fn k1_lets_a_failed_save_come_back_after_an_ok_that_another_open_or_an_earlier_call_got() {
    let back: &[_] = &[("b", "s2"), ("a", "s1")];
    let reopened = not_saved().opened("file").saved("u", "c", "s3");
    keeps(&reopened.crash_state(15, back, &[]), "K1");
    let mut beside = Tale::new().saved("t", "a", "s1");
    beside.saving("u", "s3");
    let earlier = beside.calls;
    beside = beside.not_saved();
    let (op, id) = ("save".to_owned(), Some("c".to_owned()));
    let answer = StoreAnswer { call: earlier, op, id, ..StoreAnswer::default() };
    beside.line(Src::Subject, Kind::StoreAnswer(answer));
    let judgement = judge(&beside.crash_state(10, back, &[]).lines, &scenario());
    assert!(judgement.violations.iter().all(|v| v.law != LawId::K1), "{:?}", judgement.violations);
}

#[test]
fn an_id_that_was_refused_because_it_is_taken_still_has_its_first_state() {
    let mut tale = Tale::new().saved("t", "a", "s1");
    let (thread, sha) = (Some("t".to_owned()), Some("s2".to_owned()));
    tale.call(StoreCall { id: Some("a".into()), thread, sha, ..StoreCall::of("save") });
    tale = tale.refused("save", "already_exists");
    keeps(&tale.crash_state(5, &[("a", "s1")], &[]), "K1");
}

#[test]
fn verify_blames_no_file_that_is_sound() {
    let verified = |damage: Option<&str>, names: &[&str]| {
        let mut tale = Tale::new().saved("t", "a", "s1").saved("t", "b", "s2");
        if let Some(id) = damage {
            tale = tale.damaged("bit", "t", id);
        }
        tale.call(StoreCall::of("verify"));
        let ids = names.iter().map(|name| (*name).to_owned()).collect();
        tale.answer("verify", StoreAnswer { ids, ..StoreAnswer::default() })
    };
    let first = "0000000000000001.dck";
    keeps(&verified(None, &[]), "K2");
    keeps(&verified(Some("a"), &["x", first]), "K2");
    breaks(&verified(None, &[first]), "K2 false_alarm");
    breaks(&verified(Some("b"), &["x", first]), "K2 false_alarm");
}

/// A history of the lane `files`, of this subject, whose store is process 4711.
fn by_process(subject: &str) -> Tale {
    let mut tale = Tale { lines: Vec::new(), calls: 0, temporary: 0 };
    let run = Kind::Run {
        scenario: "checkpoint/tale".into(),
        text: String::new(),
        lane: "files".into(),
        seed: 0,
        subject: subject.into(),
        run: "00".repeat(10),
        environment: Vec::new(),
    };
    tale.line(Src::Harness, run);
    let start = Kind::Proc { what: "start".to_owned(), value: 4711, text: String::new() };
    tale.line(Src::Os, start);
    tale.opened("file")
}

#[test]
fn k4_wants_the_holder_named_where_it_is_a_process() {
    let second = |text: &str| {
        let mut tale = by_process("reference").saved("t", "a", "s1");
        tale.call(StoreCall::of("second_open"));
        // the second is a process too, and not the one that is meant
        let start = Kind::Proc { what: "start".to_owned(), value: 4712, text: String::new() };
        tale.line(Src::Os, start);
        let error = Some("locked".to_owned());
        tale.answer("second_open", StoreAnswer { error, text: text.into(), ..Default::default() })
    };
    keeps(&second("in use by pid 4711 on here"), "K4");
    breaks(&second("in use by pid 4712 on here"), "K4 holder");
    breaks(&second("in use by pid 47110"), "K4 holder");
}

#[test]
fn which_process_of_a_driver_has_the_directory_is_not_judged() {
    let mut tale = by_process("driver:./wrapper").saved_by(&[], "t", "a", "s1");
    tale.call(StoreCall::of("second_open"));
    let error = Some("locked".to_owned());
    let text = "in use by pid 4800".to_owned();
    let tale = tale.answer("second_open", StoreAnswer { error, text, ..Default::default() });
    assert!(judge(&tale.lines, &scenario()).violations.is_empty());
}

#[test]
fn a_driver_that_blames_the_system_for_a_damaged_index_breaks_k11() {
    let mut tale = by_process("driver:./mine").saved_by(&[], "t", "a", "s1");
    let name = "fs.index".to_owned();
    tale.line(Src::Harness, Kind::Fault { fault: 0, name, phase: FaultPhase::Begin });
    tale.call(StoreCall { thread: Some("t".into()), ..StoreCall::of("latest") });
    breaks(&tale.refused("latest", "io"), "K11 kind");
}

#[test]
fn what_a_driver_does_to_its_files_is_not_judged_and_what_it_answers_is() {
    let unsynced = ["create", "write", "rename", "sync_dir"];
    let tale = by_process("reference").saved_by(&unsynced, "t", "a", "s1");
    breaks(&tale, "K9 sync_before_rename");
    let of = |tale: Tale| judge(&tale.lines, &scenario());
    let driver = || by_process("driver:./mine");
    let judgement = of(driver().saved_by(&[], "t", "a", "s1").latest("t", "a", "s1"));
    let unjudged = |law: LawId| judgement.unjudged.iter().any(|(of, ..)| *of == law);
    assert!(unjudged(LawId::K9) && unjudged(LawId::M1), "{:?}", judgement.unjudged);
    assert!(judgement.violations.is_empty(), "{:?}", judgement.violations);
    breaks(&driver().saved_by(&[], "t", "a", "s1").latest("t", "a", "other"), "K2 content");
}

#[test]
fn a_full_disk_of_a_driver_is_taken_at_its_word_and_may_have_kept_the_save() {
    let mut tale = by_process("driver:./mine").saved_by(&[], "t", "a", "s1");
    tale.line(Src::Harness, full());
    tale.saving("t", "s2");
    let tale = tale.refused("save", "storage_full");
    let judgement = judge(&tale.lines, &scenario());
    assert!(judgement.violations.is_empty(), "{:?}", judgement.violations);
    let mut tale = by_process("reference").saved("t", "a", "s1");
    tale.saving("t", "s2");
    breaks(&tale.refused("save", "storage_full"), "K11 kind");
}

#[test]
fn k9_wants_files_that_nobody_else_can_read() {
    let closed = |public: bool| {
        let mut tale = by_process("reference").saved("t", "a", "s1");
        if public {
            tale.fs("public", "/store/0000000000000001.dck", None);
        }
        tale
    };
    keeps(&closed(false), "K9");
    breaks(&closed(true), "K9 private");
}

fn full() -> Kind {
    Kind::Fault { fault: 0, name: "fs.full".to_owned(), phase: FaultPhase::Begin }
}

#[test]
fn an_error_of_the_system_that_a_driver_tells_without_any_fault_breaks_k11() {
    let asked = |trouble: bool| {
        let mut tale = by_process("driver:./mine").saved_by(&[], "t", "a", "s1");
        if trouble {
            tale.line(Src::Harness, full());
        }
        tale.call(StoreCall::of("threads"));
        tale.refused("threads", "storage_full")
    };
    breaks(&asked(false), "K11 kind");
    let judgement = judge(&asked(true).lines, &scenario());
    assert!(judgement.violations.is_empty(), "{:?}", judgement.violations);
}

#[test]
fn a_list_of_threads_that_is_refused_is_a_violation() {
    let mut tale = two();
    tale.call(StoreCall::of("threads"));
    breaks(&tale.refused("threads", "not_found"), "K7 saved");
}

#[test]
fn a_directory_that_is_in_use_is_refused_as_that_and_nothing_else() {
    let mut tale = by_process("driver:./mine").saved_by(&[], "t", "a", "s1");
    tale.call(StoreCall::of("second_open"));
    breaks(&tale.refused("second_open", "io"), "K4 locked");
}
