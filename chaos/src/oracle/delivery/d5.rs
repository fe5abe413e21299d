//! D5: an event is in the main log once, unless a copy is explained. Each copy needs an explanation
//! of its own: what explains one does not excuse the next.

use std::collections::{BTreeMap, BTreeSet};

use super::{CLIENT_LIBRARY, hidden_by_client, places};
use crate::history::{Outcome, Persistence, Route};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{Attempt, Event, Index, Life, NO_ATTEMPTS};
use crate::oracle::laws::LawId::D5;
use crate::scenario::model::{Fault, FaultKind, LaneName, LinkFault};

/// Why a copy made by librdkafka itself is not judged.
const TWO_EPOCHS: &str = "client_library: one hand-over appended under two producer epochs";
/// How long a request may take from a client to the record.
const ON_ITS_WAY_US: u64 = 100_000;

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    for (slot, event) in index.events.iter().enumerate() {
        if event.main.is_empty() {
            continue;
        }
        f.checked(D5, 1);
        after_ack(index, slot, event, f);
        after_drop(index, slot, event, f);
        if event.main.len() > 1 {
            twice(index, slot, event, f);
        }
        if !event.dlq.is_empty() {
            both(index, slot, event, f);
        }
    }
}

/// What is known to be persisted is not sent again.
fn after_ack(index: &Index<'_>, slot: usize, event: &Event, f: &mut Findings) {
    let mut acked = None;
    for life in index.lives_of(event) {
        let number = index.inc_of(life).map_or(0, |inc| inc.number);
        if let Some(before) = acked
            && index.attempts_of(life, Route::Main).next().is_some()
        {
            f.broken(D5, "after_ack", Evidence::event(slot), || {
                let expected = format!("acked in incarnation {before}, and never sent again");
                (expected, format!("handed over in incarnation {number}"))
            });
            return;
        }
        // a crash may come before the spool has noted it
        let noted = index.inc_of(life).is_some_and(|inc| inc.crashed.is_none());
        // and a file system that fails to the end may never take that note
        let noted = noted && !index.is_disk_broken_at_end(life);
        let told = life.outcomes.iter().any(|(_, o)| matches!(o, Outcome::Acked { .. }));
        acked = acked.or((noted && told).then_some(number));
    }
    if acked.is_some() && index.spool.as_ref().is_some_and(|held| held.contains(&event.id)) {
        f.broken(D5, "on_spool", Evidence::event(slot), || {
            let expected = "an acked event is not on the spool, to be sent again".to_owned();
            (expected, "the files of the spool hold its record at the end".to_owned())
        });
    }
}

/// What was dropped in the incarnation that took it is nowhere, and nobody sends it any more.
fn after_drop(index: &Index<'_>, slot: usize, event: &Event, f: &mut Findings) {
    let mut lives = index.lives_of(event);
    let Some(first) = lives.next() else { return };
    let noted = index.inc_of(first).is_some_and(|inc| inc.crashed.is_none());
    let dropped = |(_, outcome): &(_, &Outcome)| matches!(outcome, Outcome::Dropped { .. });
    let told = first.offered.is_some() && first.outcomes.iter().any(dropped);
    if noted && told && lives.any(|life| index.attempts_of(life, Route::Main).next().is_some()) {
        f.broken(D5, "after_drop", Evidence::event(slot), || {
            let expected = "told to be dropped, and never sent again".to_owned();
            (expected, "a later incarnation handed it over".to_owned())
        });
    }
}

/// Earlier incarnations that crashed, or spooled the event as possibly persisted: each explains one
/// more copy.
fn unsure_lives(index: &Index<'_>, event: &Event) -> usize {
    let lives: Vec<_> = index.lives_of(event).collect();
    let Some((_, earlier)) = lives.split_last() else { return 0 };
    let unsure = earlier.iter().filter(|life| {
        let spooled = life.outcomes.iter().any(|(_, outcome)| {
            matches!(outcome, Outcome::Spooled { main, .. } if *main != Persistence::Not)
        });
        crashed(index, life) || spooled || is_unended(index, life)
    });
    unsure.count()
}

