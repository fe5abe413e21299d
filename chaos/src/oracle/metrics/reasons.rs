//! Reasons against truth: what the harness can derive by itself, it does not take from a claim.

use std::collections::BTreeMap;

use dashproof_reference::config::WhenFull;

use super::series::LEGAL;
use crate::history::{ErrorClass, Outcome, Persistence, Route};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{At, Incarnation, Index, Life, ms};
use crate::oracle::laws::LawId::M1;
use crate::oracle::ledger;

/// Bytes that a subject may add to an event before it measures it: sequence, time, identity.
const ADDED: usize = 128;

/// An outcome whose reason is looked into.
struct Told<'i, 'a> {
    index: &'i Index<'a>,
    life: &'i Life<'a>,
    inc: &'i Incarnation,
    at: At,
    bytes: usize,
}

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    let unresolved = Unresolved::new(index);
    for life in &index.lives {
        let (Some(inc), Some(event)) = (index.inc_of(life), index.event(life.event)) else {
            continue;
        };
        for (at, outcome) in &life.outcomes {
            if matches!(outcome, Outcome::LostInCrash) {
                continue;
            }
            f.checked(M1, 1);
            let told = Told { index, life, inc, at: *at, bytes: event.bytes };
            let why = match (outcome.label(), outcome.reason()) {
                pair if !LEGAL.contains(&pair) => {
                    Some("the pair is none of the closed list".into())
                }
                ("rejected", reason) => told.rejected(reason, &unresolved),
                (_, "") => None,
                (_, reason) => told.failed(reason),
            };
            if let Some(why) = why {
                f.broken(M1, rule(outcome.reason()), Evidence::event(life.event), || {
                    let expected = "a reason that the history bears out".to_owned();
                    (expected, format!("{}, but {why}", ledger::key(outcome)))
                });
            }
        }
        oversize(index, life, event.bytes, f);
    }
}

/// One rule per reason, so that each is shown with an event of its own.
fn rule(reason: &str) -> &'static str {
    LEGAL.iter().map(|(_, legal)| *legal).find(|legal| *legal == reason).unwrap_or("closed_list")
}

/// The other direction: an event over the limit is not accepted.
fn oversize(index: &Index<'_>, life: &Life<'_>, bytes: usize, f: &mut Findings) {
    let limit = index.settings.max_message_bytes;
    if life.accepted.is_some() && bytes > limit {
        f.broken(M1, "oversize_accepted", Evidence::event(life.event), || {
            let expected = format!("an event over {limit} bytes is rejected as oversize");
            (expected, format!("accepted with {bytes} bytes"))
        });
    }
}

impl Told<'_, '_> {
    /// Why a rejection cannot be true.
    fn rejected(&self, reason: &str, unresolved: &Unresolved) -> Option<String> {
        let settings = &self.index.settings;
        match reason {
            "queue_full" => {
                if settings.queue.when_full == WhenFull::Wait {
                    return Some("a full queue waits by the settings".to_owned());
                }
                let (events, bytes) = unresolved.before(self.life.inc, self.at);
                // This event is among the unresolved ones.
                let events = events.saturating_sub(1);
                let full = events >= settings.queue.max_events as u64
                    || bytes.saturating_add(ADDED as u64 * (events + 1))
                        > settings.queue.max_bytes as u64;
                (!full).then(|| format!("at most {events} events were unresolved"))
            }
            "oversize" => {
                let limit = settings.max_message_bytes;
                let small = self.bytes.saturating_add(ADDED) <= limit;
                small.then(|| format!("it has {} bytes and the limit is {limit}", self.bytes))
            }
            "rate_limited" => {
                settings.rate_limit.rate.is_none().then(|| "no rate limit is set".to_owned())
            }
            "closed" => {
                let ended = self.inc.end_called.is_some_and(|at| at < self.at);
                (!ended).then(|| "nothing was closed yet".to_owned())
            }
            "cancelled" => {
                let cancelled = self.inc.cancelled.contains(&self.life.event);
                (!cancelled && !self.inc.dropped_handle)
                    .then(|| "its send was not cancelled".to_owned())
            }
            _ => None,
        }
    }

