//! The HTTP server: a bounded number of connections, each with a deadline for
//! all that the other side owes.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// How many connections are open at once; the next ones wait.
const CONNECTIONS_MAX: usize = 32 * 1024;

/// How long the head of a request may take, and a connection rest between two.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// How long a client may take to accept what it is sent.
const UNSENT_DEADLINE: Duration = Duration::from_secs(30);

/// The pause when no connection can be accepted, as when there are no files left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long requests may take to end once the server is asked to.
const DRAIN_DEADLINE: Duration = Duration::from_secs(8);

/// Serves `app` until it is asked to stop; then accepts nobody, ends what is
/// in hand, and returns. Handlers find the client's address as [`ConnectInfo`].
pub async fn serve(listener: TcpListener, app: Router, stopping: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let connection = converse(stream, peer, app.clone(), stopping.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    stopping.run_until_cancelled(accepting).await;
    drop(listener);
    connections.close();
    if timeout(DRAIN_DEADLINE, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "requests were cut off");
    }
}

/// One connection, to its end.
async fn converse(stream: TcpStream, peer: SocketAddr, app: Router, stopping: CancellationToken) {
    let settled = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&stream).set_tcp_user_timeout(Some(UNSENT_DEADLINE)));
    if let Err(error) = settled {
        tracing::debug!(%error, %peer, "the connection ended before it began");
        return;
    }
    let answer = service_fn(move |request| answer(app.clone(), peer, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection broke off");
    }
}

fn answer(
    app: Router,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, std::convert::Infallible>> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    app.oneshot(request)
}
