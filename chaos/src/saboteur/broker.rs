//! Model brokers that are wrong on purpose. The subject is the reference: what is put to the test
//! is the lanes against each other.

use super::{AGREE, Sabotage, Saboteur};
use crate::broker::Wrong;
use crate::scenario::model::LaneName::Wire;

/// The wrong brokers, for the end of the kill matrix.
pub(super) const TABLE: &[Saboteur] = &[
    Saboteur {
        name: "broker-acks-before-append",
        row: "",
        law: AGREE,
        rule: "law/D2",
        lane: Wire,
        scenarios: &["outage/all-brokers-3s"],
        about: "the model broker acknowledges a batch before it is in the log, and loses it",
        sabotage: Sabotage::Broker(Wrong::AcksBeforeAppend),
    },
    Saboteur {
        name: "broker-forgets",
        row: "",
        law: AGREE,
        rule: "law/D2",
        lane: Wire,
        scenarios: &["outage/one-of-three"],
        about: "the model broker comes back from a crash without its logs",
        sabotage: Sabotage::Broker(Wrong::ForgetsAfterRestart),
    },
    Saboteur {
        name: "broker-misorders",
        row: "",
        law: AGREE,
        rule: "law/D6",
        lane: Wire,
        scenarios: &["outage/in-flight-cap"],
        about: "the model broker puts the first of two batches behind the second",
        sabotage: Sabotage::Broker(Wrong::Misorders),
    },
];
