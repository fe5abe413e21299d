//! A small file system of its own, that can be full.

use std::io;
use std::path::{Path, PathBuf};

use crate::lane::scratch::{ROOM, Scratch, unmount};

/// A tmpfs takes bytes by the page.
const PAGE: u64 = 4096;

/// A mounted tmpfs; dropping it unmounts it.
#[derive(Debug)]
pub(super) struct Room(PathBuf);

impl Room {
    /// Mounts one of so many bytes on a directory that is made.
    ///
    /// # Errors
    /// The system does not let this process mount anything.
    #[cfg(target_os = "linux")]
    pub(super) fn mount(at: &Path, bytes: u64) -> io::Result<Self> {
        use rustix::mount::{MountFlags, mount};

        std::fs::create_dir(at)?;
        let size = std::ffi::CString::new(format!("size={bytes},mode=0700"))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("dashproof", at, "tmpfs", flags, &*size)?;
        Ok(Self(at.to_owned()))
    }

    /// Elsewhere there is none.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn mount(_at: &Path, _bytes: u64) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all of it but so many bytes, rounded up to whole pages.
    pub(super) fn fill(&self, free: u64) -> io::Result<()> {
        let stat = rustix::fs::statvfs(&self.0)?;
        let there = stat.f_bavail.saturating_mul(stat.f_frsize);
        let ballast = there.saturating_sub(free.div_ceil(PAGE) * PAGE);
        // zeros that are really written: a hole takes nothing
        let mut file = std::fs::File::create(self.ballast())?;
        io::copy(&mut io::Read::take(io::repeat(0), ballast), &mut file)?;
        Ok(())
    }

    /// Gives it free again.
    pub(super) fn empty(&self) {
        drop(std::fs::remove_file(self.ballast()));
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Tries to mount one: what a scenario with a full disk needs.
///
/// # Errors
/// What the system says.
pub(crate) fn can_be_mounted() -> io::Result<()> {
    let root = Scratch::make("")?;
    Room::mount(&root.path().join(ROOM), 16 * PAGE).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_room_takes_a_page_and_no_more_until_it_is_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("small");
        let room = match Room::mount(&at, 64 * PAGE) {
            Ok(room) => room,
            Err(error) => {
                // not captured, as what is printed is: nobody shall take it for green
                let text = format!("NOT RUN: 1 test, which needs to mount a tmpfs: {error}\n");
                io::Write::write_all(&mut io::stderr(), text.as_bytes()).unwrap();
                return;
            }
        };
        room.fill(1000).unwrap();
        std::fs::write(at.join("a"), [1; 1000]).unwrap();
        let error = std::fs::write(at.join("b"), [1; 1000]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        room.empty();
        std::fs::write(at.join("b"), [1; 1000]).unwrap();
        drop(room);
        assert!(!at.join("a").exists(), "it is unmounted");
    }
}
