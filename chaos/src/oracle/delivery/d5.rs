//! D5: an event is in the main log once, unless a copy is explained.

use super::{CLIENT_LIBRARY, hidden_by_client, places};
use crate::history::{Outcome, Persistence, Route};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{Event, Index, NO_ATTEMPTS};
use crate::oracle::laws::LawId::D5;
use crate::scenario::model::LaneName;

/// Why a copy made by librdkafka itself is not judged.
const TWO_EPOCHS: &str = "client_library: one hand-over appended under two producer epochs";

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    for (slot, event) in index.events.iter().enumerate() {
        if event.main.is_empty() {
            continue;
        }
        f.checked(D5, 1);
        after_ack(index, slot, event, f);
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

/// An earlier incarnation crashed, or spooled the event as possibly persisted: each explains one
/// more copy.
fn resent_after_restart(index: &Index<'_>, event: &Event) -> bool {
    let lives: Vec<_> = index.lives_of(event).collect();
    let Some((_, earlier)) = lives.split_last() else { return false };
    let unsure = earlier.iter().filter(|life| {
        let crashed = index.inc_of(life).is_some_and(|inc| inc.crashed.is_some());
        let spooled = life.outcomes.iter().any(|(_, outcome)| {
            matches!(outcome, Outcome::Spooled { main, .. } if *main != Persistence::Not)
        });
        crashed || spooled
    });
    let unsure = unsure.count();
    unsure > 0 && (event.main.len() <= unsure + 1 || index.is_librdkafka())
}

/// The lines at which the subject says that it handed the event over to main, ascending.
fn hand_overs(index: &Index<'_>, event: &Event) -> Vec<usize> {
    let lives = index.lives_of(event);
    let mut handed: Vec<usize> = lives
        .flat_map(|life| index.attempts_of(life, Route::Main))
        .map(|attempt| attempt.at.line)
        .collect();
    handed.sort_unstable();
    handed
}

fn twice(index: &Index<'_>, slot: usize, event: &Event, f: &mut Findings) {
    if !index.settings.idempotence || sent_again(index, event) || resent_after_restart(index, event)
    {
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
    if index.is_librdkafka() && across_epochs(event) {
        // Whether it was one hand-over only attempts can tell.
        let silent = (!index.tells_attempts).then_some(NO_ATTEMPTS);
        if let Some(why) = silent.or_else(|| one_hand_over(&handed, event).then_some(TWO_EPOCHS)) {
            f.unjudged(D5, why);
            return;
        }
    }
    f.broken(D5, "twice", Evidence::event(slot), || {
        let expected = "the event once in the main log".to_owned();
        let attempts = handed.len();
        let observed = format!(
            "{} times, after {attempts} hand-over{}: {}",
            event.main.len(),
            if attempts == 1 { "" } else { "s" },
            places(event, Route::Main)
        );
        (expected, observed)
    });
}

/// `retry_possibly_persisted` allows a copy for each attempt that ended without knowing and that
/// another one followed; it allows no copy out of nothing.
fn sent_again(index: &Index<'_>, event: &Event) -> bool {
    if !index.settings.retry.retry_possibly_persisted {
        return false;
    }
    let mut unsure = 0;
    let mut none = true;
    for life in index.lives_of(event) {
        let mut attempts = index.attempts_of(life, Route::Main).peekable();
        while let Some(attempt) = attempts.next() {
            none = false;
            let known = attempt.delivery.is_some_and(|d| d.persistence == Persistence::Not);
            unsure += usize::from(!known && attempts.peek().is_some());
        }
    }
    // Without attempts in the history the setting alone must do; librdkafka may add a copy of its
    // own to each.
    none || event.main.len() <= unsure + 1 || (index.is_librdkafka() && unsure > 0)
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

/// True when there was one hand-over, or the broker's record shows that every copy comes from one.
fn one_hand_over(handed: &[usize], event: &Event) -> bool {
    if handed.len() == 1 {
        // in real time the line that tells it can come after the first request's
        return true;
    }
    let mut of: Option<usize> = None;
    for sent in event.transmissions.iter().filter(|t| t.route == Route::Main && t.appended) {
        let hand_over = handed.partition_point(|line| *line < sent.at.line);
        if hand_over == 0 || of.is_some_and(|first| first != hand_over) {
            return false;
        }
        of = Some(hand_over);
    }
    of.is_some()
}

/// In main and in the DLQ only when main was possibly persisted: when the event was first handed
/// to the DLQ, some main attempt was open or had ended without knowing.
fn both(index: &Index<'_>, slot: usize, event: &Event, f: &mut Findings) {
    let explained = resent_after_restart(index, event)
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
