//! A scenario after parsing and checking: what to offer, what to break, what must hold.
//!
//! Times are durations from t = 0 (see the manual's scenario chapter). The parser fills these types
//! and nothing else does; every lane runs them and the oracle judges against them.

use std::collections::BTreeMap;
use std::time::Duration;

pub use super::damage::SpoolDamage;
pub use super::expectation::{Amount, Bound, Cmp, Expect, Laws, OnLane, Within};
pub use super::link::LinkFault;
pub use super::process::{PROCESS_BUDGET, ProcessFault, Strike};
pub use super::security::{Listener, Refused, Why};
pub use super::state::{StateLoad, StateSubject};
pub use super::store::{CheckpointSubject, Crash, FsFault, Phase, StoreAction};

/// Where a scenario may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneName {
    /// Model broker in turmoil, virtual time.
    Sim,
    /// Simulated file system.
    Disk,
    /// The machine's file system, real time.
    Files,
    /// Model broker on loopback TCP, real time.
    Wire,
    /// librdkafka's mock cluster.
    Mock,
    /// Apache Kafka in containers.
    Kafka,
    /// A cluster the user names.
    External,
}

impl LaneName {
    /// All lanes.
    pub const ALL: [Self; 7] =
        [Self::Sim, Self::Disk, Self::Files, Self::Wire, Self::Mock, Self::Kafka, Self::External];

    /// Name in files and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Disk => "disk",
            Self::Files => "files",
            Self::Wire => "wire",
            Self::Mock => "mock",
            Self::Kafka => "kafka",
            Self::External => "external",
        }
    }
}

/// When something starts.
#[derive(Clone, Debug, PartialEq)]
pub enum At {
    /// At a time after t = 0. `0s` on a fault means before `open`.
    Time(Duration),
    /// After the harness has offered this many events in all.
    Offered(u64),
    /// When this many Produce'd records are appended-or-held without an answer at the brokers.
    Unanswered(u64),
}

/// Sizes of events: bytes of the filler, so that the encoded message has about this size.
#[derive(Clone, Debug, PartialEq)]
pub enum Size {
    /// Always this many bytes.
    Fixed(usize),
    /// Uniform in the closed range.
    Uniform(usize, usize),
}

/// Events to offer.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Start.
    pub at: At,
    /// How many; 0 for a load of saves.
    pub events: u32,
    /// Checkpoints to save, in turns over the threads; 0 for a load of events.
    pub saves: u32,
    /// A save of each thread is under way at the same moment, and not one after the other.
    pub at_once: bool,
    /// States to diff, in turns over the threads; `None` for any other load.
    pub states: Option<StateLoad>,
    /// Whose ids the checkpoints get: `generated`, `hostile` or `taken`.
    pub ids: String,
    /// Who saves the checkpoints: `subject`, or somebody before the run.
    pub writer: String,
    /// When a checkpoint of version 1 says that it was written: `now`, `past` or `future`.
    pub dated: String,
    /// Events per second over all threads; `None` offers as fast as `send` returns.
    pub rate: Option<f64>,
    /// Sizes.
    pub size: Size,
    /// Number of thread ids, one task each (`t0`, `t1`, …).
    pub threads: u32,
    /// Which producer handle offers: 0 is the first, clones count up. Default 0.
    pub handle: u32,
    /// Offer with this message type: `event` (default), `token_chunk`, `metrics`, `error`, ….
    pub message: String,
}

/// Which brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Brokers {
    /// Every one.
    All,
    /// These ids, from 1.
    Ids(Vec<i32>),
    /// The leader of partition 0 of the main topic, when the fault begins.
    Leader,
}

/// Which topic a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicSel {
    /// The telemetry topic.
    Main,
    /// The dead-letter topic.
    Dlq,
    /// Both.
    Both,
}

