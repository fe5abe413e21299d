use super::*;

#[test]
fn sequences_start_at_one_and_increase_without_gaps_in_each_thread() {
    let mut pair = Pair::new(plain());
    let got: Vec<u64> = ["a", "b", "a", "", "a", "b", ""].map(|t| pair.send(t)).into();
    assert_eq!(got, [1, 1, 2, 1, 3, 2, 2]);
}

#[test]
fn sequences_of_an_epoch_start_above_those_of_the_epochs_before() {
    let config = plain();
    let origin = Origin { epoch: 3, ..Origin::default() };
    let mut core = Core::new(&config, origin);
    let measure = Measure { message: 10, header: 2 };
    let message_id = pair::id(1);
    let offer = Offer { message_id, thread: "a", tenant: "t", measure, from_dlq: false };
    let Admission::Accepted { sequence, .. } = core.offer(ms(0), &offer) else { panic!() };
    assert_eq!(sequence, 3 * (1 << 40) + 1);
}

#[test]
fn a_rejected_event_takes_no_sequence() {
    let mut pair = Pair::new(plain());
    pair.send("a");
    let limit = pair.config.max_message_bytes;
    assert_eq!(pair.offer("a", limit), Admission::Rejected(Reason::Oversize));
    assert_eq!(pair.send("a"), 2);
    let told = pair.outcomes.iter().find(|r| r.message_id == pair::id(2)).unwrap();
    assert_eq!(told.sequence, None);
    assert_eq!(told.outcome, Outcome::Rejected { reason: Reason::Oversize });
}

#[test]
fn the_size_limit_counts_the_sequence_to_the_byte() {
    let mut pair = Pair::new(plain());
    let limit = pair.config.max_message_bytes;
    // a sequence of one byte adds its tag and itself; no length on the way grows here
    assert!(matches!(pair.offer("a", limit - 2), Admission::Accepted { .. }));
    assert_eq!(pair.offer("b", limit - 1), Admission::Rejected(Reason::Oversize));
}

#[test]
fn a_full_queue_rejects_when_the_policy_says_so_by_events_and_by_bytes() {
    let mut config = plain();
    config.queue.max_events = 2;
    config.queue.when_full = WhenFull::Reject;
    let mut pair = Pair::new(config.clone());
    pair.main().rest = Treat::Hold;
    pair.send("a");
    pair.send("a");
    assert_eq!(pair.offer("a", 100), Admission::Rejected(Reason::QueueFull));

    config.queue.max_events = 100;
    config.max_message_bytes = 1000;
    config.queue.max_bytes = 1000;
    let mut pair = Pair::new(config);
    pair.main().rest = Treat::Hold;
    pair.offer("a", 500);
    assert_eq!(pair.offer("a", 500), Admission::Rejected(Reason::QueueFull));
    assert!(matches!(pair.offer("a", 400), Admission::Accepted { .. }));
}

fn narrow() -> Pair {
    let mut config = plain();
    config.queue.max_events = 1;
    let mut pair = Pair::new(config);
    pair.main().rest = Treat::Hold;
    pair.send("a");
    pair
}

#[test]
fn a_full_queue_makes_sends_wait_and_calls_them_first_come_first_served() {
    let mut pair = narrow();
    let Admission::Waiting(first) = pair.offer("b", 100) else { panic!() };
    let Admission::Waiting(second) = pair.offer("c", 100) else { panic!() };
    assert!(pair.admitted.is_empty());
    let open = pair.main().open[0];
    pair.deliver(open, Persistence::Persisted, 0);
    assert_eq!(pair.admitted, [first]);
    // whoever is not called does not overtake
    assert_eq!(pair.enter(second, 3, "c", 100), Admission::Waiting(second));
    assert!(matches!(pair.offer("d", 100), Admission::Waiting(_)));
    assert!(matches!(pair.enter(first, 2, "b", 100), Admission::Accepted { sequence: 1, .. }));
}

