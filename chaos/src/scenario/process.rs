//! The part of scenario files that is about the processes of real brokers: keys, model, checks.

use std::time::Duration;

use super::keys::{BROKERS, Key, Shape, Variant, may};
use super::model::{At, Brokers, FaultKind, Listener, Scenario};
use super::value::Fields;
use super::walk::Walker;

const LASTS: Key = may("for", Shape::Span { zero: false }, "How long; needed without `down`.");
const PARTITION: Key =
    may("partition", Shape::Count(0, 63), "Of the main topic: whose leader is meant, 0.");
const SPREAD: Key =
    may("spread", Shape::Span { zero: false }, "It begins up to this later, by seed.");
const DOWN: Key = may(
    "down",
    Shape::Span { zero: false },
    "One broker after the other, each for this long; needs `up`.",
);
const UP: Key =
    may("up", Shape::Span { zero: false }, "Pause after each, once all replicas are in sync.");
const LOG_DIRS: Key =
    may("log_dirs", Shape::Count(1, 2), "Log directories of the broker, 1 if not given.");

pub(super) const KILL: Variant = Variant {
    name: "broker.kill",
    about: "kafka: the broker's process is killed, and started again at the end.",
    keys: &[BROKERS, PARTITION, SPREAD, LASTS, DOWN, UP],
};
pub(super) const STOP: Variant = Variant {
    name: "broker.stop",
    about: "kafka: the broker is told to stop, and started again at the end.",
    keys: &[BROKERS, PARTITION, SPREAD, LASTS, DOWN, UP],
};
pub(super) const PAUSE: Variant = Variant {
    name: "broker.pause",
    about: "kafka: the broker's process stands still.",
    keys: &[BROKERS, PARTITION, SPREAD, LASTS],
};
pub(super) const NETWORK: Variant = Variant {
    name: "broker.network",
    about: "kafka: the broker is cut off from the other brokers and from clients.",
    keys: &[BROKERS, PARTITION, SPREAD, LASTS],
};
pub(super) const DISK_FULL: Variant = Variant {
    name: "broker.disk_full",
    about: "kafka: the broker's disk, or one of its two, is full.",
    keys: &[BROKERS, PARTITION, SPREAD, LASTS, LOG_DIRS],
};

/// Longest budget of a file with such a fault: a broker takes ten seconds to start.
pub const PROCESS_BUDGET: Duration = Duration::from_secs(90);

/// What happens to the process of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// `broker.kill`: killed without a word, started again at the end.
    Kill,
    /// `broker.stop`: told to stop, started again at the end.
    Stop,
    /// `broker.pause`: stands still.
    Pause,
    /// `broker.network`: no network.
    Network,
    /// `broker.disk_full`: nothing fits on its disk.
    DiskFull {
        /// Log directories, each on a disk of its own: with one the broker exits; of two the one
        /// that holds `partition` of the main topic is filled.
        log_dirs: usize,
    },
}

/// A fault of the processes of real brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessFault {
    /// What.
    pub strike: Strike,
    /// Which.
    pub brokers: Brokers,
    /// Partition of the main topic whose leader is meant, or whose disk.
    pub partition: i32,
    /// One after the other: how long each is down, and the pause after each.
    pub rolling: Option<(Duration, Duration)>,
    /// The seed lets it begin up to this later.
    pub spread: Duration,
}

impl ProcessFault {
    /// The `kind` string of the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.strike {
            Strike::Kill => KILL.name,
            Strike::Stop => STOP.name,
            Strike::Pause => PAUSE.name,
            Strike::Network => NETWORK.name,
            Strike::DiskFull { .. } => DISK_FULL.name,
        }
    }
}

pub(super) fn fault(name: &str, fields: &Fields) -> Option<FaultKind> {
    let strike = match name {
        name if name == KILL.name => Strike::Kill,
        name if name == STOP.name => Strike::Stop,
        name if name == PAUSE.name => Strike::Pause,
        name if name == NETWORK.name => Strike::Network,
        name if name == DISK_FULL.name => {
            Strike::DiskFull { log_dirs: fields.count("log_dirs").unwrap_or(1) }
        }
        _ => return None,
    };
    Some(FaultKind::Process(ProcessFault {
        strike,
        brokers: fields.brokers(),
        partition: fields.count("partition").unwrap_or(0),
        rolling: fields.span("down").zip(fields.span("up")),
        spread: fields.span("spread").unwrap_or_default(),
    }))
}

