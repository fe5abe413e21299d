//! Line 4 of the outcome, and events that the spool gives back.

use super::*;

fn spool() -> ProducerConfig {
    let mut config = plain();
    config.spool.directory = Some("/spool".to_owned());
    config
}

/// Neither route takes anything.
fn lost() -> Pair {
    let mut pair = Pair::new(spool());
    pair.main().rest = NOT;
    pair.dlq().rest = NOT;
    pair
}

const NEVER: PerRoute<Persistence> = PerRoute { main: Persistence::Not, dlq: Persistence::Not };

fn spooled(main: Persistence, dlq: Persistence) -> Outcome {
    Outcome::Spooled { main, dlq }
}

#[test]
fn what_neither_route_took_is_spooled_with_what_is_known_of_both() {
    use Persistence::{Not, Possibly};
    for (main, dlq) in [(Not, Not), (Possibly, Not), (Not, Possibly), (Possibly, Possibly)] {
        let mut config = spool();
        config.retry.retry_possibly_persisted = true;
        let mut pair = Pair::new(config);
        pair.main().rest = again(main);
        pair.dlq().rest = again(dlq);
        let sequence = pair.send("a");
        pair.run_to_rest();
        assert_eq!(pair.told(), [spooled(main, dlq)]);
        let [SpoolEntry::Record(record)] = &pair.spool.written[..] else { panic!() };
        assert_eq!(record.claims, PerRoute { main, dlq });
        assert_eq!((record.sequence, &*record.thread, record.accepted_us), (sequence, "a", WALL));
        assert_eq!(record.frame, "payload 1");
        let counters = pair.core.counters();
        assert_eq!((counters.dlq_dropped, counters.send_failures), (0, 1));
    }
}

const WALL: i64 = pair::WALL_US;

#[test]
fn there_is_no_outcome_before_the_spool_has_answered() {
    let mut pair = lost();
    pair.spool.holds = true;
    pair.send("a");
    pair.run(ms(60_000));
    assert_eq!(pair.told(), []);
    assert_eq!(pair.core.gauges().queue_events, 1);
    pair.answer(Ok(()));
    assert_eq!(pair.told(), [spooled(Persistence::Not, Persistence::Not)]);
}

#[test]
fn an_event_that_waits_for_the_spool_holds_no_dlq_permit() {
    let mut config = spool();
    config.dlq.max_concurrent = 1;
    let mut pair = Pair::new(config);
    pair.main().rest = PERMANENT;
    pair.main().script([NOT, NOT, NOT]);
    pair.dlq().script([NOT, NOT, NOT]);
    pair.spool.holds = true;
    pair.send("a");
    pair.run(ms(20_000));
    pair.send("b");
    pair.run(ms(1000));
    assert!(matches!(pair.told()[..], [Outcome::DeadLettered { .. }]), "{:?}", pair.told());
}

#[test]
fn a_full_or_failing_spool_leaves_lines_5_and_6_and_is_counted() {
    let mut pair = lost();
    pair.spool.answers.extend([Err(SpoolFault::Full), Err(SpoolFault::Failed)]);
    pair.send("a");
    pair.send("b");
    pair.run_to_rest();
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::RetriesExhausted }; 2]);
    let counters = pair.core.counters();
    assert_eq!((counters.spool_full, counters.spool_failures), (1, 1));
    assert_eq!(counters.dlq_dropped, 2);
}

#[test]
fn a_record_that_may_be_on_the_disk_after_a_failure_leaves_its_event_in_doubt_on_both_routes() {
    let mut pair = lost();
    pair.spool.answers.push_back(Err(SpoolFault::Unsure));
    pair.send("a");
    pair.run_to_rest();
    let (reason, possibly) = (Reason::RetriesExhausted, Persistence::Possibly);
    assert_eq!(pair.told(), [Outcome::InDoubt { reason, main: possibly, dlq: possibly }]);
    assert_eq!(pair.core.counters().spool_failures, 1);
}

