//! Opening: lock, list, headers from the index or from the files, sweep, repair.

use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::catalog::{Catalog, File, Head, Kind, Seat};
use super::counters;
use super::damage::{Fault, Reason};
use super::error::CheckpointError;
use super::index::{self, Entries, IndexDamage};
use super::name::{self, Digest, FileName};
use super::options::Options;
use super::store::{Lock, Store};
use super::v1::OldFile;
use super::write::Writer;
use crate::fs::{DirEntry, Fs};

impl<S: Serialize + DeserializeOwned> Store<S> {
    /// Opens a directory, made if missing, and takes it for itself.
    ///
    /// One damaged or unreadable file keeps nothing else from being opened; the index may be in any
    /// state.
    ///
    /// # Errors
    /// `Locked` with the holder when another store has it; what the system answers to locking,
    /// syncing and listing. A directory that may not be synced opens all the same.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: impl AsRef<Path>,
        options: Options,
    ) -> Result<Self, CheckpointError> {
        let dir = dir.as_ref().to_owned();
        fs.create_dir(&dir).map_err(|e| CheckpointError::io("create", &dir, e))?;
        let lock_path = dir.join(name::LOCK);
        let lock = fs
            .lock(&lock_path, &options.holder)
            .map_err(|e| CheckpointError::lock(&lock_path, e))?;
        let unsynced = !synced(fs.as_ref(), &dir)?;
        let listing = fs.list(&dir).map_err(|e| CheckpointError::io("list", &dir, e))?;
        let (files, others): (Vec<_>, Vec<_>) = listing.into_iter().partition(|e| e.is_file);
        let names = |entries: Vec<DirEntry>| -> Vec<String> {
            entries.into_iter().map(|e| e.name).collect()
        };
        let (names, others) = (names(files), names(others));
        let mut store = Self {
            fs,
            dir,
            options,
            identity: [0; 16],
            catalog: Mutex::default(),
            writer: Mutex::default(),
            buffer: Mutex::default(),
            lock: Lock(lock),
            state: PhantomData,
        };
        store.identity = store.identify();
        store.sweep(&names);
        let damage = store.fill(&names, &others);
        {
            let mut writer = store.writer();
            *writer = Writer::new(store.catalog().next_generation(), unsynced);
            if !damage.is_empty() {
                store.write_index(&mut writer);
            }
        }
        Ok(store)
    }

    /// The directory's random name; a new one where there is none to be read. It only tells indexes
    /// apart, so that nothing depends on its being durable.
    fn identify(&self) -> [u8; 16] {
        let path = self.dir.join(name::IDENTITY);
        if let Ok(bytes) = self.fs.read(&path, name::IDENTITY_LIMIT)
            && let Some(identity) = name::identity(&bytes)
        {
            return identity;
        }
        let mut identity = [0; 16];
        // without entropy all such directories share a name: an index is checked all the same
        if self.options.entropy.fill(&mut identity).is_ok() {
            let crc = crc32fast::hash(&identity).to_le_bytes();
            let written = self.write_cache(name::IDENTITY, &[identity.as_slice(), &crc].concat());
            if let Err(error) = written {
                tracing::debug!(%error, "the directory's identity could not be written");
            }
        }
        identity
    }

    /// Removes what interrupted saves left.
    fn sweep(&self, names: &[String]) {
        for temp in names.iter().filter(|n| name::is_temporary(n)) {
            match self.fs.remove(&self.dir.join(temp)) {
                Ok(()) => self.count(counters::SWEPT, ""),
                Err(error) => tracing::warn!(%error, temp, "a temporary file stays"),
            }
        }
    }

    /// Fills the catalog; gives what was wrong with the index.
    fn fill(&self, names: &[String], others: &[String]) -> Vec<IndexDamage> {
        let new = names.iter().filter_map(|n| Some((FileName::parse(n)?, n.as_str())));
        let mut new: Vec<(FileName, &str)> = new.collect();
        new.sort_unstable();
        let (mut entries, mut damage) = self.read_index(names, !new.is_empty());
        let read = damage.is_empty();
        let mut stale = false;
        let mut files = self.old_files(names);
        files.extend(no_files(others));
        for (name, text) in new {
            let mut file = File {
                name: text.into(),
                kind: Kind::New(name),
                head: Head::Unread,
                thread: Some(name.thread),
                id: name.id,
                told: false,
            };
            if let Some(header) = entries.remove(&name) {
                file.head = Head::Known(header);
            } else {
                file.head = self.head(&file);
                // a damaged file is in no index, and no index is stale for that
                stale |= read && file.known().is_some();
            }
            files.push(file);
        }
        if stale {
            damage.push(IndexDamage::Stale);
        }
        if !entries.is_empty() {
            damage.push(IndexDamage::Dangling);
        }
        files.sort_by_key(File::generation);
        let catalog = Catalog::of(files);
        let bad = catalog.files().filter(|(_, file)| matches!(file.head, Head::Bad(_)));
        let bad: Vec<(Seat, File)> = bad.map(|(seat, file)| (seat, file.clone())).collect();
        *self.catalog() = catalog;
        for (seat, file) in bad {
            if let Head::Bad(Fault::Damage(reason, message)) = &file.head {
                self.tell(seat, &file, *reason, message);
            }
        }
        for kind in &damage {
            self.count(counters::INDEX_DAMAGE, kind.as_str());
        }
        if !damage.is_empty() {
            let kinds: Vec<&str> = damage.iter().map(|d| d.as_str()).collect();
            tracing::warn!(dir = %self.dir.display(), ?kinds, "the index is repaired");
        }
        damage
    }

    /// The index's entries, or none and why.
    fn read_index(&self, names: &[String], needed: bool) -> (Entries, Vec<IndexDamage>) {
        if !names.iter().any(|n| n == name::INDEX) {
            let damage = if needed { vec![IndexDamage::Missing] } else { Vec::new() };
            return (Entries::new(), damage);
        }
        let read = match self.fs.read(&self.dir.join(name::INDEX), index::LIMIT) {
            Ok(bytes) => index::parse(&bytes, self.identity),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(IndexDamage::Corrupt),
            Err(_) => Err(IndexDamage::Unreadable),
        };
        match read {
            Ok(entries) => (entries, Vec::new()),
            Err(damage) => (Entries::new(), vec![damage]),
        }
    }

    /// The files of version 1, in their order: by time, then by id as text.
    fn old_files(&self, names: &[String]) -> Vec<File> {
        let old = names.iter().filter_map(|name| OldFile::parse(name));
        let mut files: Vec<File> = old
            .map(|old| {
                let mut file = File {
                    name: old.name.as_str().into(),
                    id: Digest::id(&old.id),
                    thread: None,
                    kind: Kind::Old(old),
                    head: Head::Unread,
                    told: false,
                };
                file.head = self.head(&file);
                file.thread = match (&file.head, &file.kind) {
                    (Head::Known(known), _) => Some(Digest::thread(&known.header.info.thread_id)),
                    (_, Kind::Old(old)) => old.likely_thread().map(Digest::thread),
                    _ => None,
                };
                file
            })
            .collect();
        files.sort_by_cached_key(|file| {
            let place = file.known().map(|k| (k.header.info.timestamp, k.header.info.id.clone()));
            (place, Arc::clone(&file.name))
        });
        files
    }
}

