//! The laws: what every implementation is held to, each with an id and one sentence.

use std::fmt;

macro_rules! laws {
    ($($family:ident { $($id:ident $sentence:literal)+ })+) => {
        /// The id of a law.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LawId {
            $($(#[doc = $sentence] $id,)+)+
        }

        /// Every law, in the order in which they are reported.
        pub const LAWS: &[Law] = &[
            $($(Law { id: LawId::$id, family: Family::$family, sentence: $sentence },)+)+
        ];

        impl LawId {
            const fn law(self) -> &'static Law {
                match self {
                    $($(Self::$id => {
                        const LAW: &Law = &Law {
                            id: LawId::$id,
                            family: Family::$family,
                            sentence: $sentence,
                        };
                        LAW
                    })+)+
                }
            }

            /// `D1`, `M1`, …; the pseudo-laws are `EXPECT` and `PROTOCOL`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($(Self::$id => name(stringify!($id)),)+)+
                }
            }
        }
    };
}

/// What a law is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Where events end.
    Delivery,
    /// What is exported about it.
    Metrics,
    /// The dead-letter path.
    Dlq,
    /// Frames.
    Codec,
    /// Stored states.
    Checkpoint,
    /// Memory, queues, threads.
    Resources,
    /// Transport security and secrets.
    Security,
    /// Trace collection.
    Trace,
    /// The surface.
    Api,
    /// What the scenario itself pins; not a law of the design.
    Scenario,
}

impl Family {
    /// Lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Metrics => "metrics",
            Self::Dlq => "dlq",
            Self::Codec => "codec",
            Self::Checkpoint => "checkpoint",
            Self::Resources => "resources",
            Self::Security => "security",
            Self::Trace => "trace",
            Self::Api => "api",
            Self::Scenario => "scenario",
        }
    }
}

/// A law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Law {
    /// Its id.
    pub id: LawId,
    /// What it is about.
    pub family: Family,
    /// What must hold, in one sentence.
    pub sentence: &'static str,
}

laws! {
    Delivery {
        D1 "every offered event has exactly one outcome when close or drop has returned"
        D2 "what is said acked or persisted is in the main log before; what is spooled, in a file"
        D3 "what is said not to be in a log is not in it"
        D4 "the logs hold nothing that was not offered"
        D5 "an event is in the main log once, unless settings, a doubt or a crash explain the copy"
        D6 "within a thread and partition events are in acceptance order, with gapless sequences"
        D7 "retryable errors are retried with backoff inside its bounds, permanent ones never"
        D8 "deadlines bind: of the event, of its DLQ path and of flush"
        D9 "flush says Ok only when everything accepted before it has an outcome"
        D10 "close returns by its deadline and leaks no task, thread or file handle"
        D11 "after the faults, events are acked again within the scenario's bound, and spools drain"
    }
    Metrics {
        M1 "each exported series equals its row of the ledger, reason by reason"
        M2 "every series with closed labels exists, at zero, from the start"
        M3 "gauges return to their idle value"
        M4 "counters never go back, and no series vanishes"
        M5 "the application can observe every outcome, and the close report equals the ledger"
        M6 "the library prints nothing to stdout or stderr"
    }
    Dlq {
        Q1 "a dead-lettered event is in the DLQ byte for byte, or cut with size and hash said"
        Q2 "an event whose main path failed is offered to the DLQ, and both failing still balances"
        Q3 "no event goes round between main and DLQ"
        Q4 "DLQ sends are bounded, and those over the limit are counted"
        Q5 "DLQ failures carry topic, partition, offset, thread and trace id"
        Q6 "DLQ records stay under the broker's limit"
    }
    Codec {
        C1 "decode(encode(x)) = x"
        C2 "the default decode is strict on frame, schema and every member of a batch"
        C3 "any input gives a value or a typed error within the memory ceiling"
        C4 "corruption is detected"
        C5 "unknown fields and newer minor content are tolerated as the policy says"
        C6 "threshold, level and header flag are honoured; a message is compressed at most once"
    }
    Checkpoint {
        K1 "after a crash the latest checkpoint is the last acknowledged one or the one in flight"
        K2 "corrupt data is never returned as valid; the newest valid one is, and it is counted"
        K3 "no damage to the index changes an answer"
        K4 "ids are unique across threads, processes and restarts, and safe as file names"
        K5 "order is by generation, never by wall clock"
        K6 "every variant keeps every law"
        K7 "a save that says Ok can be loaded"
        K8 "older formats are read, newer ones refused with a typed error"
        K9 "temp files are unpredictable, private and swept; no sync error is ignored"
        K10 "one bad file blocks nothing else"
        K11 "disk full, permission denied and I/O errors are told apart and harm nothing older"
    }
    Resources {
        R1 "open attempts stay within the in-flight cap"
        R2 "accepted and unresolved events stay within the queue's caps"
        R3 "memory stays under its stated ceiling"
        R4 "no blocking call and no lock across an await on an async path"
        R5 "a state that can have no diff is typed and counted, and the diffs after it are sound"
    }
    Security {
        S1 "every TLS and SASL option works against a real broker"
        S2 "wrong credentials fail within a bound, clearly, and the events are accounted for"
        S3 "secrets appear in no text that leaves the process"
    }
    Trace {
        T1 "traces are collected in one pass over all partitions"
        T2 "the collector's timeout binds on an idle topic"
        T3 "batches, errors and duplicates are understood"
        T4 "a partial trace is said to be partial"
    }
    Api {
        A1 "no panic is reachable, and an unsupported operation is a typed error"
    }
    Scenario {
        Expect "what the scenario expects came true"
        Protocol "the subject's claims follow the driver protocol"
    }
}

/// The pseudo-laws are written like marks of a report, not like ids of the design.
const fn name(variant: &'static str) -> &'static str {
    match variant.as_bytes() {
        b"Expect" => "EXPECT",
        b"Protocol" => "PROTOCOL",
        _ => variant,
    }
}

impl LawId {
    /// What must hold, in one sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        self.law().sentence
    }

    /// What it is about.
    #[must_use]
    pub const fn family(self) -> Family {
        self.law().family
    }

    /// The law of this name, which scenario files and saboteurs use. Pseudo-laws cannot be named:
    /// they are always judged.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        names().find(|law| law.as_str() == name)
    }
}

/// The laws that a scenario can name, for checks and suggestions.
pub fn names() -> impl Iterator<Item = LawId> {
    LAWS.iter().filter(|law| law.family != Family::Scenario).map(|law| law.id)
}

impl fmt::Display for LawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
