//! One librdkafka client as a [`Transport`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use rdkafka::types::RDKafkaErrorCode;

use super::context::Context;
use super::mailbox::Mailbox;
use crate::core::{
    BoxFuture, ConnectionProblem, ConnectionTrouble, Delivery, ErrorClass, Record, Refused,
    Transport, errors,
};

/// How long one turn of the polling thread waits for an event: what ending it may take. The wrapper
/// rounds what is left down to whole milliseconds and asks again until the time is over: without
/// the odd end it would spin through the last millisecond of each turn, 2 % of a processor.
const POLL: Duration = Duration::from_micros(50_100);
/// One turn of a flush hint.
const FLUSH_TURN: Duration = Duration::from_millis(2);
/// A linger below this is over before a hint could end it.
const SHORT_LINGER: Duration = Duration::from_millis(10);

/// One turn of asking the brokers whether they are there.
const REACH_TURN: Duration = Duration::from_millis(200);

/// A client and the thread that serves its callbacks.
struct Client {
    producer: Arc<BaseProducer<Context>>,
    stop: Arc<AtomicBool>,
    poller: Option<JoinHandle<()>>,
}

impl Drop for Client {
    /// Joins the poller, then the last handle of the producer purges and destroys the client.
    /// Blocks: never dropped on an async path.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(poller) = self.poller.take() {
            // A panic inside a callback has been reported by its thread; the client still ends.
            let _ = poller.join();
        }
        // A flush hint that is still at work holds the producer for one turn at most.
        while Arc::strong_count(&self.producer) > 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// librdkafka behind the contract of [`Transport`].
pub(super) struct RdkafkaTransport {
    client: Mutex<Option<Client>>,
    deliveries: Arc<Mailbox>,
    /// Deliveries that were taken out of the mailbox together.
    taken: Mutex<VecDeque<Delivery>>,
    linger: Duration,
    topic: String,
}

impl RdkafkaTransport {
    /// Creates the client; it connects in the background. `linger` is what `config` says.
    ///
    /// # Errors
    /// The client's own text when a setting is refused, permanent; retryable when the system has no
    /// thread left.
    pub(super) fn new(
        config: &ClientConfig,
        linger: Duration,
        topic: &str,
        context: impl FnOnce(Arc<Mailbox>) -> Context,
    ) -> Result<Self, Refused> {
        let deliveries = Arc::new(Mailbox::default());
        let context = context(Arc::clone(&deliveries));
        let producer = BaseProducer::from_config_and_context(config, context)
            .map_err(|error| refused_by_config(&error))?;
        let (producer, stop) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        let poller = {
            let (producer, stop) = (Arc::clone(&producer), Arc::clone(&stop));
            std::thread::Builder::new()
                .name("dashstream-rdkafka".to_owned())
                .spawn(move || {
                    while !stop.load(Ordering::Acquire) {
                        producer.poll(POLL);
                    }
                })
                .map_err(|error| {
                    let code = RDKafkaErrorCode::CriticalSystemResource as i32;
                    let reason = format!("no thread for the client: {error}");
                    Refused::new(code, ErrorClass::Retryable, reason)
                })?
        };
        Ok(Self {
            client: Mutex::new(Some(Client { producer, stop, poller: Some(poller) })),
            deliveries,
            taken: Mutex::default(),
            linger,
            topic: topic.to_owned(),
        })
    }

    fn client(&self) -> MutexGuard<'_, Option<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused_by_config(error: &KafkaError) -> Refused {
    let code = error.rdkafka_error_code().map_or(-1, |code| code as i32);
    let reason = format!("the Kafka client refused its settings: {error}");
    Refused::new(code, ErrorClass::Permanent, reason)
}

/// Asks for the topic's metadata until a broker answers, or the time is over. Nothing that is seen
/// before ends it: another broker may serve, and the one that refuses may still be starting.
///
/// # Errors
/// What says the most of what was seen, the last of several.
fn reach(
    producer: &BaseProducer<Context>,
    topic: &str,
    within: Duration,
    stop: &AtomicBool,
) -> Result<(), ConnectionProblem> {
    let began = Instant::now();
    let mut seen: Option<ConnectionProblem> = None;
    loop {
        let left = within.saturating_sub(began.elapsed());
        let turn = left.clamp(Duration::from_millis(1), REACH_TURN);
        let over = left <= turn || stop.load(Ordering::Acquire);
        let state = &producer.context().state;
        let error = match producer.client().fetch_metadata(Some(topic), turn) {
            Ok(metadata) => {
                // whatever kept the client from the brokers is over
                state.confirmed();
                let code = metadata.topics().iter().find_map(|t| Some(t.error()? as i32));
                // a topic that is not there yet may be made when the first record comes
                let denied = code.and_then(|code| Some((code, errors::trouble(code)?)));
                let Some((code, trouble)) = denied else { return Ok(()) };
                let text = format!("topic {topic}: {}", errors::name(code));
                seen = Some(ConnectionProblem { trouble, text });
                if !over {
                    std::thread::sleep(turn);
                }
                None
            }
            Err(error) => Some(error),
        };
        let told = error.is_some().then(|| state.problem()).flatten();
        // what says less does not hide what says more
        let weight = |problem: &ConnectionProblem| problem.trouble.weight();
        if told.as_ref().is_some_and(|t| seen.as_ref().is_none_or(|s| weight(t) >= weight(s))) {
            seen = told;
        }
        if over {
            return Err(seen.unwrap_or_else(|| {
                let error = error.map_or_else(String::new, |error| format!(": {error}"));
                let text = format!("no broker has answered within {within:?}{error}");
                ConnectionProblem { trouble: ConnectionTrouble::Unreachable, text }
            }));
        }
    }
}