impl Scenario {
    /// Faults of processes, with their places among all faults.
    pub fn process_faults(&self) -> impl Iterator<Item = (usize, &ProcessFault)> {
        self.faults.iter().enumerate().filter_map(|(n, fault)| match &fault.kind {
            FaultKind::Process(process) => Some((n, process)),
            _ => None,
        })
    }

    /// True where brokers' processes are harmed: it has brokers of its own, and runs alone.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.process_faults().next().is_some()
    }

    /// Log directories on small disks that the brokers need, 0 where any disk will do.
    #[must_use]
    pub fn small_disks(&self) -> usize {
        let disks = self.process_faults().filter_map(|(_, fault)| match fault.strike {
            Strike::DiskFull { log_dirs } => Some(log_dirs),
            _ => None,
        });
        disks.max().unwrap_or(0)
    }

    /// The scenario with the beginnings of its process faults where this seed puts them.
    #[must_use]
    pub fn spread_by(&self, seed: u64) -> Self {
        let mut own = self.clone();
        let mut rng = fastrand::Rng::with_seed(seed);
        for fault in &mut own.faults {
            let (FaultKind::Process(process), At::Time(at)) = (&fault.kind, &mut fault.at) else {
                continue;
            };
            *at += process.spread.mul_f64(rng.f64());
        }
        own
    }
}

/// Refuses what no brokers in containers can do.
pub(super) fn check(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    let mut disks = None;
    let all = root.tables("fault");
    overlaps(walker, all, scenario);
    for (index, fault) in scenario.process_faults() {
        let Some(fields) = all.get(index) else { continue };
        place(walker, fields, scenario);
        whom(walker, fields, fault, scenario);
        how_long(walker, fields, fault, scenario, index);
        if let Strike::DiskFull { log_dirs } = fault.strike
            && *disks.get_or_insert(log_dirs) != log_dirs
        {
            let message = "the brokers of one file have one number of log directories";
            let help = "give every `broker.disk_full` the same `log_dirs`".to_owned();
            walker.refuse(&fields.place("log_dirs"), message, Some(help));
        }
    }
}

/// A broker while a fault has its process, as far as the file alone tells.
struct Window {
    index: usize,
    kind: &'static str,
    broker: i32,
    at: Duration,
    spread: Duration,
    lasts: Duration,
}

impl Window {
    /// True when they meet wherever a seed puts their beginnings.
    fn meets(&self, other: &Self) -> bool {
        let before =
            |a: &Self, b: &Self| a.at.saturating_add(a.spread) < b.at.saturating_add(b.lasts);
        self.broker == other.broker && before(self, other) && before(other, self)
    }
}

/// What is certain: of those that come one after the other the first, and of leaders none, for who
/// leads is known when the fault begins.
fn windows(scenario: &Scenario) -> Vec<Window> {
    let mut all = Vec::new();
    for (index, fault) in scenario.process_faults() {
        let Some(own) = scenario.faults.get(index) else { continue };
        let At::Time(at) = own.at else { continue };
        let mut brokers = match &fault.brokers {
            Brokers::All => (1..=i32::try_from(scenario.brokers).unwrap_or(i32::MAX)).collect(),
            Brokers::Ids(ids) => ids.clone(),
            Brokers::Leader => Vec::new(),
        };
        let lasts = match (own.lasts, fault.rolling) {
            (Some(lasts), None) => lasts,
            (None, Some((down, _))) => {
                brokers.truncate(1);
                down
            }
            _ => continue,
        };
        let (kind, spread) = (fault.name(), fault.spread);
        let window = |broker| Window { index, kind, broker, at, spread, lasts };
        all.extend(brokers.into_iter().map(window));
    }
    all
}

/// The process of a broker can be harmed once at a time.
fn overlaps(walker: &mut Walker<'_>, all: &[Fields], scenario: &Scenario) {
    let windows = windows(scenario);
    let mut told = Vec::new();
    for (n, later) in windows.iter().enumerate() {
        let earlier = windows.iter().take(n).find(|earlier| earlier.meets(later));
        let Some(earlier) = earlier.filter(|earlier| earlier.index != later.index) else {
            continue;
        };
        let (Some(here), Some(there)) = (all.get(later.index), all.get(earlier.index)) else {
            continue;
        };
        if told.contains(&(earlier.index, later.index)) {
            continue;
        }
        told.push((earlier.index, later.index));
        let line = walker.source.problem(&there.place("kind"), "", None).line;
        let message = format!(
            "broker {} is under `{}` of line {line} at that time: the process of a broker can be \
             harmed once at a time",
            later.broker, earlier.kind
        );
        let end = earlier.at.saturating_add(earlier.spread).saturating_add(earlier.lasts);
        let help = format!(
            "name another broker, or begin after {}, when it is back: a broker takes ten seconds \
             to start",
            humantime::format_duration(end)
        );
        walker.refuse(&here.place("kind"), message, Some(help));
    }
}

