//! Frames: from a message to the bytes of a Kafka record value, and back.
//!
//! [`Encoder`] writes one frame per message: a frame byte, then the protobuf message, plain or as
//! one zstd frame. [`Decoder`] is the one entry point for bytes from outside. It is strict by
//! default (frame, schema version, a header in the message and in every member of a batch), looks
//! at the bytes with a scan that allocates nothing before it lets them become a message, and
//! answers any input with a message or a [`DecodeError`] that says what, where and which limit
//! bound. The legacy and lenient ways in are options of [`DecodePolicy`]; taking one is counted in
//! [`CodecCounters`].
//!
//! ```
//! use dashproof_reference::codec::{CodecConfig, DecodePolicy, Decoder, Encoder}; use
//! dashproof_reference::proto::{DashStreamMessage, Event, Header, dash_stream_message::Message};
//!
//! let event = Event { header: Some(Header::default()), ..Event::default() };
//! let mut message = DashStreamMessage { message: Some(Message::Event(event)) };
//! let encoded = Encoder::new(&CodecConfig::default()).encode(&mut message)?;
//! let decoded = Decoder::new(DecodePolicy::default()).decode(&encoded.frame)?;
//! assert_eq!(decoded, message);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod counters;
mod decode;
mod encode;
mod error;
mod frame;
mod header;
mod inflate;
mod limits;
mod locate;
mod pool;
mod scan;
mod schema;
mod view;
mod wire;

pub use config::{CodecConfig, DecodePolicy, Legacy, SchemaPolicy};
pub use counters::CodecCounters;
pub use decode::Decoder;
pub use encode::{Encoded, Encoder, measure};
pub use error::{DecodeError, DecodeErrorKind, EncodeError, Region};
pub use frame::{
    FRAME_PLAIN, FRAME_ZSTD, MAX_PAYLOAD, SCHEMA_VERSION, crc32_header, crc32_hex, verify_crc32,
};
pub use header::{header, header_mut};
pub use limits::{Limits, MAX_DEPTH, MEMORY_CEILING};
pub(crate) use pool::FramePool;
pub use view::to_json;

#[cfg(test)]
mod tests;
