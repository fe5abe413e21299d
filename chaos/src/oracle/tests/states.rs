//! State diffs: for each law a history that keeps it and one that breaks it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{edits, mangle};

use crate::history::reader::tests::histories;
use crate::history::{
    FORMAT_VERSION, Kind, Line, Src, StateAnswered, StateHeap, StateLost, StateOffered,
    StateReceived,
};
use crate::oracle::{LawStatus, Verdict, judge};
use crate::scenario::model::{Scenario, StateSubject};

/// A history of one thread under construction.
#[derive(Clone)]
struct Tale {
    lines: Vec<Line>,
    steps: u64,
    /// What the receiver has.
    here: String,
    counts: BTreeMap<String, u64>,
}

fn scenario() -> Scenario {
    let state = StateSubject {
        max_state_bytes: 1000,
        max_diff_bytes: 900,
        max_depth: 10,
        digest_budget_bytes: 4096,
        window_bytes: 1024,
    };
    Scenario { state: Some(state), ..Scenario::default() }
}

impl Tale {
    fn new() -> Self {
        let mut tale =
            Self { lines: Vec::new(), steps: 0, here: String::new(), counts: BTreeMap::new() };
        tale.line(
            Src::Harness,
            Kind::Run {
                scenario: "state/tale".into(),
                text: String::new(),
                lane: "disk".into(),
                seed: 0,
                subject: "reference".into(),
                run: "00".repeat(10),
                environment: Vec::new(),
            },
        );
        tale
    }

    fn line(&mut self, src: Src, kind: Kind) {
        let n = self.lines.len() as u64;
        self.lines.push(Line { v: FORMAT_VERSION, n, t_us: n, inc: 0, src, kind });
    }

    /// A state of so many bytes, which is as good as its hash.
    fn offered(self, sha: &str, bytes: u64) -> Self {
        self.offer(StateOffered { bytes, depth: 3, sha: sha.into(), ..StateOffered::default() })
    }

    fn offer(mut self, offered: StateOffered) -> Self {
        let step = self.steps;
        let thread = "t".to_owned();
        self.line(Src::Harness, Kind::StateOffered(StateOffered { step, thread, ..offered }));
        self
    }

    fn answered(mut self, answer: StateAnswered) -> Self {
        let key = answer.reason.clone().unwrap_or_else(|| answer.what.clone());
        *self.counts.entry(key).or_default() += 1;
        let step = self.steps;
        self.line(Src::Subject, Kind::StateAnswered(StateAnswered { step, ..answer }));
        self
    }

    fn told(self, what: &str, hash: &str, bytes: u64) -> Self {
        let (what, hash) = (what.to_owned(), hash.to_owned());
        self.answered(StateAnswered { what, hash, bytes, ..StateAnswered::default() })
    }

    fn degraded(self, reason: &str) -> Self {
        let (what, reason) = ("degraded".to_owned(), Some(reason.to_owned()));
        self.answered(StateAnswered { what, reason, ..StateAnswered::default() }).got("none", None)
    }

    fn receive(mut self, received: StateReceived) -> Self {
        let (step, sha) = (self.steps, self.here.clone());
        self.line(Src::Harness, Kind::StateReceived(StateReceived { step, sha, ..received }));
        self.steps += 1;
        self
    }

    /// What arrived: the receiver has it if it could follow.
    fn got(mut self, message: &str, then: Option<&str>) -> Self {
        if let Some(sha) = then {
            sha.clone_into(&mut self.here);
        }
        let (message, event) = (message.to_owned(), true);
        self.receive(StateReceived { event, message, ..StateReceived::default() })
    }

    fn refused(self) -> Self {
        let (message, error) = ("delivered".to_owned(), Some("another base".to_owned()));
        self.receive(StateReceived { event: true, message, error, ..StateReceived::default() })
    }

    /// A state that was sent, by patch or whole, and arrived.
    fn sent(self, what: &str, sha: &str) -> Self {
        self.offered(sha, 500).told(what, sha, 100).got("delivered", Some(sha))
    }

    fn lost(self, what: &str, sha: &str) -> Self {
        self.offered(sha, 500).told(what, sha, 100).got("lost", None)
    }

    fn reported(mut self, step: u64) -> Self {
        self.line(Src::Harness, Kind::StateLost(StateLost { step }));
        self
    }

    /// Heap of the last state.
    fn heap(mut self, peak_kib: u64, kept_kib: u64) -> Self {
        let step = self.steps - 1;
        self.line(Src::Os, Kind::StateHeap(StateHeap { step, peak_kib, kept_kib }));
        self
    }