/// A file system that failed may have kept what it should not have: the record of an event that was
/// acked after it came back, or one that nobody knows about, and then the event is in doubt.
fn is_unended(index: &Index<'_>, life: &Life<'_>) -> bool {
    life.outcomes.iter().any(|(told, outcome)| match outcome {
        Outcome::Acked { .. } => index.is_disk_broken_at_end(life),
        Outcome::InDoubt { main, .. } => {
            *main != Persistence::Not && index.is_disk_broken_in(life, *told)
        }
        _ => false,
    })
}

fn crashed(index: &Index<'_>, life: &Life<'_>) -> bool {
    index.inc_of(life).is_some_and(|inc| inc.crashed.is_some())
}

/// `retry_possibly_persisted` allows a copy for each attempt that ended without knowing and that
/// another one followed; it allows no copy out of nothing.
fn unsure_attempts(index: &Index<'_>, event: &Event) -> usize {
    let mut unsure = 0;
    for life in index.lives_of(event) {
        // in real time a crash can come before the line of a hand-over whose request has left
        let untold = index.is_librdkafka() && crashed(index, life);
        let mut attempts = index.attempts_of(life, Route::Main).peekable();
        while let Some(attempt) = attempts.next() {
            let known = attempt.delivery.is_some_and(|d| d.persistence == Persistence::Not);
            unsure += usize::from(!known && (attempts.peek().is_some() || untold));
        }
    }
    unsure
}

/// How often the event may be in the log: once, and once more for everything that explains a copy;
/// `None` where only attempts could tell, and the subject tells none.
fn allowed(index: &Index<'_>, event: &Event) -> Option<usize> {
    let again = index.settings.retry.retry_possibly_persisted;
    if again && !index.tells_attempts {
        return None;
    }
    let attempts = if again { unsure_attempts(index, event) } else { 0 };
    Some(1 + unsure_lives(index, event) + attempts)
}

/// A hand-over to main, as the subject tells it.
struct HandOver {
    line: usize,
    /// When its delivery was told.
    over_us: Option<u64>,
}

/// The hand-overs of the event to main, in the order of their lines.
fn hand_overs(index: &Index<'_>, event: &Event) -> Vec<HandOver> {
    let lives = index.lives_of(event);
    let attempts = lives.flat_map(|life| index.attempts_of(life, Route::Main));
    let told = |attempt: &Attempt<'_>| HandOver {
        line: attempt.at.line,
        over_us: attempt.delivery.map(|delivery| delivery.at.t_us),
    };
    let mut handed: Vec<HandOver> = attempts.map(told).collect();
    handed.sort_unstable_by_key(|hand_over| hand_over.line);
    handed
}

fn twice(index: &Index<'_>, slot: usize, event: &Event, f: &mut Findings) {
    let copies = event.main.len();
    if !index.settings.idempotence {
        return;
    }
    let Some(most) = allowed(index, event) else {
        f.unjudged(D5, NO_ATTEMPTS);
        return;
    };
    if copies <= most {
        return;
    }
    if hidden_by_client(index, event, Route::Main) {
        f.unjudged(D5, CLIENT_LIBRARY);
        return;
    }
    let handed = hand_overs(index, event);
    if index.lane == LaneName::Mock && index.met_a_fault() && handed.len() <= 1 {
        f.unjudged(D5, "the mock cluster checks no sequences, and a request was resent");
        return;
    }
    // whether it was one hand-over only attempts can tell
    if index.is_librdkafka() && !index.tells_attempts && across_epochs(event) {
        f.unjudged(D5, NO_ATTEMPTS);
        return;
    }
    if index.is_librdkafka() && copies <= most + own_copies(index, &handed, event) {
        f.unjudged(D5, TWO_EPOCHS);
        return;
    }
    f.broken(D5, "twice", Evidence::event(slot), || {
        let expected = match most {
            1 => "the event once in the main log".to_owned(),
            most => format!("the event at most {most} times in the main log"),
        };
        let attempts = handed.len();
        let observed = format!(
            "{copies} times, after {attempts} hand-over{}: {}",
            if attempts == 1 { "" } else { "s" },
            places(event, Route::Main)
        );
        (expected, observed)
    });
}

