//! A small store of its own: careful about syncs, with a checksum over the payload only. It can
//! also name its files by the ids that it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use dashproof_reference::checkpoint::ErrorKind;
use dashproof_reference::fs::{FsLock, LockError};
use serde::{Deserialize, Serialize};

use super::counted::{Counted, Counts};
use crate::subject::store::{Answered, Checkpointer, Given, Listed, Refusal, Setup};

/// The checksum is the weakness.
pub(in crate::saboteur) fn payload_crc(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    open(setup, false)
}

/// So are the names.
pub(in crate::saboteur) fn names_from_ids(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    open(setup, true)
}

fn open(setup: Setup, by_id: bool) -> Answered<Box<dyn Checkpointer>> {
    let dir = setup.dir.clone();
    setup.fs.create_dir(&dir).map_err(|e| refused(&e))?;
    let lock = setup.fs.lock(&dir.join("lock"), "small").map_err(|error| match error {
        LockError::Io(error) => refused(&error),
        held => Refusal { kind: "locked".to_owned(), text: held.to_string() },
    })?;
    let rng = fastrand::Rng::with_seed(setup.entropy);
    let counts = Counts::default();
    let mut small = Small {
        setup,
        dir,
        by_id,
        rng,
        files: BTreeMap::new(),
        bad: BTreeSet::new(),
        counts: counts.clone(),
        _lock: lock,
    };
    small.fill()?;
    Ok(Box::new(Counted { inner: small, counts }))
}

/// What stands before the payload, unprotected.
#[derive(Clone, Serialize, Deserialize)]
struct Header {
    id: String,
    thread: String,
    secs: i64,
    generation: u64,
    crc: u32,
}

struct Small {
    setup: Setup,
    dir: PathBuf,
    /// Files are named by the ids of what is in them.
    by_id: bool,
    rng: fastrand::Rng,
    /// By generation.
    files: BTreeMap<u64, (PathBuf, Header)>,
    /// Damaged files that were counted.
    bad: BTreeSet<PathBuf>,
    counts: Counts,
    _lock: Box<dyn FsLock>,
}

fn refused(error: &io::Error) -> Refusal {
    Refusal { kind: ErrorKind::of_io(error).as_str().to_owned(), text: error.to_string() }
}

fn damaged(text: &str) -> Refusal {
    Refusal { kind: "integrity_check_failed".to_owned(), text: text.to_owned() }
}

impl Small {
    fn path(&self, header: &Header) -> PathBuf {
        let generation = || format!("{:016x}", header.generation);
        let stem = if self.by_id { header.id.clone() } else { generation() };
        self.dir.join(format!("{stem}.ckpt"))
    }

    fn fill(&mut self) -> Answered<()> {
        let listing = self.setup.fs.list(&self.dir).map_err(|e| refused(&e))?;
        for entry in listing {
            let path = self.dir.join(&entry.name);
            if entry.name.starts_with("tmp-") && self.setup.fs.remove(&path).is_ok() {
                self.counts.add("swept_temp_files_total", "");
            }
            if path.extension().is_some_and(|extension| extension == "ckpt")
                && let Ok((header, _)) = self.read(&path)
            {
                self.files.insert(header.generation, (path, header));
            }
        }
        Ok(())
    }

    fn read(&mut self, path: &Path) -> Answered<(Header, Vec<u8>)> {
        let bytes = self.setup.fs.read(path, 1 << 30).map_err(|e| refused(&e))?;
        let sound = taken_apart(&bytes);
        if sound.is_err() && self.bad.insert(path.to_owned()) {
            self.counts.add("corrupt_files_total", "payload_crc");
        }
        sound
    }

    fn given(&mut self, generation: u64) -> Answered<Given> {
        let path = self.files.get(&generation).map(|(path, _)| path.clone());
        let (header, payload) = self.read(&path.unwrap_or_default())?;
        let state = String::from_utf8(payload).map_err(|e| damaged(&e.to_string()))?;
        let Header { id, thread, secs, .. } = header;
        Ok(Given { id, thread, state, secs })
    }

    fn write(&mut self, header: &Header, payload: &[u8]) -> io::Result<()> {
        let temporary: &Path = &self.dir.join(format!("tmp-{:032x}", self.rng.u128(..)));
        let mut file = self.setup.fs.create_new(temporary)?;
        file.write_all(&serde_json::to_vec(header)?)?;
        file.write_all(b"\n")?;
        file.write_all(payload)?;
        file.sync()?;
        self.setup.fs.rename(temporary, &self.path(header))?;
        self.setup.fs.sync_dir(&self.dir)
    }

