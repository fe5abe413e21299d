//! The health of every file: with the state's type ([`Store::verify`]) or without ([`inspect`]).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::catalog::{File, Head, Kind};
use super::damage::{Fault, Reason};
use super::error::{CheckpointError, ErrorKind};
use super::format::{self, Header, Stored, VERSION};
use super::model::{Info, Timestamp};
use super::name::{self, Digest, FileName};
use super::open::NO_FILE;
use super::read::{Trouble, file_limit, oversize, read_head};
use super::store::Store;
use super::v1::{self, OldFile, OldKind};
use super::{index, payload};
use crate::fs::{DirEntry, Fs};

/// What a file in a checkpoint directory is there for. [`Self::as_str`] is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// A checkpoint of any version.
    Checkpoint,
    /// The index.
    Index,
    /// The lock or the directory's identity.
    Housekeeping,
    /// Left by an interrupted save; swept at the next open.
    Temporary,
    /// None of ours.
    Foreign,
}

impl Role {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Index => "index",
            Self::Housekeeping => "housekeeping",
            Self::Temporary => "temporary",
            Self::Foreign => "foreign",
        }
    }
}

/// How a file is. [`Self::as_str`] is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// Every check passed, or there is nothing to check.
    Healthy,
    /// Nothing is wrong as far as it shows: version 1 has no checksum here, and the state's type is
    /// not known.
    Unproven,
    /// Not the bytes that were saved.
    Damaged,
    /// Intact, but not for this reader: a newer format, another schema or type.
    Refused,
    /// The system would not give it.
    Unreadable,
    /// A younger file has the same id.
    Superseded,
}

impl Health {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unproven => "unproven",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
            Self::Superseded => "superseded",
        }
    }
}

/// One file of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// What it is there for.
    pub role: Role,
    /// Its format version, for a checkpoint.
    pub format: Option<u32>,
    /// `plain` or `zstd`; for version 1 `file`, `bare`, `compressed`, `versioned`, `versioned-gz`.
    pub variant: Option<&'static str>,
    /// Whose it is: by its header or, where that cannot be read, by its name, which holds a digest
    /// of a thread that another file of the directory names.
    pub thread: Option<String>,
    /// Its place in the order, which its name tells; version 1 has none.
    pub generation: Option<u64>,
    /// When it was saved; version 1 tells that of a wrapper, and else only with the state's type.
    pub saved: Option<Timestamp>,
    /// What its header says, as far as it can be read; for version 1 without the state's type only
    /// the ids, and all else empty.
    pub info: Option<Info>,
    /// How it is.
    pub health: Health,
    /// Why it is not healthy: a stable reason, and a text.
    pub reason: Option<(&'static str, String)>,
}

impl FileReport {
    fn new(name: &str, role: Role) -> Self {
        Self {
            name: name.to_owned(),
            role,
            format: None,
            variant: None,
            thread: None,
            generation: None,
            saved: None,
            info: None,
            health: Health::Healthy,
            reason: None,
        }
    }

    fn trouble(mut self, trouble: Trouble) -> Self {
        let (health, reason, text) = match trouble {
            Trouble::Fault(Fault::Damage(reason, text)) => (Health::Damaged, reason.as_str(), text),
            Trouble::Fault(Fault::Newer(found)) => {
                self.format = Some(found);
                (Health::Refused, "newer", format!("format version {found}"))
            }
            Trouble::Fault(Fault::Reader(kind, text)) => (Health::Refused, kind.as_str(), text),
            Trouble::System(error) => {
                let kind = ErrorKind::of_io(&error).as_str();
                (Health::Unreadable, kind, error.to_string())
            }
        };
        self.health = health;
        self.reason = Some((reason, text));
        self
    }

    fn describe(mut self, header: Header) -> Self {
        if self.format == Some(VERSION) {
            self.variant = Some(match header.stored {
                Stored::Plain => "plain",
                Stored::Zstd => "zstd",
            });
        }
        self.about(header.info)
    }

    fn about(mut self, info: Info) -> Self {
        self.thread = Some(info.thread_id.clone());
        self.saved = Some(info.timestamp);
        self.info = Some(info);
        self
    }
}

fn old_variant(kind: OldKind, bytes: &[u8]) -> &'static str {
    match (kind.versioned, kind.gzip) {
        (true, true) => "versioned-gz",
        (true, false) => "versioned",
        (false, true) => "compressed",
        (false, false) if bytes.starts_with(&format::MAGIC) => "file",
        (false, false) => "bare",
    }
}

