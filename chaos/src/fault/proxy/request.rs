//! What becomes of a client's request: passed on, changed, or answered here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdResponse,
    MetadataRequest, ProduceRequest, ProduceResponse, ProducerId, TopicName,
};
use tokio::sync::{mpsc, oneshot};

use super::answer::{Ask, Pending};
use super::frame::{Head, PRODUCE, whole};
use super::site::{Core, Shared};
use crate::broker::api::produce::flipped;
use crate::broker::api::{From, Hopeless, Late, Reply};
use crate::broker::batch::Batch;
use crate::broker::codes;
use crate::broker::links::{Peer, Site as _};
use crate::broker::script::Scripted;
use crate::history::{Kind, ProduceTruth, Src};

/// A request on its way to the broker.
pub(super) struct Onward {
    /// What to write, length included.
    pub(super) frame: Bytes,
    /// Who waits for the answer; `None` when there will be none.
    pub(super) pending: Option<Pending>,
    /// Line of the request in the history.
    pub(super) line: Option<u64>,
}

/// The proxy behind one connection of a client.
pub(crate) struct Front {
    site: Arc<Shared>,
    from: From,
    onward: mpsc::Sender<Onward>,
}

/// One partition of a Produce.
pub(super) struct Part {
    pub(super) topic: TopicName,
    pub(super) partition: i32,
    pub(super) pid: i64,
    pub(super) epoch: i16,
    pub(super) sequence: i32,
    /// It is not passed on, and answered so.
    pub(super) refused: Option<i16>,
    /// It is passed on, and a success answered so.
    pub(super) after: Option<i16>,
}

/// What faults make of a Produce.
struct Plan {
    parts: Vec<Part>,
    truths: Vec<ProduceTruth>,
    delay: Duration,
    lifts: Option<usize>,
    throttle: Duration,
    /// A bit of what is passed on flips.
    flip: bool,
}

impl Front {
    pub(super) fn new(site: Arc<Shared>, from: From, onward: mpsc::Sender<Onward>) -> Self {
        Self { site, from, onward }
    }

    /// Writes the request into the history.
    fn place(&self, head: &Head, acks: Option<i16>, produce: Vec<ProduceTruth>) -> Option<u64> {
        let From { broker, conn } = self.from;
        let (api, correlation) = (head.name(), head.correlation);
        let kind = Kind::Request { broker, api, conn, correlation, produce, answered: None, acks };
        self.site.recorder().place(Src::Proxy, kind)
    }

    fn produce(&self, head: Head, frame: &Bytes) -> Result<(Reply, Option<Onward>), Hopeless> {
        if head.version > PRODUCE {
            return Err(Hopeless);
        }
        let (header, mut request) = head.request::<ProduceRequest>(frame).ok_or(Hopeless)?;
        let plan = self.plan(&head, &request);
        let Plan { parts, truths, delay, lifts, throttle, flip } = plan;
        let acks = request.acks;
        let records = truths.iter().map(|t| t.events.len() as u64).sum();
        let records = if acks == 0 { 0 } else { records };
        let line = self.place(&head, Some(acks), truths);
        let reply = Reply { line, delay, lifts, mute: throttle, records, ..Reply::default() };
        let codes: Vec<i16> = parts.iter().filter_map(|part| part.refused).collect();
        if !parts.is_empty() && codes.len() == parts.len() {
            let frame = head.reply(&refusal(&parts, throttle)).ok_or(Hopeless)?;
            let frame = (acks != 0).then_some(frame);
            return Ok((Reply { frame, codes, close: acks == 0, ..reply }, None));
        }
        let frame = if codes.is_empty() && !flip {
            whole(frame)
        } else {
            keep(&mut request, &parts, flip);
            head.renew(&header, &request)
        };
        let frame = frame.ok_or(Hopeless)?;
        if acks == 0 {
            return Ok((reply, Some(Onward { frame, pending: None, line })));
        }
        let (pending, late) = self.pending(head, line, Ask::Produce { parts, throttle });
        let reply = Reply { awaited: Some(late), ..reply };
        Ok((reply, Some(Onward { frame, pending: Some(pending), line })))
    }

