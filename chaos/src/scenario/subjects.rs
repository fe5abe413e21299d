//! What a producer, a store and a maker of state diffs can be given, can meet and can be asked:
//! each its own, and a file is about one of them.

use std::time::Duration;

use super::model::{
    ActionKind, At, Crash, FaultKind, FsFault, LaneName, Load, Scenario, Size, StateLoad,
};
use super::state::SMALLEST;
use super::store::is_untyped;
use super::value::Fields;
use super::walk::Walker;
use crate::fault::can_inject;

/// Messages, over all threads, whose loss can still be reported.
pub(crate) const REPORTABLE: usize = 64;

/// Keys of a load that only states have.
const OF_STATES: &[&str] = &["shape", "defect", "depth", "every"];

/// Whom a file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Producer,
    Store,
    Differ,
}

impl Who {
    fn of(scenario: &Scenario) -> Self {
        match (&scenario.checkpoint, &scenario.state) {
            (Some(_), _) => Self::Store,
            (None, Some(_)) => Self::Differ,
            (None, None) => Self::Producer,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Producer => "a producer",
            Self::Store => "a checkpointer",
            Self::Differ => "a maker of state diffs",
        }
    }

    /// The key that says how much a load of it has, and what the others would have.
    const fn load(self) -> (&'static str, &'static str) {
        match self {
            Self::Producer => ("events", "`saves`"),
            Self::Store => ("saves", "`events`"),
            Self::Differ => ("states", "`events` or `saves`"),
        }
    }

    const fn meets(self, kind: &FaultKind) -> bool {
        match kind {
            FaultKind::SubjectCrash(_) => !matches!(self, Self::Differ),
            FaultKind::Fs(FsFault::Error { .. } | FsFault::Full { .. }) => {
                matches!(self, Self::Store | Self::Producer)
            }
            FaultKind::Fs(_) => matches!(self, Self::Store),
            FaultKind::DiffLost { .. } => matches!(self, Self::Differ),
            _ => matches!(self, Self::Producer),
        }
    }

    const fn runs_on(self, lane: LaneName) -> bool {
        match self {
            Self::Producer => !lane.is_of_stores(),
            Self::Store => lane.is_of_stores(),
            Self::Differ => matches!(lane, LaneName::Disk),
        }
    }

    const fn has(self, kind: &ActionKind) -> bool {
        match kind {
            ActionKind::Open | ActionKind::Close { .. } => !matches!(self, Self::Differ),
            ActionKind::Store(_) => matches!(self, Self::Store),
            _ => matches!(self, Self::Producer),
        }
    }
}

/// Different subjects run on different lanes, and have different loads, faults and actions.
pub(super) fn check(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    let who = Who::of(scenario);
    if scenario.checkpoint.is_some() && scenario.state.is_some() {
        let at = root.table("subject").map_or_else(|| root.at.clone(), |s| s.place("state"));
        let help = "split it into two scenarios".to_owned();
        walker.refuse(&at, "a file is about one subject", Some(help));
    }
    for lane in scenario.lanes.iter().filter(|lane| !who.runs_on(**lane)) {
        let (message, help) = match (who, *lane) {
            (Who::Producer, LaneName::Disk) => (
                "the lane `disk` needs a store or state diffs".to_owned(),
                "add [subject.checkpoint] or [subject.state]",
            ),
            (Who::Producer, _) => {
                (format!("the lane `{}` needs a store", lane.as_str()), "add [subject.checkpoint]")
            }
            (Who::Store, _) => (
                format!("{} cannot run on `{}`", who.name(), lane.as_str()),
                "list the lanes `disk` and `files`",
            ),
            (Who::Differ, _) => (
                format!("{} cannot run on `{}`", who.name(), lane.as_str()),
                "list the lane `disk`",
            ),
        };
        walker.refuse(&root.place("lanes"), message, Some(help.to_owned()));
    }
    others(walker, root, who);
    for (fields, load) in root.tables("load").iter().zip(&scenario.loads) {
        load_of(walker, fields, load, who);
        if who == Who::Store {
            saves_of(walker, fields, load, scenario);
        }
    }
    if who != Who::Producer {
        no_unanswered(walker, root, scenario);
    }
    for (fields, fault) in root.tables("fault").iter().zip(&scenario.faults) {
        if !who.meets(&fault.kind) {
            let message =
                format!("`{}` is no fault that {} can meet", fault.kind.name(), who.name());
            let help = "the manual's table of faults lists the lanes of each".to_owned();
            walker.refuse(&fields.place("kind"), message, Some(help));
        }
        if who == Who::Producer && matches!(fault.kind, FaultKind::Fs(_)) {
            of_spool(walker, fields, &fault.kind, scenario);
        }
        nowhere(walker, fields, &fault.kind, (who, scenario));
        match &fault.kind {
            FaultKind::Fs(FsFault::Error { op, error, .. }) => fits(walker, fields, op, error),
            FaultKind::Fs(FsFault::Damage { file, how })
                if file == "directory" && how != "deleted" =>
            {
                let message = format!("a directory is not damaged by `{how}`");
                let help = "write how = \"deleted\", or name files".to_owned();
                walker.refuse(&fields.place("how"), message, Some(help));
            }
            FaultKind::SubjectCrash(crash) => crash_of(walker, fields, crash, who),
            FaultKind::Fs(FsFault::FullEvery) => every_of(walker, fields, scenario),
            _ => {}
        }
        reported(walker, fields, &fault.kind, scenario);
    }
}

