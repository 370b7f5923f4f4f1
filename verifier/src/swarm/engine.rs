//! A client of one Docker engine, by the engine's address.

use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_rustls::rustls::ClientConfig;

use super::api_error::{ApiError, with_causes};

/// The client's own timeout in seconds, which ends at the response's headers. Callers set a timeout for the
/// whole call.
const CLIENT_LIMIT_S: u64 = 60;

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// The number of connections that are kept for later calls, and the time for which they are kept. Without
/// these bounds, every connection of a busy moment would stay open.
const IDLE_MAX: usize = 2;
const IDLE: Duration = Duration::from_secs(10);

/// The longest response body in bytes, more than the task list of a verifier with hundreds of slots.
const BODY_MAX: usize = 16 << 20;

/// The number of relays that start at once. If an engine attaches more containers at once, the managers lose track of some.
const RELAYS_AT_ONCE: usize = 3;

/// The address of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EngineEndpoint {
    /// The path of a socket: `unix:///PATH`.
    Unix(String),
    /// The host and the port: `tcp://HOST:PORT`.
    Tcp(String),
}

/// A text that is not the address of an engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the address of a Docker engine: give unix:///PATH or tcp://HOST:PORT")]
pub(crate) struct EndpointError(String);

/// An engine, which may or may not answer.
pub(crate) struct Engine {
    endpoint: EngineEndpoint,
    /// The TLS settings for TCP. Without any, the connection is unencrypted.
    tls: Option<Arc<ClientConfig>>,
    docker: OnceLock<Docker>,
    /// The client for calls whose responses the Docker client has no types for.
    plain: reqwest::Client,
    /// The turns to start a relay.
    relays: Semaphore,
}

impl FromStr for EngineEndpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError(text.to_owned());
        let (scheme, place) = text.split_once("://").ok_or_else(wrong)?;
        match scheme {
            "unix" if place.starts_with('/') => Ok(Self::Unix(place.to_owned())),
            "tcp" | "http" => {
                let place = place.trim_end_matches('/');
                let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
                let is_host = |b: u8| b.is_ascii_alphanumeric() || b".-[]:".contains(&b);
                if host.is_empty() || !host.bytes().all(is_host) || port.parse::<u16>().is_err() {
                    return Err(wrong());
                }
                Ok(Self::Tcp(place.to_owned()))
            }
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for EngineEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{path}"),
            Self::Tcp(place) => write!(f, "tcp://{place}"),
        }
    }
}

impl Engine {
    pub(super) fn new(endpoint: EngineEndpoint, tls: Option<Arc<ClientConfig>>) -> Self {
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE);
        let builder = match (&endpoint, &tls) {
            (EngineEndpoint::Unix(path), _) => builder.unix_socket(path.as_str()),
            (EngineEndpoint::Tcp(_), None) => builder.connect_timeout(CONNECT),
            (EngineEndpoint::Tcp(_), Some(tls)) => {
                builder.connect_timeout(CONNECT).tls_backend_preconfigured(ClientConfig::clone(tls))
            }
        };
        let plain = builder.build().expect("a client whose certificates were read is always built");
        let relays = Semaphore::new(RELAYS_AT_ONCE);
        Self { endpoint, tls, docker: OnceLock::new(), plain, relays }
    }

    /// Waits for the turn to start a relay. Each engine has turns of its own, so that none waits for one that hangs.
    pub(super) async fn turn_to_start_a_relay(&self) -> SemaphorePermit<'_> {
        self.relays.acquire().await.expect("the semaphore is never closed")
    }

    pub(crate) fn endpoint(&self) -> &EngineEndpoint {
        &self.endpoint
    }

    /// Returns the Docker client, and makes it at the first call. Fails while the engine's socket does not
    /// exist.
    pub(crate) fn docker(&self) -> Result<Docker, ApiError> {
        if let Some(docker) = self.docker.get() {
            return Ok(docker.clone());
        }
        let connected = match (&self.endpoint, &self.tls) {
            (EngineEndpoint::Unix(path), _) => {
                Docker::connect_with_unix(path, CLIENT_LIMIT_S, API_DEFAULT_VERSION)
            }
            (EngineEndpoint::Tcp(place), None) => {
                Docker::connect_with_http(place, CLIENT_LIMIT_S, API_DEFAULT_VERSION)
            }
            (EngineEndpoint::Tcp(place), Some(tls)) => connect_with_tls(place, tls),
        };
        let docker = connected.map_err(ApiError::from)?;
        Ok(self.docker.get_or_init(|| docker).clone())
    }

    /// Returns the time of the engine's own clock, to the second, from the `Date` header of a response.
    pub(crate) async fn clock(&self) -> Result<Timestamp, ApiError> {
        let response = self.plain.get(self.url("/_ping")).send().await.map_err(unavailable)?;
        let date = response.headers().get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        Ok(date
            .ok_or_else(|| ApiError::Refused("the engine's response has no Date header".to_owned()))?
            .timestamp())
    }

    fn url(&self, path: &str) -> String {
        match (&self.endpoint, &self.tls) {
            (EngineEndpoint::Unix(_), _) => format!("http://engine{path}"),
            (EngineEndpoint::Tcp(place), None) => format!("http://{place}{path}"),
            (EngineEndpoint::Tcp(place), Some(_)) => format!("https://{place}{path}"),
        }
    }

    /// Sends a GET request for which the Docker client has no type, and reads at most [`BODY_MAX`] bytes.
    /// `path` and `query` must not contain a participant's text.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        let url = reqwest::Url::parse_with_params(&self.url(path), query);
        let url = url.map_err(|error| ApiError::Refused(error.to_string()))?;
        let mut response = self.plain.get(url).send().await.map_err(unavailable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
            if body.len() + chunk.len() > BODY_MAX {
                return Err(ApiError::Refused(format!("{path} answers with more than {BODY_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(ApiError::from_status(status.as_u16(), String::from_utf8_lossy(&body).into_owned()));
        }
        serde_json::from_slice(&body).map_err(|error| ApiError::Refused(format!("{path}: {error}")))
    }
}

fn unavailable(error: reqwest::Error) -> ApiError {
    ApiError::Unavailable(with_causes(&error))
}

/// Connects with our own transport, because the Docker client's TLS trusts every authority that the system
/// trusts.
fn connect_with_tls(place: &str, tls: &ClientConfig) -> Result<Docker, Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_nodelay(true);
    let connector = HttpsConnector::from((tcp, tls.clone()));
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let transport = move |request: BollardRequest| {
        let answer = client.request(request);
        Box::pin(async move { answer.await.map_err(Error::from) })
    };
    let address = format!("https://{place}");
    Docker::connect_with_custom_transport(transport, Some(address), CLIENT_LIMIT_S, API_DEFAULT_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_or_a_host_with_a_port() {
        for text in ["unix:///var/run/docker.sock", "tcp://10.0.0.1:2375", "tcp://node-1.lan:2375"] {
            assert_eq!(text.parse::<EngineEndpoint>().unwrap().to_string(), text);
        }
        for text in
            ["", "/var/run/docker.sock", "unix://docker.sock", "tcp://host", "ssh://host:22", "tcp://a b:1"]
        {
            let error = text.parse::<EngineEndpoint>().unwrap_err().to_string();
            assert!(error.contains("unix:///PATH"), "{error}");
        }
    }
}
