//! Reading one file, every check included.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::catalog::{File, Head, Kind, Seat};
use super::counters;
use super::damage::{Fault, Reason};
use super::error::{CheckpointError, ErrorKind};
use super::format::{self, FIXED, Header, Known, MAX_FIELDS, Parsed};
use super::model::Checkpoint;
use super::name::FileName;
use super::store::Store;
use super::{payload, v1};
use crate::fs::Fs;

/// A header and a state's usual length fit: most headers cost one read.
const FIRST_READ: usize = 512;

/// A buffer that is longer than this is not kept for the next file.
const KEPT: usize = 1 << 20;

thread_local! {
    /// For the bytes of a file while it is decoded. Taken out meanwhile: a state's own code may
    /// read another checkpoint.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn with_buffer<T>(read: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = BUFFER.take();
    let value = read(&mut buffer);
    if buffer.capacity() <= KEPT {
        BUFFER.set(buffer);
    }
    value
}

/// Why a file gave no checkpoint.
#[derive(Debug)]
pub(super) enum Trouble {
    Fault(Fault),
    System(io::Error),
}

impl Trouble {
    fn of_io(error: io::Error) -> Self {
        match error.kind() {
            // somebody else's hand: as lost as a damaged one
            io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => {
                Self::Fault(Fault::damage(Reason::Missing, format!("the file is gone: {error}")))
            }
            _ => Self::System(error),
        }
    }

    /// Whether an older checkpoint of the thread may be given instead.
    pub(super) fn is_passed_over(&self, file: &File) -> bool {
        match self {
            Self::Fault(Fault::Damage(..)) => true,
            // the place in the order of such a file is not known
            Self::Fault(Fault::Newer(_)) => matches!(file.kind, Kind::Old(_)),
            Self::Fault(Fault::Reader(..)) | Self::System(_) => false,
        }
    }

    /// With everything that is known of the file.
    pub(super) fn error(self, file: &File, path: &Path) -> CheckpointError {
        let error = match self {
            Self::Fault(fault) => fault.into_error().at(path),
            Self::System(error) => CheckpointError::io("read", path, error),
        };
        match file.known() {
            Some(Known { header, .. }) => error.thread(&header.info.thread_id).id(&header.info.id),
            None => error,
        }
    }
}

/// Reads a file's header alone.
pub(super) fn read_head(fs: &dyn Fs, path: &Path, name: &FileName) -> Result<Known, Trouble> {
    let mut bytes = fs.read_at(path, 0, FIRST_READ).map_err(Trouble::of_io)?;
    if let Some(len) = format::header_len(&bytes)
        && len > bytes.len()
        && bytes.len() == FIRST_READ
    {
        bytes = fs.read_at(path, 0, len).map_err(Trouble::of_io)?;
    }
    let parsed = named(format::parse(&bytes), name).map_err(Trouble::Fault)?;
    bytes.truncate(parsed.len);
    Ok(Known { header: parsed.header, bytes: bytes.into() })
}

/// Most bytes of a file whose state takes at most `max_state`.
pub(super) fn file_limit(max_state: u64) -> u64 {
    // what zstd cannot squeeze grows by less than one part in 128
    max_state.saturating_add(max_state / 128).saturating_add((FIXED + MAX_FIELDS + 1024) as u64)
}

/// What a file is that is longer than any state that may be read: a long state, or one that
/// something was put behind, which its header tells and no option mends.
pub(super) fn oversize(fs: &dyn Fs, path: &Path, known: &Known, text: String) -> Trouble {
    let len = (known.bytes.len() as u64).saturating_add(known.header.payload_len);
    match fs.read_at(path, len, 1).map_err(Trouble::of_io) {
        Ok(behind) if behind.is_empty() => Trouble::Fault(Fault::Reader(ErrorKind::Oversize, text)),
        Ok(_) => {
            let message = format!("bytes follow the {len} that the header tells of");
            Trouble::Fault(Fault::damage(Reason::Trailing, message))
        }
        Err(trouble) => trouble,
    }
}

/// A header under the name that it makes.
pub(super) fn named(parsed: Result<Parsed, Fault>, name: &FileName) -> Result<Parsed, Fault> {
    let parsed = parsed?;
    if parsed.name != *name {
        let message = format!("the header belongs to a file named {}", parsed.name.text());
        return Err(Fault::damage(Reason::Name, message));
    }
    Ok(parsed)
}

impl<S: Serialize + DeserializeOwned> Store<S> {
    fn file_limit(&self) -> u64 {
        file_limit(self.options.max_state)
    }

