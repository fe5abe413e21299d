//! Two lanes that agree, and every way in which they may not.

use proptest::prelude::*;

use super::story::{Main, Not, Possibly, Story, acked, dropped};
use super::{edits, mangle};
use crate::history::{EventId, FaultPhase, Kind, Line, Src};
use crate::oracle::agree::{Comparison, Side, agree, compare, field};
use crate::scenario::model::{LaneName, Within};

const FAULT: &str = "broker.down";

fn on(lane: LaneName) -> Story {
    Story::on(lane, "reference")
}

/// Events 0 and 1 before a fault, 2 inside of it, 3 after it; `ends` says how 2 ends.
fn outage(lane: LaneName, ends: impl FnOnce(&mut Story)) -> Story {
    let mut story = on(lane);
    story.at(100).taken(0).sent(0).at(200).taken(1).sent(1);
    story.at(1000).fault(FAULT, FaultPhase::Begin).fault(FAULT, FaultPhase::Effect);
    story.at(1500).taken(2);
    story.at(2000).fault(FAULT, FaultPhase::End);
    story.at(2100);
    ends(&mut story);
    story.at(3000).taken(3).sent(3);
    story.at(4000).close();
    story
}

fn sends(story: &mut Story) {
    story.sent(2);
}

fn buries(story: &mut Story) {
    let attempt = story.attempt(Main, 2);
    story.turned_down(Main, 2, 10).failed(attempt, Main, 10, Not);
    story.buried(2, "permanent_error", Not);
}

fn compared(a: &Story, b: &Story) -> Comparison {
    agree(&a.lines(), &b.lines(), &a.scenario)
}

fn fields(comparison: &Comparison) -> Vec<&str> {
    comparison.differences.iter().map(|difference| difference.field.as_str()).collect()
}

#[test]
fn two_lanes_that_say_the_same_agree() {
    let (a, b) = (outage(LaneName::Sim, sends), outage(LaneName::Wire, sends));
    let compared = compared(&a, &b);
    assert_eq!(fields(&compared), [""; 0]);
    assert!(compared.checks > 20, "{} checks", compared.checks);
}

#[test]
fn what_a_fault_touched_is_listed_and_not_compared() {
    let (a, b) = (outage(LaneName::Sim, sends), outage(LaneName::Wire, buries));
    let compared = compared(&a, &b);
    assert_eq!(fields(&compared), [""; 0]);
    let listed: Vec<_> =
        compared.listed.iter().map(|listed| (listed.class.as_str(), listed.counts)).collect();
    assert_eq!(listed, [("acked", [1, 0]), ("dead_lettered/permanent_error/not", [0, 1])]);
}

#[test]
fn what_a_fault_touched_is_compared_within_the_bound_that_the_scenario_gives() {
    let (a, b) = (outage(LaneName::Sim, sends), outage(LaneName::Wire, buries));
    let (a, b) = (Side::of(&a.lines(), &a.scenario), Side::of(&b.lines(), &b.scenario));
    let with = |within| compare(&a, &b, &[("acked".to_owned(), within)]);
    assert_eq!(fields(&with(Within::Share(0.05))), ["count/acked"]);
    assert_eq!(fields(&with(Within::Count(0))), ["count/acked"]);
    let near = with(Within::Count(1));
    assert_eq!(fields(&near), [""; 0]);
    assert!(near.listed.iter().all(|listed| listed.class != "acked"), "judged and listed");
}

/// Event 0 in an undisturbed run.
fn quiet(lane: LaneName, ends: impl FnOnce(&mut Story)) -> Story {
    let mut story = on(lane);
    story.at(100).taken(0);
    ends(&mut story);
    story.at(1000).close();
    story
}

#[test]
fn a_bound_that_the_scenario_gives_is_for_a_load_that_no_fault_touches_too() {
    let (a, b) = (quiet(LaneName::Sim, sends_first), quiet(LaneName::Wire, drops_first));
    let (a, b) = (Side::of(&a.lines(), &a.scenario), Side::of(&b.lines(), &b.scenario));
    let loads = |within: &[(String, Within)]| {
        let compared = compare(&a, &b, within);
        let fields = fields(&compared).into_iter().map(str::to_owned);
        fields.filter(|field| field.starts_with("load/1/acked")).collect::<Vec<_>>()
    };
    assert_eq!(loads(&[]), ["load/1/acked"]);
    assert_eq!(loads(&[("acked".to_owned(), Within::Count(0))]), ["load/1/acked"]);
    assert_eq!(loads(&[("acked".to_owned(), Within::Count(1))]), [""; 0]);
}

