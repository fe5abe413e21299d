//! Sans-IO state machines: time, entropy and results come in as arguments, effects go out as
//! values.
//!
//! [`Core`] is the producer without tokio, clock, randomness, files or sockets. A shell calls it,
//! carries out the [`Effect`]s that [`Core::poll`] hands out, and reports what came of them:
//!
//! ```text
//!  offer / enter / leave / supply ─┐                  ┌─ HandOver ─▶ Transport::submit
//!  submitted / refused / delivered ┼──▶  Core ──poll──┼─ Resolved ─▶ application, metrics
//!  handle_timeout (next_timeout)   ┤                  ├─ Admit ────▶ a waiting send
//!  spooled / recalled ─────────────┤                  ├─ Spool, Recall ─▶ the spool on disk
//!  flush / close / abandon ────────┘                  └─ Purge, Retire, Rebuild, FlushHint
//! ```

pub mod close;
pub mod errors;
pub mod ledger;

mod accept;
mod attempts;
mod connection;
mod delivery;
mod dlq;
mod effect;
mod ending;
mod flush;
mod hand_over;
mod headers;
mod letter;
mod limiter;
mod line;
mod link;
mod measure;
mod producer;
mod recovered;
mod retry;
mod sequence;
mod spooling;
mod store;
#[cfg(test)]
mod tests;
mod timers;
mod types;

pub use accept::{Admission, Offer, Payload};
pub use connection::{Cause, ConnectionProblem, ConnectionTrouble};
pub use effect::{DlqFailure, Effect, HandOver, OutcomeRecord};
pub use flush::FlushId;
pub use headers::{HeaderValue, Headers};
pub use ledger::{Counters, Gauges, PerRoute, Tally};
pub use limiter::{Allowance, OTHER_TENANTS};
pub use measure::Measure;
pub use producer::{Core, Origin};
pub use spooling::{
    Recalled, Recovered, SpoolEntry, SpoolFault, SpoolId, SpoolRecord, SpoolTicket, SpoolWrite,
};
pub use store::Key;
pub use timers::Flushed;
pub use types::{
    AttemptId, BoxFuture, CRC32_HEADER, Connect, Delivery, ErrorClass, Failure, MESSAGE_ID_HEADER,
    MessageId, Outcome, Persistence, Reason, Record, Refused, Route, Transport,
};
