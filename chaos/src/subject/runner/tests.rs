use std::future::pending;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::history::{Clock, Line};
use crate::scenario::model::{Action, Fault, FaultKind, Load, Size};

struct Paused(Instant);

impl Clock for Paused {
    fn now_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// Answers at once; `stuck` sends never return, and `close` takes as long as it may.
struct Puppet {
    recorder: Recorder,
    stuck: fn(EventId) -> bool,
}

impl Subject for Puppet {
    fn call(&self, op: Op) -> BoxFuture<'_, Result<Answer, OpError>> {
        Box::pin(async move {
            match op {
                Op::Send { spec, .. } if (self.stuck)(spec.event) => pending().await,
                Op::Send { spec, .. } => {
                    let outcome = Outcome::Acked { partition: 0, offset: 0 };
                    let event = spec.event;
                    self.recorder.record(Src::Subject, Kind::Outcome { event, outcome, why: None });
                }
                Op::Close { deadline_us } => sleep(Duration::from_micros(deadline_us)).await,
                _ => {}
            }
            Ok(Answer::default())
        })
    }
}

/// Lives, and does not know what it is opened with.
struct Choosy;

impl Subject for Choosy {
    fn call(&self, _: Op) -> BoxFuture<'_, Result<Answer, OpError>> {
        let told = OpError::new("unsupported", "no `retry`".to_owned(), true);
        Box::pin(async { Err(told) })
    }
}

struct Quiet;

impl World for Quiet {
    fn begin(&self, _: usize) {}
    fn met(&self, _: usize) {}
    fn end(&self, _: usize) {}
    fn snapshot(&self) -> BoxFuture<'_, Result<(), HarnessError>> {
        Box::pin(async { Ok(()) })
    }
    fn until_unanswered(&self, _: u64) -> BoxFuture<'_, ()> {
        Box::pin(pending())
    }
}

#[derive(Default)]
struct Home(Mutex<JoinSet<()>>);

impl Control for Home {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.lock().unwrap().spawn(task);
    }
    fn crash(&self) -> BoxFuture<'_, ()> {
        let mut tasks = std::mem::take(&mut *self.0.lock().unwrap());
        Box::pin(async move { tasks.shutdown().await })
    }
    fn restart(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
    fn observe(&self, _: &'static str) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn load(events: u32, threads: u32, rate: Option<f64>) -> Load {
    Load { events, rate, size: Size::Uniform(1, 100), threads, ..Load::default() }
}

fn action(at: At, kind: ActionKind) -> Action {
    Action { at, kind }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

async fn play(
    scenario: Scenario,
    stuck: fn(EventId) -> bool,
) -> (Vec<Line>, Result<Option<String>, HarnessError>) {
    let recorder = Recorder::new(Arc::new(Paused(Instant::now())));
    let subject = Arc::new(Puppet { recorder: recorder.clone(), stuck });
    play_with(scenario, subject, recorder).await
}

async fn play_with(
    scenario: Scenario,
    subject: Arc<dyn Subject>,
    recorder: Recorder,
) -> (Vec<Line>, Result<Option<String>, HarnessError>) {
    let stage = Stage {
        scenario: Arc::new(scenario),
        seed: 7,
        run: [1; 10],
        bootstrap: String::new(),
        measure: |spec| spec.fill.len(),
        subject,
        world: Arc::new(Quiet),
        control: Arc::new(Home::default()),
        recorder: recorder.clone(),
    };
    let ended = drive(stage).await;
    (recorder.take(), ended)
}

fn scenario(loads: Vec<Load>, actions: Vec<Action>) -> Scenario {
    let producer = serde_json::json!({ "idempotence": false });
    Scenario { producer, loads, actions, ..Scenario::default() }
}

fn offered(lines: &[Line]) -> Vec<(u64, u32, String)> {
    let start = lines.iter().find(|l| l.kind == Kind::Ready).unwrap().t_us;
    lines
        .iter()
        .filter_map(|l| match &l.kind {
            Kind::Offered { event, thread, .. } => {
                Some(((l.t_us - start) / 1000, event.n, thread.to_string()))
            }
            _ => None,
        })
        .collect()
}

fn calls<'l>(lines: &'l [Line], name: &str) -> Vec<&'l Line> {
    lines.iter().filter(|l| matches!(&l.kind, Kind::Call { op, .. } if op == name)).collect()
}