    /// Why a reason of main cannot be true. Without attempts in the history nothing is said.
    fn failed(&self, reason: &str) -> Option<String> {
        let Self { index, life, .. } = self;
        let settings = &index.settings;
        let ended = self.inc.end_called.is_some_and(|at| at < self.at);
        let mains: Vec<_> = index.attempts_of(life, Route::Main).collect();
        let last = mains.last().and_then(|attempt| attempt.delivery);
        match reason {
            "abandoned" => (!ended).then(|| "neither close nor drop was called".to_owned()),
            "acks_0" => (!settings.acks_none()).then(|| "acks is not 0".to_owned()),
            "permanent_error" => {
                let permanent = |class: ErrorClass| class != ErrorClass::Retryable;
                let refused = life.refusals.iter().any(|(_, _, error)| permanent(error.class));
                let by = last.and_then(|d| d.error)?;
                (!refused && !permanent(by.class))
                    .then(|| format!("the last error, {}, is retryable", by.code))
            }
            "retries_exhausted" => {
                let most = settings.max_attempts(Route::Main);
                let made = mains.len() as u64;
                (made > 0 && made < most).then(|| format!("{made} of {most} attempts were made"))
            }
            "unconfirmed" => {
                let allowed = settings.resends_possibly();
                let unsure = mains.iter().filter_map(|attempt| attempt.delivery);
                let unsure = unsure.map(|d| d.persistence).any(|p| p != Persistence::Not);
                if allowed {
                    Some("the settings allow to send again".to_owned())
                } else {
                    (!mains.is_empty() && !unsure)
                        .then(|| "no attempt was possibly persisted".into())
                }
            }
            // The longest back-off, where nobody tells how many attempts were made.
            "deadline" if !index.tells_attempts => {
                self.too_early(settings.retry.max_attempts as usize)
            }
            "deadline" => self.too_early(mains.len()),
            _ => None,
        }
    }

    /// `deadline`, though another attempt would have been in time.
    fn too_early(&self, attempts: usize) -> Option<String> {
        let Self { index, life, .. } = self;
        let (accepted, _) = life.accepted?;
        let offered = life.offered.map_or(accepted.t_us, |at| at.t_us);
        let deadline = offered.saturating_add(index.settings.delivery_timeout_us());
        let letter = index.attempts_of(life, Route::Dlq).next().map(|letter| letter.at.t_us);
        let ended = letter.unwrap_or(self.at.t_us).min(self.at.t_us);
        let back_off = index.settings.back_off(Route::Main, attempts.max(1)).most_us;
        let next = ended.saturating_add(if attempts == 0 { 0 } else { back_off });
        let slack = index.tolerance_us();
        (next.saturating_add(slack) < deadline).then(|| {
            let left = ms(deadline.saturating_sub(ended));
            format!("{left} were left, and the next attempt was due before")
        })
    }
}

/// How many events of an incarnation were offered and unresolved before a line, and their bytes: an
/// upper bound of what was in the queue.
struct Unresolved(BTreeMap<usize, Vec<(At, u64, u64)>>);

impl Unresolved {
    fn new(index: &Index<'_>) -> Self {
        let mut all = BTreeMap::new();
        let rejects = index
            .lives
            .iter()
            .any(|life| life.outcomes.iter().any(|(_, outcome)| outcome.reason() == "queue_full"));
        if !rejects {
            return Self(all);
        }
        for (slot, inc) in index.incs.iter().enumerate() {
            let mut changes: Vec<(At, bool, u64)> = Vec::new();
            for life in inc.lives.iter().filter_map(|slot| index.lives.get(*slot)) {
                let bytes = index.event(life.event).map_or(0, |event| event.bytes) as u64;
                changes.extend(life.offered.map(|at| (at, true, bytes)));
                changes.extend(life.outcomes.first().map(|(at, _)| (*at, false, bytes)));
            }
            changes.sort_unstable();
            let (mut events, mut size) = (0u64, 0u64);
            let follow = |(at, begins, bytes): (At, bool, u64)| {
                if begins {
                    events = events.saturating_add(1);
                    size = size.saturating_add(bytes);
                } else {
                    events = events.saturating_sub(1);
                    size = size.saturating_sub(bytes);
                }
                (at, events, size)
            };
            all.insert(slot, changes.into_iter().map(follow).collect());
        }
        Self(all)
    }

    /// Just before a line.
    fn before(&self, inc: usize, at: At) -> (u64, u64) {
        let Some(points) = self.0.get(&inc) else { return (0, 0) };
        let next = points.partition_point(|(point, ..)| *point < at);
        let last = next.checked_sub(1).and_then(|last| points.get(last));
        last.map_or((0, 0), |(_, events, bytes)| (*events, *bytes))
    }
}
