//! What a spool must give back, as far as the history tells, event by event.

use std::collections::BTreeMap;

use crate::history::{DeliveryError, ErrorClass, EventId, Outcome, Persistence, Route};

/// Whether an event has a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stands {
    /// It may have one.
    #[default]
    Open,
    /// It was told to be spooled, and nothing since then can have ended it.
    Kept,
    /// Another outcome was told in this incarnation; the end of a record may not be synced yet.
    Ended(u32),
    /// The same, and `close` has returned since: ends are synced.
    Gone,
}

/// Both routes, by [`at`].
type Claims = [Persistence; 2];

/// Place of a route.
pub(super) const fn at(route: Route) -> usize {
    match route {
        Route::Main => 0,
        Route::Dlq => 1,
    }
}

/// What is known of an event.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) stands: Stands,
    pub(super) sequence: Option<u64>,
    /// The incarnation that took it.
    taken_in: Option<u32>,
    /// It was told to be dropped.
    dropped: bool,
    /// What earlier lives left, and what was told.
    told: Claims,
    /// The incarnation that had it last, and what became of its attempts there.
    inc: u32,
    open: [u32; 2],
    left: Claims,
    /// It has its outcome there: what comes later changes nothing.
    resolved: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            stands: Stands::Open,
            sequence: None,
            taken_in: None,
            dropped: false,
            told: [Persistence::Not; 2],
            inc: 0,
            open: [0; 2],
            left: [Persistence::Not; 2],
            resolved: false,
        }
    }
}

impl Known {
    /// The least that a record may claim: *possibly* where an attempt is open or ended without
    /// knowing, in whatever life.
    pub(super) fn least(&self, route: Route) -> Persistence {
        let of = |claims: &Claims| claims.get(at(route)).copied().unwrap_or(Persistence::Not);
        let open = self.open.get(at(route)).is_some_and(|n| *n > 0) && !self.resolved;
        let open = if open { Persistence::Possibly } else { Persistence::Not };
        of(&self.told).max(of(&self.left)).max(open).min(Persistence::Possibly)
    }

    /// Another incarnation has it now.
    fn lives_in(&mut self, inc: u32) {
        if self.inc == inc {
            return;
        }
        for route in [Route::Main, Route::Dlq] {
            let least = self.least(route);
            if let Some(told) = self.told.get_mut(at(route)) {
                *told = least;
            }
        }
        self.inc = inc;
        self.open = [0; 2];
        self.left = [Persistence::Not; 2];
        self.resolved = false;
    }

    /// It can have another outcome from now on.
    fn loosened(&mut self) {
        if self.stands == Stands::Kept {
            self.stands = Stands::Open;
        }
    }
}

/// What a line changes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    Offered(EventId),
    Accepted(EventId, u64, u32),
    Attempt {
        event: EventId,
        inc: u32,
        route: Route,
    },
    Refused {
        event: EventId,
        route: Route,
        class: ErrorClass,
    },
    Delivery {
        event: EventId,
        route: Route,
        said: Persistence,
        error: Option<&'a DeliveryError>,
    },
    Told {
        event: EventId,
        inc: u32,
        outcome: &'a Outcome,
    },
    /// The incarnation, and whether its disk took everything.
    Closed(u32, bool),
    /// Files at rest were damaged: whatever they held may be lost, or back.
    Damaged,
}

/// Everything that is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) events: BTreeMap<EventId, Known>,
    /// The highest epoch of any sequence that was given.
    pub(super) epoch: Option<u64>,
}

impl Model {
    pub(super) fn apply(&mut self, change: Change<'_>) {
        match change {
            Change::Offered(event) => drop(self.events.entry(event).or_default()),
            Change::Accepted(event, sequence, inc) => {
                let known = self.events.entry(event).or_default();
                (known.sequence, known.taken_in) = (Some(sequence), Some(inc));
                self.epoch = self.epoch.max(Some(sequence >> EPOCH_BITS));
            }
            Change::Attempt { event, inc, route } => {
                let known = self.events.entry(event).or_default();
                known.lives_in(inc);
                if let Some(open) = known.open.get_mut(at(route)) {
                    *open += 1;
                }
            }
            Change::Refused { event, route, class } => {
                let known = self.events.entry(event).or_default();
                known.ended(route, Persistence::Not);
                if class == ErrorClass::Permanent {
                    known.loosened();
                }
            }
            Change::Delivery { event, route, said, error } => {
                let known = self.events.entry(event).or_default();
                let said = if error.is_some() { said } else { Persistence::Possibly };
                known.ended(route, said);
                if error.is_none_or(|error| error.class == ErrorClass::Permanent) {
                    known.loosened();
                }
            }
            Change::Told { event, inc, outcome } => {
                let known = self.events.entry(event).or_default();
                known.lives_in(inc);
                known.told(inc, outcome);
            }
            Change::Closed(inc, sound) => {
                for known in self.events.values_mut() {
                    // what was dropped where it was taken never had a record that could be left
                    let never = known.dropped && known.taken_in == Some(inc);
                    if known.stands == Stands::Ended(inc) && (sound || never) {
                        known.stands = Stands::Gone;
                    }
                }
            }
            Change::Damaged => {
                for known in self.events.values_mut() {
                    let sequence = known.sequence;
                    *known = Known { sequence, inc: known.inc, ..Known::default() };
                }
            }
        }
    }
}

impl Known {
    /// An attempt ended.
    fn ended(&mut self, route: Route, said: Persistence) {
        if let Some(open) = self.open.get_mut(at(route)) {
            *open = open.saturating_sub(1);
        }
        if let Some(left) = self.left.get_mut(at(route)).filter(|_| !self.resolved) {
            *left = said.max(*left);
        }
    }

    fn told(&mut self, inc: u32, outcome: &Outcome) {
        match outcome {
            Outcome::Spooled { main, dlq } => {
                self.stands = Stands::Kept;
                for (told, said) in self.told.iter_mut().zip([main, dlq]) {
                    *told = (*said).max(*told);
                }
            }
            // the harness's word about a process that is dead
            Outcome::LostInCrash => return,
            _ => {
                self.stands = Stands::Ended(inc);
                self.dropped = matches!(outcome, Outcome::Dropped { .. });
            }
        }
        self.left = [Persistence::Not; 2];
        self.resolved = true;
    }
}

/// A sequence is epoch · 2^40 + n.
pub(super) const EPOCH_BITS: u32 = 40;
