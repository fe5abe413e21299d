//! One connection: requests are carried out as they arrive, answers leave in order.
//!
//! Every network fault acts here, so that it is the same over simulated and real sockets, and the
//! same for the model broker and for the proxy, which differ in what stands behind a connection
//! ([`Peer`]):
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::api::{From, Reply};
use super::cluster::Cluster;
use super::links::{Links, Peer, Site, until};
use super::script::{Met, Net};

/// Largest request, without its length. Kafka's `socket.request.max.bytes` is about three times it.
pub const MAX_REQUEST: usize = 32 << 20;
/// Answers that may wait on one connection before it is no longer read.
const MAX_ANSWERS: usize = 512;
/// Bytes of answers that may wait on one connection before it is no longer read; one that is larger
/// waits alone.
const ROOM: usize = 32 << 20;
/// Bytes of a request that is not whole up to which nobody counts them.
const SMALL: usize = 64 << 10;
/// A request is whole so long after its first byte, or its connection is closed.
const WHOLE: Duration = Duration::from_secs(120);
/// How long the last answers of a connection that the broker closes may take to leave.
const LAST_ANSWERS: Duration = Duration::from_secs(60);
/// Bytes kept back from a peer that is cut off.
const MAX_KEPT_BACK: usize = 64 << 10;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The peer left, or sent what is no request, or an answer was cut: close.
    Close,
    /// A fault: reset.
    Reset,
}

/// Why a connection is no longer read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It ends at once: the peer left, or a fault has it so.
    Now(Ending),
    /// The broker wants no more of it. What it has answered still leaves.
    LastAnswers,
}

struct Queued {
    reply: Reply,
    due: Instant,
    /// Delay of an answer that is still to come.
    late: Duration,
}

/// What reader and writer of a connection share.
pub(crate) struct Conn<S: Site> {
    pub(crate) site: Arc<S>,
    pub(crate) from: From,
    /// Value of the broker's reset count when the connection came.
    pub(crate) resets: u64,
}

impl<S: Site> Conn<S> {
    /// State of the network and the broker's count of heals, of one moment.
    pub(crate) fn net(&self) -> (Net, u64) {
        let broker = self.from.broker;
        self.site.with(|links| (links.script.net(broker), links.heals(broker)))
    }

    pub(crate) fn met(&self, what: Met) {
        self.site.with(|links| links.script.met_net(self.from.broker, what));
    }

    pub(crate) async fn until_net(&self, holds: impl Fn(Net) -> bool) {
        let broker = self.from.broker;
        until(&*self.site, self.site.changed(), |links| holds(links.script.net(broker))).await;
    }

    pub(crate) async fn until_reset(&self) {
        let (broker, resets) = (self.from.broker, self.resets);
        let conn = self.from.conn;
        let ended = |links: &Links| links.was_reset(broker, resets) || links.is_out(broker, conn);
        until(&*self.site, self.site.changed(), ended).await;
    }

    /// Ends when what this connection met is lifted.
    pub(crate) async fn until_healed(&self, heals: u64) {
        let broker = self.from.broker;
        until(&*self.site, self.site.changed(), |links| links.was_healed(broker, heals)).await;
    }

    /// Takes bytes off the wire without looking at them until the peer leaves or the cut is lifted.
    pub(crate) async fn keep_back<R>(&self, read: &mut R, what: Met, heals: u64) -> Ending
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

    /// Counts what is there of a request that is not whole: all connections together may have so
    /// much of them, and the oldest has to go.
    fn count(&self, bytes: usize) {
        let From { broker, conn } = self.from;
        if self.site.with(|links| links.half(broker, conn, bytes)) {
            self.site.changed().notify_waiters();
        }
    }

