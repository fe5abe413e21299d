use super::*;

#[test]
fn records_are_handed_over_in_acceptance_order_without_waiting_for_answers() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    for thread in ["a", "b", "a", "c"] {
        pair.send(thread);
    }
    assert_eq!(pair.handed(Route::Main), [1, 2, 3, 4]);
    assert_eq!(pair.main().open.len(), 4);
}

#[test]
fn hand_over_waits_for_the_payload_of_the_head() {
    let mut pair = Pair::new(plain());
    let first = pair.offer_unsupplied("a", 100, false);
    pair.send("b");
    assert!(pair.handed(Route::Main).is_empty());
    pair.supply(first);
    assert_eq!(pair.handed(Route::Main), [1, 2]);
}

#[test]
fn the_record_is_the_frame_with_the_thread_as_key_and_id_and_crc_as_headers() {
    let mut pair = Pair::new(plain());
    pair.send("a");
    pair.send("");
    let [(_, first), (_, second)] = &pair.wires.main.records[..] else { panic!() };
    assert_eq!(first.topic.as_ref(), "dashstream-events");
    assert_eq!(first.key.as_deref(), Some(&b"a"[..]));
    assert_eq!(first.value, "payload 1");
    let names: Vec<&str> = first.headers.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, [MESSAGE_ID_HEADER, CRC32_HEADER]);
    assert_eq!(first.timestamp_ms, pair::WALL_US / 1000);
    // no thread id: the events spread over the partitions
    assert_eq!(second.key, None);
}

#[test]
fn open_attempts_never_exceed_the_cap() {
    let mut config = plain();
    config.max_in_flight = 2;
    let mut pair = Pair::new(config);
    pair.main().rest = Treat::Hold;
    for _ in 0..5 {
        pair.send("a");
    }
    assert_eq!(pair.handed(Route::Main), [1, 2]);
    let open = pair.main().open[0];
    pair.deliver(open, Persistence::Persisted, 0);
    assert_eq!(pair.handed(Route::Main), [1, 2, 3]);
    assert_eq!(pair.core.counters().open_attempts_max, 2);
}

#[test]
fn a_retry_goes_before_first_attempts_that_wait() {
    let mut config = plain();
    config.max_in_flight = 1;
    let mut pair = Pair::new(config);
    pair.main().script([NOT]);
    pair.main().rest = Treat::AckAfter(150);
    pair.send("a");
    for _ in 0..4 {
        pair.send("b");
    }
    pair.run_to_rest();
    // 1 fails at once, is ready again at 100 ms, while 2 is open until 150 ms
    assert_eq!(pair.handed(Route::Main), [1, 2, 1, 3, 4, 5]);
}

#[test]
fn a_refused_head_stays_the_head_and_what_was_taken_with_it_goes_back_in_order() {
    let mut pair = Pair::new(plain());
    // as a shell does that takes several hand-overs before it submits the first
    pair.main().rest = Treat::Refuse(ErrorClass::Retryable);
    pair.send("a");
    pair.main().rest = Treat::Hold;
    for _ in 0..3 {
        pair.send("a");
    }
    pair.run(ms(49));
    assert!(pair.handed(Route::Main).is_empty());
    pair.now = ms(50);
    let mut taken = Vec::new();
    while let Some(Effect::HandOver(hand_over)) = pair.core.poll(pair.now) {
        taken.push(hand_over.attempt);
    }
    assert_eq!(taken.len(), 4);
    pair.core.submitted(pair.now, taken[0]);
    for back in taken[2..].iter().rev() {
        pair.core.handed_back(pair.now, *back);
    }
    let class = ErrorClass::Retryable;
    let refused = Refused::new(-184, class, "full");
    pair.core.refused(pair.now, taken[1], &refused);
    pair.run(ms(50));
    assert_eq!(pair.handed(Route::Main), [2, 3, 4]);
    assert_eq!(pair.core.counters().send_retries, 0);
}

fn strict() -> Pair {
    Pair::new(plain().order(Order::Strict))
}

#[test]
fn strict_order_keeps_one_record_open_per_thread() {
    let mut pair = strict();
    pair.main().rest = Treat::Hold;
    for thread in ["a", "a", "b", "a", "b"] {
        pair.send(thread);
    }
    assert_eq!(pair.handed(Route::Main), [1, 3]);
    let open = pair.main().open[0];
    pair.deliver(open, Persistence::Persisted, 0);
    assert_eq!(pair.handed(Route::Main), [1, 3, 2]);
}

#[test]
fn strict_order_holds_younger_events_back_during_a_retry() {
    let mut pair = strict();
    pair.main().script([NOT]);
    for _ in 0..3 {
        pair.send("a");
    }
    pair.run_to_rest();
    assert_eq!(pair.handed(Route::Main), [1, 1, 2, 3]);
}

#[test]
fn strict_order_goes_on_when_an_event_ends_without_success() {
    let mut pair = strict();
    pair.main().script([PERMANENT]);
    pair.dlq().rest = Treat::Hold;
    for _ in 0..2 {
        pair.send("a");
    }
    pair.run(ms(1));
    assert_eq!(pair.handed(Route::Main), [1, 2]);
}

#[test]
fn strict_order_lets_events_without_a_thread_id_run_free() {
    let mut pair = strict();
    pair.main().rest = Treat::Hold;
    pair.send("");
    pair.send("");
    assert_eq!(pair.handed(Route::Main), [1, 2]);
}

#[test]
fn parked_events_meet_their_deadline_too() {
    let mut pair = strict();
    pair.main().rest = Treat::Hold;
    pair.send("a");
    pair.send("a");
    pair.run(ms(9000));
    let (cause, main) = (Reason::Deadline, Persistence::Not);
    assert_eq!(pair.told(), [Outcome::DeadLettered { cause, main }]);
    let open = pair.main().open[0];
    pair.deliver(open, Persistence::Persisted, 0);
    assert_eq!(pair.handed(Route::Main), [1]);
    pair.send("a");
    assert_eq!(pair.handed(Route::Main), [1, 3]);
}
