//! The gate's server for verifiers: it looks at images for whoever presents the secret.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures::Stream;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::connections::{self, ConnectionLimits};
use super::image_gate::{ImageGate, Look, LookRequest};
use super::look_lines::{GateSecret, GateState, LINE_EVERY, LOOKS, LookLine, STATE};
use crate::fetching::FetchBoard;

/// The number of looks whose images may be in hand. A verifier has some for each of its slots.
const LOOKS_MAX: usize = 384;

/// The longest request, bytes. Most of it are the terms.
const REQUEST_MAX: usize = 256 << 10;

/// The time for a request to arrive.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// The interval at which a verifier is told of the progress.
const TICK: Duration = Duration::from_secs(1);

/// The limits for connections. A look and the attempt that it is for take some minutes.
const LIMITS: ConnectionLimits = ConnectionLimits { by_peer: 448, life: Duration::from_secs(3600) };

/// The gate behind its server.
pub(super) struct LookServer {
    gate: Arc<dyn ImageGate>,
    address: String,
    secret: GateSecret,
    places: Arc<Semaphore>,
}

impl LookServer {
    /// Makes the server of a gate. `address` is the one by which nodes pull from it.
    pub(super) fn new(gate: Arc<dyn ImageGate>, address: String, secret: GateSecret) -> Self {
        Self { gate, address, secret, places: Arc::new(Semaphore::new(LOOKS_MAX)) }
    }

    /// Serves verifiers until it is dropped. Its connections end with it.
    pub(super) async fn serve(self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let server = Arc::new(self);
        let answer = move |request: Request<Incoming>| {
            let server = Arc::clone(&server);
            async move { server.answer(request).await }
        };
        connections::serve(listener, tls, LIMITS, answer).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let given = request.headers().get(AUTHORIZATION).map(|given| given.as_bytes());
        if !given.is_some_and(|given| self.secret.is_in(given)) {
            return refusal(StatusCode::UNAUTHORIZED, "the secret is not this gate's");
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET, STATE) => self.state(),
            (&Method::POST, LOOKS) => self.look(request).await,
            _ => refusal(StatusCode::NOT_FOUND, "this gate speaks another protocol"),
        }
    }

    fn state(&self) -> Response<Body> {
        let registries = self.gate.limited().borrow().clone();
        let state = GateState { address: self.address.clone(), registries };
        let text = serde_json::to_vec(&state).expect("a state consists of texts and numbers");
        answered(StatusCode::OK, "application/json", Body::from(text))
    }

    async fn look(&self, request: Request<Incoming>) -> Response<Body> {
        let body = timeout(REQUEST_DEADLINE, to_bytes(Body::new(request.into_body()), REQUEST_MAX)).await;
        let request = body.ok().and_then(Result::ok).map(|body| serde_json::from_slice(&body));
        let request: LookRequest = match request {
            Some(Ok(request)) => request,
            Some(Err(error)) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
            None => return refusal(StatusCode::BAD_REQUEST, "the request is too long, or came too slowly"),
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "the gate has too many looks in hand");
        };
        let lines = lines(Arc::clone(&self.gate), request, place);
        answered(StatusCode::OK, "application/x-ndjson", Body::from_stream(lines))
    }
}

/// Makes a look, and keeps its images for the nodes until the stream is dropped.
fn lines(
    gate: Arc<dyn ImageGate>,
    request: LookRequest,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream! {
        let _place = place;
        let board = FetchBoard::default();
        let Look { images, pass } = {
            let mut look = pin!(gate.look(&request, &board));
            let mut told = Vec::new();
            loop {
                if let Ok(look) = timeout(TICK, &mut look).await {
                    break look;
                }
                let now = board.fetching();
                let line = if now == told { LookLine::Alive } else { LookLine::Fetching(now.clone()) };
                told = now;
                yield Ok(line.to_bytes());
            }
        };
        yield Ok(LookLine::Looked(images.into_iter().map(Into::into).collect()).to_bytes());
        // Whoever asked keeps the images as long as the connection lasts.
        let _pass = pass;
        loop {
            sleep(LINE_EVERY).await;
            yield Ok(LookLine::Alive.to_bytes());
        }
    }
}

fn refusal(status: StatusCode, why: &str) -> Response<Body> {
    answered(status, "text/plain; charset=utf-8", Body::from(format!("{why}\n")))
}

fn answered(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let answer = Response::builder().status(status).header(CONTENT_TYPE, kind).body(body);
    answer.expect("the header is ours")
}
