//! What can be typed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dashproof_reference::checkpoint::MAX_STATE;

use super::decode::DecodeArgs;
use crate::scenario::model::LaneName;
use crate::scenario::{Selection, parse_seeds};

/// Chaos and conformance harness for telemetry pipelines: no event may be lost silently.
#[derive(Debug, Parser)]
#[command(name = "dashproof", version, about, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 proven, 1 violation, 2 usage, 3 inconclusive, 4 stale \
    baseline or explanation, 5 environment, 6 nondeterminism, 70 internal, 130 interrupted, 143 \
    terminated.")]
pub(crate) struct Cli {
    /// Folder of scenario files; the nearest `scenarios` above here if not given.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) scenarios: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run scenarios and judge what happened.
    Run(RunArgs),
    /// List scenarios.
    List(ListArgs),
    /// Explain a scenario in words.
    Show(ShowArgs),
    /// Check scenario files without running them.
    Check(CheckArgs),
    /// Judge a recorded history again.
    Judge(JudgeArgs),
    /// Run a recorded cell again and compare the histories byte by byte (sim, disk).
    Replay(ReplayArgs),
    /// Run every saboteur and show which law catches it.
    Prove(ProveArgs),
    /// Look into a directory of checkpoints, without changing anything.
    Checkpoint(CheckpointArgs),
    /// Look into frames: one JSON object per frame.
    Decode(DecodeArgs),
    /// Say what this build and machine can do, and what is missing.
    Doctor(DoctorArgs),
    /// The reference behind the driver protocol, on stdin and stdout.
    #[command(hide = true)]
    Driver(DriverArgs),
    /// A mock cluster of librdkafka, told over stdin what to do: the brokers of the lane mock.
    #[command(hide = true)]
    MockCluster {
        /// How many.
        #[arg(value_parser = clap::value_parser!(i32).range(1..=100))]
        brokers: i32,
    },
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// Which scenarios.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Which {
    /// Ids, globs over ids (outage/*) or scenario files; everything if not given.
    #[arg(value_name = "ID|GLOB|FILE")]
    pub(crate) targets: Vec<String>,
    /// Only this family (repeatable).
    #[arg(long, value_name = "NAME")]
    pub(crate) family: Vec<String>,
    /// Only with this tag (repeatable).
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Only what guards this audit row (repeatable).
    #[arg(long, value_name = "ROW")]
    pub(crate) row: Vec<String>,
}

impl Which {
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            targets: self.targets.clone(),
            families: self.family.clone(),
            tags: self.tag.clone(),
            rows: self.row.clone(),
        }
    }
}

/// Which lanes and seeds.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Where {
    /// Only on this lane (repeatable, or a,b); every lane of this build if not given.
    #[arg(long, alias = "lanes", value_name = "LANE", value_delimiter = ',', value_parser = lane)]
    pub(crate) lane: Vec<LaneName>,
    /// Seed, or seeds as a..b without b (repeatable); 0 if not given. With `LANE=` before it, for
    /// that lane alone, in the place of the others. A lane in real time runs the first one only,
    /// but where processes of brokers are harmed, which a seed moves in time.
    #[arg(long, alias = "seeds", value_name = "[LANE=]SEED|A..B", value_parser = seeds)]
    pub(crate) seed: Vec<Seeds>,
}

/// Seeds of every lane, or of one.
#[derive(Clone, Debug)]
pub(crate) struct Seeds {
    lane: Option<LaneName>,
    range: std::ops::Range<u64>,
}

fn seeds(text: &str) -> Result<Seeds, String> {
    match text.split_once('=') {
        None => Ok(Seeds { lane: None, range: parse_seeds(text)? }),
        Some((name, range)) => Ok(Seeds { lane: Some(lane(name)?), range: parse_seeds(range)? }),
    }
}

impl Where {
    /// A lane's seeds in the order given, without duplicates.
    pub(crate) fn seeds(&self, lane: LaneName) -> Vec<u64> {
        let own = self.seed.iter().filter(|seeds| seeds.lane == Some(lane));
        let common = self.seed.iter().filter(|seeds| seeds.lane.is_none());
        let has_own = own.clone().next().is_some();
        let ranges: Vec<_> = if has_own { own.collect() } else { common.collect() };
        let mut known = BTreeSet::new();
        let all = ranges.iter().flat_map(|seeds| seeds.range.clone());
        let seeds: Vec<u64> = all.filter(|seed| known.insert(*seed)).collect();
        if seeds.is_empty() { vec![0] } else { seeds }
    }
}

fn lane(text: &str) -> Result<LaneName, String> {
    let names = || LaneName::ALL.iter().map(|lane| lane.as_str());
    crate::scenario::lane(text).ok_or_else(|| {
        let help = crate::scenario::suggest(text, names()).unwrap_or_default();
        format!("unknown lane: {help}")
    })
}

