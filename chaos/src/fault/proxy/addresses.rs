//! The addresses in answers of brokers that do not know the proxy.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiKey, BrokerId, DescribeClusterResponse, FindCoordinatorResponse, MetadataResponse,
    ProduceResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes};

use super::frame::Head;
use super::site::Shared;

/// Newest Fetch whose answer carries no address.
const FETCH: i16 = 15;
/// Oldest Produce whose answer may carry one.
const PRODUCE_WITH_ADDRESSES: i16 = 10;
/// APIs whose answers carry addresses and that no subject of a scenario uses: they are not offered.
const NOT_OFFERED: [ApiKey; 3] =
    [ApiKey::DescribeQuorum, ApiKey::ShareFetch, ApiKey::ShareAcknowledge];

/// The answer (length included) with the proxy's addresses in the place of the brokers' own; `None`
/// when it may carry one and cannot be written anew.
pub(super) fn ours(site: &Arc<Shared>, head: &Head, frame: Bytes) -> Option<Bytes> {
    match head.api {
        Some(ApiKey::Metadata) => renewed::<MetadataResponse>(head, &frame, |answer| {
            answer
                .brokers
                .iter_mut()
                .try_for_each(|found| here(site, found.node_id, &mut found.host, &mut found.port))
        }),
        Some(ApiKey::DescribeCluster) => renewed::<DescribeClusterResponse>(head, &frame, |it| {
            it.brokers
                .iter_mut()
                .try_for_each(|found| here(site, found.broker_id, &mut found.host, &mut found.port))
        }),
        Some(ApiKey::FindCoordinator) => renewed::<FindCoordinatorResponse>(head, &frame, |it| {
            here(site, it.node_id, &mut it.host, &mut it.port)?;
            it.coordinators
                .iter_mut()
                .try_for_each(|found| here(site, found.node_id, &mut found.host, &mut found.port))
        }),
        Some(ApiKey::Produce) if head.version >= PRODUCE_WITH_ADDRESSES => {
            renewed::<ProduceResponse>(head, &frame, |answer| {
                answer.node_endpoints.iter_mut().try_for_each(|found| {
                    here(site, found.node_id, &mut found.host, &mut found.port)
                })
            })
        }
        Some(ApiKey::Fetch) if head.version > FETCH => None,
        Some(api) if NOT_OFFERED.contains(&api) => None,
        _ => Some(frame),
    }
}

fn renewed<R>(
    head: &Head,
    frame: &Bytes,
    change: impl FnOnce(&mut R) -> io::Result<()>,
) -> Option<Bytes>
where
    R: Decodable + Encodable + HeaderVersion,
{
    let mut answer = head.answer::<R>(frame)?;
    change(&mut answer).ok()?;
    head.reply(&answer)
}

/// The proxy in the place of a broker. One that was not known gets a listener.
fn here(
    site: &Arc<Shared>,
    BrokerId(id): BrokerId,
    host: &mut StrBytes,
    port: &mut i32,
) -> io::Result<()> {
    let Ok(at) = u16::try_from(*port) else { return Ok(()) };
    // nobody, as an answer with an error has it
    if id < 0 || at == 0 || host.is_empty() {
        return Ok(());
    }
    let told = (host.to_string(), at);
    let mut core = site.core();
    let known = core.advertised.insert(id, told.clone());
    drop(core);
    if known.as_ref() != Some(&told) {
        site.connect_to(id, &told.0, told.1);
    }
    let front = site.front(id)?;
    *host = StrBytes::from_static_str("127.0.0.1");
    *port = i32::from(front);
    Ok(())
}

/// Leaves out what carries addresses that cannot be written anew.
pub(super) fn offered(all: &mut Vec<ApiVersion>) {
    all.retain(|api| NOT_OFFERED.iter().all(|hidden| *hidden as i16 != api.api_key));
    for api in all {
        let newest = match ApiKey::try_from(api.api_key) {
            Ok(ApiKey::Metadata) => MetadataResponse::VERSIONS.max,
            Ok(ApiKey::FindCoordinator) => FindCoordinatorResponse::VERSIONS.max,
            Ok(ApiKey::DescribeCluster) => DescribeClusterResponse::VERSIONS.max,
            Ok(ApiKey::Fetch) => FETCH,
            _ => continue,
        };
        api.max_version = api.max_version.min(newest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::fault::proxy::{Mode, ProxyConfig, TopicNames};
    use crate::history::{Clock, Recorder};

    struct Still;

    impl Clock for Still {
        fn now_us(&self) -> u64 {
            0
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_broker_that_several_answers_name_at_once_gets_one_listener() {
        let config = ProxyConfig {
            brokers: vec![1],
            main: TopicNames::same("events"),
            dlq: TopicNames::same("letters"),
            run: [0; 10],
            mode: Mode::Rewriting,
        };
        let site = Arc::new(Shared::new(config, Recorder::new(Arc::new(Still)), 1));
        for broker in 2..40 {
            let barrier = Arc::new(Barrier::new(4));
            let told: Vec<_> = (0..4)
                .map(|_| {
                    let (site, barrier) = (Arc::clone(&site), Arc::clone(&barrier));
                    tokio::task::spawn_blocking(move || {
                        let (mut host, mut port) = (StrBytes::from_static_str("there"), 9092);
                        barrier.wait();
                        here(&site, BrokerId(broker), &mut host, &mut port).unwrap();
                        port
                    })
                })
                .collect();
            let mut ports = Vec::new();
            for port in told {
                ports.push(port.await.unwrap());
            }
            ports.dedup();
            assert_eq!(ports.len(), 1, "broker {broker}: {ports:?}");
        }
        site.end();
    }
}