    /// The judging scrape, after changes to what was counted.
    fn scraped(mut self, changes: &[(&str, Option<u64>)]) -> Self {
        let kinds = ["full", "patch", "unchanged"].map(|kind| ("diffs", "kind", kind));
        let reasons = [
            "unserialisable",
            "non_string_key",
            "not_a_number",
            "too_deep",
            "too_large",
            "diff_too_large",
        ];
        let reasons = reasons.map(|reason| ("diff_degraded", "reason", reason));
        let mut text = String::new();
        for (series, label, value) in kinds.into_iter().chain(reasons) {
            let counted = self.counts.get(value).copied().unwrap_or(0);
            let change = changes.iter().find(|(changed, _)| *changed == value);
            let Some(count) = change.map_or(Some(counted), |(_, count)| *count) else { continue };
            let name = format!("dashstream_state_{series}_total");
            if !text.contains(&name) {
                text.push_str(&format!("# TYPE {name} counter\n"));
            }
            text.push_str(&format!("{name}{{{label}=\"{value}\"}} {count}\n"));
        }
        self.line(Src::Subject, Kind::Scrape { text, last: true });
        self
    }

    /// With heap for each state, and a true scrape.
    fn whole(mut self) -> Self {
        for step in 0..self.steps {
            self.line(Src::Os, Kind::StateHeap(StateHeap { step, peak_kib: 1, kept_kib: 1 }));
        }
        self.scraped(&[])
    }

    /// Broken laws with their rules.
    fn broken(&self) -> Vec<String> {
        let judgement = judge(&self.lines, &scenario());
        judgement.violations.iter().map(|v| format!("{} {}", v.law, v.rule)).collect()
    }
}

#[track_caller]
fn keeps(tale: &Tale, law: &str) {
    assert_eq!(tale.broken(), Vec::<String>::new());
    let judgement = judge(&tale.lines, &scenario());
    let status = judgement.laws.iter().find(|(id, _)| id.as_str() == law);
    let held = matches!(status, Some((_, LawStatus::Held { checks: 1.. })));
    assert!(held, "{law} was not judged: {status:?}");
    assert_eq!(judgement.verdict, Verdict::Pass, "{:?}", judgement.why);
}

#[track_caller]
fn breaks(tale: &Tale, rule: &str) {
    assert_eq!(tale.broken(), [rule]);
}

fn chain() -> Tale {
    Tale::new().sent("full", "a").sent("patch", "b")
}

#[test]
fn r5_wants_one_answer_to_every_state() {
    keeps(&chain().whole(), "R5");
    breaks(&chain().whole().offered("c", 500), "R5 answered");
    let mut twice = chain();
    twice.steps -= 1;
    breaks(&twice.told("unchanged", "", 0).whole_of(2), "R5 answered");
    let stray = chain().told("unchanged", "", 0);
    breaks(&stray.whole_of(2), "R5 answered");
}

impl Tale {
    /// As [`Tale::whole`], for so many states.
    fn whole_of(mut self, steps: u64) -> Self {
        self.steps = steps;
        self.whole()
    }
}

#[test]
fn r5_wants_the_event_whatever_becomes_of_its_state() {
    let tale = |event: bool| {
        let told = chain().offered("c", 1001).answered(StateAnswered {
            what: "degraded".into(),
            reason: Some("too_large".into()),
            ..StateAnswered::default()
        });
        let message = "none".to_owned();
        told.receive(StateReceived { event, message, ..StateReceived::default() }).whole()
    };
    keeps(&tale(true), "R5");
    breaks(&tale(false), "R5 event");
}

#[test]
fn r5_wants_a_degraded_state_to_have_its_cause() {
    let large = || chain().offered("c", 1001);
    keeps(&large().degraded("too_large").whole(), "R5");
    keeps(&chain().offered("c", 950).degraded("diff_too_large").whole(), "R5");
    breaks(&large().degraded("too_deep").whole(), "R5 reason");
    breaks(&chain().offered("c", 500).degraded("too_large").whole(), "R5 refused");
    breaks(&chain().offered("c", 500).degraded("diff_too_large").whole(), "R5 refused");
    // a reason that does not exist is in no counter either
    let strange = large().degraded("too_boring").whole().broken();
    assert_eq!(strange, ["R5 typed"]);
    let deep = |depth| {
        let sha = "c".to_owned();
        chain().offer(StateOffered { bytes: 500, depth, sha, ..StateOffered::default() })
    };
    keeps(&deep(11).degraded("too_deep").whole(), "R5");
    breaks(&deep(10).degraded("too_deep").whole(), "R5 refused");
    breaks(&deep(11).told("patch", "c", 100).got("delivered", Some("c")).whole(), "R5 swallowed");
}

#[test]
fn r5_wants_no_error_to_be_swallowed() {
    let nan = || {
        let defect = Some("not_a_number".to_owned());
        let sha = "c".to_owned();
        chain().offer(StateOffered { bytes: 500, depth: 3, sha, defect, ..StateOffered::default() })
    };
    keeps(&nan().degraded("not_a_number").whole(), "R5");
    breaks(&nan().told("patch", "b", 70).got("delivered", Some("b")).whole(), "R5 swallowed");
    breaks(&nan().told("unchanged", "", 0).got("none", None).whole(), "R5 swallowed");
    breaks(&nan().degraded("unserialisable").whole(), "R5 reason");
    breaks(&nan().told("maybe", "", 0).got("none", None).scrapes_nothing_of("maybe"), "R5 typed");
}

