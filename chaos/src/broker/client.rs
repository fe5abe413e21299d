//! A client of one connection: one request, one answer.

use std::io;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::outgoing::{framed, invalid};

/// Largest answer that is read.
const MAX_ANSWER: usize = 128 << 20;

/// Speaks the Kafka protocol over a byte stream. Requests may be pipelined with [`Client::send`];
/// answers then come in order through [`Client::receive`].
#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    next: i32,
    expected: i32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Over a stream that is connected.
    pub fn new(stream: S) -> Self {
        Self { stream, next: 0, expected: 0 }
    }

    /// The stream, for what no client should do.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Writes a request.
    ///
    /// # Errors
    /// The stream's, or `InvalidData` when the request does not exist in this version.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        let out = framed("dashproof", self.next, version, request)?;
        self.next += 1;
        self.stream.write_all(&out).await?;
        self.stream.flush().await
    }

    /// Reads one frame, without its length.
    ///
    /// # Errors
    /// The stream's; `UnexpectedEof` when the peer closed; `InvalidData` for a senseless length.
    pub async fn frame(&mut self) -> io::Result<Bytes> {
        let length = self.stream.read_i32().await?;
        let length = usize::try_from(length).ok().filter(|n| *n <= MAX_ANSWER);
        let length = length.ok_or_else(|| invalid("senseless length of an answer"))?;
        let mut frame = BytesMut::zeroed(length);
        self.stream.read_exact(&mut frame).await?;
        Ok(frame.freeze())
    }

    /// Reads the answer to the oldest request that has none.
    ///
    /// # Errors
    /// As [`Client::frame`], and `InvalidData` for an answer that is not one to this request.
    pub async fn receive<R: Request>(&mut self, version: i16) -> io::Result<R::Response> {
        let mut frame = self.frame().await?;
        let header = R::Response::header_version(version);
        let header = ResponseHeader::decode(&mut frame, header).map_err(invalid)?;
        if header.correlation_id != self.expected {
            return Err(invalid("the answer is to another request"));
        }
        self.expected += 1;
        R::Response::decode(&mut frame, version).map_err(invalid)
    }

    /// A request and its answer.
    ///
    /// # Errors
    /// As [`Client::send`] and [`Client::receive`].
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(version, request).await?;
        self.receive::<R>(version).await
    }
}
