//! A scenario in words.

mod processes;
mod states;
mod stores;

use std::time::Duration;

use crate::scenario::model::{
    Action, ActionKind, Amount, At, Bound, Brokers, Cmp, Fault, FaultKind, Laws, LinkFault,
    Listener, Load, Refused, Scenario, Size, SpoolDamage, TopicSel,
};
use crate::scenario::security;
use crate::subject::secrets::masked;

/// What happens, what must hold, and why it is tested, as text for a terminal.
#[must_use]
pub fn scenario(scenario: &Scenario) -> String {
    let mut out = format!("{}\n  {}\n\n", scenario.id, scenario.summary);
    let lanes: Vec<&str> = scenario.lanes.iter().map(|lane| lane.as_str()).collect();
    let mut fact = |name: &str, text: String| {
        if !text.is_empty() {
            out.push_str(&format!("  {name:9} {text}\n"));
        }
    };
    fact("file", scenario.path.clone());
    fact("since", scenario.since.clone());
    fact("aliases", scenario.aliases.join(", "));
    fact("guards", scenario.guards.join(", "));
    fact("tags", scenario.tags.join(", "));
    fact("lanes", lanes.join(", "));
    fact("budget", span(scenario.budget));
    if let Some(checkpoint) = &scenario.checkpoint {
        fact("store", stores::subject(checkpoint));
    } else if let Some(state) = &scenario.state {
        fact("states", states::subject(state));
    } else {
        fact("cluster", cluster(scenario));
        fact("producer", producer(&scenario.producer));
        fact("files", made(&scenario.producer));
    }
    section(&mut out, "what happens", &timeline(scenario));
    section(&mut out, "what must hold", &expectations(scenario));
    out
}

fn cluster(scenario: &Scenario) -> String {
    format!(
        "{}, {} partitions, min.insync {}{}{}",
        if scenario.brokers == 1 {
            "1 broker".to_owned()
        } else {
            format!("{} brokers", scenario.brokers)
        },
        scenario.partitions,
        scenario.min_insync,
        match scenario.listener {
            Listener::Plaintext => String::new(),
            secured => format!(", listener `{}`: {}", secured.name(), secured.about()),
        },
        if scenario.auto_create { "" } else { ", topics are not created on demand" }
    )
}

fn section(out: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        out.push_str(&format!("\n  {title}\n"));
        for line in lines {
            out.push_str(&format!("    {line}\n"));
        }
    }
}

fn span(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

fn producer(settings: &serde_json::Value) -> String {
    match masked(settings).as_object().filter(|map| !map.is_empty()) {
        None => "defaults".to_owned(),
        Some(map) => {
            let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k} = {v}")).collect();
            pairs.join(", ")
        }
    }
}

/// Files that the run makes for the subject.
fn made(settings: &serde_json::Value) -> String {
    let mut files = security::places(settings);
    files.sort_unstable();
    let files: Vec<String> =
        files.iter().map(|f| format!("{f} ({})", security::about(f))).collect();
    files.join(", ")
}

fn moment(at: &At) -> String {
    match at {
        At::Time(time) => format!("at {}", span(*time)),
        At::Offered(1) => "after 1 event".to_owned(),
        At::Offered(n) => format!("after {n} events"),
        At::Unanswered(n) => format!("at {n} unanswered"),
    }
}

fn timeline(scenario: &Scenario) -> Vec<String> {
    let loads = scenario.loads.iter().map(|l| (&l.at, load(l)));
    let faults = scenario.faults.iter().map(|f| (&f.at, format!("{}{}", fault(f), unmet(f))));
    let actions = scenario.actions.iter().map(|a| (&a.at, action(a)));
    let mut all: Vec<(&At, String)> = loads.chain(faults).chain(actions).collect();
    // Moments without a time come last: when they come is known at run time only.
    all.sort_by_key(|(at, _)| match at {
        At::Time(time) => *time,
        At::Offered(_) | At::Unanswered(_) => Duration::MAX,
    });
    let moments: Vec<String> = all.iter().map(|(at, _)| moment(at)).collect();
    let width = moments.iter().map(String::len).max().unwrap_or(0);
    moments.iter().zip(&all).map(|(at, (_, text))| format!("{at:width$}  {text}")).collect()
}

/// Where nothing need meet it.
fn unmet(fault: &Fault) -> String {
    let lanes = fault.unmet_on.iter();
    lanes.map(|(lane, why)| format!(" (met by nothing on {}: {why})", lane.as_str())).collect()
}

