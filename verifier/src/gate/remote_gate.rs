//! A gate in another process, which looks at images over HTTP.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use domain::ImageRef;
use domain::sandbox::{FetchTarget, SandboxRegistry};
use domain::submission::{InterruptionCode, PlatformFault};
use reqwest::header::AUTHORIZATION;
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::image_gate::{ImageGate, Look, LookPass, LookRequest, LookedImage};
use super::look_lines::{GateSecret, GateState, LINE_EVERY, LOOKS, LookLine, STATE};
use crate::fetching::{FetchBoard, FetchingImage, ImageOnItsWay};

/// The time for a connection to the gate.
const CONNECTING: Duration = Duration::from_secs(5);

/// The time for the head of an answer, and for an answer about the gate's state.
const ANSWER: Duration = Duration::from_secs(10);

/// The time without a line after which the gate is taken for dead.
const SILENCE: Duration = Duration::from_secs(6 * LINE_EVERY.as_secs());

/// The interval at which the gate is asked how it is.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// The number of questions in a row without an answer after which nothing is begun. One may be lost.
const UNANSWERED_MAX: usize = 2;

/// The pause of a submission whose look failed because the gate is away.
const PAUSE: Duration = Duration::from_secs(10);

/// The longest line, bytes. Configurations of images, which become part of it, have at most 1 MiB.
const LINE_MAX: usize = 8 << 20;

/// The longest answer about the gate's state, and the longest refusal, bytes.
const STATE_MAX: usize = 256 << 10;

/// The address of a gate in another process, and the terms to speak with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteGateSettings {
    /// `https://HOST:PORT`, or `http://HOST:PORT` on this machine.
    pub url: String,
    pub secret: GateSecret,
    /// The file of the authority that signed the gate's certificate, in PEM. `None` for those that this machine trusts.
    pub authority: Option<PathBuf>,
}

/// A gate elsewhere.
pub(crate) struct RemoteGate {
    http: Client,
    base: Url,
    secret: GateSecret,
    limited: watch::Sender<Vec<SandboxRegistry>>,
    trouble: watch::Sender<Option<String>>,
}

/// A look whose images the gate keeps, until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenLook {
    /// Reads lines, and ends when the gate does.
    reading: JoinHandle<()>,
}

/// The lines of an answer.
struct Lines {
    response: Response,
    received: Vec<u8>,
}

impl RemoteGate {
    /// Prepares the connection to a gate, which need not answer yet.
    ///
    /// # Errors
    /// The reason why a setting cannot be used.
    pub(crate) fn new(settings: &RemoteGateSettings) -> Result<Self, String> {
        let RemoteGateSettings { url, secret, authority } = settings;
        let base = Url::parse(url).map_err(|error| format!("the gate's address {url}: {error}"))?;
        let mut http = Client::builder().no_proxy().connect_timeout(CONNECTING);
        if let Some(path) = authority {
            let unusable =
                |why: &dyn std::fmt::Display| format!("the gate's authority {}: {why}", path.display());
            let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(&error))?;
            if certificates.is_empty() {
                return Err(unusable(&"it has no certificate"));
            }
            http = http.tls_certs_only(certificates);
        }
        let http = http.build().map_err(|error| format!("the gate's client: {error}"))?;
        let trouble = watch::Sender::new(Some(format!("the gate at {url} has not answered yet")));
        Ok(Self { http, base, secret: secret.clone(), limited: watch::Sender::default(), trouble })
    }

    /// Asks the gate how it is, until it is dropped.
    pub(crate) async fn follow(&self) -> Infallible {
        let mut unanswered = 0;
        loop {
            match self.state().await {
                Ok(GateState { registries, .. }) => {
                    unanswered = 0;
                    self.limited
                        .send_if_modified(|known| std::mem::replace(known, registries.clone()) != registries);
                    let was_away = self.trouble.send_if_modified(|trouble| trouble.take().is_some());
                    if was_away {
                        tracing::info!("the gate at {} answers", self.base);
                    }
                }
                Err(why) => {
                    unanswered += 1;
                    if unanswered >= UNANSWERED_MAX {
                        let now = Some(why);
                        self.trouble.send_if_modified(|known| std::mem::replace(known, now.clone()) != now);
                    }
                }
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// Asks the gate for its state.
    ///
    /// # Errors
    /// The reason why it does not answer, in a sentence for the operator.
    pub(super) async fn state(&self) -> Result<GateState, String> {
        let asked = async {
            let response = self.send(self.http.get(self.url(STATE))).await?;
            let body = bounded(response).await.ok_or_else(|| self.away("sends too much"))?;
            serde_json::from_slice(&body)
                .map_err(|error| self.away(&format!("answers in other words: {error}")))
        };
        timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(self.away("does not answer in time")))
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, String> {
        let sent = timeout(ANSWER, request.header(AUTHORIZATION, self.secret.header()).send()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.away(&format!("does not answer: {}", root(&error)))),
            Err(_) => return Err(self.away("does not answer in time")),
        };
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED => {
                Err(self.away("refuses this verifier: both need the same --gate-secret"))
            }
            status => {
                let why = bounded(response).await.unwrap_or_default();
                let why = String::from_utf8_lossy(&why);
                Err(self.away(&format!("answered {status}: {}", why.lines().next().unwrap_or_default())))
            }
        }
    }

    fn away(&self, why: &str) -> String {
        format!("the gate at {} {why}", self.base.as_str().trim_end_matches('/'))
    }

    async fn try_look(&self, request: &LookRequest, board: &FetchBoard) -> Result<Look, String> {
        let response = self.send(self.http.post(self.url(LOOKS)).json(request)).await?;
        let mut lines = Lines { response, received: Vec::new() };
        let mut ways = HashMap::new();
        let images: Vec<LookedImage> = loop {
            match lines.next().await.map_err(|why| self.away(&why))? {
                LookLine::Alive => {}
                LookLine::Fetching(now) => follow(&mut ways, &now, request, board),
                LookLine::Looked(images) => break images.into_iter().map(Into::into).collect(),
            }
        };
        let asked = request.images.iter().map(|asked| &asked.image);
        if !images.iter().map(|looked| &looked.image).eq(asked) {
            return Err(self.away("answered about other images"));
        }
        let open = images.iter().any(|looked| looked.outcome.is_ok()).then(|| OpenLook::keep(lines));
        Ok(Look { images, pass: LookPass { open, ..LookPass::default() } })
    }
}

