//! What is wrong with a configuration, told all at once.

use std::fmt;

/// One thing that is wrong, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted name of the setting, as `retry.max_attempts`, or of the environment variable.
    pub key: String,
    /// What is wrong, lower case. Never holds a secret.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    /// Puts the three parts together.
    #[must_use]
    pub fn new(
        key: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { key: key.into(), reason: reason.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}; {}", self.key, self.reason, self.remedy)
    }
}

/// Every problem of a configuration, in the order of the settings table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "bad producer setting {one}"),
            many => {
                write!(f, "{} bad producer settings:", many.len())?;
                many.iter().try_for_each(|p| write!(f, "\n  {p}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
