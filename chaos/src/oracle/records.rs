//! What the reader of the logs found wrong with single records.

use super::findings::{Evidence, Findings};
use super::index::Index;
use super::laws::LawId;

/// Turns defects of a class (`class: text`) into violations of a law.
pub(super) fn defects(
    index: &Index<'_>,
    class: &'static str,
    law: LawId,
    expected: &'static str,
    f: &mut Findings,
) {
    for log in &index.logs {
        for record in log.records {
            let found = record.defects.iter().find_map(|defect| {
                let (found, text) = defect.split_once(':')?;
                (found == class).then(|| text.trim())
            });
            let Some(text) = found else { continue };
            let evidence = record
                .events
                .first()
                .and_then(|id| index.slot(*id))
                .map_or_else(Evidence::default, Evidence::event);
            f.broken(law, class, evidence, || {
                let place = format!("{}/{} offset {}", log.topic, log.partition, record.offset);
                (expected.to_owned(), format!("{place}: {text}"))
            });
        }
    }
}