#[async_trait]
impl ImageGate for RemoteGate {
    async fn look(&self, request: &LookRequest, board: &FetchBoard) -> Look {
        self.try_look(request, board).await.unwrap_or_else(|why| {
            let code = InterruptionCode::RegistryUnavailable;
            Look::failed(request, &PlatformFault { pause: Some(PAUSE), ..PlatformFault::new(code, why) })
        })
    }

    fn limited(&self) -> watch::Receiver<Vec<SandboxRegistry>> {
        self.limited.subscribe()
    }

    fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }
}

impl OpenLook {
    fn keep(mut lines: Lines) -> Self {
        Self { reading: tokio::spawn(async move { while lines.next().await.is_ok() {} }) }
    }

    pub(super) fn is_void(&self) -> bool {
        self.reading.is_finished()
    }
}

impl Drop for OpenLook {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Lines {
    /// Returns the next line.
    async fn next(&mut self) -> Result<LookLine, String> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                let line = serde_json::from_slice(&line);
                return line.map_err(|error| format!("answers in other words: {error}"));
            }
            if self.received.len() > LINE_MAX {
                return Err("sends too much".to_owned());
            }
            match timeout(SILENCE, self.response.chunk()).await {
                Ok(Ok(Some(piece))) => self.received.extend_from_slice(&piece),
                Ok(Ok(None)) => return Err("ended its answer".to_owned()),
                Ok(Err(error)) => return Err(format!("broke off its answer: {}", root(&error))),
                Err(_) => return Err(format!("said nothing for {} s", SILENCE.as_secs())),
            }
        }
    }
}

/// Brings the board up to date with the images that are on their way to the gate.
fn follow(
    ways: &mut HashMap<ImageRef, ImageOnItsWay>,
    now: &[FetchingImage],
    request: &LookRequest,
    board: &FetchBoard,
) {
    ways.retain(|image, _| now.iter().any(|fetching| fetching.image == *image));
    for FetchingImage { image, layers } in now {
        let begin = || {
            let layers: Vec<_> = layers.iter().map(|(layer, _)| layer.clone()).collect();
            board.begin(request.submission, image, FetchTarget::Verifier, &layers)
        };
        let way = ways.entry(image.clone()).or_insert_with(begin);
        for (layer, arrived) in layers {
            way.note_bytes(&layer.digest, *arrived);
        }
    }
}

/// Returns the body of an answer, unless it is too long or breaks off.
async fn bounded(mut response: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.ok()? {
        body.extend_from_slice(&piece);
        if body.len() > STATE_MAX {
            return None;
        }
    }
    Some(body)
}

/// Returns the cause of an error without the address that was asked.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
