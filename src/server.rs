//! The HTTP server: a limited number of connections, with a deadline for everything that a client has to do.

mod refusal;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, header};
use http_edge::TrustedProxies;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use self::refusal::ProblemStream;
use crate::shutdown::Shutdown;

/// The number of open connections. Further connections wait.
const CONNECTIONS_MAX: usize = 32 * 1024;

/// The deadline for the head of a request. It also limits the time between two requests.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// The same for a trusted proxy. It must close an idle connection first: if we did while it sends a request, it could not know
/// whether the request was carried out. Caddy keeps idle connections for 120 s, the others for less.
const PROXY_HEAD_DEADLINE: Duration = Duration::from_secs(150);

/// The deadline for a client to acknowledge bytes sent to it.
const UNSENT_DEADLINE: Duration = Duration::from_secs(30);

/// The bytes buffered for a slow client, and the longest head of a request.
const UNSENT_MAX: usize = 64 * 1024;

/// The pause when no connection can be accepted, for example because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The time that requests under way may take after the server was asked to stop. With [`LEAVING`] before it, a process ends
/// within the 10 s that Docker grants a container.
const DRAIN_DEADLINE: Duration = Duration::from_secs(7);

/// The time in which a balancer learns from `/readyz` that the process leaves.
pub(crate) const LEAVING: Duration = Duration::from_secs(2);

/// Serves `app` until the process stops. `proxies` keep idle connections for longer than other clients. Then accepts no more connections, finishes the requests under way, and returns. While
/// the process leaves, each connection ends with its next response. Handlers find the client's address as [`ConnectInfo`].
pub async fn serve(listener: TcpListener, app: Router, proxies: TrustedProxies, shutdown: Shutdown) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let trusted = proxies.contains(peer.ip());
                    let head_deadline = if trusted { PROXY_HEAD_DEADLINE } else { HEAD_DEADLINE };
                    let connection =
                        serve_connection(stream, peer, app.clone(), head_deadline, shutdown.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    shutdown.stopping.run_until_cancelled(accepting).await;
    drop(listener);
    connections.close();
    if timeout(DRAIN_DEADLINE, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "shutdown: cut off the requests that were still under way");
    }
}

/// Serves one connection up to its end.
async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    head_deadline: Duration,
    shutdown: Shutdown,
) {
    let settled = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&stream).set_tcp_user_timeout(Some(UNSENT_DEADLINE)));
    if let Err(error) = settled {
        tracing::debug!(%error, %peer, "the connection closed before it was served");
        return;
    }
    let Shutdown { leaving, stopping } = shutdown;
    let answer = service_fn(move |request| {
        let (leaving, answered) = (leaving.clone(), answer(app.clone(), peer, request));
        async move {
            let mut response = answered.await?;
            if leaving.is_cancelled() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_deadline)
        .max_buf_size(UNSENT_MAX)
        .serve_connection(TokioIo::new(ProblemStream::new(stream)), answer);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopping.cancelled() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "the connection failed");
        if error.is_parse() {
            connection.into_parts().io.into_inner().close().await;
        }
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

    async fn serving(app: Router) -> (SocketAddr, Shutdown, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::default());
        let server = serve(listener, app, TrustedProxies::default(), shutdown.clone());
        (address, shutdown, tokio::spawn(server))
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
    async fn a_stopping_server_finishes_requests_and_accepts_no_connection() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (inside, until) = (Arc::clone(&entered), Arc::clone(&leave));
        let slow = get(async move || {
            inside.notify_one();
            until.notified().await;
            "done"
        });
        let (address, shutdown, server) = serving(Router::new().route("/", slow)).await;
        let idle = sent(address, "").await;
        let busy = sent(address, "GET / HTTP/1.1\r\nHost: muster\r\n\r\n").await;
        entered.notified().await;

        shutdown.stopping.cancel();
        assert_eq!(answer(idle).await, "");
        let closed = async { while TcpStream::connect(address).await.is_ok() {} };
        timeout(DRAIN_DEADLINE, closed).await.expect("a connection was accepted");
        leave.notify_one();
        assert!(answer(busy).await.ends_with("done"));
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_leaving_server_answers_and_ends_each_connection_with_its_answer() {
        let (address, shutdown, _server) = serving(Router::new().route("/", get(async || "here"))).await;
        let request = "GET / HTTP/1.1\r\nHost: muster\r\n\r\n";
        let mut kept = sent(address, request).await;
        let mut first = [0; 1024];
        let length = kept.read(&mut first).await.unwrap();
        assert!(!String::from_utf8_lossy(&first[..length]).contains("connection: close"));

        shutdown.leaving.cancel();
        kept.write_all(request.as_bytes()).await.unwrap();
        for stream in [kept, sent(address, request).await] {
            let answer = answer(stream).await;
            assert!(answer.ends_with("here") && answer.contains("connection: close"), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_whose_head_never_ends_is_cut_off() {
        let (address, _shutdown, _server) = serving(Router::new()).await;
        let stream = sent(address, "GET / HTTP/1.1\r\nHost: mus").await;
        // The peer is on this machine, so it counts as a proxy.
        let answer = timeout(2 * PROXY_HEAD_DEADLINE, answer(stream)).await.expect("the server still waits");
        assert!(!answer.contains("200"));
    }

    #[tokio::test]
    async fn a_head_that_cannot_be_read_is_refused_with_a_problem_document() {
        let app = Router::new().route("/", get(async || "here"));
        let (address, _shutdown, _server) = serving(app).await;
        let headers: String = (0..101).map(|n| format!("x-{n}: y\r\n")).collect();
        // Which limit a long address meets first depends on how its bytes arrive.
        let long: &[u16] = &[414, 431];
        for (request, statuses) in [
            (format!("GET /{} HTTP/1.1\r\nHost: muster\r\n\r\n", "x".repeat(100_000)), long),
            (format!("GET /?q={} HTTP/1.1\r\nHost: muster\r\n\r\n", "x".repeat(1_000_000)), long),
            (format!("GET / HTTP/1.1\r\nHost: muster\r\nX: {}\r\n\r\n", "x".repeat(1_000_000)), &[431]),
            (format!("GET / HTTP/1.1\r\n{headers}\r\n"), &[431]),
            ("GET / HTTP/1.1\r\nHost muster\r\n\r\n".to_owned(), &[400]),
            ("GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n".to_owned(), &[400]),
            ("GET\r\n\r\n".to_owned(), &[400]),
        ] {
            let answer = answer(sent(address, &request).await).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| {
                panic!("{:?} was answered with {answer:?}", &request[..request.len().min(60)])
            });
            let status = problem["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap();
            assert!(statuses.contains(&status), "{statuses:?}: {head}");
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(head.contains("content-type: application/problem+json"), "{head}");
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        }
        let stream = sent(address, "GET / HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n\r\n").await;
        assert!(answer(stream).await.ends_with("here"));
    }

    #[tokio::test]
    async fn handlers_know_the_address_of_the_client() {
        let who = get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string());
        let (address, _shutdown, _server) = serving(Router::new().route("/", who)).await;
        let stream = sent(address, "GET / HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n\r\n").await;
        let peer = stream.local_addr().unwrap().to_string();
        assert!(answer(stream).await.ends_with(&peer));
    }
}
