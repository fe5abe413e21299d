//! The durable epoch: a counter that is in a file's name, where no flipped bit reaches it.

use std::path::Path;

use crate::fs::{Fs, FsError};

const PREFIX: &str = "epoch-";

/// Highest epoch whose sequences still fit 64 bits.
pub(super) const LAST: u32 = (1 << 24) - 1;

pub(super) fn name(epoch: u32) -> String {
    format!("{PREFIX}{epoch:08}")
}

/// The epoch that this file stands for.
pub(super) fn parse(file: &str) -> Option<u32> {
    let epoch = file.strip_prefix(PREFIX)?.parse().ok()?;
    (name(epoch) == file).then_some(epoch)
}

/// Makes an epoch durable, then forgets the older ones.
pub(super) fn begin(
    fs: &dyn Fs,
    dir: &Path,
    epoch: u32,
    older: impl IntoIterator<Item = u32>,
) -> Result<(), FsError> {
    let path = dir.join(name(epoch));
    let mut file = fs.create_new(&path).map_err(|e| FsError::new("create", &path, e))?;
    file.sync().map_err(|e| FsError::new("sync", &path, e))?;
    fs.sync_dir(dir).map_err(|e| FsError::new("sync_dir", dir, e))?;
    for old in older {
        let old = dir.join(name(old));
        if let Err(error) = fs.remove(&old) {
            // the highest counts: one that stays is harmless
            tracing::debug!(path = %old.display(), %error, "an old epoch stays");
        }
    }
    Ok(())
}
