//! The saboteurs of limits, counters and excuses that the oracle works out for itself.

use dashproof_reference::core::Route;
use serde_json::json;

use super::subject::{Lie, edit_samples};
use super::table::set_in;
use super::{Sabotage, Saboteur};
use crate::scenario::model::LaneName::Sim;

const ALLOWED: &str = "dashstream_rate_limit_allowed_total";
const LATE: &str = "dashstream_late_deliveries_total";
const REBUILDS: &str = "dashstream_client_rebuilds_total";

fn is_main(series: &str, name: &str) -> bool {
    series.starts_with(name) && series.contains(Route::Main.as_str())
}

/// Limits, counters and excuses.
pub(super) const TABLE: &[Saboteur] = &[
    Saboteur {
        name: "rate-limit-too-tight",
        row: "",
        law: "M1",
        rule: "rate_limited",
        lane: Sim,
        scenarios: &["metrics/rate-limited"],
        about: "refuses events while the tenant still has tokens",
        sabotage: Sabotage::Config(|config| set_in(config, "rate_limit", "rate", json!(40))),
    },
    Saboteur {
        name: "rate-limit-too-loose",
        row: "",
        law: "M1",
        rule: "rate_exceeded",
        lane: Sim,
        scenarios: &["metrics/rate-limited"],
        about: "lets events pass when the tenant has no token left",
        sabotage: Sabotage::Config(|config| set_in(config, "rate_limit", "rate", json!(60))),
    },
    Saboteur {
        name: "allowed-counts-refused",
        row: "",
        law: "M1",
        rule: "dashstream_rate_limit_allowed_total",
        lane: Sim,
        scenarios: &["metrics/rate-limited"],
        about: "counts a refused event as allowed by the rate limit",
        sabotage: Sabotage::Operations(|| {
            Lie::Metrics(|text| edit_samples(text, |s| s.starts_with(ALLOWED), |v| Some(v + 1.0)))
        }),
    },
    Saboteur {
        name: "rebuild-not-counted",
        row: "",
        law: "M1",
        rule: "dashstream_client_rebuilds_total",
        lane: Sim,
        scenarios: &["outage/fatal-idempotence"],
        about: "makes a new client after a fatal error and does not count it",
        sabotage: Sabotage::Operations(|| {
            Lie::Metrics(|text| edit_samples(text, |s| is_main(s, REBUILDS), |_| Some(0.0)))
        }),
    },
    Saboteur {
        name: "late-not-counted",
        row: "",
        law: "M1",
        rule: "dashstream_late_deliveries_total",
        lane: Sim,
        scenarios: &["metrics/late-deliveries"],
        about: "does not count deliveries that come after the outcome",
        sabotage: Sabotage::Operations(|| {
            Lie::Metrics(|text| edit_samples(text, |s| is_main(s, LATE), |_| Some(0.0)))
        }),
    },
    Saboteur {
        name: "close-says-cancelled",
        row: "",
        law: "D10",
        rule: "failed",
        lane: Sim,
        scenarios: &["shutdown/in-flight"],
        about: "gives no account at close and blames the application, which dropped nothing",
        sabotage: Sabotage::Operations(|| Lie::CloseCancelled),
    },
];
