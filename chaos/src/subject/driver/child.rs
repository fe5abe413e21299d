//! The child's end of the driver protocol: standard input and output around the request loop.
//!
//! Reading and writing have threads of their own, so that neither can hold up the runtime under
//! test, and both exist before a producer is opened: threads that are left over afterwards are the
//! subject's.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::serve;
use crate::history::Kind;
use crate::subject::protocol::{Message, OpError, Request};
use crate::subject::{Subject, logs};

/// Beat of the runtime's heart.
const BEAT: Duration = Duration::from_millis(10);
/// A beat later than this is told at once.
const STALL: Duration = Duration::from_millis(50);
/// Requests read ahead of the loop.
const READ_AHEAD: usize = 1024;

/// Where a subject's claims go.
pub type Claims = Arc<dyn Fn(Kind) + Send + Sync>;

/// Serves the protocol on standard input and output until `bye` or the end of the input.
///
/// `subject` gets the sink of its claims. Standard output carries the protocol and nothing else; a
/// panic becomes a claim in place of a print.
///
/// # Errors
/// No runtime, or no thread.
pub fn run(subject: impl FnOnce(Claims) -> Arc<dyn Subject>) -> io::Result<()> {
    let (messages, to_write) = mpsc::unbounded_channel();
    let (to_serve, requests) = mpsc::channel(READ_AHEAD);
    claim_panics(messages.clone());
    let writer = std::thread::Builder::new()
        .name("driver-out".to_owned())
        .spawn(move || write_messages(to_write))?;
    let refusals = messages.clone();
    // Not joined: it may be waiting for input that never comes.
    std::thread::Builder::new()
        .name("driver-in".to_owned())
        .spawn(move || read_requests(&to_serve, &refusals))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(Duration::from_millis(20))
        .build()?;
    let worst = Arc::new(AtomicU64::new(0));
    let claims: Claims = {
        let messages = messages.clone();
        Arc::new(move |claim| drop(messages.send(Message::Claim { claim })))
    };
    if std::env::var_os(logs::LOGS).is_some() {
        tracing::subscriber::set_global_default(logs::subscriber(claims.clone()))
            .map_err(io::Error::other)?;
    }
    // Of this thread, the runtime's. Open from before the first count of descriptors to after the
    // last: a file that comes and goes with each beat would be counted now and then.
    let schedule = File::open("/proc/thread-self/schedstat").ok();
    runtime.block_on(async {
        let heart = tokio::spawn(beat(schedule, messages.clone(), Arc::clone(&worst)));
        serve(subject(claims), requests, messages.clone()).await;
        heart.abort();
    });
    let _ = messages.send(stall(worst.load(Ordering::Relaxed)));
    runtime.shutdown_timeout(Duration::from_secs(1));
    // The panic hook keeps a sender, so the writer is told to end, not left to see the end.
    let _ = messages.send(end_of_output());
    let _ = writer.join();
    Ok(())
}

fn stall(micros: u64) -> Message {
    let value = i64::try_from(micros).unwrap_or(i64::MAX);
    Message::Claim { claim: Kind::Proc { what: "stall".to_owned(), value, text: String::new() } }
}

/// Never written: the writer stops at it.
fn end_of_output() -> Message {
    Message::Reply { id: u64::MAX, ok: None, error: None }
}

fn claim_panics(messages: mpsc::UnboundedSender<Message>) {
    std::panic::set_hook(Box::new(move |info| {
        let (what, text) = ("panic".to_owned(), info.to_string());
        let _ = messages.send(Message::Claim { claim: Kind::Proc { what, value: 0, text } });
    }));
}

/// Measures how late the runtime serves a timer: what a blocking call on an async path looks like
/// from outside. Time for which the system had the runtime's thread wait for a processor is the
/// machine's and not counted. The worst beat is told at the end; one over [`STALL`] at once.
async fn beat(
    schedule: Option<File>,
    messages: mpsc::UnboundedSender<Message>,
    worst: Arc<AtomicU64>,
) {
    let schedule = schedule.as_ref();
    loop {
        let (before, waited) = (Instant::now(), waited_for_processor(schedule));
        tokio::time::sleep(BEAT).await;
        let late = before.elapsed().saturating_sub(BEAT);
        let late = late.saturating_sub(waited_for_processor(schedule).saturating_sub(waited));
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        worst.fetch_max(micros, Ordering::Relaxed);
        if late > STALL {
            let _ = messages.send(stall(micros));
        }
    }
}

/// Time that the thread of this `schedstat` was ready to run and did not, since it began; zero
/// where the system does not tell.
fn waited_for_processor(schedule: Option<&File>) -> Duration {
    let mut stat = [0; 128];
    let read = schedule.and_then(|file| file.read_at(&mut stat, 0).ok()).unwrap_or(0);
    let stat = stat.get(..read).and_then(|stat| std::str::from_utf8(stat).ok()).unwrap_or("");
    let nanos = stat.split_whitespace().nth(1).and_then(|field| field.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn write_messages(mut messages: mpsc::UnboundedReceiver<Message>) {
    let end = end_of_output();
    let mut batch = Vec::new();
    while let Some(first) = messages.blocking_recv() {
        let mut next = Some(first);
        while let Some(message) = next.take_if(|m| *m != end) {
            if serde_json::to_writer(&mut batch, &message).is_err() {
                return;
            }
            batch.push(b'\n');
            next = messages.try_recv().ok();
        }
        // Locked per batch: a subject that prints must be heard, not blocked.
        let mut out = io::stdout().lock();
        if out.write_all(&batch).and_then(|()| out.flush()).is_err() || next.is_some() {
            return;
        }
        batch.clear();
    }
}

fn read_requests(requests: &mpsc::Sender<Request>, refusals: &mpsc::UnboundedSender<Message>) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        match parse(&line) {
            Ok(request) => {
                if requests.blocking_send(request).is_err() {
                    return;
                }
            }
            Err(message) => drop(refusals.send(*message)),
        }
    }
}

/// A request, or the reply to a line that is none.
fn parse(line: &str) -> Result<Request, Box<Message>> {
    serde_json::from_str(line).map_err(|error| {
        let id = serde_json::from_str::<serde_json::Value>(line)
            .ok()
            .and_then(|v| v.get("id").and_then(serde_json::Value::as_u64))
            .unwrap_or(0);
        let text = format!("not a request: {error}");
        let error = Some(OpError::new("protocol", text, true));
        Box::new(Message::Reply { id, ok: None, error })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::protocol::Op;

    #[test]
    fn an_operation_of_a_later_version_is_unknown_and_not_an_error() {
        let request = parse(r#"{"id":4,"op":"teleport","where":"home"}"#).unwrap();
        assert_eq!(request, Request { id: 4, op: Op::Unknown });
    }

    #[test]
    fn a_line_that_is_no_request_is_answered_with_its_id_where_it_has_one() {
        let error = |line| match *parse(line).unwrap_err() {
            Message::Reply { id, error: Some(error), .. } => (id, error.code),
            other => panic!("{other:?}"),
        };
        assert_eq!(error(r#"{"id":9,"op":"send"}"#), (9, "protocol".to_owned()));
        assert_eq!(error("what?"), (0, "protocol".to_owned()));
    }
}
