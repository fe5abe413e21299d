//! Counts of what a decoder saw, for a metrics registry to expose.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that decoders share; each only grows. The names in the docs are those of the series.
#[derive(Debug, Default)]
pub struct CodecCounters {
    pub(super) messages_received: AtomicU64,
    pub(super) decode_failures: AtomicU64,
    pub(super) legacy_decodes: AtomicU64,
    pub(super) lenient_decodes: AtomicU64,
}

impl CodecCounters {
    /// `dashstream_messages_received_total`: frames given to a decoder, whatever came of them.
    #[must_use]
    pub fn messages_received(&self) -> u64 {
        self.messages_received.load(Ordering::Relaxed)
    }

    /// `dashstream_decode_failures_total`: frames that ended in an error.
    #[must_use]
    pub fn decode_failures(&self) -> u64 {
        self.decode_failures.load(Ordering::Relaxed)
    }

    /// `dashstream_legacy_decodes_total`: messages that had no frame byte and were let in.
    #[must_use]
    pub fn legacy_decodes(&self) -> u64 {
        self.legacy_decodes.load(Ordering::Relaxed)
    }

    /// `dashstream_lenient_decodes_total`: messages that a strict decoder would have refused for
    /// their schema and that were let in.
    #[must_use]
    pub fn lenient_decodes(&self) -> u64 {
        self.lenient_decodes.load(Ordering::Relaxed)
    }
}

/// Adds one and returns the new value.
pub(super) fn bump(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}
