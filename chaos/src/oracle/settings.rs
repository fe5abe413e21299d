//! The settings that laws depend on, as the scenario states them.

use serde_json::Value;

use crate::scenario::model::Scenario;

/// What a law needs to know of the producer's settings.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) topic: String,
    pub(crate) idempotence: bool,
    pub(crate) acks_none: bool,
    pub(crate) retry_possibly_persisted: bool,
    pub(crate) dlq: Dlq,
    pub(crate) queue: Queue,
}

/// The queue's part.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) max_events: usize,
}

/// The DLQ's part.
#[derive(Clone, Debug)]
pub(crate) struct Dlq {
    pub(crate) enabled: bool,
    pub(crate) topic: String,
}

impl Settings {
    /// The settings of a scenario's subject.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let get = |path: &str| scenario.producer.pointer(path);
        let flag = |path: &str, default| get(path).and_then(Value::as_bool).unwrap_or(default);
        let text = |path: &str, default: &str| {
            get(path).and_then(Value::as_str).unwrap_or(default).to_owned()
        };
        Self {
            topic: text("/topic", "dashstream-events"),
            idempotence: flag("/idempotence", true),
            acks_none: text("/acks", "all") == "0",
            retry_possibly_persisted: flag("/retry/retry_possibly_persisted", false),
            dlq: Dlq {
                enabled: flag("/dlq/enabled", true),
                topic: text("/dlq/topic", "dashstream-dlq"),
            },
            queue: Queue {
                max_events: get("/queue/max_events")
                    .and_then(Value::as_u64)
                    .and_then(|n| usize::try_from(n).ok())
                    .unwrap_or(100_000),
            },
        }
    }
}