fn drops_first(story: &mut Story) {
    let attempt = story.attempt(Main, 0);
    story.failed(attempt, Main, -192, Not).outcome(0, dropped("deadline"));
}

fn sends_first(story: &mut Story) {
    story.sent(0);
}

#[test]
fn a_class_that_no_fault_explains_must_be_on_both_lanes() {
    let (a, b) = (quiet(LaneName::Sim, sends_first), quiet(LaneName::Wire, drops_first));
    let compared = compared(&a, &b);
    let found = fields(&compared);
    assert!(
        found.contains(&"class/acked") && found.contains(&"class/dropped/deadline"),
        "{found:?}"
    );
    let class = compared.differences.iter().find(|d| d.field == "class/acked").unwrap();
    assert_eq!(class.says, ["1 event", "no event"]);
}

#[test]
fn persistence_is_part_of_a_class() {
    let doubt = |main| {
        move |story: &mut Story| {
            let attempt = story.attempt(Main, 0);
            story.failed(attempt, Main, 87, main).buried(0, "permanent_error", main);
        }
    };
    let (a, b) = (quiet(LaneName::Sim, doubt(Not)), quiet(LaneName::Wire, doubt(Possibly)));
    let found = compared(&a, &b);
    let found = fields(&found);
    assert!(found.contains(&"class/dead_lettered/permanent_error/not"), "{found:?}");
    assert!(found.contains(&"class/dead_lettered/permanent_error/possibly"), "{found:?}");
}

#[test]
fn an_event_without_an_outcome_is_a_class_of_its_own() {
    let (a, b) = (quiet(LaneName::Sim, sends_first), quiet(LaneName::Wire, |_| {}));
    let found = compared(&a, &b);
    assert!(fields(&found).contains(&"class/unresolved"), "{:?}", fields(&found));
    assert!(fields(&found).contains(&"law/D1"), "{:?}", fields(&found));
}

#[test]
fn the_verdict_of_a_law_must_be_the_same() {
    let lost = |story: &mut Story| {
        story.sent(0);
        story.log(Main).clear();
    };
    let (a, b) = (quiet(LaneName::Sim, sends_first), quiet(LaneName::Wire, lost));
    let compared = compared(&a, &b);
    let law = compared.differences.iter().find(|d| d.field == "law/D2").unwrap();
    assert_eq!(law.says, ["holds", "is broken"]);
}

