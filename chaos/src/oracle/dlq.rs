//! Laws about the dead-letter path: Q1 to Q6.

use super::findings::Findings;
use super::index::Index;
use super::laws::LawId::{Q1, Q3, Q5};
use super::records;
use crate::history::Route;

/// Q1, Q5 and the visible part of Q3: what the reader of the DLQ's log found.
pub(super) fn judge_defects(index: &Index<'_>, f: &mut Findings) {
    let dlq = index.logs.iter().filter(|log| log.route == Route::Dlq);
    let count = dlq.map(|log| log.records.len() as u64).sum();
    for law in [Q1, Q3, Q5] {
        f.checked(law, count);
    }
    records::defects(index, "payload", Q1, "the payload whole, or cut with size and hash", f);
    records::defects(index, "loop", Q3, "no DLQ record inside a DLQ record", f);
    let context = "topic, partition, offset, thread and trace id of the source";
    records::defects(index, "context", Q5, context, f);
}
