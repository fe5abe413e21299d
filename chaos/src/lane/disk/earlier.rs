//! Directories that others have written to before the run.
//!
//! The files of version 1 are made here, after the layout that is known of it and not by the
//! reference: a DCHK header or none, bincode 1.3 or the wrapper with the state as JSON, gzip or
//! not, and an index that says of each thread which is its latest.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::DIR;
use super::ground::Ground as _;
use super::session::{Known, Session, locked, sha};
use crate::disk::SimFs;
use crate::history::{AtRest, Kind, Src};
use crate::scenario::model::Load;

/// Seconds between two saves of version 1.
const APART: i64 = 60;
/// What was written now was written within the last day.
const DAY: i64 = 86_400;
/// 2100-01-01T00:00:00Z.
const FUTURE: i64 = 4_102_444_800;

/// What somebody saves.
pub(super) struct Draft {
    pub(super) thread: String,
    /// The caller's own id.
    pub(super) id: Option<String>,
    pub(super) state: String,
}

/// Fields as bincode 1.3 writes them: lengths and integers of fixed width, little endian.
#[derive(Default)]
struct Bincode(Vec<u8>);

impl Bincode {
    fn u32(&mut self, n: u32) {
        self.0.extend(n.to_le_bytes());
    }

    fn u64(&mut self, n: u64) {
        self.0.extend(n.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u64(text.len() as u64);
        self.0.extend(text.as_bytes());
    }
}

/// A checkpoint of version 1.
struct Old<'a> {
    id: &'a str,
    thread: &'a str,
    state: &'a str,
    parent: Option<&'a str>,
    secs: u64,
}

impl Old<'_> {
    fn rest(&self, out: &mut Bincode) {
        out.text("a node");
        out.u64(self.secs);
        out.u32(500);
        out.0.push(u8::from(self.parent.is_some()));
        if let Some(parent) = self.parent {
            out.text(parent);
        }
        out.u64(1);
        out.text("by");
        out.text("version 1");
    }

    fn plain(&self) -> Vec<u8> {
        let mut out = Bincode::default();
        out.text(self.id);
        out.text(self.thread);
        out.text(self.state);
        self.rest(&mut out);
        out.0
    }

    fn wrapped(&self) -> Vec<u8> {
        let mut out = Bincode::default();
        out.u32(1);
        out.text(&serde_json::json!({ "text": self.state }).to_string());
        out.text(self.id);
        out.text(self.thread);
        self.rest(&mut out);
        out.0
    }
}

/// The header that only the plain variant has.
fn with_header(payload: &[u8]) -> Vec<u8> {
    let mut out = Bincode(b"DCHK".to_vec());
    out.u32(1);
    out.u32(crc32fast::hash(payload));
    out.u64(payload.len() as u64);
    out.0.extend(payload);
    out.0
}

fn gzip(payload: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // neither can fail in memory
    drop(encoder.write_all(payload));
    encoder.finish().unwrap_or_default()
}

/// The file's name behind the id, and its bytes.
fn old_file(writer: &str, old: &Old<'_>) -> (&'static str, Vec<u8>) {
    match writer {
        "v1-compressed" => ("bin.gz", gzip(&old.plain())),
        "v1-bare" => ("bin", old.plain()),
        "v1-versioned" => ("v.bin", old.wrapped()),
        "v1-versioned-gz" => ("v.bin.gz", gzip(&old.wrapped())),
        _ => ("bin", with_header(&old.plain())),
    }
}

impl Session {
    /// Puts into the directory what the writer of this load leaves there.
    ///
    /// # Errors
    /// The subject could not save it, in good words.
    pub(super) fn written_before(&mut self, load: &Load, what: Vec<Draft>) -> Result<(), String> {
        match load.writer.as_str() {
            "earlier" => self.by_itself(what),
            writer => {
                self.by_version_1(writer, &load.dated, &what);
                Ok(())
            }
        }
    }

    fn at_rest(&mut self, draft: &Draft, id: String, path: PathBuf, by: &str) {
        let Draft { thread, state, .. } = draft;
        self.threads.insert(thread.clone());
        let there = AtRest {
            thread: thread.clone(),
            id: id.clone(),
            sha: sha(state),
            path: path.display().to_string(),
            by: by.to_owned(),
        };
        self.recorder.record(Src::Fs, Kind::AtRest(there));
        self.known.push(Known { thread: thread.clone(), id, path });
    }

    /// The subject's own saves, which nobody watches.
    fn by_itself(&mut self, what: Vec<Draft>) -> Result<(), String> {
        let simulated = self.ground.simulated().cloned();
        let disk = simulated.ok_or("only a simulated disk can be one that nobody watched")?;
        let disk = disk.on(SimFs::new(disk.fs.live()));
        let named: Arc<Mutex<PathBuf>> = Arc::default();
        let renamed = named.clone();
        disk.fs.watch(move |seen| {
            if let Some((_, to)) = seen.path.split_once(" -> ") {
                *locked(&renamed) = to.into();
            }
        });
        let opening = self.opening(self.variant);
        let mut store = disk.clone().open(opening).map_err(|refusal| refusal.to_string())?;
        let mut saved = Vec::new();
        for draft in what {
            let id = store.save(&draft.thread, draft.id.as_deref(), &draft.state);
            let id = id.map_err(|refusal| refusal.to_string())?;
            saved.push((draft, id, locked(&named).clone()));
        }
        store.close();
        let left = SimFs::new(disk.fs.live());
        self.attach(Box::new(disk.on(left)));
        for (draft, id, path) in saved {
            self.at_rest(&draft, id, path, "earlier");
        }
        Ok(())
    }

    fn by_version_1(&mut self, writer: &str, dated: &str, what: &[Draft]) {
        // what is written later is dated later
        let begin = match dated {
            "past" => 0,
            "future" => FUTURE,
            _ => self.ground.wall() - DAY,
        };
        let mut secs = begin + self.old_secs;
        self.old_secs += i64::try_from(what.len()).unwrap_or(i64::MAX).saturating_mul(APART);
        self.ground.make_dir();
        let process = self.rng.u64(..);
        let mut latest: BTreeMap<&str, (String, u64)> = BTreeMap::new();
        for (n, draft) in (1_u32..).zip(what) {
            let Draft { thread, state, .. } = draft;
            let id = format!("{thread}_{process:016x}_chkpt{n}");
            let parent = latest.get(thread.as_str()).map(|(id, _)| id.as_str());
            let seconds = u64::try_from(secs).unwrap_or(0);
            let old = Old { id: &id, thread, state, parent, secs: seconds };
            let (extension, bytes) = old_file(writer, &old);
            let path = Path::new(DIR).join(format!("{id}.{extension}"));
            self.put(&path, Some(bytes));
            self.at_rest(draft, id.clone(), path, writer);
            latest.insert(thread, (id, seconds));
            secs += APART;
        }
        let mut index = Bincode::default();
        index.u64(latest.len() as u64);
        for (thread, (id, seconds)) in latest {
            index.text(thread);
            index.text(&id);
            index.u64(seconds);
            index.u32(500);
        }
        self.put(&Path::new(DIR).join("index.bin"), Some(index.0));
        if writer == "v1-file" {
            self.put(&Path::new(DIR).join(".checkpoint.lock"), Some(Vec::new()));
        }
    }
}
