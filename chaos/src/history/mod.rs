//! The recorded stream of claims and truth.

mod record;
mod recorder;

pub use record::{
    BadEventId, DeliveryError, ErrorClass, EventId, FORMAT_VERSION, FaultPhase, Kind, Line,
    LogRecord, Outcome, Persistence, ProduceTruth, Route, Src,
};
pub use recorder::{Clock, Recorder};
