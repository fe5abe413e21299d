//! Wrong makers of state diffs: the reference behind answers, memory or counters that are wrong,
//! and one that moves its base too early.

use std::collections::BTreeMap;

use dashproof_reference::proto::StateDiff;
use dashproof_reference::state::state_hash;
use prost::Message as _;
use serde_json::Value;

use super::subject::edit_samples;
use super::{Sabotage, Saboteur};
use crate::scenario::model::LaneName::Disk;
use crate::scenario::model::StateSubject;
use crate::subject::state::{self, Answer, Differ, Shown, Told};

pub(super) const TABLE: &[Saboteur] = &[
    Saboteur {
        name: "diff-on-stale-base",
        row: "SAF-3",
        law: "R5",
        rule: "sound",
        lane: Disk,
        scenarios: &["state/oversized-in-a-chain", "state/one-byte-over"],
        about: "after a state that could not be sent, the next diff starts from it all the same",
        sabotage: Sabotage::Differ(stale_base),
    },
    Saboteur {
        name: "whole-state-retained",
        row: "SAF-3",
        law: "R3",
        rule: "kept",
        lane: Disk,
        scenarios: &["state/two-megabytes", "state/growing"],
        about: "keeps the state that was sent last, whole",
        sabotage: Sabotage::Differ(retained),
    },
    Saboteur {
        name: "oversized-loses-event",
        row: "SAF-3",
        law: "R5",
        rule: "event",
        lane: Disk,
        scenarios: &["state/one-byte-over"],
        about: "an event whose state is too large is not sent",
        sabotage: Sabotage::Differ(|limits| lying(limits, Lie::LosesEvent)),
    },
    Saboteur {
        name: "swallows-diff-errors",
        row: "INT-4",
        law: "R5",
        rule: "swallowed",
        lane: Disk,
        scenarios: &["state/unserialisable", "state/non-string-key", "state/not-a-number"],
        about: "a state that cannot be serialised becomes an empty patch",
        sabotage: Sabotage::Differ(|limits| lying(limits, Lie::Swallows(BTreeMap::new()))),
    },
    Saboteur {
        name: "oversized-not-counted",
        row: "INT-4",
        law: "M1",
        rule: "equal",
        lane: Disk,
        scenarios: &["state/one-byte-over"],
        about: "states without a diff do not show in any counter",
        sabotage: Sabotage::Differ(|limits| lying(limits, Lie::CountsNone)),
    },
    Saboteur {
        name: "losses-ignored",
        row: "",
        law: "R5",
        rule: "sound",
        lane: Disk,
        scenarios: &["state/messages-lost"],
        about: "goes on with patches although it was told that a message was lost",
        sabotage: Sabotage::Differ(|limits| lying(limits, Lie::Deaf)),
    },
];

enum Lie {
    LosesEvent,
    /// The hash that the receiver has, by thread.
    Swallows(BTreeMap<String, Vec<u8>>),
    CountsNone,
    Deaf,
}

struct Lying {
    inner: Box<dyn Differ>,
    lie: Lie,
}

fn lying(limits: &StateSubject, lie: Lie) -> Box<dyn Differ> {
    Box::new(Lying { inner: state::reference(limits), lie })
}

impl Differ for Lying {
    fn step(&mut self, thread: &str, state: &Shown<'_>) -> Told {
        let mut told = self.inner.step(thread, state);
        let degraded = matches!(told.answer, Answer::Degraded { .. });
        match &mut self.lie {
            Lie::LosesEvent => told.event = !degraded,
            Lie::Swallows(sent) => {
                if let Some((diff, _)) = told.answer.message() {
                    sent.insert(thread.to_owned(), diff.state_hash.clone());
                }
                if degraded {
                    let hash = sent.get(thread).cloned().unwrap_or_default();
                    let diff = StateDiff {
                        base_checkpoint_id: hash.clone(),
                        state_hash: hash,
                        ..StateDiff::default()
                    };
                    told.answer = Answer::Patch { diff, token: u64::MAX };
                }
            }
            Lie::CountsNone | Lie::Deaf => {}
        }
        told
    }

