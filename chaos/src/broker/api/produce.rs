//! Produce: the decision of a leader about each batch, and its record in the history.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;

use super::{From, Head, Hopeless, Reply, body, name, record};
use crate::broker::batch::Batch;
use crate::broker::cluster::Cluster;
use crate::broker::codes;
use crate::broker::log::Appended;
use crate::broker::script::Scripted;
use crate::broker::state::State;
use crate::history::ProduceTruth;

/// One batch of a request.
struct Offer<'a> {
    topic: &'a str,
    partition: i32,
    records: Bytes,
}

/// What became of it.
struct Verdict {
    code: i16,
    base: i64,
    appended: Option<i64>,
    batch: Option<Batch>,
}

struct Leader<'a> {
    state: &'a mut State,
    /// A bit of the request flipped on its way.
    flipped: bool,
    broker: i32,
    acks: i16,
    version: i16,
    scripted: Option<Scripted>,
}

impl Leader<'_> {
    fn decide(&mut self, offer: &Offer<'_>) -> Verdict {
        // Whatever the answer will be, the batch is read so that its events are on record.
        let limit = self.state.config.message_max_bytes;
        let records = offer.records.clone();
        let arrived = if self.flipped { flipped(&records) } else { records };
        let (flaw, batch) = match Batch::check(arrived, limit) {
            Ok(batch) => (None, Some(batch)),
            Err(code) => (Some(code), Batch::check(offer.records.clone(), usize::MAX).ok()),
        };
        let (code, appended) = match self.judge(offer, flaw, batch.as_ref()) {
            Ok((code, appended)) => (code, Some(appended)),
            Err(code) => (code, None),
        };
        let new = match appended {
            Some(Appended::New(base)) => Some(base),
            _ => None,
        };
        let base = match appended {
            Some(Appended::New(base) | Appended::Duplicate(base)) if code == codes::NONE => base,
            _ => -1,
        };
        Verdict { code, base, appended: new, batch }
    }

    /// The code to answer, and what was appended or recognised; an error when neither.
    fn judge(
        &mut self,
        offer: &Offer<'_>,
        flaw: Option<i16>,
        batch: Option<&Batch>,
    ) -> Result<(i16, Appended), i16> {
        let names = self.state.links.script.topics();
        let scripted = self.scripted.filter(|s| names.selected(s.topic, offer.topic));
        if let Some(scripted) = scripted.filter(|s| !s.after_append) {
            return Err(scripted.code);
        }
        let batch = self.admit(offer, flaw, batch)?;
        let short = if self.acks == -1 { self.short(offer) } else { None };
        if short == Some(false) {
            return Err(codes::NOT_ENOUGH_REPLICAS);
        }
        let appended = self.append(offer, batch)?;
        let code = match scripted {
            Some(scripted) => scripted.code,
            None if short == Some(true) => codes::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            None => codes::NONE,
        };
        Ok((code, appended))
    }

    /// Everything that Kafka checks before it looks at replicas and sequences.
    fn admit<'b>(
        &mut self,
        offer: &Offer<'_>,
        flaw: Option<i16>,
        batch: Option<&'b Batch>,
    ) -> Result<&'b Batch, i16> {
        if !matches!(self.acks, -1..=1) {
            return Err(codes::INVALID_REQUIRED_ACKS);
        }
        self.state.lead(self.broker, offer.topic, offer.partition)?;
        if let Some(code) = flaw {
            return Err(code);
        }
        let batch = batch.ok_or(codes::CORRUPT_MESSAGE)?;
        if self.state.links.script.too_large(offer.topic, batch.bytes.len()) {
            return Err(codes::MESSAGE_TOO_LARGE);
        }
        if batch.compression == Compression::Zstd && self.version < 7 {
            return Err(codes::UNSUPPORTED_COMPRESSION_TYPE);
        }
        Ok(batch)
    }

    /// Too few replicas: `Some(true)` when that is found out only after the append.
    fn short(&mut self, offer: &Offer<'_>) -> Option<bool> {
        if let Some(after) = self.state.links.script.replicas_short(offer.topic) {
            return Some(after);
        }
        let partition = self.state.partition(offer.topic, offer.partition)?;
        let insync = self.state.insync(offer.topic, partition).len();
        let wanted = partition.replicas.len().min(self.state.config.min_insync as usize);
        (insync < wanted).then_some(false)
    }

    fn append(&mut self, offer: &Offer<'_>, batch: &Batch) -> Result<Appended, i16> {
        let found = self.state.partition_mut(offer.topic, offer.partition);
        let found = found.ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION)?;
        let epoch = found.epoch;
        let appended = found.log.append(batch, epoch)?;
        if batch.pid >= 0 {
            let newest = self.state.pids.entry(batch.pid).or_insert(batch.epoch);
            *newest = (*newest).max(batch.epoch);
            self.state.next_pid = self.state.next_pid.max(batch.pid.saturating_add(1));
        }
        Ok(appended)
    }

    fn truth(&mut self, offer: &Offer<'_>, verdict: &Verdict) -> ProduceTruth {
        let batch = verdict.batch.as_ref();
        ProduceTruth {
            topic: Arc::from(offer.topic),
            partition: offer.partition,
            pid: batch.map_or(-1, |b| b.pid),
            epoch: batch.map_or(-1, |b| b.epoch),
            base_sequence: batch.map_or(-1, |b| b.base_sequence),
            events: batch.map_or_else(Vec::new, |b| self.state.identity.batch(b)),
            appended: verdict.appended,
            answered: None,
            unknown: false,
        }
    }

    fn answer(&self, offer: &Offer<'_>, verdict: &Verdict) -> PartitionProduceResponse {
        let answer = PartitionProduceResponse::default()
            .with_index(offer.partition)
            .with_error_code(verdict.code)
            .with_base_offset(verdict.base)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(if verdict.code == codes::NONE { 0 } else { -1 });
        let found = self.state.partition(offer.topic, offer.partition);
        match found.filter(|_| verdict.code == codes::NOT_LEADER_OR_FOLLOWER && self.version >= 10)
        {
            Some(p) if p.leader != self.broker => answer.with_current_leader(
                LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(p.leader))
                    .with_leader_epoch(p.epoch),
            ),
            _ => answer,
        }
    }
}

