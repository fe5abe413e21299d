//! Laws about the dead-letter path: Q1 to Q6.

use super::delivery::d2::{appended_before, is_timed};
use super::findings::{Evidence, Findings};
use super::index::{At, Attempt, Index, Life, NO_ATTEMPTS, micros, ms};
use super::laws::LawId::{Q1, Q2, Q3, Q4, Q5, Q6};
use super::metrics::text;
use super::records;
use crate::history::{ErrorClass, Kind, Line, Outcome, Persistence, Route};
use crate::scenario::model::{FaultKind, LaneName, TopicSel};

/// Q1: what is said to be dead-lettered is in the DLQ, whole or cut with size and hash.
pub(super) fn judge_payload(index: &Index<'_>, f: &mut Findings) {
    let timed = is_timed(index);
    for life in &index.lives {
        let Some(event) = index.event(life.event) else { continue };
        for (at, outcome) in &life.outcomes {
            if !matches!(outcome, Outcome::DeadLettered { .. }) {
                continue;
            }
            f.checked(Q1, 1);
            if event.dlq.is_empty() {
                f.broken(Q1, "missing", Evidence::event(life.event), || {
                    let expected = "the DLQ holds every dead-lettered event".to_owned();
                    (expected, "dead_lettered, and no record of it in the dlq log".to_owned())
                });
            } else if timed && !appended_before(event, Route::Dlq, *at) {
                f.broken(Q1, "before", Evidence::event(life.event), || {
                    let expected = "a broker appends the DLQ record before it is told".to_owned();
                    (expected, "dead_lettered while no broker had appended it".to_owned())
                });
            }
        }
    }
    records::defects(index, "payload", Q1, "the payload whole, or cut with size and hash", f);
}

/// Q5, and what the reader of the DLQ's log shows of Q3.
pub(super) fn judge_defects(index: &Index<'_>, f: &mut Findings) {
    let dlq = index.logs.iter().filter(|log| log.route == Route::Dlq);
    let count = dlq.map(|log| log.records.len() as u64).sum();
    for law in [Q3, Q5] {
        f.checked(law, count);
    }
    records::defects(index, "loop", Q3, "no DLQ record inside a DLQ record", f);
    let context = "topic, partition, offset, thread and trace id of the source";
    records::defects(index, "context", Q5, context, f);
}

/// Q2: an event whose main failed is offered to the DLQ, and what comes of both is its outcome.
pub(super) fn judge_balance(index: &Index<'_>, f: &mut Findings) {
    for life in &index.lives {
        let Some((_, outcome)) = life.outcomes.first() else { continue };
        claims(index, life, outcome, f);
        let letters = index.attempts_of(life, Route::Dlq).count();
        if !index.settings.dlq.enabled {
            let letter = letters > 0 || matches!(outcome, Outcome::DeadLettered { .. });
            f.checked(Q2, 1);
            if letter {
                f.broken(Q2, "disabled", Evidence::event(life.event), || {
                    let expected = "nothing goes to a DLQ that is not configured".to_owned();
                    (expected, format!("{letters} DLQ attempts, {}", outcome.label()))
                });
            }
            continue;
        }
        match outcome {
            Outcome::InDoubt { reason, .. } | Outcome::Dropped { reason } => {
                f.checked(Q2, 1);
                if letters == 0 {
                    skipped(index, life, reason, f);
                }
            }
            _ => {}
        }
    }
}

/// No DLQ attempt at all, though there was time for one.
fn skipped(index: &Index<'_>, life: &Life<'_>, reason: &str, f: &mut Findings) {
    let Some((told, _)) = life.outcomes.first() else { return };
    let refused = life.refusals.iter().any(|(_, route, _)| *route == Route::Dlq);
    let ended = index.inc_of(life).and_then(|inc| inc.end_called).is_some_and(|at| at < *told);
    if reason == "acks_0" || refused || ended {
        return;
    }
    let mains = index.attempts_of(life, Route::Main).filter_map(|a| a.delivery);
    let Some(main_ended) = mains.map(|d| d.at.t_us).max().or_else(|| in_line(index, life, reason))
    else {
        return;
    };
    let waited = told.t_us.saturating_sub(main_ended);
    let patience = micros(index.settings.dlq.timeout);
    if waited.saturating_add(index.tolerance_us()) >= patience {
        return;
    }
    f.broken(Q2, "skipped", Evidence::event(life.event), || {
        let expected = "an event whose main failed is offered to the configured DLQ".to_owned();
        let label = life.outcomes.first().map_or("", |(_, o)| o.label());
        (
            expected,
            format!("{label}/{reason} without a DLQ attempt, {} after main ended", ms(waited)),
        )
    });
}