    /// Asks the faults in force, and puts the events on record.
    fn plan(&self, head: &Head, request: &ProduceRequest) -> Plan {
        let mut topics: Vec<&str> = request.topic_data.iter().map(|t| t.name.as_str()).collect();
        topics.sort_unstable();
        topics.dedup();
        let mut core = self.site.core();
        let api = head.name();
        let scripted = core.links.script.error(&api, &topics);
        let (delay, lifts) = core.links.script.delay(&api, &topics);
        let throttle = core.links.script.throttle().unwrap_or(Duration::ZERO);
        let (mut parts, mut truths) = (Vec::new(), Vec::new());
        for topic in &request.topic_data {
            for data in &topic.partition_data {
                let records = data.records.clone().unwrap_or_default();
                let size = records.len();
                let batch = Batch::check(records, usize::MAX).ok();
                let (refused, after) = decide(&mut core, request.acks, scripted, &topic.name, size);
                let truth = ProduceTruth {
                    topic: self.site.logical(&topic.name),
                    partition: data.index,
                    pid: batch.as_ref().map_or(-1, |b| b.pid),
                    epoch: batch.as_ref().map_or(-1, |b| b.epoch),
                    base_sequence: batch.as_ref().map_or(-1, |b| b.base_sequence),
                    events: batch.as_ref().map_or_else(Vec::new, |b| core.identity.batch(b)),
                    appended: None,
                    answered: None,
                    unknown: refused.is_none(),
                };
                parts.push(Part {
                    topic: topic.name.clone(),
                    partition: data.index,
                    pid: truth.pid,
                    epoch: truth.epoch,
                    sequence: truth.base_sequence,
                    refused,
                    after,
                });
                truths.push(truth);
            }
        }
        let passed = parts.iter().any(|part| part.refused.is_none());
        let flip = passed && core.links.script.flip(self.from.broker, true);
        Plan { parts, truths, delay, lifts, throttle, flip }
    }

    fn pending(
        &self,
        head: Head,
        line: Option<u64>,
        ask: Ask,
    ) -> (Pending, oneshot::Receiver<Late>) {
        let (late, awaited) = oneshot::channel();
        let open = matches!(ask, Ask::Produce { .. }).then(|| self.site.opened());
        (Pending { head, line, ask, late, _open: open, waits: None }, awaited)
    }

    /// Everything but Produce.
    fn other(&self, head: Head, frame: &Bytes) -> Result<(Reply, Option<Onward>), Hopeless> {
        let metadata = match head.api {
            Some(ApiKey::Metadata) => head.request::<MetadataRequest>(frame).map(|(_, r)| r),
            _ => None,
        };
        // Version 0 has no null: an empty list asks for everything.
        let wanted = metadata.as_ref().and_then(|r| r.topics.as_ref());
        let wanted = wanted.filter(|t| head.version > 0 || !t.is_empty());
        let named = wanted.into_iter().flatten().filter_map(|t| t.name.as_deref());
        let topics: Vec<&str> = named.map(|name| &**name).collect();
        let api = head.name();
        let (scripted, delay, lifts) = self.site.with(|links| {
            let scripted = links.script.error(&api, &topics);
            let (delay, lifts) = links.script.delay(&api, &topics);
            (scripted, delay, lifts)
        });
        let line = self.place(&head, None, Vec::new());
        if matches!(head.api, Some(ApiKey::SaslHandshake | ApiKey::SaslAuthenticate)) {
            self.site.authenticates();
        }
        let reply = Reply { line, delay, lifts, ..Reply::default() };
        if let Some(local) = scripted.and_then(|s| refuse(&head, frame, s.code)) {
            let top = scripted.map_or(codes::NONE, |s| s.code);
            return Ok((Reply { frame: Some(local), top, ..reply }, None));
        }
        let ask = match head.api {
            Some(ApiKey::Metadata) => Ask::Metadata { all: wanted.is_none(), scripted },
            Some(ApiKey::ApiVersions) => Ask::Versions { code: scripted.map(|s| s.code) },
            _ => Ask::Other,
        };
        let (pending, late) = self.pending(head, line, ask);
        let frame = whole(frame).ok_or(Hopeless)?;
        let onward = Onward { frame, pending: Some(pending), line };
        Ok((Reply { awaited: Some(late), ..reply }, Some(onward)))
    }
}

impl Peer for Front {
    async fn request(&self, frame: Bytes) -> Result<Reply, Hopeless> {
        let head = Head::read(&frame).ok_or(Hopeless)?;
        let (reply, onward) = match head.api {
            Some(ApiKey::Produce) => self.produce(head, &frame)?,
            _ => self.other(head, &frame)?,
        };
        let Some(onward) = onward else { return Ok(reply) };
        let mut waits = Waits { site: &self.site, onward: Some(onward) };
        let place = self.onward.reserve().await.map_err(|_| Hopeless)?;
        if let Some(onward) = waits.onward.take() {
            place.send(onward);
        }
        Ok(reply)
    }

