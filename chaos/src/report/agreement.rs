//! What the lanes of a run say of each other: pairs compared, differences explained or not, and the
//! table of all scenarios × lanes.

mod alone;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::cell::CellResult;
use super::table::aligned;
use crate::exit;
use crate::history::Kind;
use crate::lane::{SubjectSpec, external};
use crate::oracle::agree::{Comparison, Difference, Listed, Side, compare};
use crate::oracle::{Verdict, quoted};
use crate::scenario::Explanation;
use crate::scenario::model::{LaneName, Scenario};
pub use alone::{alone, names};

/// What a lane said of a scenario, over all seeds the last that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    NotApplicable,
    NotRun,
    Pass,
    Inconclusive,
    Fail,
    Error,
}

impl Said {
    fn of(result: &CellResult) -> Self {
        match result.verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Fail => Self::Fail,
            Verdict::Inconclusive => Self::Inconclusive,
            Verdict::HarnessError => Self::Error,
            Verdict::NotApplicable if result.not_run => Self::NotRun,
            Verdict::NotApplicable => Self::NotApplicable,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::NotApplicable => "n.a.",
            Self::NotRun => "not run",
            Self::Pass => "pass",
            Self::Inconclusive => "inconcl.",
            Self::Fail => "FAIL",
            Self::Error => "error",
        }
    }
}

/// A cell's side, where its history is one of the run that was asked for: to its end, with every
/// fault met.
#[must_use]
pub fn side(result: &CellResult) -> Option<Side> {
    let whole = matches!(result.verdict, Verdict::Pass | Verdict::Fail) && result.error.is_none();
    let judgement = result.judgement.as_ref().filter(|_| whole)?;
    Some(Side::judged(&result.lines, &result.cell.scenario, judgement))
}

/// The cluster of a cell on the lane external, as its history names it.
fn named_cluster(result: &CellResult) -> Option<String> {
    let Some(Kind::Run { environment, .. }) = result.lines.first().map(|line| &line.kind) else {
        return None;
    };
    let named = environment.iter().find(|(key, _)| key == external::BOOTSTRAP);
    named.filter(|_| result.cell.lane == LaneName::External).map(|(_, value)| value.clone())
}

/// Collects the sides of a run.
#[derive(Debug, Default)]
pub struct Board {
    scenarios: BTreeMap<String, Arc<Scenario>>,
    said: BTreeMap<(String, LaneName), Said>,
    sides: BTreeMap<(String, u64), Vec<Side>>,
    subject: Option<SubjectSpec>,
    /// The cluster that the user named, where a cell ran there.
    bootstrap: Option<String>,
}

/// A lane that could not run, and why.
pub type Absent = BTreeMap<LaneName, String>;

impl Board {
    /// Adds a cell, which still has its history.
    pub fn add(&mut self, result: &CellResult) {
        let id = &result.cell.scenario.id;
        self.scenarios.entry(id.clone()).or_insert_with(|| Arc::clone(&result.cell.scenario));
        self.subject.get_or_insert_with(|| result.cell.subject.clone());
        self.bootstrap = self.bootstrap.take().or_else(|| named_cluster(result));
        let said = Said::of(result);
        let known = self.said.entry((id.clone(), result.cell.lane)).or_insert(said);
        *known = said.max(*known);
        if let Some(side) = side(result) {
            self.sides.entry((id.clone(), result.cell.seed)).or_default().push(side);
        }
    }

    /// Compares. `lanes` are the columns of the table; `absent` those that could not run.
    #[must_use]
    pub fn close(
        mut self,
        lanes: &[LaneName],
        absent: Absent,
        explanations: &[Explanation],
    ) -> Agreement {
        let mut pairs = Vec::new();
        for ((id, seed), mut sides) in std::mem::take(&mut self.sides) {
            let Some(scenario) = self.scenarios.get(&id) else { continue };
            sides.sort_by_key(|side| side.lane);
            for (n, a) in sides.iter().enumerate() {
                for b in sides.iter().skip(n + 1) {
                    let compared = compare(a, b, &scenario.expect.agree);
                    let lanes = [a.lane, b.lane];
                    let command = self.command(scenario, lanes, seed);
                    pairs.push(Pair::new(&id, seed, lanes, compared, explanations, command));
                }
            }
        }
        let known: BTreeSet<(&str, [LaneName; 2])> =
            pairs.iter().map(|pair| (pair.id.as_str(), pair.lanes)).collect();
        let explained = |e: &Explanation| {
            let same = pairs.iter().filter(|pair| pair.id == e.id && pair.lanes == e.lanes);
            same.flat_map(|pair| &pair.differences).any(|(d, _)| d.field == e.field)
        };
        // explanations are about the reference: what others do makes none of them stale
        let is_reference = matches!(self.subject, None | Some(SubjectSpec::Reference));
        let stale = |e: &&Explanation| {
            is_reference && known.contains(&(e.id.as_str(), e.lanes)) && !explained(e)
        };
        let stale = explanations.iter().filter(stale).cloned().collect();
        let rows = self.rows(lanes, &absent, &pairs);
        Agreement { lanes: lanes.to_vec(), rows, pairs, stale, absent }
    }

