//! The part of scenario files that is about stores on a disk: keys and model.

use std::time::Duration;

use super::keys::{FOR, Names, Shape, Variant, may, need};
use super::model::{ActionKind, FaultKind};
use super::value::Fields;

pub(crate) const VARIANTS: &[&str] = &["file", "compressed", "versioned", "each"];
pub(crate) const IDS: &[&str] = &["generated", "hostile", "taken"];
/// Who saves the checkpoints of a load.
pub(crate) const WRITERS: &[&str] = &[
    "subject",
    "earlier",
    "v1-file",
    "v1-compressed",
    "v1-bare",
    "v1-versioned",
    "v1-versioned-gz",
];
pub(crate) const DATES: &[&str] = &["now", "past", "future"];
/// Calls of a file system that can fail.
pub(crate) const OPS: &[&str] =
    &["create", "write", "sync", "rename", "remove", "sync_dir", "list", "read", "lock"];
/// What they can fail with: the system's own names, and two failures that say Ok or half.
pub(crate) const ERRORS: &[&str] =
    &["EIO", "ENOSPC", "EACCES", "EROFS", "EMFILE", "short", "lost_pages"];
pub(crate) const FILES: &[&str] = &["newest", "oldest", "middle", "all", "directory"];
pub(crate) const DAMAGE: &[&str] =
    &["bit", "cut", "empty", "zeros", "trailing", "deleted", "newer_version"];
pub(crate) const INDEX: &[&str] =
    &["missing", "bit", "cut", "empty", "garbage", "stale", "foreign", "names_missing"];
/// Where in a call a process dies.
pub(crate) const PHASES: &[&str] = &[
    "before create",
    "after create",
    "before write",
    "after write",
    "before sync",
    "after sync",
    "before rename",
    "after rename",
    "before sync_dir",
    "after sync_dir",
    "before remove",
    "after remove",
];
/// The calls in which it can.
pub(crate) const CALLS: &[&str] = &["open", "save", "delete", "delete_thread", "retain", "close"];
pub(crate) const WHICH: &[&str] = &["newest", "oldest"];

const OP: Names = Names { what: "file operation", list: || OPS.to_vec() };
const ERROR: Names = Names { what: "error", list: || ERRORS.to_vec() };
const FILE: Names = Names { what: "file", list: || FILES.to_vec() };
const HOW: Names = Names { what: "damage", list: || DAMAGE.to_vec() };
const HOW_INDEX: Names = Names { what: "damage", list: || INDEX.to_vec() };
const PHASE: Names = Names { what: "phase", list: || PHASES.to_vec() };
const CALL: Names = Names { what: "call", list: || CALLS.to_vec() };
const END: Names = Names { what: "end", list: || WHICH.to_vec() };

pub(super) const CRASH: Variant = Variant {
    name: "subject.crash",
    about: "The subject's process is killed; a store's in the middle of a call or just after it.",
    keys: &[
        may("during", Shape::Name(CALL), "disk, files: in which call of a store, save."),
        may("phase", Shape::Name(PHASE), "disk, files: at which file operation of the call."),
        may("nth", Shape::Count(1, 1_000_000), "Which such operation of it, 1 if not given."),
    ],
};
pub(super) const FS_ERROR: Variant = Variant {
    name: "fs.error",
    about: "A call of the file system fails.",
    keys: &[
        need("op", Shape::Name(OP), "Which call."),
        need("error", Shape::Name(ERROR), "With what."),
        may("nth", Shape::Count(1, 1_000_000), "Counted from the fault's start, 1 if not given."),
        may("from_then_on", Shape::Flag, "Every later one too."),
        FOR,
    ],
};
pub(super) const FS_FULL: Variant = Variant {
    name: "fs.full",
    about: "The file system has room for so many more bytes.",
    keys: &[need("free", Shape::Room, "How many; `every`: each that is too few, in turn."), FOR],
};
pub(super) const FS_DAMAGE: Variant = Variant {
    name: "fs.damage",
    about: "Checkpoint files at rest are damaged.",
    keys: &[
        need("file", Shape::Name(FILE), "Which, in the order of their saving."),
        need("how", Shape::Name(HOW), "What happens to it."),
    ],
};
pub(super) const FS_INDEX: Variant = Variant {
    name: "fs.index",
    about: "The index is damaged, or is not the one of this moment or directory.",
    keys: &[need("how", Shape::Name(HOW_INDEX), "What happens to it.")],
};
pub(super) const FS_LEFTOVERS: Variant = Variant {
    name: "fs.leftovers",
    about: "Temporary files of an interrupted process lie in the directory.",
    keys: &[may("count", Shape::Count(1, 1_000), "How many, 1 if not given.")],
};
pub(super) const CLOCK_BACK: Variant = Variant {
    name: "clock.back",
    about: "The wall clock is set back.",
    keys: &[need("by", Shape::Span { zero: false }, "How far.")],
};

