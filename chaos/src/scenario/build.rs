//! Makes the model out of walked values; what is not given gets its default here and nowhere else.

use std::collections::BTreeMap;
use std::time::Duration;

use super::model::{
    Action, ActionKind, At, Expect, Fault, FaultKind, LaneName, Laws, Listener, Load, OnLane,
    Refused, Scenario, Size, SpoolDamage, TopicSel, Why,
};
use super::value::Fields;
use super::{link, process, state, store};

/// A scenario from the fields of its root table. Refused values count as not given; the caller
/// does not use the result when anything was refused.
pub(crate) fn scenario(root: &Fields, text: &str, path: &str) -> Scenario {
    let default = Scenario::default();
    let none = Fields::default();
    let cluster = root.table("cluster").unwrap_or(&none);
    let brokers = cluster.count("brokers").unwrap_or(default.brokers);
    let producer = root.table("subject").and_then(Fields::producer);
    Scenario {
        id: root.text("id").unwrap_or_default(),
        aliases: root.list("aliases"),
        since: root.text("since").unwrap_or(default.since),
        summary: root.text("summary").unwrap_or_default(),
        guards: root.list("guards"),
        lanes: root.lanes("lanes"),
        budget: root.span("budget").unwrap_or(default.budget),
        tags: root.list("tags"),
        most_seeds: root.count("most_seeds").unwrap_or(default.most_seeds),
        tick: root.span("tick").unwrap_or(default.tick),
        brokers,
        partitions: cluster.count("partitions").unwrap_or(default.partitions),
        min_insync: cluster.count("min_insync").unwrap_or(default.min_insync.min(brokers)),
        auto_create: cluster.flag("auto_create").unwrap_or(default.auto_create),
        message_max_bytes: cluster.count("message_max_bytes").unwrap_or(default.message_max_bytes),
        listener: listener(cluster),
        checkpoint: root.table("subject").and_then(|s| s.table("checkpoint")).map(store::subject),
        state: root.table("subject").and_then(|s| s.table("state")).map(state::subject),
        producer: producer.map_or(default.producer, super::node::Node::to_json),
        loads: root.tables("load").iter().map(load).collect(),
        faults: root.tables("fault").iter().filter_map(fault).collect(),
        actions: root.tables("action").iter().filter_map(action).collect(),
        expect: expect(root.table("expect").unwrap_or(&none)),
        text: text.to_owned(),
        free: None,
        path: path.to_owned(),
        named_by_file: false,
    }
}

fn listener(cluster: &Fields) -> Listener {
    let named = cluster.text("listener");
    let found = Listener::ALL.into_iter().find(|(name, _)| named.as_deref() == Some(*name));
    found.map_or_else(Listener::default, |(_, listener)| listener)
}

fn refused(fields: &Fields) -> Option<Refused> {
    let named = fields.text("why")?;
    let (_, why, ..) = Why::ALL.into_iter().find(|(name, ..)| *name == named)?;
    Some(Refused { why, within: fields.span("within").unwrap_or_default() })
}

fn start(fields: &Fields) -> At {
    fields.moment("at").unwrap_or(At::Time(Duration::ZERO))
}

impl Default for Load {
    /// The defaults of a `[[load]]` that says nothing: it offers nothing.
    fn default() -> Self {
        Self {
            at: At::Time(Duration::ZERO),
            events: 0,
            saves: 0,
            at_once: false,
            states: None,
            ids: "generated".to_owned(),
            writer: "subject".to_owned(),
            dated: "now".to_owned(),
            rate: None,
            size: Size::Fixed(256),
            threads: 1,
            handle: 0,
            message: "event".to_owned(),
        }
    }
}

fn load(fields: &Fields) -> Load {
    let default = Load::default();
    Load {
        at: start(fields),
        events: fields.count("events").unwrap_or(default.events),
        saves: fields.count("saves").unwrap_or(default.saves),
        at_once: fields.flag("at_once").unwrap_or(default.at_once),
        states: state::load(fields),
        ids: fields.text("ids").unwrap_or(default.ids),
        writer: fields.text("writer").unwrap_or(default.writer),
        dated: fields.text("dated").unwrap_or(default.dated),
        rate: fields.share("rate"),
        size: fields.size("size").unwrap_or(default.size),
        threads: fields.count("threads").unwrap_or(default.threads),
        handle: fields.count("handle").unwrap_or(default.handle),
        message: fields.text("message").unwrap_or(default.message),
    }
}

fn topic(fields: &Fields, default: TopicSel) -> TopicSel {
    match fields.text("topic").as_deref() {
        Some("main") => TopicSel::Main,
        Some("dlq") => TopicSel::Dlq,
        Some("both") => TopicSel::Both,
        _ => default,
    }
}

fn fault(fields: &Fields) -> Option<Fault> {
    let kind = fault_kind(fields)?;
    let unmet = fields.table("unmet_on");
    let reason = |lane: LaneName| Some((lane, unmet?.text(lane.as_str())?));
    let unmet_on = LaneName::ALL.into_iter().filter_map(reason).collect();
    Some(Fault { unmet_on, ..Fault::new(start(fields), fields.span("for"), kind) })
}

