//! Every key a scenario file may hold, in one table: the walker checks files against it, the JSON
//! Schema and the manual are made from it.

/// What a value must look like.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// A string that is not empty.
    Text,
    /// `family/name`, lower case, digits and hyphens.
    Id,
    /// A list of ids without duplicates.
    Ids,
    /// A list of free words without duplicates.
    Words,
    /// A duration as a string; zero only where it is allowed.
    Span {
        /// `0s` is a value.
        zero: bool,
    },
    /// Bytes, an integer or a string with a unit.
    Bytes,
    /// An integer in the closed range.
    Count(u64, u64),
    /// A number from 0 to 1.
    Share,
    /// A boolean.
    Flag,
    /// Bytes in hex.
    Hex,
    /// One of a list of names.
    Name(Names),
    /// A list of such names without duplicates.
    NameList(Names),
    /// A duration, `{ offered = N }` or `{ unanswered = N }`.
    At,
    /// Bytes, or `{ uniform = [MIN, MAX] }`.
    Size,
    /// Bytes, or `every`.
    Room,
    /// `N/s`.
    Rate,
    /// `all`, `leader` or a list of ids.
    Brokers,
    /// A Kafka error code, by name or number.
    Code,
    /// `all`, a list, or `{ all_but = { LAW = "reason" } }`.
    Laws,
    /// Counts by outcome.
    Outcomes,
    /// By outcome, how far lanes may lie apart.
    Agree,
    /// A comparison with a count.
    Bound,
    /// `<= DURATION`.
    Ceiling,
    /// Producer settings; the reference's own config checks them.
    Producer,
    /// A table with these keys.
    Table(&'static [Key]),
    /// An array of tables with these keys.
    Tables(&'static [Key]),
    /// An array of tables whose `kind` decides about the other keys.
    Kinds(Kinds),
}

/// A closed list of names, and what to call one.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    /// As in `unknown lane`.
    pub(crate) what: &'static str,
    /// The names.
    pub(crate) list: fn() -> Vec<&'static str>,
}

/// One key.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    /// Its name in files.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) shape: Shape,
    /// A file without it is refused.
    pub(crate) required: bool,
    /// One sentence for the schema and the manual.
    pub(crate) about: &'static str,
}

/// Faults or actions.
#[derive(Clone, Copy)]
pub(crate) struct Kinds {
    /// Keys that every one has.
    pub(crate) common: &'static [Key],
    /// Each kind.
    pub(crate) variants: &'static [Variant],
}

/// One kind of fault or action, with the keys it takes besides the common ones.
#[derive(Clone, Copy)]
pub(crate) struct Variant {
    /// The `kind` string.
    pub(crate) name: &'static str,
    /// One sentence.
    pub(crate) about: &'static str,
    /// Its own keys.
    pub(crate) keys: &'static [Key],
}

pub(super) const fn need(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: true, about }
}

pub(super) const fn may(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: false, about }
}

pub(super) const LANES: Names = Names { what: "lane", list: super::names::lanes };
const ROWS: Names = Names { what: "audit row", list: super::names::rows };
const MARKS: Names = Names { what: "mark", list: super::names::marks };
const MESSAGES: Names = Names { what: "message type", list: || super::names::MESSAGES.to_vec() };
const TOPICS: Names = Names { what: "topic", list: || super::names::TOPICS.to_vec() };
const WRITERS: Names = Names { what: "writer", list: || super::store::WRITERS.to_vec() };
const DATES: Names = Names { what: "date", list: || super::store::DATES.to_vec() };
const VARIANTS: Names = Names { what: "variant", list: || super::store::VARIANTS.to_vec() };
const IDS: Names = Names { what: "kind of ids", list: || super::store::IDS.to_vec() };
const APIS: Names = Names { what: "API", list: || super::names::APIS.to_vec() };
const WANTS: Names = Names { what: "result", list: || super::names::WANTS.to_vec() };
const DAMAGE: Names = Names { what: "damage", list: super::names::damage };
const LISTENERS: Names = Names { what: "listener", list: super::names::listeners };
const REFUSALS: Names = Names { what: "reason", list: super::names::refusals };
const DIRECTIONS: Names = Names { what: "direction", list: || super::names::DIRECTIONS.to_vec() };

