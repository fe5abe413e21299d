//! Spools on the disks that a crash could leave: a history that keeps each rule, and one that
//! breaks it.

use proptest::prelude::*;
use serde_json::json;

use super::story::*;
use super::{edits, mangle};
use crate::history::{
    CrashState, CrashTally, FaultPhase, GivenBack, Kind, Outcome, Persistence, SpoolFound, Src,
};
use crate::oracle::LawId::{D3, D4, D5, D6, D11};
use crate::oracle::{Verdict, judge};
use crate::scenario::model::{At, Fault, FaultKind, SpoolDamage};

impl Story {
    /// Operations that change the spool's disk.
    fn ops(&mut self, names: &[&str]) -> &mut Self {
        for name in names {
            let (op, path) = ((*name).to_owned(), "/spool/1.spool".to_owned());
            self.line(Src::Fs, Kind::Fs { op, path, error: None });
        }
        self
    }

    /// On a disk that a crash after so many operations could leave, a spool begins this epoch and
    /// gives these events back.
    fn crash_state(&mut self, ops: u64, epoch: u64, events: &[GivenBack]) -> &mut Self {
        let spool = Some(SpoolFound { epoch, events: events.to_vec() });
        let state =
            CrashState { state: format!("m0.op{ops}.v0"), ops, spool, ..CrashState::default() };
        self.line(Src::Fs, Kind::CrashState(state))
    }
}

/// An event of the first epoch as it comes back.
fn back(n: u32, sequence: u64, main: Persistence) -> GivenBack {
    GivenBack { event: id(n), sequence, main, dlq: Not }
}

/// Events 0 and 1 are spooled: the epoch is begun with two operations, and each has a write and a
/// sync. Event 1 may be in the main log.
fn two() -> Story {
    let settings = json!({ "retry": { "max_attempts": 1 }, "spool": { "directory": "/spool" } });
    let mut s = Story::new().producer(settings);
    s.ops(&["create", "sync_dir"]).at(10).taken(0).taken(1).at(20);
    for (n, main) in [(0, Not), (1, Possibly)] {
        let attempt = s.attempt(Main, n);
        if main == Possibly {
            s.appended(Main, n, None);
        }
        s.failed(attempt, Main, -192, main).ops(&["write", "sync"]);
        s.outcome(n, Outcome::Spooled { main, dlq: Not });
    }
    s
}

/// The next incarnation has begun its epoch, with operations 7 and 8.
fn reopened() -> Story {
    let mut s = two();
    s.at(30).close();
    s.at(40).reopen().ops(&["create", "sync_dir"]);
    s
}

/// It sends event 0 again and has it acked, which ends the record with operations 9 and 10.
fn drained() -> Story {
    let mut s = reopened();
    s.at(50).sent(0).ops(&["write", "sync"]);
    s
}

#[test]
fn a_spool_that_gives_back_what_was_told_by_then_keeps_every_law() {
    let mut s = two();
    let (first, second) = (back(0, 1, Not), back(1, 2, Possibly));
    s.crash_state(0, 0, &[]);
    for (ops, found) in
        [(3, vec![first.clone()]), (4, vec![first.clone()]), (6, vec![first.clone(), second])]
    {
        s.crash_state(ops, 1, &found);
    }
    // a record whose outcome was not told yet may be there, whole
    s.crash_state(3, 1, &[]);
    for law in [D3, D4, D5, D6, D11] {
        s.holds(law);
    }
}

#[test]
fn a_spooled_event_that_a_crash_takes_away_breaks_d11() {
    let mut s = two();
    s.crash_state(4, 1, &[]);
    insta::assert_snapshot!(s.broken(D11));
}

#[test]
fn an_event_counts_as_spooled_from_the_operation_on_after_which_it_was_told() {
    let with = |ops: u64, events: &[GivenBack]| {
        let mut s = two();
        s.crash_state(ops, 1, events);
        s
    };
    with(5, &[back(0, 1, Not)]).holds(D11);
    with(6, &[back(0, 1, Not)]).breaks(D11, "crash_lost");
}

#[test]
fn an_event_under_way_again_is_still_on_the_spool_until_it_succeeds() {
    let mut s = reopened();
    s.at(50).attempt(Main, 0);
    s.crash_state(8, 2, &[back(1, 2, Possibly)]);
    s.breaks(D11, "crash_lost");
    let mut s = drained();
    s.crash_state(10, 2, &[back(1, 2, Possibly)]);
    s.holds(D11);
}

#[test]
fn a_spool_that_cannot_be_opened_on_what_a_crash_left_breaks_d11() {
    let mut s = two();
    let error = Some("list of /spool failed".to_owned());
    let state = CrashState { state: "m0.op1.v0".into(), ops: 1, error, ..CrashState::default() };
    s.line(Src::Fs, Kind::CrashState(state));
    s.breaks(D11, "crash_open");
}

#[test]
fn an_ended_event_may_come_back_before_close_has_returned_and_not_after() {
    let all = [back(0, 1, Possibly), back(1, 2, Possibly)];
    let mut s = drained();
    s.crash_state(9, 2, &all);
    s.holds(D5);
    let mut s = drained();
    s.at(60).close().ops(&["create"]).crash_state(11, 2, &all);
    insta::assert_snapshot!(s.broken(D5));
}

