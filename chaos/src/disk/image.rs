//! What a disk holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// Files and directories at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Directories.
    pub dirs: BTreeSet<PathBuf>,
    /// Files by path.
    pub files: BTreeMap<PathBuf, Arc<[u8]>>,
}

impl Image {
    /// A file's bytes.
    #[must_use]
    pub fn file(&self, path: impl AsRef<Path>) -> Option<&[u8]> {
        self.files.get(path.as_ref()).map(|bytes| &**bytes)
    }

    /// Equal images have equal digests, and no others.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let files: Vec<(&Path, [u8; 32])> =
            self.files.iter().map(|(path, bytes)| (path.as_path(), sha(bytes))).collect();
        digest(&self.dirs, files.iter().map(|(path, content)| (*path, content)))
    }
}

/// What a file holds while the machine runs; copied only when it is written to.
#[derive(Debug)]
pub(super) enum Bytes {
    /// As in an image.
    Shared(Arc<[u8]>),
    /// Written since.
    Own(Vec<u8>),
}

impl Default for Bytes {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl Bytes {
    pub(super) fn all(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }

    pub(super) fn append(&mut self, more: &[u8]) {
        match self {
            Self::Shared(bytes) => *self = Self::Own([&**bytes, more].concat()),
            Self::Own(bytes) => bytes.extend_from_slice(more),
        }
    }

    /// For an image.
    pub(super) fn share(&mut self) -> Arc<[u8]> {
        let shared = match self {
            Self::Shared(bytes) => bytes.clone(),
            Self::Own(bytes) => std::mem::take(bytes).into(),
        };
        *self = Self::Shared(Arc::clone(&shared));
        shared
    }
}

/// Of an image whose files' contents have these digests.
pub(super) fn digest<'f>(
    dirs: &BTreeSet<PathBuf>,
    files: impl Iterator<Item = (&'f Path, &'f [u8; 32])>,
) -> [u8; 32] {
    let mut sha = Sha256::new();
    let mut part = |bytes: &[u8]| {
        sha.update(bytes.len().to_be_bytes());
        sha.update(bytes);
    };
    for dir in dirs {
        part(dir.as_os_str().as_encoded_bytes());
    }
    part(b"");
    for (path, content) in files {
        part(path.as_os_str().as_encoded_bytes());
        part(content);
    }
    sha.finalize().into()
}

pub(super) fn sha(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
