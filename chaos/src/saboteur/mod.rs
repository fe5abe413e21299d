//! Subjects that are wrong on purpose: each audit weakness put back, and the classic ways to lie.
//!
//! A saboteur wraps one seam of the reference (its configuration, its transports, its operations or
//! its claims), never its inside. It is *caught* when the law it names is violated in a scenario it
//! names while the reference passes there. A saboteur that survives is a hole in the harness.

mod beyond;
mod broker;
mod counters;
mod disk;
mod files;
mod racing;
mod security;
mod spool;
mod state;
mod subject;
mod table;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;

use dashproof_reference::config::ProducerConfig;
use dashproof_reference::core::{Route, Transport};
use dashproof_reference::fs::Fs;

use crate::broker::Wrong;
use crate::history::Kind;
use crate::scenario::model::{LaneName, Scenario, StateSubject};
use crate::subject::Subject;
use crate::subject::state::{self as diffs, Differ, Start};
use crate::subject::store::{self, Answered, Checkpointer, Open, Setup};

/// Where a subject's claims go.
pub type Claims = Arc<dyn Fn(Kind) + Send + Sync>;

/// What catches a saboteur that is no subject: lanes that do not agree.
pub const AGREE: &str = "AGREE";

/// A subject that is wrong on purpose.
#[derive(Clone, Copy)]
pub struct Saboteur {
    /// Name, as given to `--saboteur`.
    pub name: &'static str,
    /// Audit row whose weakness it puts back; empty for those beyond the audit.
    pub row: &'static str,
    /// Law that must catch it, or [`AGREE`].
    pub law: &'static str,
    /// Rule of that law that it breaks, so that nothing else passes for its being caught. For
    /// [`AGREE`], the field that must differ from what `sim` says.
    pub rule: &'static str,
    /// Lane to catch it on.
    pub lane: LaneName,
    /// Scenarios that must catch it; one suffices, and each is shown.
    pub scenarios: &'static [&'static str],
    /// What it does wrong, in one sentence.
    pub about: &'static str,
    sabotage: Sabotage,
}

impl std::fmt::Debug for Saboteur {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Saboteur({})", self.name)
    }
}

/// The seam it sits in.
#[derive(Clone, Copy)]
enum Sabotage {
    /// Changes the producer settings after the harness has read them.
    Config(fn(&mut serde_json::Value)),
    /// Wraps the transport of a route (both if `None`).
    Transport(Option<Route>, fn() -> Box<dyn transport::Trick>),
    /// Wraps the operations.
    Operations(fn() -> subject::Lie),
    /// Wraps the file system.
    Disk(fn(Arc<dyn Fs>) -> Arc<dyn Fs>),
    /// Wraps the claims.
    Claims(fn() -> subject::Gossip),
    /// Prints its settings in its own way.
    Debug(fn(&ProducerConfig) -> String),
    /// Opens stores in its own way.
    Store(fn(Setup) -> Answered<Box<dyn Checkpointer>>),
    /// Makes state diffs in its own way.
    Differ(fn(&StateSubject) -> Box<dyn Differ>),
    /// The subject is the reference; the model broker of the lane `wire` is wrong.
    Broker(Wrong),
}

/// Every saboteur there is.
pub fn all() -> impl Iterator<Item = &'static Saboteur> {
    let diffs = state::TABLE.iter();
    let disks = disk::TABLE.iter().chain(files::TABLE);
    let producers = table::TABLE.iter().chain(beyond::TABLE).chain(counters::TABLE);
    producers.chain(disks).chain(diffs).chain(broker::TABLE).chain(security::TABLE)
}

/// Looks a saboteur up by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Saboteur> {
    all().find(|s| s.name == name)
}

impl Saboteur {
    /// True where it has something to be wrong about.
    #[must_use]
    pub fn fits(&self, scenario: &Scenario) -> bool {
        match self.sabotage {
            Sabotage::Store(_) => scenario.checkpoint.is_some(),
            Sabotage::Differ(_) => scenario.state.is_some(),
            _ => scenario.checkpoint.is_none() && scenario.state.is_none(),
        }
    }

    /// True where it can be wrong on this lane: a wrong broker is there on `wire` only, so that it
    /// stands against sound ones.
    #[must_use]
    pub const fn acts_on(&self, lane: LaneName) -> bool {
        !matches!(self.sabotage, Sabotage::Broker(_)) || matches!(lane, LaneName::Wire)
    }

    /// Every lane on which it can be wrong.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneName> {
        LaneName::ALL.into_iter().filter(|lane| self.acts_on(*lane)).collect()
    }

    /// What the brokers of the lane `wire` do wrong.
    #[must_use]
    pub const fn broker(&self) -> Option<Wrong> {
        match self.sabotage {
            Sabotage::Broker(wrong) => Some(wrong),
            _ => None,
        }
    }

    /// The settings that its producer is really opened with.
    pub fn config(&self, config: &mut serde_json::Value) {
        if let Sabotage::Config(change) = self.sabotage {
            change(config);
        }
    }

    /// Its settings as it prints them for people who look for bugs.
    #[must_use]
    pub fn debug(&self, config: &ProducerConfig) -> String {
        match self.sabotage {
            Sabotage::Debug(print) => print(config),
            _ => format!("{config:?}"),
        }
    }

    /// The transport that its core really gets. What the harness records lies inside of it, so that
    /// the history shows what the client said and the core acts on what the saboteur said.
    #[must_use]
    pub fn transport(&self, route: Route, inner: Arc<dyn Transport>) -> Arc<dyn Transport> {
        match self.sabotage {
            Sabotage::Transport(only, trick) if only.is_none_or(|only| only == route) => {
                transport::Meddled::wrap(inner, trick())
            }
            _ => inner,
        }
    }

    /// The subject that the harness really talks to.
    #[must_use]
    pub fn subject(&self, inner: Arc<dyn Subject>) -> Arc<dyn Subject> {
        match self.sabotage {
            Sabotage::Operations(lie) => Arc::new(subject::Lying { inner, lie: lie() }),
            _ => inner,
        }
    }

    /// The file system that its producer really gets.
    #[must_use]
    pub fn disk(&self, inner: Arc<dyn Fs>) -> Arc<dyn Fs> {
        match self.sabotage {
            Sabotage::Disk(wrap) => wrap(inner),
            _ => inner,
        }
    }

    /// How its stores are really opened.
    #[must_use]
    pub fn store(&self) -> Open {
        match self.sabotage {
            Sabotage::Store(open) => Arc::new(open),
            _ => Arc::new(store::reference),
        }
    }

    /// How its state diffs are really made.
    #[must_use]
    pub fn differ(&self) -> Start {
        match self.sabotage {
            Sabotage::Differ(start) => Arc::new(start),
            _ => Arc::new(diffs::reference),
        }
    }

    /// Where its claims really go.
    #[must_use]
    pub fn claims(&self, inner: Claims) -> Claims {
        match self.sabotage {
            Sabotage::Claims(gossip) => subject::claims(inner, gossip()),
            _ => inner,
        }
    }
}
