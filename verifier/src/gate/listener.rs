//! The gate's server: the reading half of the registries' protocol, for the images that nodes may have and for no others.

use std::fs::File;
use std::io::SeekFrom;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RANGE,
};
use axum::http::{Method, Request, Response, StatusCode, response};
use domain::Digest;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsAcceptor;
use tokio_util::io::ReaderStream;

use super::connections::{self, ConnectionLimits};
use super::served_images::{ServedBlob, ServedImages};

/// The number of open connections of one node. Further ones are closed.
const CONNECTIONS_BY_NODE: usize = 64;

/// The longest life of a connection. A pull takes minutes at most.
const CONNECTION_MAX: Duration = Duration::from_secs(900);

/// The bytes that are read from a file at a time.
const PIECE: usize = 256 << 10;

const API_VERSION: (HeaderName, &str) =
    (HeaderName::from_static("docker-distribution-api-version"), "registry/2.0");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The part of a blob that a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum AskedRange {
    Whole,
    /// The first byte and the number of bytes.
    Part(u64, u64),
    /// No byte of it exists.
    Nothing,
}

/// Serves nodes until it is dropped. Its connections end with it.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, images: ServedImages) {
    let limits = ConnectionLimits { by_peer: CONNECTIONS_BY_NODE, life: CONNECTION_MAX };
    let answer = move |request: Request<Incoming>| {
        let images = images.clone();
        async move { answer(&images, &request).await }
    };
    connections::serve(listener, tls, limits, answer).await;
}

/// Answers a request. Its body is not read.
async fn answer<B>(images: &ServedImages, request: &Request<B>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "the gate can only be read");
        return with(refused, ALLOW, "GET, HEAD");
    }
    let path = request.uri().path();
    if matches!(path, "/v2" | "/v2/") {
        return document(request, &Value::Object(Default::default()).to_string(), "application/json");
    }
    let Some(path) = path.strip_prefix("/v2/") else { return not_found("UNSUPPORTED") };
    if let Some((repository, reference)) = path.rsplit_once("/manifests/") {
        let found = reference.parse().ok().and_then(|digest| images.manifest(repository, &digest));
        let Some(manifest) = found else { return not_found("MANIFEST_UNKNOWN") };
        let answer = bytes(request, &manifest, media_type(&manifest));
        return with(answer, CONTENT_DIGEST, reference);
    }
    if let Some((repository, reference)) = path.rsplit_once("/blobs/") {
        let digest: Option<Digest> = reference.parse().ok();
        return match digest.and_then(|digest| images.blob(repository, &digest)) {
            Some(ServedBlob::Bytes(all)) => {
                with(bytes(request, &all, "application/octet-stream"), CONTENT_DIGEST, reference)
            }
            Some(ServedBlob::Layer(digest)) => {
                let blobs = images.blobs().clone();
                match spawn_blocking(move || blobs.read(&digest)).await {
                    Ok(Some((file, size))) => {
                        with(layer_answer(request, file, size).await, CONTENT_DIGEST, reference)
                    }
                    _ => not_found("BLOB_UNKNOWN"),
                }
            }
            None => not_found("BLOB_UNKNOWN"),
        };
    }
    not_found("UNSUPPORTED")
}

async fn layer_answer<B>(request: &Request<B>, file: File, size: u64) -> Response<Body> {
    let range = request.headers().get(RANGE).and_then(|range| range.to_str().ok());
    let (first, length) = match asked_range(range, size) {
        AskedRange::Whole => (0, size),
        AskedRange::Part(first, length) => (first, length),
        AskedRange::Nothing => {
            let why = "the blob has no such bytes";
            let refused = refusal(StatusCode::RANGE_NOT_SATISFIABLE, "UNSUPPORTED", why);
            return with(refused, CONTENT_RANGE, &format!("bytes */{size}"));
        }
    };
    let mut head = head(StatusCode::OK, "application/octet-stream", length).header(ACCEPT_RANGES, "bytes");
    if length < size {
        let last = first + length - 1;
        head = head
            .status(StatusCode::PARTIAL_CONTENT)
            .header(CONTENT_RANGE, format!("bytes {first}-{last}/{size}"));
    }
    let mut file = tokio::fs::File::from_std(file);
    if let Err(error) = file.seek(SeekFrom::Start(first)).await {
        tracing::warn!(%error, "a blob of the gate cannot be read");
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the blob cannot be read");
    }
    let pieces = ReaderStream::with_capacity(file.take(length), PIECE);
    finished(head, if *request.method() == Method::HEAD { Body::empty() } else { Body::from_stream(pieces) })
}

fn bytes<B>(request: &Request<B>, all: &[u8], kind: &str) -> Response<Body> {
    let body = if *request.method() == Method::HEAD { Body::empty() } else { Body::from(all.to_vec()) };
    finished(head(StatusCode::OK, kind, all.len() as u64), body)
}

fn document<B>(request: &Request<B>, text: &str, kind: &str) -> Response<Body> {
    bytes(request, text.as_bytes(), kind)
}

fn not_found(code: &str) -> Response<Body> {
    refusal(StatusCode::NOT_FOUND, code, "the gate has nothing of this name and digest for you")
}

/// Returns a refusal with the body that the registries' protocol has for errors.
fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = json!({ "errors": [{ "code": code, "message": message }] }).to_string();
    finished(head(status, "application/json", body.len() as u64), Body::from(body))
}

fn head(status: StatusCode, kind: &str, length: u64) -> response::Builder {
    let (name, version) = API_VERSION;
    Response::builder()
        .status(status)
        .header(name, version)
        .header(CONTENT_TYPE, kind)
        .header(CONTENT_LENGTH, length)
}

fn finished(head: response::Builder, body: Body) -> Response<Body> {
    head.body(body).expect("the headers are made of digests, numbers and texts of ours")
}

fn with(mut answer: Response<Body>, name: HeaderName, value: &str) -> Response<Body> {
    if let Ok(value) = value.parse() {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// Returns the media type of a manifest. An engine compares it with the type in the manifest, which may be missing in OCI's.
fn media_type(manifest: &[u8]) -> &'static str {
    let manifest: Value = serde_json::from_slice(manifest).unwrap_or_default();
    if manifest["mediaType"] == DOCKER_MANIFEST { DOCKER_MANIFEST } else { OCI_MANIFEST }
}

/// Returns the range that a header asks for. A header of another form is passed over, as HTTP asks.
fn asked_range(header: Option<&str>, size: u64) -> AskedRange {
    let Some((first, last)) = header.and_then(|text| text.strip_prefix("bytes=")?.split_once('-')) else {
        return AskedRange::Whole;
    };
    let (first, last) = match (first.trim(), last.trim()) {
        ("", count) => match count.parse::<u64>() {
            Ok(count) => (size.saturating_sub(count), size),
            Err(_) => return AskedRange::Whole,
        },
        (first, "") => match first.parse() {
            Ok(first) => (first, size),
            Err(_) => return AskedRange::Whole,
        },
        (first, last) => match (first.parse(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => (first, last),
            _ => return AskedRange::Whole,
        },
    };
    let end = size.min(last.saturating_add(1));
    if first >= end { AskedRange::Nothing } else { AskedRange::Part(first, end - first) }
}

#[cfg(test)]
mod tests;