/// The only files of a producer are those of its spool, which is written once and never renamed.
fn of_spool(walker: &mut Walker<'_>, fields: &Fields, kind: &FaultKind, scenario: &Scenario) {
    if matches!(kind, FaultKind::Fs(FsFault::Error { op, .. }) if op == "rename") {
        let message = "a spool renames nothing".to_owned();
        let help = "create, write, sync, sync_dir, remove, list, read and lock are what it does";
        walker.refuse(&fields.place("op"), message, Some(help.to_owned()));
    }
    if scenario.producer.pointer("/spool/directory").is_some_and(serde_json::Value::is_string) {
        return;
    }
    let message = "a producer without a spool has no files that could fail".to_owned();
    let help =
        "give it one: under [subject.producer], spool = { directory = \"/spool\" }".to_owned();
    walker.refuse(&fields.place("kind"), message, Some(help));
}

/// A fault that no lane of the file can inject.
fn nowhere(
    walker: &mut Walker<'_>,
    fields: &Fields,
    kind: &FaultKind,
    (who, scenario): (Who, &Scenario),
) {
    let able = |lane: &LaneName| can_inject(*lane, kind);
    if who.meets(kind)
        && let Some(Err(why)) = scenario.lanes.first().map(able)
        && scenario.lanes.iter().all(|lane| who.runs_on(*lane) && able(lane).is_err())
    {
        let message = format!("no lane of this file has `{}`: {why}", kind.name());
        let help = "list a lane that has it, as the manual's table of faults says".to_owned();
        walker.refuse(&fields.place("kind"), message, Some(help));
    }
}

/// A loss must be told while the subject still knows the message.
fn reported(walker: &mut Walker<'_>, fields: &Fields, kind: &FaultKind, scenario: &Scenario) {
    let FaultKind::DiffLost { reported_after, .. } = *kind else { return };
    let threads = scenario.loads.iter().map(|load| load.threads as usize).max().unwrap_or(1);
    if (reported_after as usize + 1) * threads <= REPORTABLE {
        return;
    }
    let message = format!(
        "a loss among {threads} thread(s) that is told {reported_after} states later is \
         forgotten by then"
    );
    let most = REPORTABLE / threads.max(1);
    let help = format!("at most {}", most.saturating_sub(1));
    walker.refuse(&fields.place("reported_after"), message, Some(help));
}

/// What only a producer has.
fn others(walker: &mut Walker<'_>, root: &Fields, who: Who) {
    if who == Who::Producer {
        return;
    }
    let subject = root.table("subject");
    let producer = subject.filter(|subject| subject.values.contains_key("producer"));
    let brokers = root.values.contains_key("cluster").then_some((root, "cluster"));
    for (fields, key) in producer.map(|fields| (fields, "producer")).into_iter().chain(brokers) {
        let message = format!("`{key}` says nothing to {}", who.name());
        walker.refuse(&fields.place(key), message, Some("leave it out".to_owned()));
    }
}

