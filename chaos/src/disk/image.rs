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
        let mut sha = Sha256::new();
        let mut part = |bytes: &[u8]| {
            sha.update(bytes.len().to_be_bytes());
            sha.update(bytes);
        };
        for dir in &self.dirs {
            part(dir.as_os_str().as_encoded_bytes());
        }
        part(b"");
        for (path, bytes) in &self.files {
            part(path.as_os_str().as_encoded_bytes());
            part(bytes);
        }
        sha.finalize().into()
    }
}
