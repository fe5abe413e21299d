//! What the ledger says about an incarnation up to a line: the right-hand side of every series.

use std::collections::BTreeMap;

use super::limiter::Passage;
use crate::history::{ErrorClass, Outcome, Route};
use crate::oracle::index::{At, Attempt, Index, Life};
use crate::scenario::model::FaultKind;

/// A number for each route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PerRoute {
    pub(crate) main: u64,
    pub(crate) dlq: u64,
}

impl PerRoute {
    fn of(&mut self, route: Route) -> &mut u64 {
        match route {
            Route::Main => &mut self.main,
            Route::Dlq => &mut self.dlq,
        }
    }
}

/// Counts over one incarnation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally<'a> {
    /// By outcome and reason, as the labels have them.
    pub(crate) outcomes: BTreeMap<(&'static str, &'a str), u64>,
    pub(crate) accepted: u64,
    /// Attempts after the first of an event.
    pub(crate) retries: PerRoute,
    /// Events with at least one attempt.
    pub(crate) attempted: PerRoute,
    /// Deliveries with an error that came before the event's outcome.
    pub(crate) failures: PerRoute,
    /// Deliveries that came after the event's outcome.
    pub(crate) late: PerRoute,
    /// Deliveries and refusals of class fatal.
    pub(crate) fatal: PerRoute,
    /// Clients that certainly came anew after one of them.
    pub(crate) revived: PerRoute,
    /// Events that passed the rate limit: at least, at most.
    pub(crate) allowed: (u64, u64),
    /// The subject claims attempts, so that rows about them can be judged.
    pub(crate) tells_attempts: bool,
    /// Accepted events whose main ended without success and that a DLQ should have taken, but that
    /// ended dropped or in doubt.
    pub(crate) dlq_dropped: u64,
    /// Accepted events that could have been offered to a DLQ.
    pub(crate) dlq_offered: u64,
    /// Events that were not offered to this incarnation and ended in it.
    pub(crate) recovered: u64,
    /// Outcomes that a spool with room would have made spooled.
    pub(crate) unspooled: u64,
    /// Damage to the spool that was injected before, by kind of the scenario.
    injected: BTreeMap<&'static str, u64>,
    /// Crashes before: each may have torn an append.
    crashes: u64,
    /// The file system of the spool failed before, in any incarnation.
    disk_failed: bool,
    /// The same of this incarnation: any operation, and an append.
    disk_failures: (bool, bool),
    /// Outcomes that only a spool which was full or failed could leave.
    untaken: u64,
    /// Callback panics: at least, at most.
    pub(crate) panics: (u64, u64),
}

/// A spool that may have so many bytes is not full in any run.
const ROOMY: usize = 64 << 20;

impl<'a> Tally<'a> {
    /// Counts what stands before a line.
    pub(crate) fn at(index: &Index<'a>, inc: usize, until: usize) -> Self {
        let mut tally = Self::default();
        let Some(incarnation) = index.incs.get(inc) else { return tally };
        for life in incarnation.lives.iter().filter_map(|slot| index.lives.get(*slot)) {
            tally.life(index, life, until);
        }
        let own =
            |(number, at, _): &&(u32, At, &str)| *number == incarnation.number && at.line < until;
        for (_, _, op) in index.disk_failures.iter().filter(own) {
            tally.disk_failures.0 = true;
            tally.disk_failures.1 |= *op == "append";
        }
        if index.settings.spool.max_bytes < ROOMY {
            tally.untaken = 0; // it may have been full
        }
        tally.panics = panics(index, inc, until);
        tally.revived = revived(index, inc, until);
        tally.tells_attempts = index.tells_attempts;
        for ((number, _), seen) in &index.faults {
            let Some(fault) = index.scenario.faults.get(*number) else { continue };
            let met = seen.effect.is_some_and(|at| at.line < until);
            match fault.kind {
                FaultKind::SpoolDamage(what) if met => {
                    *tally.injected.entry(what.as_str()).or_default() += 1;
                }
                FaultKind::SubjectCrash(_) if met => tally.crashes += 1,
                FaultKind::Fs(_) if met => tally.disk_failed = true,
                _ => {}
            }
        }
        tally
    }

