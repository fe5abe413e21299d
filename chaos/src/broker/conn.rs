//! One connection: requests are carried out as they arrive, answers leave in order.
//!
//! Every network fault acts here, so that it is the same over simulated and real sockets:
//! * a broker that goes down, or a reset: the connection is reset;
//! * a partition towards the broker: bytes are taken off the wire up to a bound and kept back,
//!   never looked at; away from it: requests are carried out and their answers kept back;
//! * a connection that comes while its broker is partitioned or a black hole is taken and kept
//!   waiting.
//!
//! When a partition or black hole is lifted, every connection that met it is reset, and what was
//! kept back is gone: an answer that was cut off stays lost, as it would after the peers gave up
//! retransmitting, and a short partition is no mere delay. Connections without traffic survive.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::api::{self, From, Reply};
use super::cluster::Cluster;
use super::script::{Met, Net};

/// Largest request, without its length. Kafka's `socket.request.max.bytes` is about three times it.
pub const MAX_REQUEST: usize = 32 << 20;
/// Answers that may wait on one connection before it is no longer read.
const MAX_ANSWERS: usize = 512;
/// Bytes kept back from a peer that is cut off.
const MAX_KEPT_BACK: usize = 64 << 10;
/// Connections that a broker serves at a time; more are closed at once.
const MAX_CONNECTIONS: usize = 1_000;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The peer left, or sent what is no request, or an answer was cut: close.
    Close,
    /// A fault: reset.
    Reset,
}

struct Queued {
    reply: Reply,
    due: Instant,
}

/// What reader and writer of a connection share.
struct Conn {
    cluster: Arc<Cluster>,
    from: From,
    /// Value of the broker's reset count when the connection came.
    resets: u64,
}

impl Conn {
    /// State of the network and the broker's count of heals, of one moment.
    fn net(&self) -> (Net, u64) {
        let state = self.cluster.state();
        let heals = state.broker(self.from.broker).map_or(0, |b| b.heals);
        (state.script.net(self.from.broker), heals)
    }

    fn met(&self, what: Met) {
        self.cluster.state().script.met_net(self.from.broker, what);
    }

    async fn until_net(&self, holds: impl Fn(Net) -> bool) {
        let broker = self.from.broker;
        self.cluster.until(self.cluster.changed(), |s| holds(s.script.net(broker))).await;
    }

    async fn until_reset(&self) {
        let broker = self.from.broker;
        let reset = |count: u64| count != self.resets;
        let changed = self.cluster.changed();
        self.cluster.until(changed, |s| s.broker(broker).is_none_or(|b| reset(b.resets))).await;
    }

    /// Ends when what this connection met is lifted.
    async fn until_healed(&self, heals: u64) {
        let broker = self.from.broker;
        let changed = self.cluster.changed();
        self.cluster.until(changed, |s| s.broker(broker).is_none_or(|b| b.heals != heals)).await;
    }

