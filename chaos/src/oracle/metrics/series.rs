//! The metrics table: every series, what it counts, and how the ledger gives its value.

use super::tally::Tally;
use crate::history::Route;

/// Counter or gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesKind {
    /// Only goes up.
    Counter,
    /// Goes up and down, or keeps a high-water mark.
    Gauge,
}

/// What one step of the series stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// An event.
    Event,
    /// A record: a frame read or written.
    Record,
    /// A hand-over to a transport.
    Attempt,
    /// Bytes of protobuf.
    Byte,
    /// A client object.
    Client,
}

impl Unit {
    /// As printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Record => "record",
            Self::Attempt => "attempt",
            Self::Byte => "byte",
            Self::Client => "client",
        }
    }
}

/// The labels of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// None.
    None,
    /// `outcome` and `reason`, in the legal combinations.
    Ledger,
    /// `route`: `main` or `dlq`.
    Route,
    /// `reason`: what is wrong with an entry or a file of the spool.
    Damage,
    /// `tenant_id`: any value.
    Tenant,
}

impl Labels {
    /// Names.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Ledger => &["outcome", "reason"],
            Self::Route => &["route"],
            Self::Damage => &["reason"],
            Self::Tenant => &["tenant_id"],
        }
    }

    /// Every combination of values; `None` when the values are open.
    #[must_use]
    pub fn values(self) -> Option<Vec<Vec<&'static str>>> {
        match self {
            Self::None => Some(vec![Vec::new()]),
            Self::Ledger => {
                Some(LEGAL.iter().map(|(outcome, reason)| vec![*outcome, *reason]).collect())
            }
            Self::Route => Some(vec![vec![Route::Main.as_str()], vec![Route::Dlq.as_str()]]),
            Self::Damage => Some(DAMAGE.iter().map(|reason| vec![*reason]).collect()),
            Self::Tenant => None,
        }
    }
}

/// What may be wrong with a spool's directory.
pub(super) const DAMAGE: [&str; 5] = ["torn_tail", "corrupt", "foreign", "newer", "unreadable"];

/// The legal pairs of outcome and reason. acks=0 is never offered to the DLQ (a record that timed
/// out before it was written is dropped), and what is possibly persisted, as after unconfirmed, is
/// not dropped.
pub const LEGAL: &[(&str, &str)] = &[
    ("rejected", "queue_full"),
    ("rejected", "oversize"),
    ("rejected", "rate_limited"),
    ("rejected", "closed"),
    ("rejected", "cancelled"),
    ("rejected", "unserialisable"),
    ("acked", ""),
    ("dead_lettered", "permanent_error"),
    ("dead_lettered", "abandoned"),
    ("dead_lettered", "deadline"),
    ("dead_lettered", "unconfirmed"),
    ("dead_lettered", "retries_exhausted"),
    ("spooled", ""),
    ("in_doubt", "permanent_error"),
    ("in_doubt", "acks_0"),
    ("in_doubt", "abandoned"),
    ("in_doubt", "deadline"),
    ("in_doubt", "unconfirmed"),
    ("in_doubt", "retries_exhausted"),
    ("dropped", "permanent_error"),
    ("dropped", "acks_0"),
    ("dropped", "abandoned"),
    ("dropped", "deadline"),
    ("dropped", "retries_exhausted"),
];

