//! Where scenarios run.

mod child;
pub mod disk;
pub mod external;
pub mod files;
pub mod kafka;
pub mod mock;
pub mod pool;
mod real;
pub(crate) mod scratch;
pub mod sim;
pub mod spool;
pub mod watchdog;
pub mod wire;
pub mod world;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::history::{Kind, Line};
use crate::scenario::model::{LaneName, Scenario};

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

impl RunInput {
    /// First bytes of the SHA-256 over scenario, lane, seed and subject: part of every message id,
    /// so that what one run left behind is never taken for another's.
    #[must_use]
    pub fn digest(&self, lane: LaneName) -> [u8; 10] {
        let seed = self.seed.to_string();
        let subject = self.subject.name();
        let parts =
            [&self.scenario.id, &self.scenario.text, lane.as_str(), seed.as_str(), &subject];
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        let digest: [u8; 32] = digest.finalize().into();
        let mut out = [0; 10];
        out.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        out
    }

    /// The first line of a history. `environment` is what determinism or the verdict relies on.
    #[must_use]
    pub fn opening(&self, lane: LaneName, mut environment: Vec<(String, String)>) -> Kind {
        if self.scenario.named_by_file {
            environment.push((FILE.to_owned(), self.scenario.path.clone()));
        }
        if let Some(free) = self.scenario.free {
            environment.push((FREE.to_owned(), free.to_string()));
        }
        Kind::Run {
            scenario: self.scenario.id.clone(),
            text: self.scenario.text.clone(),
            lane: lane.as_str().to_owned(),
            seed: self.seed,
            subject: self.subject.name(),
            run: self.digest(lane).iter().map(|byte| format!("{byte:02x}")).collect(),
            environment,
        }
    }
}

/// Key of a history's environment: the scenario file, where one was named instead of an id.
pub const FILE: &str = "file";
/// Key of a history's environment: the play that was chosen of a file that says `free = "every"`.
pub const FREE: &str = "free";

/// What a lane hands to the oracle.
#[derive(Clone, Debug, Default)]
pub struct RunOutput {
    /// The history.
    pub lines: Vec<Line>,
    /// The harness itself failed (budget overrun, livelock, broken child): blame and text.
    pub error: Option<HarnessError>,
    /// Nothing was run: what the lane cannot inject, or the subject does not declare.
    pub not_applicable: Option<String>,
    /// Nothing was run, though it could be elsewhere: what this machine does not let the lane do.
    pub not_run: Option<String>,
}

/// What broke a run off before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{blame}: {message}")]
pub struct HarnessError {
    /// harness, environment, driver protocol or implementation.
    pub blame: &'static str,
    /// What happened, with a state dump where there is one.
    pub message: String,
}

impl HarnessError {
    /// True when the subject hung, died or broke the protocol; otherwise the run proves nothing.
    #[must_use]
    pub fn is_the_subjects(&self) -> bool {
        matches!(self.blame, "implementation" | "driver protocol")
    }
}
