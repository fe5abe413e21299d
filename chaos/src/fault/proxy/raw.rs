//! Bytes that nobody looks into, as under TLS: what faults can do to them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::site::Shared;
use super::upstream::dial;
use crate::broker::api::From;
use crate::broker::conn::{Conn, Ending, entered};
use crate::broker::links::Site as _;
use crate::broker::script::Met;
use crate::scenario::model::{FaultKind, LinkFault};

/// Bytes read at a time.
const CHUNK: usize = 16 << 10;
/// Chunks that may wait for their client.
const CHUNKS: usize = 64;

/// What can be done to the connections of a single broker where nobody looks into them: the kinds
/// that [`applies_to_bytes`] allows, but for those that need no connection or several brokers.
pub const ON_BYTES: [&str; 8] = [
    "broker.down",
    "broker.flap",
    "net.partition",
    "net.reset",
    "net.connect_blackhole",
    "net.latency",
    "net.slice",
    "net.bandwidth",
];

/// Says whether a fault of this kind can be done to bytes that nobody looks into; if not, why.
///
/// # Errors
/// The reason, for a person.
pub const fn applies_to_bytes(kind: &FaultKind) -> Result<(), &'static str> {
    match kind {
        FaultKind::BrokerDown { .. }
        | FaultKind::BrokerFlap { .. }
        | FaultKind::BrokerRollingRestart { .. }
        | FaultKind::NetPartition { .. }
        | FaultKind::NetReset { .. }
        | FaultKind::NetConnectBlackhole { .. }
        | FaultKind::NetLatency { .. }
        | FaultKind::Link(LinkFault::Slice { .. } | LinkFault::Bandwidth { .. })
        | FaultKind::SpoolDamage(_)
        | FaultKind::SubjectCrash(_) => Ok(()),
        _ => Err("under TLS the proxy sees bytes and no frames"),
    }
}

/// Serves one connection until it ends; gives the stream back for closing it as `Ending` says.
pub(super) async fn run<T>(site: Arc<Shared>, broker: i32, stream: T) -> (T, Ending)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Some((conn, resets)) = entered(&*site, broker) else { return (stream, Ending::Reset) };
    // what it says is nobody's business here, and so is whether it says anything
    site.with(|links| links.spoke(broker, conn));
    let conn = Conn { site, from: From { broker, conn }, resets };
    let (mut read, mut write) = tokio::io::split(stream);
    let ending = tokio::select! {
        biased;
        () = conn.until_reset() => Ending::Reset,
        ending = pass(&conn, &mut read, &mut write) => ending,
    };
    conn.site.with(|links| links.disconnected(broker, conn.from.conn));
    (read.unsplit(write), ending)
}

async fn pass<R, W>(conn: &Conn<Shared>, read: &mut R, write: &mut W) -> Ending
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (net, heals) = conn.net();
    if net.blackhole || net.requests_cut || net.responses_cut {
        conn.met(Met::Connect);
        return conn.keep_back(read, Met::Connect, heals).await;
    }
    let Ok(broker) = dial(&conn.site, conn.from.broker).await else { return Ending::Reset };
    let (mut from_broker, mut to_broker) = broker.into_split();
    let (chunks, late) = mpsc::channel(CHUNKS);
    let fetched = async {
        fetch(conn, &mut from_broker, chunks).await;
        // what is on its way is delivered yet, and then `leave` ends
        std::future::pending().await
    };
    tokio::select! {
        ending = towards(conn, read, &mut to_broker) => ending,
        ending = leave(conn, write, late) => ending,
        ending = fetched => ending,
    }
}

/// From the client to its broker.
async fn towards<R, W>(conn: &Conn<Shared>, read: &mut R, write: &mut W) -> Ending
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buf = BytesMut::with_capacity(CHUNK);
    loop {
        let (net, heals) = conn.net();
        if net.requests_cut {
            // Idle connections survive a cut that is lifted before they say anything.
            let mut probe = [0; 1];
            let byte = tokio::select! {
                biased;
                () = conn.until_healed(heals) => continue,
                n = read.read(&mut probe) => n,
            };
            if matches!(byte, Ok(n) if n > 0) {
                conn.met(Met::Request);
                return conn.keep_back(read, Met::Request, heals).await;
            }
            return Ending::Close;
        }
        buf.clear();
        tokio::select! {
            biased;
            () = conn.until_net(|net| net.requests_cut) => continue,
            n = read.read_buf(&mut buf) => if !matches!(n, Ok(n) if n > 0) {
                // What the broker still has to say may pass, and what it was sent be appended.
                let _open = conn.site.opened();
                drop(write.shutdown().await);
                return std::future::pending().await;
            },
        }
        let _open = conn.site.opened();
        conn.paced(buf.len()).await;
        if write.write_all(&buf).await.is_err() {
            return Ending::Reset;
        }
    }
}

/// From the broker, with the time at which it may leave. Ends when the broker has.
async fn fetch<R>(conn: &Conn<Shared>, read: &mut R, chunks: mpsc::Sender<(Bytes, Instant)>)
where
    R: AsyncRead + Unpin,
{
    let mut rng = conn.site.rng(conn.from);
    let mut due = Instant::now();
    loop {
        let mut buf = BytesMut::with_capacity(CHUNK);
        if !matches!(read.read_buf(&mut buf).await, Ok(n) if n > 0) {
            return;
        }
        let broker = conn.from.broker;
        let latency = conn.site.with(|links| links.script.latency(broker, &mut rng));
        due = due.max(Instant::now() + latency);
        if chunks.send((buf.freeze(), due)).await.is_err() {
            return;
        }
    }
}

/// To the client, when it is time.
async fn leave<W>(
    conn: &Conn<Shared>,
    write: &mut W,
    mut chunks: mpsc::Receiver<(Bytes, Instant)>,
) -> Ending
where
    W: AsyncWrite + Unpin,
{
    while let Some((bytes, due)) = chunks.recv().await {
        if due > Instant::now() {
            sleep_until(due).await;
        }
        let (net, heals) = conn.net();
        if net.responses_cut {
            conn.met(Met::Answer);
            conn.until_healed(heals).await;
            return Ending::Reset;
        }
        if conn.send(write, &bytes).await.is_err() {
            return Ending::Close;
        }
    }
    Ending::Close
}
