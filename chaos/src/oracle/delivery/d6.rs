//! D6: order within a thread, and sequences without gaps.

use std::collections::BTreeMap;

use super::places;
use crate::history::Route;
use crate::oracle::findings::{Evidence, Findings, STALL_LIMIT_US};
use crate::oracle::index::{Event, Index, Life, LogView, NO_ATTEMPTS};
use crate::oracle::laws::LawId::D6;
use crate::scenario::model::LaneName;
use dashproof_reference::config::Order;

/// A sequence is epoch · 2^40 + n, n from 1.
const EPOCH_BITS: u32 = 40;

/// Place of the empty thread id, which promises no order.
const NO_THREAD: usize = 0;

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    sequences(index, f);
    restarts(index, f);
    recovered_first(index, f);
    one_partition(index, f);
    let settings = &index.settings;
    let one_request = settings.max_in_flight == 1 || settings.max_in_flight_requests == 1;
    if !settings.idempotence && !one_request && settings.order != Order::Strict {
        f.unjudged(D6, "idempotence is off and several requests may be in flight");
        return;
    }
    for log in index.logs.iter().filter(|log| log.route == Route::Main) {
        in_order(index, log, f);
    }
}

/// Sequences count up by one from 1 in each (incarnation, thread), in the order in which the thread
/// offered: refused events take none.
fn sequences(index: &Index<'_>, f: &mut Findings) {
    for inc in &index.incs {
        let mut threads: Vec<Vec<(u64, &Life<'_>)>> = vec![Vec::new(); index.threads.len()];
        for life in inc.lives.iter().filter_map(|slot| index.lives.get(*slot)) {
            let Some((_, sequence)) = life.accepted else { continue };
            let Some(event) = index.event(life.event) else { continue };
            // A recovered event keeps the sequence of its first incarnation.
            if life.offered.is_some()
                && event.thread != NO_THREAD
                && let Some(thread) = threads.get_mut(event.thread)
            {
                thread.push((sequence, life));
            }
        }
        for (thread, mut accepted) in index.threads.iter().zip(threads) {
            accepted.sort_by_key(|(sequence, _)| *sequence);
            gapless(thread, &accepted, f);
            offered_order(index, thread, &accepted, f);
        }
    }
}

fn gapless(thread: &str, accepted: &[(u64, &Life<'_>)], f: &mut Findings) {
    let n = |sequence: u64| sequence & ((1 << EPOCH_BITS) - 1);
    let mut epoch = None;
    for (wanted, (sequence, life)) in (1..).zip(accepted) {
        f.checked(D6, 1);
        let of = sequence >> EPOCH_BITS;
        if n(*sequence) != wanted || *epoch.get_or_insert(of) != of {
            f.broken(D6, "gap", Evidence::event(life.event), || {
                let expected = format!("sequence {wanted} is the next of thread {thread:?}");
                (expected, format!("sequence {} (epoch {of})", n(*sequence)))
            });
            return;
        }
    }
}

/// With a directory, sequences go on over restarts: each incarnation's are above all earlier ones.
fn restarts(index: &Index<'_>, f: &mut Findings) {
    if index.settings.spool.directory.is_none() {
        return;
    }
    let mut highest: Vec<Option<(u64, usize)>> = vec![None; index.threads.len()];
    for inc in &index.incs {
        let mut here = highest.clone();
        for life in inc.lives.iter().filter_map(|slot| index.lives.get(*slot)) {
            let (Some((_, sequence)), Some(event)) = (life.accepted, index.event(life.event))
            else {
                continue;
            };
            if life.offered.is_none() || event.thread == NO_THREAD {
                continue;
            }
            f.checked(D6, 1);
            if let Some((before, earlier)) = highest.get(event.thread).copied().flatten()
                && before >= sequence
            {
                f.broken(D6, "restart", Evidence::event(life.event), || {
                    let other = index.event(earlier).map(|e| e.id.to_string()).unwrap_or_default();
                    let expected = format!("a sequence above {before}, which {other} had before");
                    (expected, format!("sequence {sequence} after the restart"))
                });
                return;
            }
            if let Some(place) = here.get_mut(event.thread) {
                *place = (*place).max(Some((sequence, life.event)));
            }
        }
        highest = here;
    }
}

/// What the spool gave back stands before the incarnation's new events of its thread, where one
/// attempt settled both.
fn recovered_first(index: &Index<'_>, f: &mut Findings) {
    let place = |life: &Life<'_>| {
        let event = index.event(life.event)?;
        let mut attempts = index.attempts_of(life, Route::Main);
        let only = attempts.next().filter(|_| attempts.next().is_none())?;
        let sure = only.delivery.is_some_and(|d| d.error.is_none());
        match event.main.as_slice() {
            [only] if sure && event.thread != NO_THREAD => Some((event.thread, *only)),
            _ => None,
        }
    };
    for inc in &index.incs {
        let lives = || inc.lives.iter().filter_map(|slot| index.lives.get(*slot));
        let mut first: BTreeMap<(usize, i32), i64> = BTreeMap::new();
        for life in lives().filter(|life| life.offered.is_some()) {
            let Some((thread, place)) = place(life) else { continue };
            let offset = first.entry((thread, place.partition)).or_insert(place.offset);
            *offset = place.offset.min(*offset);
        }
        for life in lives().filter(|life| life.offered.is_none()) {
            let Some((thread, place)) = place(life) else { continue };
            let Some(new) = first.get(&(thread, place.partition)) else { continue };
            f.checked(D6, 1);
            if *new < place.offset {
                f.broken(D6, "recovered", Evidence::event(life.event), || {
                    let expected = "recovered events stand before the new ones of their thread";
                    let observed = format!("offset {}, a new one at {new}", place.offset);
                    (expected.to_owned(), observed)
                });
            }
        }
    }
}

/// One task offers the events of one thread of one load, one after the other.
fn offered_order(index: &Index<'_>, thread: &str, accepted: &[(u64, &Life<'_>)], f: &mut Findings) {
    let mut last: BTreeMap<u16, (usize, usize)> = BTreeMap::new();
    for (_, life) in accepted {
        let (Some(event), Some(offered)) = (index.event(life.event), life.offered) else {
            continue;
        };
        let before = last.insert(event.id.load, (offered.line, life.event));
        if let Some((line, earlier)) = before
            && line > offered.line
        {
            let other = index.event(earlier).map(|e| e.id.to_string()).unwrap_or_default();
            f.broken(D6, "acceptance", Evidence::event(life.event), || {
                let expected = format!("thread {thread:?} is accepted in the order it was offered");
                (expected, format!("accepted after {other}, which was offered later"))
            });
        }
    }
}