/// True when one client appended the copies under different epochs of one producer id.
fn across_epochs(event: &Event) -> bool {
    let mut copies: Vec<(i64, i16)> = event.main.iter().map(|p| (p.pid, p.epoch)).collect();
    copies.sort_unstable();
    copies.windows(2).all(|w| match w {
        [a, b] => a.0 == b.0 && a.0 >= 0 && a.1 != b.1,
        _ => true,
    })
}

/// Copies that librdkafka made itself: those that one hand-over brought into the log under a second
/// epoch of its producer, while it was not over. Where no request is on record, the log alone tells
/// it of an event that was handed over once.
fn own_copies(index: &Index<'_>, handed: &[HandOver], event: &Event) -> usize {
    let mut sent = event.transmissions.iter().filter(|t| t.route == Route::Main).peekable();
    if sent.peek().is_none() {
        let alone = handed.len() == 1 && across_epochs(event);
        return if alone { event.main.len() - 1 } else { 0 };
    }
    let slack = slack_us(index);
    let mut epochs: BTreeMap<(usize, i64), BTreeSet<i16>> = BTreeMap::new();
    for request in sent.filter(|t| t.pid >= 0 && t.may_be_appended()) {
        // in real time the line that tells of the first one can come after its first request's
        let of = handed.partition_point(|h| h.line < request.at.line).max(1);
        let Some(hand_over) = handed.get(of - 1) else { continue };
        let over = hand_over.over_us.map_or(u64::MAX, |over| over.saturating_add(slack));
        let kept = event.main.iter().any(|p| (p.pid, p.epoch) == (request.pid, request.epoch));
        if kept && request.at.t_us <= over {
            epochs.entry((of, request.pid)).or_default().insert(request.epoch);
        }
    }
    epochs.values().map(|epochs| epochs.len() - 1).sum()
}

/// How long after its delivery a request of a hand-over may come to the record: longer where a
/// fault lets requests wait on their way.
fn slack_us(index: &Index<'_>) -> u64 {
    let waits = |fault: &Fault| {
        let kind = &fault.kind;
        matches!(kind, FaultKind::Throttle { .. })
            || matches!(kind, FaultKind::Link(LinkFault::Bandwidth { .. }))
    };
    if index.scenario.faults.iter().any(waits) {
        return u64::MAX;
    }
    ON_ITS_WAY_US.saturating_add(index.stall_us)
}

/// In main and in the DLQ only when main was possibly persisted: when the event was first handed
/// to the DLQ, some main attempt was open or had ended without knowing.
fn both(index: &Index<'_>, slot: usize, event: &Event, f: &mut Findings) {
    let explained = unsure_lives(index, event) > 0
        || index.lives_of(event).any(|life| {
            let Some(letter) = index.attempts_of(life, Route::Dlq).next() else { return false };
            index.attempts_of(life, Route::Main).any(|attempt| {
                let knew = attempt
                    .delivery
                    .filter(|d| d.at < letter.at)
                    .is_some_and(|d| d.error.is_some() && d.persistence == Persistence::Not);
                attempt.at < letter.at && !knew
            })
        });
    // A dead-lettered event whose main was denied is D3's.
    let denied = index
        .disposition(event)
        .is_some_and(|(_, outcome)| matches!(outcome, Outcome::DeadLettered { .. }));
    if explained || denied || hidden_by_client(index, event, Route::Main) {
        return;
    }
    if !index.tells_attempts {
        f.unjudged(D5, NO_ATTEMPTS);
        return;
    }
    f.broken(D5, "both", Evidence::event(slot), || {
        let expected = "an event is in main and DLQ only when main was possibly persisted";
        let observed = format!("{}; {}", places(event, Route::Main), places(event, Route::Dlq));
        (expected.to_owned(), observed)
    });
}