/// Has every entry of a directory looked at, in the order of their names. What is no plain file is
/// ill where a file of ours belongs, and nobody's business elsewhere.
fn each(
    fs: &dyn Fs,
    dir: &Path,
    checkpoint: impl Fn(&str) -> FileReport,
) -> Result<Vec<FileReport>, CheckpointError> {
    let mut listing = fs.list(dir).map_err(|e| CheckpointError::io("list", dir, e))?;
    listing.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let report = |DirEntry { name, is_file }: DirEntry| {
        if !is_file {
            return no_file(&name);
        }
        Some(housekeeping(fs, dir, &name).unwrap_or_else(|| checkpoint(&name)))
    };
    Ok(listing.into_iter().filter_map(report).collect())
}

/// A report on what has the name of a file of ours and is none.
fn no_file(name: &str) -> Option<FileReport> {
    let (new, old) = (FileName::parse(name), OldFile::parse(name));
    let role = match name {
        name::INDEX => Role::Index,
        name::LOCK | name::IDENTITY => Role::Housekeeping,
        _ if name::is_temporary(name) => Role::Temporary,
        _ if new.is_some() || old.is_some() => Role::Checkpoint,
        _ => return None,
    };
    let report = FileReport::new(name, role);
    let format = new.map(|_| VERSION).or(old.map(|_| 1));
    let fault = Fault::damage(Reason::Missing, NO_FILE);
    Some(FileReport { format, ..report }.trouble(Trouble::Fault(fault)))
}

/// The directory's random name: intact, or what is wrong with it.
fn identity(fs: &dyn Fs, dir: &Path) -> FileReport {
    let report = FileReport::new(name::IDENTITY, Role::Housekeeping);
    match fs.read(&dir.join(name::IDENTITY), name::IDENTITY_LIMIT) {
        Ok(bytes) if name::identity(&bytes).is_some() => report,
        Err(error) if error.kind() != io::ErrorKind::FileTooLarge => {
            report.trouble(Trouble::System(error))
        }
        Ok(_) | Err(_) => FileReport {
            health: Health::Damaged,
            reason: Some((
                index::IndexDamage::Corrupt.as_str(),
                "the next open makes a new one, and the index anew".to_owned(),
            )),
            ..report
        },
    }
}

/// A report on a file that is no checkpoint; `None` for a checkpoint.
fn housekeeping(fs: &dyn Fs, dir: &Path, name: &str) -> Option<FileReport> {
    match name {
        name::INDEX => {
            let report = FileReport::new(name, Role::Index);
            let identity = fs.read(&dir.join(name::IDENTITY), name::IDENTITY_LIMIT);
            let identity = identity.ok().and_then(|bytes| name::identity(&bytes));
            let bytes = match fs.read(&dir.join(name), index::LIMIT) {
                Ok(bytes) => bytes,
                Err(error) => return Some(report.trouble(Trouble::System(error))),
            };
            Some(match index::parse(&bytes, identity.unwrap_or_default()) {
                Ok(_) => report,
                Err(damage) => FileReport {
                    health: Health::Damaged,
                    reason: Some((damage.as_str(), "the next open repairs it".to_owned())),
                    ..report
                },
            })
        }
        name::IDENTITY => Some(identity(fs, dir)),
        name::LOCK => Some(FileReport::new(name, Role::Housekeeping)),
        _ if name::is_temporary(name) => Some(FileReport::new(name, Role::Temporary)),
        _ if FileName::parse(name).is_some() || OldFile::parse(name).is_some() => None,
        _ => Some(FileReport::new(name, Role::Foreign)),
    }
}

impl<S: Serialize + DeserializeOwned> Store<S> {
    /// Reads every file of the directory to its last byte and says how each one is, by name.
    /// Changes nothing and counts nothing.
    ///
    /// # Errors
    /// What the system answers to listing the directory; a file's own trouble is in its report.
    pub fn verify(&self) -> Result<Vec<FileReport>, CheckpointError> {
        each(self.fs.as_ref(), &self.dir, |name| self.report(name))
    }

