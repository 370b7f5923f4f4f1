//! Looks an image up in its registry before a node pulls it. Resolves the tag to a digest, and refuses images
//! that are too large or must not be run. The engine has one error for every failure of a pull, and a
//! participant needs the exact one.

mod documents;
mod http;
mod image_paths;
mod labels;
mod logins;
mod manifest;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::challenge::ResourceLimits;
use domain::sandbox::SandboxRegistry;
use domain::submission::{FailureCode, InterruptionCode, PlatformFault};
use domain::{Digest, ImageRef};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::metrics::VerifierMetrics;

use self::documents::DocumentMemory;
use self::http::{RegistryHosts, RegistryHttp, RegistrySession};
pub use self::logins::{LoginsError, RegistryLogins};
use self::manifest::{Descriptor, ImageIndex, ImageManifest, Manifest};
pub(crate) use self::manifest::{ImageSettings, check_config};

/// The longest manifest or index in bytes. Registries accept no longer ones.
const MANIFEST_MAX: usize = 4 << 20;

/// The longest image configuration in bytes.
const CONFIG_MAX: usize = 1 << 20;

/// The image of Docker Hub's that is meant for questions about its limit.
const LIMIT_TEST: &str = "docker.io/ratelimitpreview/test";

/// Registries, by the rules of their own protocol.
pub(crate) struct RegistryClient {
    http: RegistryHttp,
    documents: DocumentMemory,
}

/// An image that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedImage {
    /// The digest that the name refers to now, or referred to at its first lookup.
    pub(crate) digest: Digest,
    /// The compressed size, bytes.
    pub(crate) size_bytes: u64,
    /// The paths that the image declares as volumes.
    pub(crate) volumes: Vec<String>,
    /// The TCP ports that the image exposes.
    pub(crate) exposed_ports: Vec<u16>,
    /// The directory in which the app starts.
    pub(crate) working_dir: String,
    /// The layers, the lowest first.
    pub(crate) layers: Vec<ImageLayer>,
    /// The digests of the layers' archives, as the configuration names them.
    pub(crate) diff_ids: Vec<Digest>,
    /// The names of the labels that the container must override.
    pub(crate) labels: Vec<String>,
    pub(crate) documents: ImageDocuments,
}

/// The documents of an image, with the bytes that their digests are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageDocuments {
    pub(crate) manifest: Arc<[u8]>,
    pub(crate) config_digest: Digest,
    pub(crate) config: Arc<[u8]>,
}

/// A layer, as an image's manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageLayer {
    pub(crate) digest: Digest,
    /// The compressed size, bytes. It is a claim.
    pub(crate) size: u64,
}

/// A layer that is being received.
pub(crate) struct LayerStream<'a> {
    session: RegistrySession<'a>,
    response: reqwest::Response,
}

/// The reason why an image cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// The participant is at fault. Holds the message for the participant.
    Participant(FailureCode, String),
    /// The registry or Muster is at fault.
    Platform(PlatformFault),
}

type Result<T> = std::result::Result<T, LookupError>;

impl RegistryClient {
    /// Makes a client. `insecure` lists the registries (`host` or `host:port`) that speak plain HTTP.
    /// Registries on the loopback always do, as for engines. A login is sent to its own registry only. `further` lists the
    /// domains to which registries send their clients, beside those that are known.
    pub(crate) fn new(
        insecure: impl IntoIterator<Item = String>,
        logins: RegistryLogins,
        further: BTreeMap<String, Vec<String>>,
        metrics: VerifierMetrics,
    ) -> Self {
        let hosts = RegistryHosts::new(insecure.into_iter().collect(), further);
        let http = RegistryHttp::new(hosts, logins, metrics);
        Self { http, documents: DocumentMemory::default() }
    }

    /// Allows registries to send their clients to these further domains, too.
    pub(crate) fn also_allow(&self, further: &BTreeMap<String, Vec<String>>) {
        self.http.also_allow(further);
    }

