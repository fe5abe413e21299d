//! Several plays in one history, and what a history must hold to prove anything.

use std::time::Duration;

use super::*;
use crate::history::{FULL_AT, FULL_TRIED};
use crate::oracle::{Judgement, Verdict};
use crate::scenario::model::{At, Fault, FaultKind, FsFault};

fn full() -> Scenario {
    let kind = FaultKind::Fs(FsFault::FullEvery);
    let fault = Fault::new(At::Time(Duration::ZERO), None, kind);
    Scenario { faults: vec![fault], ..scenario() }
}

/// A history whose plays are to follow.
fn run() -> Tale {
    let mut tale = Tale::new();
    tale.lines.truncate(1);
    tale
}

impl Tale {
    fn proc(mut self, what: &str, value: i64) -> Self {
        let text = "so it is".to_owned();
        self.line(Src::Harness, Kind::Proc { what: what.to_owned(), value, text });
        self
    }

    /// The next play, with so many bytes free.
    fn play(self, free: i64) -> Self {
        self.proc(FULL_AT, free).opened("file")
    }

    /// A save that the full disk refuses, told as an error of this kind.
    fn no_room(mut self, kind: &str) -> Self {
        self = self.met("fs.full");
        self.saving("t", "s1");
        self.steps(&["create", "write!ENOSPC", "remove"]);
        self.refused("save", kind)
    }

    /// Asks for everything and closes the store.
    fn audited(mut self, latest: Option<(&str, &str)>) -> Self {
        self = match latest {
            Some((id, sha)) => self.latest("t", id, sha).listed("t", &[id]).loaded("t", id, sha),
            None => {
                self.asked_latest("t").answer("latest", StoreAnswer::default()).listed("t", &[])
            }
        };
        self.call(StoreCall::of("threads"));
        let ids = latest.map(|_| "t".to_owned()).into_iter().collect();
        self = self.answer("threads", StoreAnswer { ids, ..StoreAnswer::default() });
        self.call(StoreCall::of("verify"));
        self = self.answer("verify", StoreAnswer::default());
        self.call(StoreCall::of("close"));
        self.answer("close", StoreAnswer::default())
    }

    /// The end of every run: each variant has the directory.
    fn ended(self, latest: Option<(&str, &str)>) -> Self {
        let own = self.audited(latest).opened("file").audited(latest);
        let other = own.opened("compressed").audited(latest);
        other.opened("versioned").audited(latest)
    }
}

fn two_plays(kind: &str) -> Tale {
    let first = run().play(0).no_room(kind).ended(None);
    first.play(1).saved("t", "a", "s1").ended(Some(("a", "s1")))
}

fn judged(tale: &Tale) -> Judgement {
    judge(&tale.lines, &full())
}

#[test]
fn every_play_is_judged_for_itself() {
    // in one play both saves would be of one store, and the second id taken
    let good = two_plays("storage_full").play(2).saved("t", "a", "s1").ended(Some(("a", "s1")));
    let judgement = judged(&good.proc(FULL_TRIED, 3));
    assert_eq!(judgement.violations, []);
    assert_eq!(judgement.why, Vec::<String>::new());
    assert_eq!(judgement.verdict, Verdict::Pass);
    assert_eq!(judgement.counts.full_at, 3);
}

#[test]
fn a_play_that_breaks_a_law_is_named_and_one_line_makes_it_again() {
    let again = run().play(5).no_room("storage_full").ended(None).play(7).no_room("io").ended(None);
    let judgement = judged(&again.proc(FULL_TRIED, 2));
    let [violation] = judgement.violations.as_slice() else { panic!("{judgement:?}") };
    assert_eq!((violation.law.as_str(), violation.rule), ("K11", "kind"));
    assert!(violation.observed.starts_with("with 7 bytes free: "), "{}", violation.observed);
    assert!(violation.reproduce.ends_with("--seed 0 --free 7"), "{}", violation.reproduce);
    assert!(violation.history.iter().any(|line| matches!(&line.kind, Kind::StoreAnswer(_))));
}

