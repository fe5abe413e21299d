//! Peers that mean harm, over TCP, against the model broker and against the proxy before it: an
//! answer or a clean close, memory bounded, and a good client is served all the while.
#![cfg(test)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dashproof::broker::client::Client;
use dashproof::broker::{Cluster, ClusterConfig, SERVED, accept_loop, bind_loopback};
use dashproof::fault::proxy::{Mode, Proxy, ProxyConfig, TopicNames};
use dashproof::history::{Clock, Recorder};
use kafka_protocol::messages::MetadataRequest;
use tokio::runtime::Runtime;

/// What a run of any of these tests may add to the memory of this process.
const MEMORY: usize = 192 << 20;

struct Wall(Instant);

impl Clock for Wall {
    fn now_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// One broker, perhaps behind a proxy, with a good client that never stops asking.
struct Rig {
    port: u16,
    served: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    good: Option<std::thread::JoinHandle<()>>,
    before: usize,
    _proxy: Option<Proxy>,
    _runtime: Runtime,
}

fn recorder() -> Recorder {
    Recorder::new(Arc::new(Wall(Instant::now())))
}

impl Rig {
    fn new(proxied: bool) -> Self {
        let before = resident();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let (socket, own) = runtime.block_on(bind_loopback()).unwrap();
        let names = TopicNames::same;
        let config = ProxyConfig {
            brokers: vec![1],
            main: names("events"),
            dlq: names("dead"),
            run: [1; 10],
            mode: Mode::Frames,
        };
        let proxy = proxied.then(|| runtime.block_on(Proxy::bind(config, recorder(), 1)).unwrap());
        if let Some(proxy) = &proxy {
            proxy.connect_to(1, "127.0.0.1", own);
        }
        let port = proxy.as_ref().map_or(own, |proxy| proxy.ports()[0].1);
        let config = ClusterConfig {
            brokers: 1,
            partitions: 3,
            main_topic: "events".to_owned(),
            dlq_topic: "dead".to_owned(),
            advertised: vec![("127.0.0.1".to_owned(), port)],
            min_insync: 1,
            auto_create: false,
            message_max_bytes: 1 << 20,
            run: [1; 10],
        };
        let cluster = Cluster::new(config, recorder(), 1);
        runtime.spawn(accept_loop(cluster, 1, socket));
        let (served, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let good = good_client(port, Arc::clone(&served), Arc::clone(&stop));
        Self { port, served, stop, good: Some(good), before, _proxy: proxy, _runtime: runtime }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// What is answered to these bytes until the connection ends; it must end.
    fn closed_after(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut answered = Vec::new();
        match stream.read_to_end(&mut answered) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        answered
    }

    /// The good client is served, on its old connection and on new ones.
    fn serves(&self) {
        let now = self.served.load(Ordering::Relaxed);
        let until = Instant::now() + Duration::from_secs(10);
        while self.served.load(Ordering::Relaxed) < now + 2 {
            assert!(Instant::now() < until, "nobody serves the good client");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the good client, which must not have missed an answer.
    fn end(mut self) {
        self.serves();
        self.stop.store(true, Ordering::Relaxed);
        self.good.take().unwrap().join().expect("the good client was let down");
        let grown = resident().saturating_sub(self.before);
        assert!(grown < MEMORY, "{} MiB more than before", grown >> 20);
    }
}

/// Asks for metadata again and again: on one connection, and each time on a fresh one too.
fn good_client(
    port: u16,
    served: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    let ask = async move {
        let dial = async || {
            let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
            Client::new(stream.unwrap())
        };
        let mut old = dial().await;
        while !stop.load(Ordering::Relaxed) {
            let mut fresh = dial().await;
            for client in [&mut old, &mut fresh] {
                let request = MetadataRequest::default();
                let answer = client.call(9, &request);
                let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
                assert_eq!(answer.expect("an answer in time").unwrap().brokers.len(), 1);
            }
            served.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(ask);
    })
}

/// Memory that this process has, bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// A request as it goes over the wire.
fn request(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(10 + body.len()).unwrap();
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(&key.to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&7_i32.to_be_bytes());
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn everywhere(test: impl Fn(&Rig)) {
    for proxied in [false, true] {
        let rig = Rig::new(proxied);
        rig.serves();
        test(&rig);
        rig.end();
    }
}

#[test]
fn lengths_that_are_none_end_the_connection_without_an_answer() {
    everywhere(|rig| {
        for length in [-1, i32::MIN, i32::MAX, (32 << 20) + 1] {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend_from_slice(&[0; 64]);
            assert!(rig.closed_after(&bytes).is_empty(), "{length}");
        }
    });
}

#[test]
fn giant_arrays_end_the_connection_and_take_no_memory() {
    let giant = i32::MAX.to_be_bytes();
    let produce = [&[0xff, 0xff, 0xff, 0xff, 0, 0, 3, 232][..], &giant].concat();
    let flexible = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0; 16]].concat();
    everywhere(|rig| {
        for _ in 0..50 {
            assert!(rig.closed_after(&request(3, 1, &giant)).is_empty());
            assert!(rig.closed_after(&request(0, 3, &produce)).is_empty());
            assert!(rig.closed_after(&request(3, 9, &flexible)).is_empty());
            assert!(rig.closed_after(&request(11, 2, &[0xff; 40])).is_empty());
        }
    });
}

#[test]
fn unknown_apis_and_versions_from_the_future_are_closed_or_told_what_is_served() {
    everywhere(|rig| {
        for (key, version) in [(999, 0), (-1, 0), (3, 99), (0, 99), (11, 99), (3, -1)] {
            assert!(rig.closed_after(&request(key, version, &[])).is_empty(), "{key} {version}");
        }
        let mut stream = rig.connect();
        stream.write_all(&request(18, 99, b"who knows")).unwrap();
        let mut head = [0; 14];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head[8..10], &35_i16.to_be_bytes(), "UNSUPPORTED_VERSION");
        let served = i32::from_be_bytes(head[10..14].try_into().unwrap());
        assert_eq!(usize::try_from(served).unwrap(), SERVED.len());
    });
}

#[test]
fn half_frames_of_peers_that_leave_or_stay_harm_nobody() {
    everywhere(|rig| {
        let whole = request(18, 0, &[]);
        let mut stay = Vec::new();
        for cut in (1..whole.len()).cycle().take(400) {
            let mut stream = rig.connect();
            stream.write_all(&whole[..cut]).unwrap();
            if cut % 2 == 0 {
                stay.push(stream);
            }
        }
        // a length that promises the most, and then nothing
        for _ in 0..50 {
            let mut stream = rig.connect();
            stream.write_all(&(32_i32 << 20).to_be_bytes()).unwrap();
            stay.push(stream);
        }
        rig.serves();
    });
}

/// More of them than a broker takes connections.
#[test]
fn a_crowd_that_says_a_byte_now_and_then_keeps_nobody_out() {
    everywhere(|rig| {
        let whole = request(18, 0, &[]);
        let mut crowd: Vec<TcpStream> = (0..1_200).map(|_| rig.connect()).collect();
        for byte in &whole[..5] {
            for stream in &mut crowd {
                // who had to make room is gone
                let _ = stream.write_all(&[*byte]);
            }
            rig.serves();
        }
        let gone = crowd.iter_mut().filter(|stream| {
            stream.set_nonblocking(true).unwrap();
            let read = (&**stream).read(&mut [0]);
            !read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
        assert!((200..400).contains(&gone.count()));
    });
}

#[test]
fn twenty_thousand_connections_one_after_another_leave_nothing_behind() {
    everywhere(|rig| {
        let (whole, begin) = (request(18, 0, &[]), Instant::now());
        for n in 0..20_000 {
            let mut stream = rig.connect();
            match n % 4 {
                0 => {}
                1 => stream.write_all(&whole[..7]).unwrap(),
                2 => stream.write_all(&(-1_i32).to_be_bytes()).unwrap(),
                _ => {
                    stream.write_all(&whole).unwrap();
                    stream.read_exact(&mut [0; 4]).unwrap();
                }
            }
            assert!(begin.elapsed() < Duration::from_secs(120), "{n} so far");
        }
    });
}

/// Asks for much and takes nothing: what waits for it is bounded, and it is not read further.
#[test]
fn a_peer_that_asks_for_more_than_it_reads_takes_no_memory() {
    everywhere(|rig| {
        let one = request(18, 0, &[]);
        let many = one.repeat(1_000);
        let mut stream = rig.connect();
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let pushed = (0..2_000).take_while(|_| stream.write_all(&many).is_ok()).count();
        assert!(pushed < 2_000, "two million requests are read, and no answer");
        rig.serves();
    });
}