    /// Looks up the image, or the `known` digest that an earlier attempt resolved it to, and checks that it
    /// can be run within the limits.
    pub(crate) async fn look_up(
        &self,
        image: &ImageRef,
        known: Option<&Digest>,
        limits: &ResourceLimits,
    ) -> Result<ResolvedImage> {
        let session = self.http.session(image);
        let (digest, body) = self.first_manifest(&session, image, known.or(image.digest())).await?;
        let (digest, manifest, body) = match manifest::parse(&body)? {
            Manifest::Image(manifest) => (digest, manifest, body),
            // The image's own digest is run, and not the index's: an engine would choose from the index by
            // its own rules, and might run another image than the one that is checked here.
            Manifest::Index(index) => self.chosen(&session, image, &index).await?,
        };
        let size_bytes = manifest.check(limits)?;
        let config = self.part(&session, image, "blobs", &manifest.config, CONFIG_MAX).await?;
        let ImageSettings { volumes, exposed_ports, working_dir, diff_ids, labels } = check_config(&config)?;
        let layers = manifest.layers.into_iter();
        let layers = layers.map(|layer| ImageLayer { digest: layer.digest, size: layer.size }).collect();
        let documents = ImageDocuments { manifest: body, config_digest: manifest.config.digest, config };
        Ok(ResolvedImage {
            digest,
            size_bytes,
            volumes,
            exposed_ports,
            working_dir,
            layers,
            diff_ids,
            labels,
            documents,
        })
    }

    /// Returns the registries that limit requests. The receiver is told of pauses, and not of each pull that is left.
    pub(crate) fn limited(&self) -> watch::Receiver<Vec<SandboxRegistry>> {
        self.http.limited()
    }

    /// Begins to receive a layer, which may take at most `limit_s` seconds.
    pub(crate) async fn open_layer<'a>(
        &'a self,
        image: &'a ImageRef,
        layer: &ImageLayer,
        limit_s: u64,
    ) -> Result<LayerStream<'a>> {
        let session = self.http.session(image);
        let path = format!("blobs/{}", layer.digest);
        let response = session.open(&path, Duration::from_secs(limit_s)).await;
        let response = response.map_err(|error| without_blame(error, &layer.digest))?;
        Ok(LayerStream { session, response })
    }

    /// Returns the manifest or the index that an image's name refers to, with its digest.
    async fn first_manifest(
        &self,
        session: &RegistrySession<'_>,
        image: &ImageRef,
        pinned: Option<&Digest>,
    ) -> Result<(Digest, Arc<[u8]>)> {
        let reference = pinned.map(ToString::to_string).or_else(|| image.tag().map(str::to_owned));
        let path = format!("manifests/{}", reference.unwrap_or_else(|| "latest".to_owned()));
        let repository = repository(image);
        if self.documents.knows(&repository)
            && let Some(digest) = session.digest(&path).await.and_then(|digest| digest.parse().ok())
            && pinned.is_none_or(|pinned| *pinned == digest)
            && let Some(body) = self.documents.recall(&repository, &digest)
        {
            return Ok((digest, body));
        }
        let body = session.get(&path, MANIFEST_MAX).await?.body;
        let digest = verified(&body, pinned)?;
        self.documents.remember(&repository, &digest, &body);
        Ok((digest, body.into()))
    }

    /// Returns the image of an index that is for the platform of the nodes.
    async fn chosen(
        &self,
        session: &RegistrySession<'_>,
        image: &ImageRef,
        index: &ImageIndex,
    ) -> Result<(Digest, ImageManifest, Arc<[u8]>)> {
        let wrong_platform = match index.for_our_platform() {
            Ok(part) => {
                let (manifest, body) = self.image_of(session, image, part).await?;
                return Ok((part.digest.clone(), manifest, body));
            }
            Err(error) => error,
        };
        for part in index.without_platform() {
            let (manifest, body) = match self.image_of(session, image, part).await {
                Ok(found) => found,
                Err(LookupError::Participant(..)) => continue,
                Err(fault) => return Err(fault),
            };
            let config = self.part(session, image, "blobs", &manifest.config, CONFIG_MAX).await?;
            if manifest::is_for_our_platform(&config) {
                return Ok((part.digest.clone(), manifest, body));
            }
        }
        Err(wrong_platform)
    }

    async fn image_of(
        &self,
        session: &RegistrySession<'_>,
        image: &ImageRef,
        part: &Descriptor,
    ) -> Result<(ImageManifest, Arc<[u8]>)> {
        let body = self.part(session, image, "manifests", part, MANIFEST_MAX).await?;
        match manifest::parse(&body)? {
            Manifest::Image(manifest) => Ok((manifest, body)),
            Manifest::Index(_) => Err(refused("its index lists another index")),
        }
    }

    /// Fetches a part that a manifest names by its digest.
    async fn part(
        &self,
        session: &RegistrySession<'_>,
        image: &ImageRef,
        kind: &str,
        part: &Descriptor,
        max: usize,
    ) -> Result<Arc<[u8]>> {
        if part.size > max as u64 {
            return Err(refused(&format!("a part of it ({kind}) has {} bytes, more than {max}", part.size)));
        }
        let repository = repository(image);
        if let Some(body) = self.documents.recall(&repository, &part.digest) {
            return Ok(body);
        }
        let body = session.get(&format!("{kind}/{}", part.digest), max).await;
        let body = body.map_err(|error| without_blame(error, &part.digest))?.body;
        verified(&body, Some(&part.digest))?;
        self.documents.remember(&repository, &part.digest, &body);
        Ok(body.into())
    }
}