impl Tale {
    /// An answer of no kind is in no counter.
    fn scrapes_nothing_of(mut self, what: &str) -> Self {
        self.counts.remove(what);
        self.whole()
    }
}

#[test]
fn r5_wants_a_message_to_be_true_and_within_its_limits() {
    let told = |hash: &str, bytes: u64, state: u64| {
        let told = chain().offered("c", state).told("patch", hash, bytes);
        told.got("delivered", Some("c")).whole()
    };
    keeps(&told("c", 100, 500), "R5");
    breaks(&told("d", 100, 500), "R5 hash");
    breaks(&told("c", 901, 990), "R5 limit");
    // 500 bytes whole are 537
    keeps(&told("c", 537, 500), "R5");
    breaks(&told("c", 538, 500), "R5 limit");
}

#[test]
fn r5_wants_the_next_diff_to_start_from_what_the_receiver_has() {
    let after = || chain().offered("c", 1001).degraded("too_large");
    keeps(&after().sent("patch", "d").whole(), "R5");
    breaks(&after().offered("d", 500).told("patch", "d", 100).refused().whole(), "R5 sound");
    let wrong = after().offered("d", 500).told("patch", "d", 100).got("delivered", Some("x"));
    breaks(&wrong.whole(), "R5 sound");
    let same = |sha| chain().offered(sha, 500).told("unchanged", "", 0).got("none", None).whole();
    keeps(&same("b"), "R5");
    breaks(&same("c"), "R5 sound");
}

#[test]
fn r5_wants_a_resync_as_soon_as_a_loss_is_told_and_not_before() {
    let lost = || chain().lost("patch", "c");
    let unknowing = || lost().offered("d", 500).told("patch", "d", 100).refused();
    keeps(&unknowing().whole(), "R5");
    keeps(&unknowing().reported(2).sent("full", "e").whole(), "R5");
    let deaf = lost().reported(2).offered("d", 500).told("patch", "d", 100).refused();
    breaks(&deaf.whole(), "R5 sound");
    // it need not follow, but it must not be led astray
    let astray = lost().offered("d", 500).told("patch", "d", 100).got("delivered", Some("x"));
    breaks(&astray.whole(), "R5 sound");
}

#[test]
fn r3_wants_what_is_kept_and_taken_within_the_stated_ceilings() {
    // 4 KiB of digests and 16 beside them; twice 4 and 1, three messages of 100 bytes, and 256
    let tale = |peak, kept| Tale::new().sent("full", "a").heap(peak, kept).scraped(&[]);
    keeps(&tale(267, 20), "R3");
    breaks(&tale(267, 21), "R3 kept");
    breaks(&tale(268, 20), "R3 peak");
}

#[test]
fn r3_is_undecided_where_nobody_counted() {
    let tale = Tale::new().sent("full", "a").scraped(&[]);
    let judgement = judge(&tale.lines, &scenario());
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert!(judgement.why.iter().any(|why| why.contains("no allocator counted")));
}

#[test]
fn m1_wants_every_answer_counted_under_its_kind_or_reason() {
    let tale = || {
        let tale = chain().offered("c", 1001).degraded("too_large");
        tale.sent("patch", "d")
    };
    keeps(&tale().whole(), "M1");
    let scraped = |changes: &[(&str, Option<u64>)]| {
        let mut tale = tale().whole();
        tale.lines.pop();
        tale.scraped(changes)
    };
    breaks(&scraped(&[("too_large", Some(0))]), "M1 equal");
    breaks(&scraped(&[("patch", Some(1))]), "M1 equal");
    breaks(&scraped(&[("too_deep", None)]), "M1 missing");
    let mut silent = tale().whole();
    silent.lines.pop();
    assert_eq!(judge(&silent.lines, &scenario()).verdict, Verdict::Inconclusive);
    let mut garbled = silent;
    garbled.line(Src::Subject, Kind::Scrape { text: "what?\n".into(), last: true });
    breaks(&garbled, "M1 readable");
}

#[test]
fn a_history_that_does_not_say_what_arrived_is_inconclusive() {
    let mut tale = chain().whole();
    let received = |line: &Line| matches!(line.kind, Kind::StateReceived(_));
    tale.lines.retain(|line| !received(line));
    assert_eq!(judge(&tale.lines, &scenario()).verdict, Verdict::Inconclusive);
}

proptest! {
    #[test]
    fn any_lines_about_states_are_judged(lines in histories()) {
        prop_assert_eq!(judge(&lines, &scenario()), judge(&lines, &scenario()));
    }

    #[test]
    fn a_mangled_history_of_states_is_judged(
        edits in edits()
    ) {
        let tale = chain().offered("c", 1001).degraded("too_large").lost("patch", "d").reported(3);
        let mut lines = tale.sent("full", "e").whole().lines;
        mangle(&mut lines, edits);
        let judgement = judge(&lines, &scenario());
        prop_assert!(judgement.violations.iter().all(|v| v.to_string().contains("reproduce")));
    }
}
