use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ApiVersionsRequest;
use tokio::net::TcpSocket;
use tokio::time::sleep;

use crate::broker::client::Client;
use crate::broker::tests::kit::config;
use crate::broker::{Cluster, HeldPort, SERVED, accept_loop};
use crate::fault::FaultPlan;
use crate::history::{Clock, FaultPhase, Kind, Line, Recorder};
use crate::scenario::model::{At, Brokers, Fault, FaultKind, Scenario};

struct Still;

impl Clock for Still {
    fn now_us(&self) -> u64 {
        turmoil::sim_elapsed().map_or(0, |t| u64::try_from(t.as_micros()).unwrap())
    }
}

async fn ask() -> Result<usize, ErrorKind> {
    let stream = turmoil::net::TcpStream::connect(("brokers", 9092)).await.map_err(|e| e.kind())?;
    let answer = Client::new(stream).call(3, &ApiVersionsRequest::default()).await;
    answer.map(|a| a.api_keys.len()).map_err(|e| e.kind())
}

/// One broker in a simulated network that is taken down by another host: what a client saw before,
/// during and after, and the history.
fn simulate(kind: FaultKind) -> (Vec<Result<usize, ErrorKind>>, Vec<Line>) {
    let mut sim = turmoil::Builder::new().rng_seed(7).epoch(std::time::UNIX_EPOCH).build();
    let recorder = Recorder::new(Arc::new(Still));
    let cluster = Cluster::new(config(), recorder.clone(), 7);
    let of = Arc::clone(&cluster);
    sim.host("brokers", move || {
        let cluster = Arc::clone(&of);
        async move {
            let listener = turmoil::net::TcpListener::bind(("0.0.0.0", 9092)).await?;
            accept_loop(cluster, 1, listener).await;
            Ok(())
        }
    });
    let fault = Fault::new(At::Time(Duration::ZERO), None, kind);
    let scenario = Scenario { faults: vec![fault], ..Scenario::default() };
    let plan = FaultPlan::new(&scenario, cluster);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let seen_by_client = Rc::clone(&seen);
    sim.client("client", async move {
        for at in 0..3 {
            sleep(Duration::from_millis(500)).await;
            let saw = tokio::time::timeout(Duration::from_secs(2), ask()).await;
            seen_by_client.borrow_mut().push(saw.unwrap_or(Err(ErrorKind::TimedOut)));
            match at {
                0 => plan.begin(0),
                _ => plan.end(0),
            }
        }
        Ok(())
    });
    sim.run().unwrap();
    let seen = seen.borrow().clone();
    (seen, recorder.take())
}

#[test]
fn a_simulated_broker_that_is_down_refuses_connects_and_takes_its_port_again() {
    let (seen, lines) = simulate(FaultKind::BrokerDown { brokers: Brokers::All });
    assert_eq!(seen, [Ok(SERVED.len()), Err(ErrorKind::ConnectionRefused), Ok(SERVED.len())]);
    let effect = |line: &Line| matches!(line.kind, Kind::Fault { phase: FaultPhase::Effect, .. });
    assert!(lines.iter().any(effect));
}

#[test]
fn a_simulated_black_hole_answers_nobody() {
    let (seen, _) = simulate(FaultKind::NetConnectBlackhole { brokers: Brokers::All });
    assert_eq!(seen, [Ok(SERVED.len()), Err(ErrorKind::TimedOut), Ok(SERVED.len())]);
}

#[test]
fn the_same_simulation_gives_the_same_history() {
    let down = || FaultKind::BrokerDown { brokers: Brokers::All };
    assert_eq!(simulate(down()), simulate(down()));
}

#[tokio::test]
async fn nobody_takes_a_held_port_that_rests() {
    let held = HeldPort::free().unwrap();
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, held.port()));
    // as Docker does for the ports of containers
    let take = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(at).and_then(|()| socket.listen(1))
    };
    assert!(take().is_err(), "it was never listened on");
    for _ in 0..2 {
        drop(held.listen().await.unwrap());
        held.rest();
        sleep(Duration::from_millis(50)).await;
        assert!(take().is_err(), "the listener is gone");
    }
}

#[tokio::test]
async fn a_held_port_waits_for_the_listener_that_is_leaving_it() {
    let held = HeldPort::free().unwrap();
    let before = held.listen().await.unwrap();
    let leaving = tokio::spawn(async move {
        sleep(Duration::from_millis(60)).await;
        drop(before);
    });
    let after = held.listen().await.unwrap();
    assert_eq!(after.local_addr().unwrap().port(), held.port());
    assert!(leaving.is_finished());
}
