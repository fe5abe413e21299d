//! Sans-IO state machines: time, entropy and results come in as arguments, effects go out as
//! values.

mod types;

pub use types::{
    AttemptId, BoxFuture, CRC32_HEADER, Connect, Delivery, ErrorClass, Failure, MESSAGE_ID_HEADER,
    MessageId, Outcome, Persistence, Reason, Record, Refused, Route, Transport,
};
