//! The spool alone, opened on a disk as the next process would open it.

use std::sync::Arc;

use dashproof_reference::fs::Fs;
use dashproof_reference::spool::{Recovered, Spool, SpoolError, SpoolOptions};

use super::ledger::claimed_persistence;
use crate::history::{EventId, GivenBack, SpoolFound};

/// Opens a subject's spool on a file system and takes everything that it gives back. The text says
/// why it could not.
pub type Reopen = Arc<dyn Fn(Arc<dyn Fs>) -> Result<SpoolFound, String> + Send + Sync>;

/// The reference's spool in this directory.
#[must_use]
pub fn reopen(directory: &str) -> Reopen {
    let options = SpoolOptions::new(directory);
    Arc::new(move |fs| take(fs, options.clone()).map_err(|error| error.to_string()))
}

fn take(fs: Arc<dyn Fs>, options: SpoolOptions) -> Result<SpoolFound, SpoolError> {
    let mut spool = Spool::open(fs, options, "whoever comes after the crash")?;
    let mut found = SpoolFound { epoch: spool.epoch().into(), events: Vec::new() };
    while spool.pending() > 0 {
        let taken = spool.take(usize::MAX, usize::MAX)?;
        found.events.extend(taken.iter().map(given_back));
    }
    Ok(found)
}

fn given_back(Recovered { record, .. }: &Recovered) -> GivenBack {
    GivenBack {
        event: EventId::in_message_id(record.message_id.0),
        sequence: record.sequence,
        main: claimed_persistence(record.claims.main),
        dlq: claimed_persistence(record.claims.dlq),
    }
}
