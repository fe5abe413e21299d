//! What the witness asks of the mock itself.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::net::TcpStream;

use crate::broker::client::Client;
use crate::broker::codes;
use crate::broker::outgoing::{batch, produce, record};

/// The topic that only the witness writes to.
pub(super) const TOPIC: &str = "dashproof-witness";
/// Version that the mock and every broker since 2.4 serve.
const PRODUCE: i16 = 7;
/// Requests written at a time.
const AT_ONCE: usize = 100;

/// Time that an answer of the broker takes.
pub(super) async fn round_trip(address: &str) -> io::Result<Duration> {
    let mut client = Client::new(TcpStream::connect(address).await?);
    let begin = Instant::now();
    client.call(0, &ApiVersionsRequest::default()).await?;
    Ok(begin.elapsed())
}

/// Uses up the errors that wait for Produce requests, and says how many there were.
pub(super) async fn errors_left(address: &str) -> io::Result<usize> {
    let mut left = 0;
    loop {
        let refused = refused(address, AT_ONCE).await?;
        left += refused;
        if refused < AT_ONCE {
            return Ok(left);
        }
    }
}

/// Sends so many Produce requests, one behind the other, and says how many were refused.
pub(super) async fn refused(address: &str, requests: usize) -> io::Result<usize> {
    let mut client = Client::new(TcpStream::connect(address).await?);
    let request = request()?;
    for _ in 0..requests {
        client.send(PRODUCE, &request).await?;
    }
    let mut refused = 0;
    for _ in 0..requests {
        let answer = client.receive::<ProduceRequest>(PRODUCE).await?;
        let found = answer.responses.first().and_then(|t| t.partition_responses.first());
        refused += usize::from(found.is_some_and(|p| p.error_code != codes::NONE));
    }
    Ok(refused)
}

fn request() -> io::Result<ProduceRequest> {
    let batch = batch(&[record(0, Bytes::from_static(b"witness"))])?;
    let topic = TopicName(StrBytes::from_static_str(TOPIC));
    Ok(produce(&topic, 0, batch, Duration::from_secs(1)))
}
