//! C2, C4, C6, S3, A1 and the protocol.

use super::story::*;
use crate::history::{FrameFacts, Kind, Src};
use crate::oracle::LawId::{A1, C2, C4, C6, Protocol, S3};
use crate::oracle::LawStatus;
use crate::scenario::model::{Action, ActionKind, At, LaneName};
use serde_json::json;
use std::time::Duration;

fn one_sent() -> Story {
    let mut s = Story::new();
    s.at(10).taken(0).sent(0);
    s
}

#[test]
fn sound_records_keep_the_codec_laws() {
    let mut s = one_sent();
    s.at(50).close();
    for law in [C2, C4, C6] {
        s.holds(law);
    }
}

#[test]
fn each_class_of_defect_breaks_its_law() {
    for (law, defect) in [
        (C2, "frame: byte 0: no frame byte"),
        (C2, "schema: the header is missing"),
        (C4, "crc: says 00000000, is 1234abcd"),
        (C6, "compression: the frame is plain, a header says compression 1"),
    ] {
        let mut s = one_sent();
        s.at(50).close();
        s.defect(Main, defect);
        s.breaks(law, defect.split_once(':').unwrap().0);
    }
}

#[test]
fn the_compression_threshold_is_honoured_on_both_sides() {
    let framed = |settings: serde_json::Value, payload, zstd| {
        let mut s = one_sent();
        s.at(50).close();
        s.scenario.producer = json!({ "compression": settings });
        s.log(Main)[0].frame = Some(FrameFacts { payload, zstd });
        s
    };
    framed(json!({}), 512, false).holds(C6);
    framed(json!({}), 513, true).holds(C6);
    framed(json!({ "enabled": false }), 5000, false).holds(C6);
    framed(json!({ "threshold": 10 }), 60, false).holds(C6);
    framed(json!({}), 512, true).breaks(C6, "needless");
    framed(json!({ "enabled": false }), 5000, true).breaks(C6, "needless");
    insta::assert_snapshot!(framed(json!({}), 1400, false).broken(C6));
}

/// A scenario that asks for two decodes, one to be taken and one to be refused.
fn decoding(answers: [Option<&str>; 2]) -> Story {
    let mut s = one_sent();
    // In the file the later one stands first: calls come in the order of time.
    let decode = |at, accept| Action {
        at: At::Time(Duration::from_millis(at)),
        kind: ActionKind::Decode { frame: vec![0], accept },
    };
    s.scenario.actions = vec![decode(30, false), decode(20, true)];
    for (at, error) in [20, 30].into_iter().zip(answers) {
        let call = s.at(at).call("codec.decode", None);
        s.returned(call, "codec.decode", error);
    }
    s.at(50).close();
    s
}

#[test]
fn decodes_that_answer_as_the_scenario_says_keep_c2() {
    decoding([None, Some("frame: byte 0: no such frame")]).holds(C2);
}

#[test]
fn a_decoder_that_takes_anything_breaks_c2() {
    insta::assert_snapshot!(decoding([None, None]).broken(C2));
}

#[test]
fn a_decoder_that_refuses_what_is_sound_breaks_c2() {
    decoding([Some("frame: no"), Some("frame: no")]).breaks(C2, "refused");
}

/// A run whose settings hold a password, and an error text.
fn with_secret(text: &str) -> Story {
    let mut s = one_sent();
    s.scenario.producer =
        json!({ "security": { "sasl": { "username": "alice", "password": "hunter2-hunter2" } } });
    let flush = s.at(20).call("flush", Some(1000));
    s.returned(flush, "flush", Some(text)).at(50).close();
    s
}

#[test]
fn a_secret_that_stays_inside_keeps_s3() {
    with_secret("pending: alice may not connect").holds(S3);
}

#[test]
fn a_secret_in_an_error_breaks_s3_and_is_not_repeated() {
    let text = with_secret("pending: cannot log in with hunter2-hunter2").broken(S3);
    assert!(!text.contains("hunter2"), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_panic_breaks_a1() {
    let mut s = Story::on(LaneName::Wire, "reference");
    s.at(10).taken(0).sent(0).at(50).close();
    s.holds(A1);
    s.proc(Src::Subject, "panic", 0, "index out of bounds at src/lib.rs:7");
    insta::assert_snapshot!(s.broken(A1));
}

#[test]
fn an_unknown_operation_is_answered_unsupported() {
    let answered = |error| {
        let mut s = one_sent();
        let call = s.at(20).call("unknown", None);
        s.returned(call, "unknown", error).at(50).close();
        s
    };
    answered(Some("unsupported: this subject does not know the operation")).holds(A1);
    answered(None).breaks(A1, "unsupported");
    insta::assert_snapshot!(answered(Some("panic: the call panicked: no such op")).broken(A1));
}

#[test]
fn a_process_that_aborts_breaks_a1_but_not_one_that_is_killed() {
    let ended = |value| {
        let mut s = Story::on(LaneName::Wire, "reference");
        s.at(10).taken(0).sent(0).at(50).close().proc(Src::Os, "exit", value, "");
        s
    };
    ended(0).holds(A1);
    ended(-9).holds(A1);
    ended(-6).breaks(A1, "exit");
    ended(101).breaks(A1, "exit");
}

#[test]
fn claims_that_fit_the_protocol_keep_it() {
    let mut s = one_sent();
    s.at(50).close();
    s.holds(Protocol);
}

#[test]
fn claims_that_do_not_fit_break_the_protocol_and_blame_the_driver() {
    let mut s = one_sent();
    s.at(20).delivered(1, Main, 0).delivered(77, Main, 0);
    s.claim(Kind::Attempt { attempt: 1, events: vec![id(0)], route: Main });
    s.claim(Kind::Accepted { event: id(55), sequence: 9 }).at(50).close();
    insta::assert_snapshot!(s.broken(Protocol));
}

#[test]
fn a_scenario_without_a_secret_has_nothing_to_leak() {
    let mut s = one_sent();
    s.at(50).close();
    let judgement = s.judge();
    let (_, status) = judgement.laws.iter().find(|(law, _)| *law == S3).unwrap();
    assert_eq!(*status, LawStatus::Held { checks: 0 });
}
