//! Listening: the same loop over simulated and real sockets.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::conn::Ending;
use super::links::{Site, until_up};

/// Something that takes connections on a port, can give the port up and take it again.
pub trait Listen: Send + Sized + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The port without a listener on it: connects are refused.
    type Parked: Send + 'static;

    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    /// Stops listening; connections that were not accepted yet are reset.
    fn park(self) -> Self::Parked;
    /// Listens again on the same port.
    fn unpark(
        parked: Self::Parked,
    ) -> impl Future<Output = Result<Self, (Self::Parked, io::Error)>> + Send;
    /// Closes a connection with a reset where the network has one.
    fn reset(stream: Self::Stream);
}

impl Listen for turmoil::net::TcpListener {
    type Stream = turmoil::net::TcpStream;
    type Parked = SocketAddr;

    async fn accept(&self) -> io::Result<Self::Stream> {
        Ok(turmoil::net::TcpListener::accept(self).await?.0)
    }

    fn park(self) -> SocketAddr {
        self.local_addr().unwrap_or_else(|_| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    async fn unpark(at: SocketAddr) -> Result<Self, (SocketAddr, io::Error)> {
        Self::bind(at).await.map_err(|error| (at, error))
    }

    fn reset(stream: Self::Stream) {
        drop(stream);
    }
}

/// A port of the loopback interface that is held but not listened on.
#[derive(Debug)]
pub struct HeldPort {
    at: SocketAddr,
    /// Bound, so that nobody else gets the port (not even as the source of a connection to it).
    held: Option<tokio::net::TcpSocket>,
}

impl HeldPort {
    /// A free port, held.
    ///
    /// # Errors
    /// The operating system's.
    pub fn free() -> io::Result<Self> {
        // not to be shared: programs that share addresses (Docker does) would take it too
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { at: socket.local_addr()?, held: Some(socket) })
    }

    /// Listens on it. The port stays held when the listener is gone. A listener that was there
    /// before, and is on its way to its end, is waited for. From now on the port can be had by
    /// whoever shares addresses while nobody listens, until [`HeldPort::rest`].
    ///
    /// # Errors
    /// The operating system's.
    pub async fn listen(&self) -> io::Result<tokio::net::TcpListener> {
        let until = tokio::time::Instant::now() + LEAVING;
        if let Some(held) = &self.held {
            held.set_reuseaddr(true)?;
        }
        loop {
            match bound(self.at).and_then(|socket| socket.listen(1024)) {
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse
                        && tokio::time::Instant::now() < until =>
                {
                    tokio::time::sleep(REBIND).await;
                }
                listening => return listening,
            }
        }
    }

    /// Nobody is to listen on it for a while, and nobody else can.
    pub fn rest(&self) {
        if let Some(held) = &self.held {
            // where this fails the port is as it was
            let _ = held.set_reuseaddr(false);
        }
    }

    /// Its number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.at.port()
    }
}

fn bound(at: SocketAddr) -> io::Result<tokio::net::TcpSocket> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    Ok(socket)
}

impl Listen for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;
    type Parked = HeldPort;

    async fn accept(&self) -> io::Result<Self::Stream> {
        let (stream, _) = tokio::net::TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn park(self) -> HeldPort {
        let unspecified = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let at = self.local_addr().unwrap_or(unspecified);
        drop(self);
        HeldPort { at, held: bound(at).ok() }
    }

    async fn unpark(parked: HeldPort) -> Result<Self, (HeldPort, io::Error)> {
        let HeldPort { at, held } = parked;
        let socket = match held.map_or_else(|| bound(at), Ok) {
            Ok(socket) => socket,
            Err(error) => return Err((HeldPort { at, held: None }, error)),
        };
        socket.listen(1024).map_err(|error| (HeldPort { at, held: None }, error))
    }

    fn reset(stream: Self::Stream) {
        // Without it a closed socket says goodbye politely; a failure leaves just that.
        let _ = stream.set_zero_linger();
    }
}

/// A listener on a free port of the loopback interface, for a broker whose address must be known
/// before the cluster exists.
///
/// # Errors
/// The operating system's.
pub async fn bind_loopback() -> io::Result<(tokio::net::TcpListener, u16)> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Time between two tries to take a port again.
const REBIND: Duration = Duration::from_millis(20);
/// How long a listener may take to end.
const LEAVING: Duration = Duration::from_secs(5);

/// Accepts connections for a broker for ever. While a fault keeps the broker down nothing listens
/// on its port: connects are refused.
pub async fn accept_loop<L: Listen>(cluster: Arc<Cluster>, broker: i32, listener: L) {
    listen(cluster, broker, listener).await;
}

/// As [`accept_loop`], for whoever has brokers.
/// Connections end with this.
pub(crate) async fn listen<S: Site, L: Listen>(site: Arc<S>, broker: i32, mut listener: L) {
    let mut connections = JoinSet::new();
    loop {
        let accept = async {
            loop {
                match listener.accept().await {
                    Ok(stream) => {
                        while connections.try_join_next().is_some() {}
                        connections.spawn(connection::<S, L>(Arc::clone(&site), broker, stream));
                    }
                    // Out of descriptors, or the peer was faster: the listener itself is sound.
                    Err(_) => tokio::time::sleep(REBIND).await,
                }
            }
        };
        tokio::select! {
            biased;
            () = until_up(&*site, broker, false) => {}
            () = accept => {}
        }
        let mut parked = listener.park();
        until_up(&*site, broker, true).await;
        listener = loop {
            match L::unpark(parked).await {
                Ok(listener) => break listener,
                Err((back, _)) => parked = back,
            }
            tokio::time::sleep(REBIND).await;
        };
    }
}

async fn connection<S: Site, L: Listen>(site: Arc<S>, broker: i32, stream: L::Stream) {
    let (mut stream, ending) = site.serve(broker, stream).await;
    match ending {
        Ending::Reset => L::reset(stream),
        // The peer may be gone already: nothing is lost if this fails.
        Ending::Close => {
            let _ = tokio::time::timeout(Duration::from_secs(1), stream.shutdown()).await;
        }
    }
}
