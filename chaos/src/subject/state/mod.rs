//! A maker of state diffs under test, as the disk lane drives it.

mod shown;

use std::collections::BTreeMap;
use std::sync::Arc;

use dashproof_reference::proto::StateDiff;
use dashproof_reference::state::{
    DiffConfig, DiffCounters, DiffMetrics, DiffToken, DiffTracker, Diffed,
};
use prometheus::{Registry, TextEncoder};

use crate::scenario::REPORTABLE;
use crate::scenario::model::StateSubject;

pub use shown::{Defect, Shown, canonical};

/// What goes out for an event that came with a state.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The event itself goes out.
    pub event: bool,
    /// What became of its state.
    pub answer: Answer,
}

/// What became of a state.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A patch to be sent.
    Patch {
        /// The message.
        diff: StateDiff,
        /// Names it, for [`Differ::lost`].
        token: u64,
    },
    /// The whole state, to be sent.
    Full {
        /// The message.
        diff: StateDiff,
        /// Names it, for [`Differ::lost`].
        token: u64,
    },
    /// There is nothing to send.
    Unchanged,
    /// The state has no diff.
    Degraded {
        /// Why, as a label.
        reason: String,
        /// Why, for people.
        text: String,
    },
}

impl Answer {
    /// As histories and metrics name it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Patch { .. } => "patch",
            Self::Full { .. } => "full",
            Self::Unchanged => "unchanged",
            Self::Degraded { .. } => "degraded",
        }
    }

    /// The message that goes out, and its token.
    #[must_use]
    pub const fn message(&self) -> Option<(&StateDiff, u64)> {
        match self {
            Self::Patch { diff, token } | Self::Full { diff, token } => Some((diff, *token)),
            Self::Unchanged | Self::Degraded { .. } => None,
        }
    }
}

/// Sends events with their states, for any number of threads.
pub trait Differ: Send {
    /// An event of this thread, with the state after it.
    fn step(&mut self, thread: &str, state: &Shown<'_>) -> Told;
    /// A message was not delivered.
    fn lost(&mut self, thread: &str, token: u64);
    /// Its metrics, as Prometheus text.
    fn metrics(&self) -> String;
}

/// Makes a differ.
pub type Start = Arc<dyn Fn(&StateSubject) -> Box<dyn Differ> + Send + Sync>;

/// The reference's own form of the limits.
pub(crate) fn config(limits: &StateSubject) -> DiffConfig {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    DiffConfig {
        max_state_bytes: limits.max_state_bytes,
        max_diff_bytes: limits.max_diff_bytes,
        max_depth: size(limits.max_depth),
        digest_budget_bytes: limits.digest_budget_bytes,
        window_bytes: size(limits.window_bytes),
    }
}

struct Reference {
    config: DiffConfig,
    counters: Arc<DiffCounters>,
    registry: Registry,
    trackers: BTreeMap<String, DiffTracker>,
    /// Those of each thread that can still be reported.
    tokens: BTreeMap<u64, DiffToken>,
    next: u64,
}

/// The reference's: a tracker for each thread, and the event beside it whatever the tracker says.
#[must_use]
pub fn reference(limits: &StateSubject) -> Box<dyn Differ> {
    let registry = Registry::new();
    // a registry of its own has no metrics yet
    let counters = DiffMetrics::register(&registry).map(|metrics| metrics.counters());
    Box::new(Reference {
        config: config(limits),
        counters: counters.unwrap_or_default(),
        registry,
        trackers: BTreeMap::new(),
        tokens: BTreeMap::new(),
        next: 0,
    })
}

impl Reference {
    fn token(&mut self, token: DiffToken) -> u64 {
        let name = self.next;
        self.next += 1;
        self.tokens.insert(name, token);
        if self.tokens.len() > REPORTABLE {
            self.tokens.pop_first();
        }
        name
    }
}

impl Differ for Reference {
    fn step(&mut self, thread: &str, state: &Shown<'_>) -> Told {
        let (config, counters) = (self.config, &self.counters);
        let tracker = self
            .trackers
            .entry(thread.to_owned())
            .or_insert_with(|| DiffTracker::with_counters(config, Arc::clone(counters)));
        let answer = match tracker.diff(state) {
            Diffed::Patch { diff, token } => Answer::Patch { diff, token: self.token(token) },
            Diffed::Full { diff, token, .. } => Answer::Full { diff, token: self.token(token) },
            Diffed::Unchanged => Answer::Unchanged,
            Diffed::Degraded(error) => {
                let reason = error.reason().as_str().to_owned();
                Answer::Degraded { reason, text: error.to_string() }
            }
        };
        Told { event: true, answer }
    }

    fn lost(&mut self, thread: &str, token: u64) {
        if let (Some(tracker), Some(token)) =
            (self.trackers.get_mut(thread), self.tokens.get(&token))
        {
            tracker.lost(*token);
        }
    }

    fn metrics(&self) -> String {
        // names and labels are the reference's own table: what cannot be encoded is no text
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
