//! The shell over fake clients, under tokio's paused time.

mod clients;
mod ends;
mod fake;
mod observing;
mod panics;
mod sending;
mod spooling;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus::{Registry, TextEncoder};

use super::{OutcomeRecord, Producer};
use crate::config::ProducerConfig;
use crate::core::{Outcome, Route};
use crate::proto::dash_stream_message::Message;
use crate::proto::{DashStreamMessage, Event, Header};
use fake::{Fake, FakeConnect};

const SECOND: Duration = Duration::from_secs(1);

/// A producer over fakes, with everything a test looks at.
struct Bench {
    producer: Producer,
    main: Fake,
    dlq: Fake,
    connect: FakeConnect,
    registry: Registry,
    seen: Arc<Mutex<Vec<OutcomeRecord>>>,
}

impl Bench {
    async fn open(config: ProducerConfig) -> Self {
        let connect = FakeConnect::default();
        let registry = Registry::new();
        let seen: Arc<Mutex<Vec<OutcomeRecord>>> = Arc::default();
        let told = Arc::clone(&seen);
        let producer = Producer::builder(config)
            .connect(Arc::new(connect.clone()))
            .registry(registry.clone())
            .seed(7)
            .wall_origin_us(1_735_689_600_000_000)
            .on_outcome(move |record| told.lock().unwrap().push(record.clone()))
            .open()
            .await
            .unwrap();
        let client = |route| connect.clients(route).pop().unwrap_or_default();
        let (main, dlq) = (client(Route::Main), client(Route::Dlq));
        Self { producer, main, dlq, connect, registry, seen }
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.seen.lock().unwrap().iter().map(|r| r.outcome).collect()
    }

    /// Value of a series, by its line in the text form.
    fn metric(&self, series: &str) -> Option<u64> {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line = text.lines().find(|l| l.split_whitespace().next() == Some(series))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

/// An event of a thread; its message id is left for the producer to make.
fn event(thread: &str) -> DashStreamMessage {
    let header = Header { thread_id: thread.to_owned(), ..Header::default() };
    let event = Event { header: Some(header), ..Event::default() };
    DashStreamMessage { message: Some(Message::Event(event)) }
}

/// Lets every task run until nothing is left to do at this moment.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
