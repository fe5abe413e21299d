//! Connections handed on as they are.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Listens on one port and hands every connection on to another.
pub(super) struct Relay {
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(super) fn start(from: u16, to: u16) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, from)))?;
        let listener = socket.listen(1024)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, to));
        Ok(Self { _tasks: tasks })
    }
}

async fn accept(listener: TcpListener, to: u16) {
    let mut open = JoinSet::new();
    loop {
        let Ok((mut client, _)) = listener.accept().await else { continue };
        open.spawn(async move {
            let Ok(mut broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else {
                return;
            };
            drop(tokio::io::copy_bidirectional(&mut client, &mut broker).await);
        });
    }
}
