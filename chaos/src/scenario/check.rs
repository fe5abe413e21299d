//! Combinations that no run can honour, and names that do not fit together.

use std::time::Duration;

use dashproof_reference::config::ProducerConfig;

use super::model::{
    ActionKind, At, Brokers, FaultKind, LaneName, Laws, LinkFault, Load, PROCESS_BUDGET, Scenario,
};
use super::process;
use super::secured;
use super::subjects;
use super::value::Fields;
use super::walk::Walker;
use crate::oracle::lanes::judging;
use crate::oracle::{LawId, marks};

/// Longest budget of a file that lists a lane in real time.
pub const REAL_TIME_BUDGET: Duration = Duration::from_secs(12);

/// Refuses what does not fit together.
pub(crate) fn check(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    lanes(walker, root, scenario);
    subjects::check(walker, root, scenario);
    subjects::asked(walker, root, scenario);
    cluster(walker, root, scenario);
    producer(walker, root, scenario);
    secured::check(walker, root, scenario);
    times(walker, root, scenario);
    faults(walker, root, scenario);
    process::check(walker, root, scenario);
    met(walker, root, scenario);
    if !walker.incomplete {
        handles(walker, root, scenario);
        life(walker, root, scenario);
        expectations(walker, root, scenario);
    }
}

