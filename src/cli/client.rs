//! A client of the HTTP API of a running Muster.

mod organiser;

pub(super) use organiser::{ChallengeReply, TokenOption};

use std::convert::Infallible;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use domain::SubmissionId;
use event_store::Revision;
use projections::view::{QueuePlace, StatusView};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Exit;
use super::terminal::{printable, printable_lines};
use crate::config::SecretText;

/// The deadline of a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// The deadline of a response, beyond the time for which the server was asked to wait.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(30);

/// The time for which a server that went away is asked again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The pause before the server is asked again, unless `Retry-After` says another.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// The flag that names the server.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ServerOption {
    /// Address of the running Muster
    #[arg(
        long,
        env = "MUSTER_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        hide_env_values = true
    )]
    server: SecretText,
}

/// A client of one server.
#[derive(Clone)]
pub(super) struct MusterClient {
    http: reqwest::Client,
    server: Url,
    /// The server's address without a user name and a password, for messages.
    shown: Url,
}

/// The answers of a proxy whose server is away.
const PROXY_ANSWERS: [StatusCode; 3] =
    [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];

/// The status of a submission, and its place in the queue.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct StatusReply {
    #[serde(flatten)]
    pub(super) view: StatusView,
    pub(super) queue: Option<QueuePlace>,
    /// How far an image is on its way. Older servers do not say.
    #[serde(default)]
    pub(super) fetch: Option<FetchReply>,
}

/// How far an image is on its way, as the server says it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct FetchReply {
    pub(super) message: String,
}

/// The reason why there is no response.
#[derive(Debug)]
pub(super) enum ClientError {
    /// The request is wrong. The text has one line or several.
    Refused(String),
    /// The server cannot be reached, or cannot answer now. It may be asked again after the pause.
    Unavailable { why: String, pause: Duration },
    /// The response is not one of Muster's.
    Unexpected(String),
}

/// A problem document, as RFC 9457 describes it.
#[derive(Debug, Deserialize)]
struct ProblemReply {
    detail: String,
    #[serde(default)]
    errors: Vec<FieldReply>,
}

#[derive(Debug, Deserialize)]
struct FieldReply {
    field: String,
    message: String,
    #[serde(default)]
    suggestions: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct SubmitReply {
    id: SubmissionId,
}

impl FromStr for ServerOption {
    type Err = Infallible;

    fn from_str(server: &str) -> Result<Self, Infallible> {
        Ok(Self { server: SecretText::from(server.to_owned()) })
    }
}

impl ServerOption {
    pub(super) fn client(&self) -> Result<MusterClient, ClientError> {
        let refused =
            |why: String| ClientError::Refused(format!("--server {}: {why}", self.server.without_login()));
        let server = Url::parse(self.server.as_str()).map_err(|error| refused(error.to_string()))?;
        if !matches!(server.scheme(), "http" | "https") {
            return Err(refused("an address is expected, as in http://127.0.0.1:8080".to_owned()));
        }
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_DEADLINE);
        if is_loopback(&server) {
            // A proxy cannot reach a server of this machine.
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| refused(with_causes(&error)))?;
        let shown = without_login(server.clone());
        Ok(MusterClient { http, server, shown })
    }
}

impl MusterClient {
    /// Submits an entry. The entry counts once, even if it has to be sent several times.
    pub(super) async fn submit(&self, entry: Vec<u8>) -> Result<SubmissionId, ClientError> {
        let key = Uuid::new_v4().to_string();
        let send = async || -> Result<SubmitReply, ClientError> {
            let post = self.http.post(self.url("/api/v1/submissions"));
            let post = post.header("content-type", "application/json").header("idempotency-key", &key);
            self.ask(post.timeout(RESPONSE_DEADLINE).body(entry.clone())).await
        };
        // If nothing answers the first request, the address is probably wrong.
        let accepted = match send().await {
            Err(ClientError::Unavailable { why, pause }) if pause > Duration::ZERO => {
                eprintln!("muster: {why}; sending the entry again");
                sleep(pause).await;
                patiently(send).await?
            }
            answer => answer?,
        };
        Ok(accepted.id)
    }