/// The run is played again and again, each time on a disk of its own, which only `disk` has.
fn every_of(walker: &mut Walker<'_>, fields: &Fields, scenario: &Scenario) {
    let every = FaultKind::Fs(FsFault::FullEvery);
    let refusals = [
        (
            scenario.lanes.iter().any(|lane| *lane != LaneName::Disk),
            "only the lane `disk` can try every byte count",
            "list `disk` alone, or give `free` a number",
        ),
        (
            scenario.faults.iter().filter(|fault| fault.kind == every).count() > 1,
            "only one fault can be tried with every byte count",
            "give the others a number",
        ),
        (
            scenario.faults.iter().any(|f| matches!(f.kind, FaultKind::SubjectCrash(_))),
            "a crash puts another disk in the place of the one that is full",
            "leave out the `subject.crash`, or give `free` a number",
        ),
    ];
    for (_, message, help) in refusals.into_iter().filter(|(refused, ..)| *refused) {
        walker.refuse(&fields.place("free"), message, Some(help.to_owned()));
    }
}

/// Two failures are of one call each.
fn fits(walker: &mut Walker<'_>, fields: &Fields, op: &str, error: &str) {
    let only = match error {
        "short" => "write",
        "lost_pages" => "sync",
        _ => return,
    };
    if op != only {
        let message = format!("`{op}` cannot fail with `{error}`");
        walker.refuse(&fields.place("error"), message, Some(format!("it is for op = \"{only}\"")));
    }
}

/// Calls of a store, and states, end one by one.
fn no_unanswered(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    let all = [
        ("load", scenario.loads.iter().map(|load| &load.at).collect::<Vec<_>>()),
        ("fault", scenario.faults.iter().map(|fault| &fault.at).collect()),
        ("action", scenario.actions.iter().map(|action| &action.at).collect()),
    ];
    for (table, moments) in all {
        let tables = root.tables(table).iter().zip(moments);
        for (fields, _) in tables.filter(|(_, at)| matches!(at, At::Unanswered(_))) {
            let message = "nothing is ever unanswered here: calls end one by one";
            let help = "write a time, or { offered = N }".to_owned();
            walker.refuse(&fields.place("at"), message, Some(help));
        }
    }
}

/// Who saves, and when: others are there before the run.
fn saves_of(walker: &mut Walker<'_>, fields: &Fields, load: &Load, scenario: &Scenario) {
    let given = |key: &str| fields.values.contains_key(key);
    let writer = load.writer.as_str();
    let old = writer.starts_with("v1-");
    if load.at_once {
        at_once(walker, fields, load, scenario);
    }
    if given("dated") && !old {
        let message = "only version 1 can be told when it wrote";
        let help = "set the clock with `clock.forward` or `clock.back`".to_owned();
        walker.refuse(&fields.place("dated"), message, Some(help));
    }
    if old && given("ids") {
        let message = "version 1 makes its own ids";
        walker.refuse(&fields.place("ids"), message, Some("leave it out".to_owned()));
    }
    if writer != "subject" && (given("rate") || load.at != At::Time(Duration::ZERO)) {
        let key = if given("rate") { "rate" } else { "at" };
        let message = format!("`{writer}` writes before the run");
        walker.refuse(&fields.place(key), message, Some("leave it out".to_owned()));
    }
    if old && scenario.loads.iter().any(|load| load.writer == "earlier") {
        let message = "version 1 and the subject itself cannot both have written before the run";
        let help = "leave one out: what the subject saves in the run comes after version 1";
        walker.refuse(&fields.place("writer"), message, Some(help.to_owned()));
    }
    let typed = scenario.checkpoint.as_ref().is_some_and(|c| c.variant == "versioned");
    if is_untyped(writer) && typed {
        let message = format!("`{writer}` says nothing of its states' schema: no migration fits");
        let help = "write variant = \"each\", or writer = \"v1-versioned\"".to_owned();
        walker.refuse(&fields.place("writer"), message, Some(help));
    }
}

/// Saves at the same moment need real threads, each with a thread id of its own.
fn at_once(walker: &mut Walker<'_>, fields: &Fields, load: &Load, scenario: &Scenario) {
    let refusals = [
        (
            scenario.lanes.iter().any(|lane| *lane != LaneName::Files),
            "only the lane `files` has real threads that save at once",
            "list `files` alone",
        ),
        (load.threads < 2, "one thread id alone saves nothing at once", "write threads = 8"),
        (
            load.writer != "subject" || load.ids != "generated",
            "what is saved at once is saved by the subject, under ids of its own",
            "leave out `writer` and `ids`",
        ),
    ];
    for (_, message, help) in refusals.into_iter().filter(|(refused, ..)| *refused) {
        walker.refuse(&fields.place("at_once"), message, Some(help.to_owned()));
    }
}

