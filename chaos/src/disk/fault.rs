//! How a simulated file system fails.

use std::io;
use std::path::Path;

use crate::scenario::model::FsFault;

pub(super) const EBADF: i32 = 9;
pub(super) const ENOENT: (i32, &str) = (2, "ENOENT");
pub(super) const EEXIST: (i32, &str) = (17, "EEXIST");
pub(super) const ENAMETOOLONG: (i32, &str) = (36, "ENAMETOOLONG");

pub(super) fn too_long(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.len() > 255)
}

/// A failure of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The system's error of this number, and its name.
    Errno(i32, &'static str),
    /// A write takes half of the bytes, and says so.
    Short,
    /// A sync fails and its bytes are gone, though the system keeps showing them and the next sync
    /// says Ok.
    LostPages,
}

impl Failure {
    /// The failure of this name: `EIO`, …, `short`, `lost_pages`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "EIO" => Self::Errno(5, "EIO"),
            "EACCES" => Self::Errno(13, "EACCES"),
            "EMFILE" => Self::Errno(24, "EMFILE"),
            "ENOSPC" => Self::Errno(28, "ENOSPC"),
            "EROFS" => Self::Errno(30, "EROFS"),
            "short" => Self::Short,
            "lost_pages" => Self::LostPages,
            _ => return None,
        })
    }

    /// What the caller gets.
    #[must_use]
    pub fn error(self) -> io::Error {
        match self {
            Self::Errno(number, _) => io::Error::from_raw_os_error(number),
            Self::Short | Self::LostPages => io::Error::from_raw_os_error(5),
        }
    }

    /// The error's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Errno(_, name) => name,
            Self::Short | Self::LostPages => "EIO",
        }
    }
}

/// A failure that waits for its operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Given back when it is met, and for [`SimFs::mend`](super::SimFs::mend).
    pub fault: usize,
    /// `create`, `write`, `sync`, `rename`, `remove`, `sync_dir`, `list`, `read`, `lock`.
    pub op: String,
    /// Which such operation from now on, from 1.
    pub nth: u64,
    /// Every later one too.
    pub from_then_on: bool,
    /// What it does.
    pub failure: Failure,
}

impl Break {
    /// What a fault of a scenario breaks; `None` where that is no single operation.
    #[must_use]
    pub fn by(fault: usize, what: &FsFault) -> Option<Self> {
        let FsFault::Error { op, error, nth, from_then_on } = what else { return None };
        let (failure, from_then_on) = (Failure::named(error)?, *from_then_on);
        Some(Self { fault, op: op.clone(), nth: *nth, from_then_on, failure })
    }

    /// Counts an operation; true when it is the one. A failure that its operation cannot have is
    /// never met.
    pub(super) fn meets(&mut self, op: &str) -> bool {
        let possible = match self.failure {
            Failure::Errno(..) => true,
            Failure::Short => op == "write",
            Failure::LostPages => op == "sync",
        };
        if self.op != op || !possible {
            return false;
        }
        match self.nth {
            0 => self.from_then_on,
            1 => {
                self.nth = 0;
                true
            }
            _ => {
                self.nth -= 1;
                false
            }
        }
    }
}

/// The operation at which a machine or a process dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doom {
    /// Its name.
    pub(crate) op: String,
    /// Which such operation from now on, from 1.
    pub(crate) nth: u64,
    /// Before it happens, and not after.
    pub(crate) before: bool,
}

impl Doom {
    /// Counts an operation; true when it is the one.
    pub(crate) fn comes(&mut self, op: &str) -> bool {
        if self.op != op {
            return false;
        }
        self.nth = self.nth.saturating_sub(1);
        self.nth == 0
    }
}
