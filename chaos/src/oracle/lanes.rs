//! Which lane judges which law, and how sharply.

use super::laws::{Family, LawId};
use crate::scenario::model::LaneName;

/// How a lane judges a law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judging {
    /// Any deviation is a violation.
    Exact,
    /// Within this tolerance, or for this part.
    Bounded(&'static str),
    /// Not at all, for this reason.
    NotJudged(&'static str),
}

impl Judging {
    /// True unless the lane cannot judge the law.
    #[must_use]
    pub const fn is_judged(self) -> bool {
        !matches!(self, Self::NotJudged(_))
    }
}

const TICK: Judging = Judging::Bounded("one tick");
const STALL: Judging = Judging::Bounded("2 s and the machine's own stall");
const GAUGE: Judging = Judging::Bounded("the highest gauge");
const IN_LOGS: Judging = Judging::Bounded("the records in the logs; the rest by property tests");
const CLIENT: Judging =
    Judging::Bounded("not_judged{client_library} where the copy or claim is librdkafka's own");

const KILLED: Judging =
    Judging::Bounded("a killed process: what the system took stays; a dead machine is `disk`'s");
const KILLED_FILES: Judging =
    Judging::Bounded("as the file system under the subject shows it; of no driver");

/// The table law × lane.
#[must_use]
pub const fn judging(law: LawId, lane: LaneName) -> Judging {
    use Judging::{Bounded, Exact, NotJudged};
    use LaneName as L;
    use LawId as Id;
    match (law, lane) {
        // Said by the scenario or about the protocol: wherever a scenario runs.
        (Id::Expect | Id::Protocol | Id::S3 | Id::A1, _) => Exact,
        // Stores have lanes of their own.
        (Id::K1, L::Files) => KILLED,
        (Id::K5, L::Files) => NotJudged("nobody sets the clock of this machine"),
        (Id::K9, L::Files) => KILLED_FILES,
        (Id::K11, L::Files) => Bounded("a full disk; other errors are made on the disk lane"),
        _ if matches!(law.family(), Family::Checkpoint) => match lane {
            L::Disk | L::Files => Exact,
            _ => NotJudged("stores are judged by the lanes disk and files"),
        },
        (Id::M1, L::Disk | L::Files) => Bounded(
            "the series of stores, but for bytes and index writes, and those of state diffs",
        ),
        (Id::R3, L::Disk) => Bounded("state diffs, by an allocator that counts, in KiB"),
        (Id::R5, L::Disk) | (Id::M6, L::Files) | (Id::D7 | Id::R1 | Id::R2, L::Sim) => Exact,
        (_, L::Disk) => NotJudged("the disk lane has no broker and no producer"),
        (_, L::Files) => NotJudged("the files lane has no broker and no producer"),
        (Id::D3, L::Wire | L::Mock | L::Kafka | L::External)
        | (Id::D5, L::Wire | L::Kafka | L::External) => CLIENT,
        (Id::D5 | Id::D6, L::Mock) => {
            Bounded("not where a request may be resent: the mock cluster checks no sequences")
        }
        (Id::D7, _) => Bounded("classes and counts; the client hides the timing of its retries"),
        (Id::D8 | Id::D10 | Id::D11, L::Sim) => TICK,
        (Id::D8 | Id::D10 | Id::D11, _) | (Id::S1 | Id::S2, L::Kafka) => STALL,
        (Id::M6, L::Sim) => NotJudged("subject and harness share one process"),
        (Id::C2 | Id::C4 | Id::C6, _) => IN_LOGS,
        (Id::C1 | Id::C3 | Id::C5, _) => NotJudged("judged by property tests"),
        (Id::R1 | Id::R2, _) => GAUGE,
        (Id::R3, _) => NotJudged("no scenario of a producer states a ceiling yet"),
        (Id::R4, L::Sim) => NotJudged("virtual time stands still while a call blocks"),
        (Id::R4, _) => Bounded("stalls of the subject's runtime beyond the machine's own"),
        (Id::R5, _) => NotJudged("state diffs are judged by the disk lane"),
        (Id::S1 | Id::S2, _) => {
            NotJudged("needs a broker with TLS and SASL: the lane kafka has one")
        }
        (Id::T1 | Id::T2 | Id::T3 | Id::T4, _) => NotJudged("judged by the trace family's tests"),
        _ => Exact,
    }
}
