//! A small store of its own: careful about syncs, with a checksum over the payload only.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use dashproof_reference::checkpoint::ErrorKind;
use dashproof_reference::fs::{FsLock, LockError};
use serde::{Deserialize, Serialize};

use crate::subject::store::{Answered, Checkpointer, Given, Listed, Refusal, Setup};

/// Opens it.
pub(in crate::saboteur) fn payload_crc(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    let dir = setup.dir.clone();
    setup.fs.create_dir(&dir).map_err(|e| refused(&e))?;
    let lock = setup.fs.lock(&dir.join("lock"), "small").map_err(|error| match error {
        LockError::Io(error) => refused(&error),
        held => Refusal { kind: "locked".to_owned(), text: held.to_string() },
    })?;
    let rng = fastrand::Rng::with_seed(setup.entropy);
    let mut small = Small { setup, dir, rng, files: BTreeMap::new(), _lock: lock };
    small.fill()?;
    Ok(Box::new(small))
}

/// What stands before the payload, unprotected.
#[derive(Clone, Serialize, Deserialize)]
struct Header {
    id: String,
    thread: String,
    secs: i64,
    crc: u32,
}

struct Small {
    setup: Setup,
    dir: PathBuf,
    rng: fastrand::Rng,
    /// By generation.
    files: BTreeMap<u64, Header>,
    _lock: Box<dyn FsLock>,
}

fn refused(error: &io::Error) -> Refusal {
    Refusal { kind: ErrorKind::of_io(error).as_str().to_owned(), text: error.to_string() }
}

fn damaged(text: &str) -> Refusal {
    Refusal { kind: "integrity_check_failed".to_owned(), text: text.to_owned() }
}

impl Small {
    fn path(&self, generation: u64) -> PathBuf {
        self.dir.join(format!("{generation:016x}.ckpt"))
    }

    fn fill(&mut self) -> Answered<()> {
        let listing = self.setup.fs.list(&self.dir).map_err(|e| refused(&e))?;
        for entry in listing {
            if entry.name.starts_with("tmp-") {
                drop(self.setup.fs.remove(&self.dir.join(&entry.name)));
            }
            let stem = entry.name.strip_suffix(".ckpt");
            let generation = stem.and_then(|stem| u64::from_str_radix(stem, 16).ok());
            if let Some(generation) = generation
                && let Ok((header, _)) = self.read(generation)
            {
                self.files.insert(generation, header);
            }
        }
        Ok(())
    }

    fn read(&self, generation: u64) -> Answered<(Header, Vec<u8>)> {
        let bytes = self.setup.fs.read(&self.path(generation), 1 << 30).map_err(|e| refused(&e))?;
        let end =
            bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("no header"))?;
        let (header, payload) = bytes.split_at(end);
        let header: Header = serde_json::from_slice(header).map_err(|e| damaged(&e.to_string()))?;
        let payload = payload.get(1..).unwrap_or_default();
        if crc32fast::hash(payload) != header.crc {
            return Err(damaged("the payload's checksum does not match"));
        }
        Ok((header, payload.to_vec()))
    }

    fn given(&self, generation: u64) -> Answered<Given> {
        let (header, payload) = self.read(generation)?;
        let state = String::from_utf8(payload).map_err(|e| damaged(&e.to_string()))?;
        let Header { id, thread, secs, .. } = header;
        Ok(Given { id, thread, state, secs })
    }

    fn write(&mut self, generation: u64, header: &Header, payload: &[u8]) -> io::Result<()> {
        let temporary: &Path = &self.dir.join(format!("tmp-{:032x}", self.rng.u128(..)));
        let mut file = self.setup.fs.create_new(temporary)?;
        file.write_all(&serde_json::to_vec(header)?)?;
        file.write_all(b"\n")?;
        file.write_all(payload)?;
        file.sync()?;
        self.setup.fs.rename(temporary, &self.path(generation))?;
        self.setup.fs.sync_dir(&self.dir)
    }

    fn of(&self, which: impl Fn(&Header) -> bool) -> Vec<u64> {
        self.files.iter().filter(|(_, header)| which(header)).map(|(n, _)| *n).collect()
    }

    fn remove(&mut self, generations: &[u64]) -> Answered<u64> {
        for generation in generations {
            self.setup.fs.remove(&self.path(*generation)).map_err(|e| refused(&e))?;
            self.files.remove(generation);
        }
        self.setup.fs.sync_dir(&self.dir).map_err(|e| refused(&e))?;
        Ok(generations.len() as u64)
    }
}

impl Checkpointer for Small {
    fn save(&mut self, thread: &str, id: Option<&str>, state: &str) -> Answered<String> {
        let generation = self.files.keys().next_back().map_or(1, |last| last + 1);
        let id = id.map_or_else(|| format!("{:016x}", self.rng.u64(..)), str::to_owned);
        let (secs, crc) = ((self.setup.wall)(), crc32fast::hash(state.as_bytes()));
        let header = Header { id: id.clone(), thread: thread.to_owned(), secs, crc };
        self.write(generation, &header, state.as_bytes()).map_err(|e| refused(&e))?;
        self.files.insert(generation, header);
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
        let of = self.files.values().rev().filter(|header| header.thread == thread);
        Ok(of.map(|header| Listed { id: header.id.clone(), secs: header.secs }).collect())
    }

    fn threads(&mut self) -> Answered<Vec<String>> {
        let mut all: Vec<String> = self.files.values().map(|h| h.thread.clone()).collect();
        all.sort();
        all.dedup();
        Ok(all)
    }

    fn verify(&mut self) -> Answered<Vec<String>> {
        let bad = self.files.keys().filter(|generation| self.read(**generation).is_err());
        Ok(bad.map(|generation| format!("{generation:016x}.ckpt")).collect())
    }

    fn delete(&mut self, id: &str) -> Answered<u64> {
        let all = self.of(|header| header.id == id);
        self.remove(&all)
    }

    fn delete_thread(&mut self, thread: &str) -> Answered<u64> {
        let all = self.of(|header| header.thread == thread);
        self.remove(&all)
    }

    fn retain(&mut self, keep: NonZeroUsize) -> Answered<u64> {
        let mut removed = 0;
        for thread in self.threads()? {
            let mut all = self.of(|header| header.thread == thread);
            all.truncate(all.len().saturating_sub(keep.get()));
            removed += self.remove(&all)?;
        }
        Ok(removed)
    }

    fn metrics(&self) -> String {
        String::new() // it counts nothing
    }

    fn close(self: Box<Self>) {}
}
