//! Laws about where events end: D1 to D11, a file each.

pub(super) mod d1;
pub(super) mod d10;
pub(super) mod d11;
pub(super) mod d2;
pub(super) mod d3;
pub(super) mod d4;
pub(super) mod d5;
pub(super) mod d6;
pub(super) mod d7;
pub(super) mod d8;
pub(super) mod d9;

use super::index::{Event, Index};
use crate::history::Route;

/// Kafka's answer after which a record may be in the log all the same.
const NOT_LEADER: i16 = 6;

/// Why D3 and D5 say nothing about an event on lanes with librdkafka.
const CLIENT_LIBRARY: &str = "client_library: appended and answered NOT_LEADER, which librdkafka \
     retries inside and claims as not persisted";

/// True when librdkafka cannot have known that the record was appended: the broker appended it and
/// answered `NOT_LEADER`.
fn hidden_by_client(index: &Index<'_>, event: &Event, route: Route) -> bool {
    index.is_librdkafka()
        && event
            .transmissions
            .iter()
            .any(|t| t.route == route && t.may_be_appended() && t.answered == Some(NOT_LEADER))
}

/// Where an event is in a route's log, for people.
fn places(event: &Event, route: Route) -> String {
    let places = event.places(route);
    if places.is_empty() {
        return format!("no record of it in the {} log", route.as_str());
    }
    let list: Vec<String> =
        places.iter().map(|p| format!("partition {} offset {}", p.partition, p.offset)).collect();
    format!("in the {} log at {}", route.as_str(), list.join(", "))
}
