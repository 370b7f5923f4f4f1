//! Looks an image up in its registry before any engine is asked to pull it: the
//! engine has one word for every failure, and a participant deserves the right
//! one. What a tag means is resolved here, once, and what is too large or must
//! not be run is refused here.

mod http;
mod logins;
mod manifest;

use domain::challenge::ResourceLimits;
use domain::submission::{FailureCode, InterruptionCode, PlatformFault};
use domain::{Digest, ImageRef};
use futures::stream::{self, StreamExt, TryStreamExt};
use sha2::{Digest as _, Sha256};

use self::http::{BlobSize, RegistryHttp, RegistryReply};
pub use self::logins::{LoginsError, RegistryLogins};
use self::manifest::{Descriptor, ImageManifest, Manifest};

/// A manifest or an index of them; registries take no larger ones.
const MANIFEST_MAX: usize = 4 << 20;

/// The configuration of an image.
const CONFIG_MAX: usize = 1 << 20;

/// How many layers' sizes are asked for at a time.
const WEIGHED_AT_ONCE: usize = 8;

/// Registries, by the rules of their own protocol.
pub(crate) struct RegistryClient {
    http: RegistryHttp,
}

/// An image that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedImage {
    /// What the name means now, or meant when it was first looked up.
    pub(crate) digest: Digest,
    /// Compressed, bytes.
    pub(crate) size_bytes: u64,
    /// Paths that it declares as volumes.
    pub(crate) volumes: Vec<String>,
}

/// Why an image is not to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// By its author's fault, with what exactly.
    Participant(FailureCode, String),
    /// By a fault of the registry's or ours.
    Platform(PlatformFault),
}

type Result<T> = std::result::Result<T, LookupError>;

impl RegistryClient {
    /// `insecure` are the registries (`host` or `host:port`) that speak plain
    /// HTTP; those on the loopback always do, as engines have it too. A login is
    /// shown to its own registry alone.
    pub(crate) fn new(insecure: impl IntoIterator<Item = String>, logins: RegistryLogins) -> Self {
        Self { http: RegistryHttp::new(insecure.into_iter().collect(), logins) }
    }

    /// Looks up what `image` means, or the `known` digest that it meant before,
    /// and whether that can be run within the limits.
    pub(crate) async fn look_up(
        &self,
        image: &ImageRef,
        known: Option<&Digest>,
        limits: &ResourceLimits,
    ) -> Result<ResolvedImage> {
        let pinned = known.or(image.digest());
        let mut session = self.http.session(image);
        let asked = pinned.map(ToString::to_string).or_else(|| image.tag().map(str::to_owned));
        let asked = asked.unwrap_or_else(|| "latest".to_owned());
        let reply = session.get(&format!("manifests/{asked}"), MANIFEST_MAX).await?;
        let digest = verified(&reply, pinned)?;
        let (digest, manifest) = match manifest::parse(&reply.body)? {
            Manifest::Image(manifest) => (digest, manifest),
            // The part that is checked is the one that is run: an engine chooses
            // by rules of its own among all that an index lists.
            Manifest::Index(index) => {
                let part = index.for_our_platform()?;
                match manifest::parse(&self.part(&mut session, "manifests", part, MANIFEST_MAX).await?)? {
                    Manifest::Image(manifest) => (part.digest.clone(), manifest),
                    Manifest::Index(_) => return Err(refused("its index lists another index")),
                }
            }
        };
        let size_bytes = manifest.check(limits)?;
        Self::weigh(&session, &manifest).await?;
        let config = self.part(&mut session, "blobs", &manifest.config, CONFIG_MAX).await?;
        let volumes = manifest::check_config(&config)?;
        Ok(ResolvedImage { digest, size_bytes, volumes })
    }

    /// Whether the layers are as large as the manifest says, which is what was
    /// held against the limit.
    async fn weigh(session: &http::RegistrySession<'_>, manifest: &ImageManifest) -> Result<()> {
        let weighed: Vec<_> = manifest.layers.iter().map(|layer| Self::weigh_one(session, layer)).collect();
        stream::iter(weighed).buffer_unordered(WEIGHED_AT_ONCE).try_collect().await
    }

    async fn weigh_one(session: &http::RegistrySession<'_>, layer: &Descriptor) -> Result<()> {
        match session.size(&format!("blobs/{}", layer.digest)).await {
            BlobSize::Of(size) if size != layer.size => Err(refused(&format!(
                "its manifest says that layer {} has {} bytes, and it has {size}",
                layer.digest, layer.size
            ))),
            BlobSize::Gone => Err(lost(layer)),
            BlobSize::Of(_) | BlobSize::Unknown => Ok(()),
        }
    }

    /// A part that a manifest names by its digest.
    async fn part(
        &self,
        session: &mut http::RegistrySession<'_>,
        kind: &str,
        part: &Descriptor,
        max: usize,
    ) -> Result<Vec<u8>> {
        if part.size > max as u64 {
            return Err(refused(&format!("its {kind} have a part of {} bytes", part.size)));
        }
        let reply =
            session.get(&format!("{kind}/{}", part.digest), max).await.map_err(|error| match error {
                // Whoever gave the manifest may have its parts.
                LookupError::Participant(FailureCode::ImageNotFound | FailureCode::ImageForbidden, _) => {
                    lost(part)
                }
                other => other,
            })?;
        verified(&reply, Some(&part.digest))?;
        Ok(reply.body)
    }
}

/// The digest of an answer, which is the one that was asked for, if any was.
fn verified(reply: &RegistryReply, asked: Option<&Digest>) -> Result<Digest> {
    let hex: String = Sha256::digest(&reply.body).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest: Digest = format!("sha256:{hex}").parse().expect("it is the digest of some bytes");
    match asked {
        Some(asked) if *asked != digest => {
            Err(unavailable(&format!("it answered with {digest} where {asked} was asked for")))
        }
        _ => Ok(digest),
    }
}

/// The registry had it when the image was pushed, or it would have refused it.
fn lost(part: &Descriptor) -> LookupError {
    let part = &part.digest;
    unavailable(&format!(
        "it has the image, but does not give its part {part}; if that stays so, push it again"
    ))
}

fn refused(why: &str) -> LookupError {
    LookupError::Participant(FailureCode::ImageRefused, format!("The image cannot be run here: {why}."))
}

fn unavailable(why: &str) -> LookupError {
    platform(InterruptionCode::RegistryUnavailable, why.to_owned())
}

fn platform(code: InterruptionCode, message: String) -> LookupError {
    LookupError::Platform(PlatformFault { code, message })
}

#[cfg(test)]
pub(crate) mod tests;
