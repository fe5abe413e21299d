//! What a store must hold, as far as the history tells: per thread its checkpoints in the order of
//! their saves, each certain, in doubt or gone.

use std::collections::{BTreeMap, BTreeSet};

/// Whether a checkpoint is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// Acknowledged and not deleted.
    Held,
    /// Its save or its end was never acknowledged, or retention may have removed it.
    Doubt,
    /// Deleted, and that was acknowledged.
    Gone,
}

/// What happened to its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    Sound,
    Damaged,
    /// Damaged by being deleted, so that nothing is left to be found or counted.
    Deleted,
    /// Made one of a newer format.
    Newer,
}

/// A checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    /// `None` while the store has not told the id that it gave.
    pub(super) id: Option<String>,
    pub(super) sha: String,
    pub(super) stands: Stands,
    pub(super) file: File,
    /// It may be missing from a list: a removal is under way.
    pub(super) optional: bool,
    /// It may be there, but not as the latest: what is newer is removed after it.
    pub(super) shadowed: bool,
    /// Its save failed while this open of the store had the directory: no answer of it may have it.
    pub(super) failed_in: Option<u64>,
    /// The line that said so.
    pub(super) failed_at: usize,
}

impl Saved {
    pub(super) fn new(id: Option<String>, sha: String) -> Self {
        Self {
            id,
            sha,
            stands: Stands::Doubt,
            file: File::Sound,
            optional: false,
            shadowed: false,
            failed_in: None,
            failed_at: 0,
        }
    }

    pub(super) fn is(&self, id: &str) -> bool {
        self.id.as_deref() == Some(id)
    }

    /// This checkpoint can be what an answer means. A checkpoint without a known id can have any.
    pub(super) fn can_be(&self, id: &str, sha: &str) -> bool {
        self.sha == sha && self.id.as_deref().is_none_or(|own| own == id)
    }
}

/// Every thread's checkpoints, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) threads: BTreeMap<String, Vec<Saved>>,
}

/// What `latest` may answer for a thread.
#[derive(Debug, Default)]
pub(super) struct Allowed<'m> {
    /// One of these.
    pub(super) any: Vec<&'m Saved>,
    /// None at all.
    pub(super) none: bool,
    /// An error, since nothing undamaged may be left.
    pub(super) damaged: bool,
    /// The refusal of a newer format.
    pub(super) newer: bool,
}

impl Model {
    pub(super) fn of(&self, thread: &str) -> &[Saved] {
        self.threads.get(thread).map_or(&[], Vec::as_slice)
    }

    /// Some file is damaged, in a thread or in any.
    pub(super) fn damage(&self, thread: Option<&str>) -> bool {
        let of = |name: &str| thread.is_none_or(|thread| thread == name);
        let mut saved = self.threads.iter().filter(|(name, _)| of(name)).flat_map(|(_, all)| all);
        saved.any(|saved| saved.file != File::Sound)
    }