impl LayerStream<'_> {
    /// Returns the next bytes, or `None` at the end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>> {
        self.response.chunk().await.map_err(|error| self.session.unreachable(&error))
    }
}

/// Asks Docker Hub how many pulls it permits this machine, or this login, until its limit. The question is none of
/// them. Returns `None` if Docker Hub does not tell.
pub async fn docker_hub_pulls(logins: RegistryLogins) -> Option<u64> {
    let client = RegistryClient::new([], logins, BTreeMap::new(), VerifierMetrics::default());
    let image: ImageRef = LIMIT_TEST.parse().ok()?;
    let _ = client.http.session(&image).digest("manifests/latest").await;
    let limited = client.limited();
    let limited = limited.borrow();
    limited.iter().find(|registry| registry.name == image.registry())?.pulls_remaining
}

/// Returns the digest with this SHA-256.
pub(crate) fn digest_of(sha256: &[u8]) -> Digest {
    let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}").parse().expect("it is a SHA-256 in hexadecimal")
}

fn repository(image: &ImageRef) -> String {
    format!("{}/{}", image.registry(), image.repository())
}

/// Blames the registry for a part that it does not send: it sent the manifest, so it should send the parts too.
fn without_blame(error: LookupError, part: &Digest) -> LookupError {
    match error {
        LookupError::Participant(FailureCode::ImageNotFound | FailureCode::ImageForbidden, _) => {
            missing(part)
        }
        other => other,
    }
}

/// Returns the digest of a document, after a comparison with the requested one, if a digest was requested.
fn verified(body: &[u8], requested: Option<&Digest>) -> Result<Digest> {
    let digest = digest_of(&Sha256::digest(body));
    match requested {
        Some(requested) if *requested != digest => {
            Err(unavailable(&format!("the registry sent {digest} instead of the requested {requested}")))
        }
        _ => Ok(digest),
    }
}

/// Returns the error about a part that the registry does not have. It had the part when the image was pushed,
/// because it would have refused the push otherwise.
fn missing(part: &Digest) -> LookupError {
    unavailable(&format!(
        "the registry has the image but not its part {part}; push the image again if this does not change"
    ))
}

fn refused(why: &str) -> LookupError {
    LookupError::Participant(FailureCode::ImageRefused, format!("The image cannot be run here: {why}."))
}

pub(crate) fn unavailable(why: &str) -> LookupError {
    platform(InterruptionCode::RegistryUnavailable, why.to_owned())
}

pub(crate) fn platform(code: InterruptionCode, message: String) -> LookupError {
    LookupError::Platform(PlatformFault::new(code, message))
}

#[cfg(test)]
pub(crate) mod tests;