/// The top level of a file.
pub(crate) const ROOT: &[Key] = &[
    need("id", Shape::Id, "Permanent id, `family/name`; the file is FAMILY/NAME.toml."),
    may("aliases", Shape::Ids, "Older ids; a rename keeps them."),
    may("since", Shape::Text, "Suite version that introduced it, so that others can freeze one."),
    need("summary", Shape::Text, "One line: what happens."),
    may("guards", Shape::NameList(ROWS), "Audit rows it guards."),
    need("lanes", Shape::NameList(LANES), "Lanes it is written for."),
    may("budget", Shape::Span { zero: false }, "Time of the lane's own clock a run may take."),
    may("tags", Shape::Words, "Free words, for --tag."),
    may("most_seeds", Shape::Count(1, 1_000_000), "Most seeds that a command runs it with."),
    may("tick", Shape::Span { zero: false }, "sim: step of the virtual network, 2ms if not given."),
    may("cluster", Shape::Table(CLUSTER), "The brokers."),
    may("subject", Shape::Table(SUBJECT), "The implementation under test."),
    may("load", Shape::Tables(LOAD), "Events to offer; loads and faults run concurrently."),
    may("fault", Shape::Kinds(Kinds { common: FAULT, variants: FAULTS }), "Failures to inject."),
    may(
        "action",
        Shape::Kinds(Kinds { common: TIMED, variants: ACTIONS }),
        "What the application does.",
    ),
    may("expect", Shape::Table(EXPECT), "What must hold."),
];

const CLUSTER: &[Key] = &[
    may("brokers", Shape::Count(1, 9), "Number of brokers, 3 if not given."),
    may("partitions", Shape::Count(1, 64), "Partitions of the main topic, 3 if not given."),
    may("min_insync", Shape::Count(1, 9), "min.insync.replicas of both topics."),
    may("auto_create", Shape::Flag, "Brokers create a topic that is asked for."),
    may("message_max_bytes", Shape::Bytes, "Brokers' limit for a record batch."),
    may(
        "listener",
        Shape::Name(LISTENERS),
        "kafka: which listener the subject is sent to, `plaintext` if not given.",
    ),
];

const SUBJECT: &[Key] = &[
    may("producer", Shape::Producer, "Producer settings; defaults otherwise."),
    may("checkpoint", Shape::Table(CHECKPOINT), "A checkpointer is the subject: disk, files."),
    may("state", Shape::Table(super::state::STATE), "State diffs are the subject: the disk lane."),
];

const CHECKPOINT: &[Key] = &[
    may("variant", Shape::Name(VARIANTS), "`each` takes turns by seed, and is meant if not given."),
    may("keep_newest", Shape::Count(1, 1_000_000), "Retention per thread; none if not given."),
];

const LOAD: &[Key] = &[
    may("at", Shape::At, "Start, 0s if not given."),
    may("events", Shape::Count(1, 10_000_000), "How many events to offer."),
    may(
        "saves",
        Shape::Count(1, 1_000_000),
        "disk, files: how many checkpoints to save, in turns.",
    ),
    may("at_once", Shape::Flag, "files: one save of each thread id at the same moment."),
    may(
        "ids",
        Shape::Name(IDS),
        "disk, files: whose ids the checkpoints get, by default the store's.",
    ),
    may(
        "writer",
        Shape::Name(WRITERS),
        "disk, files: who saves them, before the run if not the subject.",
    ),
    may(
        "dated",
        Shape::Name(DATES),
        "disk, files: when version 1 says that it wrote them, `now` if not given.",
    ),
    may("states", Shape::Count(1, 1_000_000), "disk: how many states to diff, in turns."),
    may("shape", Shape::Name(super::state::SHAPE), "How states follow each other, `steady`."),
    may("defect", Shape::Name(super::state::DEFECT), "What states hold that no JSON can."),
    may("depth", Shape::Count(2, 100_000), "Objects and arrays inside each other in a state."),
    may("every", Shape::Count(1, 1_000_000), "Which states have the defect or depth, each n-th."),
    may(
        "rate",
        Shape::Rate,
        "Events per second over all threads; as fast as possible if not given.",
    ),
    may("size", Shape::Size, "Bytes of an event, 256 if not given."),
    may("threads", Shape::Count(1, 1_024), "Number of thread ids, one task each; 1 if not given."),
    may("handle", Shape::Count(0, 63), "Producer handle that offers; clones count up from 1."),
    may("message", Shape::Name(MESSAGES), "Message type, `event` if not given."),
];

pub(super) const BROKERS: Key = may("brokers", Shape::Brokers, "Which brokers, all if not given.");
pub(super) const FOR: Key =
    may("for", Shape::Span { zero: false }, "How long; to the end if not given.");