    /// A whole file, in the buffer.
    fn bytes<'b>(
        &self,
        path: &Path,
        expected: Option<usize>,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], Trouble> {
        let read = self.fs.read_into(path, self.file_limit(), expected, buffer);
        let len = read.map_err(|error| {
            if error.kind() == io::ErrorKind::FileTooLarge {
                let message = "the file is longer than the largest state allows: raise \
                               Options::max_state";
                return Trouble::Fault(Fault::Reader(ErrorKind::Oversize, message.into()));
            }
            Trouble::of_io(error)
        })?;
        Ok(buffer.get(..len).unwrap_or_default())
    }

    /// What a file's header says now.
    pub(super) fn head(&self, file: &File) -> Head {
        let path = self.path(file);
        let head = match &file.kind {
            Kind::New(name) => read_head(self.fs.as_ref(), &path, name),
            Kind::Old(old) => with_buffer(|buffer| {
                let bytes = self.bytes(&path, None, buffer)?;
                let limit = self.options.max_state;
                let header = v1::head::<S>(old, bytes, limit).map_err(Trouble::Fault)?;
                Ok(Known { header, bytes: Box::default() })
            }),
        };
        match head {
            Ok(known) => Head::Known(Arc::new(known)),
            Err(Trouble::Fault(fault)) => Head::Bad(fault),
            Err(Trouble::System(_)) => Head::Unread,
        }
    }

    /// Reads, checks and decodes a file; damage is counted once per file.
    pub(super) fn read(&self, seat: Seat, file: &File) -> Result<Checkpoint<S>, Trouble> {
        let result = self.decode(file);
        if let Err(Trouble::Fault(Fault::Damage(reason, message))) = &result {
            self.tell(seat, file, *reason, message);
        }
        // the index knew a header that has rotted since
        if let Err(Trouble::Fault(fault)) = &result
            && fault.is_of_header()
        {
            self.catalog().learn(seat, Head::Bad(fault.clone()));
        }
        result
    }

    /// As [`Self::read`], counting nothing.
    pub(super) fn decode(&self, file: &File) -> Result<Checkpoint<S>, Trouble> {
        // found at the open to be no file at all
        if let Head::Bad(fault @ Fault::Damage(Reason::Missing, _)) = &file.head {
            return Err(Trouble::Fault(fault.clone()));
        }
        with_buffer(|buffer| {
            let known = file.known().filter(|known| !known.bytes.is_empty());
            let expected = known.and_then(|known| {
                let payload = usize::try_from(known.header.payload_len).ok()?;
                known.bytes.len().checked_add(payload).filter(|len| *len <= KEPT)
            });
            let path = self.path(file);
            let bytes = self.bytes(&path, expected, buffer).map_err(|trouble| {
                match (&file.kind, trouble) {
                    (Kind::New(name), Trouble::Fault(Fault::Reader(ErrorKind::Oversize, text))) => {
                        match read_head(self.fs.as_ref(), &path, name) {
                            Ok(known) => oversize(self.fs.as_ref(), &path, &known, text),
                            Err(trouble) => trouble,
                        }
                    }
                    (_, trouble) => trouble,
                }
            })?;
            self.decode_bytes(file, bytes).map_err(Trouble::Fault)
        })
    }

    fn decode_bytes(&self, file: &File, bytes: &[u8]) -> Result<Checkpoint<S>, Fault> {
        let (schema, limit) = (&self.options.schema, self.options.max_state);
        match &file.kind {
            Kind::New(name) => {
                let body = |header: &Header, stored: &[u8]| {
                    payload::check(header, stored)?;
                    let state = payload::with_state(header, stored, limit, |encoded| {
                        payload::decode(encoded, header.info.schema, schema)
                    })?;
                    Ok(Checkpoint { state, info: header.info.clone() })
                };
                // the very bytes of a header that was checked need no second check
                match file.known().and_then(|k| Some((k, bytes.strip_prefix(&*k.bytes)?))) {
                    Some((known, stored)) => body(&known.header, stored),
                    None => named(format::parse(bytes), name).and_then(|parsed| {
                        body(&parsed.header, bytes.get(parsed.len..).unwrap_or_default())
                    }),
                }
            }
            Kind::Old(old) => v1::read(old, bytes, limit, schema),
        }
    }

    /// Counts a file's damage and warns of it, the first time.
    pub(super) fn tell(&self, seat: Seat, file: &File, reason: Reason, message: &str) {
        if self.catalog().tell(seat) {
            self.count(counters::CORRUPT, reason.as_str());
            let path = self.path(file);
            tracing::warn!(path = %path.display(), reason = reason.as_str(), message, "damaged");
        }
    }
}