    fn lost(&mut self, thread: &str, token: u64) {
        if !matches!(self.lie, Lie::Deaf) {
            self.inner.lost(thread, token);
        }
    }

    fn metrics(&self) -> String {
        let text = self.inner.metrics();
        if matches!(self.lie, Lie::CountsNone) {
            return edit_samples(&text, |series| series.contains("_degraded_total"), |_| Some(0.0));
        }
        text
    }
}

/// The state of each thread that was sent last.
struct Retained {
    inner: Box<dyn Differ>,
    whole: BTreeMap<String, Value>,
}

fn retained(limits: &StateSubject) -> Box<dyn Differ> {
    Box::new(Retained { inner: state::reference(limits), whole: BTreeMap::new() })
}

impl Differ for Retained {
    fn step(&mut self, thread: &str, state: &Shown<'_>) -> Told {
        let told = self.inner.step(thread, state);
        // What was degraded may be too deep to be made a value.
        if !matches!(told.answer, Answer::Degraded { .. })
            && let Ok(whole) = serde_json::to_value(state)
        {
            self.whole.insert(thread.to_owned(), whole);
        }
        told
    }

    fn lost(&mut self, thread: &str, token: u64) {
        self.whole.remove(thread);
        self.inner.lost(thread, token);
    }

    fn metrics(&self) -> String {
        self.inner.metrics()
    }
}

/// One that moves its base before it looks at its limits.
struct StaleBase {
    limits: StateSubject,
    unlimited: Box<dyn Differ>,
    /// By kind and by reason.
    counts: BTreeMap<String, u64>,
}

fn stale_base(limits: &StateSubject) -> Box<dyn Differ> {
    let unlimited =
        StateSubject { max_state_bytes: u64::MAX, max_diff_bytes: u64::MAX, ..limits.clone() };
    let unlimited = state::reference(&unlimited);
    Box::new(StaleBase { limits: limits.clone(), unlimited, counts: BTreeMap::new() })
}

impl Differ for StaleBase {
    fn step(&mut self, thread: &str, state: &Shown<'_>) -> Told {
        let mut told = self.unlimited.step(thread, state);
        let limit = self.limits.max_diff_bytes;
        if let Err(error) = state_hash(state, &state::config(&self.limits)) {
            let reason = error.reason().as_str().to_owned();
            told.answer = Answer::Degraded { reason, text: error.to_string() };
        } else if told.answer.message().is_some_and(|(m, _)| m.encoded_len() as u64 > limit) {
            let (reason, text) = ("diff_too_large".to_owned(), "too large".to_owned());
            told.answer = Answer::Degraded { reason, text };
        }
        let label = match &told.answer {
            Answer::Degraded { reason, .. } => reason.as_str(),
            sent => sent.name(),
        };
        *self.counts.entry(label.to_owned()).or_default() += 1;
        told
    }

    fn lost(&mut self, thread: &str, token: u64) {
        self.unlimited.lost(thread, token);
    }

    /// The reference's series with its own counts: they are as true as its answers.
    fn metrics(&self) -> String {
        let counted = |line: &str| {
            let label = line.split('"').nth(1).filter(|_| !line.starts_with('#'));
            let sample = label.zip(line.rsplit_once(' ').map(|(series, _)| series));
            sample.map_or_else(
                || format!("{line}\n"),
                |(label, series)| {
                    format!("{series} {}\n", self.counts.get(label).copied().unwrap_or(0))
                },
            )
        };
        self.unlimited.metrics().lines().map(counted).collect()
    }
}

#[cfg(test)]
mod tests {
    use dashproof_reference::state::DegradeReason;

    use super::*;

    #[test]
    fn the_series_that_saboteurs_change_are_the_references() {
        let text = state::reference(&StateSubject::default()).metrics();
        for reason in DegradeReason::ALL {
            let series = format!("_degraded_total{{reason=\"{}\"}} 0", reason.as_str());
            assert!(text.contains(&series), "{text}");
        }
        assert_eq!(stale_base(&StateSubject::default()).metrics(), text);
    }
}