/// `run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) at: Where,
    /// Of a scenario whose disk is full at every byte, play the one with so many bytes free. A
    /// violation names it.
    #[arg(long, value_name = "BYTES")]
    pub(crate) free: Option<u64>,
    /// What is not run (a lane that was named and is not there, a scenario that was named and is
    /// not written for any lane that was, a full disk where no tmpfs can be mounted) is told and
    /// counted all the same, and does not make the run inconclusive.
    #[arg(long)]
    pub(crate) allow_not_run: bool,
    /// Compare what the lanes say of each scenario; a difference that no agreement.toml explains
    /// ends with 1, an explanation of none with 4.
    #[arg(long)]
    pub(crate) agree: bool,
    /// The cluster of the lane external: brokers that answer in plaintext, separated by commas. If
    /// not given, what the environment variable `DASHPROOF_BOOTSTRAP` names. Topics are made
    /// there and deleted; nothing else is touched.
    #[arg(long, value_name = "HOST:PORT[,HOST:PORT]")]
    pub(crate) bootstrap: Option<String>,
    /// Output.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Write history, ledger, metrics and scenario of every cell below this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Write them for cells that do not pass alone, below this folder; `out` if not given.
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub(crate) failures: Option<PathBuf>,
    /// Cells at once, of those in virtual time and of those in real time each; as many as there are
    /// processors (sim, disk) and twenty (real time, they mostly wait) if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: Option<u16>,
    /// Put this saboteur in the place of the reference: a subject that is wrong on purpose.
    #[arg(long, value_name = "NAME", conflicts_with = "driver")]
    pub(crate) saboteur: Option<String>,
    /// Put another implementation in the place of the reference: a program that speaks the driver
    /// protocol, and its arguments, split at blanks. Lanes in real time only.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) driver: Option<String>,
}

/// `list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Only scenarios written for this lane (repeatable, or a,b).
    #[arg(long, alias = "lanes", value_name = "LANE", value_delimiter = ',', value_parser = lane)]
    pub(crate) lane: Vec<LaneName>,
    /// Output.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// `show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Id or file.
    #[arg(value_name = "ID|FILE")]
    pub(crate) target: String,
}

/// `check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Files or folders; the scenario folder if not given.
    #[arg(value_name = "FILE|DIR")]
    pub(crate) paths: Vec<PathBuf>,
    /// Output.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// `judge`
#[derive(Debug, Args)]
pub(crate) struct JudgeArgs {
    /// A history, or the folder that `run --out` wrote it to.
    #[arg(value_name = "events.jsonl|DIR")]
    pub(crate) history: PathBuf,
    /// Output.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// `replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A history, or the folder that `run --out` wrote it to.
    #[arg(value_name = "events.jsonl|DIR")]
    pub(crate) history: PathBuf,
    /// Show this crash state of a history of the lanes disk or sim: the files of its disk, and what
    /// the store or spool answered there. A violation names it, as m0.op17.v3.
    #[arg(long, value_name = "NAME")]
    pub(crate) crash_state: Option<String>,
    /// With --crash-state: write the files of that disk into this new folder.
    #[arg(long, value_name = "DIR", requires = "crash_state")]
    pub(crate) to: Option<PathBuf>,
}

/// `checkpoint`
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    /// What to look at.
    #[command(subcommand)]
    pub(crate) look: Look,
}

/// What to look at in a directory of checkpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum Look {
    /// Threads with their checkpoints, newest first, and which is the latest.
    Ls(LookArgs),
    /// Everything that is known of every file.
    Show(LookArgs),
    /// Files that are not healthy; exit code 1 if one is damaged, refused or unreadable, 3 if one
    /// is unproven.
    Verify(LookArgs),
}

/// A directory of checkpoints.
#[derive(Debug, Args)]
pub(crate) struct LookArgs {
    /// The directory.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Most bytes of a state that is read or inflated.
    #[arg(long, value_name = "BYTES", default_value_t = MAX_STATE)]
    pub(crate) max_state: u64,
    /// Output.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// `prove`
#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    /// Only these saboteurs; all if not given.
    #[arg(value_name = "SABOTEUR")]
    pub(crate) saboteurs: Vec<String>,
    /// Only saboteurs that are caught on these lanes; all but `kafka`, which needs Docker, if
    /// neither lanes nor saboteurs are given.
    #[arg(long, alias = "lanes", value_name = "LANE", value_delimiter = ',', value_parser = lane)]
    pub(crate) lane: Vec<LaneName>,
    /// Seeds to try until one catches.
    #[arg(long, alias = "seeds", value_name = "A..B", value_parser = parse_seeds,
        default_value = "0..8")]
    pub(crate) seed: std::ops::Range<u64>,
    /// What is not run (a saboteur that was named and is caught on no lane that was, a lane that is
    /// not there) is told and counted all the same, and does not make it inconclusive.
    #[arg(long)]
    pub(crate) allow_not_run: bool,
    /// Output.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// `doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Output.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Print JSON: the same as --format json.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

/// `driver`
#[derive(Debug, Args)]
pub(crate) struct DriverArgs {
    /// Serve this saboteur in the place of the reference.
    #[arg(long, value_name = "NAME")]
    pub(crate) saboteur: Option<String>,
}