/// An injected failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Start.
    pub at: At,
    /// How long; `None` = to the end of the run, or inherent in the kind (a count, an instant).
    pub lasts: Option<Duration>,
    /// What.
    pub kind: FaultKind,
    /// Lanes on which nothing can meet it, with the reason. Elsewhere a run in which nothing met it
    /// is inconclusive.
    pub unmet_on: BTreeMap<LaneName, String>,
}

impl Fault {
    /// A fault that must be met on every lane.
    #[must_use]
    pub const fn new(at: At, lasts: Option<Duration>, kind: FaultKind) -> Self {
        Self { at, lasts, kind, unmet_on: BTreeMap::new() }
    }
}

/// Kinds of faults. The string in files is given at each variant.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// `broker.down`: connections reset, new ones refused.
    BrokerDown {
        /// Which.
        brokers: Brokers,
    },
    /// `broker.flap`: down and up in turns while the fault lasts.
    BrokerFlap {
        /// Which.
        brokers: Brokers,
        /// Down for this long …
        down: Duration,
        /// … then up for this long.
        up: Duration,
    },
    /// `broker.rolling_restart`: one after the other is down, `up` in between; leaders move.
    BrokerRollingRestart {
        /// Down time of each.
        down: Duration,
        /// Pause between two.
        up: Duration,
    },
    /// `net.partition`: bytes stop. `requests`: towards the broker; `responses`: back (= ack loss).
    NetPartition {
        /// Which.
        brokers: Brokers,
        /// Requests are cut.
        requests: bool,
        /// Responses are cut.
        responses: bool,
    },
    /// `net.reset`: every open connection is reset, an instant.
    NetReset {
        /// Which.
        brokers: Brokers,
    },
    /// `net.cut_frame`: an answer is cut after `bytes` and the connection closed, `count` times.
    NetCutFrame {
        /// Which.
        brokers: Brokers,
        /// Bytes let through.
        bytes: usize,
        /// How often.
        count: u32,
    },
    /// `net.connect_blackhole`: new connections are taken and never served.
    NetConnectBlackhole {
        /// Which.
        brokers: Brokers,
    },
    /// `net.latency`: answers are late by `base`, uniform jitter, and `tail` with `tail_share`.
    NetLatency {
        /// Which.
        brokers: Brokers,
        /// Always.
        base: Duration,
        /// Uniform extra, up to this.
        jitter: Duration,
        /// Extra for the long tail.
        tail: Duration,
        /// Share of answers in the tail, 0..=1.
        tail_share: f64,
    },
    /// `net.slice`, `net.bandwidth`, `net.flip`: what happens to bytes.
    Link(LinkFault),
    /// `broker.kill`, `.stop`, `.pause`, `.network`, `.disk_full`: what befalls real brokers.
    Process(ProcessFault),
    /// `topic.leader_moved`: leaders of all partitions move to the next replica, an instant.
    LeaderMoved {
        /// Which topic.
        topic: TopicSel,
    },
    /// `topic.leaderless`: partitions have no leader.
    Leaderless {
        /// Which topic.
        topic: TopicSel,
    },
    /// `topic.not_enough_replicas`: ISR below min.insync: refused before append, or after it.
    NotEnoughReplicas {
        /// Which topic.
        topic: TopicSel,
        /// Appended, then `NOT_ENOUGH_REPLICAS_AFTER_APPEND`.
        after_append: bool,
    },
    /// `topic.missing`: the topic does not exist and is not created.
    TopicMissing {
        /// Which topic.
        topic: TopicSel,
    },
    /// `acl.denied`: the user of the SASL listeners may not write to the topic.
    AclDenied {
        /// Which topic.
        topic: TopicSel,
    },
    /// `token.stale`: the file with the OAUTHBEARER token is not renewed any more.
    TokenStale,
    /// `request.error`: the next `count` requests of `api` get `code` (all if `None`).
    RequestError {
        /// API name, as `Produce`.
        api: String,
        /// Kafka error code.
        code: i16,
        /// How often.
        count: Option<u32>,
        /// Only for this topic, where the API names topics.
        topic: TopicSel,
        /// The records are appended all the same (`NOT_LEADER` after a local append and its kin).
        after_append: bool,
    },
    /// `request.delay`: answers to `api` are held for `delay`, `count` times (all if `None`).
    RequestDelay {
        /// API name.
        api: String,
        /// How long.
        delay: Duration,
        /// How often.
        count: Option<u32>,
        /// Only for this topic, where the API names topics.
        topic: TopicSel,
    },
    /// `broker.message_max_bytes`: the broker's limit for a record batch.
    MessageMaxBytes {
        /// Which topic.
        topic: TopicSel,
        /// Limit in bytes.
        bytes: usize,
    },
    /// `broker.throttle`: Produce answers carry this time, and the connection is muted so long.
    Throttle {
        /// How long.
        delay: Duration,
    },
    /// `spool.damage`: the files of the subject's spool are damaged in this way, an instant.
    SpoolDamage(SpoolDamage),
    /// `subject.crash`: the subject's process is killed, an instant; a store's in a call.
    SubjectCrash(Crash),
    /// `fs.*` and `clock.*`: what stores live on.
    Fs(FsFault),
    /// `diff.lost`: messages with state diffs are not delivered.
    DiffLost {
        /// How many.
        count: u32,
        /// States of the thread that are offered before the sender is told.
        reported_after: u32,
    },
}

