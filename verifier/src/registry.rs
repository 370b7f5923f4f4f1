//! Looks an image up in its registry before a node pulls it. Resolves the tag to a digest, and refuses images
//! that are too large or must not be run. The engine has one error for every failure of a pull, and a
//! participant needs the exact one.

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
pub(crate) use self::manifest::{ImageSettings, check_config};

/// The longest manifest or index in bytes. Registries accept no longer ones.
const MANIFEST_MAX: usize = 4 << 20;

/// The longest image configuration in bytes.
const CONFIG_MAX: usize = 1 << 20;

/// The number of layers whose sizes are requested at the same time.
const SIZES_AT_ONCE: usize = 8;

/// Registries, by the rules of their own protocol.
pub(crate) struct RegistryClient {
    http: RegistryHttp,
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
    /// Registries on the loopback always do, as for engines. A login is sent to its own registry only.
    pub(crate) fn new(insecure: impl IntoIterator<Item = String>, logins: RegistryLogins) -> Self {
        Self { http: RegistryHttp::new(insecure.into_iter().collect(), logins) }
    }

    /// Looks up the image, or the `known` digest that an earlier attempt resolved it to, and checks that it
    /// can be run within the limits.
    pub(crate) async fn look_up(
        &self,
        image: &ImageRef,
        known: Option<&Digest>,
        limits: &ResourceLimits,
    ) -> Result<ResolvedImage> {
        let pinned = known.or(image.digest());
        let mut session = self.http.session(image);
        let reference = pinned.map(ToString::to_string).or_else(|| image.tag().map(str::to_owned));
        let reference = reference.unwrap_or_else(|| "latest".to_owned());
        let reply = session.get(&format!("manifests/{reference}"), MANIFEST_MAX).await?;
        let digest = verified(&reply, pinned)?;
        let (digest, manifest) = match manifest::parse(&reply.body)? {
            Manifest::Image(manifest) => (digest, manifest),
            // The image's own digest is run, and not the index's: an engine would choose from the index by
            // its own rules, and might run another image than the one that is checked here.
            Manifest::Index(index) => {
                let part = index.for_our_platform()?;
                match manifest::parse(&self.part(&mut session, "manifests", part, MANIFEST_MAX).await?)? {
                    Manifest::Image(manifest) => (part.digest.clone(), manifest),
                    Manifest::Index(_) => return Err(refused("its index lists another index")),
                }
            }
        };
        let size_bytes = manifest.check(limits)?;
        Self::check_sizes(&session, &manifest).await?;
        let config = self.part(&mut session, "blobs", &manifest.config, CONFIG_MAX).await?;
        let ImageSettings { volumes, exposed_ports } = check_config(&config)?;
        Ok(ResolvedImage { digest, size_bytes, volumes, exposed_ports })
    }

    /// Checks that the layers have the sizes that the manifest claims, because the limit was applied to the
    /// claims.
    async fn check_sizes(session: &http::RegistrySession<'_>, manifest: &ImageManifest) -> Result<()> {
        let checks: Vec<_> = manifest.layers.iter().map(|layer| Self::check_size(session, layer)).collect();
        stream::iter(checks).buffer_unordered(SIZES_AT_ONCE).try_collect().await
    }

    async fn check_size(session: &http::RegistrySession<'_>, layer: &Descriptor) -> Result<()> {
        match session.size(&format!("blobs/{}", layer.digest)).await {
            BlobSize::Bytes(size) if size != layer.size => Err(refused(&format!(
                "its manifest says that layer {} has {} bytes, but it has {size}",
                layer.digest, layer.size
            ))),
            BlobSize::Missing => Err(missing(layer)),
            BlobSize::Bytes(_) | BlobSize::Unknown => Ok(()),
        }
    }

    /// Fetches a part that a manifest names by its digest.
    async fn part(
        &self,
        session: &mut http::RegistrySession<'_>,
        kind: &str,
        part: &Descriptor,
        max: usize,
    ) -> Result<Vec<u8>> {
        if part.size > max as u64 {
            return Err(refused(&format!("a part of it ({kind}) has {} bytes, more than {max}", part.size)));
        }
        let reply =
            session.get(&format!("{kind}/{}", part.digest), max).await.map_err(|error| match error {
                // A registry that served the manifest should serve its parts too.
                LookupError::Participant(FailureCode::ImageNotFound | FailureCode::ImageForbidden, _) => {
                    missing(part)
                }
                other => other,
            })?;
        verified(&reply, Some(&part.digest))?;
        Ok(reply.body)
    }
}

/// Returns the digest of a reply, after a comparison with the requested one, if a digest was requested.
fn verified(reply: &RegistryReply, requested: Option<&Digest>) -> Result<Digest> {
    let hex: String = Sha256::digest(&reply.body).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest: Digest = format!("sha256:{hex}").parse().expect("it is a SHA-256 in hexadecimal");
    match requested {
        Some(requested) if *requested != digest => {
            Err(unavailable(&format!("the registry sent {digest} instead of the requested {requested}")))
        }
        _ => Ok(digest),
    }
}

/// Returns the error about a part that the registry does not have. It had the part when the image was pushed,
/// because it would have refused the push otherwise.
fn missing(part: &Descriptor) -> LookupError {
    let part = &part.digest;
    unavailable(&format!(
        "the registry has the image but not its part {part}; push the image again if this does not change"
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
