//! The reference behind answers that are wrong.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dashproof_reference::fs::Fs;

use super::super::racing::Counter;
use super::super::subject::edit_samples;
use crate::subject::store::{
    self, Answered, Checkpointer, Given, Listed, Refusal, Saver, Setup, Wall,
};

/// States above so many bytes cannot be loaded.
const LOADABLE: usize = 1024;

enum Lie {
    ByWallClock,
    CorruptAsNone,
    NotLoadable,
    SilentReset,
    TrustsIndex(Trusted),
    /// The same, and it is written first.
    IndexFirst(Trusted),
    NewerPassedOver,
    /// Real ids by the ids that were told.
    ClockIds(Wall, BTreeMap<String, String>),
    RacingIds(Arc<Counter>),
}

struct Lying {
    inner: Box<dyn Checkpointer>,
    lie: Lie,
}

fn lying(setup: Setup, lie: Lie) -> Answered<Box<dyn Checkpointer>> {
    Ok(Box::new(Lying { inner: store::reference(setup)?, lie }))
}

pub(in crate::saboteur) fn by_wall_clock(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    lying(setup, Lie::ByWallClock)
}

pub(in crate::saboteur) fn corrupt_as_none(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    lying(setup, Lie::CorruptAsNone)
}

pub(in crate::saboteur) fn not_loadable(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    lying(setup, Lie::NotLoadable)
}

pub(in crate::saboteur) fn silent_reset(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    lying(setup, Lie::SilentReset)
}

pub(in crate::saboteur) fn newer_passed_over(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    lying(setup, Lie::NewerPassedOver)
}

pub(in crate::saboteur) fn clock_ids(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    let wall = setup.wall.clone();
    lying(setup, Lie::ClockIds(wall, BTreeMap::new()))
}

pub(in crate::saboteur) fn racing_ids(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    let counter = Counter::of(setup.entropy);
    lying(setup, Lie::RacingIds(Arc::new(counter)))
}

pub(in crate::saboteur) fn bad_file_blocks(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    let mut store = store::reference(setup)?;
    match store.verify()?.first() {
        None => Ok(store),
        Some(bad) => {
            let text = format!("{bad} is damaged: the directory cannot be opened");
            Err(Refusal { kind: "integrity_check_failed".to_owned(), text })
        }
    }
}

pub(in crate::saboteur) fn trusts_index(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    let (inner, trusted) = trusting(setup)?;
    Ok(Box::new(Lying { inner, lie: Lie::TrustsIndex(trusted) }))
}

pub(in crate::saboteur) fn index_first(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    let (inner, trusted) = trusting(setup)?;
    Ok(Box::new(Lying { inner, lie: Lie::IndexFirst(trusted) }))
}

fn trusting(setup: Setup) -> Answered<(Box<dyn Checkpointer>, Trusted)> {
    let (fs, dir) = (setup.fs.clone(), setup.dir.clone());
    let rng = fastrand::Rng::with_seed(setup.entropy);
    let inner = store::reference(setup)?;
    let mut trusted = Trusted { fs, dir, rng, newest: BTreeMap::new() };
    trusted.read();
    Ok((inner, trusted))
}

/// An index that is believed: each thread's newest id.
struct Trusted {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    rng: fastrand::Rng,
    newest: BTreeMap<String, String>,
}

impl Trusted {
    fn path(&self) -> PathBuf {
        self.dir.join("index.trusted")
    }

    fn read(&mut self) {
        let bytes = self.fs.read(&self.path(), 1 << 20).unwrap_or_default();
        self.newest = serde_json::from_slice(&bytes).unwrap_or_default();
    }

    /// The index says what is the newest, durably; then the checkpoint is saved.
    fn saved_after(
        &mut self,
        inner: &mut dyn Checkpointer,
        thread: &str,
        id: Option<&str>,
        state: &str,
    ) -> Answered<String> {
        let id = id.map_or_else(|| format!("{:032x}", self.rng.u128(..)), str::to_owned);
        let before = self.newest.insert(thread.to_owned(), id.clone());
        self.write().ok();
        let saved = inner.save(thread, Some(&id), state);
        if saved.is_err() {
            self.newest.remove(thread);
            self.newest.extend(before.map(|before| (thread.to_owned(), before)));
            self.write().ok();
        }
        saved
    }

    /// Each file in good order: written, synced, named, and the name synced.
    fn write(&mut self) -> std::io::Result<()> {
        let temporary: &Path = &self.dir.join(format!("tmp-{:032x}.dck", self.rng.u128(..)));
        let bytes = serde_json::to_vec(&self.newest)?;
        let mut file = self.fs.create_new(temporary)?;
        file.write_all(&bytes)?;
        file.sync()?;
        self.fs.rename(temporary, &self.path())?;
        self.fs.sync_dir(&self.dir)
    }
}