    /// Takes bytes off the wire without looking at them until the peer leaves or the cut is lifted.
    async fn keep_back<R>(&self, read: &mut R, what: Met, heals: u64) -> Ending
    where
        R: AsyncRead + Unpin,
    {
        let swallow = async {
            let mut kept = BytesMut::new();
            while kept.len() < MAX_KEPT_BACK {
                match read.read_buf(&mut kept).await {
                    Ok(n) if n > 0 => self.met(what),
                    _ => return,
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = self.until_healed(heals) => Ending::Reset,
            () = swallow => Ending::Close,
        }
    }

    /// Reads until a whole request is there; `Err` when the connection is to end.
    async fn request<R>(&self, read: &mut R, buf: &mut BytesMut) -> Result<Bytes, Ending>
    where
        R: AsyncRead + Unpin,
    {
        loop {
            if let Some(mut head) = buf.get(..4) {
                let length = usize::try_from(head.get_i32()).map_err(|_| Ending::Close)?;
                if length > MAX_REQUEST {
                    return Err(Ending::Close);
                }
                if buf.len() >= 4 + length {
                    buf.advance(4);
                    return Ok(buf.split_to(length).freeze());
                }
            }
            let (net, heals) = self.net();
            if net.requests_cut {
                // Idle connections survive a cut that is lifted before they say anything.
                let mut probe = [0; 1];
                let byte = tokio::select! {
                    biased;
                    () = self.until_healed(heals) => continue,
                    n = read.read(&mut probe) => n,
                };
                if matches!(byte, Ok(n) if n > 0) {
                    self.met(Met::Request);
                    return Err(self.keep_back(read, Met::Request, heals).await);
                }
                return Err(Ending::Close);
            }
            tokio::select! {
                biased;
                () = self.until_net(|net| net.requests_cut) => {}
                n = read.read_buf(buf) => if !matches!(n, Ok(n) if n > 0) {
                    return Err(Ending::Close);
                },
            }
        }
    }

    async fn read<R>(&self, read: &mut R, answers: mpsc::Sender<Queued>) -> Ending
    where
        R: AsyncRead + Unpin,
    {
        let (net, heals) = self.net();
        if net.blackhole || net.requests_cut || net.responses_cut {
            self.met(Met::Connect);
            return self.keep_back(read, Met::Connect, heals).await;
        }
        let From { broker, conn } = self.from;
        let mut rng = self.cluster.rng(broker, conn);
        let mut buf = BytesMut::new();
        let mut due = Instant::now();
        loop {
            let frame = match self.request(read, &mut buf).await {
                Ok(frame) => frame,
                Err(ending) => return ending,
            };
            let Ok(reply) = api::serve(&self.cluster, self.from, frame).await else {
                return Ending::Close;
            };
            if reply.close {
                return Ending::Close;
            }
            let mute = reply.mute;
            if reply.frame.is_some() {
                let latency = self.cluster.state().script.latency(broker, &mut rng);
                due = due.max(Instant::now() + latency + reply.delay);
                self.cluster.add_unanswered(reply.records);
                if answers.send(Queued { reply, due }).await.is_err() {
                    return Ending::Close;
                }
            }
            if !mute.is_zero() {
                sleep(mute).await;
            }
        }
    }

    async fn write<W>(
        &self,
        write: &mut W,
        answers: &mut mpsc::Receiver<Queued>,
        current: &mut Option<Queued>,
    ) -> Ending
    where
        W: AsyncWrite + Unpin,
    {
        while let Some(queued) = answers.recv().await {
            let (frame, due) = (queued.reply.frame.clone().unwrap_or_default(), queued.due);
            let queued = current.insert(queued);
            if due > Instant::now() {
                sleep_until(due).await;
            }
            let (net, heals) = self.net();
            if net.responses_cut {
                self.met(Met::Answer);
                self.until_healed(heals).await;
                return Ending::Reset;
            }
            let cut = self.cluster.state().script.cut(self.from.broker);
            let most = cut.unwrap_or(frame.len()).min(frame.len());
            let Some(bytes) = frame.get(..most) else { return Ending::Close };
            if self.send(write, bytes).await.is_err() {
                return Ending::Close;
            }
            if most == frame.len() {
                queued.reply.written(&self.cluster);
            }
            if cut.is_some() {
                return Ending::Close;
            }
            if let Some(queued) = current.take() {
                self.settle(&queued.reply);
            }
        }
        std::future::pending().await
    }

    async fn send<W: AsyncWrite + Unpin>(&self, write: &mut W, bytes: &[u8]) -> io::Result<()> {
        write.write_all(bytes).await?;
        write.flush().await
    }

    /// An answer left or is lost.
    fn settle(&self, reply: &Reply) {
        self.cluster.remove_unanswered(reply.records);
        if let Some(index) = reply.lifts {
            self.cluster.lift(index);
        }
    }
}

/// Serves one connection until it ends; gives the stream back for closing it as `Ending` says.
pub(crate) async fn run<S>(cluster: Arc<Cluster>, broker: i32, stream: S) -> (S, Ending)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (conn, resets) = {
        let mut state = cluster.state();
        let conn = state.next_conn;
        state.next_conn += 1;
        let known = state.broker(broker).filter(|b| b.connections < MAX_CONNECTIONS);
        let Some(resets) = known.map(|b| b.resets).filter(|_| state.is_up(broker)) else {
            return (stream, Ending::Reset);
        };
        state.connected(broker);
        (conn, resets)
    };
    let shared = Conn { cluster, from: From { broker, conn }, resets };
    let (mut read, mut write) = tokio::io::split(stream);
    let (queue, mut answers) = mpsc::channel(MAX_ANSWERS);
    let mut current = None;
    let ending = tokio::select! {
        biased;
        () = shared.until_reset() => Ending::Reset,
        ending = shared.write(&mut write, &mut answers, &mut current) => ending,
        ending = shared.read(&mut read, queue) => ending,
    };
    let lost = current.into_iter().chain(std::iter::from_fn(|| answers.try_recv().ok()));
    for queued in lost {
        shared.settle(&queued.reply);
    }
    shared.cluster.state().disconnected(broker);
    (read.unsplit(write), ending)
}

/// Serves one connection of a broker until it ends.
pub async fn serve<S>(cluster: Arc<Cluster>, broker: i32, mut stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (back, ending) = run(cluster, broker, stream).await;
    stream = back;
    if ending == Ending::Close {
        // The peer may be gone already: nothing is lost if this fails.
        let _ = tokio::time::timeout(Duration::from_secs(1), stream.shutdown()).await;
    }
}