const MUST_FOR: Key = need("for", Shape::Span { zero: false }, "How long.");
const TOPIC: Key = may("topic", Shape::Name(TOPICS), "Which topic, main if not given.");
const EITHER: Key = may("topic", Shape::Name(TOPICS), "Only for this topic, both if not given.");
const API: Key = need("api", Shape::Name(APIS), "Name of the API, as Produce.");
const COUNT: Key = may("count", Shape::Count(1, 1_000_000), "How often; always if not given.");
const DOWN: Key = need("down", Shape::Span { zero: false }, "Down for this long.");
const UP: Key = need("up", Shape::Span { zero: false }, "Up for this long in between.");

/// Kinds of faults.
pub(crate) const FAULTS: &[Variant] = &[
    Variant {
        name: "broker.down",
        about: "Connections are reset and new ones refused.",
        keys: &[BROKERS, FOR],
    },
    Variant {
        name: "broker.flap",
        about: "Down and up in turns.",
        keys: &[BROKERS, DOWN, UP, MUST_FOR],
    },
    Variant {
        name: "broker.rolling_restart",
        about: "One broker after the other goes down and comes back; leaders move.",
        keys: &[DOWN, UP],
    },
    Variant {
        name: "broker.message_max_bytes",
        about: "The brokers' limit for a record batch changes.",
        keys: &[TOPIC, FOR, need("bytes", Shape::Bytes, "The limit.")],
    },
    Variant {
        name: "broker.throttle",
        about: "Produce answers carry a throttle time and the connection is muted so long.",
        keys: &[FOR, need("delay", Shape::Span { zero: false }, "The throttle time.")],
    },
    Variant {
        name: "net.partition",
        about: "Bytes stop while connections stay open.",
        keys: &[
            BROKERS,
            FOR,
            may("direction", Shape::Name(DIRECTIONS), "What is cut, both if not given."),
        ],
    },
    Variant { name: "net.reset", about: "Open connections are reset.", keys: &[BROKERS] },
    Variant {
        name: "net.cut_frame",
        about: "An answer is cut and the connection closed.",
        keys: &[
            BROKERS,
            need("bytes", Shape::Count(0, 1 << 20), "Bytes of the answer that pass."),
            may("count", Shape::Count(1, 1_000_000), "How often, once if not given."),
        ],
    },
    Variant {
        name: "net.connect_blackhole",
        about: "New connections are taken and never served.",
        keys: &[BROKERS, FOR],
    },
    Variant {
        name: "net.latency",
        about: "Answers are late.",
        keys: &[
            BROKERS,
            FOR,
            may("base", Shape::Span { zero: true }, "Always added."),
            may("jitter", Shape::Span { zero: true }, "Added at random, up to this."),
            may("tail", Shape::Span { zero: true }, "Added for the long tail."),
            may("tail_share", Shape::Share, "Share of answers in the tail."),
        ],
    },
    super::link::SLICE,
    super::link::BANDWIDTH,
    super::link::FLIP,
    super::process::KILL,
    super::process::STOP,
    super::process::PAUSE,
    super::process::NETWORK,
    super::process::DISK_FULL,
    Variant {
        name: "topic.leader_moved",
        about: "The leaders of all partitions move to the next replica.",
        keys: &[TOPIC],
    },
    Variant { name: "topic.leaderless", about: "Partitions have no leader.", keys: &[TOPIC, FOR] },
    Variant {
        name: "topic.not_enough_replicas",
        about: "The in-sync replicas are fewer than min.insync.",
        keys: &[
            TOPIC,
            FOR,
            may("after_append", Shape::Flag, "The records are appended, then the error answered."),
        ],
    },
    Variant {
        name: "acl.denied",
        about: "kafka: the user `alice` may not write to the topic.",
        keys: &[TOPIC, FOR],
    },
    Variant {
        name: "token.stale",
        about: "kafka: no new tokens are put in the place of those that expire.",
        keys: &[FOR],
    },
    Variant {
        name: "topic.missing",
        about: "The topic does not exist and is not created.",
        keys: &[TOPIC, FOR],
    },
    Variant {
        name: "request.error",
        about: "Requests are answered with an error code.",
        keys: &[
            API,
            need("code", Shape::Code, "Kafka error code, by name or number."),
            COUNT,
            EITHER,
            FOR,
            may("after_append", Shape::Flag, "The records are appended all the same."),
        ],
    },
    Variant {
        name: "request.delay",
        about: "Answers are held back.",
        keys: &[
            API,
            need("delay", Shape::Span { zero: false }, "How long each is held."),
            COUNT,
            EITHER,
            FOR,
        ],
    },
    Variant {
        name: "spool.damage",
        about: "Files of the subject's spool are damaged while no producer is open.",
        keys: &[need("what", Shape::Name(DAMAGE), "How.")],
    },
    super::store::CRASH,
    super::store::FS_ERROR,
    super::store::FS_FULL,
    super::store::FS_DAMAGE,
    super::store::FS_INDEX,
    super::store::FS_LEFTOVERS,
    super::store::CLOCK_BACK,
    super::store::CLOCK_FORWARD,
    super::state::DIFF_LOST,
];

