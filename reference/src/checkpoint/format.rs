//! Format version 2: the bytes of a checkpoint file. The manual has the table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::damage::{Fault, Reason};
use super::error::{CheckpointError, ErrorKind};
use super::model::{Info, Timestamp};
use super::name::{Digest, FileName};

/// The format version that is written; versions up to it are read.
pub const VERSION: u32 = 2;
pub(super) const MAGIC: [u8; 4] = *b"DCHK";
/// Bytes before the header's fields.
pub(super) const FIXED: usize = 56;
/// Most bytes of the header's fields.
pub(super) const MAX_FIELDS: usize = 1 << 20;

/// How the payload is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Plain,
    Zstd,
}

/// A header, with everything that names, orders and checks a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) info: Info,
    pub(super) stored: Stored,
    /// Bytes of the encoded state before compression.
    pub(super) state_len: u64,
    pub(super) payload_len: u64,
    pub(super) payload_crc: u32,
}

/// A header that is known to be that of its file.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) header: Header,
    /// The bytes that the file starts with; none for version 1.
    pub(super) bytes: Box<[u8]>,
}

/// The header's fields as `MessagePack` has them: a map, so that a later version can add some.
#[derive(Serialize)]
struct FieldsOut<'a> {
    id: &'a str,
    thread_id: &'a str,
    node: &'a str,
    secs: i64,
    nanos: u32,
    parent_id: Option<&'a str>,
    metadata: &'a BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct FieldsIn {
    id: String,
    thread_id: String,
    node: String,
    secs: i64,
    nanos: u32,
    parent_id: Option<String>,
    metadata: BTreeMap<String, String>,
}

/// A header as bytes, and the name that its file must have.
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) name: FileName,
}

impl Header {
    /// Fails with `InvalidId` when the fields are over their limit.
    pub(super) fn encode(&self) -> Result<Encoded, CheckpointError> {
        let info = &self.info;
        let fields = rmp_serde::to_vec_named(&FieldsOut {
            id: &info.id,
            thread_id: &info.thread_id,
            node: &info.node,
            secs: info.timestamp.secs,
            nanos: info.timestamp.nanos,
            parent_id: info.parent_id.as_deref(),
            metadata: &info.metadata,
        })
        .map_err(|e| CheckpointError::new(ErrorKind::SerializationFailed, e.to_string()))?;
        let fields_len = u32::try_from(fields.len()).ok().filter(|n| *n as usize <= MAX_FIELDS);
        let Some(fields_len) = fields_len else {
            let message = format!(
                "ids, node, parent and metadata take {} bytes, at most {MAX_FIELDS}: shorten them",
                fields.len()
            );
            return Err(CheckpointError::new(ErrorKind::InvalidId, message));
        };
        let mut bytes = Vec::with_capacity(FIXED + fields.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(fields_len.to_le_bytes());
        bytes.extend(info.generation.to_le_bytes());
        bytes.extend(self.payload_len.to_le_bytes());
        bytes.extend(self.state_len.to_le_bytes());
        bytes.extend(self.payload_crc.to_le_bytes());
        bytes.extend(info.schema.to_le_bytes());
        bytes.push(match self.stored {
            Stored::Plain => 0,
            Stored::Zstd => 1,
        });
        bytes.extend([0; 7]);
        bytes.extend(fields);
        let crc = header_crc(&bytes, VERSION);
        if let Some(at) = bytes.get_mut(8..12) {
            at.copy_from_slice(&crc.to_le_bytes());
        }
        Ok(Encoded { bytes, name: self.name(crc) })
    }

    fn name(&self, header_crc: u32) -> FileName {
        FileName {
            generation: self.info.generation,
            thread: Digest::thread(&self.info.thread_id),
            id: Digest::id(&self.info.id),
            header_crc,
        }
    }
}

/// The CRC32 of a whole header under a version, the CRC's own four bytes left out.
fn header_crc(bytes: &[u8], version: u32) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&version.to_le_bytes());
    crc.update(bytes.get(12..).unwrap_or_default());
    crc.finalize()
}

/// Reads fixed-width numbers at known places.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    pub(super) fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
}

/// What a header turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) header: Header,
    /// Bytes of the whole header.
    pub(super) len: usize,
    /// The name that its file must have.
    pub(super) name: FileName,
}

/// How many bytes the header has that starts with these, if they are a header's at all.
pub(super) fn header_len(bytes: &[u8]) -> Option<usize> {
    let fields = usize::try_from(Bytes(bytes).u32(12)?).ok().filter(|n| *n <= MAX_FIELDS)?;
    Some(FIXED + fields)
}

/// Reads the header at the start of `bytes`; what follows it is not looked at.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Fault> {
    let short = || Fault::damage(Reason::Short, "the file is shorter than its header");
    let read = Bytes(bytes);
    if bytes.get(..4).ok_or_else(short)? != MAGIC {
        return Err(Fault::damage(Reason::Magic, "the file does not start as a checkpoint"));
    }
    let version = read.u32(4).ok_or_else(short)?;
    let stored_crc = read.u32(8).ok_or_else(short)?;
    let whole = header_len(bytes).and_then(|len| bytes.get(..len));
    let intact = whole.is_some_and(|w| header_crc(w, VERSION) == stored_crc);
    match version {
        VERSION if intact => {}
        // a flipped bit in the version, not a newer writer: the rest is version 2 to the last bit
        _ if intact => {
            let message = format!("the version field is damaged: it says {version}");
            return Err(Fault::damage(Reason::Version, message));
        }
        VERSION => {
            bytes.get(..FIXED).ok_or_else(short)?;
            let message = "the header's checksum does not match";
            return match header_len(bytes) {
                Some(len) if len > bytes.len() => Err(short()),
                _ => Err(Fault::damage(Reason::HeaderCrc, message)),
            };
        }
        0 | 1 => {
            let message = format!("format version {version} under a name of version {VERSION}");
            return Err(Fault::damage(Reason::Version, message));
        }
        newer => return Err(Fault::Newer(newer)),
    }
    let bytes = whole.ok_or_else(short)?;
    fields(bytes).ok_or_else(|| {
        Fault::damage(Reason::HeaderFields, "the header's checksum is right, its fields are not")
    })
}

/// The fields of a header whose checksum is right.
fn fields(bytes: &[u8]) -> Option<Parsed> {
    let read = Bytes(bytes);
    let fields: FieldsIn = rmp_serde::from_slice(bytes.get(FIXED..)?).ok()?;
    let timestamp = Timestamp { secs: fields.secs, nanos: fields.nanos };
    if timestamp.nanos >= 1_000_000_000 || bytes.get(49..FIXED)? != [0; 7] {
        return None;
    }
    let header = Header {
        info: Info {
            id: fields.id,
            thread_id: fields.thread_id,
            node: fields.node,
            timestamp,
            parent_id: fields.parent_id,
            metadata: fields.metadata,
            generation: read.u64(16)?,
            schema: read.u32(44)?,
        },
        stored: match bytes.get(48)? {
            0 => Stored::Plain,
            1 => Stored::Zstd,
            _ => return None,
        },
        payload_len: read.u64(24)?,
        state_len: read.u64(32)?,
        payload_crc: read.u32(40)?,
    };
    let name = header.name(read.u32(8)?);
    Some(Parsed { header, len: bytes.len(), name })
}
