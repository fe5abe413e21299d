//! Who an event is, on paper and on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Who an event is: the load that offered it and its number there. Printed `0.000123`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Index of the load in the scenario file, from 0.
    pub load: u16,
    /// Number within the load, from 0.
    pub n: u32,
}

impl EventId {
    /// The 16 bytes given to the subject as message id: run digest, then this id, big endian.
    #[must_use]
    pub fn message_id(self, run: [u8; 10]) -> [u8; 16] {
        let mut out = [0; 16];
        out[..10].copy_from_slice(&run);
        out[10..12].copy_from_slice(&self.load.to_be_bytes());
        out[12..].copy_from_slice(&self.n.to_be_bytes());
        out
    }

    /// Who a message id names, whatever run it is of.
    #[must_use]
    pub fn in_message_id(bytes: [u8; 16]) -> Self {
        let [.., l0, l1, n0, n1, n2, n3] = bytes;
        Self { load: u16::from_be_bytes([l0, l1]), n: u32::from_be_bytes([n0, n1, n2, n3]) }
    }

    /// The inverse of [`EventId::message_id`]; `None` when the digest is another run's.
    #[must_use]
    pub fn from_message_id(bytes: &[u8], run: [u8; 10]) -> Option<Self> {
        let bytes: &[u8; 16] = bytes.try_into().ok()?;
        (bytes[..10] == run).then(|| Self::in_message_id(*bytes))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.load, self.n)
    }
}

/// The text is not `LOAD.NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an event id: expected LOAD.NUMBER, as in 0.000123")]
pub struct BadEventId(pub String);

impl FromStr for EventId {
    type Err = BadEventId;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || BadEventId(s.to_owned());
        let (load, n) = s.split_once('.').ok_or_else(bad)?;
        Ok(Self { load: load.parse().map_err(|_| bad())?, n: n.parse().map_err(|_| bad())? })
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}
