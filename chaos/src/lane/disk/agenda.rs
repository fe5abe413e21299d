//! What is to be done when: at a time, or when so much has been done.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::scenario::model::{At, Load};

/// The items of a timeline. At the same moment the smaller item goes first.
///
/// Time is the plan's own: an item that comes late moves nothing that was planned after it, so that
/// the order of a run does not depend on how long its steps take.
pub(in crate::lane) struct Agenda<I> {
    /// By time and place.
    due: BTreeSet<(u64, I)>,
    /// By how much must have been done, in the order of the plan.
    waiting: Vec<(u64, I)>,
    done: u64,
    now_us: u64,
}

impl<I> Default for Agenda<I> {
    fn default() -> Self {
        Self { due: BTreeSet::new(), waiting: Vec::new(), done: 0, now_us: 0 }
    }
}

pub(in crate::lane) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The time between two items of a load: a millisecond where it names no rate.
pub(in crate::lane) fn pace(load: &Load) -> Duration {
    load.rate
        .map_or(Duration::from_millis(1), |rate| Duration::from_secs_f64(1.0 / rate.max(0.001)))
}

impl<I: Copy + Ord> Agenda<I> {
    /// Adds an item at its moment.
    pub(in crate::lane) fn plan(&mut self, at: &At, item: I) {
        match at {
            At::Time(time) => drop(self.due.insert((micros(*time), item))),
            At::Offered(n) | At::Unanswered(n) => self.waiting.push((*n, item)),
        }
    }

    /// Adds an item so long after the present one.
    pub(in crate::lane) fn later(&mut self, wait: Duration, item: I) {
        self.due.insert((self.now_us.saturating_add(micros(wait)), item));
    }

    /// One more of what items wait for has been done.
    pub(in crate::lane) fn count(&mut self) {
        self.done += 1;
    }

    /// How many of them there are.
    pub(in crate::lane) fn done(&self) -> u64 {
        self.done
    }

    /// The time of the item that was taken out last.
    pub(in crate::lane) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Takes out the next item: first whatever has waited long enough.
    pub(in crate::lane) fn next(&mut self) -> Option<I> {
        if let Some(at) = self.waiting.iter().position(|(n, _)| *n <= self.done) {
            return Some(self.waiting.remove(at).1);
        }
        let (time, item) = self.due.pop_first()?;
        self.now_us = self.now_us.max(time);
        Some(item)
    }

    /// Takes out the next item of a kind that is due at the very start.
    pub(in crate::lane) fn at_start(&mut self, wanted: impl Fn(&I) -> bool) -> Option<I> {
        let fits = |(time, item): &&(u64, I)| *time == 0 && wanted(item);
        let (time, item) = *self.due.iter().find(fits)?;
        self.due.remove(&(time, item));
        Some(item)
    }

    /// Takes out what waits for more than was ever done, with how much it waits for.
    pub(in crate::lane) fn left(&mut self) -> Vec<(u64, I)> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> At {
        At::Time(Duration::from_millis(ms))
    }

    #[test]
    fn items_come_by_time_and_the_smaller_first_at_the_same_moment() {
        let mut agenda = Agenda::default();
        for (ms, item) in [(5, 9), (1, 3), (5, 2)] {
            agenda.plan(&at(ms), item);
        }
        let all: Vec<(u32, u64)> =
            std::iter::from_fn(|| Some((agenda.next()?, agenda.now_us()))).collect();
        assert_eq!(all, [(3, 1000), (2, 5000), (9, 5000)]);
    }

    #[test]
    fn what_waits_for_a_number_comes_as_soon_as_it_is_reached_and_takes_no_time() {
        let mut agenda = Agenda::default();
        agenda.plan(&at(1), 1);
        agenda.plan(&at(2), 2);
        agenda.plan(&At::Offered(1), 7);
        assert_eq!(agenda.next(), Some(1));
        agenda.count();
        assert_eq!((agenda.next(), agenda.now_us()), (Some(7), 1000));
        assert_eq!(agenda.next(), Some(2));
        assert_eq!(agenda.left(), []);
    }

    #[test]
    fn what_waits_for_a_number_that_is_never_reached_is_left() {
        let mut agenda = Agenda::default();
        agenda.plan(&At::Offered(2), 7);
        agenda.count();
        assert_eq!(agenda.next(), None);
        assert_eq!((agenda.left(), agenda.done()), (vec![(2, 7)], 1));
    }

    #[test]
    fn later_is_counted_from_the_plan_and_not_from_a_clock() {
        let mut agenda = Agenda::default();
        agenda.plan(&at(3), 1);
        assert_eq!(agenda.next(), Some(1));
        agenda.later(Duration::from_millis(2), 2);
        assert_eq!((agenda.next(), agenda.now_us()), (Some(2), 5000));
    }

    #[test]
    fn only_what_is_due_at_the_very_start_is_taken_before_it() {
        let mut agenda = Agenda::default();
        agenda.plan(&at(0), 4);
        agenda.plan(&at(0), 5);
        agenda.plan(&at(1), 5);
        assert_eq!(agenda.at_start(|item| *item == 5), Some(5));
        assert_eq!(agenda.at_start(|item| *item == 5), None);
        assert_eq!(agenda.next(), Some(4));
    }

    #[test]
    fn a_load_without_a_rate_has_a_millisecond_between_its_items() {
        let load = |rate| Load { rate, ..crate::lane::disk::tests::load() };
        assert_eq!(pace(&load(None)), Duration::from_millis(1));
        assert_eq!(pace(&load(Some(4.0))), Duration::from_millis(250));
    }
}
