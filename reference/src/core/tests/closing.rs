use super::Persistence::{Not, Possibly};
use super::*;

/// Closes with ten seconds: main until 6, its deliveries until 7, the DLQ until 9.5.
fn close(pair: &mut Pair) {
    pair.core.close(pair.now, ms(10_000));
    pair.pump();
}

#[test]
fn close_is_over_as_soon_as_everything_is_resolved() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::AckAfter(300);
    pair.send("a");
    close(&mut pair);
    assert!(!pair.core.is_closed());
    assert_eq!((pair.main().hints, pair.dlq().hints), (1, 1));
    pair.run_to_rest();
    assert!(pair.core.is_closed());
    assert_eq!(pair.now, ms(300));
    assert_eq!(pair.main().purges, []);
}

#[test]
fn main_goes_on_for_its_share_retries_included() {
    let mut pair = Pair::new(plain());
    pair.main().script([NOT, NOT]);
    pair.send("a");
    close(&mut pair);
    pair.run_to_rest();
    assert_eq!(pair.times(Route::Main), [0, 100, 300].map(ms));
    assert!(matches!(pair.told()[..], [Outcome::Acked { .. }]));
}

#[test]
fn a_back_off_is_cut_at_mains_share_and_the_dlq_takes_the_event() {
    let mut config = plain().delivery_timeout(ms(60_000));
    config.retry.base = ms(30_000);
    config.retry.cap = ms(30_000);
    let mut pair = Pair::new(config);
    pair.main().rest = NOT;
    pair.send("a");
    close(&mut pair);
    pair.run_to_rest();
    assert_eq!(pair.now, ms(6000));
    let (cause, main) = (Reason::Abandoned, Persistence::Not);
    assert_eq!(pair.told(), [Outcome::DeadLettered { cause, main }]);
    assert_eq!(pair.main().purges, [ms(6000)]);
}

#[test]
fn an_open_attempt_is_purged_and_what_the_purge_says_is_believed() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    pair.send("a");
    close(&mut pair);
    pair.run_to_rest();
    assert_eq!(pair.now, ms(6000));
    let (cause, main) = (Reason::Abandoned, Persistence::Possibly);
    assert_eq!(pair.told(), [Outcome::DeadLettered { cause, main }]);
}

#[test]
fn a_purge_that_is_not_answered_counts_as_possibly_after_mains_deliveries() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    pair.main().answers_purge = false;
    pair.send("a");
    close(&mut pair);
    pair.run_to_rest();
    assert_eq!(pair.now, ms(7000));
    let (cause, main) = (Reason::Abandoned, Persistence::Possibly);
    assert_eq!(pair.told(), [Outcome::DeadLettered { cause, main }]);
    let open = pair.main().open[0];
    pair.deliver(open, Persistence::Persisted, 0);
    assert_eq!(pair.told().len(), 1);
    assert_eq!(pair.core.counters().late_deliveries, PerRoute { main: 1, dlq: 0 });
}

#[test]
fn a_confirmation_of_main_that_comes_before_the_outcome_makes_it_acked() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    pair.main().answers_purge = false;
    pair.dlq().rest = Treat::Refuse(ErrorClass::Retryable);
    pair.send("a");
    close(&mut pair);
    pair.run_until(ms(7500));
    let open = pair.main().open[0];
    pair.deliver(open, Persistence::Persisted, 0);
    assert_eq!(pair.told(), [Outcome::Acked { partition: 2, offset: 0 }]);
    assert_eq!(pair.core.counters().late_deliveries, PerRoute::default());
}

#[test]
fn a_confirmation_of_main_waits_for_the_open_dlq_attempt() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    pair.main().answers_purge = false;
    pair.dlq().rest = Treat::AckAfter(1000);
    pair.send("a");
    close(&mut pair);
    pair.run_until(ms(7500));
    let open = pair.main().open[0];
    pair.deliver(open, Persistence::Persisted, 0);
    assert_eq!(pair.told(), []);
    pair.run_to_rest();
    assert_eq!(pair.now, ms(8000));
    assert_eq!(pair.told(), [Outcome::Acked { partition: 2, offset: 0 }]);
}

#[test]
fn the_dlq_is_cut_at_its_share_and_purged() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    pair.dlq().rest = Treat::Refuse(ErrorClass::Retryable);
    pair.send("a");
    pair.core.close(pair.now, ms(4000));
    pair.run_to_rest();
    // main is purged at 2.4 s, the DLQ is over at 3.8 s
    assert_eq!(pair.now, ms(3800));
    let (main, dlq) = (Persistence::Possibly, Persistence::Not);
    assert_eq!(pair.told(), [Outcome::InDoubt { reason: Reason::Abandoned, main, dlq }]);
}

