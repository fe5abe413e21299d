//! The file system of the machine.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::SystemTime;

use crate::fs::{DirEntry, Fs, FsFile, FsLock, LockError};

/// The file system of the machine. On Unix files are made with mode 0600 and directories with 0700.
///
/// Every call blocks. Where the system has no way to sync a directory (Windows) its renames are as
/// durable as the system makes them by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdFs;

/// Who holds a lock, for whoever finds it taken: process, machine, time.
#[must_use]
pub fn holder() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok());
    let host = host.as_deref().map_or("an unnamed host", str::trim);
    let since = humantime::format_rfc3339_seconds(SystemTime::now());
    format!("pid {} on {host} since {since}", std::process::id())
}

struct StdFile(File);

impl FsFile for StdFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        uninterrupted(|| self.0.sync_all())
    }
}

/// Locked as long as the file is open.
struct StdLock(#[expect(dead_code, reason = "held, never asked")] File);

impl FsLock for StdLock {}

/// Repeats a call that a signal interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Open options of files that are their owner's alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn sync_directory(dir: &Path) -> io::Result<()> {
    let dir = uninterrupted(|| File::open(dir))?;
    uninterrupted(|| dir.sync_all())
}

#[cfg(not(unix))]
fn sync_directory(dir: &Path) -> io::Result<()> {
    fs::metadata(dir).map(drop)
}

/// The directory that holds `path`: the present one for a bare name.
fn parent(path: &Path) -> Option<&Path> {
    path.parent().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir })
}

/// Makes a directory and its missing parents; each of them, and each directory above, is known to
/// be durable by a sync of the one that holds it.
fn make_directory(dir: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let Some(above) = parent(dir) else { return Ok(()) };
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let mut made = uninterrupted(|| builder.create(dir));
    let missing = made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if missing {
        make_directory(above, sync)?;
        made = uninterrupted(|| builder.create(dir));
    }
    match made {
        Ok(()) => sync(above)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {
            match sync(above) {
                // a directory above that may not be read is not one that this process could have
                // made it in
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
                synced => synced?,
            }
        }
        Err(error) => return Err(error),
    }
    if missing {
        return Ok(()); // what is further up is synced already
    }
    // whoever made those above may have died before its own sync of them; they are there, so that
    // one that cannot be synced ends it and fails nothing
    let whole = std::path::absolute(above).unwrap_or_default();
    for further in whole.ancestors().skip(1) {
        if let Err(error) = sync(further) {
            tracing::debug!(%error, dir = %further.display(), "not synced, nor what is above");
            break;
        }
    }
    Ok(())
}

/// The first bytes of a buffer, which grows to have as many.
fn grown(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buffer.is_empty() {
        // zeroed by the system, not by hand
        *buffer = vec![0; len];
    } else if buffer.len() < len {
        buffer.resize(len, 0);
    }
    buffer.get_mut(..len).unwrap_or_default()
}

