//! D9: `flush` says Ok only when everything accepted before it has an outcome.

use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{Index, ms};
use crate::oracle::laws::LawId::D9;

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    for call in index.calls.iter().filter(|call| call.op == "flush") {
        let Some(returned) = call.returned.filter(|r| r.error.is_none()) else { continue };
        let Some(inc) = index.incs.get(call.inc) else { continue };
        for life in inc.lives.iter().filter_map(|slot| index.lives.get(*slot)) {
            if life.accepted.is_none_or(|(accepted, _)| accepted > call.at) {
                continue;
            }
            f.checked(D9, 1);
            if life.outcomes.first().is_some_and(|(told, _)| *told < returned.at) {
                continue;
            }
            let evidence = Evidence::event(life.event).and(call.at).and(returned.at);
            f.broken(D9, "pending", evidence, || {
                let expected = "an outcome of every event accepted before flush was called";
                let observed = match life.outcomes.first() {
                    Some((told, outcome)) => format!(
                        "flush said Ok, and {} came {} later",
                        outcome.label(),
                        ms(told.t_us.saturating_sub(returned.at.t_us))
                    ),
                    None => "flush said Ok, and no outcome ever came".to_owned(),
                };
                (expected.to_owned(), observed)
            });
        }
    }
}
