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

/// How much is kept for a client that does not take it, bytes; and the longest
/// head of a request.
const UNSENT_MAX: usize = 64 * 1024;

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
        .max_buf_size(UNSENT_MAX)
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

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    async fn serving(app: Router) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stopping) = (listener.local_addr().unwrap(), CancellationToken::new());
        (address, stopping.clone(), tokio::spawn(serve(listener, app, stopping)))
    }

    async fn sent(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn answer(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn what_is_in_hand_is_finished_and_nobody_else_is_let_in() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (inside, until) = (Arc::clone(&entered), Arc::clone(&leave));
        let slow = get(async move || {
            inside.notify_one();
            until.notified().await;
            "done"
        });
        let (address, stopping, server) = serving(Router::new().route("/", slow)).await;
        let idle = sent(address, "").await;
        let busy = sent(address, "GET / HTTP/1.1\r\nHost: muster\r\n\r\n").await;
        entered.notified().await;

        stopping.cancel();
        assert_eq!(answer(idle).await, "");
        let closed = async { while TcpStream::connect(address).await.is_ok() {} };
        timeout(DRAIN_DEADLINE, closed).await.expect("somebody was let in");
        leave.notify_one();
        assert!(answer(busy).await.ends_with("done"));
        server.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_ends_is_not_waited_for() {
        let (address, _stopping, _server) = serving(Router::new()).await;
        let stream = sent(address, "GET / HTTP/1.1\r\nHost: mus").await;
        let answer = timeout(2 * HEAD_DEADLINE, answer(stream)).await.expect("it is waited for");
        assert!(!answer.contains("200"));
    }

    #[tokio::test]
    async fn handlers_know_who_asks() {
        let who = get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string());
        let (address, _stopping, _server) = serving(Router::new().route("/", who)).await;
        let stream = sent(address, "GET / HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n\r\n").await;
        let peer = stream.local_addr().unwrap().to_string();
        assert!(answer(stream).await.ends_with(&peer));
    }
}
