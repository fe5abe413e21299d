//! D4: the logs hold nothing that was not offered.

use crate::history::Route;
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::Index;
use crate::oracle::laws::LawId::D4;

use super::places;

/// Unresolvable records that are named one by one.
const NAMED: usize = 10;

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    for (slot, event) in index.events.iter().enumerate() {
        for route in [Route::Main, Route::Dlq] {
            if event.places(route).is_empty() {
                continue;
            }
            f.checked(D4, 1);
            if event.offered.is_none() {
                f.broken(D4, "offered", Evidence::event(slot), || {
                    let expected = "every record is an event that the harness offered".to_owned();
                    let observed = format!("event {} was never offered, and is", event.id);
                    (expected, format!("{observed} {}", places(event, route)))
                });
            }
        }
    }
    for _ in &index.unresolved {
        f.unjudged(D4, "records that resolve to no event");
    }
    if !index.unresolved.is_empty() {
        let named = index.unresolved.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = index.unresolved.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        f.note(format!("records that resolve to no event: {named}{more}"));
    }
}
