//! How full queues and transports were, line by line.

use super::index::{At, Index};
use crate::history::Route;

/// The highest value of a count, and where it was first reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    pub(crate) count: u64,
    pub(crate) at: Option<At>,
}

impl Peak {
    /// Follows a count through its changes, in the order of the lines. What ends at a line ends
    /// before what begins there.
    fn of(mut changes: Vec<(At, i64)>) -> Self {
        changes.sort_unstable();
        let mut peak = Self::default();
        let mut now: i64 = 0;
        for (at, change) in changes {
            now = now.saturating_add(change);
            let count = u64::try_from(now).unwrap_or(0);
            if count > peak.count {
                peak = Self { count, at: Some(at) };
            }
        }
        peak
    }
}

/// Peaks of one incarnation, as claims show them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peaks {
    /// Open main attempts.
    pub(crate) main: Peak,
    /// Open DLQ attempts.
    pub(crate) letters: Peak,
    /// Events with a DLQ attempt and no outcome yet: they hold a permit.
    pub(crate) dlq: Peak,
    /// Accepted and unresolved events.
    pub(crate) events: Peak,
    /// Their bytes, as the harness measured them.
    pub(crate) bytes: Peak,
}

impl Peaks {
    pub(crate) fn of(index: &Index<'_>, inc: usize) -> Self {
        let Some(incarnation) = index.incs.get(inc) else { return Self::default() };
        let (mut main, mut letters) = (vec![], vec![]);
        for attempt in index.attempts.iter().filter(|a| a.inc == inc && !a.refused) {
            let open = match attempt.route {
                Route::Main => &mut main,
                Route::Dlq => &mut letters,
            };
            open.push((attempt.at, 1));
            open.extend(attempt.delivery.map(|d| (d.at, -1)));
        }
        let (mut dlq, mut events, mut bytes) = (vec![], vec![], vec![]);
        for life in incarnation.lives.iter().filter_map(|slot| index.lives.get(*slot)) {
            let told = life.outcomes.first().map(|(at, _)| *at);
            if let Some(letter) = index.attempts_of(life, Route::Dlq).next() {
                dlq.push((letter.at, 1));
                dlq.extend(told.filter(|at| *at > letter.at).map(|at| (at, -1)));
            }
            let Some((accepted, _)) = life.accepted else { continue };
            let size = index.event(life.event).map_or(0, |event| event.bytes);
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            if told.is_some_and(|told| told < accepted) {
                continue;
            }
            events.push((accepted, 1));
            bytes.push((accepted, size));
            events.extend(told.map(|at| (at, -1)));
            bytes.extend(told.map(|at| (at, -size)));
        }
        Self {
            main: Peak::of(main),
            letters: Peak::of(letters),
            dlq: Peak::of(dlq),
            events: Peak::of(events),
            bytes: Peak::of(bytes),
        }
    }
}
