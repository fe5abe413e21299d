//! How a command ends that could not do what it was asked.

use crate::exit;
use crate::scenario::{Diagnostic, SelectError};

/// An error for the user: what, the remedy, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Exit code.
    pub(crate) code: u8,
    /// Lines for stderr.
    pub(crate) message: String,
}

impl Failure {
    /// A misuse: nothing was run.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: exit::USAGE, message: message.into() }
    }

    /// Nothing to prove, or no lane to prove it on.
    pub(crate) fn inconclusive(message: impl Into<String>) -> Self {
        Self { code: exit::INCONCLUSIVE, message: message.into() }
    }

    /// The surroundings failed.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self { code: exit::ENVIRONMENT, message: message.into() }
    }

    /// Broken scenario files.
    pub(crate) fn broken(problems: &[Diagnostic]) -> Self {
        let mut message: String = problems.iter().map(|p| format!("{p}\n")).collect();
        message.push_str(&count(problems.len(), "problem"));
        message.push_str(" in scenario files; nothing was run");
        Self::usage(message)
    }
}

impl From<SelectError> for Failure {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Broken(problems) => Self::broken(&problems),
            SelectError::Empty | SelectError::NoMatch(_) | SelectError::Unguarded(_) => {
                Self::inconclusive(format!(
                    "{error}\nhelp: drop a condition; `dashproof list` shows what there is"
                ))
            }
            SelectError::Twice(..) => {
                Self::usage(format!("{error}\nhelp: run one of them, or give one another id"))
            }
            SelectError::Unknown { what: "id", .. } => {
                Self::usage(format!("{error}\nhelp: `dashproof list` shows every id"))
            }
            SelectError::Unknown { .. } => Self::inconclusive(error.to_string()),
        }
    }
}

/// `1 cell`, `2 cells`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}
