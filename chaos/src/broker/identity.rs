//! Which events a record carries: never a guess.
//!
//! In this order: the Kafka header `dashstream-message-id`, `Header.message_id` inside the frame,
//! the attribute `dashproof.id`, and a table of SHA-256 digests of whole payloads. A batch resolves
//! to its members. What none of them resolves stays unresolved.

use std::collections::BTreeMap;

use dashproof_reference::core::MESSAGE_ID_HEADER;
use sha2::{Digest, Sha256};

use super::batch::{Batch, Record};
use crate::history::EventId;

/// Resolves records to the events of one run.
#[derive(Clone, Debug)]
pub struct Identity {
    run: [u8; 10],
    digests: BTreeMap<[u8; 32], EventId>,
}

impl Identity {
    /// For the run with this digest.
    #[must_use]
    pub fn new(run: [u8; 10]) -> Self {
        Self { run, digests: BTreeMap::new() }
    }

    /// From now on a record whose value has this SHA-256 is this event, if nothing else says who
    /// it is.
    pub fn learn(&mut self, digest: [u8; 32], event: EventId) {
        self.digests.insert(digest, event);
    }

    /// The event that a message id names: 16 bytes, or the same as 32 hex digits.
    #[must_use]
    pub fn message_id(&self, id: &[u8]) -> Option<EventId> {
        if id.len() == 32 {
            let text = std::str::from_utf8(id).ok()?;
            let raw = u128::from_str_radix(text, 16).ok()?;
            return EventId::from_message_id(&raw.to_be_bytes(), self.run);
        }
        EventId::from_message_id(id, self.run)
    }

    /// The events of a record; empty when nothing tells.
    #[must_use]
    pub fn record(&self, record: &Record) -> Vec<EventId> {
        let named = record.header(MESSAGE_ID_HEADER).and_then(|id| self.message_id(id));
        if let Some(event) = named {
            return vec![event];
        }
        self.digest(record).into_iter().collect()
    }

    fn digest(&self, record: &Record) -> Option<EventId> {
        if self.digests.is_empty() {
            return None;
        }
        let digest = Sha256::digest(record.value.as_ref()?);
        self.digests.get::<[u8; 32]>(&digest.into()).copied()
    }

    /// The events of a whole batch in order, `None` for each record that cannot be resolved.
    /// Empty for a batch whose structure is broken.
    #[must_use]
    pub fn batch(&self, batch: &Batch) -> Vec<Option<EventId>> {
        let Some(records) = batch.records() else {
            let count = if batch.is_opaque() { batch.count } else { 0 };
            return (0..count).map(|_| None).collect();
        };
        let mut out = Vec::with_capacity(records.len());
        for record in &records {
            let events = self.record(record);
            if events.is_empty() {
                out.push(None);
            }
            out.extend(events.into_iter().map(Some));
        }
        out
    }
}
