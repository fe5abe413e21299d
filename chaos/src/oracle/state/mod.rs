//! Laws about state diffs, R3 and R5, and their counters, M1.
//!
//! The harness knows every state that it offered, applies every message by a receiver of its own
//! and counts the heap. From the states' lengths, depths and defects it derives what each answer
//! may be; from the receiver's hash it sees whether the chain is sound.

mod metrics;
mod step;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use self::metrics::judge as judge_metrics;
use self::step::Step;
use super::findings::{Evidence, Findings};
use super::index::{At, Index};
use super::laws::LawId::{R3, R5};
use crate::history::{Kind, Src, StateAnswered, StateHeap};
use crate::scenario::model::StateSubject;

/// Kept for each thread beside the digests: the tracker itself, the base's id, its place in a map.
const BESIDE: u64 = 16 << 10;
/// Taken by a call beside what is stated: paths, keys and numbers on their way.
const ON_THE_WAY: u64 = 256 << 10;

/// Judges the answers to states, and what came of them.
pub(super) fn judge(index: &Index<'_>, f: &mut Findings) {
    let Some(limits) = &index.scenario.state else { return };
    let mut walk = Walk { f, limits, steps: BTreeMap::new(), unreported: BTreeMap::new() };
    for (n, line) in index.lines.iter().enumerate() {
        walk.line(At { line: n, t_us: line.t_us }, &line.kind, line.src);
    }
    walk.unanswered();
}

/// How many states were answered how: by `patch`, `degraded/too_large` and so on.
pub(super) fn answers(index: &Index<'_>) -> BTreeMap<String, u64> {
    let mut answers = BTreeMap::new();
    for line in index.lines {
        let Kind::StateAnswered(StateAnswered { what, reason, .. }) = &line.kind else { continue };
        let reason = reason.as_ref().map(|reason| format!("/{reason}")).unwrap_or_default();
        *answers.entry(format!("{what}{reason}")).or_default() += 1;
    }
    answers
}

struct Walk<'a, 'f> {
    f: &'f mut Findings,
    limits: &'a StateSubject,
    /// By number.
    steps: BTreeMap<u64, Step<'a>>,
    /// By thread: states whose message was lost, which the subject has not been told.
    unreported: BTreeMap<&'a str, BTreeSet<u64>>,
}

impl<'a> Walk<'a, '_> {
    fn line(&mut self, at: At, kind: &'a Kind, src: Src) {
        match (kind, src) {
            (Kind::StateOffered(offered), Src::Harness) => {
                let thread = self.unreported.entry(&offered.thread).or_default();
                let step = Step::new(at, offered, !thread.is_empty());
                self.steps.entry(offered.step).or_insert(step);
            }
            (Kind::StateAnswered(answer), _) => {
                self.f.checked(R5, 1);
                match self.steps.get_mut(&answer.step) {
                    Some(step) if step.answer.is_none() => step.answer = Some((at, answer)),
                    step => {
                        let second = step.is_some();
                        self.f.broken(R5, "answered", Evidence::line(at), || {
                            let what = if second { "a second answer to" } else { "an answer to" };
                            let rest = if second { "" } else { ", which was not offered" };
                            let observed = format!("{what} state {}{rest}", answer.step);
                            ("every state that is offered has one answer".to_owned(), observed)
                        });
                    }
                }
            }
            (Kind::StateReceived(received), Src::Harness) => {
                let Some(step) = self.steps.get_mut(&received.step) else { return };
                step.judge(at, received, self.limits, self.f);
                if received.message == "lost" {
                    let thread = self.unreported.entry(&step.offered.thread).or_default();
                    thread.insert(received.step);
                }
            }
            (Kind::StateLost(lost), Src::Harness) => {
                for steps in self.unreported.values_mut() {
                    steps.remove(&lost.step);
                }
            }
            (Kind::StateHeap(heap), Src::Os) => self.heap(at, heap),
            _ => {}
        }
    }

    /// R3: what a call takes, and what is kept between two.
    fn heap(&mut self, at: At, heap: &StateHeap) {
        let threads = self.unreported.len() as u64;
        let Some(step) = self.steps.get_mut(&heap.step) else { return };
        step.measured = true;
        let StateSubject { max_diff_bytes, digest_budget_bytes, window_bytes, .. } = *self.limits;
        let kept = digest_budget_bytes.saturating_add(BESIDE).saturating_mul(threads);
        let message = step.message_bytes(max_diff_bytes);
        let both = digest_budget_bytes.saturating_add(window_bytes);
        let peak = both.saturating_mul(2).saturating_add(message.saturating_mul(3));
        let peak = peak.saturating_add(ON_THE_WAY);
        let bytes = step.offered.bytes;
        let evidence = || Evidence::line(step.at).and(at);
        self.f.checked(R3, 2);
        if heap.kept_kib > kept.div_ceil(1024) {
            self.f.broken(R3, "kept", evidence(), || {
                let ceiling = kept.div_ceil(1024);
                let expected = format!(
                    "at most {ceiling} KiB kept between two diffs of {threads} thread(s): the \
                     budget for digests, and {} KiB beside it, for each",
                    BESIDE / 1024
                );
                (expected, format!("{} KiB after a state of {bytes} bytes", heap.kept_kib))
            });
        }
        if heap.peak_kib > peak.div_ceil(1024) {
            self.f.broken(R3, "peak", evidence(), || {
                let ceiling = peak.div_ceil(1024);
                let expected = format!(
                    "at most {ceiling} KiB during a diff: twice the budget and the window, three \
                     times the message of up to {message} bytes, and {} KiB",
                    ON_THE_WAY / 1024
                );
                (expected, format!("{} KiB for a state of {bytes} bytes", heap.peak_kib))
            });
        }
    }

    fn unanswered(self) {
        for step in self.steps.values() {
            self.f.checked(R5, 1);
            if step.answer.is_none() {
                self.f.broken(R5, "answered", Evidence::line(step.at), || {
                    let observed = format!("state {} has none", step.offered.step);
                    ("every state that is offered has one answer".to_owned(), observed)
                });
            } else if !step.received {
                self.f.undecided(R5, "the history does not say what arrived of every state");
            }
        }
        if self.steps.values().any(|step| !step.measured) {
            let why = "no allocator counted: run it with the `dashproof` command";
            self.f.undecided(R3, why);
        }
    }
}