impl Transport for RdkafkaTransport {
    fn submit(&self, record: Record) -> Result<(), Refused> {
        let guard = self.client();
        let Some(client) = guard.as_ref() else {
            let code = RDKafkaErrorCode::BrokerDestroy as i32;
            return Err(Refused::new(code, ErrorClass::Retryable, "the transport was shut down"));
        };
        let Ok(opaque) = usize::try_from(record.attempt.0) else {
            let code = RDKafkaErrorCode::InvalidArgument as i32;
            let reason = "attempt number over the machine's word";
            return Err(Refused::new(code, ErrorClass::Permanent, reason));
        };
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        let headers = record.headers.iter().fold(headers, |headers, (key, value)| {
            headers.insert(Header { key, value: Some(&**value) })
        });
        let mut message = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&record.topic, opaque)
            .payload(record.value.as_ref())
            .timestamp(record.timestamp_ms)
            .headers(headers);
        message.key = record.key.as_deref();
        client.producer.send(message).map_err(|(error, _)| {
            let context = client.producer.context();
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::InvalidArgument);
            let (reason, trouble) = context.explain(code);
            Refused { code: code as i32, class: context.class(code), reason, trouble }
        })
    }

    fn poll_delivery(&self, cx: &mut TaskContext<'_>) -> Poll<Delivery> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.is_empty() {
            self.deliveries.take(&mut taken, cx);
        }
        taken.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn flush_hint(&self) {
        if self.linger <= SHORT_LINGER {
            return;
        }
        let guard = self.client();
        let Some(client) = guard.as_ref() else { return };
        let (producer, stop) = (Arc::clone(&client.producer), Arc::clone(&client.stop));
        let linger = self.linger;
        drop(tokio::task::spawn_blocking(move || {
            // librdkafka stops lingering only while a flush is waiting, and the wrapper's flush
            // waits by polling: short ones, for as long as a record could linger.
            let mut waited = Duration::ZERO;
            while waited < linger && !stop.load(Ordering::Acquire) {
                if producer.flush(FLUSH_TURN).is_ok() {
                    return;
                }
                waited += FLUSH_TURN;
            }
        }));
    }

    fn purge(&self) {
        if let Some(client) = self.client().as_ref() {
            client.producer.purge(PurgeConfig::default().queue().inflight().non_blocking());
        }
    }

    fn reach(&self, within: Duration) -> BoxFuture<'_, Result<(), ConnectionProblem>> {
        Box::pin(async move {
            let client =
                self.client().as_ref().map(|c| (Arc::clone(&c.producer), Arc::clone(&c.stop)));
            let topic = self.topic.clone();
            let asked = tokio::task::spawn_blocking(move || match client {
                Some((producer, stop)) => reach(&producer, &topic, within, &stop),
                None => Ok(()),
            });
            asked.await.unwrap_or_else(|error| {
                let text = format!("asking the brokers was cut short: {error}");
                Err(ConnectionProblem { trouble: ConnectionTrouble::Other, text })
            })
        })
    }

    fn shutdown(&self, within: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Some(client) = self.client().take() else { return };
            let ended = tokio::task::spawn_blocking(move || drop(client));
            if tokio::time::timeout(within, ended).await.is_err() {
                tracing::warn!(?within, "the Kafka client is still ending after its time");
            }
        })
    }
}

impl Drop for RdkafkaTransport {
    /// Without `shutdown` the client ends on a thread of its own: dropping never blocks.
    fn drop(&mut self) {
        let Some(client) = self.client().take() else { return };
        let ended = std::thread::Builder::new()
            .name("dashstream-rdkafka-end".to_owned())
            .spawn(move || drop(client));
        if let Err(error) = ended {
            tracing::error!(%error, "no thread to end the Kafka client on");
        }
    }
}
