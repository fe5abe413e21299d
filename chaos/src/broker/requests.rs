//! Parts of requests that a cluster's administration shares, whoever has the cluster.

use std::io;

use kafka_protocol::messages::create_topics_request::CreatableTopicConfig;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{CreateTopicsResponse, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::codes;

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// Asks for these topics, for all if none are named, and makes none.
pub(crate) fn metadata(topics: Option<&[&str]>) -> MetadataRequest {
    let wanted = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic(name)));
    MetadataRequest::default()
        .with_topics(topics.map(|topics| topics.iter().map(wanted).collect()))
        .with_allow_auto_topic_creation(false)
}

/// A setting of a topic to be made.
pub(crate) fn setting(key: &str, value: &str) -> CreatableTopicConfig {
    CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
}

/// Every topic was made.
///
/// # Errors
/// The first that was refused, with the broker's reason.
pub(crate) fn all_made(answer: &CreateTopicsResponse) -> io::Result<()> {
    let refused = answer.topics.iter().find(|t| t.error_code != codes::NONE);
    refused.map_or(Ok(()), |t| {
        let why = t.error_message.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = t.name.as_str();
        Err(io::Error::other(format!("topic {name}: Kafka error {} {why}", t.error_code)))
    })
}
