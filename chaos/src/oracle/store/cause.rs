//! Which law a wrong answer breaks: what went before says what it should have been proof against.

use std::collections::BTreeSet;

use super::model::Model;
use crate::oracle::laws::LawId;

/// What a store can have been through, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Met {
    /// It is open under another variant than the one that wrote it.
    Switched,
    /// It was written by an older version.
    Older,
    /// The index was damaged.
    Index,
    /// The wall clock went back.
    Clock,
    /// A file operation failed.
    Error,
    /// The directory was opened again, after a close or a crash.
    Reopened,
}

/// What a store has been through.
#[derive(Clone, Debug, Default)]
pub(super) struct Past(BTreeSet<Met>);

impl Past {
    pub(super) fn add(&mut self, met: Met) {
        self.0.insert(met);
    }

    /// It is, or no longer is.
    pub(super) fn set(&mut self, met: Met, is: bool) {
        if is {
            self.add(met);
        } else {
            self.0.remove(&met);
        }
    }

    /// The law about an answer for a thread that is not what it must be, and a name for its rule.
    pub(super) fn law(&self, model: &Model, thread: &str) -> (LawId, &'static str) {
        if model.damage(Some(thread)) {
            (LawId::K2, "newest_undamaged")
        } else {
            self.undamaged(model)
        }
    }

    /// The same about a checkpoint whose own file is sound.
    pub(super) fn undamaged(&self, model: &Model) -> (LawId, &'static str) {
        if model.damage(None) {
            return (LawId::K10, "others");
        }
        match self.0.first() {
            Some(Met::Switched) => (LawId::K6, "variant"),
            Some(Met::Older) => (LawId::K8, "older"),
            Some(Met::Index) => (LawId::K3, "index"),
            Some(Met::Clock) => (LawId::K5, "clock"),
            Some(Met::Error) => (LawId::K11, "harm"),
            Some(Met::Reopened) => (LawId::K1, "reopen"),
            None => (LawId::K7, "saved"),
        }
    }
}
