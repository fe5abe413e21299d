//! How full queues and transports were, line by line.

use super::index::{At, Index};
use crate::history::Route;

/// The highest value of a count, and where it was first reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    pub(crate) count: u64,
    pub(crate) at: Option<At>,
}

/// A count through its changes, line by line.
struct Changes(Vec<i64>);

impl Changes {
    fn new(index: &Index<'_>) -> Self {
        Self(vec![0; index.lines.len()])
    }

    fn add(&mut self, at: At, change: i64) {
        if let Some(line) = self.0.get_mut(at.line) {
            *line = line.saturating_add(change);
        }
    }

    fn peak(&self, index: &Index<'_>) -> Peak {
        let mut peak = Peak::default();
        let mut now: i64 = 0;
        for (line, change) in self.0.iter().enumerate() {
            now = now.saturating_add(*change);
            let count = u64::try_from(now).unwrap_or(0);
            if count > peak.count {
                let t_us = index.lines.get(line).map_or(0, |line| line.t_us);
                peak = Peak { count, at: Some(At { line, t_us }) };
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
    pub(super) fn of(index: &Index<'_>, inc: usize) -> Self {
        let Some(incarnation) = index.incs.get(inc) else { return Self::default() };
        let [mut main, mut letters, mut dlq, mut events, mut bytes] =
            std::array::from_fn(|_| Changes::new(index));
        for attempt in index.attempts.iter().filter(|a| a.inc == inc && !a.refused) {
            let open = match attempt.route {
                Route::Main => &mut main,
                Route::Dlq => &mut letters,
            };
            open.add(attempt.at, 1);
            if let Some(delivery) = attempt.delivery {
                open.add(delivery.at, -1);
            }
        }
        for life in incarnation.lives.iter().filter_map(|slot| index.lives.get(*slot)) {
            let told = life.outcomes.first().map(|(at, _)| *at);
            if let Some(letter) = index.attempts_of(life, Route::Dlq).next() {
                dlq.add(letter.at, 1);
                if let Some(told) = told.filter(|at| *at > letter.at) {
                    dlq.add(told, -1);
                }
            }
            let Some((accepted, _)) = life.accepted else { continue };
            if told.is_some_and(|told| told < accepted) {
                continue;
            }
            let size = index.event(life.event).map_or(0, |event| event.bytes);
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            events.add(accepted, 1);
            bytes.add(accepted, size);
            if let Some(told) = told {
                events.add(told, -1);
                bytes.add(told, -size);
            }
        }
        Self {
            main: main.peak(index),
            letters: letters.peak(index),
            dlq: dlq.peak(index),
            events: events.peak(index),
            bytes: bytes.peak(index),
        }
    }
}
