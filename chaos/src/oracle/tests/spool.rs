//! Laws over restarts: what the spool keeps, gives back, and forgets.

use super::story::*;
use crate::history::{FaultPhase, Kind, Outcome, Src};
use crate::lane::spool;
use crate::oracle::LawId::{D2, D5, D6, D11};
use crate::scenario::model::{At, Fault, FaultKind, SpoolDamage};
use serde_json::json;
use std::time::Duration;

fn story() -> Story {
    Story::new()
        .producer(json!({ "retry": { "max_attempts": 1 }, "spool": { "directory": "/spool" } }))
}

fn spooled(main: crate::history::Persistence) -> Outcome {
    Outcome::Spooled { main, dlq: Not }
}

/// Event 0 is spooled, and the next incarnation begins.
fn kept(main: crate::history::Persistence) -> Story {
    let mut s = story();
    s.at(10).taken(0).at(20);
    let attempt = s.attempt(Main, 0);
    if main == Possibly {
        s.appended(Main, 0, None);
    }
    s.failed(attempt, Main, -192, main).at(30).outcome(0, spooled(main)).at(40).close();
    s.at(50).reopen();
    s
}

/// A new event, with a sequence of the second epoch.
fn later(s: &mut Story, n: u32, epoch: u64) {
    s.offered(n).claim(Kind::Accepted { event: id(n), sequence: (epoch << 40) + 1 });
}

fn files(s: &mut Story, held: &[u32]) {
    let line = |op: &str, path| Kind::Fs { op: op.to_owned(), path, error: None };
    s.line(Src::Fs, line(spool::READ, String::new()));
    for n in held {
        s.line(Src::Fs, line(spool::HOLDS, id(*n).to_string()));
    }
}

#[test]
fn what_was_spooled_and_is_acked_by_the_next_incarnation_keeps_every_law() {
    let mut s = kept(Possibly);
    s.at(60).sent(0).at(70);
    later(&mut s, 1, 1);
    s.sent(1).at(80).close();
    files(&mut s, &[]);
    assert_eq!(s.judge().violations, []);
}

#[test]
fn a_spooled_event_that_the_next_incarnation_passes_over_breaks_d11() {
    let mut s = kept(Not);
    later(&mut s, 1, 1);
    s.at(60).sent(1).at(80).close();
    s.breaks(D11, "spool");
}

#[test]
fn damage_explains_as_many_lost_records_as_it_hit() {
    let mut s = kept(Not);
    let what = SpoolDamage::FlippedBit;
    let (at, kind) = (At::Time(Duration::ZERO), FaultKind::SpoolDamage(what));
    s.scenario.faults.push(Fault::new(at, None, kind));
    for phase in [FaultPhase::Begin, FaultPhase::Effect, FaultPhase::End] {
        s.fault("spool.damage", phase);
    }
    later(&mut s, 1, 1);
    s.at(60).sent(1).at(80).close();
    files(&mut s, &[]);
    s.holds(D11);
    s.holds(D2);
}

#[test]
fn a_spooled_event_without_a_record_in_the_files_breaks_d2() {
    let end = |held: &[u32]| {
        let mut s = kept(Not);
        s.at(80).close();
        files(&mut s, held);
        s
    };
    end(&[0]).holds(D2);
    end(&[]).breaks(D2, "spool");
}

#[test]
fn an_acked_event_that_the_files_still_hold_breaks_d5() {
    let mut s = kept(Not);
    s.at(60).sent(0).at(80).close();
    files(&mut s, &[0]);
    s.breaks(D5, "on_spool");
}

#[test]
fn an_event_that_was_acked_and_is_sent_again_breaks_d5() {
    let mut s = kept(Not);
    s.at(60).sent(0).at(70).close();
    s.at(80).reopen().at(90).sent(0).at(100).close();
    s.breaks(D5, "after_ack");
}

#[test]
fn one_doubt_explains_one_copy_and_not_two() {
    let mut s = kept(Possibly);
    s.at(60).sent(0).at(80).close();
    s.holds(D5);
    let mut s = kept(Possibly);
    s.at(60).sent(0);
    s.appended(Main, 0, Some(0));
    s.at(80).close();
    s.breaks(D5, "twice");
}

#[test]
fn sequences_that_begin_anew_with_a_directory_break_d6() {
    let ends = |epoch| {
        let mut s = story();
        s.at(10).taken(0).sent(0).at(20).close();
        s.at(30).reopen();
        later(&mut s, 1, epoch);
        s.at(40).sent(1).at(50).close();
        s
    };
    ends(1).holds(D6);
    ends(0).breaks(D6, "restart");
    let mut without = ends(0);
    without.scenario.producer = json!({});
    without.holds(D6);
}

#[test]
fn a_recovered_event_behind_a_new_one_of_its_thread_breaks_d6() {
    let mut s = kept(Not);
    later(&mut s, 1, 1);
    s.at(60).sent(1).at(70).sent(0).at(80).close();
    s.breaks(D6, "recovered");
}

#[test]
fn an_event_that_was_dropped_and_is_sent_by_the_next_incarnation_breaks_d5() {
    let mut s = story();
    s.at(10).taken(0).at(20);
    let attempt = s.attempt(Main, 0);
    s.failed(attempt, Main, -192, Not).at(30).outcome(0, dropped("deadline")).at(40).close();
    s.at(50).reopen().at(60).sent(0).at(70);
    later(&mut s, 1, 1);
    s.sent(1).at(80).close();
    s.breaks(D5, "after_drop");
}