    async fn gone(&self) {
        self.onward.closed().await;
    }
}

/// A request that waits to be passed on: one that is given up was never sent.
struct Waits<'a> {
    site: &'a Shared,
    onward: Option<Onward>,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if let Some(onward) = self.onward.take() {
            onward.never_sent(self.site);
        }
    }
}

impl Onward {
    /// Not a byte of it reached the broker: nothing was appended.
    pub(super) fn never_sent(&self, site: &Shared) {
        let Some(line) = self.line else { return };
        site.recorder().amend(line, |kind| {
            let Kind::Request { produce, .. } = kind else { return };
            for truth in produce {
                truth.unknown = false;
            }
        });
    }
}

/// What faults say of one batch: the code to refuse it with, or the one to tell after its append.
fn decide(
    core: &mut Core,
    acks: i16,
    scripted: Option<Scripted>,
    topic: &str,
    size: usize,
) -> (Option<i16>, Option<i16>) {
    let script = &mut core.links.script;
    let told = script.code_for(scripted, topic);
    let after = scripted.is_some_and(|s| s.after_append);
    if let Some(code) = told.filter(|_| !after) {
        return (Some(code), None);
    }
    if script.missing(topic) {
        return (Some(codes::UNKNOWN_TOPIC_OR_PARTITION), None);
    }
    if script.leaderless(topic) {
        return (Some(codes::NOT_LEADER_OR_FOLLOWER), None);
    }
    if script.too_large(topic, size) {
        return (Some(codes::MESSAGE_TOO_LARGE), None);
    }
    match if acks == -1 { script.replicas_short(topic) } else { None } {
        Some(false) => (Some(codes::NOT_ENOUGH_REPLICAS), None),
        Some(true) => (None, told.or(Some(codes::NOT_ENOUGH_REPLICAS_AFTER_APPEND))),
        None => (None, told),
    }
}

/// Leaves out of a request what is refused, and flips a bit of each batch that is left.
fn keep(request: &mut ProduceRequest, parts: &[Part], flip: bool) {
    let mut refused = parts.iter().map(|part| part.refused.is_some());
    for topic in &mut request.topic_data {
        topic.partition_data.retain(|_| refused.next() != Some(true));
    }
    request.topic_data.retain(|topic| !topic.partition_data.is_empty());
    if flip {
        for data in request.topic_data.iter_mut().flat_map(|topic| &mut topic.partition_data) {
            data.records = data.records.as_ref().map(flipped);
        }
    }
}

/// The answer about one partition that was refused.
pub(super) fn refused(partition: i32, code: i16) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(partition)
        .with_error_code(code)
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1)
}

/// The answer to a request of which nothing was passed on.
fn refusal(parts: &[Part], throttle: Duration) -> ProduceResponse {
    let mut answer = ProduceResponse::default().with_throttle_time_ms(millis(throttle));
    for part in parts {
        refuse_in(&mut answer, part);
    }
    answer
}

/// Adds a refused partition to an answer.
pub(super) fn refuse_in(answer: &mut ProduceResponse, part: &Part) {
    let Some(code) = part.refused else { return };
    let told = refused(part.partition, code);
    match answer.responses.iter_mut().find(|topic| topic.name == part.topic) {
        Some(topic) => topic.partition_responses.push(told),
        None => answer.responses.push(
            TopicProduceResponse::default()
                .with_name(part.topic.clone())
                .with_partition_responses(vec![told]),
        ),
    }
}

pub(super) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// The answer of an API that has its error at the top and is not passed on.
fn refuse(head: &Head, frame: &Bytes, code: i16) -> Option<Bytes> {
    match head.api {
        Some(ApiKey::InitProducerId) => head.reply(
            &InitProducerIdResponse::default()
                .with_error_code(code)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        ),
        Some(ApiKey::FindCoordinator) => {
            let (_, request) = head.request::<FindCoordinatorRequest>(frame)?;
            let nobody = |key| {
                let coordinator = Coordinator::default().with_key(key).with_error_code(code);
                coordinator.with_node_id(BrokerId(-1)).with_port(-1)
            };
            let answer = FindCoordinatorResponse::default();
            head.reply(&if head.version >= 4 {
                answer.with_coordinators(request.coordinator_keys.into_iter().map(nobody).collect())
            } else {
                answer.with_error_code(code).with_node_id(BrokerId(-1)).with_port(-1)
            })
        }
        _ => None,
    }
}
