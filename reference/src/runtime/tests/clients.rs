//! Clients that refuse, die and are rebuilt.

use super::fake::Treat;
use super::*;
use crate::core::{ErrorClass, Persistence};

const FATAL: Treat = Treat::Fail(Persistence::Not, -150, ErrorClass::Fatal);

#[tokio::test(start_paused = true)]
async fn a_fatal_error_has_the_client_replaced_and_events_flow_again() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.main.script([FATAL]);
    bench.producer.send(event("a")).await.unwrap();
    settle().await;
    bench.producer.send(event("a")).await.unwrap();
    bench.producer.flush(SECOND).await.unwrap();
    let clients = bench.connect.clients(Route::Main);
    assert_eq!(clients.len(), 2);
    assert_eq!((clients[0].purges(), clients[0].shutdowns()), (1, 1));
    assert_eq!(clients[1].records().len(), 1);
    assert_eq!(bench.metric("dashstream_client_rebuilds_total{route=\"main\"}"), Some(1));
    let report = bench.producer.close(SECOND).await;
    let counts = [(("acked", ""), 1), (("dead_lettered", "permanent_error"), 1)];
    assert_eq!(report.counts, counts.into());
}

#[tokio::test(start_paused = true)]
async fn a_replaced_client_is_polled_until_it_owes_nothing() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.main.deafen();
    bench.main.script([Treat::Hold, FATAL]);
    bench.producer.send(event("a")).await.unwrap();
    bench.producer.send(event("a")).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.connect.clients(Route::Main).len(), 2);
    assert_eq!(bench.main.shutdowns(), 0);
    bench.main.ack_all();
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.main.shutdowns(), 1);
    assert!(bench.outcomes().contains(&Outcome::Acked { partition: 0, offset: 0 }));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_be_rebuilt_yet_is_tried_again() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.connect.refuse_next(Route::Main);
    bench.main.script([FATAL]);
    bench.producer.send(event("a")).await.unwrap();
    settle().await;
    bench.producer.send(event("b")).await.unwrap();
    bench.producer.flush(SECOND).await.unwrap();
    assert_eq!(bench.connect.clients(Route::Main).len(), 2);
    assert_eq!(bench.metric("dashstream_client_rebuilds_total{route=\"main\"}"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_full_gets_the_same_records_later_in_the_same_order() {
    let bench = Bench::open(ProducerConfig::default()).await;
    bench.main.treat(Treat::Refuse(ErrorClass::Retryable));
    for thread in ["a", "b", "c", "d"] {
        bench.producer.send(event(thread)).await.unwrap();
    }
    bench.main.treat(Treat::Ack);
    bench.main.script([Treat::Ack, Treat::Refuse(ErrorClass::Retryable)]);
    bench.producer.flush(SECOND).await.unwrap();
    let keys: Vec<_> = bench.main.records().into_iter().map(|r| r.key.unwrap()).collect();
    assert_eq!(keys, ["a", "b", "c", "d"]);
    assert_eq!(bench.metric("dashstream_send_retries_total"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_close_during_a_rebuild_does_not_wait_for_the_client() {
    let bench = Bench::open(ProducerConfig::default()).await;
    for _ in 0..100 {
        bench.connect.refuse_next(Route::Main);
    }
    bench.main.script([FATAL]);
    bench.producer.send(event("a")).await.unwrap();
    settle().await;
    bench.producer.send(event("b")).await.unwrap();
    let report = bench.producer.close(SECOND).await;
    let cause = |reason| (("dead_lettered", reason), 1);
    assert_eq!(report.counts, [cause("permanent_error"), cause("abandoned")].into());
}

#[tokio::test(start_paused = true)]
async fn without_a_dlq_only_one_client_is_made() {
    let mut config = ProducerConfig::default();
    config.dlq.enabled = false;
    let bench = Bench::open(config).await;
    assert!(bench.connect.clients(Route::Dlq).is_empty());
    bench.producer.close(SECOND).await;
}
