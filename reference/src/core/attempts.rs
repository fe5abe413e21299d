//! Open attempts by number.

use std::collections::VecDeque;

use super::{AttemptId, Route};

/// What became of an attempt number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Ended, refused or never used.
    Empty,
    /// Open, for the event at this place of the store, on the client of this generation.
    Open { index: u32, route: Route, generation: u16 },
    /// Its event was resolved without it.
    Late { route: Route },
}

/// Attempts are numbered in order from 1, so a ring over the open span finds each at once.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Number of the first slot, less one.
    before: u64,
    slots: VecDeque<Slot>,
    /// Numbers given out.
    last: u64,
}

impl Attempts {
    pub(super) fn open(&mut self, index: u32, route: Route, generation: u16) -> AttemptId {
        self.last += 1;
        self.slots.push_back(Slot::Open { index, route, generation });
        AttemptId(self.last)
    }

    fn slot(&mut self, attempt: AttemptId) -> Option<&mut Slot> {
        let at = attempt.0.checked_sub(self.before + 1)?;
        self.slots.get_mut(usize::try_from(at).ok()?)
    }

    pub(super) fn get(&mut self, attempt: AttemptId) -> Slot {
        self.slot(attempt).map_or(Slot::Empty, |slot| *slot)
    }

    /// Ends an attempt and says what it was.
    pub(super) fn end(&mut self, attempt: AttemptId) -> Slot {
        let Some(slot) = self.slot(attempt) else { return Slot::Empty };
        let was = std::mem::replace(slot, Slot::Empty);
        while self.slots.front() == Some(&Slot::Empty) {
            self.slots.pop_front();
            self.before += 1;
        }
        was
    }

    /// The open attempts on a client, in order of hand-over.
    pub(super) fn open_on(&self, route: Route, generation: u16) -> Vec<AttemptId> {
        let numbers = self.before + 1..;
        let is_its = |slot: &Slot| {
            matches!(slot, Slot::Open { route: r, generation: g, .. }
                if *r == route && *g == generation)
        };
        let open = numbers.zip(&self.slots).filter(|(_, slot)| is_its(slot));
        open.map(|(number, _)| AttemptId(number)).collect()
    }

    /// The event is resolved without this attempt: a delivery that still comes is late.
    /// False when it was not open.
    pub(super) fn abandon(&mut self, attempt: AttemptId) -> bool {
        if let Some(slot) = self.slot(attempt)
            && let Slot::Open { route, .. } = *slot
        {
            *slot = Slot::Late { route };
            return true;
        }
        false
    }
}
