//! The saboteurs of the producer, its spool and its codec.

use dashproof_reference::codec::{DecodePolicy, Legacy};
use dashproof_reference::core::{ErrorClass, Route};
use serde_json::{Value, json};

use super::spool;
use super::subject::{Gossip, Lie, edit_samples};
use super::transport::{AckEarly, EditDlq, Reclass};
use super::{Sabotage, Saboteur};
use crate::scenario::model::LaneName::{Sim, Wire};

pub(super) fn set(config: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = config {
        fields.insert(key.to_owned(), value);
    }
}

pub(super) fn set_in(config: &mut Value, table: &str, key: &str, value: Value) {
    if let Value::Object(fields) = config {
        let inner = fields.entry(table).or_insert_with(|| json!({}));
        set(inner, key, value);
    }
}

pub(super) fn events(series: &str, outcome: &str) -> bool {
    series.starts_with("dashstream_events_total{")
        && series.contains(&format!("outcome=\"{outcome}\""))
}

fn lenient(lenient: bool) -> DecodePolicy {
    DecodePolicy { lenient, ..DecodePolicy::default() }
}

/// A plain frame that holds an `EventBatch`: field 8 of the envelope.
fn is_batch(frame: &[u8]) -> bool {
    frame.starts_with(&[0x00, 0x42])
}

