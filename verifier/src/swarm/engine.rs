//! One Docker engine, by its address.

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
use tokio_rustls::rustls::ClientConfig;

use super::api::ApiError;

/// The client's own limit, which holds only until the headers arrive. Every
/// call is under a limit of its caller's besides.
const CLIENT_LIMIT_S: u64 = 60;

/// A host that does not accept within this is away.
const CONNECT: Duration = Duration::from_secs(3);

/// More than all rows of a verifier with hundreds of slots.
const BODY_MAX: usize = 16 << 20;

/// Where an engine answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EngineEndpoint {
    /// `unix:///PATH`.
    Unix(String),
    /// `tcp://HOST:PORT`.
    Tcp(String),
}

/// Why a text is not the address of an engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the address of a Docker engine: unix:///PATH or tcp://HOST:PORT")]
pub(crate) struct EndpointError(String);

/// An engine, whether it answers or not.
pub(crate) struct Engine {
    endpoint: EngineEndpoint,
    /// On what terms it is spoken to over TCP; in the clear without any.
    tls: Option<Arc<ClientConfig>>,
    docker: OnceLock<Docker>,
    plain: reqwest::Client,
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
    /// An engine; over TCP on these terms.
    pub(super) fn new(endpoint: EngineEndpoint, tls: Option<Arc<ClientConfig>>) -> Self {
        let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let builder = match (&endpoint, &tls) {
            (EngineEndpoint::Unix(path), _) => builder.unix_socket(path.as_str()),
            (EngineEndpoint::Tcp(_), None) => builder.connect_timeout(CONNECT),
            (EngineEndpoint::Tcp(_), Some(tls)) => {
                builder.connect_timeout(CONNECT).tls_backend_preconfigured(ClientConfig::clone(tls))
            }
        };
        let plain = builder.build().expect("a client whose certificates were read is always built");
        Self { endpoint, tls, docker: OnceLock::new(), plain }
    }

    pub(crate) fn endpoint(&self) -> &EngineEndpoint {
        &self.endpoint
    }

    /// The client; it exists once the engine has made its socket.
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

    /// What its clock says, to the second, as its server tells with every answer.
    pub(crate) async fn clock(&self) -> Result<Timestamp, ApiError> {
        let response = self.plain.get(self.url("/_ping")).send().await.map_err(unavailable)?;
        let date = response.headers().get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        Ok(date.ok_or_else(|| ApiError::Refused("the engine does not say the time".to_owned()))?.timestamp())
    }

    fn url(&self, path: &str) -> String {
        match (&self.endpoint, &self.tls) {
            (EngineEndpoint::Unix(_), _) => format!("http://engine{path}"),
            (EngineEndpoint::Tcp(place), None) => format!("http://{place}{path}"),
            (EngineEndpoint::Tcp(place), Some(_)) => format!("https://{place}{path}"),
        }
    }

    /// A GET whose answer the client has no words for; at most [`BODY_MAX`].
    /// The path and the query are ours alone.
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
            return Err(ApiError::of_status(status.as_u16(), String::from_utf8_lossy(&body).into_owned()));
        }
        serde_json::from_slice(&body).map_err(|error| ApiError::Refused(format!("{path}: {error}")))
    }
}

fn unavailable(error: reqwest::Error) -> ApiError {
    ApiError::Unavailable(causes(&error))
}

/// The client's own way to TLS trusts every authority that the system trusts,
/// so the transport is ours.
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

/// An error with what caused it, on one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
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
