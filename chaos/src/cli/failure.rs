//! How a command ends that could not do what it was asked.

use std::path::Path;

use super::args::Format;
use super::ui;
use crate::exit;
use crate::scenario::{Diagnostic, SelectError};

/// What the line with the remedy begins with.
const HELP: &str = "help: ";

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

    /// A folder that is none.
    pub(crate) fn no_folder(path: &Path) -> Self {
        let shown = path.display();
        if path.exists() {
            return Self::usage(format!(
                "{shown} is no folder\nhelp: name the folder that it lies in"
            ));
        }
        Self::usage(format!(
            "there is no folder {shown}\nhelp: a relative path begins at the current folder"
        ))
    }

    /// Nothing to prove, or no lane to prove it on.
    pub(crate) fn inconclusive(message: impl Into<String>) -> Self {
        Self { code: exit::INCONCLUSIVE, message: message.into() }
    }

    /// The surroundings failed.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self { code: exit::ENVIRONMENT, message: message.into() }
    }

    /// The last line for programs of a command that ran nothing: they read stdout.
    pub(crate) fn summarise(&self, verb: &str, format: Format) {
        if format == Format::Json {
            ui::print(&format!("{}\n", self.summary(verb)));
        }
    }

    fn summary(&self, verb: &str) -> serde_json::Value {
        let (why, help): (Vec<&str>, Vec<&str>) =
            self.message.lines().partition(|line| !line.starts_with(HELP));
        let help: Vec<&str> = help.into_iter().filter_map(|line| line.strip_prefix(HELP)).collect();
        let line = format!("dashproof {verb}: nothing was run: {}", exit::name(self.code));
        serde_json::json!({ "type": "summary", "nothing_was_run": why, "help": help,
            "exit": self.code, "line": line })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_ran_nothing_tells_programs_its_code_why_and_what_to_do() {
        let failure = Failure::inconclusive("lane kafka is not there\nhelp: start Docker");
        let told = serde_json::json!({ "type": "summary", "nothing_was_run":
            ["lane kafka is not there"], "help": ["start Docker"], "exit": 3,
            "line": "dashproof run: nothing was run: inconclusive" });
        assert_eq!(failure.summary("run"), told);
    }
}