pub(super) const CLOCK_FORWARD: Variant = Variant {
    name: "clock.forward",
    about: "The wall clock is set forward.",
    keys: &[need("by", Shape::Span { zero: false }, "How far.")],
};

pub(super) const DELETE: Variant = Variant {
    name: "delete",
    about: "Deletes a checkpoint of the first thread.",
    keys: &[may("which", Shape::Name(END), "Which, the oldest if not given.")],
};
pub(super) const DELETE_THREAD: Variant =
    Variant { name: "delete_thread", about: "Deletes the first thread.", keys: &[] };
pub(super) const RETAIN: Variant = Variant {
    name: "retain",
    about: "Keeps the newest checkpoints of each thread.",
    keys: &[need("keep", Shape::Count(1, 1_000_000), "How many.")],
};
pub(super) const SECOND_OPEN: Variant = Variant {
    name: "second_open",
    about: "Another store is opened on the same directory while the first has it.",
    keys: &[],
};

/// A checkpointer under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSubject {
    /// `file`, `compressed`, `versioned`, or `each` in turn by seed.
    pub variant: String,
    /// Retention per thread.
    pub keep_newest: Option<usize>,
}

/// How a subject dies. A producer just dies; of a store it can be said where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// In which call: `open`, `save`, `delete`, `delete_thread`, `retain`, `close`.
    pub during: String,
    /// At which of its file operations; after any number of them if not given.
    pub phase: Option<Phase>,
    /// Which such operation of the call, from 1.
    pub nth: u64,
}

impl Default for Crash {
    /// In a save, anywhere.
    fn default() -> Self {
        Self { during: "save".to_owned(), phase: None, nth: 1 }
    }
}

/// A place in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Before the operation, and not after it.
    pub before: bool,
    /// `create`, `write`, `sync`, `rename`, `sync_dir`, `remove`.
    pub op: String,
}

impl Phase {
    /// The phase of this name, as in `after rename`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (when, op) = PHASES.iter().find(|known| **known == name)?.split_once(' ')?;
        Some(Self { before: when == "before", op: op.to_owned() })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", if self.before { "before" } else { "after" }, self.op)
    }
}

pub(super) fn crash(fields: &Fields) -> Crash {
    let default = Crash::default();
    Crash {
        during: fields.text("during").unwrap_or(default.during),
        phase: fields.text("phase").and_then(|name| Phase::named(&name)),
        nth: fields.count("nth").unwrap_or(default.nth),
    }
}

/// What happens to a file system. The string in files is `fs.` and the variant's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsFault {
    /// `fs.error`: the n-th call of a kind fails.
    Error {
        /// Which call.
        op: String,
        /// With what.
        error: String,
        /// Counted from the fault's start, from 1.
        nth: u64,
        /// Every later one too.
        from_then_on: bool,
    },
    /// `fs.full`: room for so many more bytes.
    Full {
        /// How many.
        free: u64,
    },
    /// `fs.full` with `free = "every"`: the run is played once for each number of bytes that is too
    /// small for it, and once with what it needs.
    FullEvery,
    /// `fs.damage`: files at rest.
    Damage {
        /// Which.
        file: String,
        /// How.
        how: String,
    },
    /// `fs.index`: the index.
    Index {
        /// How.
        how: String,
    },
    /// `fs.leftovers`: temporary files of somebody who died.
    Leftovers {
        /// How many.
        count: u32,
    },
    /// `clock.back`: the wall clock is set back.
    ClockBack {
        /// How far.
        by: Duration,
    },
    /// `clock.forward`: the wall clock is set forward.
    ClockForward {
        /// How far.
        by: Duration,
    },
}