    /// Reads until a whole request is there; `Err` when the connection is to end.
    async fn request<R>(&self, read: &mut R, buf: &mut BytesMut) -> Result<Bytes, Stop>
    where
        R: AsyncRead + Unpin,
    {
        let (mut begun, mut counted) = (None, false);
        loop {
            if let Some(mut head) = buf.get(..4) {
                let length = usize::try_from(head.get_i32()).map_err(|_| Stop::LastAnswers)?;
                if length > MAX_REQUEST {
                    return Err(Stop::LastAnswers);
                }
                if buf.len() >= 4 + length {
                    buf.advance(4);
                    if counted {
                        self.site.with(|links| links.is_whole(self.from.conn));
                    }
                    return Ok(buf.split_to(length).freeze());
                }
                if buf.len() > SMALL {
                    counted = true;
                    self.count(buf.len());
                }
            }
            if !buf.is_empty() && begun.is_none() {
                begun = Some(Instant::now());
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
                    return Err(Stop::Now(self.keep_back(read, Met::Request, heals).await));
                }
                return Err(Stop::Now(Ending::Close));
            }
            tokio::select! {
                biased;
                () = self.until_net(|net| net.requests_cut) => {}
                n = read.read_buf(buf) => if !matches!(n, Ok(n) if n > 0) {
                    return Err(Stop::Now(Ending::Close));
                },
                () = over(begun) => return Err(Stop::LastAnswers),
            }
        }
    }

    async fn read<R>(&self, read: &mut R, answers: mpsc::Sender<Queued>) -> Stop
    where
        R: AsyncRead + Unpin,
    {
        let (net, heals) = self.net();
        if net.blackhole || net.requests_cut || net.responses_cut {
            self.met(Met::Connect);
            return Stop::Now(self.keep_back(read, Met::Connect, heals).await);
        }
        let peer = self.site.peer(self.from);
        tokio::select! {
            biased;
            stop = self.carry_out(&peer, read, answers) => stop,
            () = peer.gone() => Stop::LastAnswers,
        }
    }

    async fn carry_out<R>(
        &self,
        peer: &S::Peer,
        read: &mut R,
        answers: mpsc::Sender<Queued>,
    ) -> Stop
    where
        R: AsyncRead + Unpin,
    {
        let room = Arc::new(Semaphore::new(ROOM));
        let broker = self.from.broker;
        let mut rng = self.site.rng(self.from);
        let mut buf = BytesMut::new();
        let mut due = Instant::now();
        loop {
            let frame = match self.request(read, &mut buf).await {
                Ok(frame) => frame,
                Err(stop) => return stop,
            };
            self.paced(4 + frame.len()).await;
            let Ok(mut reply) = peer.request(frame).await else {
                return Stop::LastAnswers;
            };
            if reply.close {
                return Stop::LastAnswers;
            }
            let mute = reply.mute;
            if reply.answers() {
                let latency = self.site.with(|links| {
                    links.spoke(broker, self.from.conn);
                    links.script.latency(broker, &mut rng)
                });
                let late = latency + reply.delay;
                if !reply.is_awaited() {
                    due = due.max(Instant::now() + late);
                }
                self.site.add_unanswered(reply.records);
                if let Some(frame) = reply.frame.as_ref().filter(|_| reply.room.is_none()) {
                    reply.room = taken(&room, frame.len()).await;
                }
                if answers.send(Queued { reply, due, late }).await.is_err() {
                    return Stop::Now(Ending::Close);
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
            let queued = current.insert(queued);
            if queued.reply.is_awaited() {
                let Some(at) = queued.reply.arrive().await else { return Ending::Close };
                queued.due = queued.due.max(at + queued.late);
            }
            let frame = queued.reply.frame.clone().unwrap_or_default();
            if queued.due > Instant::now() {
                sleep_until(queued.due).await;
            }
            let (net, heals) = self.net();
            if net.responses_cut {
                self.met(Met::Answer);
                self.until_healed(heals).await;
                return Ending::Reset;
            }
            let cut = self.site.with(|links| links.script.cut(self.from.broker));
            let most = cut.unwrap_or(frame.len()).min(frame.len());
            let (frame, flipped) = self.flipped(&queued.reply, frame);
            let Some(bytes) = frame.get(..most) else { return Ending::Close };
            if self.send(write, bytes).await.is_err() {
                return Ending::Close;
            }
            if most == frame.len() && !flipped {
                queued.reply.written(self.site.recorder());
            }
            if cut.is_some() {
                return Ending::Close;
            }
            if let Some(queued) = current.take() {
                self.settle(&queued.reply);
            }
        }
        Ending::Close
    }

    /// Reads and answers until the connection ends.
    async fn both<R, W>(
        &self,
        (read, write): (&mut R, &mut W),
        (queue, answers): (mpsc::Sender<Queued>, &mut mpsc::Receiver<Queued>),
        current: &mut Option<Queued>,
    ) -> Ending
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let writing = self.write(write, answers, current);
        tokio::pin!(writing);
        let stop = tokio::select! {
            biased;
            ending = &mut writing => return ending,
            stop = self.read(read, queue) => stop,
        };
        match stop {
            Stop::Now(ending) => ending,
            Stop::LastAnswers => tokio::select! {
                biased;
                ending = &mut writing => ending,
                () = left(read) => Ending::Close,
                () = sleep(LAST_ANSWERS) => Ending::Close,
            },
        }
    }

    /// The answer to a Produce, perhaps as one to a request that nobody made: a bit of its
    /// correlation id flips, the only one that a client can tell.
    fn flipped(&self, reply: &Reply, frame: Bytes) -> (Bytes, bool) {
        let of_produce = !reply.codes.is_empty();
        let broker = self.from.broker;
        if !of_produce || !self.site.with(|links| links.script.flip(broker, false)) {
            return (frame, false);
        }
        let mut frame = BytesMut::from(frame);
        if let Some(byte) = frame.get_mut(4) {
            *byte ^= 0x80;
        }
        (frame.freeze(), true)
    }

    /// Writes bytes as the faults in force have it.
    pub(crate) async fn send<W: AsyncWrite + Unpin>(
        &self,
        write: &mut W,
        bytes: &[u8],
    ) -> io::Result<()> {
        self.paced(bytes.len()).await;
        if self.site.with(|links| links.script.sliced(self.from.broker)) {
            for byte in bytes.chunks(1) {
                write.write_all(byte).await?;
                write.flush().await?;
                // Whoever reads at the same time sees what is there so far.
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
        write.write_all(bytes).await?;
        write.flush().await
    }

    /// Takes the time that so many bytes need on a narrow link, as long as it is one.
    pub(crate) async fn paced(&self, bytes: usize) {
        let mut left = bytes as u64;
        while left > 0 {
            let rate = self.site.with(|links| links.script.bandwidth(self.from.broker));
            let Some(rate) = rate else { return };
            let step = left.min(rate.div_ceil(10));
            sleep(Duration::from_micros(step.saturating_mul(1_000_000) / rate)).await;
            left -= step;
        }
    }

    /// An answer left or is lost.
    fn settle(&self, reply: &Reply) {
        self.site.remove_unanswered(reply.records);
        if let Some(index) = reply.lifts {
            self.site.change(|links| links.script.disarm(index));
        }
    }
}

/// A connection came: its number, and the broker's count of resets; `None` when it is not taken.
pub(crate) fn entered<S: Site>(site: &S, broker: i32) -> Option<(u64, u64)> {
    let ((conn, resets), crowded) = site.with(|links| {
        let came = links.connected(broker);
        (came, links.is_crowded(broker))
    });
    if crowded {
        site.changed().notify_waiters();
    }
    Some((conn, resets?))
}

/// Ends when a request that began then takes too long.
async fn over(begun: Option<Instant>) {
    match begun {
        Some(begun) => sleep_until(begun + WHOLE).await,
        None => std::future::pending().await,
    }
}

/// Ends when the peer leaves; what it says is not looked at.
async fn left<R: AsyncRead + Unpin>(read: &mut R) {
    let mut unread = BytesMut::with_capacity(4 << 10);
    while matches!(read.read_buf(&mut unread).await, Ok(n) if n > 0) {
        unread.clear();
    }
}

/// Waits for room for so many bytes.
async fn taken(room: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let bytes = u32::try_from(bytes.min(ROOM)).unwrap_or(u32::MAX);
    match Arc::clone(room).try_acquire_many_owned(bytes) {
        Ok(taken) => Some(taken),
        Err(_) => Arc::clone(room).acquire_many_owned(bytes).await.ok(),
    }
}

/// Serves one connection until it ends; gives the stream back for closing it as `Ending` says.
pub(crate) async fn run<S, T>(site: Arc<S>, broker: i32, stream: T) -> (T, Ending)
where
    S: Site,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let Some((conn, resets)) = entered(&*site, broker) else { return (stream, Ending::Reset) };
    let shared = Conn { site, from: From { broker, conn }, resets };
    let (mut read, mut write) = tokio::io::split(stream);
    let (queue, mut answers) = mpsc::channel(MAX_ANSWERS);
    let mut current = None;
    let both = shared.both((&mut read, &mut write), (queue, &mut answers), &mut current);
    let ending = tokio::select! {
        biased;
        () = shared.until_reset() => Ending::Reset,
        ending = both => ending,
    };
    let lost = current.into_iter().chain(std::iter::from_fn(|| answers.try_recv().ok()));
    for queued in lost {
        shared.settle(&queued.reply);
    }
    shared.site.with(|links| links.disconnected(broker, conn));
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