#[test]
fn plays_that_are_missing_and_a_disk_that_was_always_full_prove_nothing() {
    let why = |tale: Tale| {
        let judgement = judged(&tale);
        assert_eq!(judgement.verdict, Verdict::Inconclusive, "{judgement:?}");
        judgement.why.join("; ")
    };
    assert!(why(two_plays("storage_full").proc(FULL_TRIED, 3)).contains("holds 2 of 3 plays"));
    assert!(why(two_plays("storage_full")).contains("does not say how many byte counts"));
    let always = run().play(0).no_room("storage_full").ended(None).proc(FULL_TRIED, 1);
    assert!(why(always).contains("still met a full disk"));
}

/// One play, whole, that the plain scenario judges.
fn whole() -> Tale {
    Tale::new().saved("t", "a", "s1").ended(Some(("a", "s1")))
}

fn why(tale: &Tale) -> String {
    judge(&tale.lines, &scenario()).why.join("; ")
}

#[test]
fn a_history_whose_audits_were_taken_out_is_no_pass() {
    assert_eq!(why(&whole()), "");
    for (op, said) in [
        ("latest", "the latest of thread \"t\""),
        ("list", "the list of thread \"t\""),
        ("load", "asked for \"a\""),
        ("threads", "threads and health"),
        ("verify", "threads and health"),
        ("close", "as file after its last change"),
    ] {
        let mut cut = whole();
        cut.lines.retain(|line| match &line.kind {
            Kind::StoreCall(call) => call.op != op,
            Kind::StoreAnswer(answer) => answer.op != op,
            _ => true,
        });
        assert!(why(&cut).contains(said), "{op}: {}", why(&cut));
    }
}

#[test]
fn a_directory_that_was_not_opened_again_at_the_end_is_no_pass() {
    let saved = || Tale::new().saved("t", "a", "s1").audited(Some(("a", "s1")));
    assert!(why(&saved()).contains("as file after its last change"), "{}", why(&saved()));
    let own = saved().opened("file").audited(Some(("a", "s1")));
    assert!(why(&own).contains("as compressed after its last change"), "{}", why(&own));
}

/// Two saves under way at once, under these ids, whose files these steps make one after the other.
fn at_once(steps: [&[&str]; 2], ids: [&str; 2]) -> Tale {
    let mut tale = Tale::new();
    tale.saving("t", "s1");
    tale.saving("u", "s2");
    let first = tale.calls - 1;
    for steps in steps {
        tale.steps(steps);
    }
    // answered in another order than asked
    for (call, id) in [(first + 1, ids[1]), (first, ids[0])] {
        let (op, id) = ("save".to_owned(), Some(id.to_owned()));
        let answer = StoreAnswer { call, op, id, ..StoreAnswer::default() };
        tale.line(Src::Subject, Kind::StoreAnswer(answer));
    }
    tale
}

const WHOLE: &[&str] = &["create", "write", "sync", "rename", "sync_dir"];

#[test]
fn saves_that_are_under_way_at_once_are_each_known_by_their_answers() {
    let both = || at_once([WHOLE, WHOLE], ["a", "b"]);
    keeps(&both().latest("t", "a", "s1").latest("u", "b", "s2"), "K7");
    breaks(&both().latest("t", "b", "s2"), "K7 saved");
    breaks(&at_once([WHOLE, WHOLE], ["a", "a"]), "K4 unique");
}

#[test]
fn saves_that_are_under_way_at_once_are_durable_when_the_last_is_answered() {
    let first = &["create", "write", "sync", "rename"];
    keeps(&at_once([first, WHOLE], ["a", "b"]), "K9");
    breaks(&at_once([WHOLE, first], ["a", "b"]), "K9 sync_dir");
}

#[test]
fn an_id_that_the_store_made_itself_and_finds_taken_was_not_unique() {
    let mut tale = Tale::new().saved("t", "a", "s1");
    tale.saving("t", "s2");
    breaks(&tale.refused("save", "already_exists"), "K4 unique");
}
