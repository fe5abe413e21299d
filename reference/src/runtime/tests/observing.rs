//! Callback, stream, metrics.

use super::fake::Treat;
use super::*;
use crate::core::{ErrorClass, Reason};
use crate::runtime::{METRICS, MetricLabels, OpenError, ProducerMetrics};

#[tokio::test(start_paused = true)]
async fn a_panicking_callback_is_caught_and_counted_and_the_outcome_stands() {
    let registry = Registry::new();
    let connect = FakeConnect::default();
    let producer = Producer::builder(ProducerConfig::default())
        .connect(Arc::new(connect))
        .registry(registry.clone())
        // no panic hook, as a print would be
        .on_outcome(|_| std::panic::resume_unwind(Box::new("on purpose")))
        .open()
        .await
        .unwrap();
    for _ in 0..3 {
        producer.send(event("a")).await.unwrap();
    }
    let report = producer.close(SECOND).await;
    assert_eq!(report.counts, [(("acked", ""), 3)].into());
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("dashstream_callback_panics_total 3"));
    assert!(text.contains("dashstream_events_total{outcome=\"acked\",reason=\"\"} 3"));
}

#[tokio::test(start_paused = true)]
async fn the_callback_may_drop_the_last_handle() {
    let slot: Arc<Mutex<Option<Producer>>> = Arc::default();
    let inside = Arc::clone(&slot);
    let producer = Producer::builder(ProducerConfig::default())
        .connect(Arc::new(FakeConnect::default()))
        .on_outcome(move |_| drop(inside.lock().unwrap().take()))
        .open()
        .await
        .unwrap();
    producer.send(event("a")).await.unwrap();
    *slot.lock().unwrap() = Some(producer);
    settle().await;
    assert!(slot.lock().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_stream_tells_every_outcome_and_ends_with_the_producer() {
    let bench = Bench::open(ProducerConfig::default()).await;
    let mut stream = bench.producer.subscribe();
    let id = bench.producer.send(event("a")).await.unwrap().message_id;
    bench.producer.close(SECOND).await;
    bench.producer.send(event("b")).await.unwrap_err();
    let acked = stream.next().await.unwrap();
    assert_eq!((acked.message_id, acked.sequence, acked.thread.as_ref()), (id, Some(1), "a"));
    let closed = stream.next().await.unwrap();
    assert_eq!((closed.sequence, closed.thread.as_ref()), (None, "b"));
    assert_eq!(closed.outcome, Outcome::Rejected { reason: Reason::Closed });
    drop(bench);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_reader_of_the_stream_missed_is_counted() {
    let registry = Registry::new();
    let producer = Producer::builder(ProducerConfig::default())
        .connect(Arc::new(FakeConnect::default()))
        .registry(registry.clone())
        .stream_capacity(4)
        .open()
        .await
        .unwrap();
    let mut stream = producer.subscribe();
    for _ in 0..10 {
        producer.send(event("a")).await.unwrap();
    }
    producer.flush(SECOND).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(stream.next().await.unwrap().sequence.unwrap());
    }
    assert_eq!(seen, [7, 8, 9, 10]);
    assert_eq!(stream.missed(), 6);
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("dashstream_outcomes_lagged_total 6"));
}

#[tokio::test(start_paused = true)]
async fn every_closed_series_exists_at_zero_from_the_start() {
    let bench = Bench::open(ProducerConfig::default()).await;
    let text = TextEncoder::new().encode_to_string(&bench.registry.gather()).unwrap();
    insta::assert_snapshot!(text);
    for metric in METRICS.iter().filter(|m| m.labels != MetricLabels::Tenant) {
        assert!(text.contains(&format!("\n{}", metric.name)), "{} is absent", metric.name);
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_rate_limit_the_tenants_series_exist_from_the_start_and_count() {
    let mut config = ProducerConfig::default();
    config.rate_limit.rate = Some(1.0);
    config.rate_limit.burst = 1;
    let bench = Bench::open(config).await;
    let allowed = "dashstream_rate_limit_allowed_total{tenant_id=\"default\"}";
    let exceeded = "dashstream_rate_limit_exceeded_total{tenant_id=\"default\"}";
    assert_eq!((bench.metric(allowed), bench.metric(exceeded)), (Some(0), Some(0)));
    bench.producer.send(event("a")).await.unwrap();
    let error = bench.producer.send(event("a")).await.unwrap_err();
    assert_eq!(error.reason, Reason::RateLimited);
    assert_eq!((bench.metric(allowed), bench.metric(exceeded)), (Some(1), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn the_gauges_show_what_is_so_and_return_to_idle() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.main.treat(Treat::Hold);
    for _ in 0..3 {
        bench.producer.send(event("a")).await.unwrap();
    }
    let open = "dashstream_open_attempts{route=\"main\"}";
    assert_eq!(bench.metric("dashstream_queue_events"), Some(3));
    assert!(bench.metric("dashstream_queue_bytes").unwrap() > 3 * 16);
    assert_eq!(bench.metric(open), Some(3));
    bench.main.ack_all();
    settle().await;
    assert_eq!(bench.metric("dashstream_queue_events"), Some(0));
    assert_eq!(bench.metric("dashstream_queue_bytes"), Some(0));
    assert_eq!(bench.metric(open), Some(0));
    assert_eq!(bench.metric("dashstream_queue_events_max"), Some(3));
    assert_eq!(bench.metric("dashstream_open_attempts_max"), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_registry_in_use_is_a_typed_error_that_names_the_remedy() {
    let bench = Bench::open(ProducerConfig::default()).await;
    let error = Producer::builder(ProducerConfig::default())
        .connect(Arc::new(FakeConnect::default()))
        .registry(bench.registry.clone())
        .open()
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::Registry(_)));
    insta::assert_snapshot!(error);
}

#[tokio::test(start_paused = true)]
async fn producers_that_share_metrics_add_up_over_incarnations() {
    let registry = Registry::new();
    let metrics = ProducerMetrics::register(&registry).unwrap();
    let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for round in 1..=3 {
        let producer = Producer::builder(ProducerConfig::default())
            .connect(Arc::new(FakeConnect::default()))
            .metrics(metrics.clone())
            .open()
            .await
            .unwrap();
        producer.send(event("a")).await.unwrap();
        producer.close(SECOND).await;
        assert!(text().contains(&format!("dashstream_messages_sent_total {round}\n")));
        drop(producer);
        tokio::time::sleep(10 * SECOND).await;
        // the incarnation is over and forgotten; its numbers are not
        assert!(text().contains(&format!("dashstream_messages_sent_total {round}\n")));
        assert!(text().contains("dashstream_queue_events_max 1\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_open_leaves_the_registry_free() {
    let connect = FakeConnect::default();
    connect.refuse_next(Route::Dlq);
    let registry = Registry::new();
    let open = || {
        Producer::builder(ProducerConfig::default())
            .connect(Arc::new(connect.clone()))
            .registry(registry.clone())
            .open()
    };
    let error = open().await.unwrap_err();
    insta::assert_snapshot!(error);
    assert!(open().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn dlq_metrics_follow_the_dlq() {
    let bench = Bench::open(ProducerConfig::default()).await;
    let permanent = || Treat::Fail(crate::core::Persistence::Not, 10, ErrorClass::Permanent);
    bench.main.treat(permanent());
    bench.dlq.script([permanent()]);
    bench.producer.send(event("a")).await.unwrap();
    bench.producer.send(event("a")).await.unwrap();
    bench.producer.close(SECOND).await;
    let metric = |name: &str| bench.metric(name).unwrap();
    assert_eq!(metric("dashstream_dlq_sends_total"), 1);
    assert_eq!(metric("dashstream_dlq_send_failures_total"), 1);
    assert_eq!(metric("dashstream_dlq_dropped_total"), 1);
    assert_eq!(metric("dashstream_send_failures_total"), 2);
}
