//! Saboteurs that sit between a subject and the harness.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashproof_reference::codec::DecodePolicy;
use dashproof_reference::core::BoxFuture;

use super::Claims;
use crate::history::{Kind, Outcome, Trouble};
use crate::subject::Subject;
use crate::subject::protocol::{Answer, Op, OpError};
use crate::subject::reference::decode;

type CallResult = Result<Answer, OpError>;

/// What a saboteur does to the operations of a subject.
pub(super) enum Lie {
    /// `flush` answers at once.
    FlushEarly,
    /// `close` sleeps for longer than it was given before it answers.
    CloseLate,
    /// `close` answers that the application had cancelled it.
    CloseCancelled,
    /// `open` leaves a task behind that never ends.
    LeakTask,
    /// `open` answers that its credentials were refused, and has asked nobody.
    RefusedUnasked,
    /// `open` blocks its thread.
    BlockingOpen,
    /// Every send prints a line to stderr.
    Print,
    /// An operation that it does not know ends in a panic.
    UnknownPanics,
    /// Edits the metrics text.
    Metrics(fn(&str) -> String),
    /// `codec.decode` swallows strictness: what is refused is answered as a message.
    DecodeAnything,
    /// `codec.decode` goes by another policy than the default.
    DecodeBy(fn(&[u8]) -> DecodePolicy),
}

/// A subject in the hands of a saboteur.
pub(super) struct Lying {
    pub(super) inner: Arc<dyn Subject>,
    pub(super) lie: Lie,
}

impl Subject for Lying {
    fn call(&self, op: Op) -> BoxFuture<'_, CallResult> {
        Box::pin(async move {
            match (&self.lie, &op) {
                (Lie::FlushEarly, Op::Flush { .. }) => Ok(Answer::default()),
                (Lie::CloseLate, Op::Close { deadline_us }) => {
                    let late = Duration::from_micros(*deadline_us) + Duration::from_secs(4);
                    let answer = self.inner.call(op).await;
                    tokio::time::sleep(late).await;
                    answer
                }
                (Lie::CloseCancelled, Op::Close { .. }) => {
                    self.inner.call(op).await?;
                    Err(OpError::new("cancelled", "the application let go".to_owned(), false))
                }
                (Lie::LeakTask, Op::Open { .. }) => {
                    drop(tokio::spawn(std::future::pending::<()>()));
                    self.inner.call(op).await
                }
                (Lie::RefusedUnasked, Op::Open { .. }) => {
                    let text = "SASL authentication failed".to_owned();
                    let error = OpError::new("connect", text, true);
                    Err(OpError { why: Some(Trouble::Authentication), ..error })
                }
                (Lie::BlockingOpen, Op::Open { .. }) => {
                    std::thread::sleep(Duration::from_millis(800));
                    self.inner.call(op).await
                }
                (Lie::Print, Op::Send { .. }) => {
                    writeln!(std::io::stderr(), "codec: encoding an event").ok();
                    self.inner.call(op).await
                }
                (Lie::Metrics(edit), Op::Metrics) => {
                    let mut answer = self.inner.call(op).await?;
                    answer.text = edit(&answer.text);
                    Ok(answer)
                }
                #[expect(clippy::panic, reason = "this saboteur is one that panics")]
                (Lie::UnknownPanics, Op::Unknown) => panic!("not implemented"),
                (Lie::DecodeAnything, Op::CodecDecode { .. }) => {
                    let answer = self.inner.call(op).await;
                    Ok(answer.unwrap_or_default())
                }
                (Lie::DecodeBy(policy), Op::CodecDecode { frame }) => decode(frame, policy),
                _ => self.inner.call(op).await,
            }
        })
    }
}

/// What a saboteur does to the claims of a subject.
pub(super) enum Gossip {
    /// Every n-th outcome is told twice.
    Twice(u64),
    /// No outcome is ever told.
    Silence,
    /// Outcomes with this reason are not told.
    Hush(&'static str),
    /// Outcomes with the first reason are told with the second.
    Misname(&'static str, &'static str),
    /// Doubt is told as certainty.
    NoDoubt,
    /// Whatever is wrong with the connection, it is said that the brokers are down.
    BrokersDown,
}

pub(super) fn claims(inner: Claims, gossip: Gossip) -> Claims {
    let seen = AtomicU64::new(0);
    Arc::new(move |kind: Kind| {
        if matches!(gossip, Gossip::BrokersDown) {
            return inner(down(kind));
        }
        let Kind::Outcome { event, outcome, why } = &kind else { return inner(kind) };
        let n = seen.fetch_add(1, Ordering::Relaxed) + 1;
        match &gossip {
            Gossip::Twice(every) if n.is_multiple_of(*every) => {
                inner(kind.clone());
                inner(kind);
            }
            Gossip::Silence => {}
            Gossip::Hush(reason) if outcome.reason() == *reason => {}
            Gossip::Misname(from, to) if outcome.reason() == *from => {
                let outcome = renamed(outcome, to);
                inner(Kind::Outcome { event: *event, outcome, why: *why });
            }
            Gossip::NoDoubt => {
                let (event, why) = (*event, *why);
                let outcome = match outcome.clone() {
                    Outcome::InDoubt { reason, .. } => Outcome::Dropped { reason },
                    other => other,
                };
                inner(Kind::Outcome { event, outcome, why });
            }
            _ => inner(kind),
        }
    })
}

/// The claim with no other reason than the one that says nothing.
fn down(mut kind: Kind) -> Kind {
    const DOWN: Option<Trouble> = Some(Trouble::AllBrokersDown);
    match &mut kind {
        Kind::Refused { error, .. } | Kind::Delivery { error: Some(error), .. }
            if error.why.is_some() =>
        {
            (error.reason, error.why) = ("1/1 brokers are down".into(), DOWN);
        }
        Kind::Outcome { why: why @ Some(_), .. } => *why = DOWN,
        _ => {}
    }
    kind
}

fn renamed(outcome: &Outcome, to: &str) -> Outcome {
    let reason = Arc::from(to);
    match outcome.clone() {
        Outcome::Rejected { .. } => Outcome::Rejected { reason },
        Outcome::Dropped { .. } => Outcome::Dropped { reason },
        Outcome::InDoubt { main, dlq, .. } => Outcome::InDoubt { reason, main, dlq },
        Outcome::DeadLettered { main, .. } => Outcome::DeadLettered { reason, main },
        other => other,
    }
}

/// Applies `edit` to the value of every sample whose series and labels `wanted` accepts.
pub(super) fn edit_samples(
    text: &str,
    wanted: impl Fn(&str) -> bool,
    edit: impl Fn(f64) -> Option<f64>,
) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let sample = (!line.starts_with('#')).then(|| line.rsplit_once(' ')).flatten();
        match sample {
            Some((series, value)) if wanted(series) => {
                if let Some(value) = value.parse().ok().and_then(&edit) {
                    out.push_str(&format!("{series} {value}\n"));
                }
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_edited_removed_or_left_alone() {
        let text = "# TYPE a counter\na{x=\"1\"} 2\nb 3\n";
        let plus = edit_samples(text, |s| s.starts_with("a{"), |v| Some(v + 1.0));
        assert_eq!(plus, "# TYPE a counter\na{x=\"1\"} 3\nb 3\n");
        let gone = edit_samples(text, |s| s == "b", |_| None);
        assert_eq!(gone, "# TYPE a counter\na{x=\"1\"} 2\n");
    }
}
