//! The implementation under test, in process or behind the driver protocol.

pub mod driver;
pub mod logs;
pub mod message;
pub mod process;
pub mod protocol;
pub mod reference;
pub mod runner;
pub mod secrets;
pub mod state;
pub mod store;

use dashproof_reference::core::BoxFuture;

use protocol::{Answer, Op, OpError};

/// The harness's side of a subject, whatever carries the requests. Claims do not come back here:
/// they go to the [`Recorder`](crate::history::Recorder) as they arrive.
pub trait Subject: Send + Sync {
    /// Carries out an operation. Dropping the future of a `send` cancels that send.
    fn call(&self, op: Op) -> BoxFuture<'_, Result<Answer, OpError>>;
}
