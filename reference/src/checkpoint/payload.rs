//! The payload: a state as `MessagePack` with named fields, plain or as one zstd frame.

use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zstd::bulk::Decompressor;

use super::damage::{Fault, Reason};
use super::error::{CheckpointError, ErrorKind};
use super::format::{Header, Stored};
use super::schema::Schema;
use super::value::Value;

/// How states are stored. Every setting reads the files of every other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// As a zstd frame of this level with zstd's own content checksum.
    Zstd(i32),
}

/// A state, ready to be written.
pub(super) struct Payload {
    pub(super) bytes: Vec<u8>,
    pub(super) stored: Stored,
    pub(super) state_len: u64,
    pub(super) crc: u32,
}

/// Encodes a state into a buffer, whose content is lost. Fails with `SerializationFailed`, or with
/// `Oversize` above `limit` bytes.
pub(super) fn encode<S: Serialize>(
    state: &S,
    compression: Compression,
    limit: u64,
    mut plain: Vec<u8>,
) -> Result<Payload, CheckpointError> {
    let failed = |text: String| CheckpointError::new(ErrorKind::SerializationFailed, text);
    plain.clear();
    rmp_serde::encode::write_named(&mut plain, state)
        .map_err(|e| failed(format!("the state cannot be encoded: {e}")))?;
    let state_len = plain.len() as u64;
    if state_len > limit {
        let message = format!(
            "the state takes {state_len} bytes, at most {limit}: make it smaller or raise \
             Options::max_state"
        );
        return Err(CheckpointError::new(ErrorKind::Oversize, message));
    }
    let (bytes, stored) = match compression {
        Compression::None => (plain, Stored::Plain),
        Compression::Zstd(level) => {
            let squeezed = compress(&plain, level).map_err(|e| failed(format!("zstd: {e}")))?;
            (squeezed, Stored::Zstd)
        }
    };
    let crc = crc32fast::hash(&bytes);
    Ok(Payload { bytes, stored, state_len, crc })
}

fn compress(plain: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_checksum(true)?;
    compressor.compress(plain)
}

/// Checks that a payload, exactly the bytes behind a header, is the one that the header describes.
pub(super) fn check(header: &Header, payload: &[u8]) -> Result<(), Fault> {
    let len = payload.len() as u64;
    if len < header.payload_len {
        let message = format!("the payload has {len} of {} bytes", header.payload_len);
        return Err(Fault::damage(Reason::Short, message));
    }
    if len > header.payload_len {
        let message = format!("{} bytes follow the payload", len - header.payload_len);
        return Err(Fault::damage(Reason::Trailing, message));
    }
    if crc32fast::hash(payload) != header.payload_crc {
        return Err(Fault::damage(Reason::PayloadCrc, "the payload's checksum does not match"));
    }
    Ok(())
}

thread_local! {
    /// A context takes longer to set up than a small state to inflate.
    static INFLATER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn inflate(payload: &[u8], len: usize) -> std::io::Result<Vec<u8>> {
    INFLATER.with_borrow_mut(|kept| match kept {
        Some(inflater) => inflater.decompress(payload, len),
        None => kept.insert(Decompressor::new()?).decompress(payload, len),
    })
}

/// Inflates a checked payload if need be and gives the encoded state to `read`.
pub(super) fn with_state<T>(
    header: &Header,
    payload: &[u8],
    limit: u64,
    read: impl FnOnce(&[u8]) -> Result<T, Fault>,
) -> Result<T, Fault> {
    if header.state_len > limit {
        let message = format!(
            "the state takes {} bytes, at most {limit}: raise Options::max_state",
            header.state_len
        );
        return Err(Fault::Reader(ErrorKind::Oversize, message));
    }
    match header.stored {
        Stored::Plain if header.state_len != header.payload_len => {
            Err(Fault::damage(Reason::HeaderFields, "the header has two lengths for one state"))
        }
        Stored::Plain => read(payload),
        Stored::Zstd => {
            let wrong = |text: String| Fault::damage(Reason::Compression, text);
            let len = usize::try_from(header.state_len).map_err(|e| wrong(e.to_string()))?;
            // the frame must know its size, so that a wrong header allocates nothing
            let known = zstd::zstd_safe::get_frame_content_size(payload).ok().flatten();
            if known != Some(header.state_len) {
                return Err(wrong("the zstd frame and the header differ in length".into()));
            }
            let plain = inflate(payload, len).map_err(|e| wrong(format!("zstd: {e}")))?;
            read(&plain)
        }
    }
}

/// Decodes a `MessagePack` value; length and checksum have vouched for every byte.
pub(super) fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|e| e.to_string())
}

/// Makes a state of the present type from its encoding under some schema version.
pub(super) fn decode<S: DeserializeOwned>(
    encoded: &[u8],
    found: u32,
    schema: &Schema,
) -> Result<S, Fault> {
    let wrong = |text: String| {
        let message = format!("the state does not decode as its type: {text}");
        Fault::Reader(ErrorKind::DeserializationFailed, message)
    };
    if schema.is_older(found)? {
        let value: Value = whole(encoded).map_err(wrong)?;
        migrated(value, found, schema)
    } else {
        whole(encoded).map_err(wrong)
    }
}

/// Takes a value of an older schema version to a state of the present type.
pub(super) fn migrated<S: DeserializeOwned>(
    value: Value,
    found: u32,
    schema: &Schema,
) -> Result<S, Fault> {
    let value = schema.migrated(value, found)?;
    let version = schema.version();
    let failed = |text: String| {
        let kind = ErrorKind::MigrationFailed { from: version.saturating_sub(1), to: version };
        Fault::Reader(kind, format!("what the migrations made is no state of the type: {text}"))
    };
    let bytes = rmp_serde::to_vec_named(&value).map_err(|e| failed(e.to_string()))?;
    whole(&bytes).map_err(failed)
}
