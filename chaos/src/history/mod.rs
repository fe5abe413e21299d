//! The recorded stream of claims and truth.

mod error;
mod event_id;
pub mod reader;
mod record;
mod recorder;
mod state;
mod store;
pub mod writer;

pub use error::{DeliveryError, ErrorClass, Trouble};
pub use event_id::{BadEventId, EventId};
pub use record::{
    CONNECTED, FORMAT_VERSION, FULL_AT, FULL_TRIED, FaultPhase, FrameFacts, Kind, Line, LogRecord,
    NOT_DONE, Outcome, Persistence, ProduceTruth, Route, Src, WATCHED,
};
pub use recorder::{Clock, Recorder};
pub use state::{StateAnswered, StateHeap, StateLost, StateOffered, StateReceived};
pub use store::{
    AtRest, CrashState, CrashTally, DamageSeen, Found, GivenBack, SpoolFound, StoreAnswer,
    StoreCall,
};
