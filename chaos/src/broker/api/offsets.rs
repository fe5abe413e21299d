//! `OffsetCommit` and `OffsetFetch`.

use bytes::Bytes;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::groups::Asked;
use super::{From, Head, Hopeless, Reply, body};
use crate::broker::cluster::Cluster;
use crate::broker::codes;
use crate::broker::group::{Committed, Groups};
use crate::broker::state::State;

pub(super) fn commit(
    cluster: &Cluster,
    from: From,
    head: &Head,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let request: OffsetCommitRequest = body(head, &mut frame)?;
    let group = request.group_id.as_str();
    let now_us = cluster.recorder().now_us();
    let mut state = cluster.state();
    let asked = Asked::of(&mut state, from, head, group);
    let (member, generation) = (request.member_id.as_str(), request.generation_id_or_member_epoch);
    let may = |()| state.groups.may_commit(group, member, generation, now_us);
    let allowed = asked.refused.and_then(may);
    let mut topics = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::new();
        for wanted in topic.partitions {
            let index = wanted.partition_index;
            let committed = Committed {
                offset: wanted.committed_offset,
                epoch: wanted.committed_leader_epoch,
                metadata: wanted.committed_metadata.unwrap_or_default().to_string(),
            };
            let kept = allowed.and_then(|()| {
                let there = state.partition(&topic.name, index).map(|_| ());
                there.ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION)?;
                state.groups.commit(group, (&topic.name, index), committed)
            });
            let partition = OffsetCommitResponsePartition::default().with_partition_index(index);
            partitions.push(partition.with_error_code(kept.err().unwrap_or(codes::NONE)));
        }
        let response = OffsetCommitResponseTopic::default().with_name(topic.name);
        topics.push(response.with_partitions(partitions));
    }
    let answer = OffsetCommitResponse::default().with_topics(topics);
    Ok(asked.reply(head.answer(&answer, allowed.err().unwrap_or(codes::NONE))?))
}

fn committed(
    groups: &Groups,
    group: &str,
    topic: &str,
    partition: i32,
    code: i16,
) -> OffsetFetchResponsePartition {
    let found = groups.committed(group, topic, partition).filter(|_| code == codes::NONE);
    let answer = OffsetFetchResponsePartition::default().with_partition_index(partition);
    let answer = answer.with_error_code(code);
    match found {
        Some(Committed { offset, epoch, metadata }) => answer
            .with_committed_offset(*offset)
            .with_committed_leader_epoch(*epoch)
            .with_metadata(Some(StrBytes::from_string(metadata.clone()))),
        None => answer
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(StrBytes::default())),
    }
}

pub(super) fn fetch(
    cluster: &Cluster,
    from: From,
    head: &Head,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let request: OffsetFetchRequest = body(head, &mut frame)?;
    let group = request.group_id.as_str();
    let mut state = cluster.state();
    let asked = Asked::of(&mut state, from, head, group);
    let code = asked.refused.err().unwrap_or(codes::NONE);
    let State { groups, .. } = &*state;
    let wanted: Vec<(String, Vec<i32>)> = match request.topics {
        Some(topics) => {
            topics.into_iter().map(|t| (t.name.to_string(), t.partition_indexes)).collect()
        }
        None if code == codes::NONE => groups.partitions(group),
        None => Vec::new(),
    };
    let topics = wanted.into_iter().map(|(topic, partitions)| {
        let found = partitions.into_iter().map(|p| committed(groups, group, &topic, p, code));
        let found = found.collect();
        let name = TopicName(StrBytes::from_string(topic));
        OffsetFetchResponseTopic::default().with_name(name).with_partitions(found)
    });
    let answer = OffsetFetchResponse::default().with_topics(topics.collect());
    let answer = answer.with_error_code(code);
    Ok(asked.reply(head.answer(&answer, code)?))
}