#[tokio::test(start_paused = true)]
async fn events_are_spread_over_time_and_threads_as_the_file_says() {
    let (lines, ended) = play(scenario(vec![load(6, 2, Some(10.0))], vec![]), |_| false).await;
    ended.unwrap();
    let expected: Vec<_> = (0..6).map(|n| (u64::from(n) * 100, n, format!("t{}", n % 2))).collect();
    assert_eq!(offered(&lines), expected);
}

#[tokio::test(start_paused = true)]
async fn a_scenario_that_never_closes_is_closed_and_scraped_after_the_grace() {
    let (lines, ended) = play(scenario(vec![load(3, 1, None)], vec![]), |_| false).await;
    ended.unwrap();
    let closed =
        lines.iter().find(|l| matches!(&l.kind, Kind::Return { op, .. } if op == "close")).unwrap();
    let scrape = lines.last().unwrap();
    assert!(matches!(&scrape.kind, Kind::Scrape { last: true, .. }));
    assert_eq!(scrape.t_us - closed.t_us, micros(GRACE));
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_leaves_unresolved_is_lost_and_the_load_goes_on_after_the_next_open() {
    let mut scenario =
        scenario(vec![load(10, 2, Some(10.0))], vec![action(At::Time(secs(2)), ActionKind::Open)]);
    let at = At::Time(Duration::from_millis(450));
    scenario.faults = vec![Fault::new(
        at,
        None,
        FaultKind::SubjectCrash(crate::scenario::model::Crash::default()),
    )];
    let (lines, ended) = play(scenario, |event| event.n == 2).await;
    ended.unwrap();
    let lost: Vec<u32> = lines
        .iter()
        .filter_map(|l| match &l.kind {
            Kind::Outcome { event, outcome: Outcome::LostInCrash, .. } => Some(event.n),
            _ => None,
        })
        .collect();
    assert_eq!(lost, [2], "thread 0 was stuck in its send");
    let (before, after): (Vec<_>, Vec<_>) =
        offered(&lines).into_iter().partition(|(at, ..)| *at < 1000);
    let numbers = |offers: &[(u64, u32, String)]| {
        let mut n: Vec<u32> = offers.iter().map(|(_, n, _)| *n).collect();
        n.sort_unstable();
        n
    };
    assert_eq!(numbers(&before), [0, 1, 2, 3]);
    assert_eq!(numbers(&after), [4, 5, 6, 7, 8, 9]);
    assert!(after.iter().all(|(at, ..)| *at >= 2000));
    assert_eq!(lines.last().unwrap().inc, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_handle_offers_no_more_and_a_closed_one_goes_on() {
    let end = |kind| scenario(vec![load(10, 1, Some(10.0))], vec![action(At::Offered(4), kind)]);
    let (dropped, ended) = play(end(ActionKind::Drop { handle: 0 }), |_| false).await;
    ended.unwrap();
    assert_eq!(offered(&dropped).len(), 4);
    assert!(calls(&dropped, "close").is_empty());
    let close = ActionKind::Close { deadline: secs(1) };
    let (closed, ended) = play(end(close), |_| false).await;
    ended.unwrap();
    assert_eq!(offered(&closed).len(), 10);
    assert_eq!(calls(&closed, "close").len(), 1, "no second close at the end");
}

#[tokio::test(start_paused = true)]
async fn cancel_drops_the_sends_that_wait() {
    let actions = vec![action(At::Time(secs(1)), ActionKind::Cancel)];
    let (lines, ended) = play(scenario(vec![load(4, 2, None)], actions), |e| e.n == 1).await;
    ended.unwrap();
    let cancelled: Vec<_> = calls(&lines, "cancel")
        .into_iter()
        .map(|l| match &l.kind {
            Kind::Call { event, .. } => event.unwrap().n,
            _ => unreachable!(),
        })
        .collect();
    assert_eq!(cancelled, [1]);
    assert_eq!(offered(&lines).len(), 4, "the thread goes on with its next event");
}

#[tokio::test(start_paused = true)]
async fn a_load_waits_for_the_clone_that_it_offers_through() {
    let mut second = load(2, 1, None);
    second.handle = 1;
    let actions = vec![action(At::Time(secs(1)), ActionKind::Clone)];
    let (lines, ended) = play(scenario(vec![second], actions), |_| false).await;
    ended.unwrap();
    assert_eq!(offered(&lines).iter().map(|(at, ..)| *at).collect::<Vec<_>>(), [1000, 1000]);
}

#[tokio::test(start_paused = true)]
async fn actions_of_the_same_moment_run_in_the_order_of_the_file() {
    let now = || At::Time(secs(1));
    let actions = vec![
        action(now(), ActionKind::Clone),
        action(now(), ActionKind::Drop { handle: 0 }),
        action(now(), ActionKind::Flush { deadline: secs(1) }),
        action(now(), ActionKind::Close { deadline: secs(1) }),
    ];
    let (lines, ended) = play(scenario(vec![], actions), |_| false).await;
    ended.unwrap();
    let ops: Vec<&str> = lines
        .iter()
        .filter_map(|l| match &l.kind {
            Kind::Call { op, .. } => Some(op.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(ops, ["open", "metrics", "clone", "drop", "flush", "close", "metrics"]);
}

#[tokio::test(start_paused = true)]
async fn an_action_that_waits_for_a_number_that_never_comes_is_given_up() {
    let flush = |at| action(at, ActionKind::Flush { deadline: secs(1) });
    let actions = vec![flush(At::Unanswered(5)), flush(At::Offered(50))];
    let (lines, ended) = play(scenario(vec![load(2, 1, None)], actions), |_| false).await;
    ended.unwrap();
    assert!(calls(&lines, "flush").is_empty());
    assert_eq!(calls(&lines, "close").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_without_end_is_cut_at_three_times_its_budget() {
    let (lines, ended) = play(scenario(vec![load(99, 1, Some(1.0))], vec![]), |_| false).await;
    let error = ended.unwrap_err();
    assert_eq!(error.blame, "harness");
    // how many were offered is a tie: the next is due when the time is over
    let told = "sends without an answer: 0; other calls: 0; not through: load 1";
    assert!(error.message.contains(told), "{}", error.message);
    assert!(lines.last().unwrap().t_us <= 36_100_000);
}

#[tokio::test(start_paused = true)]
async fn a_subject_that_never_answers_a_send_is_to_blame_and_not_the_harness() {
    let scenario = Scenario { budget: secs(2), ..scenario(vec![load(3, 1, None)], vec![]) };
    let (lines, ended) = play(scenario, |event| event.n == 1).await;
    let error = ended.unwrap_err();
    assert_eq!(error.blame, "implementation");
    let line = calls(&lines, "send").last().unwrap().n + 1;
    let told = format!("the `send` of event 0.000001 (line {line} of the history) within 6s");
    assert!(error.message.contains(&told), "{}", error.message);
    assert!(error.message.contains("sends without an answer: 1"), "{}", error.message);
}

#[tokio::test(start_paused = true)]
async fn a_subject_that_does_not_know_a_setting_does_not_apply() {
    let recorder = Recorder::new(Arc::new(Paused(Instant::now())));
    let scenario = scenario(vec![load(3, 1, None)], vec![]);
    let (lines, ended) = play_with(scenario, Arc::new(Choosy), recorder).await;
    let why = ended.unwrap().unwrap();
    assert_eq!(why, "the subject does not know a setting: unsupported: no `retry`");
    assert!(calls(&lines, "send").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_subject_that_cannot_even_be_opened_without_settings_has_no_excuse() {
    let recorder = Recorder::new(Arc::new(Paused(Instant::now())));
    let mut scenario = scenario(vec![load(3, 1, None)], vec![]);
    scenario.producer = serde_json::json!({});
    let (_, ended) = play_with(scenario, Arc::new(Choosy), recorder).await;
    let error = ended.unwrap_err();
    assert_eq!(error.blame, "implementation");
    assert_eq!(error.message, "open failed: unsupported: no `retry`");
}
