//! Laws about bounds: R1, R2, R4.

use super::findings::{Evidence, Findings, STALL_LIMIT_US};
use super::index::{At, Index, ms};
use super::laws::LawId::{R1, R2, R4};
use super::load::Peak;
use super::metrics::text;
use crate::history::{Kind, Line, Route, Src};
use crate::scenario::model::LaneName;

/// Gauges with their caps: in every scrape.
struct Cap {
    law: super::laws::LawId,
    gauge: &'static str,
    label: Option<(&'static str, &'static str)>,
    most: u64,
}

/// R1 and R2: by the lines where they are exact, by the highest gauge everywhere.
pub(super) fn judge_caps(index: &Index<'_>, f: &mut Findings) {
    let settings = &index.settings;
    let open = settings.max_in_flight as u64;
    let events = settings.queue.max_events as u64;
    let bytes = settings.queue.max_bytes as u64;
    let main = Some(("route", Route::Main.as_str()));
    let caps = [
        Cap { law: R1, gauge: "dashstream_open_attempts", label: main, most: open },
        Cap { law: R1, gauge: "dashstream_open_attempts_max", label: None, most: open },
        Cap { law: R2, gauge: "dashstream_queue_events", label: None, most: events },
        Cap { law: R2, gauge: "dashstream_queue_events_max", label: None, most: events },
        Cap { law: R2, gauge: "dashstream_queue_bytes", label: None, most: bytes },
    ];
    for (slot, inc) in index.incs.iter().enumerate() {
        for at in &inc.scrapes {
            gauges(index, *at, &caps, f);
        }
        if index.lane != LaneName::Sim {
            continue;
        }
        let peaks = index.peaks(slot);
        let exact = [
            (R1, "open", "open main attempts", peaks.main, open),
            (R2, "events", "accepted and unresolved events", peaks.events, events),
            (R2, "bytes", "bytes of accepted and unresolved events", peaks.bytes, bytes),
        ];
        for (law, rule, what, peak, most) in exact {
            let Peak { count, at } = peak;
            f.checked(law, 1);
            if count > most {
                let evidence = at.map_or_else(Evidence::default, Evidence::line);
                f.broken(law, rule, evidence, || {
                    (format!("at most {most} {what}"), format!("{count} at a time"))
                });
            }
        }
    }
}

fn gauges(index: &Index<'_>, at: At, caps: &[Cap], f: &mut Findings) {
    let Some(Line { kind: Kind::Scrape { text, .. }, .. }) = index.line(at) else { return };
    // One that cannot be read is M1's.
    let Ok(read) = text::parse(text) else { return };
    for cap in caps {
        let labels: Vec<(&str, &str)> = cap.label.into_iter().collect();
        let Some(found) = read.value(cap.gauge, &labels) else { continue };
        f.checked(cap.law, 1);
        if found > cap.most as f64 {
            f.broken(cap.law, cap.gauge, Evidence::line(at), || {
                (format!("{} at most {}", cap.gauge, cap.most), found.to_string())
            });
        }
    }
}

/// A runtime that serves a timer this much later than the machine itself did was blocked.
const BLOCKED_US: u64 = 250_000;

/// R4: the subject's runtime stands still only when the machine does.
pub(super) fn judge_blocking(index: &Index<'_>, f: &mut Findings) {
    let beats = index.procs().filter(|fact| fact.what == "stall" && fact.src == Src::Subject);
    let page_ins = index.page_ins();
    for beat in beats {
        f.checked(R4, 1);
        let late = u64::try_from(beat.value).unwrap_or(0);
        let allowed = BLOCKED_US.saturating_add(index.stall_us);
        if late > allowed && page_ins > 0 {
            f.undecided(
                R4,
                format!(
                    "a timer was served {} late, and the subject waited {page_ins} times for the \
                     system to read its own pages from a disk",
                    ms(late)
                ),
            );
        } else if late > allowed {
            let text = || {
                let machine = ms(index.stall_us);
                let expected = format!(
                    "the subject's runtime is never late by more than {} and the machine's own \
                     {machine}",
                    ms(BLOCKED_US)
                );
                (expected, format!("a timer was served {} late", ms(late)))
            };
            // brokers that stand still are no reason to stand still with them
            if index.stall_us > STALL_LIMIT_US {
                f.late(index, R4, "blocked", Evidence::line(beat.at), text);
            } else {
                f.broken(R4, "blocked", Evidence::line(beat.at), text);
            }
        }
    }
}
