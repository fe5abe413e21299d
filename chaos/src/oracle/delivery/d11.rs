//! D11: after the faults end, the subject converges.

use crate::history::Outcome;
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{At, Index, micros, ms};
use crate::oracle::laws::LawId::D11;

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    let Some(bound) = index.scenario.expect.recovery_on(index.lane).map(micros) else {
        f.unjudged(D11, "the scenario states no recovery bound");
        return;
    };
    let healed = match healed(index) {
        Ok(healed) => healed,
        Err(why) => return f.undecided(D11, why),
    };
    f.checked(D11, 1);
    let limit = bound.saturating_add(index.tolerance_us());
    match converged(index, healed) {
        Err((slot, what)) => {
            let evidence = slot.map_or_else(Evidence::default, Evidence::event).and(healed);
            f.broken(D11, "never", evidence, || (expected(bound), what));
        }
        Ok(None) => f.undecided(D11, "nothing was offered after the last fault ended"),
        Ok(Some((at, slot))) => {
            let took = at.t_us.saturating_sub(healed.t_us);
            if took > limit {
                f.late(index, D11, "bound", Evidence::event(slot).and(healed), || {
                    (expected(bound), format!("converged after {}", ms(took)))
                });
            }
        }
    }
}

fn expected(bound_us: u64) -> String {
    format!(
        "within {} of the last fault's end every older event has an outcome and a new one is acked",
        ms(bound_us)
    )
}

/// When the last fault ended.
///
/// # Errors
/// Why nothing can be said.
fn healed(index: &Index<'_>) -> Result<At, String> {
    let mut last = None;
    for ((_, name), seen) in &index.faults {
        match (seen.begin, seen.end) {
            (Some(_), None) => return Err(format!("fault {name} was in force to the end")),
            (_, end) => last = last.max(end),
        }
    }
    last.ok_or_else(|| "no fault ended".to_owned())
}

/// The later of: the last outcome of an event offered before the end, the first ack of an event
/// offered after it. `None` when nothing was offered after it.
type Converged = Option<(At, usize)>;

fn converged(index: &Index<'_>, healed: At) -> Result<Converged, (Option<usize>, String)> {
    let mut older: Converged = None;
    let mut newer: Converged = None;
    let mut offered_after = false;
    for (slot, event) in index.events.iter().enumerate() {
        let Some(offered) = event.offered else { continue };
        let first = index.lives_of(event).find_map(|life| life.outcomes.first().copied());
        if offered < healed {
            let Some((told, _)) = first else {
                return Err((Some(slot), "an older event never got an outcome".to_owned()));
            };
            older = older.max(Some((told, slot)));
            continue;
        }
        offered_after = true;
        if let Some((told, Outcome::Acked { .. })) = first {
            newer = Some(newer.map_or((told, slot), |best| best.min((told, slot))));
        }
    }
    match (offered_after, newer) {
        (false, _) => Ok(None),
        (true, None) => Err((None, "no event that was offered afterwards was acked".to_owned())),
        (true, Some(_)) => Ok(older.max(newer)),
    }
}

/// From the last fault's end to convergence, microseconds, for the gate.
pub(in crate::oracle) fn recovery_us(index: &Index<'_>) -> Option<u64> {
    let healed = healed(index).ok()?;
    let (at, _) = converged(index, healed).ok()??;
    Some(at.t_us.saturating_sub(healed.t_us))
}