#[test]
fn attempts_and_times_are_not_compared() {
    let late = |story: &mut Story| {
        let attempt = story.attempt(Main, 0);
        story.turned_down(Main, 0, 6).failed(attempt, Main, 6, Not);
        story.at(700).sent(0);
    };
    let (a, b) = (quiet(LaneName::Sim, sends_first), quiet(LaneName::Wire, late));
    let (a, b) = (Side::of(&a.lines(), &a.scenario), Side::of(&b.lines(), &b.scenario));
    let differences = compare(&a, &b, &[]).differences;
    let others: Vec<_> = differences.iter().filter(|d| !d.field.starts_with("law/")).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Load 2 after a fault; `rejected` of its three events are refused.
fn second_load(lane: LaneName, begins: u64, refused: u32) -> Story {
    let mut story = outage(lane, sends);
    story.at(begins);
    for n in 0..3 {
        let event = EventId { load: 1, n };
        story.truth(Kind::Offered { event, thread: "t1".into(), bytes: 10 });
        let outcome = if n < refused { super::story::rejected("oversize") } else { acked(9) };
        story.claim(Kind::Outcome { event, outcome, why: None });
    }
    story
}

#[test]
fn the_counts_of_a_load_after_the_faults_must_be_the_same() {
    let (a, b) = (second_load(LaneName::Sim, 5000, 1), second_load(LaneName::Wire, 5000, 2));
    let found = compared(&a, &b);
    let found = fields(&found);
    assert!(found.contains(&"load/2/acked"), "{found:?}");
    assert!(found.contains(&"load/2/rejected/oversize"), "{found:?}");
    assert!(!found.iter().any(|field| field.starts_with("load/1/")), "{found:?}");
}

#[test]
fn the_counts_of_a_load_that_a_close_cut_are_not_compared() {
    let cut = |lane, refused| {
        let mut story = second_load(lane, 4000, refused);
        story.at(5000).close();
        let event = EventId { load: 1, n: 3 };
        story.at(6000).truth(Kind::Offered { event, thread: "t1".into(), bytes: 10 });
        story.claim(Kind::Outcome { event, outcome: acked(10), why: None });
        story
    };
    let found = compared(&cut(LaneName::Sim, 1), &cut(LaneName::Wire, 2));
    assert!(!fields(&found).iter().any(|field| field.starts_with("load/")), "{:?}", fields(&found));
}

#[test]
fn a_fault_touches_as_long_as_the_machine_stands_still() {
    let stalled = |lane: LaneName, ms: i64| {
        let mut story = outage(lane, sends);
        story.at(2150).taken(4);
        let attempt = story.attempt(Main, 4);
        story.failed(attempt, Main, -192, Not).outcome(4, dropped("deadline"));
        story.proc(Src::Os, "stall", ms * 1000, "");
        story
    };
    let sound = outage(LaneName::Sim, sends);
    let class =
        |story: &Story| fields(&compared(&sound, story)).contains(&"class/dropped/deadline");
    assert!(class(&stalled(LaneName::Wire, 10)), "150 ms after the fault, and nothing stood still");
    assert!(!class(&stalled(LaneName::Wire, 200)), "the subject may have heard of it later");
    assert!(class(&stalled(LaneName::Sim, 200)), "virtual time stands still for nobody");
}

#[test]
fn a_field_is_refused_unless_a_comparison_can_have_it() {
    let good = [
        "law/D5",
        "law/EXPECT",
        "class/acked",
        "class/unresolved",
        "class/dropped/deadline",
        "class/dead_lettered/unconfirmed/possibly",
        "class/in_doubt/unconfirmed/possibly/not",
        "class/spooled/not/not",
        "load/2/rejected/oversize",
        "count/acked",
        "count/dropped/deadline",
    ];
    for field in good {
        assert_eq!(field::check(field, 2), Ok(()), "{field}");
    }
    let bad = [
        "",
        "law",
        "law/D99",
        "laws/D5",
        "class/",
        "class/ackd",
        "class/acked/deadline",
        "class/dropped",
        "class/dropped/oversize",
        "class/dead_lettered/deadline",
        "class/dead_lettered/deadline/perhaps",
        "class/spooled/not",
        "load/0/acked",
        "load/3/acked",
        "load/1",
        "count/unresolved",
        "count/acked/",
        "attempts",
    ];
    for field in bad {
        let (message, help) = field::check(field, 2).expect_err(field);
        assert!(!message.is_empty() && help.is_some(), "{field}: {message}, {help:?}");
    }
}

/// A story with something of everything.
fn rich() -> Story {
    let mut story = outage(LaneName::Wire, buries);
    story.at(5000).offered(5).outcome(5, super::story::rejected("closed"));
    story
}

fn mangled(edits: Vec<super::Edit>) -> Vec<Line> {
    let mut lines = rich().lines();
    mangle(&mut lines, edits);
    lines
}

proptest! {
    #[test]
    fn a_history_agrees_with_itself_whatever_it_says(edits in edits()) {
        let lines = mangled(edits);
        let compared = agree(&lines, &lines, &rich().scenario);
        prop_assert_eq!(fields(&compared), vec![""; 0]);
    }

    #[test]
    fn which_lane_comes_first_makes_no_difference(a in edits(), b in edits()) {
        let scenario = rich().scenario;
        let (a, b) = (mangled(a), mangled(b));
        let here = agree(&a, &b, &scenario);
        let mut there = agree(&b, &a, &scenario);
        for difference in &mut there.differences {
            difference.says.reverse();
        }
        for listed in &mut there.listed {
            listed.counts.reverse();
        }
        prop_assert_eq!(here, there);
    }

    #[test]
    fn what_differs_can_be_explained(a in edits(), b in edits()) {
        let scenario = rich().scenario;
        for difference in agree(&mangled(a), &mangled(b), &scenario).differences {
            prop_assert!(field::check(&difference.field, 2).is_ok(), "{}", difference.field);
        }
    }
}

#[test]
fn a_bound_holds_up_to_and_with_its_limit() {
    assert!(Within::Share(0.05).holds(100, 95) && !Within::Share(0.05).holds(100, 94));
    assert!(Within::Share(0.05).holds(95, 100) && Within::Share(0.0).holds(7, 7));
    assert!(Within::Count(3).holds(0, 3) && !Within::Count(3).holds(4, 0));
    assert_eq!(Within::Share(0.05).to_string(), "±5%");
}
