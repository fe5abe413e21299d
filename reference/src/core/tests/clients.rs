//! Refusals, fatal errors and rebuilt clients.

use super::*;

#[test]
fn a_refusal_for_now_is_no_attempt_and_the_route_pauses() {
    let mut pair = Pair::new(plain());
    pair.main().script([Treat::Refuse(ErrorClass::Retryable); 3]);
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.times(Route::Main), [ms(150)]);
    assert_eq!(pair.core.counters().send_retries, 0);
    assert!(matches!(pair.told()[..], [Outcome::Acked { .. }]));
}

#[test]
fn a_refusal_for_good_is_a_permanent_error_of_that_event_alone() {
    let mut pair = Pair::new(plain());
    pair.main().script([Treat::Refuse(ErrorClass::Permanent)]);
    pair.send("a");
    pair.send("a");
    pair.run_to_rest();
    let (cause, main) = (Reason::PermanentError, Persistence::Not);
    let told = pair.told();
    assert!(told.contains(&Outcome::DeadLettered { cause, main }), "{told:?}");
    assert!(told.contains(&Outcome::Acked { partition: 2, offset: 0 }), "{told:?}");
    assert_eq!(pair.now, ms(0));
}

const FATAL: Treat = Treat::Fail(Persistence::Not, errors::LOCAL_FATAL);

#[test]
fn a_fatal_delivery_ends_its_event_and_has_the_client_rebuilt_once() {
    let mut pair = Pair::new(plain());
    pair.main().script([FATAL, FATAL]);
    pair.send("a");
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.main().retired, [ms(0)]);
    let (cause, main) = (Reason::PermanentError, Persistence::Not);
    assert_eq!(pair.told(), [Outcome::DeadLettered { cause, main }; 2]);
    // queued meanwhile, sent through the new client
    pair.send("a");
    assert_eq!(pair.handed(Route::Main), [1, 2]);
    pair.run_to_rest();
    assert_eq!(pair.main().rebuilds, [ms(100)]);
    assert_eq!(pair.handed(Route::Main), [1, 2, 3]);
    assert_eq!(pair.core.counters().client_rebuilds, PerRoute { main: 1, dlq: 0 });
}

#[test]
fn a_fatal_delivery_of_the_old_client_does_not_touch_the_new_one() {
    let mut pair = Pair::new(plain());
    pair.main().answers_purge = false;
    pair.main().script([FATAL, Treat::Hold]);
    pair.send("a");
    pair.send("a");
    pair.run(ms(200));
    assert_eq!(pair.main().rebuilds.len(), 1);
    let open = pair.main().open[0];
    pair.deliver(open, Persistence::Possibly, errors::LOCAL_FATAL);
    pair.run(ms(10_000));
    assert_eq!(pair.main().rebuilds.len(), 1);
}

#[test]
fn rebuilds_back_off_until_a_delivery_succeeds() {
    let mut pair = Pair::new(plain());
    pair.main().script([FATAL, FATAL, FATAL]);
    for _ in 0..3 {
        pair.send("a");
        pair.run_to_rest();
        pair.run(ms(1000));
    }
    // waits of 100, 200 and 400 ms after failures at 0, 1000 and 2000 ms
    assert_eq!(pair.main().rebuilds, [100, 1200, 2400].map(ms));
    pair.send("a");
    pair.run_to_rest();
    pair.main().script([FATAL]);
    pair.send("a");
    let before = pair.now;
    pair.run(ms(1000));
    assert_eq!(pair.main().rebuilds[3], before + ms(100));
}

#[test]
fn a_rebuild_that_fails_is_tried_again_later() {
    let mut pair = Pair::new(plain());
    pair.failing_rebuilds = 2;
    pair.main().script([FATAL]);
    pair.send("a");
    pair.run(ms(5000));
    assert_eq!(pair.main().rebuilds, [100, 300, 700].map(ms));
    assert_eq!(pair.core.counters().client_rebuilds.main, 1);
}

