//! Directories of cells: gone with their owner, on a signal, and if that came too late, at the next
//! start.
//!
//! Each has a mark that its process keeps locked for as long as it lives, however it ends. What
//! has a mark that nobody locks is what a killed run left.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

/// What every name begins with.
const PREFIX: &str = "dashproof-";
/// The file that says whose it is.
const MARK: &str = ".dashproof";
/// What the mark holds.
const OURS: &str = "a directory of a run of dashproof, removed when nobody locks this file\n";
/// Where a small file system is mounted, in those that have one.
pub(crate) const ROOM: &str = "room";
/// A process that was killed a moment ago may still write.
const TRIES: usize = 3;

/// The directories of this process that are there now.
#[derive(Debug)]
struct Own {
    dirs: BTreeSet<PathBuf>,
    /// A signal has come: no more are made.
    closed: bool,
}

static OWN: Mutex<Own> = Mutex::new(Own { dirs: BTreeSet::new(), closed: false });

fn own() -> MutexGuard<'static, Own> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory that nobody else may look into, removed with its owner.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: TempDir,
    /// Locked for as long as this is open.
    _mark: File,
}

impl Scratch {
    /// Makes one where the system has temporary files.
    ///
    /// # Errors
    /// The file system's; or a signal has come.
    pub(crate) fn make(what: &str) -> io::Result<Self> {
        Self::make_in(&std::env::temp_dir(), what)
    }

    /// Makes one in memory, where the system has a place for that; else where temporary files are.
    ///
    /// # Errors
    /// As [`Scratch::make`].
    pub(crate) fn make_in_memory(what: &str) -> io::Result<Self> {
        Self::make_in(Path::new(MEMORY), what).or_else(|_| Self::make(what))
    }

    fn make_in(place: &Path, what: &str) -> io::Result<Self> {
        let mut own = own();
        if own.closed {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut builder = tempfile::Builder::new();
        let prefix = format!("{PREFIX}{what}");
        builder.prefix(&prefix).permissions(Permissions::from_mode(0o700));
        let dir = builder.tempdir_in(place)?;
        let mark = mark(dir.path())?;
        own.dirs.insert(dir.path().to_owned());
        Ok(Self { dir, _mark: mark })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        own().dirs.remove(self.dir.path());
    }
}

/// Where files live in memory.
const MEMORY: &str = "/dev/shm";

/// Puts the mark into a directory, locked before anybody can see it there.
fn mark(dir: &Path) -> io::Result<File> {
    let fresh = dir.join(format!("{MARK}.new"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(OURS.as_bytes())?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    std::fs::rename(fresh, dir.join(MARK))?;
    Ok(file)
}

/// Removes the directories of this process, whoever uses them, and has no more made. Called again
/// it removes what somebody has put there since.
pub(crate) fn remove_all() {
    let dirs = {
        let mut own = own();
        own.closed = true;
        own.dirs.clone()
    };
    for dir in &dirs {
        remove(dir);
    }
}

/// Removes what killed runs of this user left.
pub(crate) fn sweep() {
    let memory = PathBuf::from(MEMORY);
    for place in BTreeSet::from([std::env::temp_dir(), memory]) {
        sweep_in(&place);
    }
}

fn sweep_in(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if named && let Some(_lock) = abandoned(&entry.path()) {
            remove(&entry.path());
        }
    }
}

/// The mark of a directory whose owner has ended, locked by us.
fn abandoned(dir: &Path) -> Option<File> {
    let user = rustix::process::geteuid().as_raw();
    let is_own = |meta: &std::fs::Metadata| meta.uid() == user;
    // a link leads to who knows what
    let meta = std::fs::symlink_metadata(dir).ok()?;
    if !meta.is_dir() || !is_own(&meta) {
        return None;
    }
    let path = dir.join(MARK);
    let meta = std::fs::symlink_metadata(&path).ok()?;
    if !meta.is_file() || !is_own(&meta) || meta.len() != OURS.len() as u64 {
        return None;
    }
    let file = File::open(path).ok()?;
    let mut text = String::new();
    (&file).take(OURS.len() as u64).read_to_string(&mut text).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    (text == OURS).then_some(file)
}

/// Removes a directory, with the file system that may be mounted in it.
fn remove(dir: &Path) {
    for _ in 0..TRIES {
        unmount(&dir.join(ROOM));
        let removed = std::fs::remove_dir_all(dir);
        if removed.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true) {
            return;
        }
    }
    // what cannot be removed is for the system's own cleaning
}

/// Where nothing is mounted the system says so, and nothing happens.
pub(crate) fn unmount(at: &Path) {
    #[cfg(target_os = "linux")]
    {
        use rustix::mount::{UnmountFlags, unmount};

        let _ = unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = at;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_its_owners_alone_and_gone_with_it() {
        let scratch = Scratch::make("test-").unwrap();
        let path = scratch.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(own().dirs.contains(&path));
        drop(scratch);
        assert!(!path.exists() && !own().dirs.contains(&path));
    }

    /// As a process leaves it that is killed.
    fn left(place: &Path, name: &str) -> PathBuf {
        let dir = place.join(name);
        std::fs::create_dir_all(dir.join("spool")).unwrap();
        std::fs::write(dir.join("spool/a"), "an event").unwrap();
        drop(mark(&dir).unwrap());
        dir
    }

    #[test]
    fn what_a_killed_run_left_is_swept_and_what_lives_or_is_not_ours_stays() {
        let place = tempfile::tempdir().unwrap();
        let living = Scratch::make_in(place.path(), "").unwrap();
        let dead = left(place.path(), "dashproof-dead");
        let other = left(place.path(), "of-somebody-else");
        let unmarked = place.path().join("dashproof-mine");
        std::fs::create_dir(&unmarked).unwrap();
        let forged = left(place.path(), "dashproof-forged");
        std::fs::write(forged.join(MARK), "x".repeat(OURS.len())).unwrap();
        let behind = place.path().join("dashproof-link");
        std::os::unix::fs::symlink(&other, &behind).unwrap();
        sweep_in(place.path());
        assert!(!dead.exists());
        for stays in [living.path(), &other, &unmarked, &forged, &behind] {
            assert!(stays.exists(), "{}", stays.display());
        }
    }
}
