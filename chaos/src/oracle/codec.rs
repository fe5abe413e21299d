//! Codec laws as far as logs show them: C2, C4, C6. The rest is for property tests.

use super::findings::Findings;
use super::index::Index;
use super::laws::LawId::{C2, C4, C6};
use super::records;

/// Judges what the log reader found wrong with records of both routes.
pub(super) fn judge(index: &Index<'_>, f: &mut Findings) {
    let main = index.logs.iter().filter(|l| l.route == crate::history::Route::Main);
    let count = main.map(|l| l.records.len() as u64).sum();
    for law in [C2, C4, C6] {
        f.checked(law, count);
    }
    records::defects(index, "frame", C2, "a strict decoder takes every record", f);
    records::defects(index, "schema", C2, "a strict decoder takes every record", f);
    records::defects(index, "crc", C4, "checksum and CRC header fit every record", f);
    records::defects(index, "compression", C6, "the compression settings are honoured", f);
}
