//! The connections to the gate, of nodes and of verifiers: a limited number of all and of each peer, with a deadline for everything that
//! a peer has to do.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// The number of open connections. Further connections wait.
const CONNECTIONS_MAX: usize = 512;

/// The deadline of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The deadline of a request's head. It also limits the time between two requests.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// The deadline for a peer to acknowledge bytes that were sent to it.
const UNSENT_DEADLINE: Duration = Duration::from_secs(30);

/// The pause when no connection can be accepted, for example because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The limits for the connections of a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionLimits {
    /// The number of open connections of one peer. Further ones are closed.
    pub(super) by_peer: usize,
    /// The longest life of a connection.
    pub(super) life: Duration,
}

/// Answers the requests of all connections until it is dropped. The connections end with it.
pub(super) async fn serve<A, F>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: ConnectionLimits,
    answer: A,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let peers = PeerConnections { by_peer: limits.by_peer, open: Arc::default() };
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the gate cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(of_peer) = peers.enter(peer.ip()) else {
            tracing::debug!(%peer, "closed a connection to the gate, because its peer has too many");
            continue;
        };
        let (tls, answer) = (tls.clone(), answer.clone());
        connections.spawn(async move {
            if timeout(limits.life, serve_connection(stream, tls, answer)).await.is_err() {
                tracing::debug!(%peer, "closed a connection to the gate that was open for too long");
            }
            drop((place, of_peer));
        });
    }
}

async fn serve_connection<A, F>(stream: TcpStream, tls: Option<TlsAcceptor>, answer: A)
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    let settled = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&stream).set_tcp_user_timeout(Some(UNSENT_DEADLINE)));
    if settled.is_err() {
        return;
    }
    match tls {
        None => serve_stream(stream, answer).await,
        Some(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve_stream(stream, answer).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake with the gate failed"),
            Err(_) => tracing::debug!("a TLS handshake with the gate took too long"),
        },
    }
}

async fn serve_stream<A, F>(stream: impl AsyncRead + AsyncWrite + Unpin, answer: A)
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    let answer = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection to the gate failed");
    }
}

/// The number of connections of each peer.
#[derive(Debug, Clone)]
struct PeerConnections {
    by_peer: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of a peer, until it is dropped.
struct PeerConnection {
    all: PeerConnections,
    peer: IpAddr,
}

impl PeerConnections {
    fn enter(&self, peer: IpAddr) -> Option<PeerConnection> {
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = all.entry(peer).or_default();
        (*open < self.by_peer).then(|| {
            *open += 1;
            PeerConnection { all: self.clone(), peer }
        })
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        let mut all = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = all.get_mut(&self.peer) {
            *open -= 1;
            if *open == 0 {
                all.remove(&self.peer);
            }
        }
    }
}