    fn of(&self, which: impl Fn(&Header) -> bool) -> Vec<u64> {
        self.files.iter().filter(|(_, (_, header))| which(header)).map(|(n, _)| *n).collect()
    }

    fn remove(&mut self, generations: &[u64], by: &str) -> Answered<u64> {
        for generation in generations {
            let Some((path, _)) = self.files.get(generation) else { continue };
            self.setup.fs.remove(path).map_err(|e| refused(&e))?;
            self.files.remove(generation);
            self.counts.add("deletes_total", by);
        }
        self.setup.fs.sync_dir(&self.dir).map_err(|e| refused(&e))?;
        Ok(generations.len() as u64)
    }
}

/// The header, as it is, and the payload, if its checksum is right.
fn taken_apart(bytes: &[u8]) -> Answered<(Header, Vec<u8>)> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("no header"))?;
    let (header, payload) = bytes.split_at(end);
    let header: Header = serde_json::from_slice(header).map_err(|e| damaged(&e.to_string()))?;
    let payload = payload.get(1..).unwrap_or_default();
    if crc32fast::hash(payload) != header.crc {
        return Err(damaged("the payload's checksum does not match"));
    }
    Ok((header, payload.to_vec()))
}

impl Checkpointer for Small {
    fn save(&mut self, thread: &str, id: Option<&str>, state: &str) -> Answered<String> {
        let generation = self.files.keys().next_back().map_or(1, |last| last + 1);
        let id = id.map_or_else(|| format!("{:016x}", self.rng.u64(..)), str::to_owned);
        let (secs, crc) = ((self.setup.wall)(), crc32fast::hash(state.as_bytes()));
        let header = Header { id: id.clone(), thread: thread.to_owned(), secs, generation, crc };
        self.write(&header, state.as_bytes()).map_err(|e| refused(&e))?;
        self.files.insert(generation, (self.path(&header), header));
        Ok(id)
    }

    fn load(&mut self, id: &str) -> Answered<Given> {
        let newest = self.of(|header| header.id == id).pop();
        let not_found = || Refusal { kind: "not_found".to_owned(), text: id.to_owned() };
        self.given(newest.ok_or_else(not_found)?)
    }

    fn latest(&mut self, thread: &str) -> Answered<Option<Given>> {
        let mut error = None;
        for generation in self.of(|header| header.thread == thread).into_iter().rev() {
            match self.given(generation) {
                Ok(given) => return Ok(Some(given)),
                Err(refusal) => error = error.or(Some(refusal)),
            }
        }
        error.map_or(Ok(None), Err)
    }

    fn list(&mut self, thread: &str) -> Answered<Vec<Listed>> {
        let of = self.files.values().rev().filter(|(_, header)| header.thread == thread);
        Ok(of.map(|(_, header)| Listed { id: header.id.clone(), secs: header.secs }).collect())
    }

    fn threads(&mut self) -> Answered<Vec<String>> {
        let mut all: Vec<String> = self.files.values().map(|(_, h)| h.thread.clone()).collect();
        all.sort();
        all.dedup();
        Ok(all)
    }

    fn verify(&mut self) -> Answered<Vec<String>> {
        let known: Vec<PathBuf> = self.files.values().map(|(path, _)| path.clone()).collect();
        for path in &known {
            drop(self.read(path));
        }
        let name = |path: &PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
        Ok(self.bad.iter().filter_map(name).collect())
    }

    fn delete(&mut self, id: &str) -> Answered<u64> {
        let all = self.of(|header| header.id == id);
        self.remove(&all, "request")
    }

    fn delete_thread(&mut self, thread: &str) -> Answered<u64> {
        let all = self.of(|header| header.thread == thread);
        self.remove(&all, "request")
    }

    fn retain(&mut self, keep: NonZeroUsize) -> Answered<u64> {
        let mut removed = 0;
        for thread in self.threads()? {
            let mut all = self.of(|header| header.thread == thread);
            all.truncate(all.len().saturating_sub(keep.get()));
            removed += self.remove(&all, "retention")?;
        }
        Ok(removed)
    }

    fn metrics(&self) -> String {
        String::new() // it is counted from outside
    }

    fn close(self: Box<Self>) {}
}
