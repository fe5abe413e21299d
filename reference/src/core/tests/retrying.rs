use super::*;

fn gap(pair: &[Duration]) -> Duration {
    pair[1].checked_sub(pair[0]).unwrap()
}

#[test]
fn a_retryable_failure_is_tried_again_after_doubling_back_offs() {
    let mut config = plain();
    config.retry.max_attempts = 5;
    let mut pair = Pair::new(config);
    pair.main().script([NOT, NOT, NOT, NOT]);
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.times(Route::Main), [0, 100, 300, 700, 1500].map(ms));
    assert!(matches!(pair.told()[..], [Outcome::Acked { .. }]));
    assert_eq!(pair.core.counters().send_retries, 4);
    assert_eq!(pair.core.counters().send_failures, 0);
}

#[test]
fn a_back_off_is_capped_and_its_jitter_stays_in_its_share() {
    let mut config = no_dlq().delivery_timeout(ms(60_000));
    config.retry.max_attempts = 12;
    config.retry.cap = ms(1000);
    config.retry.jitter = 0.25;
    let mut pair = Pair::new(config);
    pair.main().rest = NOT;
    pair.send("a");
    pair.run_to_rest();
    let times = pair.times(Route::Main);
    assert_eq!(times.len(), 12);
    for (n, gap) in times.windows(2).map(gap).enumerate() {
        let plain = ms(100 * (1 << n)).min(ms(1000));
        assert!(gap >= plain && gap <= plain + plain / 4, "gap {n} is {gap:?}");
    }
    let jittered = times.windows(2).any(|w| !gap(w).as_micros().is_multiple_of(1000));
    assert!(jittered, "{times:?}");
}

#[test]
fn a_permanent_failure_is_never_tried_again() {
    let mut pair = Pair::new(no_dlq());
    pair.main().rest = PERMANENT;
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.times(Route::Main).len(), 1);
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::PermanentError }]);
}

#[test]
fn an_unknown_code_is_permanent() {
    assert_eq!(errors::class(12_345), ErrorClass::Permanent);
    let mut pair = Pair::new(no_dlq());
    pair.main().rest = Treat::Fail(Persistence::Not, 12_345);
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::PermanentError }]);
}

#[test]
fn attempts_end_at_the_configured_number() {
    let mut pair = Pair::new(no_dlq());
    pair.main().rest = NOT;
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.times(Route::Main).len(), 3);
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::RetriesExhausted }]);
}

#[test]
fn with_idempotence_what_is_possibly_persisted_is_not_sent_again() {
    let mut pair = Pair::new(no_dlq());
    pair.main().rest = POSSIBLY;
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.times(Route::Main).len(), 1);
    let (main, dlq) = (Persistence::Possibly, Persistence::Not);
    assert_eq!(pair.told(), [Outcome::InDoubt { reason: Reason::Unconfirmed, main, dlq }]);
}

#[test]
fn a_later_claim_of_not_does_not_undo_an_earlier_possibly() {
    let mut config = no_dlq();
    config.retry.retry_possibly_persisted = true;
    let mut pair = Pair::new(config);
    pair.main().script([POSSIBLY, NOT, NOT]);
    pair.send("a");
    pair.run_to_rest();
    let (main, dlq) = (Persistence::Possibly, Persistence::Not);
    assert_eq!(pair.told(), [Outcome::InDoubt { reason: Reason::RetriesExhausted, main, dlq }]);
}

#[test]
fn the_setting_or_the_lack_of_idempotence_allows_a_second_copy() {
    for idempotence in [true, false] {
        let mut config = no_dlq().idempotence(idempotence);
        config.retry.retry_possibly_persisted = idempotence;
        let mut pair = Pair::new(config);
        pair.main().script([POSSIBLY]);
        pair.send("a");
        pair.run_to_rest();
        assert_eq!(pair.times(Route::Main).len(), 2, "idempotence {idempotence}");
        assert!(matches!(pair.told()[..], [Outcome::Acked { .. }]));
    }
}

#[test]
fn a_back_off_that_would_end_past_the_deadline_is_not_begun() {
    let mut config = no_dlq().delivery_timeout(ms(1000)).attempt_timeout(ms(400));
    config.retry.max_attempts = 9;
    let mut pair = Pair::new(config);
    pair.main().rest = Treat::FailAfter(400, Persistence::Not, TIMED_OUT);
    pair.send("a");
    pair.run_to_rest();
    // 0-400, back-off 100, 500-900, back-off 200 would end at 1100
    assert_eq!(pair.times(Route::Main), [0, 500].map(ms));
    assert_eq!(pair.now, ms(900));
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::Deadline }]);
}

#[test]
fn an_event_that_waits_past_its_deadline_ends_there() {
    let mut pair = Pair::new(no_dlq());
    pair.main().rest = Treat::Refuse(ErrorClass::Retryable);
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.now, ms(9000));
    assert_eq!(pair.times(Route::Main), []);
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::Deadline }]);
}

#[test]
fn an_open_attempt_outlives_the_deadline_and_may_still_succeed() {
    let mut pair = Pair::new(no_dlq().delivery_timeout(ms(1000)));
    pair.main().rest = Treat::AckAfter(1500);
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.now, ms(1500));
    assert!(matches!(pair.told()[..], [Outcome::Acked { .. }]));
}

#[test]
fn the_first_reason_that_holds_is_given() {
    use crate::core::retry::{Ended, Policy, Verdict};
    let policy = Policy {
        max_attempts: 3,
        base: ms(100),
        cap: ms(100),
        jitter: 0.0,
        retry_possibly_persisted: false,
    };
    // everything is wrong at once; then each is mended in turn
    let mut ended = Ended {
        class: ErrorClass::Fatal,
        attempts: 3,
        persistence: Persistence::Possibly,
        now: ms(950),
        deadline: ms(1000),
        cut: true,
        unacknowledged: true,
    };
    let mut reasons = Vec::new();
    for mend in 0..7 {
        match mend {
            1 => ended.class = ErrorClass::Retryable,
            2 => ended.unacknowledged = false,
            3 => ended.cut = false,
            4 => ended.deadline = ms(2000),
            5 => ended.persistence = Persistence::Not,
            6 => ended.attempts = 2,
            _ => {}
        }
        match policy.decide(&ended, ms(100)) {
            Verdict::End(reason) => reasons.push(reason),
            Verdict::Again(at) => assert_eq!((mend, at), (6, ms(1050))),
        }
    }
    let wanted = [
        Reason::PermanentError,
        Reason::Acks0,
        Reason::Abandoned,
        Reason::Deadline,
        Reason::Unconfirmed,
        Reason::RetriesExhausted,
    ];
    assert_eq!(reasons, wanted);
}

#[test]
fn policy_violation_is_retried_when_the_settings_say_so() {
    let mut config = no_dlq();
    config.retry.policy_violation = crate::config::PolicyViolation::Retryable;
    let mut pair = Pair::new(config);
    pair.main().script([Treat::Fail(Persistence::Not, errors::POLICY_VIOLATION)]);
    pair.send("a");
    pair.run_to_rest();
    assert!(matches!(pair.told()[..], [Outcome::Acked { .. }]));
}
