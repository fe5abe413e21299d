//! `ApiVersions`, `InitProducerId` and `FindCoordinator`.

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, FindCoordinatorRequest, FindCoordinatorResponse,
    InitProducerIdRequest, InitProducerIdResponse, ProducerId,
};
use kafka_protocol::protocol::StrBytes;

use super::{Head, Hopeless, Reply, SERVED, body, name};
use crate::broker::cluster::Cluster;
use crate::broker::codes;
use crate::broker::state::State;

fn api_versions(code: i16) -> ApiVersionsResponse {
    let range = |(api, min, max): (_, i16, i16)| {
        ApiVersion::default().with_api_key(api).with_min_version(min).with_max_version(max)
    };
    let keys = SERVED.iter().map(|(api, min, max)| range((*api as i16, *min, *max))).collect();
    ApiVersionsResponse::default().with_error_code(code).with_api_keys(keys)
}

pub(super) fn versions(cluster: &Cluster, head: &Head) -> Result<Reply, Hopeless> {
    let mut state = cluster.state();
    let scripted = state.links.script.error(name(head.api), &[]);
    let code = scripted.map_or(codes::NONE, |s| s.code);
    let (delay, lifts) = state.links.script.delay(name(head.api), &[]);
    let reply = head.answer(&api_versions(code), code)?;
    Ok(Reply { delay, lifts, ..reply })
}

/// The answer to a version that is not served: always in version 0, with the versions that are.
pub(super) fn versions_refused(head: &Head) -> Result<Reply, Hopeless> {
    let top = codes::UNSUPPORTED_VERSION;
    let frame = Some(head.encode(&api_versions(top), 0)?);
    Ok(Reply { frame, top, ..Reply::default() })
}

pub(super) fn init_producer_id(
    cluster: &Cluster,
    head: &Head,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let request: InitProducerIdRequest = body(head, &mut frame)?;
    let mut state = cluster.state();
    let scripted = state.links.script.error(name(head.api), &[]);
    let (delay, lifts) = state.links.script.delay(name(head.api), &[]);
    let transactional = request.transactional_id.is_some();
    let given = match scripted {
        Some(scripted) => Err(scripted.code),
        None if transactional => Err(codes::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        None => producer_id(&mut state, *request.producer_id, request.producer_epoch, head.version),
    };
    let (code, pid, epoch) = match given {
        Ok((pid, epoch)) => (codes::NONE, pid, epoch),
        Err(code) => (code, -1, -1),
    };
    let answer = InitProducerIdResponse::default()
        .with_error_code(code)
        .with_producer_id(ProducerId(pid))
        .with_producer_epoch(epoch);
    let reply = head.answer(&answer, code)?;
    Ok(Reply { delay, lifts, ..reply })
}

/// A new producer id, or the next epoch of one that the client has (KIP-360).
///
/// Apache Kafka gives a client without a transactional id a fresh producer id here. This broker
/// keeps the id and raises the epoch, as librdkafka's mock does: both are legal towards a client,
/// and so the log tells which batches came from one client.
fn producer_id(state: &mut State, pid: i64, epoch: i16, version: i16) -> Result<(i64, i16), i16> {
    let fenced = if version >= 4 { codes::PRODUCER_FENCED } else { codes::INVALID_PRODUCER_EPOCH };
    if pid >= 0 {
        let Some(newest) = state.pids.get_mut(&pid) else { return Err(fenced) };
        if epoch == *newest && epoch < i16::MAX - 1 {
            *newest += 1;
            return Ok((pid, *newest));
        }
        if *newest > 0 && epoch == *newest - 1 {
            // The answer to the request that raised it was lost.
            return Ok((pid, *newest));
        }
        if epoch != *newest {
            return Err(fenced);
        }
    }
    let fresh = state.next_pid;
    state.next_pid += 1;
    state.pids.insert(fresh, 0);
    Ok((fresh, 0))
}

pub(super) fn find_coordinator(
    cluster: &Cluster,
    head: &Head,
    mut frame: Bytes,
) -> Result<Reply, Hopeless> {
    let request: FindCoordinatorRequest = body(head, &mut frame)?;
    let mut state = cluster.state();
    let code = state.links.script.error(name(head.api), &[]).map_or(codes::NONE, |s| s.code);
    let (delay, lifts) = state.links.script.delay(name(head.api), &[]);
    let of = |key: &str| {
        let node = state.coordinator(key).filter(|_| code == codes::NONE);
        let (host, port) = node.and_then(|id| state.config.address(id)).unwrap_or(("", 0));
        let host = StrBytes::from_string(host.to_owned());
        (BrokerId(node.unwrap_or(-1)), host, i32::from(port))
    };
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        let (node, host, port) = of(&key);
        Coordinator::default()
            .with_key(key)
            .with_node_id(node)
            .with_host(host)
            .with_port(port)
            .with_error_code(code)
    });
    let mut answer = FindCoordinatorResponse::default();
    if head.version >= 4 {
        answer = answer.with_coordinators(coordinators.collect());
    } else {
        let (node, host, port) = of(&request.key);
        answer = answer.with_error_code(code).with_node_id(node).with_host(host).with_port(port);
    }
    let reply = head.answer(&answer, code)?;
    Ok(Reply { delay, lifts, ..reply })
}