fn load(load: &Load) -> String {
    let size = match load.size {
        Size::Fixed(bytes) => format!("{bytes} bytes"),
        Size::Uniform(min, max) => format!("{min} to {max} bytes"),
    };
    if let Some(offered) = &load.states {
        return states::load(load, offered);
    }
    if load.saves > 0 {
        return stores::load(load, &size);
    }
    let pace =
        load.rate.map_or("as fast as they are taken".to_owned(), |r| format!("{r} per second"));
    let threads =
        if load.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", load.threads) };
    let handle =
        if load.handle == 0 { String::new() } else { format!(", through handle {}", load.handle) };
    let kind = if load.message == "event" { String::new() } else { format!(" ({})", load.message) };
    format!("{} events{kind} of {size} are offered on {threads}, {pace}{handle}", load.events)
}

fn brokers(brokers: &Brokers) -> String {
    match brokers {
        Brokers::All => "all brokers".to_owned(),
        Brokers::Leader => "the leader".to_owned(),
        Brokers::Ids(ids) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            format!("broker {}", ids.join(", "))
        }
    }
}

const fn topic(topic: TopicSel) -> &'static str {
    match topic {
        TopicSel::Main => "the main topic",
        TopicSel::Dlq => "the dead-letter topic",
        TopicSel::Both => "both topics",
    }
}

fn fault(fault: &Fault) -> String {
    let lasts = fault.lasts.map_or(String::new(), |lasts| format!(", for {}", span(lasts)));
    format!("{}: {}{lasts}", fault.kind.name(), fault_kind(&fault.kind))
}

fn link(fault: &LinkFault) -> String {
    match fault {
        LinkFault::Slice { brokers: b } => format!("answers of {} come byte by byte", brokers(b)),
        LinkFault::Bandwidth { brokers: b, bytes_per_second } => {
            format!("connections to {} carry {bytes_per_second} bytes per second", brokers(b))
        }
        LinkFault::Flip { brokers: b, request, nth, count } => format!(
            "a bit flips in {count} {} of {}, from number {nth} on",
            if *request { "Produce request(s)" } else { "Produce answer(s)" },
            brokers(b)
        ),
    }
}

fn fault_kind(kind: &FaultKind) -> String {
    match kind {
        FaultKind::BrokerDown { brokers: b } => format!("{} down", brokers(b)),
        FaultKind::BrokerFlap { brokers: b, down, up } => {
            format!("{} down for {} and up for {} in turns", brokers(b), span(*down), span(*up))
        }
        FaultKind::BrokerRollingRestart { down, up } => {
            format!("one after the other down for {}, {} in between", span(*down), span(*up))
        }
        FaultKind::NetPartition { brokers: b, requests, responses } => {
            let what = match (requests, responses) {
                (true, true) => "requests and responses",
                (true, false) => "requests",
                _ => "responses",
            };
            format!("{what} of {} stop", brokers(b))
        }
        FaultKind::NetReset { brokers: b } => format!("connections of {} are reset", brokers(b)),
        FaultKind::NetCutFrame { brokers: b, bytes, count } => {
            format!("{count} answer(s) of {} are cut after {bytes} bytes", brokers(b))
        }
        FaultKind::NetConnectBlackhole { brokers: b } => {
            format!("new connections to {} are never served", brokers(b))
        }
        FaultKind::NetLatency { brokers: b, base, jitter, tail, tail_share } => format!(
            "answers of {} are late by {} and up to {} more; {} more for {} % of them",
            brokers(b),
            span(*base),
            span(*jitter),
            span(*tail),
            tail_share * 100.0
        ),
        FaultKind::Link(fault) => link(fault),
        FaultKind::Process(fault) => processes::fault(fault),
        FaultKind::LeaderMoved { topic: t } => format!("leaders of {} move", topic(*t)),
        FaultKind::Leaderless { topic: t } => format!("{} has no leader", topic(*t)),
        FaultKind::NotEnoughReplicas { topic: t, after_append } => {
            let when = if *after_append { "after the append" } else { "before the append" };
            format!("{} lacks replicas, told {when}", topic(*t))
        }
        FaultKind::TopicMissing { topic: t } => format!("{} does not exist", topic(*t)),
        FaultKind::AclDenied { topic: t } => format!("alice may not write to {}", topic(*t)),
        FaultKind::TokenStale => "tokens are not renewed".to_owned(),
        FaultKind::RequestError { api, code, count, topic: t, after_append } => format!(
            "{} for {} answered with code {code}{}{}",
            requests(api, *count),
            topic(*t),
            if *count == Some(1) { " once" } else { "" },
            if *after_append { ", appended all the same" } else { "" }
        ),
        FaultKind::RequestDelay { api, delay, count, topic: t } => {
            format!("{} for {} answered {} late", requests(api, *count), topic(*t), span(*delay))
        }
        FaultKind::MessageMaxBytes { topic: t, bytes } => {
            format!("{} takes batches of {bytes} bytes at most", topic(*t))
        }
        FaultKind::Throttle { delay } => format!("Produce is throttled by {}", span(*delay)),
        FaultKind::SpoolDamage(what) => match what {
            SpoolDamage::TornTail => "the spool's newest segment loses its last bytes".to_owned(),
            SpoolDamage::FlippedBit => "a bit of the spool's oldest segment flips".to_owned(),
            SpoolDamage::ForeignFile => "a foreign file appears beside the spool".to_owned(),
            SpoolDamage::NewerVersion => "a segment of a newer version appears".to_owned(),
        },
        FaultKind::SubjectCrash(crash) => stores::crash(crash),
        FaultKind::Fs(fault) => stores::fault(fault),
        FaultKind::DiffLost { count, reported_after } => states::lost(*count, *reported_after),
    }
}

