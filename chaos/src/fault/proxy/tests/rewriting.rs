use std::collections::BTreeMap;

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, FindCoordinatorRequest, MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::fault::proxy::addresses::offered;

/// Three brokers that know nothing of a proxy.
async fn strangers() -> (Arc<Cluster>, Vec<u16>) {
    let mut listeners = Vec::new();
    for _ in 1..=3 {
        listeners.push(bind_loopback().await.unwrap());
    }
    let ports: Vec<u16> = listeners.iter().map(|(_, port)| *port).collect();
    let advertised = ports.iter().map(|port| ("127.0.0.1".to_owned(), *port)).collect();
    let config = crate::broker::ClusterConfig { advertised, ..config() };
    let cluster = Cluster::new(config, wall(), 42);
    for (id, (listener, _)) in (1..).zip(listeners) {
        tokio::spawn(accept_loop(Arc::clone(&cluster), id, listener));
    }
    (cluster, ports)
}

/// A proxy that knows the first of them.
async fn before(ports: &[u16]) -> (Arc<Proxy>, Recorder) {
    let recorder = wall();
    let config = ProxyConfig { brokers: vec![1], ..proxy_config(Mode::Rewriting) };
    let proxy = Proxy::bind(config, recorder.clone(), 1).await.unwrap();
    proxy.connect_to(1, "127.0.0.1", ports[0]);
    proxy.advertised(1, "127.0.0.1", ports[0]);
    (Arc::new(proxy), recorder)
}

async fn metadata(client: &mut Client<TcpStream>) -> MetadataResponse {
    client.call(9, &MetadataRequest::default().with_topics(None)).await.unwrap()
}

/// Broker ids and the ports that they are told to be at.
fn told(answer: &MetadataResponse) -> BTreeMap<i32, u16> {
    assert!(answer.brokers.iter().all(|broker| broker.host.as_str() == "127.0.0.1"));
    let port = |port: i32| u16::try_from(port).unwrap();
    answer.brokers.iter().map(|broker| (*broker.node_id, port(broker.port))).collect()
}

#[tokio::test]
async fn brokers_that_know_nothing_of_the_proxy_are_named_by_its_addresses() {
    let (_cluster, ports) = strangers().await;
    let (proxy, _) = before(&ports).await;
    let first = told(&metadata(&mut client(&proxy, 1).await).await);
    assert_eq!(first.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(first[&1], proxy.ports()[0].1);
    assert!(first.values().all(|port| !ports.contains(port)), "{first:?} {ports:?}");
    // through a broker that was not known, to the same places
    let stream = TcpStream::connect(("127.0.0.1", first[&3])).await.unwrap();
    assert_eq!(told(&metadata(&mut Client::new(stream)).await), first);
}

#[tokio::test]
async fn a_coordinator_is_named_by_the_proxys_address_in_every_version() {
    let (_cluster, ports) = strangers().await;
    let (proxy, _) = before(&ports).await;
    let mut client = client(&proxy, 1).await;
    let known = told(&metadata(&mut client).await);
    for version in 0..=4 {
        let group = StrBytes::from_static_str("group");
        let request = FindCoordinatorRequest::default();
        let request = if version < 4 {
            request.with_key(group)
        } else {
            request.with_coordinator_keys(vec![group])
        };
        let answer = client.call(version, &request).await.unwrap();
        let (id, port) = answer
            .coordinators
            .first()
            .map_or((answer.node_id, answer.port), |found| (found.node_id, found.port));
        assert_eq!(i32::from(known[&*id]), port, "version {version}");
    }
}

#[tokio::test]
async fn a_broker_that_tells_another_address_is_found_there() {
    let (_cluster, ports) = strangers().await;
    let (proxy, _) = before(&ports).await;
    // as if it had been there before, and were started anew elsewhere
    proxy.advertised(2, "127.0.0.1", 1);
    proxy.connect_to(2, "127.0.0.1", 1);
    let known = told(&metadata(&mut client(&proxy, 1).await).await);
    let stream = TcpStream::connect(("127.0.0.1", known[&2])).await.unwrap();
    assert_eq!(told(&metadata(&mut Client::new(stream)).await), known);
}

#[tokio::test]
async fn faults_act_on_brokers_that_were_seen_later_and_by_their_place() {
    let (_cluster, ports) = strangers().await;
    let (proxy, recorder) = before(&ports).await;
    let known = told(&metadata(&mut client(&proxy, 1).await).await);
    let kind = FaultKind::BrokerDown { brokers: Brokers::Ids(vec![2]) };
    let fault = Fault::new(At::Time(Duration::ZERO), None, kind);
    let scenario = Scenario { faults: vec![fault], ..Scenario::default() };
    let world = ProxyWorld::new(&scenario, Arc::clone(&proxy), None);
    world.begin(0);
    let refused = async {
        while TcpStream::connect(("127.0.0.1", known[&2])).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), refused).await.unwrap();
    assert!(TcpStream::connect(("127.0.0.1", known[&3])).await.is_ok());
    assert_eq!(phases(&recorder, 0).first(), Some(&FaultPhase::Begin));
}

#[tokio::test]
async fn what_was_in_the_logs_before_the_run_is_not_the_runs() {
    let (_cluster, ports) = strangers().await;
    let direct = TcpStream::connect(("127.0.0.1", ports[0])).await.unwrap();
    let earlier = produce(batch(PLAIN, &[0], b"x"));
    let earlier = Client::new(direct).call(9, &earlier).await.unwrap();
    assert_eq!(answer(&earlier), (0, 0));
    let (proxy, recorder) = before(&ports).await;
    let begin = BTreeMap::from([("events".to_owned(), BTreeMap::from([(0, 1)]))]);
    let scenario = Scenario::default();
    let elsewhere = BTreeMap::new();
    let world = ProxyWorld::before_strangers(&scenario, Arc::clone(&proxy), elsewhere, begin);
    let later = produce(batch(PLAIN, &[1], b"x"));
    let later = client(&proxy, 1).await.call(9, &later).await.unwrap();
    assert_eq!(answer(&later), (0, 1));
    world.snapshot().await.unwrap();
    assert_eq!(logs(&recorder.lines(), Route::Main), 1);
    assert_eq!(truths(&recorder.lines()).len(), 1);
}

#[tokio::test]
async fn an_answer_with_addresses_that_is_not_understood_is_not_passed_on() {
    let (listener, port) = bind_loopback().await.unwrap();
    let (proxy, _) = before(&[port]).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 1024];
        let _ = stream.read(&mut asked).await.unwrap();
        // the right correlation id, and nothing that could be metadata
        stream.write_all(&[0, 0, 0, 9, 0, 0, 0, 0, 0, 9, 9, 9, 9]).await.unwrap();
        std::future::pending::<()>().await;
    });
    let mut client = client(&proxy, 1).await;
    client.send(9, &MetadataRequest::default()).await.unwrap();
    let end = timeout(Duration::from_secs(5), client.frame()).await.expect("it ends");
    assert!(end.is_err());
}

#[test]
fn only_what_can_be_written_anew_is_offered() {
    let api = |api: ApiKey, max: i16| {
        ApiVersion::default().with_api_key(api as i16).with_max_version(max)
    };
    let mut all = vec![
        api(ApiKey::Fetch, 99),
        api(ApiKey::ShareFetch, 2),
        api(ApiKey::Metadata, 99),
        api(ApiKey::InitProducerId, 99),
    ];
    offered(&mut all);
    let left: Vec<(i16, i16)> = all.iter().map(|api| (api.api_key, api.max_version)).collect();
    assert_eq!(left, [(1, 15), (3, 13), (22, 99)]);
}
