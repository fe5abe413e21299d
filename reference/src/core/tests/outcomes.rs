//! The lines of the outcome, first match.

use super::*;

#[test]
fn a_confirmed_event_is_acked_with_its_place() {
    let mut pair = Pair::new(plain());
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.told(), [Outcome::Acked { partition: 2, offset: 0 }]);
}

#[test]
fn a_failed_event_that_the_dlq_confirmed_is_dead_lettered_with_cause_and_claim() {
    for (treat, cause, main) in [
        (PERMANENT, Reason::PermanentError, Persistence::Not),
        (POSSIBLY, Reason::Unconfirmed, Persistence::Possibly),
        (NOT, Reason::RetriesExhausted, Persistence::Not),
    ] {
        let mut pair = Pair::new(plain());
        pair.main().rest = treat;
        pair.send("a");
        pair.run_to_rest();
        assert_eq!(pair.told(), [Outcome::DeadLettered { cause, main }]);
        assert_eq!(pair.core.counters().send_failures, 1);
        assert_eq!(pair.core.counters().dlq_dropped, 0);
    }
}

#[test]
fn when_both_routes_fail_the_event_is_in_doubt_if_either_may_hold_it() {
    use Persistence::{Not, Possibly};
    for (main, dlq) in [(Possibly, Not), (Not, Possibly), (Possibly, Possibly)] {
        let mut config = plain();
        config.retry.retry_possibly_persisted = true;
        let mut pair = Pair::new(config);
        pair.main().rest = again(main);
        pair.dlq().rest = again(dlq);
        pair.send("a");
        pair.run_to_rest();
        let reason = Reason::RetriesExhausted;
        assert_eq!(pair.told(), [Outcome::InDoubt { reason, main, dlq }]);
        assert_eq!(pair.core.counters().dlq_dropped, 1);
    }
}

#[test]
fn when_neither_route_may_hold_it_the_event_is_dropped() {
    let mut pair = Pair::new(plain());
    pair.main().rest = NOT;
    pair.dlq().rest = NOT;
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::RetriesExhausted }]);
    let counters = pair.core.counters();
    assert_eq!((counters.dlq_dropped, counters.dlq_send_failures), (1, 3));
    assert_eq!((counters.dlq_send_retries, counters.send_retries), (2, 2));
}

#[test]
fn the_failure_of_the_dlq_never_changes_the_reason() {
    let mut pair = Pair::new(plain());
    pair.main().rest = NOT;
    pair.dlq().rest = PERMANENT;
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::RetriesExhausted }]);
}

fn acks_0() -> ProducerConfig {
    plain().acks(Acks::None).idempotence(false)
}

#[test]
fn acks_0_never_yields_acked_and_is_not_offered_to_the_dlq() {
    let mut pair = Pair::new(acks_0());
    pair.main().rest = Treat::Unconfirmed;
    pair.send("a");
    pair.run_to_rest();
    let (main, dlq) = (Persistence::Possibly, Persistence::Not);
    assert_eq!(pair.told(), [Outcome::InDoubt { reason: Reason::Acks0, main, dlq }]);
    assert_eq!(pair.times(Route::Dlq), []);
    assert_eq!(pair.core.counters().dlq_dropped, 0);
}

#[test]
fn even_a_claim_of_persisted_is_not_acked_with_acks_0() {
    let mut pair = Pair::new(acks_0());
    pair.send("a");
    pair.run_to_rest();
    assert!(matches!(pair.told()[..], [Outcome::InDoubt { reason: Reason::Acks0, .. }]));
}

#[test]
fn with_acks_0_an_event_that_was_never_sent_is_retried_and_dead_lettered_like_any_other() {
    let mut pair = Pair::new(acks_0());
    pair.main().rest = NOT;
    pair.send("a");
    pair.run_to_rest();
    let (cause, main) = (Reason::RetriesExhausted, Persistence::Not);
    assert_eq!(pair.told(), [Outcome::DeadLettered { cause, main }]);
}

#[test]
fn no_outcome_is_given_while_an_attempt_is_open() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    pair.send("a");
    pair.run(ms(100_000));
    assert_eq!(pair.told(), []);
    let open = pair.main().open[0];
    pair.deliver(open, Persistence::Not, TIMED_OUT);
    pair.run_to_rest();
    let (cause, main) = (Reason::Deadline, Persistence::Not);
    assert_eq!(pair.told(), [Outcome::DeadLettered { cause, main }]);
}

#[test]
fn every_outcome_told_is_in_the_ledger_and_its_reason_is_legal() {
    let mut pair = Pair::new(plain());
    pair.main().script([Treat::Ack, PERMANENT, POSSIBLY]);
    for _ in 0..3 {
        pair.send("a");
    }
    pair.run_to_rest();
    let tally = &pair.core.counters().tally;
    assert_eq!(tally.sum(), 3);
    assert_eq!(tally.total("acked"), 1);
    assert_eq!(tally.get("dead_lettered", Some(Reason::PermanentError)), 1);
    assert_eq!(tally.get("dead_lettered", Some(Reason::Unconfirmed)), 1);
}