/// Only of a store can be said where it dies.
fn crash_of(walker: &mut Walker<'_>, fields: &Fields, crash: &Crash, who: Who) {
    let keys = ["during", "phase", "nth"];
    let given = |key: &&str| fields.values.contains_key(*key);
    if who != Who::Store {
        for key in keys.iter().filter(|key| given(key)) {
            let message = format!("`{key}` is about stores: {} just dies", who.name());
            walker.refuse(&fields.place(key), message, Some("leave it out".to_owned()));
        }
    } else if given(&"nth") && crash.phase.is_none() {
        let message = "`nth` says which operation of a `phase`, and there is none";
        let help = "add `phase`, as in \"after rename\"".to_owned();
        walker.refuse(&fields.place("nth"), message, Some(help));
    }
}

/// The key of a load that says how much there is of it.
pub(super) fn offers(scenario: &Scenario) -> &'static str {
    Who::of(scenario).load().0
}

/// What is asked of each.
pub(super) fn asked(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    let who = Who::of(scenario);
    for (fields, action) in root.tables("action").iter().zip(&scenario.actions) {
        if !who.has(&action.kind) {
            let message = format!("{} has no `{}`", who.name(), action.kind.name());
            let help = "drop the action, or change the subject".to_owned();
            walker.refuse(&fields.place("kind"), message, Some(help));
        }
    }
}

fn load_of(walker: &mut Walker<'_>, fields: &Fields, load: &Load, who: Who) {
    let given = |key: &str| fields.values.contains_key(key);
    let (wanted, other) = who.load();
    let has = match who {
        Who::Producer => load.events > 0 && load.saves == 0,
        Who::Store => load.saves > 0 && load.events == 0,
        Who::Differ => load.states.is_some() && load.saves == 0 && load.events == 0,
    };
    if !has {
        let message = format!("[[load]] needs `{wanted}` here, and no {other}");
        let help = format!("write `{wanted} = 100`, or change the subject");
        walker.refuse(&fields.at, message, Some(help));
    }
    if who == Who::Producer {
        for key in ["ids", "writer", "dated", "at_once"].into_iter().filter(|key| given(key)) {
            let message = format!("`{key}` is about checkpoints");
            walker.refuse(&fields.place(key), message, Some("add [subject.checkpoint]".to_owned()));
        }
    }
    if who != Who::Differ {
        for key in ["states"].iter().chain(OF_STATES).filter(|key| given(key)) {
            let message = format!("`{key}` is about state diffs");
            walker.refuse(&fields.place(key), message, Some("add [subject.state]".to_owned()));
        }
        return;
    }
    for key in ["ids", "writer", "dated", "at_once", "handle", "message"]
        .into_iter()
        .filter(|key| given(key))
    {
        let message = format!("`{key}` says nothing about states");
        walker.refuse(&fields.place(key), message, Some("leave it out".to_owned()));
    }
    if let Some(states) = &load.states {
        states_of(walker, fields, load, states);
    }
}

fn states_of(walker: &mut Walker<'_>, fields: &Fields, load: &Load, states: &StateLoad) {
    let ranged = matches!(load.size, Size::Uniform(..));
    let varies = matches!(states.shape.as_str(), "growing" | "alternating");
    if varies && !ranged {
        let message = format!("states that are {} need two sizes", states.shape);
        let help = "write size = { uniform = [MIN, MAX] }".to_owned();
        walker.refuse(&fields.place("size"), message, Some(help));
    }
    // The nested entry has two brackets for each level, and its name.
    let nested = states.depth.map_or(0, |depth| 2 * depth as usize + 16);
    let smallest = match load.size {
        Size::Fixed(bytes) | Size::Uniform(bytes, _) => bytes,
    };
    if smallest < SMALLEST + nested {
        let message = format!("a state of {smallest} bytes has no room for what it must hold");
        let help = format!("at least {} bytes here", SMALLEST + nested);
        walker.refuse(&fields.place("size"), message, Some(help));
    }
    if fields.values.contains_key("every") && states.defect.is_none() && states.depth.is_none() {
        let message = "`every` says which states have a `defect` or a `depth`, and there is none";
        walker.refuse(&fields.place("every"), message, Some("leave it out".to_owned()));
    }
}
