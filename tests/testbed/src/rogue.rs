//! A registry that misbehaves: it forwards the responses of the real registry, except for the owners whose
//! images it must spoil.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use reqwest::Client;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::registry::Registry;

/// The misbehaviour towards one owner's images. Some of it the verifier's lookup does not see. Then the
/// engine meets it, while it pulls.
#[derive(Clone, Debug)]
pub enum Misdeed {
    /// Sends the manifest at one byte a second.
    TricklesManifests,
    /// Sends layers at one byte a second.
    TricklesLayers,
    /// Sends a manifest without end.
    EndlessManifests,
    /// Redirects a request for the manifest.
    LeadsManifestsTo(String),
    /// Redirects a request for the image's configuration.
    LeadsConfigTo(String),
    /// Redirects a request for a layer.
    LeadsLayersTo(String),
    /// Names other places of the layers in the manifest.
    PutsLayersAt(String),
    /// Demands a token from another server.
    HasTokensAt(String),
    /// Answers that the client sends too many requests.
    TooManyRequests,
    /// Answers everything with an error whose text is an attack.
    Fails,
    /// Answers that the image's configuration does not exist.
    LosesConfig,
    /// Answers that the layers do not exist.
    LosesLayers,
    /// Sends wrong bytes for the image's configuration.
    ForgesConfig,
    /// Sends wrong bytes for a layer.
    ForgesLayers,
}

/// The bounds of the slow and the endless responses, so that they end by themselves if no client ends them.
const TRICKLE_BYTES: usize = 120;
const ENDLESS_CHUNKS: usize = 1024;
const CHUNK: usize = 64 << 10;

/// A running registry that misbehaves. It ends when it is dropped.
pub struct Rogue {
    address: SocketAddr,
    misdeeds: Misdeeds,
    serving: JoinHandle<()>,
}

/// The misdeeds by owner, which is the first part of a repository.
type Misdeeds = Arc<Mutex<HashMap<String, Misdeed>>>;

#[derive(Clone)]
struct Front {
    behind: String,
    client: Client,
    misdeeds: Misdeeds,
}

/// The response of the real registry.
struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// The requested object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Manifest,
    Config,
    Layer,
    Other,
}

