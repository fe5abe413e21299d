//! The part of scenario files that is about the bytes of a connection: keys and model.

use super::keys::{BROKERS, FOR, Key, Names, Shape, Variant, may, need};
use super::model::{Brokers, FaultKind};
use super::value::Fields;

/// What a flipped byte may be in.
pub(crate) const FLIPPED: &[&str] = &["request", "answer"];

const OF: Names = Names { what: "kind of frame", list: || FLIPPED.to_vec() };
const ONCE: Key = may("count", Shape::Count(1, 1_000_000), "How often, once if not given.");

pub(super) const SLICE: Variant = Variant {
    name: "net.slice",
    about: "Answers come in writes of one byte each.",
    keys: &[BROKERS, FOR],
};
pub(super) const BANDWIDTH: Variant = Variant {
    name: "net.bandwidth",
    about: "Each connection carries so many bytes per second, in each direction.",
    keys: &[BROKERS, FOR, need("bytes", Shape::Bytes, "Bytes per second.")],
};
pub(super) const FLIP: Variant = Variant {
    name: "net.flip",
    about: "A bit of a Produce is another one at its end.",
    keys: &[
        BROKERS,
        need("of", Shape::Name(OF), "`request`: in its records; `answer`: in its correlation id."),
        may("nth", Shape::Count(1, 1_000_000), "Which from now on, the next if not given."),
        ONCE,
        FOR,
    ],
};

/// What happens to the bytes of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkFault {
    /// `net.slice`: answers come in writes of one byte each.
    Slice {
        /// Which.
        brokers: Brokers,
    },
    /// `net.bandwidth`: so many bytes pass on each connection in each direction.
    Bandwidth {
        /// Which.
        brokers: Brokers,
        /// At least 1.
        bytes_per_second: u64,
    },
    /// `net.flip`: a bit of a Produce request's records, or of the correlation id of its answer.
    Flip {
        /// Which.
        brokers: Brokers,
        /// Requests, not answers.
        request: bool,
        /// Which of them, from 1.
        nth: u32,
        /// How many from that one on.
        count: u32,
    },
}

impl LinkFault {
    /// The `kind` string of the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Slice { .. } => SLICE.name,
            Self::Bandwidth { .. } => BANDWIDTH.name,
            Self::Flip { .. } => FLIP.name,
        }
    }

    /// Which brokers it is about.
    #[must_use]
    pub const fn brokers(&self) -> &Brokers {
        match self {
            Self::Slice { brokers }
            | Self::Bandwidth { brokers, .. }
            | Self::Flip { brokers, .. } => brokers,
        }
    }
}

pub(super) fn fault(name: &str, fields: &Fields) -> Option<FaultKind> {
    let brokers = fields.brokers();
    Some(FaultKind::Link(match name {
        name if name == SLICE.name => LinkFault::Slice { brokers },
        name if name == BANDWIDTH.name => {
            LinkFault::Bandwidth { brokers, bytes_per_second: fields.count("bytes").unwrap_or(0) }
        }
        name if name == FLIP.name => LinkFault::Flip {
            brokers,
            request: fields.text("of").as_deref() == Some("request"),
            nth: fields.count("nth").unwrap_or(1),
            count: fields.count("count").unwrap_or(1),
        },
        _ => return None,
    }))
}

impl FaultKind {
    /// The brokers whose connections it is about, where it is about connections.
    #[must_use]
    pub const fn brokers(&self) -> Option<&Brokers> {
        match self {
            Self::BrokerDown { brokers }
            | Self::BrokerFlap { brokers, .. }
            | Self::NetPartition { brokers, .. }
            | Self::NetReset { brokers }
            | Self::NetCutFrame { brokers, .. }
            | Self::NetConnectBlackhole { brokers }
            | Self::NetLatency { brokers, .. } => Some(brokers),
            Self::Link(fault) => Some(fault.brokers()),
            Self::BrokerRollingRestart { .. } => Some(&Brokers::All),
            _ => None,
        }
    }
}