    fn life(&mut self, index: &Index<'a>, life: &Life<'a>, until: usize) {
        let told = life.outcomes.iter().filter(|(at, _)| at.line < until);
        let mut resolved = None;
        for (at, outcome) in told {
            resolved = resolved.or(Some(*at));
            let key = (outcome.label(), outcome.reason());
            *self.outcomes.entry(key).or_default() += 1;
            let lost = matches!(outcome, Outcome::InDoubt { .. } | Outcome::Dropped { .. });
            let mendable = !matches!(outcome.reason(), "permanent_error" | "acks_0");
            let spools = index.settings.spool.directory.is_some();
            self.unspooled += u64::from(spools && lost && mendable);
            let cut = outcome.reason() == "abandoned";
            self.untaken += u64::from(spools && lost && mendable && !cut);
            let failed = matches!(
                outcome,
                Outcome::DeadLettered { .. }
                    | Outcome::Spooled { .. }
                    | Outcome::InDoubt { .. }
                    | Outcome::Dropped { .. }
            );
            if failed && index.settings.dlq.enabled && outcome.reason() != "acks_0" {
                self.dlq_offered += 1;
                let lost = matches!(outcome, Outcome::InDoubt { .. } | Outcome::Dropped { .. });
                self.dlq_dropped += u64::from(lost);
            }
        }
        let limited = index.settings.rate_limit.rate.is_some();
        if limited && life.offered.is_some_and(|at| at.line < until) {
            let passage = Passage::of(index, life, until);
            self.allowed.0 += u64::from(passage == Passage::Passed);
            self.allowed.1 += u64::from(passage.takes());
        }
        self.accepted += u64::from(life.accepted.is_some_and(|(at, _)| at.line < until));
        self.recovered += u64::from(life.offered.is_none() && resolved.is_some());
        let mut seen = PerRoute::default();
        for attempt in life.attempts.iter().filter_map(|slot| index.attempts.get(*slot)) {
            if attempt.at.line >= until {
                continue;
            }
            let route = attempt.route;
            *seen.of(route) += 1;
            let Some(delivery) = attempt.delivery.filter(|d| d.at.line < until) else { continue };
            let late = resolved.is_some_and(|at| at < delivery.at);
            *self.late.of(route) += u64::from(late);
            *self.failures.of(route) += u64::from(!late && delivery.error.is_some());
            let fatal = delivery.error.is_some_and(|e| e.class == ErrorClass::Fatal);
            *self.fatal.of(route) += u64::from(fatal);
        }
        for (_, route, error) in life.refusals.iter().filter(|(at, ..)| at.line < until) {
            *self.fatal.of(*route) += u64::from(error.class == ErrorClass::Fatal);
        }
        for (route, count) in [(Route::Main, seen.main), (Route::Dlq, seen.dlq)] {
            *self.attempted.of(route) += u64::from(count > 0);
            *self.retries.of(route) += count.saturating_sub(1);
        }
    }

    /// Entries that the spool may not have taken or given back.
    pub(crate) fn spool_failures(&self) -> (u64, u64) {
        let (any, append) = self.disk_failures;
        (u64::from(append && self.untaken > 0), if any { u64::MAX } else { 0 })
    }

    /// Entries of the spool that may be damaged, by the reason that its metric gives.
    pub(crate) fn damage(&self, reason: &str) -> (u64, u64) {
        let injected = |kind| self.injected.get(kind).copied().unwrap_or_default();
        // a failed append leaves whatever it had come to, and what is not read is not known
        let unread = reason == "unreadable" && self.disk_failures.0;
        if unread || self.disk_failed && matches!(reason, "torn_tail" | "corrupt") {
            return (0, u64::MAX);
        }
        match reason {
            // an append that a crash tore looks the same, and so does a bit in the last entry; one
            // that began a segment can have spoilt the header
            "torn_tail" => (0, injected("torn_tail") + injected("flipped_bit") + self.crashes),
            "corrupt" => (0, injected("flipped_bit") + self.crashes),
            "foreign" => (0, injected("foreign_file")),
            "newer" => (0, injected("newer_version")),
            _ => (0, 0),
        }
    }

