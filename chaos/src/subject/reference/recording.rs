//! Transports that tell the history what the core hands over and what it gets back.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dashproof_reference::core::{
    BoxFuture, Connect, ConnectionProblem, Delivery, Record, Refused, Route, Transport,
};

use super::ledger::Ledger;
use crate::saboteur::Saboteur;

/// Wraps each transport that `inner` makes. A saboteur sits outside of the record: the history
/// shows what the client said, the core acts on what the saboteur said.
pub(super) struct RecordingConnect {
    pub(super) inner: Arc<dyn Connect>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) saboteur: Option<&'static Saboteur>,
}

impl Connect for RecordingConnect {
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<Arc<dyn Transport>, Refused>> {
        Box::pin(async move {
            let inner = self.inner.connect(route).await?;
            let ledger = Arc::clone(&self.ledger);
            let recording: Arc<dyn Transport> = Arc::new(Recording { inner, ledger, route });
            Ok(match self.saboteur {
                Some(saboteur) => saboteur.transport(route, recording),
                None => recording,
            })
        })
    }

    fn problem(&self, route: Route) -> Option<ConnectionProblem> {
        self.inner.problem(route)
    }
}

struct Recording {
    inner: Arc<dyn Transport>,
    ledger: Arc<Ledger>,
    route: Route,
}

impl Transport for Recording {
    fn submit(&self, record: Record) -> Result<(), Refused> {
        let attempt = record.attempt;
        self.ledger.attempt(&record, self.route);
        let result = self.inner.submit(record);
        if let Err(refused) = &result {
            self.ledger.refused(attempt, self.route, refused);
        }
        result
    }

    fn poll_delivery(&self, cx: &mut Context<'_>) -> Poll<Delivery> {
        let polled = self.inner.poll_delivery(cx);
        if let Poll::Ready(delivery) = &polled {
            self.ledger.delivery(delivery, self.route);
        }
        polled
    }

    fn flush_hint(&self) {
        self.inner.flush_hint();
    }

    fn purge(&self) {
        self.inner.purge();
    }

    fn reach(&self, within: Duration) -> BoxFuture<'_, Result<(), ConnectionProblem>> {
        self.inner.reach(within)
    }

    fn shutdown(&self, within: Duration) -> BoxFuture<'_, ()> {
        self.inner.shutdown(within)
    }
}
