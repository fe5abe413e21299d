//! Which lanes a file is for, beside those that it lists.
//!
//! What is written for Apache Kafka in containers is for any cluster that the user names, too:
//! files do not list `external`, which runs only when it is asked for by name.

use super::model::{Fault, LaneName, Scenario};

impl LaneName {
    /// The lane that files list when they mean this one too.
    #[must_use]
    pub const fn written_as(self) -> Self {
        match self {
            Self::External => Self::Kafka,
            own => own,
        }
    }
}

impl Scenario {
    /// True where the file lists this lane, or the one that stands for it.
    #[must_use]
    pub fn is_for(&self, lane: LaneName) -> bool {
        self.lanes.contains(&lane) || self.lanes.contains(&lane.written_as())
    }
}

impl Fault {
    /// True where the file says that nothing can meet it on this lane.
    #[must_use]
    pub fn may_be_unmet_on(&self, lane: LaneName) -> bool {
        self.unmet_on.contains_key(&lane) || self.unmet_on.contains_key(&lane.written_as())
    }
}
