use std::sync::atomic::AtomicU64 as Micros;

use super::*;
use crate::history::{Clock, EventId};
use crate::subject::protocol::EventSpec;

struct Still(Micros);

impl Clock for Still {
    fn now_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn recorder() -> Recorder {
    Recorder::new(Arc::new(Still(Micros::new(0))))
}

fn shell(script: &str, recorder: &Recorder) -> ProcessSubject {
    let args = ["-c".to_owned(), script.to_owned()];
    ProcessSubject::spawn("sh", &args, false, recorder.clone()).unwrap()
}

fn procs(recorder: &Recorder, name: &str) -> Vec<(i64, String)> {
    recorder
        .lines()
        .into_iter()
        .filter_map(|line| match line.kind {
            Kind::Proc { what, value, text } if what == name => Some((value, text)),
            _ => None,
        })
        .collect()
}

fn send() -> Op {
    let spec = EventSpec {
        event: EventId { load: 0, n: 0 },
        message_id: String::new(),
        thread: "t0".to_owned(),
        message: "event".to_owned(),
        fill: String::new(),
    };
    Op::Send { handle: 0, spec }
}

#[tokio::test]
async fn a_reply_reaches_the_call_with_its_id_and_claims_before_it_are_recorded() {
    let recorder = recorder();
    let subject = shell(
        r#"read a; echo '{"type":"claim","claim":{"kind":"accepted","event":"0.000001","sequence":7}}'
           echo '{"type":"reply","id":1,"ok":{"sequence":7}}'; read b"#,
        &recorder,
    );
    assert_eq!(subject.call(send()).await.unwrap().sequence, Some(7));
    let claim = recorder.lines().into_iter().find(|l| l.src == Src::Subject).unwrap();
    assert_eq!(claim.kind, Kind::Accepted { event: EventId { load: 0, n: 1 }, sequence: 7 });
}

#[tokio::test]
async fn what_is_printed_outside_the_protocol_is_kept() {
    let recorder = recorder();
    let subject = shell("echo hello; echo oh >&2; exit 3", &recorder);
    assert_eq!(subject.exit().await, 3);
    assert_eq!(procs(&recorder, "stdout"), [(0, "hello".to_owned())]);
    assert_eq!(procs(&recorder, "stderr"), [(0, "oh".to_owned())]);
    assert_eq!(procs(&recorder, "exit")[0].0, 3);
}

#[tokio::test]
async fn a_child_that_prints_without_end_does_not_fill_the_history() {
    let recorder = recorder();
    let subject = shell("seq 1 5000", &recorder);
    subject.exit().await;
    let kept = procs(&recorder, "stdout");
    assert_eq!(kept.len(), PRINTS as usize);
    assert!(kept.last().unwrap().1.contains("no more of them are kept"));
}

#[tokio::test]
async fn calls_fail_when_the_child_ends_and_say_why() {
    let recorder = recorder();
    let subject = shell("read a; exit 5", &recorder);
    let error = subject.call(Op::Metrics).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.definite), ("exited", false));
    assert!(error.message.contains("exit status: 5"), "{}", error.message);
    let later = subject.call(Op::Metrics).await.unwrap_err();
    assert_eq!(later.code, "exited");
}

#[tokio::test]
async fn a_killed_child_ends_by_the_signal() {
    let recorder = recorder();
    let subject = shell("read a", &recorder);
    assert!(subject.is_alive());
    assert_eq!(subject.kill().await, -9);
    assert!(!subject.is_alive());
}

#[tokio::test]
async fn dropping_the_future_of_a_send_asks_for_its_cancellation() {
    let recorder = recorder();
    let subject = shell("read a; read b; echo $b; read c", &recorder);
    let call = subject.call(send());
    assert!(tokio::time::timeout(Duration::from_millis(200), call).await.is_err());
    while procs(&recorder, "stdout").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (_, line) = procs(&recorder, "stdout").remove(0);
    let request: Request = serde_json::from_str(&line).unwrap();
    assert_eq!(request.op, Op::Cancel { request: 1 });
}

#[tokio::test]
async fn a_subject_cannot_speak_for_the_harness() {
    let recorder = recorder();
    let subject = shell(r#"echo '{"type":"claim","claim":{"kind":"ready"}}'"#, &recorder);
    subject.exit().await;
    assert!(recorder.lines().iter().all(|l| l.src != Src::Subject));
    assert_eq!(procs(&recorder, "protocol").len(), 1);
}

/// What is said to break the protocol when the child answers a call of ours so.
async fn said(replies: &str) -> Vec<String> {
    let recorder = recorder();
    let subject = shell(&format!("read a; {replies}"), &recorder);
    assert!(subject.call(Op::Metrics).await.is_ok());
    subject.exit().await;
    procs(&recorder, "protocol").into_iter().map(|(_, text)| text).collect()
}

#[tokio::test]
async fn a_second_reply_to_a_request_breaks_the_protocol_and_is_quoted() {
    let one = r#"echo '{"type":"reply","id":1,"ok":{}}'"#;
    assert_eq!(said(one).await, Vec::<String>::new());
    let said = said(&format!("{one}; {one}")).await;
    assert_eq!(said.len(), 1);
    assert!(said[0].contains(r#"request 1 was never made, or has its reply already: {"type""#));
}

#[tokio::test]
async fn a_reply_that_nobody_asked_for_breaks_the_protocol() {
    let one = r#"echo '{"type":"reply","id":1,"ok":{}}'"#;
    let other = r#"echo '{"type":"reply","id":77,"ok":{"sequence":1}}'"#;
    let said = said(&format!("{other}; {one}")).await;
    assert_eq!(said.len(), 1);
    assert!(said[0].contains(r#""id":77,"ok":{"sequence":1}"#), "{said:?}");
}

#[tokio::test]
async fn the_reply_to_a_cancelled_send_and_to_its_cancellation_break_nothing_but_only_once() {
    let recorder = recorder();
    let reply = |id| format!("echo '{{\"type\":\"reply\",\"id\":{id},\"ok\":{{}}}}'");
    let (first, second) = (reply(1), reply(2));
    let subject = shell(&format!("read a; read b; {first}; {second}; {first}"), &recorder);
    let call = subject.call(send());
    assert!(tokio::time::timeout(Duration::from_millis(200), call).await.is_err());
    subject.exit().await;
    assert_eq!(procs(&recorder, "protocol").len(), 1);
}