#[test]
fn permanent_errors_and_acks_0_are_not_spooled() {
    let mut pair = lost();
    pair.main().rest = PERMANENT;
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::PermanentError }]);
    let mut pair = Pair::new(spool().acks(Acks::None).idempotence(false));
    pair.main().rest = Treat::Unconfirmed;
    pair.send("a");
    pair.run_to_rest();
    assert!(matches!(pair.told()[..], [Outcome::InDoubt { reason: Reason::Acks0, .. }]));
    assert_eq!(pair.spool.written, []);
}

#[test]
fn close_spools_what_is_left_within_its_time() {
    let mut pair = Pair::new(spool());
    pair.main().rest = Treat::Hold;
    pair.dlq().rest = Treat::Hold;
    pair.main().answers_purge = false;
    pair.dlq().answers_purge = false;
    pair.send("a");
    pair.core.close(pair.now, ms(1000));
    pair.run_to_rest();
    assert_eq!(pair.told(), [spooled(Persistence::Possibly, Persistence::Possibly)]);
    assert_eq!(pair.now, ms(850));
    assert!(pair.core.is_closed());
}

#[test]
fn a_success_that_comes_while_the_spool_writes_wins_and_the_record_is_ended() {
    for route in [Route::Main, Route::Dlq] {
        let mut pair = Pair::new(spool());
        pair.main().rest = Treat::Hold;
        pair.dlq().rest = Treat::Hold;
        pair.main().answers_purge = false;
        pair.dlq().answers_purge = false;
        pair.spool.holds = true;
        pair.send("a");
        pair.core.close(pair.now, ms(1000));
        pair.run_until(ms(900));
        let open = pair.wires.of(route).open[0];
        pair.deliver(open, Persistence::Persisted, 0);
        assert_eq!(pair.told(), []);
        pair.answer(Ok(()));
        let wanted = if route == Route::Main { "acked" } else { "dead_lettered" };
        assert_eq!(pair.told()[0].label(), wanted);
        assert_eq!(pair.spool.written[1..], [SpoolEntry::Resolved(id(0))]);
        pair.answer(Ok(()));
        assert!(pair.core.is_closed());
    }
}

const fn id(ordinal: u32) -> SpoolId {
    SpoolId { segment: 9, ordinal }
}

#[test]
fn close_does_not_wait_for_a_spool_that_hangs_and_a_late_record_is_ended() {
    let mut pair = lost();
    pair.spool.holds = true;
    pair.send("a");
    pair.run(ms(30_000));
    pair.core.close(pair.now, ms(1000));
    pair.run(ms(1000));
    pair.pump();
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::RetriesExhausted }]);
    assert!(pair.core.is_closed());
    pair.answer(Ok(()));
    assert_eq!(pair.spool.written[1..], [SpoolEntry::Resolved(id(0))]);
    assert_eq!(pair.told().len(), 1);
}

#[test]
fn recovered_events_go_first_in_order_and_keep_id_sequence_and_time() {
    let mut pair = Pair::new(spool());
    pair.stock("a", 3, NEVER);
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.handed(Route::Main), [1000, 1001, 1002, 1]);
    let sequences: Vec<_> = pair.outcomes.iter().map(|r| r.sequence.unwrap()).collect();
    assert_eq!(sequences, [500, 501, 502, 1]);
    let (_, first) = &pair.wires.main.records[0];
    assert_eq!(first.timestamp_ms, (WALL - 60_000_000) / 1000);
    assert_eq!(pair.core.counters().recovered, 3);
}

#[test]
fn an_acked_recovered_event_is_ended_on_the_spool() {
    let mut pair = Pair::new(spool());
    pair.stock("a", 2, NEVER);
    pair.run_to_rest();
    let ended = |ordinal| SpoolEntry::Resolved(SpoolId { segment: 1, ordinal });
    assert_eq!(pair.spool.written, [ended(0), ended(1)]);
}

#[test]
fn a_recovered_event_that_fails_again_stays_on_the_spool_and_its_claims_add_up() {
    let mut pair = lost();
    pair.stock("a", 1, PerRoute { main: Persistence::Possibly, dlq: Persistence::Not });
    pair.run_to_rest();
    assert_eq!(pair.times(Route::Main).len(), 3, "an old doubt does not forbid to send it again");
    assert_eq!(pair.told(), [spooled(Persistence::Possibly, Persistence::Not)]);
    let claims = PerRoute { main: Persistence::Possibly, dlq: Persistence::Not };
    let expected = SpoolEntry::Claims(SpoolId { segment: 1, ordinal: 0 }, claims);
    assert_eq!(pair.spool.written, [expected]);
}

