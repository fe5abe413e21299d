//! close, flush, drop, cancel, clone.

use super::fake::Treat;
use super::*;
use crate::core::{ErrorClass, Persistence, Reason};
use crate::runtime::SendError;

#[tokio::test(start_paused = true)]
async fn an_event_is_acked_and_the_close_report_says_so() {
    let bench = Bench::open(ProducerConfig::default()).await;
    let accepted = bench.producer.send(event("a")).await.unwrap();
    assert_eq!(accepted.sequence, 1);
    let report = bench.producer.close(SECOND).await;
    assert_eq!(report.counts, [(("acked", ""), 1)].into());
    assert_eq!(bench.outcomes(), [Outcome::Acked { partition: 0, offset: 0 }]);
    assert_eq!(bench.metric("dashstream_messages_sent_total"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn close_returns_as_soon_as_everything_is_resolved() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.main.treat(Treat::Hold);
    bench.producer.send(event("a")).await.unwrap();
    let began = tokio::time::Instant::now();
    let main = bench.main.clone();
    let deliver = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        main.ack_all();
    };
    let (report, ()) = tokio::join!(bench.producer.close(10 * SECOND), deliver);
    assert_eq!(report.counts, [(("acked", ""), 1)].into());
    assert_eq!(began.elapsed(), Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn close_returns_by_its_deadline_whatever_is_open() {
    let bench = Bench::open(ProducerConfig::default()).await;
    for client in [&bench.main, &bench.dlq] {
        client.treat(Treat::Hold);
        client.deafen();
    }
    bench.producer.send(event("a")).await.unwrap();
    let began = tokio::time::Instant::now();
    let report = bench.producer.close(10 * SECOND).await;
    assert!(began.elapsed() <= 10 * SECOND + Duration::from_millis(2), "{:?}", began.elapsed());
    assert_eq!(report.counts, [(("in_doubt", "abandoned"), 1)].into());
    assert_eq!(bench.outcomes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_after_close_is_late_and_changes_nothing_else() {
    let bench = Bench::open(ProducerConfig::default()).await;
    for client in [&bench.main, &bench.dlq] {
        client.treat(Treat::Hold);
        client.deafen();
    }
    bench.producer.send(event("a")).await.unwrap();
    let report = bench.producer.close(SECOND).await;
    bench.main.ack_all();
    bench.dlq.ack_all();
    settle().await;
    for route in ["main", "dlq"] {
        let series = format!("dashstream_late_deliveries_total{{route=\"{route}\"}}");
        assert_eq!(bench.metric(&series), Some(1));
    }
    assert_eq!(bench.outcomes().len(), 1);
    assert_eq!(bench.producer.close(SECOND).await, report);
}

#[tokio::test(start_paused = true)]
async fn every_close_returns_the_same_report_also_at_the_same_time() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.main.treat(Treat::Hold);
    bench.producer.send(event("a")).await.unwrap();
    let other = bench.producer.clone();
    let (first, second) =
        tokio::join!(bench.producer.close(SECOND), other.close(Duration::from_millis(1)));
    assert_eq!(first, second);
    assert!(bench.producer.send(event("a")).await.is_err());
    assert_eq!(other.close(SECOND).await, first);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_cancelled_goes_on_without_its_caller() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.main.treat(Treat::Hold);
    bench.producer.send(event("a")).await.unwrap();
    let close = tokio::time::timeout(Duration::from_millis(1), bench.producer.close(SECOND));
    assert!(close.await.is_err());
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.outcomes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_send_after_close_is_rejected_and_counted() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.producer.close(SECOND).await;
    let error = bench.producer.send(event("a")).await.unwrap_err();
    assert_eq!(error.reason, Reason::Closed);
    settle().await;
    bench.producer.send(event("a")).await.unwrap_err();
    let series = "dashstream_events_total{outcome=\"rejected\",reason=\"closed\"}";
    assert_eq!(bench.metric(series), Some(2));
    assert_eq!(bench.outcomes(), [Outcome::Rejected { reason: Reason::Closed }; 2]);
}

fn narrow() -> ProducerConfig {
    let mut config = ProducerConfig::default();
    config.queue.max_events = 1;
    config
}

#[tokio::test(start_paused = true)]
async fn close_rejects_waiting_sends_before_it_returns() {
    let bench = Bench::open(narrow()).await;
    bench.main.treat(Treat::Hold);
    bench.producer.send(event("a")).await.unwrap();
    let producer = bench.producer.clone();
    let waiting = tokio::spawn(async move { producer.send(event("b")).await });
    settle().await;
    let report = bench.producer.close(Duration::ZERO).await;
    assert_eq!(report.counts.get(&("rejected", "closed")), Some(&1));
    assert_eq!(bench.outcomes().len(), 2);
    let error: SendError = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.reason, Reason::Closed);
}

#[tokio::test(start_paused = true)]
async fn cancelling_a_waiting_send_rejects_it_and_lets_the_next_in() {
    let bench = Bench::open(narrow()).await;
    bench.main.treat(Treat::Hold);
    bench.producer.send(event("a")).await.unwrap();
    let spawn = |thread: &'static str| {
        let producer = bench.producer.clone();
        tokio::spawn(async move { producer.send(event(thread)).await })
    };
    let (first, second) = (spawn("b"), spawn("c"));
    settle().await;
    first.abort();
    settle().await;
    assert_eq!(bench.outcomes(), [Outcome::Rejected { reason: Reason::Cancelled }]);
    bench.main.ack_all();
    second.await.unwrap().unwrap();
    settle().await;
    assert_eq!(bench.main.records().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn waiting_sends_are_admitted_first_come_first_served() {
    let bench = Bench::open(narrow()).await;
    let threads = ["a", "b", "c", "d", "e"];
    bench.main.treat(Treat::Hold);
    for thread in threads {
        let producer = bench.producer.clone();
        tokio::spawn(async move { producer.send(event(thread)).await });
        settle().await;
    }
    for _ in threads {
        bench.main.ack_all();
        settle().await;
    }
    let keys: Vec<_> = bench.main.records().into_iter().map(|r| r.key.unwrap()).collect();
    assert_eq!(keys, threads);
}

#[tokio::test(start_paused = true)]
async fn a_send_that_was_never_polled_was_never_offered() {
    let bench = Bench::open(ProducerConfig::default()).await;
    drop(bench.producer.send(event("a")));
    assert!(bench.producer.close(SECOND).await.counts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn flush_waits_for_everything_before_it_and_tells_what_became_of_it() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.main.treat(Treat::Hold);
    bench.producer.send(event("a")).await.unwrap();
    let main = bench.main.clone();
    let deliver = async {
        tokio::time::sleep(SECOND).await;
        main.ack_all();
    };
    let (flushed, ()) = tokio::join!(bench.producer.flush(5 * SECOND), deliver);
    assert_eq!(flushed.unwrap().counts, [(("acked", ""), 1)].into());
    assert_eq!((bench.main.hints(), bench.dlq.hints()), (1, 1));
    assert_eq!(bench.outcomes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn flush_is_not_ok_while_an_event_sleeps_in_its_back_off() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.main.script([Treat::Fail(Persistence::Not, -192, ErrorClass::Retryable)]);
    bench.producer.send(event("a")).await.unwrap();
    let error = bench.producer.flush(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.pending, 1);
    let flushed = bench.producer.flush(SECOND).await.unwrap();
    assert_eq!(flushed.counts, [(("acked", ""), 1)].into());
    assert_eq!(bench.metric("dashstream_send_retries_total"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn flush_with_a_deadline_of_centuries_does_not_overflow() {
    let bench = Bench::open(ProducerConfig::default()).await;
    assert!(bench.producer.flush(Duration::MAX).await.is_ok());
    bench.producer.close(Duration::MAX).await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_resolves_and_counts_before_it_returns() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.main.treat(Treat::Hold);
    bench.producer.send(event("a")).await.unwrap();
    let Bench { producer, registry, seen, main, dlq, .. } = bench;
    drop(producer);
    assert_eq!(seen.lock().unwrap().len(), 1);
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("dashstream_events_total{outcome=\"in_doubt\",reason=\"abandoned\"} 1"));
    assert!(text.contains("dashstream_queue_events 0"));
    tokio::time::sleep(SECOND).await;
    assert_eq!((main.purges(), main.shutdowns(), dlq.shutdowns()), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_clone_ends_nothing() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.main.treat(Treat::Hold);
    let clone = bench.producer.clone();
    clone.send(event("a")).await.unwrap();
    drop(clone);
    assert!(bench.outcomes().is_empty());
    bench.main.ack_all();
    settle().await;
    assert!(matches!(bench.outcomes()[..], [Outcome::Acked { .. }]));
}

#[tokio::test(start_paused = true)]
async fn a_producer_dropped_after_its_runtime_still_accounts_for_its_events() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let bench = std::thread::spawn(move || {
        let bench = runtime.block_on(Bench::open(ProducerConfig::default()));
        bench.main.treat(Treat::Hold);
        runtime.block_on(bench.producer.send(event("a"))).unwrap();
        drop(runtime);
        bench
    });
    let Bench { producer, seen, .. } = bench.join().unwrap();
    drop(producer);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn clients_are_shut_down_after_close_and_the_driver_ends() {
    let bench = Bench::open(ProducerConfig::default()).await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(before, 1);
    bench.producer.close(SECOND).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!((bench.main.shutdowns(), bench.dlq.shutdowns()), (1, 1));
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}