/// With which brokers it can happen at all.
fn place(walker: &mut Walker<'_>, fields: &Fields, scenario: &Scenario) {
    let at = fields.place("kind");
    if !matches!(scenario.brokers, 1 | 3) {
        let message = format!("no lane has {} brokers that are processes", scenario.brokers);
        walker.refuse(&at, message, Some("the lane `kafka` starts 1 or 3".to_owned()));
    }
    if scenario.listener != Listener::Plaintext {
        let message = "brokers that are harmed have a plaintext listener only";
        walker.refuse(&at, message, Some("drop `listener`".to_owned()));
    }
}

fn whom(walker: &mut Walker<'_>, fields: &Fields, fault: &ProcessFault, scenario: &Scenario) {
    if fault.brokers == Brokers::Leader && scenario.brokers == 1 {
        let message = "the one broker of the cluster leads everything";
        walker.refuse(&fields.place("brokers"), message, Some("write brokers = [1]".to_owned()));
    }
    if fault.partition >= scenario.partitions {
        let message = format!("there is no partition {}", fault.partition);
        let help = format!("partitions are 0 to {}", scenario.partitions - 1);
        walker.refuse(&fields.place("partition"), message, Some(help));
    }
    let named = fields.values.contains_key("partition");
    let meant = fault.brokers == Brokers::Leader
        || matches!(fault.strike, Strike::DiskFull { log_dirs } if log_dirs > 1);
    if named && !meant {
        let message = "`partition` says whose leader is meant, and none is";
        let help = "write brokers = \"leader\", or drop `partition`".to_owned();
        walker.refuse(&fields.place("partition"), message, Some(help));
    }
}

fn how_long(
    walker: &mut Walker<'_>,
    fields: &Fields,
    fault: &ProcessFault,
    scenario: &Scenario,
    index: usize,
) {
    let has = |key: &str| fields.values.contains_key(key);
    let Some(own) = scenario.faults.get(index) else { return };
    let lasts = match (own.lasts, fault.rolling) {
        (Some(lasts), None) if !has("down") && !has("up") => lasts,
        (None, Some((down, up))) => {
            let brokers = match &fault.brokers {
                Brokers::All => usize::try_from(scenario.brokers).unwrap_or(usize::MAX),
                Brokers::Ids(ids) => ids.len(),
                Brokers::Leader => 1,
            };
            if brokers < 2 {
                let message = "one broker after the other needs more than one";
                let help = "name several `brokers`, or write `for`".to_owned();
                walker.refuse(&fields.place("down"), message, Some(help));
            }
            (down + up) * u32::try_from(brokers).unwrap_or(u32::MAX)
        }
        (Some(_), _) => {
            let message = "`for` says how long all are harmed at once, `down` and `up` for how \
                           long each is, one after the other";
            let key = if has("down") { "down" } else { "up" };
            let help = match fault.strike {
                Strike::Kill | Strike::Stop => {
                    "drop `for`: it ends when every broker had its turn; or drop `down` and `up`"
                }
                _ => "drop `down` and `up`",
            };
            return walker.refuse(&fields.place(key), message, Some(help.to_owned()));
        }
        (None, _) if has("down") != has("up") => {
            let (has, lacks) = if has("down") { ("down", "up") } else { ("up", "down") };
            let message = format!("`{has}` without `{lacks}`");
            let help = format!("add `{lacks}`, or write `for` in the place of `{has}`");
            return walker.refuse(&fields.place(has), message, Some(help));
        }
        _ => {
            let message = "this fault needs either `for`, or `down` and `up`";
            let help = "`for` for all at once, `down` and `up` for one after the other".to_owned();
            return walker.refuse(&fields.at, message, Some(help));
        }
    };
    let At::Time(at) = own.at else {
        if !fault.spread.is_zero() {
            let message = "`spread` needs a moment that is a time";
            let help = "write at = \"2s\", or drop `spread`".to_owned();
            walker.refuse(&fields.place("spread"), message, Some(help));
        }
        return;
    };
    let end = at.saturating_add(fault.spread).saturating_add(lasts);
    let told = own.lasts.is_some_and(|lasts| at.saturating_add(lasts) > scenario.budget);
    if end > scenario.budget && !told {
        let message = format!(
            "this fault may end at {}, after the budget of {}",
            humantime::format_duration(end),
            humantime::format_duration(scenario.budget)
        );
        walker.refuse(&fields.at, message, Some("raise `budget`".to_owned()));
    }
}
