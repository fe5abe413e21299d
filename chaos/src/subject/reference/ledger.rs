//! What the application side of the reference knows of its events, and what it claims about them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashproof_reference::core::{
    AttemptId, ConnectionTrouble, Delivery, ErrorClass, Failure, MESSAGE_ID_HEADER, MessageId,
    Outcome, OutcomeRecord, Persistence, Record, Refused, Route,
};

use crate::history::{self, DeliveryError, EventId, Kind, Trouble};
use crate::subject::driver::child::Claims;

/// Events of one incarnation that are not resolved, and attempts that are not delivered.
pub(super) struct Ledger {
    claims: Claims,
    open: Mutex<Open>,
    panic_next: AtomicBool,
}

#[derive(Default)]
struct Open {
    events: BTreeMap<MessageId, Event>,
    attempts: BTreeMap<AttemptId, MessageId>,
}

struct Event {
    event: EventId,
    /// Its `accepted` claim was made.
    told: bool,
}

impl Ledger {
    pub(super) fn new(claims: Claims) -> Self {
        Self { claims, open: Mutex::default(), panic_next: AtomicBool::new(false) }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self, kind: Kind) {
        (self.claims)(kind);
    }

    /// The application is about to offer an event.
    pub(super) fn offer(&self, id: MessageId, event: EventId) {
        self.open().events.insert(id, Event { event, told: false });
    }

    /// `send` said that it was accepted.
    pub(super) fn accepted(&self, id: MessageId, sequence: u64) {
        let mut open = self.open();
        if let Some(entry) = open.events.get_mut(&id).filter(|e| !e.told) {
            entry.told = true;
            self.claim(Kind::Accepted { event: entry.event, sequence });
        }
    }

    /// The outcome callback. A send that was cancelled between its acceptance and its return is
    /// claimed as accepted here.
    ///
    /// # Panics
    /// On purpose, once, after [`Ledger::panic_in_next_callback`].
    pub(super) fn outcome(&self, told: &OutcomeRecord) {
        let (id, sequence) = (told.message_id, told.sequence);
        let why = told.cause.as_ref().and_then(|cause| cause.trouble).map(Trouble::from);
        let entry = self.open().events.remove(&id);
        let event = entry.as_ref().map_or_else(|| event_of(id), |e| e.event);
        // without an entry: from the spool, and accepted in an earlier life
        if let (Some(sequence), Some(false)) = (sequence, entry.map(|e| e.told)) {
            self.claim(Kind::Accepted { event, sequence });
        }
        self.claim(Kind::Outcome { event, outcome: claimed(&told.outcome), why });
        if self.panic_next.swap(false, Ordering::Relaxed) {
            // No panic hook: what is under test is the unwinding, not the print.
            std::panic::resume_unwind(Box::new("the outcome callback panics on request"));
        }
    }

    pub(super) fn panic_in_next_callback(&self) {
        self.panic_next.store(true, Ordering::Relaxed);
    }

    /// A record is about to be handed over.
    pub(super) fn attempt(&self, record: &Record, route: Route) {
        let id = message_id(record);
        let mut open = self.open();
        let event = match id {
            Some(id) => {
                // An event from the spool was never offered here.
                let recovered = || Event { event: event_of(id), told: true };
                open.attempts.insert(record.attempt, id);
                vec![open.events.entry(id).or_insert_with(recovered).event]
            }
            None => Vec::new(),
        };
        drop(open);
        let (attempt, route) = (record.attempt.0, claimed_route(route));
        self.claim(Kind::Attempt { attempt, events: event, route });
    }

    pub(super) fn refused(&self, attempt: AttemptId, route: Route, refused: &Refused) {
        self.open().attempts.remove(&attempt);
        let Refused { code, class, reason, trouble } = refused;
        let error = claimed_error(*code, *class, reason, *trouble);
        self.claim(Kind::Refused { attempt: attempt.0, route: claimed_route(route), error });
    }

    /// An attempt ended. It is late when its event was resolved before.
    pub(super) fn delivery(&self, delivery: &Delivery, route: Route) {
        let mut open = self.open();
        let id = open.attempts.remove(&delivery.attempt);
        let late = id.is_some_and(|id| !open.events.contains_key(&id));
        drop(open);
        let error = delivery.result.as_ref().err().map(|failure| {
            let Failure { code, class, reason, trouble } = failure;
            claimed_error(*code, *class, reason, *trouble)
        });
        self.claim(Kind::Delivery {
            attempt: delivery.attempt.0,
            route: claimed_route(route),
            persistence: claimed_persistence(delivery.persistence),
            partition: delivery.partition,
            offset: delivery.offset,
            error,
            late,
        });
    }
}

/// The id that the harness wrote into the message id: its last six bytes.
fn event_of(id: MessageId) -> EventId {
    EventId::in_message_id(id.0)
}

fn message_id(record: &Record) -> Option<MessageId> {
    let (_, value) = record.headers.iter().find(|(key, _)| *key == MESSAGE_ID_HEADER)?;
    (&**value).try_into().ok().map(MessageId)
}

pub(super) fn claimed_route(route: Route) -> history::Route {
    match route {
        Route::Main => history::Route::Main,
        Route::Dlq => history::Route::Dlq,
    }
}

pub(super) fn claimed_persistence(persistence: Persistence) -> history::Persistence {
    match persistence {
        Persistence::Not => history::Persistence::Not,
        Persistence::Possibly => history::Persistence::Possibly,
        Persistence::Persisted => history::Persistence::Persisted,
    }
}

fn claimed_error(
    code: i32,
    class: ErrorClass,
    reason: &Arc<str>,
    trouble: Option<ConnectionTrouble>,
) -> DeliveryError {
    let (class, why) = (claimed_class(class), trouble.map(Trouble::from));
    DeliveryError { code, class, reason: reason.clone(), why }
}

fn claimed_class(class: ErrorClass) -> history::ErrorClass {
    match class {
        ErrorClass::Retryable => history::ErrorClass::Retryable,
        ErrorClass::Permanent => history::ErrorClass::Permanent,
        ErrorClass::Fatal => history::ErrorClass::Fatal,
    }
}

/// An outcome in the words of the history.
pub(super) fn claimed(outcome: &Outcome) -> history::Outcome {
    use claimed_persistence as p;
    let word = |outcome: &Outcome| outcome.reason().map_or("", |r| r.as_str()).into();
    match *outcome {
        Outcome::Rejected { .. } => history::Outcome::Rejected { reason: word(outcome) },
        Outcome::Acked { partition, offset } => history::Outcome::Acked { partition, offset },
        Outcome::DeadLettered { main, .. } => {
            history::Outcome::DeadLettered { reason: word(outcome), main: p(main) }
        }
        Outcome::Spooled { main, dlq } => history::Outcome::Spooled { main: p(main), dlq: p(dlq) },
        Outcome::InDoubt { main, dlq, .. } => {
            history::Outcome::InDoubt { reason: word(outcome), main: p(main), dlq: p(dlq) }
        }
        _ => history::Outcome::Dropped { reason: word(outcome) },
    }
}
