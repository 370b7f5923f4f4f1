//! A proxy in front of the system. An operator's proxy makes several processes one site: submissions and
//! the rules go to one process, all other requests to another. A slow line between a participant and the
//! site is a proxy too.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A running proxy. It ends when it is dropped.
pub(crate) struct Front {
    address: String,
    serving: AbortHandle,
}

struct Behind {
    commands: String,
    read_api: String,
    /// The delay of the map's responses.
    pins_take: Duration,
    http: reqwest::Client,
}

impl Front {
    pub(crate) async fn of(commands: String, read_api: String) -> Self {
        Self::between(commands, read_api, Duration::ZERO).await
    }

    /// Starts a proxy for one process, with a delay of the map's responses.
    pub(crate) async fn far_from(site: String, pins_take: Duration) -> Self {
        Self::between(site.clone(), site, pins_take).await
    }

    async fn between(commands: String, read_api: String, pins_take: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let behind = Arc::new(Behind { commands, read_api, pins_take, http: http.build().unwrap() });
        let site = Router::new().fallback(forward).with_state(behind);
        let serving = tokio::spawn(async { axum::serve(listener, site).await.unwrap() }).abort_handle();
        Self { address, serving }
    }

    /// Returns the address and port of the proxy.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn forward(State(behind): State<Arc<Behind>>, request: Request) -> Response {
    let (asked, body) = request.into_parts();
    let to = match (&asked.method, asked.uri.path()) {
        (&Method::POST | &Method::DELETE, _)
        | (_, "/api/v1/challenge" | "/api/v1/places" | "/api/v1/tokens") => &behind.commands,
        _ => &behind.read_api,
    };
    if asked.uri.path() == "/api/v1/pins" {
        tokio::time::sleep(behind.pins_take).await;
    }
    let Ok(body) = to_bytes(body, usize::MAX).await else { return StatusCode::BAD_REQUEST.into_response() };
    let request = behind.http.request(asked.method, format!("http://{to}{}", asked.uri));
    match request.headers(end_to_end(asked.headers)).body(body).send().await {
        Ok(answer) => {
            let (status, headers) = (answer.status(), end_to_end(answer.headers().clone()));
            (status, headers, Body::from_stream(answer.bytes_stream())).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// Removes the headers that belong to one connection.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    headers
}
