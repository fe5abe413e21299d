//! The wire-aware proxy: faults in front of brokers that nobody can script.
//!
//! It stands before each broker of a cluster whose advertised listeners point to it: Apache Kafka,
//! the model broker, or a cluster that the user names. Connections, partitions, resets and delays
//! are those of the model broker, in the same code ([`crate::broker`]); what a request fault means
//! is asked of the same list of faults. What differs is who carries a request out: a broker behind
//! a connection of its own, one for each connection of a client.
//!
//! Requests are passed on at once and answers come back in order. A frame that no fault touches
//! passes byte for byte, with one exception: an `ApiVersions` answer never offers a Produce that
//! names topics by id, since a fault could not tell them apart.
//!
//! Where the brokers do not know the proxy ([`Mode::Rewriting`]), answers that carry addresses are
//! written anew, so that clients come back to it. One that is not understood is not passed on.
//!
//! Every request stands in the history ([`Kind::Request`](crate::history::Kind), source proxy)
//! where it was passed on, before its answer leaves. Until its broker has answered it is *unknown*
//! whether a Produce was appended; where no answer ever comes, that is how it stays, and the final
//! log tells. A client that leaves, or is thrown out, does not end the connection to the broker:
//! the answers to what was passed on are waited for, for the sake of this truth.

mod addresses;
mod answer;
mod frame;
mod raw;
mod request;
mod site;
mod upstream;
mod world;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

pub use raw::{ON_BYTES, applies_to_bytes};
pub use site::{Mode, TopicNames};
pub use world::ProxyWorld;

use crate::broker::bind_loopback;
use crate::broker::links::Site as _;
use crate::fault::Target as _;
use crate::history::{EventId, Recorder};
use crate::scenario::model::FaultKind;
use site::Shared;

/// Time between two looks at what is not answered.
const LOOK: Duration = Duration::from_millis(20);

/// What a proxy is told at its start.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Ids of the brokers, one listener each.
    pub brokers: Vec<i32>,
    /// The telemetry topic.
    pub main: TopicNames,
    /// The dead-letter topic.
    pub dlq: TopicNames,
    /// First bytes of the run's digest: part of every message id.
    pub run: [u8; 10],
    /// Frames, or bytes only.
    pub mode: Mode,
}

/// A listener on the loopback interface for each broker. It ends with this value, and so do all
/// connections, those to the brokers included.
pub struct Proxy {
    shared: Arc<Shared>,
    ports: Vec<(i32, u16)>,
}

impl Proxy {
    /// Takes a free port per broker and listens. Where the brokers are is said later
    /// ([`Proxy::connect_to`]): they advertise these ports, so the ports come first.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn bind(config: ProxyConfig, recorder: Recorder, seed: u64) -> io::Result<Self> {
        let mut held = Vec::new();
        for _ in &config.brokers {
            held.push(bind_loopback().await?.0);
        }
        Self::on(held, config, recorder, seed)
    }

    /// As [`Proxy::bind`], on ports that the caller holds: one for each broker.
    ///
    /// # Errors
    /// The operating system's; `InvalidInput` for another number of listeners than of brokers.
    pub fn on(
        listeners: Vec<TcpListener>,
        config: ProxyConfig,
        recorder: Recorder,
        seed: u64,
    ) -> io::Result<Self> {
        if listeners.len() != config.brokers.len() {
            let text = "one listener is needed for each broker";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let ids = config.brokers.clone();
        let shared = Arc::new(Shared::new(config, recorder, seed));
        let mut proxy = Self { shared, ports: Vec::new() };
        for (id, listener) in ids.into_iter().zip(listeners) {
            proxy.ports.push((id, proxy.shared.serve_on(id, listener)?));
        }
        proxy.shared.watches();
        Ok(proxy)
    }

    /// Broker ids and the ports that stood for them on 127.0.0.1 from the beginning.
    #[must_use]
    pub fn ports(&self) -> &[(i32, u16)] {
        &self.ports
    }

    /// `127.0.0.1:port,…` of all brokers.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let servers: Vec<String> =
            self.ports.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        servers.join(",")
    }

    /// Says where the broker is from now on. Connections that are open stay where they are. Until
    /// it is said, a connection to this broker is closed.
    pub fn connect_to(&self, broker: i32, host: &str, port: u16) {
        self.shared.connect_to(broker, host, port);
    }

    /// Says that the broker is nowhere: who listens on its port now is another one. A connection to
    /// it is closed until [`Proxy::connect_to`].
    pub fn nowhere(&self, broker: i32) {
        self.shared.lost(broker);
    }

    /// Says what a broker that does not know the proxy tells of where it is. When it tells
    /// something else one day, connections go there from then on.
    pub fn advertised(&self, broker: i32, host: &str, port: u16) {
        self.shared.core().advertised.insert(broker, (host.to_owned(), port));
    }

    /// Teaches the identity of an event whose subject writes no id into its records: the SHA-256
    /// of the whole record value.
    pub fn learn_digest(&self, digest: [u8; 32], event: EventId) {
        self.shared.core().identity.learn(digest, event);
    }

    /// True when a client is connected to one of these brokers.
    #[must_use]
    pub fn is_used(&self, brokers: &[i32]) -> bool {
        self.shared.with(|links| links.is_used(brokers))
    }

    /// Puts on record that a fault which somebody else carries out is in force.
    pub fn begun(&self, index: usize, kind: &FaultKind, brokers: &[i32]) {
        self.shared.arm(index, kind, brokers);
    }

    /// Puts on record that it was met; with `later`, when somebody comes to one of these brokers.
    pub fn struck(&self, index: usize, kind: &FaultKind, brokers: &[i32], later: bool) {
        if later {
            self.shared.with(|links| links.missed(index, kind.name(), brokers));
        } else {
            self.shared.meet(index);
        }
    }

    /// Ends when one of these brokers has left a request unanswered for so long, from now on; one
    /// that it was asked before counts from now on too.
    pub async fn until_mute(&self, brokers: &[i32], patience: Duration) {
        let from = Instant::now();
        loop {
            let since = self.shared.oldest(brokers).map(|since| since.max(from));
            if since.is_some_and(|since| since.elapsed() >= patience) {
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// From now on a fault is met by the next client that sets out to authenticate; where nobody
    /// looks into what passes, by the next one that comes.
    pub fn met_by_tokens(&self, index: usize, kind: &FaultKind) {
        self.shared.asks_for_tokens(index, kind.name());
    }

    /// Takes [`Proxy::met_by_tokens`] back.
    pub fn not_met_by_tokens(&self, index: usize) {
        self.shared.has_tokens(index);
    }

    /// Puts on record that it is over; without effect on a fault that is not in force.
    pub fn ended(&self, index: usize, kind: &FaultKind, brokers: &[i32]) {
        self.shared.with(|links| links.not_missed(index));
        self.shared.disarm(index, kind, brokers);
    }

    /// Ends when every Produce that was passed on is answered or its connection has ended, or after
    /// `limit`.
    pub async fn settled(&self, limit: Duration) {
        self.shared.settled(limit).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.end();
    }
}