fn fault_kind(fields: &Fields) -> Option<FaultKind> {
    let brokers = fields.brokers();
    let main = topic(fields, TopicSel::Main);
    let span = |key| fields.span(key).unwrap_or_default();
    let name = fields.text("kind")?;
    Some(match name.as_str() {
        "broker.down" => FaultKind::BrokerDown { brokers },
        "broker.flap" => FaultKind::BrokerFlap { brokers, down: span("down"), up: span("up") },
        "broker.rolling_restart" => {
            FaultKind::BrokerRollingRestart { down: span("down"), up: span("up") }
        }
        "broker.message_max_bytes" => {
            FaultKind::MessageMaxBytes { topic: main, bytes: fields.count("bytes").unwrap_or(0) }
        }
        "broker.throttle" => FaultKind::Throttle { delay: span("delay") },
        "net.partition" => {
            let direction = fields.text("direction");
            let direction = direction.as_deref().unwrap_or("both");
            FaultKind::NetPartition {
                brokers,
                requests: direction != "responses",
                responses: direction != "requests",
            }
        }
        "net.reset" => FaultKind::NetReset { brokers },
        "net.cut_frame" => FaultKind::NetCutFrame {
            brokers,
            bytes: fields.count("bytes").unwrap_or(0),
            count: fields.count("count").unwrap_or(1),
        },
        "net.connect_blackhole" => FaultKind::NetConnectBlackhole { brokers },
        "net.latency" => FaultKind::NetLatency {
            brokers,
            base: span("base"),
            jitter: span("jitter"),
            tail: span("tail"),
            tail_share: fields.share("tail_share").unwrap_or(0.0),
        },
        _ => topic_or_request(&name, fields, main)?,
    })
}

fn topic_or_request(name: &str, fields: &Fields, main: TopicSel) -> Option<FaultKind> {
    let after_append = fields.flag("after_append").unwrap_or(false);
    let api = || fields.text("api").unwrap_or_default();
    let either = topic(fields, TopicSel::Both);
    Some(match name {
        "topic.leader_moved" => FaultKind::LeaderMoved { topic: main },
        "topic.leaderless" => FaultKind::Leaderless { topic: main },
        "topic.not_enough_replicas" => FaultKind::NotEnoughReplicas { topic: main, after_append },
        "topic.missing" => FaultKind::TopicMissing { topic: main },
        "acl.denied" => FaultKind::AclDenied { topic: main },
        "token.stale" => FaultKind::TokenStale,
        "request.error" => FaultKind::RequestError {
            api: api(),
            code: fields.code("code").unwrap_or(-1),
            count: fields.count("count"),
            topic: either,
            after_append,
        },
        "request.delay" => FaultKind::RequestDelay {
            api: api(),
            delay: fields.span("delay").unwrap_or_default(),
            count: fields.count("count"),
            topic: either,
        },
        "spool.damage" => {
            let what = fields.text("what").unwrap_or_default();
            let found = SpoolDamage::ALL.into_iter().find(|(name, _)| *name == what);
            FaultKind::SpoolDamage(found?.1)
        }
        "subject.crash" => FaultKind::SubjectCrash(store::crash(fields)),
        _ => {
            return store::fault(name, fields)
                .or_else(|| state::fault(name, fields))
                .or_else(|| link::fault(name, fields))
                .or_else(|| process::fault(name, fields));
        }
    })
}

fn action(fields: &Fields) -> Option<Action> {
    let deadline = fields.span("deadline").unwrap_or_default();
    let name = fields.text("kind")?;
    let kind = match name.as_str() {
        "open" => ActionKind::Open,
        "flush" => ActionKind::Flush { deadline },
        "close" => ActionKind::Close { deadline },
        "clone" => ActionKind::Clone,
        "drop" => ActionKind::Drop { handle: fields.count("handle").unwrap_or(0) },
        "cancel" => ActionKind::Cancel,
        "panic_callback" => ActionKind::PanicCallback,
        "metrics" => ActionKind::Metrics,
        "decode" => ActionKind::Decode {
            frame: fields.bytes("frame"),
            accept: fields.text("want").as_deref() == Some("message"),
        },
        "unknown_operation" => ActionKind::UnknownOperation,
        _ => store::action(&name, fields)?,
    };
    Some(Action { at: start(fields), kind })
}

fn expect(fields: &Fields) -> Expect {
    Expect {
        laws: fields.laws().unwrap_or(Laws::All),
        reached: fields.list("reached"),
        outcomes: fields.outcomes(),
        recovery: fields.span("recovery"),
        lost_in_crash: fields.bound("lost_in_crash"),
        refused: fields.table("refused").and_then(refused),
        agree: fields.within(),
        on: fields.table("on").map(on_lanes).unwrap_or_default(),
    }
}

fn on_lanes(fields: &Fields) -> BTreeMap<LaneName, OnLane> {
    let lane = |lane: LaneName| {
        let own = fields.table(lane.as_str())?;
        Some((lane, OnLane { outcomes: own.outcomes(), recovery: own.span("recovery") }))
    };
    LaneName::ALL.into_iter().filter_map(lane).collect()
}