pub(super) fn serve(
    cluster: &Cluster,
    from: From,
    head: &Head,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let request: ProduceRequest = body(head, &mut frame)?;
    let acks = request.acks;
    let topics: BTreeSet<&str> = request.topic_data.iter().map(|t| t.name.as_str()).collect();
    let topics: Vec<&str> = topics.into_iter().collect();
    let mut state = cluster.state();
    let scripted = state.links.script.error(name(head.api), &topics);
    let (delay, lifts) = state.links.script.delay(name(head.api), &topics);
    let throttle = state.links.script.throttle().unwrap_or(Duration::ZERO);
    let (broker, version) = (from.broker, head.version);
    let flipped = state.links.script.flip(broker, true);
    let mut leader = Leader { state: &mut state, flipped, broker, acks, version, scripted };
    let (mut truths, mut codes_, mut responses) = (Vec::new(), Vec::new(), Vec::new());
    for topic in &request.topic_data {
        let mut partitions = Vec::new();
        for data in &topic.partition_data {
            let records = data.records.clone().unwrap_or_default();
            let offer = Offer { topic: &topic.name, partition: data.index, records };
            let verdict = leader.decide(&offer);
            truths.push(leader.truth(&offer, &verdict));
            codes_.push(verdict.code);
            partitions.push(leader.answer(&offer, &verdict));
        }
        let response = TopicProduceResponse::default().with_name(topic.name.clone());
        responses.push(response.with_partition_responses(partitions));
    }
    let records = truths.iter().map(|t| t.events.len() as u64).sum();
    let appended = truths.iter().any(|t| t.appended.is_some());
    let throttle_ms = i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX);
    let answer = ProduceResponse::default()
        .with_responses(responses)
        .with_throttle_time_ms(throttle_ms)
        .with_node_endpoints(endpoints(&state, version));
    drop(state);
    if appended {
        cluster.appended().notify_waiters();
    }
    let mut reply = Reply { delay, lifts, mute: throttle, codes: codes_, ..Reply::default() };
    if acks == 0 {
        // Nobody waits for an answer; an error is told by closing, as Kafka does.
        reply.close = reply.codes.iter().any(|code| *code != codes::NONE);
    } else {
        reply.frame = Some(head.encode(&answer, version)?);
        reply.records = records;
    }
    Ok(record(cluster, from, head, reply, Some(acks), truths))
}

/// The records of a batch with another last bit: its checksum tells.
pub(crate) fn flipped(records: &Bytes) -> Bytes {
    let mut out = BytesMut::from(&records[..]);
    if let Some(last) = out.last_mut() {
        *last ^= 1;
    }
    out.freeze()
}

/// Where the leaders named in a version 10 answer are.
fn endpoints(state: &State, version: i16) -> Vec<NodeEndpoint> {
    if version < 10 {
        return Vec::new();
    }
    let endpoint = |id: i32| {
        let (host, port) = state.config.address(id)?;
        let node = NodeEndpoint::default().with_node_id(BrokerId(id)).with_port(port.into());
        Some(node.with_host(StrBytes::from_string(host.to_owned())))
    };
    state.links.live().into_iter().filter_map(endpoint).collect()
}