const DEADLINE: Key =
    need("deadline", Shape::Span { zero: true }, "How long it may take, as \"3s\".");

/// Kinds of actions.
pub(crate) const ACTIONS: &[Variant] = &[
    Variant {
        name: "open",
        about: "A new incarnation, after a crash, a close or the drop of the last handle.",
        keys: &[],
    },
    Variant { name: "flush", about: "flush with a deadline.", keys: &[DEADLINE] },
    Variant { name: "close", about: "close with a deadline.", keys: &[DEADLINE] },
    Variant { name: "clone", about: "Makes the next handle.", keys: &[] },
    Variant {
        name: "drop",
        about: "Drops a handle; dropping the last one without close ends the incarnation.",
        keys: &[may("handle", Shape::Count(0, 63), "Which, 0 if not given.")],
    },
    Variant {
        name: "cancel",
        about: "Drops the futures of all send calls that have not returned.",
        keys: &[],
    },
    Variant { name: "panic_callback", about: "The next outcome callback panics.", keys: &[] },
    Variant { name: "metrics", about: "An intermediate scrape.", keys: &[] },
    Variant {
        name: "decode",
        about: "Decodes a frame.",
        keys: &[
            need("frame", Shape::Hex, "The frame in hex; blanks are free."),
            need("want", Shape::Name(WANTS), "Whether it must decode."),
        ],
    },
    Variant {
        name: "unknown_operation",
        about: "An operation that no subject knows: it answers unsupported and lives on.",
        keys: &[],
    },
    super::store::DELETE,
    super::store::DELETE_THREAD,
    super::store::RETAIN,
    super::store::SECOND_OPEN,
];

const AT: Key = need("at", Shape::At, "When it starts.");
const KIND: Key = need("kind", Shape::Text, "What it is.");

/// Keys that every action has.
const TIMED: &[Key] = &[AT, KIND];

/// Keys that every fault has.
const FAULT: &[Key] = &[
    AT,
    KIND,
    may(
        "unmet_on",
        Shape::Table(UNMET),
        "Lanes on which nothing can meet it, with the reason; elsewhere that is inconclusive.",
    ),
];

const UNMET: &[Key] = &[
    may("sim", Shape::Text, "Why not on `sim`."),
    may("disk", Shape::Text, "Why not on `disk`."),
    may("files", Shape::Text, "Why not on `files`."),
    may("wire", Shape::Text, "Why not on `wire`."),
    may("mock", Shape::Text, "Why not on `mock`."),
    may("kafka", Shape::Text, "Why not on `kafka`."),
    may("external", Shape::Text, "Why not on `external`."),
];

const EXPECT: &[Key] = &[
    may("laws", Shape::Laws, "Laws to judge, all if not given."),
    may("reached", Shape::NameList(MARKS), "Marks without which the verdict is inconclusive."),
    may("outcomes", Shape::Outcomes, "Bounds on counts of events by where they ended."),
    may("recovery", Shape::Ceiling, "From the last fault's end to convergence, at most."),
    may("lost_in_crash", Shape::Bound, "Unresolved events that a crash may lose."),
    may("refused", Shape::Table(REFUSED), "The subject must not get through (law S2)."),
    may(
        "agree",
        Shape::Agree,
        "How far lanes may differ in counts of events that a fault touched, by where they ended.",
    ),
    may("on", Shape::Table(ON), "What holds on one lane only, over what is said for all."),
];

const REFUSED: &[Key] = &[
    need("why", Shape::Name(REFUSALS), "What the subject's error must be about."),
    need("within", Shape::Span { zero: false }, "From the first offer to the error, at most."),
];

/// One table for each lane.
const ON: &[Key] = &[
    may("sim", Shape::Table(ON_LANE), "On the lane `sim`."),
    may("disk", Shape::Table(ON_LANE), "On the lane `disk`."),
    may("files", Shape::Table(ON_LANE), "On the lane `files`."),
    may("wire", Shape::Table(ON_LANE), "On the lane `wire`."),
    may("mock", Shape::Table(ON_LANE), "On the lane `mock`."),
    may("kafka", Shape::Table(ON_LANE), "On the lane `kafka`."),
    may("external", Shape::Table(ON_LANE), "On the lane `external`."),
];

const ON_LANE: &[Key] = &[
    may("outcomes", Shape::Outcomes, "Bounds there; one for the same outcome replaces the other."),
    may("recovery", Shape::Ceiling, "From the last fault's end to convergence there, at most."),
];
