//! Metadata and `CreateTopics`.

use bytes::Bytes;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, CreateTopicsResponse, MetadataRequest, MetadataResponse,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{Head, Hopeless, Reply, body, name};
use crate::broker::cluster::Cluster;
use crate::broker::codes;
use crate::broker::script::Scripted;
use crate::broker::state::{Partition, State};

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

/// Kafka's rule for topic names.
fn legal(topic: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&topic.len()) && topic != "." && topic != ".." && topic.chars().all(good)
}

pub(super) fn serve(cluster: &Cluster, head: &Head, mut frame: Bytes) -> Result<Reply, Hopeless> {
    let request: MetadataRequest = body(head, &mut frame)?;
    let mut state = cluster.state();
    // Version 0 has no null: an empty list asks for everything.
    let wanted = request.topics.filter(|t| head.version > 0 || !t.is_empty());
    let names: Vec<String> = if let Some(topics) = wanted {
        topics.into_iter().filter_map(|t| t.name).map(|n| n.to_string()).collect()
    } else {
        let all: Vec<String> = state.topics.keys().map(ToString::to_string).collect();
        all.into_iter().filter(|topic| !state.links.script.hidden(topic)).collect()
    };
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let scripted = state.links.script.error(name(head.api), &asked);
    let (delay, lifts) = state.links.script.delay(name(head.api), &asked);
    let create = request.allow_auto_topic_creation && state.config.auto_create;
    let topics = asked.iter().map(|t| topic(&mut state, t, scripted, create)).collect();
    let brokers = state.links.live().into_iter().filter_map(|id| {
        let (host, port) = state.config.address(id)?;
        let broker = MetadataResponseBroker::default().with_node_id(BrokerId(id));
        Some(broker.with_host(StrBytes::from_string(host.to_owned())).with_port(port.into()))
    });
    let brokers: Vec<_> = brokers.collect();
    let controller = brokers.first().map_or(BrokerId(-1), |b| b.node_id);
    let answer = MetadataResponse::default()
        .with_brokers(brokers)
        .with_cluster_id(Some(StrBytes::from_static_str("dashproof")))
        .with_controller_id(controller)
        .with_topics(topics);
    let reply = head.answer(&answer, codes::NONE)?;
    Ok(Reply { delay, lifts, ..reply })
}

fn topic(
    state: &mut State,
    topic: &str,
    scripted: Option<Scripted>,
    create: bool,
) -> MetadataResponseTopic {
    let answer = MetadataResponseTopic::default().with_name(Some(topic_name(topic)));
    if let Some(code) = state.links.script.code_for(scripted, topic) {
        return answer.with_error_code(code);
    }
    if state.links.script.missing(topic) {
        return answer.with_error_code(codes::UNKNOWN_TOPIC_OR_PARTITION);
    }
    if !legal(topic) {
        return answer.with_error_code(codes::INVALID_TOPIC);
    }
    if !state.topics.contains_key(topic) {
        if !create {
            return answer.with_error_code(codes::UNKNOWN_TOPIC_OR_PARTITION);
        }
        if let Err(code) = state.create(topic, state.config.partitions) {
            return answer.with_error_code(code);
        }
    }
    let leaderless = state.links.script.leaderless(topic);
    let found = state.topics.get(topic).map(Vec::as_slice).unwrap_or_default();
    let partitions = found.iter().zip(0..);
    let partitions = partitions.map(|(p, index)| partition(state, topic, p, index, leaderless));
    answer.with_partitions(partitions.collect())
}

fn partition(
    state: &State,
    topic: &str,
    partition: &Partition,
    index: i32,
    leaderless: bool,
) -> MetadataResponsePartition {
    let leader = if leaderless { -1 } else { partition.leader };
    let offline: Vec<i32> =
        partition.replicas.iter().filter(|id| !state.links.is_up(**id)).copied().collect();
    MetadataResponsePartition::default()
        .with_error_code(if leaderless { codes::LEADER_NOT_AVAILABLE } else { codes::NONE })
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader))
        .with_leader_epoch(partition.epoch)
        .with_replica_nodes(ids(&partition.replicas))
        .with_isr_nodes(ids(&state.insync(topic, partition)))
        .with_offline_replicas(ids(&offline))
}

pub(super) fn create_topics(
    cluster: &Cluster,
    head: &Head,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let request: CreateTopicsRequest = body(head, &mut frame)?;
    let mut state = cluster.state();
    let names: Vec<&str> = request.topics.iter().map(|t| t.name.as_str()).collect();
    let scripted = state.links.script.error(name(head.api), &names);
    let (delay, lifts) = state.links.script.delay(name(head.api), &names);
    let mut results = Vec::new();
    for topic in &request.topics {
        let wanted = match topic.num_partitions {
            -1 => state.config.partitions,
            given => given,
        };
        let most = i16::try_from(state.config.brokers).unwrap_or(i16::MAX);
        let code = if let Some(code) = state.links.script.code_for(scripted, &topic.name) {
            code
        } else if !legal(&topic.name) {
            codes::INVALID_TOPIC
        } else if state.topics.contains_key(topic.name.as_str()) {
            codes::TOPIC_ALREADY_EXISTS
        } else if !(1..=1000).contains(&wanted) {
            codes::INVALID_PARTITIONS
        } else if topic.replication_factor != -1 && !(1..=most).contains(&topic.replication_factor)
        {
            codes::INVALID_REPLICATION_FACTOR
        } else if request.validate_only {
            codes::NONE
        } else {
            state.create(&topic.name, wanted).err().unwrap_or(codes::NONE)
        };
        let factor = i16::try_from(state.config.brokers.min(3)).unwrap_or(3);
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        results.push(
            result
                .with_error_code(code)
                .with_num_partitions(wanted)
                .with_replication_factor(factor)
                .with_configs(Some(Vec::new())),
        );
    }
    let reply = head.answer(&CreateTopicsResponse::default().with_topics(results), codes::NONE)?;
    Ok(Reply { delay, lifts, ..reply })
}
