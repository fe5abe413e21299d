//! Exit codes: the only numbers that scripts may rely on, and which one wins.

/// Everything that was selected is proven.
pub const PROVEN: u8 = 0;
/// A law was violated, an expectation missed, or a saboteur survived.
pub const VIOLATION: u8 = 1;
/// The command, a scenario file or a history could not be understood; nothing was run.
pub const USAGE: u8 = 2;
/// Nothing is disproven, and not everything is proven: a fault was not met or a mark not reached,
/// the selection is empty, or a lane that was asked for is not there.
pub const INCONCLUSIVE: u8 = 3;
/// A committed baseline or explanation no longer fits.
pub const STALE: u8 = 4;
/// The machine or its surroundings failed.
pub const ENVIRONMENT: u8 = 5;
/// The same cell gave another history.
pub const NONDETERMINISM: u8 = 6;
/// The harness itself failed.
pub const INTERNAL: u8 = 70;

/// SIGINT ended the command before its end, as the shell tells it: it says nothing of the rest.
pub const INTERRUPTED: u8 = 130;
/// SIGTERM did.
pub const TERMINATED: u8 = 143;

/// One row of the published table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode {
    /// The number.
    pub code: u8,
    /// One word for it.
    pub name: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

const fn row(code: u8, name: &'static str, meaning: &'static str) -> ExitCode {
    ExitCode { code, name, meaning }
}

/// Every exit code there is.
pub const TABLE: [ExitCode; 10] = [
    row(PROVEN, "proven", "everything that was selected is proven"),
    row(VIOLATION, "violation", "a law was violated, or a saboteur survived"),
    row(USAGE, "usage", "the command or a file could not be understood; nothing was run"),
    row(
        INCONCLUSIVE,
        "inconclusive",
        "a fault or mark was not reached, nothing was selected, a lane is missing, or a saboteur \
         was not judged",
    ),
    row(STALE, "stale", "a baseline or explanation no longer fits"),
    row(ENVIRONMENT, "environment", "the machine failed, or the output could not be written"),
    row(NONDETERMINISM, "nondeterminism", "the same cell gave another history"),
    row(INTERNAL, "internal", "the harness itself failed"),
    row(INTERRUPTED, "interrupted", "SIGINT ended it; nothing is said of what was not done"),
    row(TERMINATED, "terminated", "SIGTERM ended it; nothing is said of what was not done"),
];

/// Which code a command ends with when several apply, the most serious first.
pub const PRECEDENCE: [u8; 9] = [
    INTERRUPTED,
    TERMINATED,
    USAGE,
    INTERNAL,
    ENVIRONMENT,
    NONDETERMINISM,
    VIOLATION,
    STALE,
    INCONCLUSIVE,
];

/// The code that wins among those that apply; [`PROVEN`] when none does.
#[must_use]
pub fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    let codes: Vec<u8> = codes.into_iter().collect();
    PRECEDENCE.into_iter().find(|code| codes.contains(code)).unwrap_or(PROVEN)
}

/// The table's name for a code.
#[must_use]
pub fn name(code: u8) -> &'static str {
    TABLE.iter().find(|row| row.code == code).map_or("unknown", |row| row.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_serious_code_wins() {
        assert_eq!(worst([]), PROVEN);
        assert_eq!(worst([PROVEN, INCONCLUSIVE]), INCONCLUSIVE);
        assert_eq!(worst([INCONCLUSIVE, STALE, VIOLATION]), VIOLATION);
        assert_eq!(worst([VIOLATION, NONDETERMINISM]), NONDETERMINISM);
        assert_eq!(worst([NONDETERMINISM, ENVIRONMENT]), ENVIRONMENT);
        assert_eq!(worst([ENVIRONMENT, INTERNAL, VIOLATION]), INTERNAL);
    }

    #[test]
    fn every_code_but_success_has_a_place_in_the_precedence() {
        for row in TABLE.iter().filter(|row| row.code != PROVEN) {
            assert!(PRECEDENCE.contains(&row.code), "{}", row.name);
        }
    }
}
