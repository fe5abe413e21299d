//! Calls that fail because of what the application or the harness did, and those that just fail.

use super::story::*;
use crate::history::Src;
use crate::oracle::LawId::{D1, D10, M5};
use crate::oracle::{Judgement, LawId, Verdict};

/// Close is called, then the last handle is dropped; close answers this. The event that was open
/// is given up.
fn dropped_while_closing(error: &str, close_first: bool) -> Story {
    let mut s = Story::new();
    s.at(10).taken(0);
    s.at(20).attempt(Main, 0);
    let close = s.at(30).call("close", Some(3000));
    let drop = s.at(40).call("drop", None);
    s.outcome(0, in_doubt("abandoned", Possibly, Not));
    if close_first {
        s.returned(close, "close", Some(error)).returned(drop, "drop", None);
    } else {
        s.returned(drop, "drop", None).returned(close, "close", Some(error));
    }
    s.proc(Src::Harness, "drop", 0, "").at(600).scrape(true);
    s
}

fn unjudged(judgement: &Judgement, law: LawId) -> Vec<&str> {
    let of_law = judgement.unjudged.iter().filter(|(of, ..)| *of == law);
    of_law.map(|(_, why, _)| why.as_str()).collect()
}

const CUT: &str = "cancelled: the handle was dropped while the call waited";

#[test]
fn dropping_the_last_handle_while_close_runs_is_the_applications_doing() {
    for close_first in [true, false] {
        for error in [CUT, "no_handle: no such handle of an open producer"] {
            let s = dropped_while_closing(error, close_first);
            s.holds(D10);
            s.holds(D1);
            let judgement = s.judge();
            assert_eq!(judgement.verdict, Verdict::Pass, "{:?}", judgement.why);
            assert_eq!(unjudged(&judgement, M5), ["close failed and gave no report"]);
        }
    }
}

#[test]
fn what_the_drop_left_without_an_outcome_still_breaks_d1() {
    let mut s = Story::new();
    s.at(10).taken(0);
    let close = s.at(30).call("close", Some(3000));
    let drop = s.at(40).call("drop", None);
    s.returned(close, "close", Some(CUT)).returned(drop, "drop", None);
    s.proc(Src::Harness, "drop", 0, "").at(600).scrape(true);
    s.breaks(D1, "none");
}

#[test]
fn a_close_that_fails_of_itself_breaks_d10_whatever_was_dropped() {
    dropped_while_closing("internal: the books do not balance", true).breaks(D10, "failed");
    dropped_while_closing("exited: the subject's process is gone", true).breaks(D10, "failed");
}

#[test]
fn a_close_that_says_cancelled_though_nobody_dropped_anything_breaks_d10() {
    for error in [CUT, "no_handle: no such handle", "exited: the process is gone"] {
        let mut s = Story::new();
        s.at(10).taken(0).sent(0);
        let close = s.at(30).call("close", Some(3000));
        s.at(40).returned(close, "close", Some(error));
        s.breaks(D10, "failed");
        assert_eq!(unjudged(&s.judge(), M5), ["close failed and gave no report"]);
    }
}

#[test]
fn a_process_that_is_killed_while_it_closes_breaks_nothing() {
    for answered in [true, false] {
        let mut s = Story::new();
        s.at(10).taken(0).sent(0);
        let flush = s.at(20).call("flush", Some(1000));
        let close = s.at(30).call("close", Some(3000));
        s.at(40).proc(Src::Os, "crash", 0, "");
        if answered {
            s.returned(close, "close", Some("exited: the subject was killed"));
            s.returned(flush, "flush", Some("exited: the subject was killed"));
        }
        s.at(10_000).reopen().at(10_010).taken(1).sent(1).close();
        let judgement = s.judge();
        assert_eq!(judgement.violations, []);
        let why = "the process was killed while close was running";
        assert_eq!(unjudged(&judgement, M5), [why]);
    }
}

#[test]
fn an_answer_that_comes_after_the_next_open_ends_the_incarnation_that_was_called() {
    let mut s = Story::new();
    s.at(10).taken(0).sent(0);
    let close = s.at(20).call("close", Some(3000));
    s.reopen().at(30).returned(close, "close", None);
    s.at(40).taken(1).at(50).sent(1).close();
    // Taken for the end of the second incarnation, it would stand before that one's outcome.
    s.holds(D1);
}