#[test]
fn at_the_deadline_everything_is_resolved_whatever_is_open() {
    let mut pair = Pair::new(plain());
    pair.main().script([PERMANENT]);
    pair.main().answers_purge = false;
    pair.dlq().answers_purge = false;
    pair.main().rest = Treat::Hold;
    pair.dlq().rest = Treat::Hold;
    for _ in 0..3 {
        pair.send("a");
    }
    pair.core.close(pair.now, ms(2000));
    pair.run_to_rest();
    assert_eq!(pair.now, ms(2000));
    assert!(pair.core.is_closed());
    let abandoned = |main| Outcome::InDoubt { reason: Reason::Abandoned, main, dlq: Possibly };
    let told = pair.told();
    let first = Outcome::InDoubt { reason: Reason::PermanentError, main: Not, dlq: Possibly };
    assert_eq!(told, [first, abandoned(Possibly), abandoned(Possibly)]);
    assert_eq!(pair.core.gauges(), Gauges::default());
    // late deliveries change nothing but their own count
    let tally = pair.core.counters().tally;
    for open in [pair.main().open.clone(), pair.dlq().open.clone()].concat() {
        pair.deliver(open, Persistence::Persisted, 0);
    }
    assert_eq!(pair.core.counters().tally, tally);
    assert_eq!(pair.core.counters().late_deliveries, PerRoute { main: 2, dlq: 3 });
}

#[test]
fn close_with_no_time_resolves_at_once() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    pair.main().answers_purge = false;
    pair.send("a");
    pair.core.close(pair.now, Duration::ZERO);
    pair.pump();
    assert!(pair.core.is_closed());
    assert!(matches!(pair.told()[..], [Outcome::InDoubt { reason: Reason::Abandoned, .. }]));
}

#[test]
fn a_permanent_error_during_close_keeps_its_own_reason() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::FailAfter(6500, Persistence::Not, TOO_LARGE);
    pair.send("a");
    close(&mut pair);
    pair.run_to_rest();
    let (cause, main) = (Reason::PermanentError, Persistence::Not);
    assert_eq!(pair.told(), [Outcome::DeadLettered { cause, main }]);
}

#[test]
fn a_second_close_with_more_time_changes_nothing() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    pair.send("a");
    close(&mut pair);
    pair.run(ms(1000));
    pair.core.close(pair.now, ms(60_000));
    pair.run_to_rest();
    assert_eq!(pair.now, ms(6000));
}

#[test]
fn a_second_close_with_less_time_brings_the_end_forward() {
    let mut pair = Pair::new(plain());
    for wire in [&mut pair.wires.main, &mut pair.wires.dlq] {
        wire.rest = Treat::Hold;
        wire.answers_purge = false;
    }
    pair.send("a");
    close(&mut pair);
    pair.run(ms(1000));
    pair.core.close(pair.now, ms(500));
    pair.run_to_rest();
    assert_eq!(pair.now, ms(1500));
    assert_eq!(pair.told().len(), 1);
}

#[test]
fn a_delivery_that_misses_mains_share_still_says_what_is_known_of_main() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    pair.main().answers_purge = false;
    pair.dlq().rest = Treat::Hold;
    pair.dlq().answers_purge = false;
    pair.send("a");
    close(&mut pair);
    pair.run_until(ms(7500));
    let open = pair.main().open[0];
    pair.deliver(open, Persistence::Not, -152);
    let letter = pair.dlq().open[0];
    pair.deliver(letter, Persistence::Not, 29);
    pair.run_to_rest();
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::Abandoned }]);
}

#[test]
fn abandoning_resolves_everything_at_once_and_an_open_attempt_as_possibly() {
    let mut config = plain();
    config.max_in_flight = 2;
    let mut pair = Pair::new(config);
    pair.main().script([PERMANENT]);
    pair.main().rest = Treat::Hold;
    pair.main().answers_purge = false;
    pair.dlq().rest = Treat::Hold;
    pair.dlq().answers_purge = false;
    for _ in 0..4 {
        pair.send("a");
    }
    pair.run(ms(1));
    // 1 is open at the DLQ, 2 and 3 at main, 4 is queued
    pair.core.abandon(pair.now);
    pair.pump();
    let reason = Reason::Abandoned;
    assert_eq!(
        pair.told(),
        [
            Outcome::InDoubt { reason: Reason::PermanentError, main: Not, dlq: Possibly },
            Outcome::InDoubt { reason, main: Possibly, dlq: Not },
            Outcome::InDoubt { reason, main: Possibly, dlq: Not },
            Outcome::Dropped { reason },
        ]
    );
    assert_eq!(pair.core.gauges(), Gauges::default());
    assert_eq!(pair.core.counters().send_failures, 4);
    assert_eq!(pair.core.counters().dlq_dropped, 4);
    assert_eq!((pair.main().purges.len(), pair.dlq().purges.len()), (1, 1));
    // abandoning what is over is nothing
    pair.core.abandon(pair.now);
    assert!(pair.core.poll(pair.now).is_none());
}

#[test]
fn abandoning_while_close_runs_keeps_reasons_that_are_fixed() {
    let mut pair = Pair::new(plain());
    pair.main().rest = NOT;
    pair.dlq().rest = Treat::Hold;
    pair.send("a");
    pair.run(ms(500));
    close(&mut pair);
    pair.core.abandon(pair.now);
    pair.pump();
    let (main, dlq) = (Persistence::Not, Persistence::Possibly);
    assert_eq!(pair.told(), [Outcome::InDoubt { reason: Reason::RetriesExhausted, main, dlq }]);
}
