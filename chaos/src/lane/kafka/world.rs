//! The brokers as the director sees them: a proxy, and what only the brokers themselves can do.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dashproof_reference::core::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::admin::Admin;
use super::certs::{TOKEN_LIFE, USER, renew_token};
use super::fleet::Ground;
use super::process::Processes;
use crate::fault::proxy::ProxyWorld;
use crate::history::{Kind, Recorder, Src};
use crate::lane::HarnessError;
use crate::lane::child::environment;
use crate::scenario::model::{FaultKind, Scenario, TopicSel};
use crate::subject::runner::World;
use crate::subject::secrets::OwnSecrets;

/// How badly the brokers stand still while a cell runs.
pub(super) struct Stalls {
    pub(super) ground: Arc<Ground>,
    pub(super) since: Instant,
    pub(super) recorder: Recorder,
}

impl Stalls {
    /// Writes the worst into the history, beside what the machine itself did.
    fn record(&self) {
        let worst = self.ground.stood_still(self.since);
        let value = i64::try_from(worst.as_micros()).unwrap_or(i64::MAX);
        let (what, text) = ("stall".to_owned(), "brokers".to_owned());
        self.recorder.record(Src::Os, Kind::Proc { what, value, text });
    }
}

pub(super) struct KafkaWorld {
    inner: Arc<ProxyWorld>,
    stalls: Stalls,
    kinds: Vec<FaultKind>,
    /// Where brokers' processes are harmed.
    processes: Option<Processes>,
    /// For the one task that changes ACLs.
    orders: mpsc::UnboundedSender<Order>,
    /// Main and dead-letter topic in the cluster.
    topics: [String; 2],
    /// Tokens are not renewed.
    stale: Arc<AtomicBool>,
    tasks: Mutex<JoinSet<()>>,
    /// What the brokers would not do: the run proves nothing.
    failed: Arc<Mutex<Option<String>>>,
}

impl KafkaWorld {
    pub(super) fn new(
        scenario: &Scenario,
        (inner, stalls): (Arc<ProxyWorld>, Stalls),
        admin: Admin,
        processes: Option<Processes>,
        topics: [String; 2],
        tokens: Option<(PathBuf, Arc<OwnSecrets>)>,
    ) -> Arc<Self> {
        let stale = Arc::new(AtomicBool::new(false));
        let failed: Arc<Mutex<Option<String>>> = Arc::default();
        let mut tasks = JoinSet::new();
        if let Some((dir, secrets)) = tokens {
            let (stale, failed) = (Arc::clone(&stale), Arc::clone(&failed));
            tasks.spawn(async move {
                loop {
                    sleep(TOKEN_LIFE / 4).await;
                    if stale.load(Ordering::Acquire) {
                        continue;
                    }
                    if let Err(error) = renew_token(&dir, &secrets) {
                        let text = format!("a token could not be renewed: {error}");
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                    }
                }
            });
        }
        let kinds = scenario.faults.iter().map(|fault| fault.kind.clone()).collect();
        let (orders, to_do) = mpsc::unbounded_channel();
        tasks.spawn(permit(admin, to_do, Arc::clone(&failed)));
        let tasks = Mutex::new(tasks);
        Arc::new(Self { inner, stalls, kinds, processes, orders, topics, stale, tasks, failed })
    }

    pub(super) fn bootstrap(&self) -> String {
        self.inner.proxy().bootstrap()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }

    fn selected(&self, topic: TopicSel) -> Vec<String> {
        let [main, dlq] = &self.topics;
        match topic {
            TopicSel::Main => vec![main.clone()],
            TopicSel::Dlq => vec![dlq.clone()],
            TopicSel::Both => vec![main.clone(), dlq.clone()],
        }
    }

    /// Denies or allows, after what was asked for before.
    fn permit(&self, topic: TopicSel, deny: bool) {
        for topic in self.selected(topic) {
            // Nobody takes orders any more only when the run is over.
            let _ = self.orders.send(Order { topic, deny });
        }
    }
}

/// A change of what the user may do.
struct Order {
    topic: String,
    deny: bool,
}

/// Carries out one order after the other; a broker that will not is noted.
async fn permit(
    admin: Admin,
    mut orders: mpsc::UnboundedReceiver<Order>,
    failed: Arc<Mutex<Option<String>>>,
) {
    while let Some(Order { topic, deny }) = orders.recv().await {
        let done = if deny { admin.deny(USER, &topic).await } else { admin.allow(&topic).await };
        if let Err(error) = done {
            let text = format!("the brokers would not change an ACL: {error}");
            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        }
    }
}

impl World for KafkaWorld {
    fn begin(&self, fault: usize) {
        if self.processes.as_ref().is_some_and(|processes| processes.begin(fault)) {
            return;
        }
        self.inner.begin(fault);
        match self.kinds.get(fault) {
            Some(FaultKind::AclDenied { topic }) => self.permit(*topic, true),
            Some(FaultKind::TokenStale) => {
                self.stale.store(true, Ordering::Release);
                let (proxy, stale) = (Arc::clone(self.inner.proxy()), Arc::clone(&self.stale));
                // when the newest token has expired with nothing in its place, whoever sets out to
                // authenticate has that one to show, or none
                self.spawn(async move {
                    sleep(TOKEN_LIFE).await;
                    if stale.load(Ordering::Acquire) {
                        proxy.met_by_tokens(fault, &FaultKind::TokenStale);
                    }
                });
            }
            _ => {}
        }
    }

    fn met(&self, fault: usize) {
        self.inner.met(fault);
    }

    fn end(&self, fault: usize) {
        if self.processes.as_ref().is_some_and(|processes| processes.end(fault)) {
            return;
        }
        match self.kinds.get(fault) {
            Some(FaultKind::AclDenied { topic }) => self.permit(*topic, false),
            Some(FaultKind::TokenStale) => {
                self.stale.store(false, Ordering::Release);
                self.inner.proxy().not_met_by_tokens(fault);
            }
            _ => {}
        }
        self.inner.end(fault);
    }

    fn until_unanswered(&self, records: u64) -> BoxFuture<'_, ()> {
        self.inner.until_unanswered(records)
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<(), HarnessError>> {
        Box::pin(async move {
            let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
            failed.map_or(Ok(()), |text| Err(environment(&text)))?;
            if let Some(processes) = &self.processes {
                processes.over().await.map_err(|text| environment(&text))?;
            }
            self.inner.snapshot().await?;
            self.stalls.record();
            Ok(())
        })
    }
}
