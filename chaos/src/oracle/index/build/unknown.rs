//! What became of requests that no broker was seen to answer: the final log tells.

use std::collections::BTreeSet;

use crate::history::Route;
use crate::oracle::index::{Event, Index};

/// Decides for every transmission of which it is unknown whether it was appended, where the log
/// leaves no choice: no copy of that producer and epoch is left over, or one for each of them.
pub(super) fn settle(index: &mut Index<'_>) {
    for route in [Route::Main, Route::Dlq] {
        if index.logs.iter().any(|log| log.route == route) {
            index.events.iter_mut().for_each(|event| decide(event, route));
        }
    }
}

fn decide(event: &mut Event, route: Route) {
    let unknown = event.transmissions.iter().filter(|t| t.route == route && t.unknown);
    let senders: BTreeSet<(i64, i16)> = unknown.map(|t| (t.pid, t.epoch)).collect();
    for sender in senders {
        let copies = event.places(route).iter().filter(|p| (p.pid, p.epoch) == sender).count();
        let of = |t: &&mut super::Transmission| t.route == route && (t.pid, t.epoch) == sender;
        let mut sent: Vec<_> = event.transmissions.iter_mut().filter(of).collect();
        let known = sent.iter().filter(|t| t.appended).count();
        let open = sent.iter().filter(|t| t.unknown).count();
        let left = copies.saturating_sub(known);
        if left > 0 && left < open {
            continue;
        }
        for transmission in sent.iter_mut().filter(|t| t.unknown) {
            transmission.appended = left > 0;
            transmission.unknown = false;
        }
    }
}