    /// What `latest` may answer while the store is opened for the `open`-th time.
    pub(super) fn latest(&self, thread: &str, open: Option<u64>) -> Allowed<'_> {
        let mut allowed = Allowed::default();
        let hurt = self.damage(Some(thread));
        for saved in self.of(thread).iter().rev() {
            let failed = open.is_some() && saved.failed_in == open;
            if saved.stands == Stands::Gone || failed || (saved.shadowed && !hurt) {
                continue;
            }
            match saved.file {
                File::Damaged => allowed.damaged = true,
                // It may be noticed or not that there was one.
                File::Deleted => (allowed.damaged, allowed.none) = (true, true),
                File::Newer => {
                    allowed.newer = true;
                    if saved.stands == Stands::Held {
                        allowed.damaged = false;
                        return allowed;
                    }
                }
                File::Sound => {
                    allowed.any.push(saved);
                    if saved.stands == Stands::Held {
                        allowed.damaged = false;
                        allowed.none = false;
                        return allowed;
                    }
                }
            }
        }
        allowed.none |= !allowed.damaged;
        allowed
    }

    /// Retention: what is older than a thread's newest `keep` ends as `done` says; `Held` means
    /// that it is under way. What is damaged counts or does not, as the store can see it or not.
    pub(super) fn retain(&mut self, thread: &str, keep: usize, done: Stands) {
        let hurt = self.damage(Some(thread));
        let Some(all) = self.threads.get_mut(thread) else { return };
        let (mut kept, mut loadable) = (0, false);
        for saved in all.iter_mut().rev().filter(|saved| saved.stands != Stands::Gone) {
            let sound = saved.file == File::Sound && saved.stands == Stands::Held;
            if kept < keep || (sound && !loadable) {
                kept += usize::from(saved.stands == Stands::Held);
                loadable |= sound;
                continue;
            }
            match done {
                Stands::Held => saved.optional = true,
                _ if hurt => saved.stands = Stands::Doubt,
                _ => saved.stands = done,
            }
        }
    }

    /// A change that was asked for on this line was acknowledged: what failed before it while the
    /// same open of the store had the directory does not come back.
    pub(super) fn acknowledged(&mut self, open: u64, asked: usize) {
        let all = self.threads.values_mut().flatten();
        let failed = all.filter(|saved| saved.failed_in == Some(open) && saved.failed_at < asked);
        failed
            .filter(|saved| saved.stands == Stands::Doubt)
            .for_each(|saved| saved.stands = Stands::Gone);
    }

    /// After a crash what is in doubt is settled by what is there.
    pub(super) fn settle(&mut self, thread: &str, listed: &[String]) {
        let Some(all) = self.threads.get_mut(thread) else { return };
        for saved in all.iter_mut().filter(|saved| saved.file == File::Sound) {
            let there = saved.id.as_ref().is_some_and(|id| listed.contains(id));
            let doubted = saved.stands == Stands::Doubt || saved.optional;
            if saved.stands != Stands::Gone && doubted {
                saved.stands = if there { Stands::Held } else { Stands::Gone };
                saved.optional = false;
                saved.shadowed = false;
            }
        }
    }
}

/// Where the checkpoints of an id are: thread and position. Positions stay, for nothing is taken
/// out of a [`Model`].
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<String, BTreeSet<(String, usize)>>);

impl Places {
    /// The newest checkpoint of a thread, with its id if that is known.
    pub(super) fn push(&mut self, model: &mut Model, thread: &str, saved: Saved) {
        let all = model.threads.entry(thread.to_owned()).or_default();
        if let Some(id) = &saved.id {
            self.add(id, thread, all.len());
        }
        all.push(saved);
    }

    /// A checkpoint turned out to have this id.
    pub(super) fn named(&mut self, model: &mut Model, thread: &str, at: usize, id: &str) {
        let Some(saved) = model.threads.get_mut(thread).and_then(|all| all.get_mut(at)) else {
            return;
        };
        if let Some(old) = saved.id.replace(id.to_owned())
            && let Some(places) = self.0.get_mut(&old)
        {
            places.remove(&(thread.to_owned(), at));
        }
        self.add(id, thread, at);
    }

    fn add(&mut self, id: &str, thread: &str, at: usize) {
        self.0.entry(id.to_owned()).or_default().insert((thread.to_owned(), at));
    }

    /// Every checkpoint with this id, threads in order, oldest first.
    pub(super) fn all<'m>(
        &self,
        model: &'m Model,
        id: &str,
    ) -> impl DoubleEndedIterator<Item = &'m Saved> {
        let places = self.0.get(id).into_iter().flatten();
        places.filter_map(|(thread, at)| model.of(thread).get(*at))
    }

    /// The checkpoint with this id that counts: the last one saved under it that is not gone.
    pub(super) fn find<'m>(&self, model: &'m Model, id: &str) -> Option<&'m Saved> {
        let mut same = self.all(model, id).rev();
        same.find(|saved| saved.stands != Stands::Gone).or_else(|| self.all(model, id).next_back())
    }

    pub(super) fn each(&self, model: &mut Model, id: &str, change: impl Fn(&mut Saved)) {
        for (thread, at) in self.0.get(id).into_iter().flatten() {
            if let Some(saved) = model.threads.get_mut(thread).and_then(|all| all.get_mut(*at)) {
                change(saved);
            }
        }
    }
}