impl Fs for StdFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        make_directory(dir, &mut sync_directory)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = uninterrupted(|| private().write(true).create_new(true).open(path))?;
        Ok(Box::new(StdFile(file)))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut file = uninterrupted(|| File::open(path))?;
        if offset > 0 {
            uninterrupted(|| file.seek(SeekFrom::Start(offset)))?;
        }
        let mut bytes = Vec::with_capacity(len.min(1 << 20));
        file.take(len as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let len = self.read_into(path, limit, None, &mut bytes)?;
        bytes.truncate(len);
        Ok(bytes)
    }

    fn read_into(
        &self,
        path: &Path,
        limit: u64,
        expected: Option<usize>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let mut file = uninterrupted(|| File::open(path))?;
        let mut read = 0;
        // one byte more shows a file that is longer; one that is there is the expected file's end
        if let Some(expected) = expected.filter(|len| (*len as u64) < limit) {
            let room = grown(buffer, expected + 1);
            read = uninterrupted(|| file.read(room))?;
            if read == expected {
                return Ok(read);
            }
        }
        let len = uninterrupted(|| file.metadata())?.len();
        if len > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let bytes = grown(buffer, usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?);
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match uninterrupted(|| file.read(rest))? {
                0 => break,
                n => read += n,
            }
        }
        Ok(read)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        uninterrupted(|| fs::rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        uninterrupted(|| fs::remove_file(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        sync_directory(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let entries = uninterrupted(|| fs::read_dir(dir))?;
        entries
            .map(|entry| {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                Ok(DirEntry { name, is_file: entry.file_type()?.is_file() })
            })
            .collect()
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn FsLock>, LockError> {
        let mut options = private();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = uninterrupted(|| options.open(path))?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.write_all(holder.as_bytes())?;
                Ok(Box::new(StdLock(file)))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = Vec::new();
                file.take(1024).read_to_end(&mut text)?;
                let text = String::from_utf8_lossy(&text);
                let text = text.trim();
                let holder = if text.is_empty() { "somebody who left no name" } else { text };
                Err(LockError::Held { holder: holder.to_owned() })
            }
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A directory of its own for each test, removed at its end.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("dashproof-fs-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            StdFs.create_dir(&dir).unwrap();
            Self(dir)
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn put(path: &Path, bytes: &[u8]) {
        let mut file = StdFs.create_new(path).unwrap();
        file.write_all(bytes).unwrap();
        file.sync().unwrap();
    }

    #[test]
    fn a_file_is_read_back_whole_and_in_part() {
        let dir = Dir::new("read");
        put(&dir.at("a"), b"hello");
        assert_eq!(StdFs.read(&dir.at("a"), 5).unwrap(), b"hello");
        assert_eq!(StdFs.read_at(&dir.at("a"), 1, 3).unwrap(), b"ell");
        assert_eq!(StdFs.read_at(&dir.at("a"), 4, 9).unwrap(), b"o");
        assert_eq!(StdFs.read_at(&dir.at("a"), 9, 9).unwrap(), b"");
    }

    #[test]
    fn a_buffer_that_is_used_again_gives_the_file_and_nothing_of_the_one_before() {
        let dir = Dir::new("buffer");
        let mut buffer = Vec::new();
        for text in ["a longer file", "short", "", "the longest file of all"] {
            fs::write(dir.0.join("a"), text).unwrap();
            let len = StdFs.read_into(&dir.0.join("a"), 100, None, &mut buffer).unwrap();
            assert_eq!(buffer.get(..len), Some(text.as_bytes()));
        }
    }

    #[test]
    fn a_file_that_has_another_length_than_expected_is_read_whole_all_the_same() {
        let dir = Dir::new("expected");
        fs::write(dir.0.join("a"), "nine byte").unwrap();
        for expected in [0, 5, 8, 9, 10, 50] {
            let mut buffer = Vec::new();
            let read = StdFs.read_into(&dir.0.join("a"), 100, Some(expected), &mut buffer);
            assert_eq!(buffer.get(..read.unwrap()), Some("nine byte".as_bytes()), "{expected}");
        }
        let over = StdFs.read_into(&dir.0.join("a"), 8, Some(5), &mut Vec::new()).unwrap_err();
        assert_eq!(over.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let dir = Dir::new("limit");
        put(&dir.at("a"), b"hello");
        let error = StdFs.read(&dir.at("a"), 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn nothing_is_created_over_a_file_that_is_there() {
        let dir = Dir::new("new");
        put(&dir.at("a"), b"1");
        let error = StdFs.create_new(&dir.at("a")).map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn renames_and_removals_show_in_the_listing() {
        let dir = Dir::new("list");
        put(&dir.at("a"), b"1");
        StdFs.create_dir(&dir.at("d/e")).unwrap();
        StdFs.create_dir(&dir.at("d/e")).unwrap();
        StdFs.rename(&dir.at("a"), &dir.at("b")).unwrap();
        StdFs.sync_dir(&dir.0).unwrap();
        let mut list = StdFs.list(&dir.0).unwrap();
        list.sort();
        let entry = |name: &str, is_file| DirEntry { name: name.to_owned(), is_file };
        assert_eq!(list, [entry("b", true), entry("d", false)]);
        StdFs.remove(&dir.at("b")).unwrap();
        assert_eq!(StdFs.list(&dir.0).unwrap(), [entry("d", false)]);
        assert!(StdFs.sync_dir(&dir.at("gone")).is_err());
    }

    /// What is synced to make a directory, if a sync of `bad` is forbidden.
    fn synced(dir: &Path, bad: Option<&Path>) -> Vec<PathBuf> {
        let mut synced = Vec::new();
        let made = make_directory(dir, &mut |dir| {
            if Some(dir) == bad {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            synced.push(dir.to_owned());
            Ok(())
        });
        made.unwrap();
        synced
    }

    #[test]
    fn every_directory_above_is_synced_when_one_is_made_or_is_there() {
        let dir = Dir::new("above");
        let above = |path: &Path| -> Vec<PathBuf> {
            path.ancestors().skip(1).map(Path::to_owned).collect()
        };
        let (one, three) = (dir.at("a"), dir.at("b/c/d"));
        for round in ["made", "there"] {
            assert_eq!(synced(&one, None), above(&one), "{round}");
        }
        let mut all = synced(&three, None);
        all.sort();
        let mut wanted = above(&three);
        wanted.sort();
        assert_eq!(all, wanted);
        assert_eq!(synced(&three, None), above(&three));
    }

    #[test]
    fn a_directory_above_that_may_not_be_synced_ends_the_syncs_and_fails_nothing() {
        let dir = Dir::new("forbidden");
        let top = dir.0.parent().unwrap();
        assert_eq!(synced(&dir.at("a/b"), Some(top)), [dir.0.clone(), dir.at("a")]);
        assert_eq!(synced(&dir.at("a/b"), Some(&dir.0)), [dir.at("a")]);
        assert!(synced(&dir.at("a/b"), Some(&dir.at("a"))).is_empty());
    }

    #[test]
    fn a_second_lock_is_told_who_has_the_first_and_a_dropped_one_blocks_nobody() {
        let dir = Dir::new("lock");
        let first = StdFs.lock(&dir.at("l"), "the first, which has a long name").unwrap();
        let error = StdFs.lock(&dir.at("l"), "second").map(drop).unwrap_err();
        assert_eq!(error.to_string(), "locked by the first, which has a long name");
        drop(first);
        let _third = StdFs.lock(&dir.at("l"), "third").unwrap();
        let error = StdFs.lock(&dir.at("l"), "fourth").map(drop).unwrap_err();
        assert_eq!(error.to_string(), "locked by third");
    }

    #[cfg(unix)]
    #[test]
    fn files_and_directories_are_their_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = Dir::new("mode");
        put(&dir.at("a"), b"1");
        let _lock = StdFs.lock(&dir.at("l"), "x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.0), 0o700);
        assert_eq!(mode(&dir.at("a")), 0o600);
        assert_eq!(mode(&dir.at("l")), 0o600);
    }

    #[test]
    fn the_holder_says_process_machine_and_time() {
        let holder = holder();
        assert!(holder.starts_with(&format!("pid {} on ", std::process::id())), "{holder}");
        assert!(holder.contains(" since 2"), "{holder}");
    }
}