/// A thread stays in one partition: no fault of ours changes their number.
fn one_partition(index: &Index<'_>, f: &mut Findings) {
    let mut home: Vec<Option<(i32, usize)>> = vec![None; index.threads.len()];
    for (slot, event) in index.events.iter().enumerate() {
        if event.thread == NO_THREAD || event.offered.is_none() {
            continue;
        }
        let Some(home) = home.get_mut(event.thread) else { continue };
        for place in &event.main {
            f.checked(D6, 1);
            let (partition, first) = *home.get_or_insert((place.partition, slot));
            if partition != place.partition {
                let first = index.event(first).map(|e| e.id.to_string()).unwrap_or_default();
                f.broken(D6, "partition", Evidence::event(slot), || {
                    let thread = index.thread(event);
                    let expected =
                        format!("thread {thread:?} in partition {partition}, where {first} is");
                    (expected, places(event, Route::Main))
                });
            }
        }
    }
}

/// First occurrences of one partition, thread by thread and incarnation by incarnation.
fn in_order(index: &Index<'_>, log: &LogView<'_>, f: &mut Findings) {
    let mut seen = vec![false; index.events.len()];
    let mut last: BTreeMap<(usize, usize), (u64, usize)> = BTreeMap::new();
    // What was resent nobody tells there; where no fault was met, nothing was.
    let broken = index.met_a_fault();
    for record in log.records {
        for id in &record.events {
            let Some(slot) = index.slot(*id) else { continue };
            let Some(event) = index.event(slot) else { continue };
            let first = seen.get_mut(slot).is_some_and(|seen| !std::mem::replace(seen, true));
            if !first || event.thread == NO_THREAD {
                continue;
            }
            let Some((life, sequence)) = accepted(index, event) else { continue };
            f.checked(D6, 1);
            written(index, event, slot, record.sequence, record.events.len(), sequence, f);
            if is_exempt(index, event, life) {
                continue;
            }
            if may_be_retried(index, event) {
                f.unjudged(D6, NO_ATTEMPTS);
                continue;
            }
            if index.lane == LaneName::Mock && broken {
                f.unjudged(D6, "the mock cluster checks no sequences, and a request may be resent");
                continue;
            }
            let before = last.insert((life.inc, event.thread), (sequence, slot));
            if let Some((other, earlier)) = before
                && other > sequence
            {
                let before = index.event(earlier).map(|e| e.id.to_string()).unwrap_or_default();
                f.broken(D6, "order", Evidence::event(slot), || {
                    let thread = index.thread(event);
                    let expected = format!("thread {thread:?} is in the log in acceptance order");
                    let place = format!("offset {} comes after {before}", record.offset);
                    (expected, format!("{place}, which was accepted later (sequence {other})"))
                });
            }
        }
    }
}

/// The life in which an event was accepted, with its sequence.
fn accepted<'i, 'a>(index: &'i Index<'a>, event: &Event) -> Option<(&'i Life<'a>, u64)> {
    let slot = event
        .lives
        .iter()
        .find(|slot| index.lives.get(**slot).is_some_and(|life| life.accepted.is_some()))?;
    let life = index.lives.get(*slot)?;
    Some((life, life.accepted?.1))
}

/// What the record says of its sequence is what the application was told.
fn written(
    index: &Index<'_>,
    event: &Event,
    slot: usize,
    inside: Option<u64>,
    members: usize,
    sequence: u64,
    f: &mut Findings,
) {
    let Some(inside) = inside.filter(|_| members == 1) else { return };
    let told = index
        .lives_of(event)
        .filter_map(|life| life.accepted)
        .any(|(_, sequence)| sequence == inside);
    if !told {
        f.broken(D6, "written", Evidence::event(slot), || {
            (format!("the record carries sequence {sequence}"), format!("sequence {inside}"))
        });
    }
}

/// Where nobody tells attempts the event may have had several, and one with several is exempt.
/// In a world without trouble nothing is tried twice.
fn may_be_retried(index: &Index<'_>, event: &Event) -> bool {
    if index.tells_attempts
        || index.settings.order == Order::Strict
        || index.settings.max_attempts(Route::Main) < 2
    {
        return false;
    }
    let sent = event.transmissions.iter().filter(|t| t.route == Route::Main).count();
    let faults = index.faults.values().any(|fault| fault.begin.is_some());
    sent > 1 || faults || index.standstill_us() > STALL_LIMIT_US
}

/// Two attempts may overtake each other, and what the spool gave back came from another time.
fn is_exempt(index: &Index<'_>, event: &Event, life: &Life<'_>) -> bool {
    let attempts: usize =
        index.lives_of(event).map(|life| index.attempts_of(life, Route::Main).count()).sum();
    let strict = index.settings.order == Order::Strict;
    (attempts > 1 && !strict) || event.lives.len() > 1 || life.offered.is_none()
}
