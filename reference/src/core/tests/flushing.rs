use super::*;

#[test]
fn a_flush_is_done_when_everything_accepted_before_it_is_resolved_and_not_earlier() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    pair.send("a");
    pair.send("a");
    let flush = pair.core.flush(pair.now);
    pair.send("a");
    let open = pair.main().open.clone();
    // the younger one first: the older still holds the flush
    pair.deliver(open[1], Persistence::Persisted, 0);
    assert!(!pair.core.is_flushed(flush));
    pair.deliver(open[0], Persistence::Persisted, 0);
    assert!(pair.core.is_flushed(flush));
    let flushed = pair.core.end_flush(flush);
    assert_eq!((flushed.pending, flushed.tally.total("acked"), flushed.tally.sum()), (0, 2, 2));
}

#[test]
fn a_flush_waits_through_back_offs_and_the_dlq() {
    let mut pair = Pair::new(plain());
    pair.main().rest = NOT;
    pair.dlq().rest = Treat::AckAfter(700);
    pair.send("a");
    let flush = pair.core.flush(pair.now);
    while !pair.core.is_flushed(flush) {
        pair.run(ms(10));
    }
    assert_eq!(pair.now, ms(1000));
    assert_eq!(pair.core.end_flush(flush).tally.total("dead_lettered"), 1);
}

#[test]
fn a_flush_that_gives_up_says_how_many_are_pending_and_stops_nothing() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::AckAfter(500);
    pair.send("a");
    pair.send("b");
    let flush = pair.core.flush(pair.now);
    pair.send("c");
    assert_eq!(pair.core.end_flush(flush).pending, 2);
    pair.run_to_rest();
    assert_eq!(pair.told().len(), 3);
}

#[test]
fn a_flush_of_nothing_is_done_at_once_and_hints_both_clients() {
    let mut pair = Pair::new(plain());
    let flush = pair.core.flush(pair.now);
    assert!(pair.core.is_flushed(flush));
    pair.pump();
    assert_eq!((pair.main().hints, pair.dlq().hints), (1, 1));
}

#[test]
fn several_flushes_count_their_own_events() {
    let mut pair = Pair::new(plain());
    pair.main().rest = Treat::Hold;
    pair.send("a");
    let early = pair.core.flush(pair.now);
    pair.send("a");
    let late = pair.core.flush(pair.now);
    for open in pair.main().open.clone() {
        pair.deliver(open, Persistence::Persisted, 0);
    }
    assert_eq!(pair.core.end_flush(early).tally.sum(), 1);
    assert_eq!(pair.core.end_flush(late).tally.sum(), 2);
}
