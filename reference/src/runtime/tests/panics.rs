//! Foreign code that panics: the books balance all the same.

use super::fake::Treat;
use super::*;
use crate::core::{Persistence, Reason};

fn no_dlq() -> ProducerConfig {
    let mut config = ProducerConfig::default();
    config.dlq.enabled = false;
    config
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_in_submit_leaves_the_event_in_doubt_and_is_replaced() {
    let bench = Bench::open(no_dlq()).await;
    bench.main.treat(Treat::Panic);
    bench.producer.send(event("a")).await.unwrap();
    bench.producer.send(event("a")).await.unwrap();
    let report = bench.producer.close(60 * SECOND).await;
    let expected = [(("acked", ""), 1), (("in_doubt", "permanent_error"), 1)];
    assert_eq!(report.counts, expected.into());
    assert_eq!(bench.connect.clients(Route::Main).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_in_poll_owes_nothing_and_is_replaced() {
    let bench = Bench::open(no_dlq()).await;
    bench.main.treat(Treat::Hold);
    for _ in 0..3 {
        bench.producer.send(event("a")).await.unwrap();
    }
    bench.main.go_mad();
    let report = bench.producer.flush(60 * SECOND).await.unwrap();
    assert_eq!(report.counts, [(("in_doubt", "permanent_error"), 3)].into());
    bench.producer.send(event("a")).await.unwrap();
    let report = bench.producer.close(60 * SECOND).await;
    assert_eq!(report.counts[&("acked", "")], 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_after_a_panic_returns_by_its_deadline_with_everything_told() {
    let bench = Bench::open(no_dlq()).await;
    bench.main.script([Treat::Panic]);
    for _ in 0..5 {
        bench.producer.send(event("a")).await.unwrap();
    }
    let began = tokio::time::Instant::now();
    bench.producer.close(SECOND).await;
    assert!(began.elapsed() <= SECOND + Duration::from_millis(2));
    assert_eq!(bench.outcomes().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_handle_dropped_in_the_callback_abandons_what_is_open_and_sends_nothing_more() {
    let connect = FakeConnect::default();
    let held: Arc<Mutex<Option<Producer>>> = Arc::default();
    let seen: Arc<Mutex<Vec<Outcome>>> = Arc::default();
    let (place, told) = (Arc::clone(&held), Arc::clone(&seen));
    let producer = Producer::builder(no_dlq())
        .connect(Arc::new(connect.clone()))
        .seed(7)
        .on_outcome(move |record| {
            told.lock().unwrap().push(record.outcome);
            let last = place.lock().unwrap().take();
            drop(last);
        })
        .open()
        .await
        .unwrap();
    let main = connect.clients(Route::Main).pop().unwrap();
    main.treat(Treat::Hold);
    for _ in 0..3 {
        producer.send(event("a")).await.unwrap();
    }
    *held.lock().unwrap() = Some(producer);
    let first = main.open()[0];
    main.deliver(first, None);
    settle().await;
    let abandoned = Outcome::InDoubt {
        reason: Reason::Abandoned,
        main: Persistence::Possibly,
        dlq: Persistence::Not,
    };
    let seen = seen.lock().unwrap();
    assert_eq!(seen[1..], [abandoned, abandoned], "{seen:?}");
}
