//! A telemetry pipeline that may lose an event, but never silently.
//!
//! # The promise
//!
//! Every event that is offered to a [`Producer`](runtime::Producer) ends in exactly one
//! [`Outcome`](core::Outcome): acked, dead-lettered, spooled, in doubt, dropped, or rejected at the
//! call.
//! The outcome is told to the application, and counted by reason in metrics that equal the ledger
//! to the last event: after an outage, a cancelled future, a full queue, a panicking callback, a
//! close that ran out of time, or a handle that was just dropped.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use dashproof_reference::config::ProducerConfig;
//! use dashproof_reference::core::Connect;
//! use dashproof_reference::proto::dash_stream_message::Message;
//! use dashproof_reference::proto::{DashStreamMessage, Event, Header};
//! use dashproof_reference::runtime::Producer;
//!
//! /// `connect` is given for tests and simulations; real brokers need none, see
//! /// [`RdkafkaConnect`](dashproof_reference::runtime::rdkafka::RdkafkaConnect).
//! async fn run(connect: Arc<dyn Connect>) -> Result<(), Box<dyn std::error::Error>> {
//!     let config = ProducerConfig::from_env()?.delivery_timeout(Duration::from_secs(10));
//!     let registry = prometheus::Registry::new();
//!     let producer = Producer::builder(config)
//!         .connect(connect)
//!         .registry(registry.clone())
//!         .on_outcome(|record| {
//!             if record.outcome.reason().is_some() {
//!                 tracing::warn!(id = %record.message_id, outcome = ?record.outcome, "not acked");
//!             }
//!         })
//!         .open()
//!         .await?;
//!
//!     let header = Header { thread_id: "session-42".to_owned(), ..Header::default() };
//!     let event = Event { header: Some(header), ..Event::default() };
//!     let message = DashStreamMessage { message: Some(Message::Event(event)) };
//!     let accepted = producer.send(message).await?;
//!     assert_eq!(accepted.sequence, 1);
//!
//!     let report = producer.close(Duration::from_secs(5)).await;
//!     for ((outcome, reason), count) in &report.counts {
//!         tracing::info!(outcome, reason, count, "accounted for");
//!     }
//!     Ok(())
//! }
//! # let _ = run;
//! ```
//!
//! # The parts
//!
//! ```text
//!   application            reference                                        brokers
//!  ─────────────▶  runtime::Producer ──▶ codec (outside the lock)
//!     outcomes  ◀──      │     ▲
//!                        ▼     │  effects / deliveries, timers
//!                      core::Core          one short mutex, never across an await
//!                        │     ▲
//!                        ▼     │
//!                  core::Transport × 2 ────────────────────────────▶  main topic
//!                  (rdkafka, or a simulator's client)  ────────────▶  DLQ topic
//! ```
//!
//! * [`core`] is the whole behaviour as state machines without I/O: it takes time and results as
//!   arguments and gives effects as values. Simulation, tests and production drive the same core.
//! * [`runtime`] carries the effects out: one task per producer, two clients, a metrics registry.
//! * [`spool`] keeps on disk what neither main nor the DLQ took, for the next open.
//! * [`codec`] and [`proto`] are the frame and the schema; decoding is strict by default.
//! * [`config`] is the settings, each problem told at once and with its remedy.
//! * [`checkpoint`] keeps states of threads over any crash, in files that tell their damage;
//!   [`fs`] is the file system as stores see it.
//! * [`state`] makes patches of states without keeping the state before.
//! * [`manual`] says what all of it promises; its tables are tested against the code.
//!
//! # What it does not do
//!
//! It does not deliver exactly once: an event may be in main and in the DLQ when nobody could say
//! whether main has it, and is `in_doubt` when nobody could say at all. It has no transactions. Of
//! a crash of the process only what was on the spool survives: what was unresolved then is lost.
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod checkpoint;
pub mod codec;
pub mod config;
pub mod core;
pub mod fs;
pub mod manual;
pub mod proto;
pub mod runtime;
pub mod spool;
pub mod state;