    fn report(&self, name: &str) -> FileReport {
        let mut report = FileReport::new(name, Role::Checkpoint);
        let path = self.dir.join(name);
        let (kind, id) = match (FileName::parse(name), OldFile::parse(name)) {
            (Some(new), _) => {
                report.format = Some(VERSION);
                report.generation = Some(new.generation);
                (Kind::New(new), new.id)
            }
            (None, Some(old)) => {
                report.format = Some(1);
                let start = self.fs.read_at(&path, 0, 4).unwrap_or_default();
                report.variant = Some(old_variant(old.kind, &start));
                let id = Digest::id(&old.id);
                (Kind::Old(old), id)
            }
            (None, None) => return report,
        };
        let file =
            File { name: name.into(), kind, head: Head::Unread, thread: None, id, told: true };
        if let Head::Known(known) = self.head(&file) {
            report = report.describe(known.header.clone());
        }
        if let Err(trouble) = self.decode(&file) {
            return report.trouble(trouble);
        }
        let catalog = self.catalog();
        let mut seats = catalog.of_id(id);
        if let Some((seat, file)) = seats.find(|(_, f)| *f.name == *name)
            && catalog.is_superseded(seat, file)
        {
            report.health = Health::Superseded;
            report.reason = Some(("superseded", "a younger file has the same id".to_owned()));
        }
        report
    }
}

/// Says how every file of a directory is without knowing the state's type, without a lock and
/// without changing anything: what another process does meanwhile may show as missing files. One
/// file is held at a time, and no state of more than `max_state` bytes is read or inflated.
///
/// # Errors
/// What the system answers to listing the directory; a file's own trouble is in its report.
pub fn inspect(
    fs: &dyn Fs,
    dir: &Path,
    max_state: u64,
) -> Result<Vec<FileReport>, CheckpointError> {
    let mut reports = each(fs, dir, |name| untyped(fs, dir, name, max_state))?;
    let threads = reports.iter().filter_map(|report| report.thread.clone());
    let threads: BTreeMap<Digest, String> =
        threads.map(|thread| (Digest::thread(&thread), thread)).collect();
    for report in reports.iter_mut().filter(|report| report.thread.is_none()) {
        let name = FileName::parse(&report.name);
        report.thread = name.and_then(|name| threads.get(&name.thread).cloned());
    }
    Ok(reports)
}

fn untyped(fs: &dyn Fs, dir: &Path, name: &str, max_state: u64) -> FileReport {
    let report = FileReport::new(name, Role::Checkpoint);
    if let Some(name) = FileName::parse(name) {
        return untyped_new(fs, dir, &name, report, max_state);
    }
    match OldFile::parse(name) {
        Some(old) => untyped_old(fs, dir, &old, report, max_state),
        None => report,
    }
}

fn too_long(max_state: u64) -> String {
    format!("longer than any file of a state of {max_state} bytes, and no larger one is read")
}

fn untyped_new(
    fs: &dyn Fs,
    dir: &Path,
    name: &FileName,
    mut report: FileReport,
    max_state: u64,
) -> FileReport {
    report.format = Some(VERSION);
    report.generation = Some(name.generation);
    let path = dir.join(&report.name);
    let known = match read_head(fs, &path, name) {
        Ok(known) => known,
        Err(trouble) => return report.trouble(trouble),
    };
    let report = report.describe(known.header.clone());
    let bytes = match fs.read(&path, file_limit(max_state)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return report.trouble(oversize(fs, &path, &known, too_long(max_state)));
        }
        Err(error) => return report.trouble(Trouble::System(error)),
    };
    let stored = bytes.get(known.bytes.len()..).unwrap_or_default();
    match untyped_payload(&known.header, stored, max_state) {
        Ok(()) => report,
        Err(fault) => report.trouble(Trouble::Fault(fault)),
    }
}

fn untyped_old(
    fs: &dyn Fs,
    dir: &Path,
    old: &OldFile,
    mut report: FileReport,
    max_state: u64,
) -> FileReport {
    report.format = Some(1);
    let bytes = match fs.read(&dir.join(&report.name), file_limit(max_state)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let fault = Fault::Reader(ErrorKind::Oversize, too_long(max_state));
            return report.trouble(Trouble::Fault(fault));
        }
        Err(error) => return report.trouble(Trouble::System(error)),
    };
    let variant = old_variant(old.kind, &bytes);
    report.variant = Some(variant);
    match v1::untyped(old, &bytes, max_state) {
        Ok(info) => {
            let mut report = report.about(info);
            report.saved = report.saved.filter(|_| old.kind.versioned);
            if matches!(variant, "bare" | "versioned") {
                report.health = Health::Unproven;
                let text = "this variant has no checksum; its state's type proves more";
                report.reason = Some(("no_checksum", text.to_owned()));
            }
            report
        }
        Err(fault) => report.trouble(Trouble::Fault(fault)),
    }
}

fn untyped_payload(header: &Header, stored: &[u8], max_state: u64) -> Result<(), Fault> {
    payload::check(header, stored)?;
    payload::with_state(header, stored, max_state, |encoded| {
        payload::whole::<IgnoredAny>(encoded)
            .map(drop)
            .map_err(|text| Fault::Reader(ErrorKind::DeserializationFailed, text))
    })
}