#[test]
fn a_recovered_event_that_fails_for_good_is_ended_in_doubt_of_what_was_possible() {
    let mut pair = lost();
    pair.main().rest = PERMANENT;
    pair.stock("a", 1, PerRoute { main: Persistence::Possibly, dlq: Persistence::Not });
    pair.run_to_rest();
    let (reason, dlq) = (Reason::PermanentError, Persistence::Not);
    assert_eq!(pair.told(), [Outcome::InDoubt { reason, main: Persistence::Possibly, dlq }]);
    assert!(matches!(pair.spool.written[..], [SpoolEntry::Resolved(_)]));
}

#[test]
fn a_dropped_producer_leaves_recovered_events_where_they_are() {
    let mut pair = Pair::new(spool());
    pair.main().rest = Treat::Hold;
    pair.stock("a", 1, NEVER);
    pair.send("a");
    pair.core.abandon(pair.now);
    pair.pump();
    let (main, dlq, reason) = (Persistence::Possibly, Persistence::Not, Reason::Abandoned);
    assert_eq!(pair.told(), [spooled(main, dlq), Outcome::InDoubt { reason, main, dlq }]);
    assert_eq!(pair.spool.written, []);
}

#[test]
fn new_events_wait_until_the_spool_is_read_and_no_more_is_read_than_the_queue_holds() {
    let mut config = spool();
    config.queue.max_events = 4;
    let mut pair = Pair::new(config);
    pair.main().rest = Treat::AckAfter(10);
    pair.stock("a", 10, NEVER);
    let Admission::Waiting(ticket) = pair.offer("a", 100) else { panic!() };
    pair.run(ms(1000));
    assert_eq!(pair.admitted, [ticket]);
    assert!(matches!(pair.enter(ticket, 1, "a", 100), Admission::Accepted { .. }));
    pair.run_to_rest();
    assert_eq!(pair.handed(Route::Main).len(), 11);
    assert_eq!(pair.handed(Route::Main)[10], 1);
    assert_eq!(pair.core.counters().queue_events_max, 4);
}

#[test]
fn a_close_leaves_what_was_not_read_on_the_spool() {
    let mut config = spool();
    config.queue.max_events = 4;
    let mut pair = Pair::new(config);
    pair.main().rest = Treat::AckAfter(500);
    pair.stock("a", 10, NEVER);
    pair.core.close(pair.now, ms(5000));
    pair.run_to_rest();
    assert_eq!(pair.told().len(), 4);
    assert!(pair.core.is_closed());
}

#[test]
fn a_recovered_event_that_came_from_a_dlq_is_not_dead_lettered() {
    let mut pair = lost();
    pair.stock("a", 0, NEVER);
    let record = SpoolRecord {
        message_id: MessageId([1; 16]),
        thread: "a".into(),
        sequence: 1,
        accepted_us: 0,
        bytes: 10,
        from_dlq: true,
        claims: NEVER,
        frame: "x".into(),
    };
    pair.spool.stock.push_back(Recovered { id: id(0), record });
    pair.core.expect(1, 10);
    pair.pump();
    pair.run_to_rest();
    assert_eq!(pair.times(Route::Dlq), []);
    assert_eq!(pair.told(), [spooled(Persistence::Not, Persistence::Not)]);
}

#[test]
fn a_recall_that_failed_is_counted_and_tried_again_while_new_events_wait() {
    let mut pair = Pair::new(spool());
    pair.spool.failing_recalls = 2;
    pair.stock("a", 3, NEVER);
    let Admission::Waiting(ticket) = pair.offer("a", 100) else { panic!() };
    assert_eq!((pair.spool.recalls.len(), pair.handed(Route::Main).len()), (1, 0));
    pair.run(ms(60_000));
    assert_eq!(pair.spool.recalls.len(), 3);
    assert_eq!(pair.handed(Route::Main), [1000, 1001, 1002]);
    assert_eq!(pair.admitted, [ticket]);
    assert_eq!(pair.core.counters().spool_failures, 2);
}