/// The weaknesses of the audit, in the order of the kill matrix.
pub(super) const TABLE: &[Saboteur] = &[
    Saboteur {
        name: "single-shot-send",
        row: "RES-1",
        law: "D7",
        rule: "given_up",
        lane: Sim,
        scenarios: &["outage/retryable-storm"],
        about: "a failed send is not tried again",
        sabotage: Sabotage::Transport(Some(Route::Main), || {
            Box::new(Reclass { from: ErrorClass::Retryable, to: ErrorClass::Permanent })
        }),
    },
    Saboteur {
        name: "retries-permanent-errors",
        row: "RES-1",
        law: "D7",
        rule: "permanent",
        lane: Sim,
        scenarios: &["outage/permanent-storm"],
        about: "errors that no retry can mend are retried",
        sabotage: Sabotage::Transport(Some(Route::Main), || {
            Box::new(Reclass { from: ErrorClass::Permanent, to: ErrorClass::Retryable })
        }),
    },
    Saboteur {
        name: "single-shot-dlq",
        row: "RES-2",
        law: "D7",
        rule: "given_up",
        lane: Sim,
        scenarios: &["dlq/retry"],
        about: "a failed DLQ send is not tried again",
        sabotage: Sabotage::Transport(Some(Route::Dlq), || {
            Box::new(Reclass { from: ErrorClass::Retryable, to: ErrorClass::Permanent })
        }),
    },
    Saboteur {
        name: "fire-and-forget-dlq",
        row: "RES-2",
        law: "Q1",
        rule: "missing",
        lane: Sim,
        scenarios: &["dlq/both-failing"],
        about: "a DLQ record counts as sent before the broker answered",
        sabotage: Sabotage::Transport(Some(Route::Dlq), || Box::<AckEarly>::default()),
    },
    Saboteur {
        name: "flush-early",
        row: "RES-3",
        law: "D9",
        rule: "pending",
        lane: Sim,
        scenarios: &["shutdown/flush-racing-retries"],
        about: "flush says Ok while events are unresolved",
        sabotage: Sabotage::Operations(|| Lie::FlushEarly),
    },
    Saboteur {
        name: "close-overruns",
        row: "RES-3",
        law: "D10",
        rule: "returns",
        lane: Sim,
        scenarios: &["shutdown/close-in-outage"],
        about: "close takes longer than it was given",
        sabotage: Sabotage::Operations(|| Lie::CloseLate),
    },
    Saboteur {
        name: "silent-drop",
        row: "RES-3",
        law: "D1",
        rule: "none",
        lane: Sim,
        scenarios: &["shutdown/drop-without-close"],
        about: "what a dropped producer abandons is told to nobody",
        sabotage: Sabotage::Claims(|| Gossip::Hush("abandoned")),
    },
    Saboteur {
        name: "never-told",
        row: "OBS-1",
        law: "M5",
        rule: "seen",
        lane: Sim,
        scenarios: &["outage/all-brokers-3s"],
        about: "the application learns of no outcome",
        sabotage: Sabotage::Claims(|| Gossip::Silence),
    },
    Saboteur {
        name: "prints",
        row: "OBS-2",
        law: "M6",
        rule: "print",
        lane: Wire,
        scenarios: &["codec/threshold"],
        about: "the library prints to stderr",
        sabotage: Sabotage::Operations(|| Lie::Print),
    },
    Saboteur {
        name: "dlq-without-context",
        row: "OBS-3",
        law: "Q5",
        rule: "context",
        lane: Sim,
        scenarios: &["dlq/permanent-errors"],
        about: "DLQ records do not say thread and trace",
        sabotage: Sabotage::Transport(Some(Route::Dlq), || {
            Box::new(EditDlq {
                edit: |fields| {
                    fields.remove("thread_id");
                    fields.insert("trace_id".to_owned(), json!(""));
                },
            })
        }),
    },
    Saboteur {
        name: "drop-without-metric",
        row: "OBS-4",
        law: "M1",
        rule: "dashstream_events_total",
        lane: Sim,
        scenarios: &["metrics/exact-drops"],
        about: "dropped events do not show in any counter",
        sabotage: Sabotage::Operations(|| {
            Lie::Metrics(|text| edit_samples(text, |s| events(s, "dropped"), |_| Some(0.0)))
        }),
    },
    Saboteur {
        name: "spool-resends-acked",
        row: "RES-3",
        law: "D5",
        rule: "after_ack",
        lane: Sim,
        scenarios: &["shutdown/spool-and-drain"],
        about: "the spool never learns that a record was acknowledged, and sends it again",
        sabotage: Sabotage::Disk(spool::no_ends),
    },
    Saboteur {
        name: "spool-forgets-tail",
        row: "RES-3",
        law: "D11",
        rule: "spool",
        lane: Sim,
        scenarios: &["shutdown/spool-and-drain"],
        about: "the last records of the spool are not given back",
        sabotage: Sabotage::Disk(spool::no_tail),
    },
    Saboteur {
        name: "sequences-restart",
        row: "SAF-4",
        law: "D6",
        rule: "restart",
        lane: Sim,
        scenarios: &["shutdown/sequences-continue"],
        about: "sequences begin anew with every producer, although there is a directory",
        sabotage: Sabotage::Disk(spool::no_epoch),
    },
    Saboteur {
        name: "spooled-before-sync",
        row: "RES-3",
        law: "D11",
        rule: "crash_lost",
        lane: Sim,
        scenarios: &["shutdown/spool-and-drain", "shutdown/spool-mid-run"],
        about: "an event is told to be spooled before its record is synced",
        sabotage: Sabotage::Disk(spool::no_sync),
    },
    Saboteur {
        name: "spool-ignores-failed-sync",
        row: "RES-3",
        law: "D11",
        rule: "crash_lost",
        lane: Sim,
        scenarios: &["shutdown/spool-sync-fails"],
        about: "an event is told to be spooled although the sync of its record failed",
        sabotage: Sabotage::Disk(spool::ignored_sync),
    },
    Saboteur {
        name: "spool-segment-unnamed",
        row: "RES-3",
        law: "D11",
        rule: "crash_lost",
        lane: Sim,
        scenarios: &["shutdown/spool-and-drain", "shutdown/spool-mid-run"],
        about: "a new segment is used before its name in the directory is durable",
        sabotage: Sabotage::Disk(spool::no_segment_name),
    },
    Saboteur {
        name: "epoch-not-durable",
        row: "SAF-4",
        law: "D6",
        rule: "crash_epoch",
        lane: Sim,
        scenarios: &["shutdown/sequences-continue", "shutdown/spool-and-drain"],
        about: "sequences of an epoch are given before it is durable",
        sabotage: Sabotage::Disk(spool::no_epoch_name),
    },
    Saboteur {
        name: "unknown-operation-panics",
        row: "INT-5",
        law: "A1",
        rule: "panic",
        lane: Sim,
        scenarios: &["shutdown/unknown-operation"],
        about: "an unsupported operation ends in a panic",
        sabotage: Sabotage::Operations(|| Lie::UnknownPanics),
    },
    Saboteur {
        name: "unbounded-in-flight",
        row: "PERF-2",
        law: "R1",
        rule: "open",
        lane: Sim,
        scenarios: &["outage/in-flight-cap"],
        about: "sends are started without a bound",
        sabotage: Sabotage::Config(|config| set(config, "max_in_flight", json!(1_000_000))),
    },
    Saboteur {
        name: "threshold-ignored",
        row: "PERF-3",
        law: "C6",
        rule: "missed",
        lane: Sim,
        scenarios: &["codec/threshold"],
        about: "the compression threshold of the configuration is ignored",
        sabotage: Sabotage::Config(|config| {
            set_in(config, "compression", "threshold", json!(1_000_000));
        }),
    },
    Saboteur {
        name: "blocking-open",
        row: "PERF-4",
        law: "R4",
        rule: "blocked",
        lane: Wire,
        scenarios: &["outage/cold-start"],
        about: "the constructor blocks the thread of its executor",
        sabotage: Sabotage::Operations(|| Lie::BlockingOpen),
    },
    Saboteur {
        name: "header-not-asked-for",
        row: "SEC-2",
        law: "C2",
        rule: "taken",
        lane: Sim,
        scenarios: &["codec/strict"],
        about: "messages without header or with a newer schema are decoded",
        sabotage: Sabotage::Operations(|| Lie::DecodeBy(|frame| lenient(!is_batch(frame)))),
    },
    Saboteur {
        name: "legacy-unasked",
        row: "SEC-3",
        law: "C2",
        rule: "taken",
        lane: Sim,
        scenarios: &["codec/legacy-refused"],
        about: "a frame byte that does not exist falls through to the legacy decoder",
        sabotage: Sabotage::Operations(|| {
            Lie::DecodeBy(|_| DecodePolicy {
                legacy: Legacy::ProtobufOrZstd,
                ..DecodePolicy::default()
            })
        }),
    },
    Saboteur {
        name: "batch-members-unchecked",
        row: "INT-1",
        law: "C2",
        rule: "taken",
        lane: Sim,
        scenarios: &["codec/batch-members"],
        about: "a batch is decoded although a member lacks its header or is of another schema",
        sabotage: Sabotage::Operations(|| Lie::DecodeBy(|frame| lenient(is_batch(frame)))),
    },
];