fn unreadable(given: Given) -> Answered<Given> {
    if given.state.len() <= LOADABLE {
        return Ok(given);
    }
    let text = "the encoding does not describe itself".to_owned();
    Err(Refusal { kind: "deserialization_failed".to_owned(), text })
}

impl Checkpointer for Lying {
    fn save(&mut self, thread: &str, id: Option<&str>, state: &str) -> Answered<String> {
        let own = id.is_none();
        if let Lie::IndexFirst(trusted) = &mut self.lie {
            return trusted.saved_after(self.inner.as_mut(), thread, id, state);
        }
        let racing = match &self.lie {
            Lie::RacingIds(counter) if own => Some(counter.id()),
            _ => None,
        };
        let id = self.inner.save(thread, id.or(racing.as_deref()), state)?;
        match &mut self.lie {
            Lie::TrustsIndex(trusted) => {
                trusted.newest.insert(thread.to_owned(), id.clone());
                trusted.write().ok();
            }
            Lie::ClockIds(wall, real) if own => {
                let told = format!("checkpoint-{}", wall());
                real.insert(told.clone(), id);
                return Ok(told);
            }
            _ => {}
        }
        Ok(id)
    }

    fn saver(&self) -> Option<Saver> {
        let Lie::RacingIds(counter) = &self.lie else { return None };
        let (counter, save) = (Arc::clone(counter), self.inner.saver()?);
        Some(Arc::new(move |thread, id, state| {
            let racing = id.is_none().then(|| counter.id());
            save(thread, id.or(racing.as_deref()), state)
        }))
    }

    fn load(&mut self, id: &str) -> Answered<Given> {
        let real = match &self.lie {
            Lie::ClockIds(_, real) => real.get(id),
            _ => None,
        };
        let id = real.map_or(id, String::as_str);
        let given = self.inner.load(id)?;
        if matches!(self.lie, Lie::NotLoadable) { unreadable(given) } else { Ok(given) }
    }

    fn latest(&mut self, thread: &str) -> Answered<Option<Given>> {
        match &self.lie {
            Lie::ByWallClock => {
                let listed = self.inner.list(thread)?;
                let newest = listed.iter().rev().max_by_key(|listed| listed.secs);
                newest.map(|listed| self.inner.load(&listed.id)).transpose()
            }
            Lie::CorruptAsNone => {
                let newest = self.inner.list(thread)?.into_iter().next();
                match newest.map(|listed| self.inner.load(&listed.id)) {
                    Some(Ok(given)) => Ok(Some(given)),
                    _ => Ok(None),
                }
            }
            Lie::NotLoadable => self.inner.latest(thread)?.map(unreadable).transpose(),
            Lie::TrustsIndex(trusted) => match trusted.newest.get(thread) {
                Some(id) => match self.inner.load(id) {
                    Ok(given) => Ok(Some(given)),
                    Err(_) => self.inner.latest(thread),
                },
                None => self.inner.latest(thread),
            },
            // what the index names must be there: it is not looked for again
            Lie::IndexFirst(trusted) => match trusted.newest.get(thread) {
                Some(id) => self.inner.load(id).map(Some),
                None => self.inner.latest(thread),
            },
            Lie::NewerPassedOver => {
                let listed = self.inner.list(thread)?;
                Ok(listed.iter().find_map(|listed| self.inner.load(&listed.id).ok()))
            }
            Lie::SilentReset | Lie::ClockIds(..) | Lie::RacingIds(_) => self.inner.latest(thread),
        }
    }

    fn list(&mut self, thread: &str) -> Answered<Vec<Listed>> {
        self.inner.list(thread)
    }

    fn threads(&mut self) -> Answered<Vec<String>> {
        self.inner.threads()
    }

    fn verify(&mut self) -> Answered<Vec<String>> {
        self.inner.verify()
    }

    fn delete(&mut self, id: &str) -> Answered<u64> {
        self.inner.delete(id)
    }

    fn delete_thread(&mut self, thread: &str) -> Answered<u64> {
        self.inner.delete_thread(thread)
    }

    fn retain(&mut self, keep: NonZeroUsize) -> Answered<u64> {
        self.inner.retain(keep)
    }

    fn metrics(&self) -> String {
        let text = self.inner.metrics();
        if matches!(self.lie, Lie::SilentReset) {
            let damage = |series: &str| series.contains("_index_damage_total");
            return edit_samples(&text, damage, |_| Some(0.0));
        }
        text
    }

    fn close(self: Box<Self>) {
        self.inner.close();
    }
}
