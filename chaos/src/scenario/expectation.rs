//! What must hold in a scenario: laws, marks and counts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::model::LaneName;
use super::security::Refused;

/// Which laws are to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Laws {
    /// Every law the lane judges.
    All,
    /// All but these, with a reason each.
    AllBut(BTreeMap<String, String>),
    /// Exactly these; one that the lane cannot judge makes the cell not applicable.
    These(Vec<String>),
}

/// Comparison in an expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cmp {
    /// `==`
    Eq,
    /// `<=`
    Le,
    /// `>=`
    Ge,
    /// `<`
    Lt,
    /// `>`
    Gt,
}

/// Right-hand side of a count expectation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// A number.
    Count(u64),
    /// A share of the offered events; `== offered` is share 1.
    ShareOfOffered(f64),
}

/// `acked = "== offered"`, `"dropped/deadline" = ">= 1"`, ….
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Comparison.
    pub cmp: Cmp,
    /// Against what.
    pub amount: Amount,
}

/// How far the counts of two lanes may lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Within {
    /// `±N`
    Count(u64),
    /// `±N%` of the larger one, as a share.
    Share(f64),
}

impl Within {
    /// True where two counts lie within it.
    #[must_use]
    pub fn holds(self, a: u64, b: u64) -> bool {
        match self {
            Self::Count(most) => a.abs_diff(b) <= most,
            Self::Share(share) => a.abs_diff(b) as f64 <= share * a.max(b) as f64,
        }
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(most) => write!(f, "±{most}"),
            Self::Share(share) => write!(f, "±{}%", share * 100.0),
        }
    }
}

/// What must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// Laws to judge.
    pub laws: Laws,
    /// Marks that must have been observed, or the verdict is inconclusive.
    pub reached: Vec<String>,
    /// Outcome counts by disposition: key `acked`, or `dropped/deadline` with a reason.
    pub outcomes: Vec<(String, Bound)>,
    /// D11: bound from the last fault's end to convergence.
    pub recovery: Option<Duration>,
    /// Unresolved events a crash may lose at most.
    pub lost_in_crash: Option<Bound>,
    /// S2: the subject must not get through.
    pub refused: Option<Refused>,
    /// How far lanes may differ in how many events that a fault touched ended how: key `acked`, or
    /// `dropped/deadline` with a reason.
    pub agree: Vec<(String, Within)>,
    /// What holds on one lane only, over what is said for all.
    pub on: BTreeMap<LaneName, OnLane>,
}

/// Expectations of one lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnLane {
    /// Bounds there; one for the same outcome replaces the general one.
    pub outcomes: Vec<(String, Bound)>,
    /// As [`Expect::recovery`], there.
    pub recovery: Option<Duration>,
}

impl Expect {
    /// The bounds that hold on a lane.
    #[must_use]
    pub fn outcomes_on(&self, lane: LaneName) -> Vec<(&str, Bound)> {
        let own = self.on_lane(lane).map_or(&[][..], |on| &on.outcomes);
        let general = self.outcomes.iter().filter(|(name, _)| own.iter().all(|(n, _)| n != name));
        general.chain(own).map(|(name, bound)| (name.as_str(), *bound)).collect()
    }

    /// What the file says of a lane, or of the one that stands for it.
    fn on_lane(&self, lane: LaneName) -> Option<&OnLane> {
        self.on.get(&lane).or_else(|| self.on.get(&lane.written_as()))
    }

    /// The bound on recovery that holds on a lane.
    #[must_use]
    pub fn recovery_on(&self, lane: LaneName) -> Option<Duration> {
        self.on_lane(lane).and_then(|on| on.recovery).or(self.recovery)
    }
}

impl Default for Expect {
    /// All laws, nothing pinned.
    fn default() -> Self {
        Self {
            laws: Laws::All,
            reached: Vec::new(),
            outcomes: Vec::new(),
            recovery: None,
            lost_in_crash: None,
            refused: None,
            agree: Vec::new(),
            on: BTreeMap::new(),
        }
    }
}