impl Rogue {
    pub(crate) async fn start(at: Ipv4Addr, behind: &Registry) -> Result<Self> {
        let misdeeds = Misdeeds::default();
        let client = Client::builder().no_proxy().build()?;
        let front = Front { behind: behind.address().to_owned(), client, misdeeds: Arc::clone(&misdeeds) };
        let listener = TcpListener::bind((at, 0)).await?;
        let address = listener.local_addr()?;
        let app = Router::new().fallback(answer).with_state(front);
        let serving = tokio::spawn(async move {
            // The server ends with its task, and its result means nothing.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, misdeeds, serving })
    }

    /// Returns the registry's `HOST:PORT`. It has the same images as the real registry.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Starts to spoil an owner's images.
    pub fn spoil(&self, owner: &str, misdeed: Misdeed) {
        self.misdeeds.lock().unwrap_or_else(PoisonError::into_inner).insert(owner.to_owned(), misdeed);
    }

    /// Stops spoiling an owner's images.
    pub fn mend(&self, owner: &str) {
        self.misdeeds.lock().unwrap_or_else(PoisonError::into_inner).remove(owner);
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Front {
    fn misdeed(&self, path: &str) -> Option<Misdeed> {
        let owner = path.strip_prefix("/v2/")?.split('/').next()?;
        self.misdeeds.lock().unwrap_or_else(PoisonError::into_inner).get(owner).cloned()
    }

    async fn pass_on(&self, method: &Method, uri: &Uri, asked: &HeaderMap) -> Result<Said> {
        let url = format!("http://{}{uri}", self.behind);
        let mut request = self.client.request(method.clone(), url);
        for accepted in asked.get_all(header::ACCEPT) {
            request = request.header(header::ACCEPT, accepted);
        }
        let said = request.send().await?;
        let (status, mut headers) = (said.status(), said.headers().clone());
        let body = said.bytes().await?;
        if *method == Method::GET {
            // The length is counted again, and the body is sent as it is.
            headers.remove(header::CONTENT_LENGTH);
            headers.remove(header::TRANSFER_ENCODING);
        }
        Ok(Said { status, headers, body })
    }
}

async fn answer(State(front): State<Front>, method: Method, uri: Uri, asked: HeaderMap) -> Response {
    let Ok(said) = front.pass_on(&method, &uri, &asked).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let part = part(uri.path(), &said.body);
    match front.misdeed(uri.path()) {
        Some(misdeed) => spoiled(misdeed, part, said),
        None => said.into_response(),
    }
}

/// Returns the requested object. A blob that is a JSON object is the configuration.
fn part(path: &str, body: &[u8]) -> Part {
    match path {
        path if path.contains("/manifests/") => Part::Manifest,
        path if path.contains("/blobs/") && body.first() == Some(&b'{') => Part::Config,
        path if path.contains("/blobs/") => Part::Layer,
        _ => Part::Other,
    }
}

fn spoiled(misdeed: Misdeed, part: Part, said: Said) -> Response {
    use Misdeed as M;
    match (misdeed, part) {
        (M::TricklesManifests, Part::Manifest) | (M::TricklesLayers, Part::Layer) => trickled(said),
        (M::EndlessManifests, Part::Manifest) => endless(said),
        (M::LeadsManifestsTo(to), Part::Manifest)
        | (M::LeadsConfigTo(to), Part::Config)
        | (M::LeadsLayersTo(to), Part::Layer) => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
        }
        (M::PutsLayersAt(url), Part::Manifest) => elsewhere(&url, said),
        (M::HasTokensAt(realm), _) => {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"registry\"");
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
        }
        (M::TooManyRequests, _) => {
            let words = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], words).into_response()
        }
        (M::Fails, _) => {
            let words = r#"{"errors":[{"code":"\u001b[31m<script>","message":"alert(1)\u202e"}]}"#;
            (StatusCode::INTERNAL_SERVER_ERROR, words).into_response()
        }
        (M::LosesConfig, Part::Config) | (M::LosesLayers, Part::Layer) => {
            let words = r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
            (StatusCode::NOT_FOUND, words).into_response()
        }
        (M::ForgesConfig, Part::Config) | (M::ForgesLayers, Part::Layer) => forged(said),
        _ => said.into_response(),
    }
}

fn trickled(said: Said) -> Response {
    let bytes = said.body.into_iter().take(TRICKLE_BYTES);
    let slowly = stream::unfold(bytes, async |mut bytes| {
        let byte = bytes.next()?;
        sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, Infallible>(Bytes::copy_from_slice(&[byte])), bytes))
    });
    (said.status, said.headers, Body::from_stream(slowly)).into_response()
}

fn endless(said: Said) -> Response {
    let spaces = Bytes::from(vec![b' '; CHUNK]);
    let chunks = std::iter::repeat_n(spaces, ENDLESS_CHUNKS).map(Ok::<_, Infallible>);
    (said.status, said.headers, Body::from_stream(stream::iter(chunks))).into_response()
}

fn elsewhere(url: &str, said: Said) -> Response {
    let Ok(mut manifest) = serde_json::from_slice::<Value>(&said.body) else {
        return said.into_response();
    };
    let layers = manifest["layers"].as_array_mut().into_iter().flatten();
    for layer in layers {
        layer["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
        layer["urls"] = Value::from(vec![url]);
    }
    let mut headers = said.headers;
    headers.remove("docker-content-digest");
    headers.remove(header::ETAG);
    (said.status, headers, manifest.to_string()).into_response()
}

fn forged(said: Said) -> Response {
    let mut body = said.body.to_vec();
    // A trailing space changes the digest, but neither JSON nor an archive.
    body.push(b' ');
    (said.status, said.headers, body).into_response()
}

impl IntoResponse for Said {
    fn into_response(self) -> Response {
        (self.status, self.headers, self.body).into_response()
    }
}