/// Makes durable what is in the directory, before anything of it is answered: its last holder may
/// have died between a change and its sync. False where the system has no such sync for us, which
/// is no reason to refuse reading; the next change asks for it again.
fn synced(fs: &dyn Fs, dir: &Path) -> Result<bool, CheckpointError> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    match fs.sync_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported => {
                tracing::warn!(%error, dir = %dir.display(), "the directory cannot be synced");
                Ok(false)
            }
            _ => Err(CheckpointError::io("sync_dir", dir, error)),
        },
    }
}

/// Why something with the name of a file of ours is damaged.
pub(super) const NO_FILE: &str = "it is no plain file";

/// What has a checkpoint's name and is no plain file: as lost as a damaged one, and never opened.
fn no_files(names: &[String]) -> Vec<File> {
    let damage = Fault::damage(Reason::Missing, NO_FILE);
    names
        .iter()
        .filter_map(|name| {
            let (kind, thread, id) = if let Some(new) = FileName::parse(name) {
                (Kind::New(new), Some(new.thread), new.id)
            } else {
                let old = OldFile::parse(name)?;
                let thread = old.likely_thread().map(Digest::thread);
                let id = Digest::id(&old.id);
                (Kind::Old(old), thread, id)
            };
            Some(File {
                name: name.as_str().into(),
                kind,
                head: Head::Bad(damage.clone()),
                thread,
                id,
                told: false,
            })
        })
        .collect()
}
