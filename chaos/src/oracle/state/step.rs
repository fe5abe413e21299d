//! One state, its answer, and what came of it.

use dashproof_reference::state::DegradeReason;

use crate::history::{StateAnswered, StateOffered, StateReceived};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::At;
use crate::oracle::laws::LawId::R5;
use crate::scenario::model::StateSubject;

/// A state that was offered.
pub(super) struct Step<'a> {
    pub(super) at: At,
    pub(super) offered: &'a StateOffered,
    /// The subject does not know that messages of this thread were lost: the receiver cannot
    /// follow, and nobody is to blame.
    unknowing: bool,
    pub(super) answer: Option<(At, &'a StateAnswered)>,
    pub(super) received: bool,
    pub(super) measured: bool,
}

/// Encoded length of the message that holds a full state of so many bytes, its header not counted:
/// the hash and the text, each with a tag of one byte and its length.
fn full_size(bytes: u64) -> u64 {
    let digits = u64::from(64 - (bytes | 1).leading_zeros()).div_ceil(7);
    bytes.saturating_add((2 + 32) + (1 + digits))
}

/// As much of a hash as people can compare.
fn short(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}

fn is_sent(answer: &StateAnswered) -> bool {
    matches!(answer.what.as_str(), "patch" | "full")
}

impl<'a> Step<'a> {
    pub(super) const fn new(at: At, offered: &'a StateOffered, unknowing: bool) -> Self {
        Self { at, offered, unknowing, answer: None, received: false, measured: false }
    }

    /// Why this state can have no diff. More than one cause can be met first.
    fn causes(&self, limits: &StateSubject) -> Vec<&str> {
        let StateOffered { bytes, depth, defect, .. } = self.offered;
        let mut causes: Vec<&str> = defect.iter().map(String::as_str).collect();
        if *depth > limits.max_depth {
            causes.push(DegradeReason::TooDeep.as_str());
        }
        if *bytes > limits.max_state_bytes {
            causes.push(DegradeReason::TooLarge.as_str());
        }
        causes
    }

    /// Bytes of the message that was made, or of the one that was perhaps begun and given up.
    pub(super) fn message_bytes(&self, most: u64) -> u64 {
        match self.answer {
            Some((_, answer)) if is_sent(answer) => answer.bytes,
            _ => self.offered.bytes.min(most),
        }
    }

    /// Judges what arrived.
    pub(super) fn judge(
        &mut self,
        at: At,
        received: &StateReceived,
        limits: &StateSubject,
        f: &mut Findings,
    ) {
        self.received = true;
        let Some((answered, answer)) = self.answer else { return };
        let evidence = || Evidence::line(self.at).and(answered).and(at);
        f.checked(R5, 1);
        if !received.event {
            f.broken(R5, "event", evidence(), || {
                let expected = "the event goes out, whatever becomes of its state".to_owned();
                (expected, format!("the event of state {} did not arrive", self.offered.step))
            });
        }
        if !self.is_typed(answer, limits, &evidence, f) {
            return;
        }
        let sent = is_sent(answer);
        if sent {
            self.message(answer, limits, &evidence, f);
        }
        let silent = answer.what == "unchanged";
        if (sent || silent) && received.message != "lost" {
            self.sound(received, &evidence, f);
        }
    }

    /// A state that can have no diff is degraded for its cause, and no other is. `false` when there
    /// is nothing more to be said of it.
    fn is_typed(
        &self,
        answer: &StateAnswered,
        limits: &StateSubject,
        evidence: &dyn Fn() -> Evidence,
        f: &mut Findings,
    ) -> bool {
        f.checked(R5, 1);
        let causes = self.causes(limits);
        let full = full_size(self.offered.bytes);
        let diff_too_large = full > limits.max_diff_bytes;
        let told = answer.reason.as_deref().unwrap_or("no reason");
        match answer.what.as_str() {
            "degraded" => {
                let known = DegradeReason::ALL.iter().any(|reason| reason.as_str() == told);
                let may = diff_too_large && told == DegradeReason::DiffTooLarge.as_str();
                let (rule, expected) = if !known {
                    ("typed", "a degraded state has a reason of the closed list".to_owned())
                } else if causes.contains(&told) || may {
                    return false;
                } else if causes.is_empty() && !diff_too_large {
                    ("refused", "a state within the limits has a diff".to_owned())
                } else {
                    let may = diff_too_large.then_some(DegradeReason::DiffTooLarge.as_str());
                    let all: Vec<&str> = causes.into_iter().chain(may).collect();
                    ("reason", format!("the state is degraded as {}", all.join(" or ")))
                };
                f.broken(R5, rule, evidence(), || (expected, format!("degraded: {told}")));
                false
            }
            "patch" | "full" | "unchanged" if causes.is_empty() => true,
            "patch" | "full" | "unchanged" => {
                f.broken(R5, "swallowed", evidence(), || {
                    let expected = format!("the state is degraded as {}", causes.join(" or "));
                    (expected, format!("the answer is {}", answer.what))
                });
                false
            }
            other => {
                f.broken(R5, "typed", evidence(), || {
                    let expected = "an answer is patch, full, unchanged or degraded".to_owned();
                    (expected, format!("it is {other:?}"))
                });
                false
            }
        }
    }

    /// What is said in a message is true, and its length within the limit.
    fn message(
        &self,
        answer: &StateAnswered,
        limits: &StateSubject,
        evidence: &dyn Fn() -> Evidence,
        f: &mut Findings,
    ) {
        f.checked(R5, 2);
        if answer.hash != self.offered.sha {
            f.broken(R5, "hash", evidence(), || {
                let expected = format!("the message names the hash {}", short(&self.offered.sha));
                (expected, format!("it names {}", short(&answer.hash)))
            });
        }
        let full = full_size(self.offered.bytes);
        let most = limits.max_diff_bytes.min(full);
        if answer.bytes > most {
            f.broken(R5, "limit", evidence(), || {
                let limit = limits.max_diff_bytes;
                let expected = format!(
                    "a message of at most {most} bytes: the limit is {limit}, the full state {full}"
                );
                (expected, format!("{} bytes", answer.bytes))
            });
        }
    }

    /// The receiver has the state that was offered.
    fn sound(&self, received: &StateReceived, evidence: &dyn Fn() -> Evidence, f: &mut Findings) {
        f.checked(R5, 1);
        let knows = received.error.is_some() || received.message == "none";
        if received.sha == self.offered.sha || (self.unknowing && knows) {
            return;
        }
        f.broken(R5, "sound", evidence(), || {
            let expected = format!("the receiver then has the state {}", short(&self.offered.sha));
            let has = match received.sha.as_str() {
                "" => "it has none".to_owned(),
                sha => format!("it has {}", short(sha)),
            };
            let why = received.error.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            (expected, format!("{has}{why}"))
        });
    }
}

#[cfg(test)]
mod tests {
    use dashproof_reference::proto::StateDiff;
    use prost::Message as _;

    use super::*;

    #[test]
    fn the_length_of_a_full_message_is_the_encoders() {
        for bytes in [1_usize, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
            let diff = StateDiff {
                state_hash: vec![0; 32],
                full_state: vec![b'x'; bytes],
                ..StateDiff::default()
            };
            assert_eq!(full_size(bytes as u64), diff.encoded_len() as u64, "{bytes}");
        }
    }
}
