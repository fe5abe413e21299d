//! The implementation under test, in process or behind the driver protocol.

pub mod protocol;