#[test]
fn a_waiting_send_that_is_dropped_is_rejected_as_cancelled_and_the_next_is_called() {
    let mut pair = narrow();
    let Admission::Waiting(first) = pair.offer("b", 100) else { panic!() };
    let Admission::Waiting(second) = pair.offer("c", 100) else { panic!() };
    let open = pair.main().open[0];
    pair.deliver(open, Persistence::Persisted, 0);
    pair.core.leave(pair.now, first);
    pair.pump();
    assert_eq!(pair.admitted, [first, second]);
    let cancelled = Outcome::Rejected { reason: Reason::Cancelled };
    assert_eq!(pair.told()[1], cancelled);
    // leaving twice is nothing
    pair.core.leave(pair.now, first);
    pair.pump();
    assert_eq!(pair.outcomes.len(), 2);
}

#[test]
fn a_large_event_at_the_head_of_the_line_is_not_overtaken_by_a_small_one() {
    let mut config = plain();
    config.max_message_bytes = 1000;
    config.queue.max_bytes = 1000;
    let mut pair = Pair::new(config);
    pair.main().rest = Treat::Hold;
    pair.offer("a", 300);
    pair.offer("a", 300);
    let Admission::Waiting(large) = pair.offer("b", 900) else { panic!() };
    assert!(matches!(pair.offer("c", 10), Admission::Waiting(_)));
    let open = pair.main().open.clone();
    pair.deliver(open[0], Persistence::Persisted, 0);
    assert!(pair.admitted.is_empty());
    pair.deliver(open[1], Persistence::Persisted, 0);
    assert_eq!(pair.admitted, [large]);
}

#[test]
fn close_rejects_what_waits_and_what_comes_later() {
    let mut pair = narrow();
    let Admission::Waiting(ticket) = pair.offer("b", 100) else { panic!() };
    pair.core.close(pair.now, ms(1000));
    pair.pump();
    let closed = Outcome::Rejected { reason: Reason::Closed };
    assert_eq!(pair.told(), [closed]);
    assert_eq!(pair.admitted, [ticket]);
    assert_eq!(pair.enter(ticket, 2, "b", 100), Admission::Rejected(Reason::Closed));
    assert_eq!(pair.offer("c", 100), Admission::Rejected(Reason::Closed));
    assert_eq!(pair.told(), [closed, closed]);
}

#[test]
fn the_rate_limit_is_a_bucket_per_tenant_that_refills() {
    let mut config = plain();
    config.rate_limit.rate = Some(10.0);
    config.rate_limit.burst = 2;
    let mut pair = Pair::new(config);
    pair.send("a");
    pair.send("a");
    assert_eq!(pair.offer("a", 100), Admission::Rejected(Reason::RateLimited));
    pair.run(ms(100));
    pair.send("a");
    assert_eq!(pair.offer("a", 100), Admission::Rejected(Reason::RateLimited));
    let counts: Vec<_> = pair.core.allowances().map(|(t, a)| (t.to_string(), a)).collect();
    assert_eq!(counts, [("default".to_owned(), Allowance { allowed: 3, exceeded: 2 })]);
}

#[test]
fn an_event_that_could_not_be_encoded_is_rejected_or_after_close_closed() {
    let mut pair = Pair::new(plain());
    let reason = pair.core.refuse(pair.now, pair::id(1), "a", Reason::Unserialisable);
    assert_eq!(reason, Reason::Unserialisable);
    pair.core.close(pair.now, ms(10));
    let reason = pair.core.refuse(pair.now, pair::id(2), "a", Reason::Unserialisable);
    assert_eq!(reason, Reason::Closed);
}

#[test]
fn an_accepted_event_whose_encoding_fails_is_dropped_and_holds_nobody_up() {
    let mut pair = Pair::new(plain());
    let admission = pair.offer_unsupplied("a", 100, false);
    let Admission::Accepted { key, .. } = admission else { panic!() };
    pair.send("b");
    assert!(pair.handed(Route::Main).is_empty());
    pair.core.supply_failed(pair.now, key);
    pair.run_to_rest();
    assert_eq!(pair.handed(Route::Main), [2]);
    assert_eq!(pair.told()[0], Outcome::Dropped { reason: Reason::PermanentError });
}
