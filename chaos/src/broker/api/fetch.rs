//! Fetch and `ListOffsets`.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
};

use super::{From, Head, Hopeless, Reply, body, name};
use crate::broker::cluster::Cluster;
use crate::broker::codes;
use crate::broker::script::Scripted;
use crate::broker::state::State;

/// Most bytes in one answer, whatever the client allows.
const MAX_BYTES: usize = 16 << 20;
/// Longest wait for data, whatever the client asks for.
const MAX_WAIT: Duration = Duration::from_secs(10);

struct Found {
    answer: FetchResponse,
    bytes: usize,
    failed: bool,
}

fn look(
    state: &mut State,
    broker: i32,
    request: &FetchRequest,
    scripted: Option<Scripted>,
) -> Found {
    let mut left = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_BYTES);
    let (mut bytes, mut failed, mut responses) = (0, false, Vec::new());
    for topic in &request.topics {
        let mut partitions = Vec::new();
        let code = state.links.script.code_for(scripted, &topic.topic);
        for wanted in &topic.partitions {
            let index = wanted.partition;
            let led = code.map_or_else(|| state.lead(broker, &topic.topic, index), Err);
            let read = led.and_then(|()| {
                let log = &state.partition(&topic.topic, index).ok_or(codes::INVALID_REQUEST)?.log;
                if !(0..=log.end()).contains(&wanted.fetch_offset) {
                    return Err(codes::OFFSET_OUT_OF_RANGE);
                }
                let most = usize::try_from(wanted.partition_max_bytes).unwrap_or(0).min(left);
                // At least one batch goes out per answer, however large it is: no reader starves.
                let go = bytes == 0 || most > 0;
                let some = if go { log.read(wanted.fetch_offset, most) } else { Bytes::new() };
                Ok((log.end(), some))
            });
            let (error, end, records) = match read {
                Ok((end, records)) => (codes::NONE, end, records),
                Err(error) => (error, -1, Bytes::new()),
            };
            failed |= error != codes::NONE;
            left = left.saturating_sub(records.len());
            bytes += records.len();
            let data = PartitionData::default().with_partition_index(index).with_error_code(error);
            partitions.push(
                data.with_high_watermark(end)
                    .with_last_stable_offset(end)
                    .with_log_start_offset(0)
                    .with_preferred_read_replica(BrokerId(-1))
                    .with_records(Some(records)),
            );
        }
        let response = FetchableTopicResponse::default().with_topic(topic.topic.clone());
        responses.push(response.with_partitions(partitions));
    }
    Found { answer: FetchResponse::default().with_responses(responses), bytes, failed }
}

pub(super) async fn serve(
    cluster: &Cluster,
    from: From,
    head: &Head,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let request: FetchRequest = body(head, &mut frame)?;
    let (scripted, delay, lifts) = {
        let mut state = cluster.state();
        let topics: Vec<&str> = request.topics.iter().map(|t| t.topic.as_str()).collect();
        let scripted = state.links.script.error(name(head.api), &topics);
        let (delay, lifts) = state.links.script.delay(name(head.api), &topics);
        (scripted, delay, lifts)
    };
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
    let enough = usize::try_from(request.min_bytes).unwrap_or(0);
    let until = tokio::time::Instant::now() + wait;
    let found = loop {
        let appended = cluster.appended().notified();
        tokio::pin!(appended);
        appended.as_mut().enable();
        let found = look(&mut cluster.state(), from.broker, &request, scripted);
        if found.bytes >= enough || found.failed {
            break found;
        }
        if tokio::time::timeout_at(until, appended).await.is_err() {
            break found;
        }
    };
    let reply = head.answer(&found.answer, codes::NONE)?;
    Ok(Reply { delay, lifts, ..reply })
}

/// Timestamp that asks for the end of the log.
const LATEST: i64 = -1;
/// Timestamp that asks for its beginning.
const EARLIEST: i64 = -2;
/// Timestamp that asks for the record with the largest one.
const NEWEST: i64 = -3;

pub(super) fn list_offsets(
    cluster: &Cluster,
    from: From,
    head: &Head,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let request: ListOffsetsRequest = body(head, &mut frame)?;
    let mut state = cluster.state();
    let names: Vec<&str> = request.topics.iter().map(|t| t.name.as_str()).collect();
    let scripted = state.links.script.error(name(head.api), &names);
    let (delay, lifts) = state.links.script.delay(name(head.api), &names);
    let mut topics = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        let code = state.links.script.code_for(scripted, &topic.name);
        for wanted in &topic.partitions {
            let index = wanted.partition_index;
            let led = code.map_or_else(|| state.lead(from.broker, &topic.name, index), Err);
            let log = state.partition(&topic.name, index).map(|p| &p.log);
            let (offset, timestamp) = match (led.is_ok().then_some(log).flatten(), wanted.timestamp)
            {
                (None, _) => (-1, -1),
                (Some(log), LATEST) => (log.end(), -1),
                (Some(_), EARLIEST) => (0, -1),
                (Some(log), NEWEST) => log.newest().unwrap_or((-1, -1)),
                (Some(log), time) => log.at_time(time).unwrap_or((-1, -1)),
            };
            partitions.push(
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(index)
                    .with_error_code(led.err().unwrap_or(codes::NONE))
                    .with_offset(offset)
                    .with_timestamp(timestamp),
            );
        }
        let response = ListOffsetsTopicResponse::default().with_name(topic.name.clone());
        topics.push(response.with_partitions(partitions));
    }
    let answer = ListOffsetsResponse::default().with_topics(topics);
    let reply = head.answer(&answer, codes::NONE)?;
    Ok(Reply { delay, lifts, ..reply })
}
