//! What clusters there are.

use std::io;

use super::secure;
use crate::broker::HeldPort;
use crate::scenario::model::Listener;

/// Cells that use a cluster at the same time. Each has listeners of its own on every broker, so
/// that a fault of one is none of another's.
const SLOTS: usize = 4;
/// The same of the single broker, which has eight listeners for each.
const SECURE_SLOTS: usize = 3;

/// What a cell needs of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// One broker.
    Single,
    /// One broker with listeners for GSSAPI, and a realm.
    Kerberos,
    /// Three brokers, replication factor 3, two replicas in sync.
    Cluster,
    /// One or three brokers for cells that run alone.
    Own {
        /// How many.
        brokers: usize,
        /// Small disks of each; 0 for the container's own.
        disks: usize,
    },
    /// Brokers that clients reach without a proxy too, for who measures them.
    Open {
        /// How many.
        brokers: usize,
    },
}

impl Shape {
    pub(super) const fn brokers(self) -> usize {
        match self {
            Self::Single | Self::Kerberos => 1,
            Self::Cluster => 3,
            Self::Own { brokers, .. } | Self::Open { brokers } => brokers,
        }
    }

    /// Cells that harm no processes share it.
    pub(super) const fn is_shared(self) -> bool {
        matches!(self, Self::Single | Self::Kerberos | Self::Cluster)
    }

    /// True when a cluster of the other shape can be used for it once more; `harmed`: a fault that
    /// struck it is not known to be over. A small disk that once was full shows in nothing.
    pub(super) fn is_had_from(self, other: Self, harmed: bool) -> bool {
        self == other && !harmed && !matches!(other, Self::Own { disks: 1.., .. })
    }

    /// Settings of its brokers beyond those of all.
    pub(super) fn settings(self) -> Vec<(String, String)> {
        match self {
            Self::Single | Self::Kerberos => {
                let (slots, listeners) = self.slots();
                secure::settings(slots, &listeners)
            }
            Self::Cluster | Self::Own { .. } | Self::Open { .. } => Vec::new(),
        }
    }

    /// Slots, and the listeners of each.
    pub(super) fn slots(self) -> (usize, Vec<Listener>) {
        match self {
            Self::Single | Self::Kerberos => {
                let kerberos = self == Self::Kerberos;
                let ours = |listener: &Listener| {
                    *listener == Listener::Plaintext || listener.is_kerberos() == kerberos
                };
                let all = Listener::ALL.into_iter().map(|(_, listener)| listener);
                (SECURE_SLOTS, all.filter(ours).collect())
            }
            Self::Cluster => (SLOTS, vec![Listener::Plaintext]),
            Self::Own { .. } | Self::Open { .. } => (1, vec![Listener::Plaintext]),
        }
    }

    /// A free port for each broker that is reached without a proxy. Nobody holds them: Docker must
    /// take them, and tells when somebody was faster.
    pub(super) fn direct(self) -> io::Result<Vec<u16>> {
        let Self::Open { brokers } = self else { return Ok(Vec::new()) };
        let held: io::Result<Vec<HeldPort>> = (0..brokers).map(|_| HeldPort::free()).collect();
        Ok(held?.iter().map(HeldPort::port).collect())
    }
}
