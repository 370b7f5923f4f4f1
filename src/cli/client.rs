//! A client of a running Muster.

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

/// How long to connect, and how long an answer may take beyond what was asked to be waited.
const DEADLINES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

/// For how long a server that was there is looked for again.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause before it is looked for again, unless it says another.
const PAUSE: Duration = Duration::from_secs(1);

/// Which server to talk to.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ServerOption {
    /// Where Muster is
    #[arg(long, env = "MUSTER_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
}

/// A client of one server.
pub(super) struct MusterClient {
    http: reqwest::Client,
    server: Url,
}

/// Where a submission stands.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct StatusReply {
    #[serde(flatten)]
    pub(super) view: StatusView,
    pub(super) queue: Option<QueuePlace>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ClientError {
    /// What was asked for is wrong; one line or several.
    Refused(String),
    /// The server cannot be reached, or cannot answer now. Ask again after the pause.
    Unavailable { why: String, pause: Duration },
    /// It answers in a way that is not Muster's.
    Strange(String),
}

/// A problem document.
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
    /// What may have been meant.
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
        Ok(Self { server: server.to_owned() })
    }
}

impl ServerOption {
    pub(super) fn client(&self) -> Result<MusterClient, ClientError> {
        let refused = |why: String| ClientError::Refused(format!("--server {}: {why}", self.server));
        let server = Url::parse(&self.server).map_err(|error| refused(error.to_string()))?;
        if !matches!(server.scheme(), "http" | "https") {
            return Err(refused("an address is expected, as in http://127.0.0.1:8080".to_owned()));
        }
        let mut http = reqwest::Client::builder().connect_timeout(DEADLINES[0]);
        if is_here(&server) {
            // What is on this machine is not reached by way of another.
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| refused(in_full(&error)))?;
        Ok(MusterClient { http, server })
    }
}

impl MusterClient {
    /// Submits an entry, once, however often it has to be sent.
    pub(super) async fn submit(&self, entry: Vec<u8>) -> Result<SubmissionId, ClientError> {
        let key = Uuid::new_v4().to_string();
        let send = async || -> Result<SubmitReply, ClientError> {
            let post = self.http.post(self.url("/api/v1/submissions"));
            let post = post.header("content-type", "application/json").header("idempotency-key", &key);
            self.ask(post.timeout(DEADLINES[1]).body(entry.clone())).await
        };
        // Who is not there from the beginning is not waited for.
        let accepted = match send().await {
            Err(ClientError::Unavailable { why, pause }) if pause > Duration::ZERO => {
                eprintln!("muster: {why}; sending it again");
                sleep(pause).await;
                patiently(send).await?
            }
            answer => answer?,
        };
        Ok(accepted.id)
    }

    /// Where a submission stands: at once, or when it is no longer at
    /// `known`, or at the latest after `wait`.
    pub(super) async fn status(
        &self,
        id: SubmissionId,
        known: Option<(Revision, Duration)>,
    ) -> Result<StatusReply, ClientError> {
        let mut url = self.url(&format!("/api/v1/submissions/{id}"));
        let mut deadline = DEADLINES[1];
        if let Some((revision, wait)) = known {
            url.set_query(Some(&format!("rev={revision}&wait={}s", wait.as_secs())));
            deadline += wait;
        }
        self.ask(self.http.get(url).timeout(deadline)).await
    }

    /// As before, and looks for the server again while it is away.
    pub(super) async fn status_patiently(
        &self,
        id: SubmissionId,
        known: Option<(Revision, Duration)>,
    ) -> Result<StatusReply, ClientError> {
        patiently(async || self.status(id, known).await).await
    }

    /// The page of a submission, for people.
    pub(super) fn page(&self, id: SubmissionId) -> Url {
        self.url(&format!("/s/{id}"))
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.server.clone();
        url.set_path(&format!("{}{path}", self.server.path().trim_end_matches('/')));
        url
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.open(request).await?;
        let body = response.bytes().await.map_err(|error| self.unavailable(error))?;
        serde_json::from_slice(&body).map_err(|_| self.strange(StatusCode::OK))
    }

    /// An answer that is not a problem, up to where its body begins.
    async fn open(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                let why = format!("nobody answers at {}; is it up? (muster up)", self.server);
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
        let problem: ProblemReply = serde_json::from_slice(&body).map_err(|_| self.strange(status))?;
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(ClientError::Unavailable { why: problem.in_words(), pause: pause.unwrap_or(PAUSE) });
        }
        Err(ClientError::Refused(problem.in_words()))
    }

    fn unavailable(&self, error: reqwest::Error) -> ClientError {
        let why = format!("{} does not answer: {}", self.server, in_full(&error.without_url()));
        ClientError::Unavailable { why, pause: PAUSE }
    }

    fn strange(&self, status: StatusCode) -> ClientError {
        ClientError::Strange(format!("{} answers {status}, but not as Muster does", self.server))
    }
}

impl ClientError {
    /// Says why, and how the command ends.
    pub(super) fn fail_with(self) -> Exit {
        let exit = self.exit();
        super::fail_with(self, exit)
    }

    /// Whether it may be otherwise in a while.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// How the command ends.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) => Exit::Refused,
            Self::Unavailable { .. } | Self::Strange(_) => Exit::Unreachable,
        }
    }
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) | Self::Unavailable { why, .. } | Self::Strange(why) => f.write_str(why),
        }
    }
}

impl ProblemReply {
    fn in_words(&self) -> String {
        let errors = self.errors.iter().map(|error| {
            let meant =
                error.suggestions.iter().map(|one| format!("\n    perhaps: {one}")).collect::<String>();
            format!("\n  {}: {}{meant}", error.field, error.message)
        });
        super::progress::printable(&self.detail)
            + &errors.map(|line| printable_lines(&line)).collect::<String>()
    }
}

fn printable_lines(text: &str) -> String {
    text.split('\n').map(super::progress::printable).collect::<Vec<_>>().join("\n")
}

/// Asks again while the server is away, for so long.
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

fn is_here(server: &Url) -> bool {
    let host = server.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error with what led to it.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