fn secs(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

fn lanes(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    if root.values.contains_key("lanes") && scenario.lanes.is_empty() {
        let help = match (&scenario.checkpoint, &scenario.state) {
            (None, None) => "add `sim`",
            _ => "add `disk`",
        };
        walker.refuse(&root.place("lanes"), "a scenario needs a lane", Some(help.to_owned()));
    }
    if scenario.aliases.contains(&scenario.id) {
        walker.refuse(
            &root.place("aliases"),
            "the id is no alias of itself",
            Some("drop it".into()),
        );
    }
    let real = scenario.lanes.iter().find(|lane| lane.is_real_time());
    let most = if scenario.is_alone() { PROCESS_BUDGET } else { REAL_TIME_BUDGET };
    if let Some(lane) = real.filter(|_| scenario.budget > most) {
        let message = format!(
            "a budget of {} is too long for the lane `{}`, which runs in real time",
            secs(scenario.budget),
            lane.as_str()
        );
        let other = if scenario.is_alone() { "" } else { ", or sim only" };
        let help = format!("at most {}{other}", secs(most));
        walker.refuse(&root.place("budget"), message, Some(help));
    }
    if !(Duration::from_millis(1)..=Duration::from_millis(100)).contains(&scenario.tick) {
        let help = "from 1ms to 100ms".to_owned();
        let message = format!("a tick of {} is out of range", secs(scenario.tick));
        walker.refuse(&root.place("tick"), message, Some(help));
    }
}

fn cluster(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    let Some(fields) = root.table("cluster") else { return };
    if scenario.min_insync > scenario.brokers {
        let message = format!(
            "min_insync {} cannot be met by {} broker(s)",
            scenario.min_insync, scenario.brokers
        );
        walker.refuse(&fields.place("min_insync"), message, Some("at most `brokers`".into()));
    }
}

/// The producer's settings are the reference's to judge: there is no second list of them here.
fn producer(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    let Some(node) = root.table("subject").and_then(Fields::producer) else { return };
    let Err(error) = ProducerConfig::from_json(&scenario.producer) else { return };
    for problem in error.problems {
        // what a build lacks is no fault of the file; the lane says it
        let lacking = !cfg!(feature = "gssapi") && scenario.listener.is_kerberos();
        if lacking && problem.key == "security.sasl.mechanism" {
            continue;
        }
        let entry = node.find(&problem.key);
        let unknown = problem.reason.starts_with("unknown");
        let at = match entry {
            Some(entry) if unknown => entry.key_at.clone(),
            Some(entry) => entry.node.at.clone(),
            None => node.at.clone(),
        };
        let message = format!("`{}` in [subject.producer]: {}", problem.key, problem.reason);
        walker.refuse(&at, message, Some(problem.remedy));
    }
}

/// What a load of any kind offers.
fn offers(load: &Load) -> u32 {
    load.events.max(load.states.as_ref().map_or(0, |states| states.count))
}

/// A run without a load proves nothing, and a lane that is excused must be one of the file's.
fn met(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    if root.tables("load").is_empty() && !walker.incomplete {
        let message = "the scenario has no [[load]]: a run that offers nothing proves nothing";
        let what = subjects::offers(scenario);
        walker.refuse(&root.at, message, Some(format!("add a [[load]] with `{what}`")));
    }
    for (fields, fault) in root.tables("fault").iter().zip(&scenario.faults) {
        if !scenario.lanes.is_empty()
            && scenario.lanes.iter().all(|lane| fault.unmet_on.contains_key(lane))
        {
            let message = "a fault that is met on no lane of this file tests nothing";
            walker.refuse(&fields.place("unmet_on"), message, Some("drop the fault".to_owned()));
        }
        for lane in fault.unmet_on.keys().filter(|lane| !scenario.lanes.contains(lane)) {
            let place = fields
                .table("unmet_on")
                .map_or_else(|| fields.at.clone(), |unmet| unmet.place(lane.as_str()));
            let message = format!("`{}` is no lane of this file", lane.as_str());
            walker.refuse(&place, message, Some("drop it, or list the lane".to_owned()));
        }
    }
}

/// Nothing may be planned after the run is cut.
fn times(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    let budget = scenario.budget;
    let mut late = |fields: &Fields, key: &str, end: Duration, what: &str| {
        if end > budget {
            let message = format!("{what} at {}, after the budget of {}", secs(end), secs(budget));
            walker.refuse(&fields.place(key), message, Some("raise `budget`".to_owned()));
        }
    };
    for (fields, load) in root.tables("load").iter().zip(&scenario.loads) {
        let At::Time(at) = load.at else { continue };
        let lasts = load.rate.map_or(0.0, |rate| f64::from(offers(load)) / rate);
        let lasts = Duration::try_from_secs_f64(lasts).unwrap_or(Duration::MAX);
        late(fields, "rate", at.saturating_add(lasts), "this load ends");
    }
    for (fields, fault) in root.tables("fault").iter().zip(&scenario.faults) {
        let At::Time(at) = fault.at else { continue };
        match fault.lasts {
            Some(lasts) => late(fields, "for", at + lasts, "this fault ends"),
            None => late(fields, "at", at, "this fault starts"),
        }
    }
    for (fields, action) in root.tables("action").iter().zip(&scenario.actions) {
        let At::Time(at) = action.at else { continue };
        late(fields, "at", at, "this action starts");
    }
}

fn faults(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    for (fields, fault) in root.tables("fault").iter().zip(&scenario.faults) {
        fault_alone(walker, fields, &fault.kind, scenario);
        if let (FaultKind::BrokerFlap { down, up, .. }, Some(lasts)) = (&fault.kind, fault.lasts)
            && *down + *up > lasts
        {
            let message = format!("one turn takes {}, longer than the fault", secs(*down + *up));
            walker.refuse(
                &fields.place("for"),
                message,
                Some("raise `for`, or lower `down` or `up`".into()),
            );
        }
    }
}

fn fault_alone(walker: &mut Walker<'_>, fields: &Fields, kind: &FaultKind, scenario: &Scenario) {
    if let Brokers::Ids(ids) = fields.brokers() {
        for id in ids.iter().filter(|id| i64::from(**id) > i64::from(scenario.brokers)) {
            let message = format!("there is no broker {id}");
            let help = format!("ids are 1 to {}", scenario.brokers);
            walker.refuse(&fields.place("brokers"), message, Some(help));
        }
    }
    match kind {
        FaultKind::NetLatency { base, jitter, tail, tail_share, .. } => {
            if base.is_zero() && jitter.is_zero() && tail.is_zero() {
                let help = "give `base`, `jitter` or `tail`".to_owned();
                walker.refuse(&fields.at, "this latency adds nothing", Some(help));
            }
            if tail.is_zero() != (*tail_share == 0.0) {
                let message = "`tail` and `tail_share` need each other";
                walker.refuse(&fields.at, message, Some("give both or neither".into()));
            }
        }
        FaultKind::Link(LinkFault::Bandwidth { bytes_per_second: 0, .. }) => {
            let help = "a link that carries nothing is a `net.partition`".to_owned();
            walker.refuse(&fields.place("bytes"), "0 bytes per second", Some(help));
        }
        FaultKind::RequestError { code: 0, .. } => {
            let help = "name an error, as in \"NOT_LEADER_OR_FOLLOWER\"".to_owned();
            walker.refuse(&fields.place("code"), "code 0 is no error", Some(help));
        }
        FaultKind::RequestError { api, after_append: true, .. } if api != "Produce" => {
            let message = format!("{api} appends nothing");
            walker.refuse(&fields.place("after_append"), message, Some("only Produce does".into()));
        }
        FaultKind::LeaderMoved { .. } | FaultKind::BrokerRollingRestart { .. }
            if scenario.brokers < 2 =>
        {
            let help = "raise `brokers` in [cluster]".to_owned();
            walker.refuse(
                &fields.place("kind"),
                "leaders cannot move in a cluster of one",
                Some(help),
            );
        }
        _ => {}
    }
}

/// A handle is used or dropped only if a clone makes it.
fn handles(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    let clones = scenario.actions.iter().filter(|a| a.kind == ActionKind::Clone).count();
    let mut unknown = |fields: &Fields, handle: u32| {
        if handle as usize > clones {
            let message = format!("there is no handle {handle}");
            let help = match clones {
                0 => "there is no `clone` action, so 0 is the only handle".to_owned(),
                _ => format!("the `clone` actions make handles 1 to {clones}"),
            };
            walker.refuse(&fields.place("handle"), message, Some(help));
        }
    };
    for (fields, load) in root.tables("load").iter().zip(&scenario.loads) {
        unknown(fields, load.handle);
    }
    for (fields, action) in root.tables("action").iter().zip(&scenario.actions) {
        if let ActionKind::Drop { handle } = action.kind {
            unknown(fields, handle);
        }
    }
}

/// Walks through the producer's life as far as times tell it, and refuses an `open` of what is
/// open, and any other call between a crash and the next `open`.
fn life(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    enum Step<'a> {
        Crash,
        Action(&'a ActionKind),
    }
    let time = |at: &At| match at {
        At::Time(time) => Some(*time),
        At::Offered(_) | At::Unanswered(_) => None,
    };
    let crashes = root.tables("fault").iter().zip(&scenario.faults);
    let crashes = crashes
        .filter(|(_, fault)| matches!(fault.kind, FaultKind::SubjectCrash(_)))
        .map(|(fields, fault)| (time(&fault.at), fields, Step::Crash));
    let actions = root.tables("action").iter().zip(&scenario.actions);
    let actions = actions.map(|(fields, a)| (time(&a.at), fields, Step::Action(&a.kind)));
    let mut steps: Vec<_> = crashes.chain(actions).collect();
    if steps.iter().any(|(at, ..)| at.is_none()) {
        return; // their order is known at run time only
    }
    steps.sort_by_key(|(at, ..)| *at);
    let (mut alive, mut ended, mut handles) = (true, false, 1_u32);
    for (_, fields, step) in steps {
        match step {
            Step::Crash => (alive, ended, handles) = (false, true, 0),
            Step::Action(ActionKind::Open) if !ended => {
                let help = "a crash, a close or the last drop must come first".to_owned();
                walker.refuse(&fields.at, "`open` of a producer that is open", Some(help));
            }
            Step::Action(ActionKind::Open) => (alive, ended, handles) = (true, false, 1),
            Step::Action(kind) if !alive => {
                let message = format!("`{}` after the producer is gone", kind.name());
                walker.refuse(&fields.at, message, Some("`open` it again before".to_owned()));
            }
            Step::Action(ActionKind::Close { .. }) => ended = true,
            Step::Action(ActionKind::Clone) => handles += 1,
            Step::Action(ActionKind::Drop { .. }) => {
                handles = handles.saturating_sub(1);
                (alive, ended) = (handles > 0, ended || handles == 0);
            }
            Step::Action(_) => {}
        }
    }
}

fn expectations(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    let Some(fields) = root.table("expect") else { return };
    for (mark, at) in fields.list_with_places("reached") {
        let shown = |lane: &LaneName| marks::mark(mark).is_some_and(|m| m.is_judged(*lane));
        if !scenario.lanes.is_empty() && !scenario.lanes.iter().any(shown) {
            let message = format!("no lane of this file can show the mark `{mark}`");
            walker.refuse(at, message, Some("drop it, or list a lane that can".to_owned()));
        }
        let Some(kind) = mark.strip_prefix("fault.") else { continue };
        if !scenario.faults.iter().any(|fault| fault.kind.name() == kind) {
            let message = format!("`{mark}` cannot be reached: the file has no fault `{kind}`");
            walker.refuse(at, message, Some("add the fault or drop the mark".to_owned()));
        }
    }
    if scenario.lanes.iter().any(|lane| lane.is_of_stores())
        && fields.values.contains_key("outcomes")
    {
        let message = "stores and state diffs have no outcomes: the bounds would say nothing";
        walker.refuse(&fields.place("outcomes"), message, Some("drop them".to_owned()));
    }
    if let Laws::These(laws) = &scenario.expect.laws {
        for law in laws.iter().filter_map(|name| LawId::from_name(name)) {
            if !scenario.lanes.is_empty()
                && !scenario.lanes.iter().any(|lane| judging(law, *lane).is_judged())
            {
                let message = format!("no lane of this file judges the law `{law}`");
                let help = "drop it, or list a lane that does".to_owned();
                walker.refuse(&fields.place("laws"), message, Some(help));
            }
        }
    }
    if fields.values.contains_key("recovery") && scenario.faults.is_empty() {
        let message = "`recovery` without a fault to recover from";
        walker.refuse(
            &fields.place("recovery"),
            message,
            Some("drop it, or add a [[fault]]".into()),
        );
    }
    for lane in scenario.expect.on.keys().filter(|lane| !scenario.lanes.contains(lane)) {
        let place =
            fields.table("on").map_or_else(|| fields.at.clone(), |on| on.place(lane.as_str()));
        let message =
            format!("expectations for `{}`, which is no lane of this file", lane.as_str());
        walker.refuse(&place, message, Some("drop them, or list the lane".to_owned()));
    }
    let is_crash = |kind: &FaultKind| matches!(kind, FaultKind::SubjectCrash(_));
    let crashes = scenario.faults.iter().any(|fault| is_crash(&fault.kind));
    if fields.values.contains_key("lost_in_crash") && !crashes {
        let message = "`lost_in_crash` without a `subject.crash`";
        walker.refuse(
            &fields.place("lost_in_crash"),
            message,
            Some("drop it, or add the fault".into()),
        );
    }
}

impl LaneName {
    /// True where a second is a second of the machine.
    #[must_use]
    pub const fn is_real_time(self) -> bool {
        match self {
            Self::Sim | Self::Disk => false,
            Self::Files | Self::Wire | Self::Mock | Self::Kafka | Self::External => true,
        }
    }

    /// True where there are stores and no brokers.
    #[must_use]
    pub const fn is_of_stores(self) -> bool {
        matches!(self, Self::Disk | Self::Files)
    }
}