/// How a value follows from the ledger.
#[derive(Clone, Copy)]
pub(crate) enum Value {
    /// It is this number, for this combination of label values.
    Exact(fn(&Tally<'_>, &[&str]) -> u64),
    /// The sum over an open label is this number.
    Sum(fn(&Tally<'_>) -> u64),
    /// It lies between these: the history shows causes, not the count itself.
    Between(fn(&Tally<'_>, &[&str]) -> (u64, u64)),
    /// It returns to zero (M3).
    Idle,
    /// A high-water mark, judged against its cap (R1, R2).
    HighWater,
    /// Belongs to a consumer: not part of a producer's scrape, zero if it is there.
    Consumer,
}

/// A row of the table.
pub struct Series {
    /// Name.
    pub name: &'static str,
    /// Kind.
    pub kind: SeriesKind,
    /// Labels.
    pub labels: Labels,
    /// Unit.
    pub unit: Unit,
    /// The expression over the history, in words.
    pub means: &'static str,
    pub(crate) value: Value,
}

impl Series {
    /// True when M2 wants it from the start.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !matches!(self.value, Value::Consumer) && self.labels != Labels::Tenant
    }
}

#[cfg(test)]
impl Series {
    /// What a truthful subject would export of this series.
    pub(crate) fn export(&self, tally: &Tally<'_>) -> String {
        use std::fmt::Write as _;
        let kind = match self.kind {
            SeriesKind::Counter => "counter",
            SeriesKind::Gauge => "gauge",
        };
        let mut text =
            format!("# HELP {} {}\n# TYPE {} {kind}\n", self.name, self.means, self.name);
        for values in self.labels.values().unwrap_or_else(|| vec![vec!["default"]]) {
            let value = match self.value {
                Value::Exact(expression) => expression(tally, &values),
                Value::Between(expression) => expression(tally, &values).0,
                Value::Sum(expression) => expression(tally),
                _ => 0,
            };
            let name = super::compare::name(self, &values);
            writeln!(text, "{name} {value}").unwrap();
        }
        text
    }
}

const fn counter(
    name: &'static str,
    labels: Labels,
    unit: Unit,
    means: &'static str,
    value: Value,
) -> Series {
    Series { name, kind: SeriesKind::Counter, labels, unit, means, value }
}

const fn gauge(
    name: &'static str,
    labels: Labels,
    unit: Unit,
    means: &'static str,
    value: Value,
) -> Series {
    Series { name, kind: SeriesKind::Gauge, labels, unit, means, value }
}

fn label<'a>(values: &[&'a str], n: usize) -> &'a str {
    values.get(n).copied().unwrap_or("")
}

fn by_route(values: &[&str], main: u64, dlq: u64) -> u64 {
    if label(values, 0) == Route::Dlq.as_str() { dlq } else { main }
}

/// Every series, in the order of the manual.
pub const SERIES: &[Series] = &[
    counter(
        "dashstream_events_total",
        Labels::Ledger,
        Unit::Event,
        "outcomes with that outcome and reason",
        Value::Exact(|t, v| t.exact(label(v, 0), label(v, 1))),
    ),
    counter(
        "dashstream_messages_sent_total",
        Labels::None,
        Unit::Event,
        "outcomes acked",
        Value::Exact(|t, _| t.outcome("acked")),
    ),
    counter(
        "dashstream_send_failures_total",
        Labels::None,
        Unit::Event,
        "accepted events whose main failed: dead_lettered, spooled, in_doubt, dropped",
        Value::Exact(|t, _| {
            ["dead_lettered", "spooled", "in_doubt", "dropped"].map(|l| t.outcome(l)).iter().sum()
        }),
    ),
    counter(
        "dashstream_send_retries_total",
        Labels::None,
        Unit::Attempt,
        "main attempts − events with at least one main attempt",
        Value::Exact(|t, _| t.retries.main),
    ),
    counter(
        "dashstream_compression_failures_total",
        Labels::None,
        Unit::Event,
        "0 … accepted events: an encoder's failure leaves no other trace",
        Value::Between(|t, _| (0, t.accepted)),
    ),
    counter(
        "dashstream_dlq_sends_total",
        Labels::None,
        Unit::Event,
        "outcomes dead_lettered",
        Value::Exact(|t, _| t.outcome("dead_lettered")),
    ),
    counter(
        "dashstream_dlq_send_failures_total",
        Labels::None,
        Unit::Attempt,
        "DLQ deliveries with an error that were not late",
        Value::Exact(|t, _| t.failures.dlq),
    ),
    counter(
        "dashstream_dlq_send_retries_total",
        Labels::None,
        Unit::Attempt,
        "DLQ attempts − events with at least one DLQ attempt",
        Value::Exact(|t, _| t.retries.dlq),
    ),
    counter(
        "dashstream_dlq_dropped_total",
        Labels::None,
        Unit::Event,
        "with a DLQ configured: outcomes dropped or in_doubt, but for reason acks_0",
        Value::Exact(|t, _| t.dlq_dropped),
    ),
    counter(
        "dashstream_dlq_over_limit_total",
        Labels::None,
        Unit::Event,
        "0 … events that could be offered to the DLQ; Q4 says more",
        Value::Between(|t, _| (0, t.dlq_offered)),
    ),
    counter(
        "dashstream_spool_recovered_total",
        Labels::None,
        Unit::Event,
        "events with an outcome in an incarnation that they were not offered to",
        Value::Exact(|t, _| t.recovered),
    ),
    counter(
        "dashstream_spool_full_total",
        Labels::None,
        Unit::Event,
        "0 … with a directory: outcomes dropped or in_doubt, but for permanent_error and acks_0",
        Value::Between(|t, _| (0, t.unspooled)),
    ),
    counter(
        "dashstream_spool_failures_total",
        Labels::None,
        Unit::Record,
        "0 unless operations of the spool's disk failed; at least 1 where that dropped events",
        Value::Between(|t, _| t.spool_failures()),
    ),
    counter(
        "dashstream_spool_damage_total",
        Labels::Damage,
        Unit::Record,
        "0 … damage injected by `spool.damage` of that kind; what a crash tore is none that counts",
        Value::Between(|t, v| t.damage(label(v, 0))),
    ),
    gauge(
        "dashstream_spool_bytes",
        Labels::None,
        Unit::Byte,
        "bytes of the spool's files; as many as are left, also when idle",
        Value::HighWater,
    ),
    gauge(
        "dashstream_spool_records",
        Labels::None,
        Unit::Event,
        "events on the spool; as many as are left, also when idle",
        Value::HighWater,
    ),
    counter(
        "dashstream_late_deliveries_total",
        Labels::Route,
        Unit::Attempt,
        "deliveries after the outcome of their event",
        Value::Exact(|t, v| by_route(v, t.late.main, t.late.dlq)),
    ),
    counter(
        "dashstream_callback_panics_total",
        Labels::None,
        Unit::Event,
        "outcomes told to a callback that the harness had armed to panic",
        Value::Between(|t, _| t.panics),
    ),
    counter(
        "dashstream_outcomes_lagged_total",
        Labels::None,
        Unit::Event,
        "0 … outcomes: what a slow listener of the outcome stream missed",
        Value::Between(|t, _| (0, t.outcomes.values().sum())),
    ),
    counter(
        "dashstream_client_rebuilds_total",
        Labels::Route,
        Unit::Client,
        "deliveries and refusals of class fatal on that route at most; at least one for each such \
         delivery of a client's own attempt after which another attempt was made",
        Value::Between(|t, v| {
            let least = by_route(v, t.revived.main, t.revived.dlq);
            (least, by_route(v, t.fatal.main, t.fatal.dlq))
        }),
    ),
    counter(
        "dashstream_rate_limit_allowed_total",
        Labels::Tenant,
        Unit::Event,
        "over all tenants, with a rate: events accepted or rejected as queue_full or cancelled … \
         these, the closed that may have waited, and the oversize by their sequence alone; without \
         a rate: 0",
        Value::Between(|t, _| t.allowed),
    ),
    counter(
        "dashstream_rate_limit_exceeded_total",
        Labels::Tenant,
        Unit::Event,
        "over all tenants: outcomes rejected with reason rate_limited",
        Value::Sum(|t| t.exact("rejected", "rate_limited")),
    ),
    gauge(
        "dashstream_queue_events",
        Labels::None,
        Unit::Event,
        "accepted and unresolved events; idle: 0",
        Value::Idle,
    ),
    gauge(
        "dashstream_queue_bytes",
        Labels::None,
        Unit::Byte,
        "protobuf bytes of accepted and unresolved events; idle: 0",
        Value::Idle,
    ),
    gauge(
        "dashstream_open_attempts",
        Labels::Route,
        Unit::Attempt,
        "attempts without a delivery; idle: 0",
        Value::Idle,
    ),
    gauge(
        "dashstream_queue_events_max",
        Labels::None,
        Unit::Event,
        "most accepted and unresolved events since open (R2)",
        Value::HighWater,
    ),
    gauge(
        "dashstream_open_attempts_max",
        Labels::None,
        Unit::Attempt,
        "most open main attempts since open (R1)",
        Value::HighWater,
    ),
    counter(
        "dashstream_messages_received_total",
        Labels::None,
        Unit::Record,
        "frames decoded by a consumer",
        Value::Consumer,
    ),
    counter(
        "dashstream_decode_failures_total",
        Labels::None,
        Unit::Record,
        "frames refused by a consumer",
        Value::Consumer,
    ),
    counter(
        "dashstream_legacy_decodes_total",
        Labels::None,
        Unit::Record,
        "frames taken by the opt-in legacy path",
        Value::Consumer,
    ),
    counter(
        "dashstream_lenient_decodes_total",
        Labels::None,
        Unit::Record,
        "frames taken by an opt-in lenient schema policy",
        Value::Consumer,
    ),
];

/// The row of a name.
#[must_use]
pub fn series(name: &str) -> Option<&'static Series> {
    SERIES.iter().find(|s| s.name == name)
}
