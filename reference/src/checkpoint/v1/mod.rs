//! Version 1: what the original's four file checkpointers left, read and never written.
//!
//! The checks that version 1 has are made, and those that it could have had: the id inside is the
//! file's name, nothing follows the payload, a timestamp is one.

mod bincode;

use std::collections::BTreeMap;
use std::io::Read as _;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::damage::{Fault, Reason};
use super::error::ErrorKind;
use super::format::{Bytes, Header, MAGIC, Stored};
use super::model::{Checkpoint, Info, Timestamp};
use super::payload;
use super::schema::Schema;
use super::value::Value;

/// What a file of version 1 is by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OldKind {
    pub(super) gzip: bool,
    /// A wrapper with a schema version and the state as JSON.
    pub(super) versioned: bool,
}

/// A file of version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OldFile {
    pub(super) name: String,
    pub(super) kind: OldKind,
    pub(super) id: String,
}

impl OldFile {
    /// `None` when version 1 gives no checkpoint such a name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if name.starts_with('.') || name == "index.bin" {
            return None;
        }
        let gunzipped = name.strip_suffix(".gz");
        let stem = gunzipped.unwrap_or(name).strip_suffix(".bin")?;
        let unversioned = stem.strip_suffix(".v");
        let kind = OldKind { gzip: gunzipped.is_some(), versioned: unversioned.is_some() };
        let id = unversioned.unwrap_or(stem).to_owned();
        (!id.is_empty()).then(|| Self { name: name.to_owned(), kind, id })
    }

    /// The thread that a generated id starts with: `<thread>_<16 hex>_chkpt<n>`.
    pub(super) fn likely_thread(&self) -> Option<&str> {
        let (rest, count) = self.id.rsplit_once("_chkpt")?;
        let (thread, process) = rest.rsplit_once('_')?;
        let generated = !count.is_empty()
            && count.bytes().all(|b| b.is_ascii_digit())
            && process.len() == 16
            && process.bytes().all(|b| b.is_ascii_hexdigit());
        generated.then_some(thread)
    }
}

#[derive(Deserialize)]
struct OldTime {
    secs: u64,
    nanos: u32,
}

#[derive(Deserialize)]
struct Plain<S> {
    id: String,
    thread_id: String,
    state: S,
    node: String,
    timestamp: OldTime,
    parent_id: Option<String>,
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
    data: String,
    id: String,
    thread_id: String,
    node: String,
    timestamp: OldTime,
    parent_id: Option<String>,
    metadata: BTreeMap<String, String>,
}

/// Whether a thread cannot be the one that a generated id starts with. There, other letters than
/// those of file names became `_`; where lengths differ nothing is known.
fn contradicts(likely: &str, thread: &str) -> bool {
    likely.chars().count() == thread.chars().count()
        && likely.chars().zip(thread.chars()).any(|(a, b)| a != b && a != '_')
}

impl<S> Plain<S> {
    fn split(self, old: &OldFile, schema: u32) -> Result<(Info, S), Fault> {
        let Self { id, thread_id, state, node, timestamp, parent_id, metadata } = self;
        if id != old.id {
            let message = format!("the file is named for another id than the {id:?} inside");
            return Err(Fault::damage(Reason::Name, message));
        }
        if old.likely_thread().is_some_and(|likely| contradicts(likely, &thread_id)) {
            let message = format!("the id is for another thread than the {thread_id:?} inside");
            return Err(Fault::damage(Reason::Name, message));
        }
        let secs = i64::try_from(timestamp.secs).ok().filter(|_| timestamp.nanos < 1_000_000_000);
        let Some(secs) = secs else {
            return Err(Fault::damage(Reason::Payload, "the timestamp is none"));
        };
        let timestamp = Timestamp { secs, nanos: timestamp.nanos };
        let info =
            Info { id, thread_id, node, timestamp, parent_id, metadata, generation: 0, schema };
        Ok((info, state))
    }
}

impl Versioned {
    fn split(self, old: &OldFile) -> Result<(Info, String), Fault> {
        let Self { version, data: state, id, thread_id, node, timestamp, parent_id, metadata } =
            self;
        Plain { id, thread_id, state, node, timestamp, parent_id, metadata }.split(old, version)
    }
}

/// What a file says about itself but for its state. Only a wrapper can be read without the state's
/// type.
pub(super) fn head<S: DeserializeOwned>(
    old: &OldFile,
    bytes: &[u8],
    limit: u64,
) -> Result<Header, Fault> {
    let payload = payload(old, bytes, limit)?;
    let info = if old.kind.versioned {
        decoded::<Versioned>(&payload)?.split(old)?.0
    } else {
        // version 1 has no schema here: such a state is of the present one or does not decode
        decoded::<Plain<S>>(&payload)?.split(old, 0)?.0
    };
    Ok(Header { info, stored: Stored::Plain, state_len: 0, payload_len: 0, payload_crc: 0 })
}