impl FaultKind {
    /// The `kind` string of the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BrokerDown { .. } => "broker.down",
            Self::BrokerFlap { .. } => "broker.flap",
            Self::BrokerRollingRestart { .. } => "broker.rolling_restart",
            Self::NetPartition { .. } => "net.partition",
            Self::NetReset { .. } => "net.reset",
            Self::NetCutFrame { .. } => "net.cut_frame",
            Self::NetConnectBlackhole { .. } => "net.connect_blackhole",
            Self::NetLatency { .. } => "net.latency",
            Self::Link(fault) => fault.name(),
            Self::Process(fault) => fault.name(),
            Self::LeaderMoved { .. } => "topic.leader_moved",
            Self::Leaderless { .. } => "topic.leaderless",
            Self::NotEnoughReplicas { .. } => "topic.not_enough_replicas",
            Self::TopicMissing { .. } => "topic.missing",
            Self::AclDenied { .. } => "acl.denied",
            Self::TokenStale => "token.stale",
            Self::RequestError { .. } => "request.error",
            Self::RequestDelay { .. } => "request.delay",
            Self::MessageMaxBytes { .. } => "broker.message_max_bytes",
            Self::Throttle { .. } => "broker.throttle",
            Self::SpoolDamage(_) => "spool.damage",
            Self::SubjectCrash(_) => "subject.crash",
            Self::Fs(fault) => fault.name(),
            Self::DiffLost { .. } => "diff.lost",
        }
    }
}

/// Something the harness makes the application do.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// When.
    pub at: At,
    /// What.
    pub kind: ActionKind,
}

/// Kinds of actions.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionKind {
    /// `open`: a new incarnation (after a crash, close or drop).
    Open,
    /// `flush` with a deadline.
    Flush {
        /// Its deadline.
        deadline: Duration,
    },
    /// `close` with a deadline.
    Close {
        /// Its deadline.
        deadline: Duration,
    },
    /// `clone`: makes the next handle.
    Clone,
    /// `drop`: drops a handle; dropping the last one without `close` ends the incarnation.
    Drop {
        /// Which handle.
        handle: u32,
    },
    /// `cancel`: drops the futures of all `send` calls that have not returned.
    Cancel,
    /// `panic_callback`: the next outcome callback panics.
    PanicCallback,
    /// `metrics`: an intermediate scrape (M4 and caps are judged on it).
    Metrics,
    /// `decode`: `codec.decode` of a frame; C2 demands a message or a typed error. The history's
    /// `codec.decode` calls come in the order of the actions' times, then of the file.
    Decode {
        /// The frame.
        frame: Vec<u8>,
        /// True when it must decode, false when it must be refused.
        accept: bool,
    },
    /// `unknown_operation`: an operation that no subject knows; A1 demands `unsupported`.
    UnknownOperation,
    /// Calls of a store.
    Store(StoreAction),
}

