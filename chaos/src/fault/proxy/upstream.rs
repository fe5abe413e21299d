//! The connection to a broker that stands behind one connection of a client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::answer::Pending;
use super::request::Onward;
use super::site::Shared;

/// Time to connect to a broker.
pub(super) const DIAL: Duration = Duration::from_secs(5);
/// How long answers are waited for after the client has left.
const DRAIN: Duration = Duration::from_secs(5);
/// Largest answer, without its length.
const MAX_ANSWER: usize = 128 << 20;
/// Room for one read.
const READ: usize = 4 << 10;
/// Bytes of answers that may wait for one client, or one answer.
const ROOM: usize = 32 << 20;

/// Connects to the broker as it is known now.
pub(super) async fn dial(site: &Shared, broker: i32) -> io::Result<TcpStream> {
    let (host, port) = site.address(broker).ok_or(io::ErrorKind::AddrNotAvailable)?;
    let stream = timeout(DIAL, TcpStream::connect((host.as_str(), port))).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Passes requests on and answers back until the broker's connection ends, or the client has left
/// and everything is answered.
pub(super) async fn run(site: Arc<Shared>, broker: i32, mut requests: mpsc::Receiver<Onward>) {
    if let Ok(stream) = dial(&site, broker).await {
        let (mut read, mut write) = stream.into_split();
        // Its length is bounded where the client's answers are queued.
        let (asked, mut pending) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(ROOM));
        let mut answers = Answers { site: &site, buf: BytesMut::new(), held: None, room };
        let left = tokio::select! {
            left = forward(&site, broker, &mut write, &mut requests, &asked) => left,
            () = answers.all(&mut read, &mut pending, false) => false,
        };
        if left {
            let rest = answers.all(&mut read, &mut pending, true);
            let _ = timeout(DRAIN, rest).await;
        }
    }
    requests.close();
    // to the last: one that was on its way in when this closed is there a moment later
    while let Some(unsent) = requests.recv().await {
        unsent.never_sent(&site);
    }
}

/// Writes requests as they come; true when the client has left, false when the broker has.
async fn forward<W: AsyncWrite + Unpin>(
    site: &Arc<Shared>,
    broker: i32,
    write: &mut W,
    requests: &mut mpsc::Receiver<Onward>,
    asked: &mpsc::UnboundedSender<Pending>,
) -> bool {
    while let Some(Onward { frame, pending, .. }) = requests.recv().await {
        if let Some(mut pending) = pending {
            pending.waits = Some(site.waits_for(broker));
            // The other end is held by the same task.
            drop(asked.send(pending));
        }
        if write.write_all(&frame).await.is_err() {
            return false;
        }
    }
    true
}

struct Answers<'a> {
    site: &'a Arc<Shared>,
    buf: BytesMut,
    /// An answer that waits for room: it must not be lost when the waiting is given up.
    held: Option<Bytes>,
    room: Arc<Semaphore>,
}

impl Answers<'_> {
    /// Hands answers to who waits for them, until there are no more; `rest`: until nobody waits.
    async fn all<R: AsyncRead + Unpin>(
        &mut self,
        read: &mut R,
        pending: &mut mpsc::UnboundedReceiver<Pending>,
        rest: bool,
    ) {
        loop {
            if rest && pending.is_empty() {
                return;
            }
            if self.held.is_none() {
                self.held = self.frame(read).await;
            }
            let Some(size) = self.held.as_ref().map(Bytes::len) else { return };
            let size = u32::try_from(size.min(ROOM)).unwrap_or(u32::MAX);
            let room = Arc::clone(&self.room).acquire_many_owned(size).await.ok();
            // An answer that nobody asked for: whoever speaks there speaks another language.
            let (Ok(asked), Some(frame)) = (pending.try_recv(), self.held.take()) else { return };
            if !asked.finish(self.site, &frame, room) {
                return;
            }
        }
    }

    /// The next frame, length included.
    async fn frame<R: AsyncRead + Unpin>(&mut self, read: &mut R) -> Option<Bytes> {
        loop {
            if let Some(mut head) = self.buf.get(..4) {
                let length = usize::try_from(head.get_i32()).ok()?;
                if length > MAX_ANSWER {
                    return None;
                }
                if self.buf.len() >= 4 + length {
                    return Some(self.buf.split_to(4 + length).freeze());
                }
            }
            self.buf.reserve(READ);
            if read.read_buf(&mut self.buf).await.ok()? == 0 {
                return None;
            }
        }
    }
}