/// A whole file.
pub(super) fn read<S: DeserializeOwned>(
    old: &OldFile,
    bytes: &[u8],
    limit: u64,
    schema: &Schema,
) -> Result<Checkpoint<S>, Fault> {
    let payload = payload(old, bytes, limit)?;
    if !old.kind.versioned {
        let (info, state) = decoded::<Plain<S>>(&payload)?.split(old, 0)?;
        return Ok(Checkpoint { state, info });
    }
    let (info, json) = decoded::<Versioned>(&payload)?.split(old)?;
    // nothing vouches for the text, so that one which is no state is damage
    let wrong = |e: serde_json::Error| {
        Fault::damage(Reason::Payload, format!("the state's JSON does not decode: {e}"))
    };
    let state = if schema.is_older(info.schema)? {
        let value: Value = serde_json::from_str(&json).map_err(wrong)?;
        payload::migrated(value, info.schema, schema)?
    } else {
        serde_json::from_str(&json).map_err(wrong)?
    };
    Ok(Checkpoint { state, info })
}

/// What a file says as far as it shows without the state's type: everything for a wrapper, else the
/// ids.
pub(super) fn untyped(old: &OldFile, bytes: &[u8], limit: u64) -> Result<Info, Fault> {
    let payload = payload(old, bytes, limit)?;
    if old.kind.versioned {
        return Ok(decoded::<Versioned>(&payload)?.split(old)?.0);
    }
    let ((id, thread_id), _) = bincode::from_prefix::<(String, String)>(&payload)
        .map_err(|e| Fault::damage(Reason::Payload, e.to_string()))?;
    let (timestamp, metadata) = (OldTime { secs: 0, nanos: 0 }, BTreeMap::new());
    let (node, parent_id) = (String::new(), None);
    let plain = Plain { id, thread_id, state: (), node, timestamp, parent_id, metadata };
    Ok(plain.split(old, 0)?.0)
}

fn decoded<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Fault> {
    bincode::from_all(payload).map_err(|e| Fault::damage(Reason::Payload, e.to_string()))
}

/// The payload of a file, inflated and checked as far as the variant allows.
fn payload<'a>(
    old: &OldFile,
    bytes: &'a [u8],
    limit: u64,
) -> Result<std::borrow::Cow<'a, [u8]>, Fault> {
    if old.kind.gzip {
        return gunzip(bytes, limit).map(Into::into);
    }
    if !old.kind.versioned && bytes.starts_with(&MAGIC) {
        return headed(bytes).map(Into::into);
    }
    Ok(bytes.into())
}

/// The payload behind the 20-byte header.
fn headed(bytes: &[u8]) -> Result<&[u8], Fault> {
    let read = Bytes(bytes);
    let short = || Fault::damage(Reason::Short, "the file is shorter than its header");
    match read.u32(4).ok_or_else(short)? {
        1 => {}
        0 => return Err(Fault::damage(Reason::Version, "format version 0 never was")),
        newer => return Err(Fault::Newer(newer)),
    }
    let (crc, len) = (read.u32(8).ok_or_else(short)?, read.u64(12).ok_or_else(short)?);
    let payload = bytes.get(20..).ok_or_else(short)?;
    let found = payload.len() as u64;
    if found != len {
        let reason = if found < len { Reason::Short } else { Reason::Trailing };
        let message = format!("the payload has {found} bytes, not {len}");
        return Err(Fault::damage(reason, message));
    }
    if crc32fast::hash(payload) != crc {
        return Err(Fault::damage(Reason::PayloadCrc, "the payload's checksum does not match"));
    }
    Ok(payload)
}

/// Inflates one gzip member that is all of `bytes`.
fn gunzip(bytes: &[u8], limit: u64) -> Result<Vec<u8>, Fault> {
    let wrong = |text: String| Fault::damage(Reason::Compression, text);
    let mut decoder = flate2::bufread::GzDecoder::new(bytes);
    let mut out = Vec::new();
    decoder
        .by_ref()
        .take(limit.saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|e| wrong(format!("gzip: {e}")))?;
    if out.len() as u64 > limit {
        let message = format!("inflates to more than {limit} bytes: raise Options::max_state");
        return Err(Fault::Reader(ErrorKind::Oversize, message));
    }
    let rest = decoder.into_inner();
    if !rest.is_empty() {
        let message = format!("{} bytes follow the gzip member", rest.len());
        return Err(Fault::damage(Reason::Trailing, message));
    }
    Ok(out)
}
