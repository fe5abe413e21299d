//! Which law a wrong answer breaks: what went before says what it should have been proof against.

use super::model::Model;
use crate::oracle::laws::LawId;

/// What a store has been through.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// The index was damaged.
    pub(super) index: bool,
    /// The wall clock went back.
    pub(super) clock: bool,
    /// A file operation failed.
    pub(super) error: bool,
    /// The directory was opened again, after a close or a crash.
    pub(super) reopened: bool,
    /// It is open under another variant than the one that wrote it.
    pub(super) switched: bool,
}

impl Past {
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
            (LawId::K10, "others")
        } else if self.switched {
            (LawId::K6, "variant")
        } else if self.index {
            (LawId::K3, "index")
        } else if self.clock {
            (LawId::K5, "clock")
        } else if self.error {
            (LawId::K11, "harm")
        } else if self.reopened {
            (LawId::K1, "reopen")
        } else {
            (LawId::K7, "saved")
        }
    }
}