#[test]
fn a_close_that_its_deadline_cut_proves_no_end() {
    let mut s = drained();
    let close = s.at(60).call("close", Some(10));
    s.at(70).closed(close).scrape(true);
    s.ops(&["create"]).crash_state(11, 2, &[back(0, 1, Possibly), back(1, 2, Possibly)]);
    s.holds(D5);
}

#[test]
fn an_event_that_comes_back_twice_breaks_d5() {
    let mut s = two();
    s.crash_state(4, 1, &[back(0, 1, Not), back(0, 1, Not)]);
    s.breaks(D5, "crash_twice");
}

#[test]
fn a_claim_weaker_than_what_was_known_breaks_d3() {
    let mut s = two();
    s.crash_state(6, 1, &[back(0, 1, Not), back(1, 2, Not)]);
    insta::assert_snapshot!(s.broken(D3));
}

#[test]
fn an_event_that_is_handed_over_again_is_possibly_persisted_until_its_delivery() {
    let claims = |done: bool, says: Persistence| {
        let mut s = reopened();
        let attempt = s.at(50).attempt(Main, 0);
        if done {
            s.failed(attempt, Main, -192, Not);
        }
        s.crash_state(8, 2, &[back(0, 1, says), back(1, 2, Possibly)]);
        s
    };
    claims(false, Possibly).holds(D3);
    claims(false, Not).breaks(D3, "crash_claim");
    claims(true, Not).holds(D3);
}

#[test]
fn an_epoch_that_was_used_before_breaks_d6() {
    let mut s = two();
    s.crash_state(2, 0, &[]);
    insta::assert_snapshot!(s.broken(D6));
    let mut s = two();
    s.crash_state(2, 1, &[]);
    s.holds(D6);
}

#[test]
fn a_thread_out_of_order_breaks_d6() {
    let mut s = two();
    s.crash_state(6, 1, &[back(1, 2, Possibly), back(0, 1, Not)]);
    s.breaks(D6, "crash_order");
}

#[test]
fn another_sequence_than_the_one_that_was_given_breaks_d6() {
    let mut s = two();
    s.crash_state(4, 1, &[back(0, 7, Not)]);
    s.breaks(D6, "crash_sequence");
}

#[test]
fn an_event_that_was_never_offered_breaks_d4() {
    let mut s = two();
    s.crash_state(4, 1, &[back(0, 1, Not), back(77, 3, Not)]);
    s.breaks(D4, "crash_unknown");
}

#[test]
fn damage_at_rest_may_cost_and_bring_back_what_the_files_held() {
    let mut s = drained();
    s.at(60).close();
    let (at, kind) = (At::Time(std::time::Duration::ZERO), SpoolDamage::FlippedBit);
    s.scenario.faults.push(Fault::new(at, None, FaultKind::SpoolDamage(kind)));
    s.fault("spool.damage", FaultPhase::Begin).ops(&["rest"]);
    s.fault("spool.damage", FaultPhase::Effect).fault("spool.damage", FaultPhase::End);
    // after all of that: before it, nothing is excused
    s.crash_state(99, 2, &[back(0, 1, Not)]);
    for law in [D3, D5, D11] {
        s.holds(law);
    }
}

#[test]
fn after_a_crash_the_operations_count_anew_and_what_was_told_stays_so() {
    let mut s = two();
    s.proc(Src::Os, "crash", 0, "").at(40).reopen().ops(&["create", "sync_dir"]);
    let both = [back(0, 1, Not), back(1, 2, Possibly)];
    s.crash_state(0, 1, &both).crash_state(2, 2, &both);
    s.holds(D11);
    s.crash_state(1, 1, &[]);
    s.breaks(D11, "crash_lost");
}

#[test]
fn crash_states_that_are_missing_from_the_history_are_no_pass() {
    let verdict = |states| {
        let mut s = two();
        s.at(30).close().crash_state(6, 1, &[back(0, 1, Not), back(1, 2, Possibly)]);
        let tally = CrashTally { points: 1, states, ..CrashTally::default() };
        s.line(Src::Fs, Kind::CrashTally(tally));
        s.judge().verdict
    };
    assert_eq!((verdict(1), verdict(2)), (Verdict::Pass, Verdict::Inconclusive));
}

#[test]
fn crash_states_are_counted_by_what_the_subject_was_doing() {
    let mut s = reopened();
    let open = s.call("open", None);
    s.ops(&["create"]).returned(open, "open", None).at(50).sent(0).ops(&["write", "sync"]);
    let close = s.call("close", Some(1000));
    s.ops(&["write"]).closed(close);
    for ops in [0, 3, 6, 9, 10, 11, 12] {
        s.crash_state(ops, 3, &[]);
    }
    let wanted = [("append", 2), ("close", 1), ("drain", 2), ("none", 1), ("open", 1)];
    let wanted = wanted.map(|(what, n)| (format!("spool/{what}"), n));
    assert_eq!(s.judge().counts.crashes, wanted.into());
}

proptest! {
    #[test]
    fn a_mangled_history_with_crash_states_is_judged(edits in edits()) {
        let mut s = drained();
        s.at(60).close();
        for ops in 0..11 {
            s.crash_state(ops, ops / 3, &[back(0, 1, Not), back(1, 2, Possibly)]);
        }
        let mut lines = s.lines();
        mangle(&mut lines, edits);
        let judgement = judge(&lines, &s.scenario);
        prop_assert!(judgement.violations.iter().all(|v| v.to_string().contains("reproduce")));
    }
}
