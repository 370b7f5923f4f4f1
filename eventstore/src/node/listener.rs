//! The node's connections: bounded in number, acknowledged at once, and behind TLS if the node has a
//! certificate.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::transport::server::Connected;

use super::PING_INTERVAL;

/// The largest number of connections. More wait in the system's queue.
const MAX_CONNECTIONS: usize = 1024;

/// The longest time of a TLS handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// The pause after a connection could not be accepted, e.g. because no file descriptor was left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the stream is dropped.
pub(super) fn connections(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
) -> impl Stream<Item = io::Result<ClientConnection>> {
    accepted(listener, tls, true)
}

/// Accepts connections whose segments are acknowledged when the system likes, as a real server's are.
#[cfg(feature = "testing")]
pub(super) fn slow_connections(listener: TcpListener) -> impl Stream<Item = io::Result<ClientConnection>> {
    accepted(listener, None, false)
}

fn accepted(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    quick: bool,
) -> impl Stream<Item = io::Result<ClientConnection>> {
    let (accepted, connections) = mpsc::channel(16);
    tokio::spawn(async move {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let stream = tokio::select! {
                // The server was dropped.
                () = accepted.closed() => return,
                stream = accept(&listener, &slots) => stream,
            };
            let Some((stream, slot)) = stream else { continue };
            let (accepted, tls) = (accepted.clone(), tls.clone());
            tokio::spawn(async move {
                let Some(io) = secure(ClientSocket { stream, quick }, tls).await else { return };
                // This fails only if the server was dropped.
                let _ = accepted.send(Ok(ClientConnection { io, _slot: slot })).await;
            });
        }
    });
    ReceiverStream::new(connections)
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Responses are small and must not wait for each other.
            let _ = stream.set_nodelay(true);
            // Over HTTP/1.1 no ping shows that a client is gone.
            let keep_alive = TcpKeepalive::new().with_time(PING_INTERVAL).with_interval(PING_INTERVAL);
            let _ = SockRef::from(&stream).set_tcp_keepalive(&keep_alive);
            Some((stream, slot))
        }
        Err(error) => {
            tracing::warn!(%error, "the event log's node could not accept a connection");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn secure(stream: ClientSocket, tls: Option<TlsAcceptor>) -> Option<Box<dyn ByteStream>> {
    let Some(tls) = tls else { return Some(Box::new(stream)) };
    match timeout(HANDSHAKE_DEADLINE, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake with the event log's node failed");
            None
        }
        Err(_) => None,
    }
}

/// A client's connection, and its share of [`MAX_CONNECTIONS`].
pub(super) struct ClientConnection {
    io: Box<dyn ByteStream>,
    _slot: OwnedSemaphorePermit,
}

trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

impl Connected for ClientConnection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for ClientConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A connection that acknowledges every segment at once, if `quick` is true.
///
/// Clients that leave Nagle's algorithm on send the last part of a request only when its first part is
/// acknowledged, and the system would delay that by 40 ms.
struct ClientSocket {
    stream: TcpStream,
    quick: bool,
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        // The system resets the option after a while, so it is set again each time. Without it the node is
        // slower but correct.
        if self.quick {
            let _ = SockRef::from(&self.stream).set_tcp_quickack(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