#[test]
fn a_fatal_refusal_is_the_clients_fault_and_the_event_stays_queued() {
    let mut pair = Pair::new(plain());
    pair.main().script([Treat::Refuse(ErrorClass::Fatal)]);
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.main().rebuilds, [ms(100)]);
    assert!(matches!(pair.told()[..], [Outcome::Acked { .. }]));
}

#[test]
fn an_outage_of_the_client_past_the_deadline_ends_in_deadline() {
    let mut pair = Pair::new(no_dlq());
    pair.failing_rebuilds = 1000;
    pair.main().script([FATAL]);
    pair.send("a");
    pair.run(ms(1));
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.now, ms(9001));
    assert_eq!(pair.told()[1], Outcome::Dropped { reason: Reason::Deadline });
}

#[test]
fn a_fatal_error_of_the_dlq_client_leaves_main_alone() {
    let mut pair = Pair::new(plain());
    pair.main().script([PERMANENT]);
    pair.dlq().script([FATAL]);
    pair.send("a");
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.main().retired, []);
    assert_eq!(pair.dlq().retired, [ms(0)]);
    assert_eq!(pair.told().len(), 2);
}

#[test]
fn a_delivery_of_an_attempt_that_nobody_made_is_ignored() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    pair.send("a");
    let stray = Delivery {
        attempt: AttemptId(99),
        persistence: Persistence::Persisted,
        partition: 0,
        offset: 0,
        result: Ok(()),
    };
    assert!(!pair.core.delivered(pair.now, &stray));
    let open = pair.main().open[0];
    pair.deliver(open, Persistence::Persisted, 0);
    let twice = Delivery { attempt: open, ..stray };
    assert!(!pair.core.delivered(pair.now, &twice));
    assert_eq!(pair.told().len(), 1);
}

#[test]
fn a_delivery_that_overtakes_the_report_of_its_submission_counts_the_attempt_once() {
    let mut pair = Pair::new(plain());
    let admission = pair.offer_unsupplied("a", 100, false);
    let Admission::Accepted { key, .. } = admission else { panic!() };
    let payload =
        Payload { frame: "f".into(), crc32: HeaderValue::new(b"c"), compression_failed: false };
    pair.core.supply(pair.now, key, payload);
    let Some(Effect::HandOver(first)) = pair.core.poll(pair.now) else { panic!() };
    let failure = Failure::new(TIMED_OUT, ErrorClass::Retryable, "late");
    let delivery = Delivery {
        attempt: first.attempt,
        persistence: Persistence::Not,
        partition: -1,
        offset: -1,
        result: Err(failure),
    };
    assert!(pair.core.delivered(pair.now, &delivery));
    pair.core.submitted(pair.now, first.attempt);
    pair.run_to_rest();
    assert_eq!(pair.core.counters().send_retries, 1);
}

#[test]
fn an_event_tells_its_own_last_error_and_no_cause_when_it_arrives() {
    let mut pair = Pair::new(plain());
    pair.main().script([Treat::Fail(Persistence::Not, 29)]);
    pair.send("a");
    pair.send("b");
    pair.run_to_rest();
    let causes = pair.causes();
    let denied = causes[0].as_ref().or(causes[1].as_ref()).unwrap();
    assert_eq!((denied.code, denied.trouble), (29, Some(ConnectionTrouble::Authorization)));
    assert_eq!(causes.iter().flatten().count(), 1);
}

#[test]
fn an_event_that_waits_to_its_end_tells_what_keeps_the_connection_down() {
    let mut pair = Pair::new(plain().delivery_timeout(ms(2_000)).attempt_timeout(ms(500)));
    pair.main().script([Treat::Fail(Persistence::Not, -195)]);
    pair.main().rest = Treat::Refuse(ErrorClass::Retryable);
    pair.send("a");
    pair.run(ms(10));
    // never handed over: the client takes nothing
    pair.send("b");
    pair.run_to_rest();
    let codes: Vec<_> = pair.causes().into_iter().map(|cause| cause.unwrap().code).collect();
    assert_eq!(codes, [-195, -184]);
}