    fn command(&self, scenario: &Scenario, [a, b]: [LaneName; 2], seed: u64) -> String {
        let named = if scenario.named_by_file { &scenario.path } else { &scenario.id };
        let lanes = format!("{},{}", a.as_str(), b.as_str());
        let named = quoted(named);
        let mut command = format!("dashproof run {named} --lanes {lanes} --seed {seed} --agree");
        if let Some(bootstrap) = self.bootstrap.as_ref().filter(|_| b == LaneName::External) {
            command.push_str(&format!(" --bootstrap {}", quoted(bootstrap)));
        }
        match &self.subject {
            Some(SubjectSpec::Saboteur(name)) => command.push_str(&format!(" --saboteur {name}")),
            Some(SubjectSpec::Driver(words)) => {
                command.push_str(&format!(" --driver '{}'", words.join(" ")));
            }
            Some(SubjectSpec::Reference) | None => {}
        }
        command
    }

    fn rows(&self, lanes: &[LaneName], absent: &Absent, pairs: &[Pair]) -> Vec<Row> {
        let row = |(id, scenario): (&String, &Arc<Scenario>)| {
            let own: Vec<&Pair> = pairs.iter().filter(|pair| pair.id == *id).collect();
            let differs = |lane: LaneName| {
                own.iter().any(|p| p.lanes.contains(&lane) && p.unexplained().next().is_some())
            };
            let said = |lane: LaneName| match self.said.get(&(id.clone(), lane)) {
                Some(Said::Pass) if differs(lane) => "differs",
                Some(said) => said.as_str(),
                None if absent.contains_key(&lane) && scenario.is_for(lane) => "not run",
                None => Said::NotApplicable.as_str(),
            };
            Row {
                id: id.clone(),
                alone: alone(scenario, lanes),
                said: lanes.iter().map(|lane| said(*lane)).collect(),
                pairs: own.len(),
                differences: own.iter().map(|pair| pair.unexplained().count()).sum(),
                explained: own.iter().map(|pair| pair.explained().count()).sum(),
            }
        };
        self.scenarios.iter().map(row).collect()
    }
}

/// Two lanes that were compared.
#[derive(Clone, Debug)]
struct Pair {
    id: String,
    seed: u64,
    lanes: [LaneName; 2],
    checks: u64,
    /// With the reason of each that is explained.
    differences: Vec<(Difference, Option<String>)>,
    listed: Vec<Listed>,
    /// The command that compares them again.
    command: String,
}

impl Pair {
    fn new(
        id: &str,
        seed: u64,
        lanes: [LaneName; 2],
        compared: Comparison,
        explanations: &[Explanation],
        command: String,
    ) -> Self {
        let Comparison { checks, differences, listed } = compared;
        let with_reason = |difference: Difference| {
            let same = explanations
                .iter()
                .find(|e| e.id == id && e.lanes == lanes && e.field == difference.field);
            let reason = same.map(|explanation| explanation.reason.clone());
            (difference, reason)
        };
        let differences = differences.into_iter().map(with_reason).collect();
        Self { id: id.to_owned(), seed, lanes, checks, differences, listed, command }
    }

    fn unexplained(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|(_, reason)| reason.is_none()).map(|(d, _)| d)
    }

    fn explained(&self) -> impl Iterator<Item = (&Difference, &str)> {
        self.differences.iter().filter_map(|(d, reason)| Some((d, reason.as_deref()?)))
    }

    fn between(&self) -> String {
        let [a, b] = self.lanes.map(LaneName::as_str);
        format!("{} between {a} and {b}, seed {}", self.id, self.seed)
    }
}

