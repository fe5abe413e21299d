//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::decode::DecodeArgs;
use crate::scenario::Selection;
use crate::scenario::model::LaneName;

/// Chaos and conformance harness for telemetry pipelines: no event may be lost silently.
#[derive(Debug, Parser)]
#[command(name = "dashproof", version, about, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 proven, 1 violation, 2 usage, 3 inconclusive, 4 stale \
    baseline, 5 environment, 6 nondeterminism, 70 internal.")]
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
    /// List scenarios.
    List(ListArgs),
    /// Explain a scenario in words.
    Show(ShowArgs),
    /// Check scenario files without running them.
    Check(CheckArgs),
    /// Look into frames: one JSON object per frame.
    Decode(DecodeArgs),
    /// Say what this build and machine can do, and what is missing.
    Doctor(DoctorArgs),
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

fn lane(text: &str) -> Result<LaneName, String> {
    let names = || LaneName::ALL.iter().map(|lane| lane.as_str());
    crate::scenario::lane(text).ok_or_else(|| {
        let help = crate::scenario::suggest(text, names()).unwrap_or_default();
        format!("unknown lane: {help}")
    })
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

/// `doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
