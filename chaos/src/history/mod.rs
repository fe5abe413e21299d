//! The recorded stream of claims and truth.

pub mod reader;
mod record;
mod recorder;
pub mod writer;

pub use record::{
    BadEventId, DeliveryError, ErrorClass, EventId, FORMAT_VERSION, FaultPhase, FrameFacts, Kind,
    Line, LogRecord, Outcome, Persistence, ProduceTruth, Route, Src,
};
pub use recorder::{Clock, Recorder};
