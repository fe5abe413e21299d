//! `dashproof judge` and `dashproof replay`: recorded histories.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::args::{Format, JudgeArgs, ReplayArgs};
use super::failure::Failure;
use super::ui::{self, Ui};
use super::{absent, crash_state, files, pool, run};
use crate::exit;
use crate::history::{Kind, Line, writer};
use crate::lane::SubjectSpec;
use crate::report::cell::{Cell, CellResult};
use crate::report::json;
use crate::scenario::model::LaneName;

/// The cell that a history is of.
fn cell(lines: &[Line]) -> Result<Cell, Failure> {
    let Some(Kind::Run { text, lane, seed, subject, scenario, .. }) =
        lines.first().map(|l| &l.kind)
    else {
        return Err(Failure::usage("the history does not begin with a `run` line"));
    };
    let path = format!("{scenario} (in the history)");
    let parsed =
        crate::scenario::parse(text, &path).map_err(|problems| Failure::broken(&problems))?;
    if parsed.id != *scenario {
        return Err(Failure::usage(format!(
            "the history says that it is of {scenario}, and holds the file of {}",
            parsed.id
        )));
    }
    let lane = crate::scenario::lane(lane)
        .ok_or_else(|| Failure::usage(format!("the history is of an unknown lane `{lane}`")))?;
    if !parsed.is_for(lane) {
        return Err(Failure::usage(format!(
            "the history says that it is of lane {}, which {scenario} does not list",
            lane.as_str()
        )));
    }
    let subject = match subject.split_once(':') {
        Some(("saboteur", name)) => SubjectSpec::Saboteur(name.to_owned()),
        Some(("driver", command)) => {
            SubjectSpec::Driver(command.split(' ').map(str::to_owned).collect())
        }
        _ => SubjectSpec::Reference,
    };
    Ok(Cell { scenario: Arc::new(parsed), lane, seed: *seed, subject })
}

pub(crate) fn judge(ui: Ui, args: &JudgeArgs) -> Result<u8, Failure> {
    let begun = Instant::now();
    let lines = files::read(&args.history)?;
    let result = CellResult::of_history(cell(&lines)?, lines, Duration::ZERO);
    let code = match result.exit_code() {
        exit::PROVEN if result.verdict != crate::oracle::Verdict::Pass => exit::INCONCLUSIVE,
        code => code,
    };
    match args.format {
        Format::Json => ui::print(&format!("{}\n", json::cell(&result))),
        Format::Human => {
            let mut out = run::told(ui, &result);
            out.push_str(&format!(
                "dashproof judge: {}: {}, {:.1} s: {}\n",
                result.cell.name(),
                result.verdict.as_str(),
                begun.elapsed().as_secs_f64(),
                exit::name(code)
            ));
            ui::print(&out);
        }
    }
    Ok(code)
}

pub(crate) fn replay(args: &ReplayArgs) -> Result<u8, Failure> {
    let recorded = files::read(&args.history)?;
    let cell = cell(&recorded)?;
    if let Some(name) = &args.crash_state {
        return crash_state::show(&cell, &recorded, name, args.to.as_deref());
    }
    if cell.lane.is_real_time() {
        return Err(Failure::usage(format!(
            "a history of lane {} cannot be replayed: only sim and disk run in virtual time\nhelp: \
             judge it, or run {} again",
            cell.lane.as_str(),
            cell.scenario.id
        )));
    }
    if cell.lane == LaneName::Sim && !cfg!(tokio_unstable) {
        return Err(absent::sim_is_missing());
    }
    let name = cell.name();
    let again = pool::simulate(cell);
    let Some((n, was, is)) = first_difference(&recorded, &again.lines) else {
        let lines = recorded.len();
        let verdict = again.verdict.as_str();
        ui::print(&format!(
            "dashproof replay: {name}: {lines} lines, identical; their verdict is still {verdict}\n"
        ));
        return Ok(exit::PROVEN);
    };
    ui::print(&format!(
        "line {n} differs\n  recorded  {was}\n  now       {is}\ndashproof replay: {name}: the \
         history differs from line {n} on: {}\n",
        exit::name(exit::NONDETERMINISM)
    ));
    Ok(exit::NONDETERMINISM)
}

/// The first line, from 1, whose text is not the same in both; `(nothing)` where one has ended.
fn first_difference(recorded: &[Line], again: &[Line]) -> Option<(usize, String, String)> {
    let text = |lines: &[Line], i: usize| {
        lines.get(i).and_then(|line| writer::line_text(line).ok()).unwrap_or_default()
    };
    let shown = |text: String| match text.trim_end() {
        "" => "(nothing)".to_owned(),
        text => text.to_owned(),
    };
    (0..recorded.len().max(again.len())).find_map(|i| {
        let (was, is) = (text(recorded, i), text(again, i));
        (was != is).then(|| (i + 1, shown(was), shown(is)))
    })
}