fn requests(api: &str, count: Option<u32>) -> String {
    match count {
        None => format!("every {api} request"),
        Some(1) => format!("the next {api} request"),
        Some(n) => format!("the next {n} {api} requests"),
    }
}

fn action(action: &Action) -> String {
    match &action.kind {
        ActionKind::Open => "a new producer is opened".to_owned(),
        ActionKind::Flush { deadline } => format!("flush({})", span(*deadline)),
        ActionKind::Close { deadline } => format!("close({})", span(*deadline)),
        ActionKind::Clone => "the producer handle is cloned".to_owned(),
        ActionKind::Drop { handle } => format!("handle {handle} is dropped"),
        ActionKind::Cancel => "every send that has not returned is cancelled".to_owned(),
        ActionKind::PanicCallback => "the next outcome callback panics".to_owned(),
        ActionKind::Metrics => "the metrics are scraped".to_owned(),
        ActionKind::Decode { frame, accept } => format!(
            "a frame of {} bytes is decoded: {}",
            frame.len(),
            if *accept { "a message must come out" } else { "it must be refused" }
        ),
        ActionKind::UnknownOperation => "an operation is asked for that nobody knows".to_owned(),
        ActionKind::Store(action) => stores::action(action),
    }
}

fn bound(bound: Bound) -> String {
    let cmp = match bound.cmp {
        Cmp::Eq => "exactly",
        Cmp::Le => "at most",
        Cmp::Ge => "at least",
        Cmp::Lt => "less than",
        Cmp::Gt => "more than",
    };
    match bound.amount {
        Amount::Count(n) => format!("{cmp} {n}"),
        Amount::ShareOfOffered(share) if (share - 1.0).abs() < f64::EPSILON => {
            format!("{cmp} all that was offered")
        }
        Amount::ShareOfOffered(share) => format!("{cmp} {} % of what was offered", share * 100.0),
    }
}

fn expectations(scenario: &Scenario) -> Vec<String> {
    let expect = &scenario.expect;
    let mut out = vec![match &expect.laws {
        Laws::All => "every law that the lane judges".to_owned(),
        Laws::These(laws) => format!("the laws {}", laws.join(", ")),
        Laws::AllBut(left_out) => {
            let each: Vec<String> =
                left_out.iter().map(|(law, reason)| format!("{law} ({reason})")).collect();
            format!("every law that the lane judges but {}", each.join(", "))
        }
    }];
    if let Some(Refused { why, within }) = expect.refused {
        let within = span(within);
        out.push(format!(
            "the subject does not get through, and says why ({}) within {within}",
            why.name()
        ));
    }
    for (outcome, b) in &expect.outcomes {
        out.push(format!("{outcome}: {}", bound(*b)));
    }
    if let Some(recovery) = expect.recovery {
        out.push(format!("recovery within {} of the last fault's end", span(recovery)));
    }
    for (lane, on) in &expect.on {
        let lane = lane.as_str();
        for (outcome, b) in &on.outcomes {
            out.push(format!("on {lane}, {outcome}: {}", bound(*b)));
        }
        if let Some(recovery) = on.recovery {
            let recovery = span(recovery);
            out.push(format!("on {lane}, recovery within {recovery} of the last fault's end"));
        }
    }
    if let Some(lost) = expect.lost_in_crash {
        out.push(format!("lost in a crash: {}", bound(lost)));
    }
    for (outcome, within) in &expect.agree {
        out.push(format!("lanes agree on {outcome} of what a fault touched, within {within}"));
    }
    if !expect.reached.is_empty() {
        let marks = expect.reached.join(", ");
        out.push(format!("a verdict needs that this really happened: {marks}"));
    }
    out
}
