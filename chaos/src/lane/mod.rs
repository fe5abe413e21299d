//! Where scenarios run.

use std::sync::Arc;

use crate::history::Line;
use crate::scenario::model::Scenario;

/// Who is under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectSpec {
    /// The reference implementation.
    Reference,
    /// A deliberately wrong subject, by name.
    Saboteur(String),
    /// A driver: program and arguments.
    Driver(Vec<String>),
}

impl SubjectSpec {
    /// The name written to histories: `reference`, `saboteur:NAME`, `driver:PROGRAM ARGUMENTS`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Reference => "reference".to_owned(),
            Self::Saboteur(name) => format!("saboteur:{name}"),
            Self::Driver(command) => format!("driver:{}", command.join(" ")),
        }
    }
}

/// One cell to run.
#[derive(Clone, Debug)]
pub struct RunInput {
    /// What.
    pub scenario: Arc<Scenario>,
    /// Seed of everything random.
    pub seed: u64,
    /// Who.
    pub subject: SubjectSpec,
}

/// What a lane hands to the oracle.
#[derive(Clone, Debug, Default)]
pub struct RunOutput {
    /// The history.
    pub lines: Vec<Line>,
    /// The harness itself failed (budget overrun, livelock, broken child): blame and text.
    pub error: Option<HarnessError>,
}

/// A run that proves nothing because the harness or its surroundings failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{blame}: {message}")]
pub struct HarnessError {
    /// harness, environment, driver protocol or implementation.
    pub blame: &'static str,
    /// What happened, with a state dump where there is one.
    pub message: String,
}