/// A scenario over the lanes.
#[derive(Clone, Debug)]
struct Row {
    id: String,
    /// Why no two of the lanes can run it.
    alone: Option<String>,
    /// By column.
    said: Vec<&'static str>,
    /// Pairs of lanes that were compared.
    pairs: usize,
    differences: usize,
    explained: usize,
}

impl Row {
    fn agreement(&self) -> String {
        let mut parts = Vec::new();
        if self.differences > 0 {
            parts.push(format!("{} NOT EXPLAINED", self.differences));
        }
        if self.explained > 0 {
            parts.push(format!("{} explained", self.explained));
        }
        match (self.pairs, parts.is_empty()) {
            (0, _) => "not compared".to_owned(),
            (_, true) => "agree".to_owned(),
            (_, false) => parts.join(", "),
        }
    }
}

/// Whether the lanes agree.
#[derive(Clone, Debug)]
pub struct Agreement {
    lanes: Vec<LaneName>,
    rows: Vec<Row>,
    pairs: Vec<Pair>,
    stale: Vec<Explanation>,
    absent: Absent,
}

impl Agreement {
    /// The exit code of the comparison alone.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let differs = self.pairs.iter().any(|pair| pair.unexplained().next().is_some());
        let codes = [
            (differs, exit::VIOLATION),
            (!self.stale.is_empty(), exit::STALE),
            (self.pairs.is_empty(), exit::INCONCLUSIVE),
        ];
        exit::worst(codes.iter().filter(|(applies, _)| *applies).map(|(_, code)| *code))
    }

    /// Those of these scenarios of which no two lanes were compared, each with why.
    #[must_use]
    pub fn not_compared(&self, ids: &BTreeSet<String>) -> Vec<(&str, String)> {
        let lonely = self.rows.iter().filter(|row| row.pairs == 0 && ids.contains(&row.id));
        let why = |row: &Row| {
            row.alone.clone().unwrap_or_else(|| {
                let said = self.lanes.iter().zip(&row.said);
                let said: Vec<_> =
                    said.map(|(lane, said)| format!("{} {said}", lane.as_str())).collect();
                format!("two lanes must run it to the end, and they said: {}", said.join(", "))
            })
        };
        lonely.map(|row| (row.id.as_str(), why(row))).collect()
    }

    /// True where this difference between these lanes was found and is not explained.
    #[must_use]
    pub fn differs_in(&self, field: &str) -> bool {
        self.pairs.iter().flat_map(Pair::unexplained).any(|d| d.field == field)
    }

    /// What is not explained, in a few words.
    #[must_use]
    pub fn unexplained(&self) -> String {
        let fields = self.pairs.iter().flat_map(Pair::unexplained).map(|d| d.field.as_str());
        fields.collect::<Vec<_>>().join(", ")
    }

    /// For people: differences with both sides and the command, then stale explanations. `in_full`
    /// with the counts that are not compared.
    #[must_use]
    pub fn differences(&self, in_full: bool) -> String {
        let mut out = String::new();
        for pair in &self.pairs {
            let [a, b] = pair.lanes.map(LaneName::as_str);
            if pair.unexplained().next().is_some() {
                out.push_str(&format!("DIFFERS  {}\n", pair.between()));
                for Difference { field, says: [here, there] } in pair.unexplained() {
                    out.push_str(&format!("  {field}\n    {a:<10} {here}\n    {b:<10} {there}\n"));
                }
                out.push_str(&format!("  reproduce  {}\n", pair.command));
            }
            for (difference, reason) in pair.explained() {
                out.push_str(&format!("explained  {}\n", pair.between()));
                out.push_str(&format!("  {}: {reason}\n", difference.field));
            }
            let listed = pair.listed.iter().filter(|listed| listed.counts[0] != listed.counts[1]);
            let listed: Vec<String> = listed
                .map(|Listed { class, counts: [here, there] }| {
                    format!("{class} {a} {here} {b} {there}")
                })
                .collect();
            if in_full && !listed.is_empty() {
                let listed = listed.join("; ");
                out.push_str(&format!(
                    "not compared  {}, touched by a fault: {listed}\n",
                    pair.between()
                ));
            }
        }
        for Explanation { id, lanes: [a, b], field, path, line, .. } in &self.stale {
            out.push_str(&format!(
                "STALE  {path}:{line}: {id} on {} and {} agrees in {field}: take the entry out\n",
                a.as_str(),
                b.as_str()
            ));
        }
        out
    }

    /// For people: one row per scenario.
    #[must_use]
    pub fn table(&self) -> String {
        let mut lines = vec![vec!["scenario".to_owned()]];
        for head in &mut lines {
            head.extend(self.lanes.iter().map(|lane| lane.as_str().to_owned()));
            head.push("agreement".to_owned());
        }
        for row in &self.rows {
            let mut line = vec![row.id.clone()];
            line.extend(row.said.iter().map(|said| (*said).to_owned()));
            line.push(row.agreement());
            lines.push(line);
        }
        aligned(&lines, usize::MAX)
    }

    /// The one line that says it all; `code` is what the whole command ends with.
    #[must_use]
    pub fn line(&self, code: u8) -> String {
        let compared: BTreeSet<&str> = self.pairs.iter().map(|pair| pair.id.as_str()).collect();
        let count = |n: usize, what: &str| {
            if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
        };
        let mut parts = vec![
            format!(
                "{} of lanes compared, {}",
                count(self.pairs.len(), "pair"),
                count(compared.len(), "scenario")
            ),
            count(self.pairs.iter().map(|p| p.unexplained().count()).sum(), "difference"),
        ];
        let explained: usize = self.pairs.iter().map(|p| p.explained().count()).sum();
        parts.push(format!("{explained} more explained"));
        if !self.stale.is_empty() {
            parts.push(count(self.stale.len(), "STALE explanation"));
        }
        if self.pairs.is_empty() {
            parts
                .push("NOTHING was compared: no two lanes ran the same scenario to its end".into());
        }
        let lonely = self.rows.iter().filter(|row| row.pairs == 0).count();
        if lonely > 0 && !self.pairs.is_empty() {
            parts.push(format!("{} not compared", count(lonely, "scenario")));
        }
        let absent: Vec<&str> = self.absent.keys().map(|lane| lane.as_str()).collect();
        if !absent.is_empty() {
            parts.push(format!("NOT RUN: {}", absent.join(", ")));
        }
        format!("dashproof agree: {}: {}", parts.join("; "), exit::name(code))
    }

    /// For programs: one object per pair.
    pub fn pairs(&self) -> impl Iterator<Item = Value> {
        self.pairs.iter().map(|pair| {
            let [a, b] = pair.lanes.map(LaneName::as_str);
            let difference = |(d, reason): &(Difference, Option<String>)| {
                json!({ "field": d.field, a: d.says[0], b: d.says[1], "explained": reason })
            };
            let listed = |listed: &Listed| {
                json!({ "class": listed.class, a: listed.counts[0], b: listed.counts[1] })
            };
            json!({
                "type": "agreement",
                "scenario": pair.id,
                "seed": pair.seed,
                "lanes": [a, b],
                "checks": pair.checks,
                "differences": pair.differences.iter().map(difference).collect::<Vec<_>>(),
                "listed": pair.listed.iter().map(listed).collect::<Vec<_>>(),
                "reproduce": pair.command,
            })
        })
    }

    /// For programs: the table, and what is wrong over all.
    #[must_use]
    pub fn summary(&self) -> Value {
        let row = |row: &Row| {
            let said: serde_json::Map<String, Value> = self
                .lanes
                .iter()
                .zip(&row.said)
                .map(|(lane, said)| (lane.as_str().to_owned(), Value::from(*said)))
                .collect();
            json!({
                "scenario": row.id,
                "lanes": said,
                "pairs": row.pairs,
                "differences": row.differences,
                "explained": row.explained,
            })
        };
        let stale = |e: &Explanation| {
            let lanes = e.lanes.map(LaneName::as_str);
            json!({ "path": e.path, "line": e.line, "scenario": e.id, "lanes": lanes,
                "field": e.field })
        };
        let absent: serde_json::Map<String, Value> = self
            .absent
            .iter()
            .map(|(lane, why)| (lane.as_str().to_owned(), Value::from(why.as_str())))
            .collect();
        json!({
            "table": self.rows.iter().map(row).collect::<Vec<_>>(),
            "stale": self.stale.iter().map(stale).collect::<Vec<_>>(),
            "not_run": absent,
            "exit": self.exit_code(),
        })
    }
}
