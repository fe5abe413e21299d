//! The rate limit against truth: the documented token bucket, replayed over what was offered.
//!
//! A bucket starts full with `burst` tokens, gains `rate` per second up to `burst`, and gives one
//! to each event that passes; it is asked at the call, after the size. Offers are the harness's, so
//! they date the calls. Between an offer and the first word about the event lies the moment at
//! which the bucket was asked: the longest such span of an incarnation counts as tokens, in favour
//! of the subject. In the simulation a call takes no time, and the replay is exact.
//!
//! The harness names no tenant in its events: all of an incarnation share one bucket.

use crate::history::Outcome;
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{At, Index, Life, ms};
use crate::oracle::laws::LawId::M1;
use crate::scenario::model::LaneName;

/// What a limiter did with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// It took a token.
    Passed,
    /// It may have taken one: it was rejected by something that may stand before or behind.
    Perhaps,
    /// It found none.
    Stopped,
    /// It never got that far.
    Before,
}

impl Passage {
    /// What the history says, up to a line.
    pub(super) fn of(index: &Index<'_>, life: &Life<'_>, until: usize) -> Self {
        let told = life.outcomes.first().filter(|(at, _)| at.line < until);
        let accepted = life.accepted.is_some_and(|(at, _)| at.line < until);
        match told.map(|(_, outcome)| *outcome) {
            Some(Outcome::Rejected { reason }) => match &**reason {
                "rate_limited" => Self::Stopped,
                // What waits for room has its token already.
                "queue_full" | "cancelled" => Self::Passed,
                // It waited for room when close came, or it came when close had begun.
                "closed" => {
                    let closing = index.inc_of(life).and_then(|inc| inc.end_called);
                    let after = closing.is_some_and(|at| life.offered.is_none_or(|o| at < o));
                    if after { Self::Before } else { Self::Perhaps }
                }
                // The sequence is given behind the limiter, and may make it too large.
                "oversize" => {
                    let bytes = index.event(life.event).map_or(0, |event| event.bytes);
                    let small = bytes <= index.settings.max_message_bytes;
                    if small { Self::Perhaps } else { Self::Before }
                }
                _ => Self::Before,
            },
            Some(Outcome::LostInCrash) if !accepted => Self::Perhaps,
            Some(_) => Self::Passed,
            None if accepted => Self::Passed,
            None => Self::Perhaps,
        }
    }

    /// It took a token, or may have.
    pub(super) fn takes(self) -> bool {
        matches!(self, Self::Passed | Self::Perhaps)
    }
}

/// What sums of fractions lose.
const ROUNDING: f64 = 1e-6;

/// A bucket that may be overdrawn, so that a replay says by how much.
#[derive(Clone, Copy)]
struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    at_us: u64,
}

impl Bucket {
    const fn new(rate: f64, burst: f64) -> Self {
        Self { rate, burst, tokens: burst, at_us: 0 }
    }

    fn level(&mut self, t_us: u64) -> f64 {
        let passed = t_us.saturating_sub(self.at_us) as f64 / 1e6;
        self.tokens = passed.mul_add(self.rate, self.tokens).min(self.burst);
        self.at_us = self.at_us.max(t_us);
        self.tokens
    }

    fn take(&mut self, t_us: u64) -> f64 {
        self.level(t_us);
        self.tokens -= 1.0;
        self.tokens
    }
}

/// An offer of an incarnation.
struct Offer<'i, 'a> {
    at: At,
    life: &'i Life<'a>,
    passage: Passage,
    /// The first that was heard of it.
    heard: Option<At>,
}

impl<'i, 'a> Offer<'i, 'a> {
    /// What the spool gave back was not offered, and asks no limiter.
    fn new(index: &Index<'a>, life: &'i Life<'a>) -> Option<Self> {
        let passage = Passage::of(index, life, usize::MAX);
        let told = life.outcomes.first().map(|(at, _)| *at);
        let heard = life.accepted.map(|(at, _)| at).into_iter().chain(told).min();
        Some(Self { at: life.offered?, life, passage, heard })
    }
}

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    let limit = &index.settings.rate_limit;
    let Some(rate) = limit.rate.filter(|rate| rate.is_finite() && *rate > 0.0) else { return };
    let bucket = Bucket::new(rate, f64::from(limit.burst));
    for inc in &index.incs {
        let lives = inc.lives.iter().filter_map(|slot| index.lives.get(*slot));
        let mut offers: Vec<Offer<'_, '_>> =
            lives.filter_map(|life| Offer::new(index, life)).collect();
        offers.sort_by_key(|offer| offer.at);
        let slack = ROUNDING + rate * (span_us(index, &offers) as f64 / 1e6);
        exceeded(bucket, slack, &offers, f);
        needless(index, bucket, slack, &offers, f);
    }
}

/// How long after its offer an event met the limiter at the latest. One that waited for room was
/// heard of late, and met it in time.
fn span_us(index: &Index<'_>, offers: &[Offer<'_, '_>]) -> u64 {
    if index.lane == LaneName::Sim {
        return 0;
    }
    let met = offers.iter().filter(|offer| offer.passage != Passage::Before);
    let span = |offer: &Offer<'_, '_>| match offer.heard {
        Some(heard) => heard.t_us.saturating_sub(offer.at.t_us),
        None => u64::MAX,
    };
    met.map(span).max().unwrap_or(0).min(index.tolerance_us())
}

/// An event passed although no token was left.
fn exceeded(mut bucket: Bucket, slack: f64, offers: &[Offer<'_, '_>], f: &mut Findings) {
    for offer in offers.iter().filter(|offer| offer.passage == Passage::Passed) {
        f.checked(M1, 1);
        let left = bucket.take(offer.at.t_us);
        if left < -slack {
            f.broken(M1, "rate_exceeded", Evidence::event(offer.life.event), || {
                let Bucket { rate, burst, .. } = bucket;
                let expected = format!("at most {burst} events at once and {rate} per second pass");
                let when = ms(offer.at.t_us);
                (expected, format!("at {when} it passed with {:.2} tokens left", left + 1.0))
            });
            return;
        }
    }
}

/// An event was stopped although the bucket certainly held a token.
fn needless(
    index: &Index<'_>,
    mut bucket: Bucket,
    slack: f64,
    offers: &[Offer<'_, '_>],
    f: &mut Findings,
) {
    for (n, offer) in offers.iter().enumerate() {
        if offer.passage.takes() {
            bucket.take(offer.at.t_us);
        }
        if offer.passage != Passage::Stopped {
            continue;
        }
        f.checked(M1, 1);
        let told = offer.heard.unwrap_or(offer.at);
        // Offered while this one was under way, they may have been faster; not in the simulation,
        // where calls go through one queue.
        let later = offers.iter().skip(n + 1).take_while(|other| other.at < told);
        let faster = later.filter(|other| other.passage.takes()).count();
        let faster = if index.lane == LaneName::Sim { 0 } else { faster };
        let level = bucket.level(offer.at.t_us) - faster as f64 - slack;
        if level >= 1.0 {
            f.broken(M1, "rate_limited", Evidence::event(offer.life.event), || {
                let expected = "no token was left, or it is not rate_limited".to_owned();
                let when = ms(offer.at.t_us);
                (expected, format!("at {when} the bucket held {level:.2} tokens"))
            });
        }
    }
}