impl ActionKind {
    /// The `kind` string of the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Flush { .. } => "flush",
            Self::Close { .. } => "close",
            Self::Clone => "clone",
            Self::Drop { .. } => "drop",
            Self::Cancel => "cancel",
            Self::PanicCallback => "panic_callback",
            Self::Metrics => "metrics",
            Self::Decode { .. } => "decode",
            Self::UnknownOperation => "unknown_operation",
            Self::Store(action) => action.name(),
        }
    }
}

/// A whole scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Permanent id, `family/name`.
    pub id: String,
    /// Older ids.
    pub aliases: Vec<String>,
    /// Suite version that introduced it.
    pub since: String,
    /// One line.
    pub summary: String,
    /// Audit rows it guards.
    pub guards: Vec<String>,
    /// Lanes it is written for.
    pub lanes: Vec<LaneName>,
    /// Time of the lane's own clock after which the run is cut (`harness_error` at 3 times).
    pub budget: Duration,
    /// Free words.
    pub tags: Vec<String>,
    /// Most seeds that a command runs it with; a large one needs no more than a few.
    pub most_seeds: usize,
    /// sim: duration of a turmoil tick.
    pub tick: Duration,
    /// Brokers in the cluster (default 3).
    pub brokers: u32,
    /// Partitions of the main topic (default 3).
    pub partitions: i32,
    /// min.insync.replicas of both topics (default 2, or 1 with one broker).
    pub min_insync: u32,
    /// Brokers create a topic that is asked for (default true).
    pub auto_create: bool,
    /// Brokers' limit for a record batch in bytes (default 1 048 588, as Kafka's).
    pub message_max_bytes: usize,
    /// The listener of the brokers that the subject is sent to.
    pub listener: Listener,
    /// Producer settings as the subject's config understands them, JSON.
    pub producer: serde_json::Value,
    /// A checkpointer is the subject.
    pub checkpoint: Option<CheckpointSubject>,
    /// A maker of state diffs is the subject.
    pub state: Option<StateSubject>,
    /// Loads.
    pub loads: Vec<Load>,
    /// Faults.
    pub faults: Vec<Fault>,
    /// Actions; a `close` with 5 s is added at the end if none closes or drops.
    pub actions: Vec<Action>,
    /// Expectations.
    pub expect: Expect,
    /// The file's text.
    pub text: String,
    /// The play that was chosen of a file that says `free = "every"`: bytes that are free.
    pub free: Option<u64>,
    /// Where it came from.
    pub path: String,
    /// True when the user named the file and not an id of the library.
    pub named_by_file: bool,
}

impl Default for Scenario {
    /// The defaults of a file that says nothing: sim only, three brokers, all laws, no load.
    fn default() -> Self {
        Self {
            id: String::new(),
            aliases: Vec::new(),
            since: "1.0".to_owned(),
            summary: String::new(),
            guards: Vec::new(),
            lanes: vec![LaneName::Sim],
            budget: Duration::from_secs(12),
            tags: Vec::new(),
            most_seeds: usize::MAX,
            tick: Duration::from_millis(2),
            brokers: 3,
            partitions: 3,
            min_insync: 2,
            auto_create: true,
            message_max_bytes: 1_048_588,
            listener: Listener::Plaintext,
            producer: serde_json::Value::Object(serde_json::Map::new()),
            checkpoint: None,
            state: None,
            loads: Vec::new(),
            faults: Vec::new(),
            actions: Vec::new(),
            expect: Expect::default(),
            text: String::new(),
            free: None,
            path: String::new(),
            named_by_file: false,
        }
    }
}
