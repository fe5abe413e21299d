//! Who answers on a port: Docker gives ports to containers as they come, so that one on which a
//! broker was can be another's a moment later.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse, MetadataResponse};

use super::admin::Admin;
use crate::broker::codes;
use crate::broker::requests::text;

/// Version that every Kafka since 2.4 serves.
const DESCRIBE: i16 = 2;
/// Number of the protocol.
const BROKER: i8 = 4;
/// The setting in which a broker has its id.
const ID: &str = "node.id";

/// An id for a new cluster, as Kafka writes its own: 16 bytes that no other cluster has.
pub(super) fn new_cluster() -> String {
    let mut bytes = fastrand::u128(..).to_be_bytes();
    // no id begins with a dash, which a command would take for an option
    bytes[0] &= 0x7f;
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Asks who is there: the broker with this id, of this cluster.
///
/// # Errors
/// Nobody answers, or who does.
pub(super) async fn prove(admin: &Admin, cluster: &str, broker: i32) -> Result<(), String> {
    let said = admin.metadata(&[]).await.map_err(|error| error.to_string())?;
    is_of(&said, cluster)?;
    // brokers tell their own settings only, and refuse to tell another's
    let wanted = DescribeConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text(&broker.to_string()))
        .with_configuration_keys(Some(vec![text(ID)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![wanted]);
    let said = admin.call(DESCRIBE, &request).await.map_err(|error| error.to_string())?;
    is_itself(&said, broker)
}

fn is_of(said: &MetadataResponse, cluster: &str) -> Result<(), String> {
    match said.cluster_id.as_deref() {
        Some(other) if other == cluster => Ok(()),
        Some(other) => Err(format!("on its port answers a broker of the cluster {other}")),
        None => Err("on its port answers a broker that is of no cluster".to_owned()),
    }
}

fn is_itself(said: &DescribeConfigsResponse, broker: i32) -> Result<(), String> {
    let told = said.results.first().ok_or("on its port nobody tells which broker it is")?;
    if told.error_code != codes::NONE {
        let (code, why) = (told.error_code, told.error_message.as_deref().unwrap_or_default());
        return Err(format!("on its port answers another broker (Kafka error {code}: {why})"));
    }
    let id = told.configs.iter().find(|config| &*config.name == ID);
    match id.and_then(|config| config.value.as_deref()) {
        Some(id) if id == broker.to_string() => Ok(()),
        Some(id) => Err(format!("on its port answers the broker {id}")),
        None => Err("on its port nobody tells which broker it is".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult,
    };

    use super::*;

    fn tells(id: &str) -> DescribeConfigsResponse {
        let config = DescribeConfigsResourceResult::default();
        let config = config.with_name(text(ID)).with_value(Some(text(id)));
        let result = DescribeConfigsResult::default().with_configs(vec![config]);
        DescribeConfigsResponse::default().with_results(vec![result])
    }

    #[test]
    fn a_broker_of_another_cluster_on_the_same_port_is_not_the_one() {
        let (ours, other) = (new_cluster(), new_cluster());
        let of = |id: &str| MetadataResponse::default().with_cluster_id(Some(text(id)));
        assert_eq!(is_of(&of(&ours), &ours), Ok(()));
        assert!(is_of(&of(&other), &ours).unwrap_err().ends_with(&other));
        assert!(is_of(&MetadataResponse::default(), &ours).is_err());
    }

    #[test]
    fn another_broker_of_the_same_cluster_is_not_the_one() {
        assert_eq!(is_itself(&tells("2"), 2), Ok(()));
        assert_eq!(is_itself(&tells("1"), 2).unwrap_err(), "on its port answers the broker 1");
        let refused = DescribeConfigsResult::default()
            .with_error_code(42)
            .with_error_message(Some(text("Unexpected broker id, expected 1")));
        let refused = DescribeConfigsResponse::default().with_results(vec![refused]);
        assert!(is_itself(&refused, 2).unwrap_err().contains("expected 1"));
        assert!(is_itself(&DescribeConfigsResponse::default(), 2).is_err());
    }

    #[test]
    fn every_cluster_has_an_id_of_its_own_that_kafka_takes() {
        let (one, two) = (new_cluster(), new_cluster());
        assert_ne!(one, two);
        assert!(one.len() == 22 && !one.starts_with('-'), "{one}");
    }
}