    /// Events with this outcome, over all reasons.
    pub(crate) fn outcome(&self, label: &str) -> u64 {
        self.outcomes.iter().filter(|((l, _), _)| *l == label).map(|(_, n)| n).sum()
    }

    /// Events with this outcome and reason.
    pub(crate) fn exact(&self, label: &str, reason: &str) -> u64 {
        let same = |(l, r): &(&str, &str)| *l == label && *r == reason;
        self.outcomes.iter().filter(|(key, _)| same(key)).map(|(_, n)| n).sum()
    }
}

/// Clients that certainly came anew: one that had a fatal error takes no attempt any more, so that
/// the next one went to another. An error that came after its event's outcome is nobody's any more.
fn revived(index: &Index<'_>, inc: usize, until: usize) -> PerRoute {
    let told = |attempt: &Attempt<'_>| {
        let events = attempt.events.iter().filter_map(|id| index.event(index.slot(*id)?));
        let lives = events.flat_map(|event| index.lives_of(event));
        let own = lives.filter(|life| life.inc == inc);
        own.filter_map(|life| life.outcomes.first()).map(|(at, _)| *at).min()
    };
    let mut revived = PerRoute::default();
    for route in [Route::Main, Route::Dlq] {
        // Hand-overs, and fatal errors with the line at which their attempt was handed over.
        let mut steps: Vec<(usize, Option<usize>)> = Vec::new();
        let own = index.attempts.iter().filter(|a| a.inc == inc && a.route == route && !a.refused);
        for attempt in own {
            steps.push((attempt.at.line, None));
            let Some(delivery) = attempt.delivery else { continue };
            let fatal = delivery.error.is_some_and(|error| error.class == ErrorClass::Fatal);
            if fatal && told(attempt).is_none_or(|told| delivery.at < told) {
                steps.push((delivery.at.line, Some(attempt.at.line)));
            }
        }
        steps.sort_unstable();
        let (mut born, mut dead) = (0, false);
        for (line, fatal_of) in steps.into_iter().take_while(|(line, _)| *line < until) {
            match fatal_of {
                Some(handed) => dead |= handed >= born,
                None if dead => {
                    *revived.of(route) += 1;
                    (born, dead) = (line, false);
                }
                None => {}
            }
        }
    }
    revived
}

/// Each `panic_callback` lets the next callback panic. Armed twice before an outcome came, it may
/// be one panic or two: that is the subject's choice.
fn panics(index: &Index<'_>, inc: usize, until: usize) -> (u64, u64) {
    let armed: Vec<usize> = index
        .calls
        .iter()
        .filter(|call| call.inc == inc && call.op == "panic_callback" && call.at.line < until)
        .filter(|call| call.returned.is_none_or(|r| r.error.is_none()))
        .map(|call| call.at.line)
        .collect();
    if armed.is_empty() {
        return (0, 0);
    }
    let lives = index.incs.get(inc).map_or(&[][..], |inc| &inc.lives);
    let mut outcomes: Vec<usize> = lives
        .iter()
        .filter_map(|slot| index.lives.get(*slot))
        .flat_map(|life| life.outcomes.iter().map(|(at, _)| at.line))
        .filter(|line| *line < until)
        .collect();
    outcomes.sort_unstable();
    // An outcome between the call and its answer may or may not have met the armed callback; the
    // next one did.
    let after = |line: usize| outcomes.len() - outcomes.partition_point(|o| *o < line);
    let at_most = armed.iter().filter(|line| after(**line) > 0).count() as u64;
    let mut at_least = 0;
    let mut spent = 0;
    for line in &armed {
        let next = outcomes.partition_point(|o| o < line).max(spent);
        if next < outcomes.len() {
            at_least += u64::from(next >= spent);
            spent = next + 1;
        }
    }
    (at_least.min(at_most), at_most)
}
