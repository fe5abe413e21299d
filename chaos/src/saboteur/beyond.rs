//! The lies beyond the audit's weaknesses, of the producer and its codec.

use std::collections::BTreeSet;

use dashproof_reference::core::Route;
use serde_json::{Value, json};

use super::subject::{Gossip, Lie, edit_samples};
use super::table::{events, set, set_in};
use super::transport::{AckEarly, ClaimNot, Discard, Duplicate, EditDlq, Reorder};
use super::{Sabotage, Saboteur};
use crate::scenario::model::LaneName::Sim;

/// In the order of the kill matrix.
pub(super) const TABLE: &[Saboteur] = &[
    Saboteur {
        name: "decode-anything",
        row: "",
        law: "C2",
        rule: "taken",
        lane: Sim,
        scenarios: &["codec/strict"],
        about: "whatever cannot be decoded is answered as a message",
        sabotage: Sabotage::Operations(|| Lie::DecodeAnything),
    },
    Saboteur {
        name: "leaks-a-secret",
        row: "",
        law: "S3",
        rule: "leaked",
        lane: Sim,
        scenarios: &["security/secrets-stay-inside"],
        about: "the password gets into a text that leaves the process",
        sabotage: Sabotage::Config(|config| {
            let password = config.pointer("/security/sasl/password").cloned();
            set(config, "tenant", password.unwrap_or_default());
        }),
    },
    Saboteur {
        name: "ack-early",
        row: "",
        law: "D2",
        rule: "before",
        lane: Sim,
        scenarios: &["outage/longer-than-deadline"],
        about: "acknowledges before the broker answered",
        sabotage: Sabotage::Transport(Some(Route::Main), || Box::<AckEarly>::default()),
    },
    Saboteur {
        name: "leader-alone",
        row: "",
        law: "D2",
        rule: "acks",
        lane: Sim,
        scenarios: &["outage/leader-moves"],
        about: "asks the leader alone for a confirmation, and claims that all have given it",
        sabotage: Sabotage::Config(|config| {
            set(config, "acks", json!("1"));
            set(config, "idempotence", json!(false));
        }),
    },
    Saboteur {
        name: "discards",
        row: "",
        law: "D2",
        rule: "main",
        lane: Sim,
        scenarios: &["outage/all-brokers-3s"],
        about: "acknowledges every seventh event without sending it",
        sabotage: Sabotage::Transport(Some(Route::Main), || {
            Box::new(Discard { every: 7, seen: 0 })
        }),
    },
    Saboteur {
        name: "claims-too-strong",
        row: "",
        law: "D3",
        rule: "disposition",
        lane: Sim,
        scenarios: &["outage/ack-loss"],
        about: "says \"not persisted\" where it cannot know",
        sabotage: Sabotage::Transport(None, || Box::new(ClaimNot)),
    },
    Saboteur {
        name: "claims-too-strong-without-dlq",
        row: "",
        law: "Q2",
        rule: "certain",
        lane: Sim,
        scenarios: &["outage/requests-lost-no-dlq"],
        about: "says \"not persisted\" where nothing but its own client could tell otherwise",
        sabotage: Sabotage::Transport(Some(Route::Main), || Box::new(ClaimNot)),
    },
    Saboteur {
        name: "retries-unconfirmed",
        row: "",
        law: "D7",
        rule: "unconfirmed",
        lane: Sim,
        scenarios: &["outage/requests-lost-no-dlq"],
        about: "hands a record over again that may be in the log already",
        sabotage: Sabotage::Config(|config| {
            set_in(config, "retry", "retry_possibly_persisted", json!(true));
        }),
    },
    Saboteur {
        name: "doubt-told-as-loss",
        row: "",
        law: "D3",
        rule: "disposition",
        lane: Sim,
        scenarios: &["outage/ack-loss"],
        about: "tells events in doubt as dropped",
        sabotage: Sabotage::Claims(|| Gossip::NoDoubt),
    },
    Saboteur {
        name: "duplicates",
        row: "",
        law: "D5",
        rule: "twice",
        lane: Sim,
        scenarios: &["outage/leader-moves"],
        about: "sends some events twice without cause",
        sabotage: Sabotage::Transport(Some(Route::Main), || {
            Box::new(Duplicate { every: 11, seen: 0, copies: BTreeSet::new() })
        }),
    },
    Saboteur {
        name: "reorders",
        row: "",
        law: "D6",
        rule: "order",
        lane: Sim,
        scenarios: &["outage/all-brokers-3s"],
        about: "lets events of one thread overtake each other",
        sabotage: Sabotage::Transport(Some(Route::Main), || Box::<Reorder>::default()),
    },
    Saboteur {
        name: "deadline-ignored",
        row: "",
        law: "D8",
        rule: "outcome",
        lane: Sim,
        scenarios: &["outage/longer-than-deadline"],
        about: "keeps events for longer than their delivery timeout",
        sabotage: Sabotage::Config(|config| set(config, "delivery_timeout", json!("120s"))),
    },
    Saboteur {
        name: "leaks-a-task",
        row: "",
        law: "D10",
        rule: "tasks",
        lane: Sim,
        scenarios: &["outage/all-brokers-3s"],
        about: "leaves a task behind after close",
        sabotage: Sabotage::Operations(|| Lie::LeakTask),
    },
    Saboteur {
        name: "outcome-twice",
        row: "",
        law: "D1",
        rule: "twice",
        lane: Sim,
        scenarios: &["outage/all-brokers-3s"],
        about: "tells two outcomes for some events",
        sabotage: Sabotage::Claims(|| Gossip::Twice(13)),
    },
    Saboteur {
        name: "counter-off-by-one",
        row: "",
        law: "M1",
        rule: "dashstream_events_total",
        lane: Sim,
        scenarios: &["outage/all-brokers-3s"],
        about: "counts one event more than it acknowledged",
        sabotage: Sabotage::Operations(|| {
            Lie::Metrics(|text| edit_samples(text, |s| events(s, "acked"), |v| Some(v + 1.0)))
        }),
    },
    Saboteur {
        name: "wrong-reason",
        row: "",
        law: "M1",
        rule: "dashstream_events_total",
        lane: Sim,
        scenarios: &["metrics/exact-drops"],
        about: "tells drops under another reason than it counts",
        sabotage: Sabotage::Claims(|| Gossip::Misname("deadline", "retries_exhausted")),
    },
    Saboteur {
        name: "series-missing",
        row: "",
        law: "M2",
        rule: "dashstream_events_total",
        lane: Sim,
        scenarios: &["metrics/zero-from-start"],
        about: "shows a series only after it has counted something",
        sabotage: Sabotage::Operations(|| {
            Lie::Metrics(|text| {
                edit_samples(text, |s| s.contains("_total"), |v| (v != 0.0).then_some(v))
            })
        }),
    },
    Saboteur {
        name: "dlq-payload-cut",
        row: "",
        law: "Q1",
        rule: "payload",
        lane: Sim,
        scenarios: &["dlq/permanent-errors"],
        about: "cuts DLQ payloads without saying so",
        sabotage: Sabotage::Transport(Some(Route::Dlq), || {
            Box::new(EditDlq {
                edit: |fields| {
                    if let Some(Value::String(payload)) = fields.get_mut("original_payload_base64")
                    {
                        payload.truncate(16);
                    }
                },
            })
        }),
    },
];