impl FsFault {
    /// It goes on until it ends; the others come once.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        match self {
            Self::Error { from_then_on, .. } => *from_then_on,
            Self::Full { .. } | Self::FullEvery => true,
            Self::Damage { .. }
            | Self::Index { .. }
            | Self::Leftovers { .. }
            | Self::ClockBack { .. }
            | Self::ClockForward { .. } => false,
        }
    }

    /// The `kind` string of the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Error { .. } => "fs.error",
            Self::Full { .. } | Self::FullEvery => "fs.full",
            Self::Damage { .. } => "fs.damage",
            Self::Index { .. } => "fs.index",
            Self::Leftovers { .. } => "fs.leftovers",
            Self::ClockBack { .. } => "clock.back",
            Self::ClockForward { .. } => "clock.forward",
        }
    }
}

/// The writer says nothing about the schema of its states.
#[must_use]
pub fn is_untyped(writer: &str) -> bool {
    matches!(writer, "v1-file" | "v1-compressed" | "v1-bare")
}

/// Calls of a store that are not saves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAction {
    /// `delete`: a checkpoint of the first thread.
    Delete {
        /// The newest, and not the oldest.
        newest: bool,
    },
    /// `delete_thread`: the first thread.
    DeleteThread,
    /// `retain`: all but the newest go.
    Retain {
        /// How many stay per thread.
        keep: usize,
    },
    /// `second_open`: the directory is taken.
    SecondOpen,
}

impl StoreAction {
    /// The `kind` string of the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Delete { .. } => "delete",
            Self::DeleteThread => "delete_thread",
            Self::Retain { .. } => "retain",
            Self::SecondOpen => "second_open",
        }
    }
}

pub(super) fn subject(fields: &Fields) -> CheckpointSubject {
    CheckpointSubject {
        variant: fields.text("variant").unwrap_or_else(|| "each".to_owned()),
        keep_newest: fields.count("keep_newest"),
    }
}

pub(super) fn fault(name: &str, fields: &Fields) -> Option<FaultKind> {
    let text = |key| fields.text(key).unwrap_or_default();
    Some(FaultKind::Fs(match name {
        "fs.error" => FsFault::Error {
            op: text("op"),
            error: text("error"),
            nth: fields.count("nth").unwrap_or(1),
            from_then_on: fields.flag("from_then_on").unwrap_or(false),
        },
        "fs.full" if fields.text("free").is_some() => FsFault::FullEvery,
        "fs.full" => FsFault::Full { free: fields.count("free").unwrap_or(0) },
        "fs.damage" => FsFault::Damage { file: text("file"), how: text("how") },
        "fs.index" => FsFault::Index { how: text("how") },
        "fs.leftovers" => FsFault::Leftovers { count: fields.count("count").unwrap_or(1) },
        "clock.back" => FsFault::ClockBack { by: fields.span("by").unwrap_or_default() },
        "clock.forward" => FsFault::ClockForward { by: fields.span("by").unwrap_or_default() },
        _ => return None,
    }))
}

pub(super) fn action(name: &str, fields: &Fields) -> Option<ActionKind> {
    Some(ActionKind::Store(match name {
        "delete" => {
            StoreAction::Delete { newest: fields.text("which").as_deref() == Some("newest") }
        }
        "delete_thread" => StoreAction::DeleteThread,
        "retain" => StoreAction::Retain { keep: fields.count("keep").unwrap_or(1) },
        "second_open" => StoreAction::SecondOpen,
        _ => return None,
    }))
}