    /// Returns the status of a submission. With `known`, the server answers when the revision is another one, at
    /// the latest after the given time.
    pub(super) async fn status(
        &self,
        id: SubmissionId,
        known: Option<(Revision, Duration)>,
    ) -> Result<StatusReply, ClientError> {
        let mut url = self.url(&format!("/api/v1/submissions/{id}"));
        let mut deadline = RESPONSE_DEADLINE;
        if let Some((revision, wait)) = known {
            url.set_query(Some(&format!("rev={revision}&wait={}s", wait.as_secs())));
            deadline += wait;
        }
        self.ask(self.http.get(url).timeout(deadline)).await
    }

    /// Returns the status as [`Self::status`] does, and asks again while the server is away.
    pub(super) async fn status_patiently(
        &self,
        id: SubmissionId,
        known: Option<(Revision, Duration)>,
    ) -> Result<StatusReply, ClientError> {
        patiently(async || self.status(id, known).await).await
    }

    /// Returns the address of the submission's web page.
    pub(super) fn page(&self, id: SubmissionId) -> Url {
        without_login(self.url(&format!("/s/{id}")))
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.server.clone();
        url.set_path(&format!("{}{path}", self.server.path().trim_end_matches('/')));
        url
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.open(request).await?;
        let body = response.bytes().await.map_err(|error| self.unavailable(error))?;
        serde_json::from_slice(&body).map_err(|_| self.unexpected(StatusCode::OK))
    }

    /// Sends a request and returns the response before its body, if it is not a problem document.
    async fn open(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                let why = format!(
                    "nobody answers at {}; start Muster with `muster up`, or name its address with --server",
                    self.shown
                );
                return Err(ClientError::Unavailable { why, pause: Duration::ZERO });
            }
            Err(error) => return Err(self.unavailable(error)),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let pause = retry_after(&response);
        let body = response.bytes().await.map_err(|error| self.unavailable(error))?;
        let Ok(problem) = serde_json::from_slice::<ProblemReply>(&body) else {
            // A proxy answers for a server that is away, in words of its own.
            if PROXY_ANSWERS.contains(&status) {
                let why = format!("a proxy at {} answered {status}", self.shown);
                return Err(ClientError::Unavailable { why, pause: pause.unwrap_or(PAUSE) });
            }
            return Err(self.unexpected(status));
        };
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(ClientError::Unavailable { why: problem.to_text(), pause: pause.unwrap_or(PAUSE) });
        }
        Err(ClientError::Refused(problem.to_text()))
    }

    fn unavailable(&self, error: reqwest::Error) -> ClientError {
        let why = format!("{} does not answer: {}", self.shown, with_causes(&error.without_url()));
        ClientError::Unavailable { why, pause: PAUSE }
    }

    fn unexpected(&self, status: StatusCode) -> ClientError {
        ClientError::Unexpected(format!(
            "{} answered {status}, but not as Muster does; check --server",
            self.shown
        ))
    }
}

impl ClientError {
    /// Prints the reason and returns the exit code.
    pub(super) fn fail(self) -> Exit {
        let exit = self.exit();
        super::fail_with(self, exit)
    }

    /// Returns whether a later request may succeed.
    pub(super) fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Returns the exit code of the command that made the request.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) => Exit::Refused,
            Self::Unavailable { .. } | Self::Unexpected(_) => Exit::Unreachable,
        }
    }
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) | Self::Unavailable { why, .. } | Self::Unexpected(why) => f.write_str(why),
        }
    }
}

impl ProblemReply {
    fn to_text(&self) -> String {
        let errors = self.errors.iter().map(|error| {
            let suggestions: String =
                error.suggestions.iter().map(|text| format!("\n    did you mean: {text}")).collect();
            format!("\n  {}: {}{suggestions}", error.field, error.message)
        });
        printable(&self.detail) + &errors.map(|line| printable_lines(&line)).collect::<String>()
    }
}

/// Repeats a request while the server is away, for at most [`PATIENCE`].
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(ClientError::Unavailable { pause, .. }) if Instant::now() < end => {
                sleep(pause.clamp(PAUSE, PATIENCE)).await;
            }
            answer => return answer,
        }
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns the address without its user name and password. An address of HTTP can always lose them.
fn without_login(mut address: Url) -> Url {
    let _ = address.set_username("");
    let _ = address.set_password(None);
    address
}

fn is_loopback(server: &Url) -> bool {
    let host = server.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns the text of an error and of its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
