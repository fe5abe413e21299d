//! Why a state has no diff: what was wrong, and where in the state.

use std::fmt;

use thiserror::Error;

/// Longest text taken over from a state's own error, and longest path told.
const TEXT: usize = 200;

/// Why a step had no diff: the `reason` label of `dashstream_state_diff_degraded_total`. A closed
/// list, extended here only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DegradeReason {
    /// The state's own `Serialize` failed, or gave something that JSON cannot hold.
    Unserialisable,
    /// A map key that is no text in JSON.
    NonStringKey,
    /// NaN or an infinity.
    NotANumber,
    /// Nested deeper than [`DiffConfig::max_depth`](super::DiffConfig::max_depth).
    TooDeep,
    /// Longer than [`DiffConfig::max_state_bytes`](super::DiffConfig::max_state_bytes).
    TooLarge,
    /// Patch and full state are both over
    /// [`DiffConfig::max_diff_bytes`](super::DiffConfig::max_diff_bytes).
    DiffTooLarge,
}

impl DegradeReason {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 6] = [
        Self::Unserialisable,
        Self::NonStringKey,
        Self::NotANumber,
        Self::TooDeep,
        Self::TooLarge,
        Self::DiffTooLarge,
    ];

    /// The label value in metrics and histories.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unserialisable => "unserialisable",
            Self::NonStringKey => "non_string_key",
            Self::NotANumber => "not_a_number",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
            Self::DiffTooLarge => "diff_too_large",
        }
    }

    /// When it is given, in a few words.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Unserialisable => {
                "the state's own `Serialize` failed, or gave what JSON cannot hold: an integer \
                 outside −2^63 … 2^64−1, two entries with one key, a key over 64 KiB, or different \
                 data on a second walk"
            }
            Self::NonStringKey => {
                "a map key that is no string, char, integer, bool or unit variant"
            }
            Self::NotANumber => "NaN or an infinity",
            Self::TooDeep => "nested deeper than `max_depth`",
            Self::TooLarge => "canonical JSON longer than `max_state_bytes`",
            Self::DiffTooLarge => "the smaller of patch and full state is over `max_diff_bytes`",
        }
    }
}

impl fmt::Display for DegradeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was wrong with a state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StateErrorKind {
    /// The state's own `Serialize` failed, or gave what JSON cannot hold.
    #[error("not serialisable: {0}")]
    Unserialisable(String),
    /// A map key that is no text in JSON.
    #[error(
        "a map key is {0}: use strings, chars, integers, bools or unit variants as keys, or \
         serialise the map as a list of pairs"
    )]
    NonStringKey(&'static str),
    /// NaN or an infinity, which JSON does not have.
    #[error("{0} has no place in JSON: use an Option or a string")]
    NotANumber(&'static str),
    /// Nested too deep.
    #[error("nested deeper than {limit} levels: flatten it or raise max_depth (at most 127)")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// Canonical JSON too long.
    #[error(
        "the state has at least {at_least} bytes of JSON, over the limit of {limit}: raise \
         max_state_bytes, or keep large parts outside the state"
    )]
    TooLarge {
        /// The limit.
        limit: u64,
        /// The state is at least so long.
        at_least: u64,
    },
    /// Neither patch nor full state fits.
    #[error(
        "neither a patch nor the full state of {full} bytes is within the limit of {limit}: raise \
         max_diff_bytes and the broker's limit with it, or rebase on a checkpoint"
    )]
    DiffTooLarge {
        /// The limit.
        limit: u64,
        /// Bytes of the message that holds the full state.
        full: u64,
    },
}

/// Why a state has no diff, and where in it the cause is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}{}", if path.is_empty() { String::new() } else { format!(" (at `{path}`)") })]
pub struct StateError {
    /// What was wrong.
    pub kind: StateErrorKind,
    /// JSON Pointer to the offending value, cut at 200 bytes; empty for the whole state.
    pub path: String,
}

impl StateError {
    pub(super) fn new(kind: StateErrorKind) -> Self {
        Self { kind, path: String::new() }
    }

    pub(super) fn unserialisable(text: &str) -> Self {
        Self::new(StateErrorKind::Unserialisable(cut(text)))
    }

    /// The state gave other data on a later walk.
    pub(super) fn changed() -> Self {
        Self::unserialisable("its Serialize gives different data when called twice")
    }

    /// The same, seen from the container that holds the value under this key or index.
    pub(super) fn under(mut self, segment: &str) -> Self {
        let mut path = String::new();
        push_segment(&mut path, segment);
        path.push_str(&self.path);
        self.path = cut(&path);
        self
    }

    /// The label that it is counted under.
    #[must_use]
    pub const fn reason(&self) -> DegradeReason {
        match self.kind {
            StateErrorKind::Unserialisable(_) => DegradeReason::Unserialisable,
            StateErrorKind::NonStringKey(_) => DegradeReason::NonStringKey,
            StateErrorKind::NotANumber(_) => DegradeReason::NotANumber,
            StateErrorKind::TooDeep { .. } => DegradeReason::TooDeep,
            StateErrorKind::TooLarge { .. } => DegradeReason::TooLarge,
            StateErrorKind::DiffTooLarge { .. } => DegradeReason::DiffTooLarge,
        }
    }
}

impl serde::ser::Error for StateError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::unserialisable(&text.to_string())
    }
}

/// Adds a segment to a JSON Pointer (RFC 6901).
pub(super) fn push_segment(path: &mut String, segment: &str) {
    path.push('/');
    for part in segment.chars() {
        match part {
            '~' => path.push_str("~0"),
            '/' => path.push_str("~1"),
            other => path.push(other),
        }
    }
}

fn cut(text: &str) -> String {
    let end = (0..=TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}
