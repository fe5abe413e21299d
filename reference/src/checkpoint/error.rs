//! What can go wrong with a checkpoint: one type, kinds told apart exactly, always with the place.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::fs::LockError;

/// What kind of failure it was. [`Self::as_str`] is stable: it labels metrics and JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The medium, a quota or a size limit of the file system is full.
    StorageFull,
    /// The system forbids it, or the file system is read-only.
    PermissionDenied,
    /// The bytes are not what was saved.
    IntegrityCheckFailed,
    /// The index is damaged. No operation fails with it: the index is repaired, `verify` tells.
    IndexCorrupted,
    /// The state could not be encoded, or what was encoded could not be decoded.
    SerializationFailed,
    /// The bytes are those that were saved, but they do not make a state of this type.
    DeserializationFailed,
    /// No checkpoint has this id.
    NotFound,
    /// Written by a newer format, or with a newer schema, than this reader knows.
    SchemaMismatch {
        /// What the file says.
        found: u32,
        /// The newest that is supported.
        supported: u32,
    },
    /// A step of the chain of migrations is missing or failed.
    MigrationFailed {
        /// The version that the step starts from.
        from: u32,
        /// The version that it leads to.
        to: u32,
    },
    /// Any other answer of the system.
    Io,
    /// The call took longer than its bound; it may still take effect.
    Timeout,
    /// Another store has the directory.
    Locked {
        /// What the holder says about itself.
        holder: String,
    },
    /// A checkpoint with this id is there already; nothing was replaced.
    AlreadyExists,
    /// An id or another header field is too long.
    InvalidId,
    /// The state is larger than the configured limit.
    Oversize,
}

impl ErrorKind {
    /// The stable names, in declaration order.
    pub const NAMES: [&str; 15] = [
        "storage_full",
        "permission_denied",
        "integrity_check_failed",
        "index_corrupted",
        "serialization_failed",
        "deserialization_failed",
        "not_found",
        "schema_mismatch",
        "migration_failed",
        "io",
        "timeout",
        "locked",
        "already_exists",
        "invalid_id",
        "oversize",
    ];

    /// The stable name, in `snake_case`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::StorageFull => "storage_full",
            Self::PermissionDenied => "permission_denied",
            Self::IntegrityCheckFailed => "integrity_check_failed",
            Self::IndexCorrupted => "index_corrupted",
            Self::SerializationFailed => "serialization_failed",
            Self::DeserializationFailed => "deserialization_failed",
            Self::NotFound => "not_found",
            Self::SchemaMismatch { .. } => "schema_mismatch",
            Self::MigrationFailed { .. } => "migration_failed",
            Self::Io => "io",
            Self::Timeout => "timeout",
            Self::Locked { .. } => "locked",
            Self::AlreadyExists => "already_exists",
            Self::InvalidId => "invalid_id",
            Self::Oversize => "oversize",
        }
    }

    /// The kind of a system error.
    #[must_use]
    pub fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge => Self::StorageFull,
            K::PermissionDenied | K::ReadOnlyFilesystem => Self::PermissionDenied,
            K::TimedOut => Self::Timeout,
            _ => Self::Io,
        }
    }
}

/// A failed operation on a store: what kind, which file, thread and id, and what to do.
#[derive(Debug)]
pub struct CheckpointError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    thread: Option<String>,
    id: Option<String>,
    source: Option<io::Error>,
}

impl CheckpointError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner { kind, message, path: None, thread: None, id: None, source: None }))
    }

    pub(crate) fn io(op: &str, path: &Path, source: io::Error) -> Self {
        let kind = ErrorKind::of_io(&source);
        let mut error = Self::new(kind, format!("{op} failed")).at(path);
        error.0.source = Some(source);
        error
    }

    pub(crate) fn lock(path: &Path, error: LockError) -> Self {
        match error {
            LockError::Held { holder } => {
                let message = format!(
                    "the directory is in use by {holder}; close that store, or use another \
                     directory"
                );
                Self::new(ErrorKind::Locked { holder }, message).at(path)
            }
            LockError::Io(source) => Self::io("lock", path, source),
        }
    }

    pub(crate) fn at(mut self, path: &Path) -> Self {
        self.0.path = Some(path.to_owned());
        self
    }

    pub(crate) fn thread(mut self, thread: &str) -> Self {
        self.0.thread = Some(thread.to_owned());
        self
    }

    pub(crate) fn id(mut self, id: &str) -> Self {
        self.0.id = Some(id.to_owned());
        self
    }

    /// What kind of failure.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The file or directory, when one was involved.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The thread, when it is known.
    #[must_use]
    pub fn thread_id(&self) -> Option<&str> {
        self.0.thread.as_deref()
    }

    /// The checkpoint's id, when it is known.
    #[must_use]
    pub fn checkpoint_id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }

    /// The system's answer, when it was one.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        self.0.source.as_ref()
    }
}

/// Ids are hostile until proven otherwise: they are shown escaped and cut.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(64).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(f, "{}: {}", inner.kind.as_str(), inner.message)?;
        if let Some(source) = &inner.source {
            write!(f, ": {source}")?;
        }
        let mut open = " (";
        if let Some(thread) = &inner.thread {
            write!(f, "{open}thread {}", shown(thread))?;
            open = ", ";
        }
        if let Some(id) = &inner.id {
            write!(f, "{open}id {}", shown(id))?;
            open = ", ";
        }
        if let Some(path) = &inner.path {
            write!(f, "{open}{}", path.display())?;
            open = ", ";
        }
        if open == ", " { f.write_str(")") } else { Ok(()) }
    }
}

impl std::error::Error for CheckpointError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|e| e as _)
    }
}