/// When main ended at the earliest for an event that never got a main attempt. A subject that tells
/// no attempts at all may have made some.
fn in_line(index: &Index<'_>, life: &Life<'_>, reason: &str) -> Option<u64> {
    let (accepted, _) = life.accepted.filter(|_| index.tells_attempts)?;
    // The claim may trail the acceptance: of a cancelled send it comes with the outcome. The offer
    // is never late, so that what waited in line before is counted for the subject.
    let offered = life.offered.unwrap_or(accepted);
    match reason {
        "deadline" => Some(offered.t_us.saturating_add(index.settings.delivery_timeout_us())),
        "permanent_error" => life.refusals.iter().map(|(at, ..)| at.t_us).max(),
        _ => None,
    }
}

/// What the attempts on a route can have left in its log at most, by the time of the outcome.
fn most(index: &Index<'_>, life: &Life<'_>, route: Route, told: At) -> Persistence {
    let ends = index.attempts_of(life, route).map(|attempt| {
        let delivery = attempt.delivery.filter(|d| d.at < told);
        delivery.map_or(Persistence::Possibly, |d| d.persistence)
    });
    ends.max().unwrap_or(Persistence::Not)
}

/// What an outcome says of the two logs is what its attempts came to: `dropped` that none can have
/// left a record, the others how sure it is. A recovered event knows of earlier lives as well.
fn claims(index: &Index<'_>, life: &Life<'_>, outcome: &Outcome, f: &mut Findings) {
    let Some((told, _)) = life.outcomes.first() else { return };
    if life.attempts.is_empty() || life.offered.is_none() {
        return;
    }
    let none = Persistence::Not;
    let (said_main, said_dlq) = match outcome {
        Outcome::Dropped { .. } => (none, Some(none)),
        Outcome::DeadLettered { main, .. } => (*main, None),
        Outcome::InDoubt { main, dlq, .. } | Outcome::Spooled { main, dlq } => (*main, Some(*dlq)),
        Outcome::Rejected { .. } | Outcome::Acked { .. } | Outcome::LostInCrash => return,
    };
    let (main, dlq) = (most(index, life, Route::Main, *told), most(index, life, Route::Dlq, *told));
    // What was written to the spool stands, though a delivery knows better before it is synced; and
    // what a failing disk may have taken all the same, another life may send.
    let at_least = match outcome {
        Outcome::Spooled { .. } => true,
        Outcome::InDoubt { .. } => {
            let goes_there = !matches!(outcome.reason(), "permanent_error" | "acks_0");
            goes_there && index.is_disk_broken_in(life, *told)
        }
        _ => false,
    };
    let wrong = |said: Persistence, most| if at_least { said < most } else { said != most };
    f.checked(Q2, 1);
    if wrong(said_main, main) || said_dlq.is_some_and(|said| wrong(said, dlq)) {
        f.broken(Q2, "certain", Evidence::event(life.event), || {
            let (main, dlq) = (main.as_str(), dlq.as_str());
            let expected = format!("main {main}, dlq {dlq}, as its attempts came to");
            let said = said_dlq.map_or(String::new(), |dlq| format!(", dlq {}", dlq.as_str()));
            (expected, format!("{}: main {}{said}", outcome.label(), said_main.as_str()))
        });
    } else if matches!(outcome, Outcome::InDoubt { .. }) && main == none && dlq == none && !at_least
    {
        f.broken(Q2, "certain", Evidence::event(life.event), || {
            let expected = "dropped, as no attempt can have left a record".to_owned();
            (expected, "in_doubt".to_owned())
        });
    }
}

/// Q3: from the DLQ nothing goes back to main.
pub(super) fn judge_loops(index: &Index<'_>, f: &mut Findings) {
    for life in &index.lives {
        let Some(letter) = index.attempts_of(life, Route::Dlq).next() else { continue };
        f.checked(Q3, 1);
        if let Some(back) = index.attempts_of(life, Route::Main).find(|a| a.at > letter.at) {
            f.broken(Q3, "back", Evidence::event(life.event), || {
                let expected = "no main attempt after the first DLQ attempt".to_owned();
                (expected, format!("attempt {} goes to main again", back.number))
            });
        }
    }
}

/// Q4: bounded, and what waited is counted.
pub(super) fn judge_bounds(index: &Index<'_>, f: &mut Findings) {
    if !index.tells_attempts {
        f.unjudged(Q4, NO_ATTEMPTS);
        return;
    }
    let most = index.settings.dlq.max_concurrent as u64;
    for (slot, inc) in index.incs.iter().enumerate() {
        let peaks = index.peaks(slot);
        f.checked(Q4, 1);
        if peaks.letters.count > most {
            let evidence = peaks.letters.at.map_or_else(Evidence::default, Evidence::line);
            f.broken(Q4, "bounded", evidence, || {
                let expected = format!("at most {most} DLQ attempts at a time");
                (expected, format!("{} at a time", peaks.letters.count))
            });
        }
        let last = inc.scrapes.iter().rev().find_map(|at| match index.line(*at) {
            Some(Line { kind: Kind::Scrape { text, last: true }, .. }) => Some((*at, text)),
            _ => None,
        });
        let Some((at, scrape)) = last.filter(|_| inc.is_closed()) else { continue };
        let counted = text::parse(scrape)
            .ok()
            .and_then(|read| read.value("dashstream_dlq_over_limit_total", &[]));
        // Only virtual time tells a wait for a permit from the work of handing over.
        let Some(counted) = counted.filter(|_| index.lane == LaneName::Sim) else { continue };
        let sure = waited(index, slot, peaks.dlq.count >= most);
        f.checked(Q4, 1);
        if counted < sure as f64 || (peaks.dlq.count < most && counted > 0.0) {
            f.broken(Q4, "counted", Evidence::line(at), || {
                let expected = if peaks.dlq.count < most {
                    format!("nobody waits while {} of {most} permits are used", peaks.dlq.count)
                } else {
                    format!("at least {sure} events counted, which waited for a permit")
                };
                (expected, format!("dashstream_dlq_over_limit_total {counted}"))
            });
        }
    }
}

/// Events that certainly waited: main ended with their last delivery, and the first DLQ attempt
/// came more than a tick later, while permits were out.
fn waited(index: &Index<'_>, inc: usize, saturated: bool) -> u64 {
    let lives = index.incs.get(inc).map_or(&[][..], |inc| &inc.lives);
    let lives = lives.iter().filter_map(|slot| index.lives.get(*slot)).filter(|life| {
        let at_once = life.outcomes.first().is_some_and(|(_, o)| {
            matches!(o.reason(), "permanent_error" | "unconfirmed" | "retries_exhausted")
        });
        let first = |route| index.attempts_of(life, route).next();
        let main_ended = index.attempts_of(life, Route::Main).filter_map(|a| a.delivery).last();
        let (Some(letter), Some(main)) = (first(Route::Dlq), main_ended) else { return false };
        let wait = letter.at.t_us.saturating_sub(main.at.t_us);
        at_once && life.refusals.is_empty() && wait > index.tolerance_us()
    });
    if saturated { lives.count() as u64 } else { 0 }
}

/// Kafka's answer to a record that is too large; librdkafka uses the same number itself.
const TOO_LARGE: i16 = 10;

/// Q6: no DLQ record is refused for its size, unless the scenario lowers the limit.
pub(super) fn judge_size(index: &Index<'_>, f: &mut Findings) {
    let lowered = index.scenario.faults.iter().any(|fault| match &fault.kind {
        FaultKind::MessageMaxBytes { topic, .. } => *topic != TopicSel::Main,
        FaultKind::RequestError { topic, code, .. } => {
            *topic != TopicSel::Main && *code == TOO_LARGE
        }
        _ => false,
    });
    if lowered {
        f.unjudged(Q6, "the scenario lowers the broker's limit under the DLQ's");
        return;
    }
    let limit = index.scenario.message_max_bytes;
    for log in index.logs.iter().filter(|log| log.route == Route::Dlq) {
        for record in log.records {
            f.checked(Q6, 1);
            if record.size > limit {
                let slot = record.events.first().and_then(|id| index.slot(*id));
                f.broken(Q6, "size", slot.map_or_else(Evidence::default, Evidence::event), || {
                    (format!("at most {limit} bytes"), format!("a record of {}", record.size))
                });
            }
        }
    }
    for (slot, event) in index.events.iter().enumerate() {
        let refused = event
            .transmissions
            .iter()
            .any(|t| t.route == Route::Dlq && t.answered == Some(TOO_LARGE));
        if refused || event.lives.iter().any(|life| refused_locally(index, *life)) {
            f.broken(Q6, "refused", Evidence::event(slot), || {
                let expected = format!("DLQ records fit the broker's limit of {limit} bytes");
                (expected, "one was refused for its size".to_owned())
            });
        }
    }
}

/// The client itself found the DLQ record too large.
fn refused_locally(index: &Index<'_>, life: usize) -> bool {
    let Some(life) = index.lives.get(life) else { return false };
    let too_large = |code: i32, class: ErrorClass| {
        code == i32::from(TOO_LARGE) && class == ErrorClass::Permanent
    };
    let delivered = |attempt: &Attempt<'_>| {
        attempt.delivery.and_then(|d| d.error).is_some_and(|e| too_large(e.code, e.class))
    };
    life.refusals.iter().any(|(_, route, e)| *route == Route::Dlq && too_large(e.code, e.class))
        || index.attempts_of(life, Route::Dlq).any(delivered)
}
