//! The images that passed the look, for as long as attempts in hand need them. Nodes get these and no others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Digest, ImageRef};
use sha2::{Digest as _, Sha256};

use super::blob_store::{BlobHold, BlobStore};
use super::image_room::{GateRoom, ImageRoom};
use crate::registry::{ImageDocuments, ResolvedImage, digest_of};

/// The longest name of an image without its digest that engines read.
const NAME_BYTES_MAX: usize = 255;

/// The place that nodes pull images from.
#[derive(Debug, Clone)]
pub(crate) enum ImageSource {
    /// The registries of the images.
    Registries,
    /// The gate, at this `HOST:PORT`.
    Gate(String),
}

/// The images that nodes may pull from the gate. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct ServedImages {
    address: Arc<str>,
    blobs: BlobStore,
    room: GateRoom,
    by_repository: Arc<Mutex<HashMap<String, ServedRepository>>>,
}

/// The images of a repository, by the digests of their manifests.
type ServedRepository = HashMap<Digest, ServedImage>;

#[derive(Debug)]
struct ServedImage {
    documents: ImageDocuments,
    layers: Vec<Digest>,
    /// The number of attempts that need it.
    holders: usize,
}

/// The permission to pull one image, until it is dropped.
#[derive(Debug)]
pub(crate) struct ServedPass {
    images: ServedImages,
    repository: String,
    digest: Digest,
    _holds: Vec<BlobHold>,
    _room: Option<ImageRoom>,
}

/// A blob that a node may have.
#[derive(Debug)]
pub(super) enum ServedBlob {
    Bytes(Arc<[u8]>),
    /// The blob of this digest in the store.
    Layer(Digest),
}

impl ImageSource {
    /// Returns the name by which nodes pull the image of this digest.
    pub(crate) fn name(&self, image: &ImageRef, digest: &Digest) -> String {
        match self {
            Self::Registries => image.pinned(digest.clone()).to_string(),
            Self::Gate(address) => format!("{address}/{}@{digest}", repository_at(address, image)),
        }
    }
}

impl ServedImages {
    /// Makes an empty set. `address` is the gate's `HOST:PORT`, as nodes name it.
    pub(crate) fn new(address: &str, blobs: BlobStore) -> Self {
        let room = GateRoom::new(blobs.bytes_max());
        Self { address: address.into(), blobs, room, by_repository: Arc::default() }
    }

    /// Returns the place that nodes pull these images from.
    pub(super) fn source(&self) -> ImageSource {
        ImageSource::Gate(self.address.to_string())
    }

    /// Returns the room for images.
    pub(super) fn room(&self) -> &GateRoom {
        &self.room
    }

    pub(super) fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    /// Keeps the layers of an image from being removed, now and when they come.
    pub(super) fn hold(&self, resolved: &ResolvedImage) -> Vec<BlobHold> {
        resolved.layers.iter().map(|layer| self.blobs.hold(&layer.digest)).collect()
    }

    /// Lets nodes pull an image that passed the look. The holds are those of its layers.
    pub(super) fn admit(
        &self,
        image: &ImageRef,
        resolved: &ResolvedImage,
        holds: Vec<BlobHold>,
        room: Option<ImageRoom>,
    ) -> ServedPass {
        let repository = repository_at(&self.address, image);
        let digest = resolved.digest.clone();
        let mut served = self.served();
        let known = served.entry(repository.clone()).or_default().entry(digest.clone());
        known
            .or_insert_with(|| ServedImage {
                documents: resolved.documents.clone(),
                layers: resolved.layers.iter().map(|layer| layer.digest.clone()).collect(),
                holders: 0,
            })
            .holders += 1;
        ServedPass { images: self.clone(), repository, digest, _holds: holds, _room: room }
    }

    /// Returns the manifest of this digest, if nodes may have it.
    pub(super) fn manifest(&self, repository: &str, digest: &Digest) -> Option<Arc<[u8]>> {
        let served = self.served();
        Some(Arc::clone(&served.get(repository)?.get(digest)?.documents.manifest))
    }

    /// Returns the configuration or the layer of this digest, if nodes may have it.
    pub(super) fn blob(&self, repository: &str, digest: &Digest) -> Option<ServedBlob> {
        let served = self.served();
        let images = served.get(repository)?;
        if let Some(image) = images.values().find(|image| image.documents.config_digest == *digest) {
            return Some(ServedBlob::Bytes(Arc::clone(&image.documents.config)));
        }
        let is_layer = images.values().any(|image| image.layers.contains(digest));
        is_layer.then(|| ServedBlob::Layer(digest.clone()))
    }

    fn served(&self) -> MutexGuard<'_, HashMap<String, ServedRepository>> {
        self.by_repository.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ServedPass {
    fn drop(&mut self) {
        let mut served = self.images.served();
        let Some(images) = served.get_mut(&self.repository) else { return };
        if let Some(image) = images.get_mut(&self.digest) {
            image.holders -= 1;
            if image.holders == 0 {
                images.remove(&self.digest);
            }
        }
        if images.is_empty() {
            served.remove(&self.repository);
        }
    }
}

/// Returns the repository of an image at the gate: the registry and the repository. A colon may not stand within a name, and
/// no host's name has an underscore. A name that would be too long for engines is replaced by its hash.
fn repository_at(address: &str, image: &ImageRef) -> String {
    let full = format!("{}/{}", image.registry().replace(':', "_"), image.repository());
    if address.len() + 1 + full.len() <= NAME_BYTES_MAX {
        return full;
    }
    let hash = digest_of(&Sha256::digest(full.as_bytes())).to_string();
    hash.replace(':', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_at_the_gate_is_one_that_engines_and_the_janitor_read() {
        let digest = digest_of(&[7; 32]);
        let gate = ImageSource::Gate("gate.lan:5443".into());
        let long = format!("r.lan/{}/app", "x".repeat(240));
        for (image, named) in [
            ("r.lan:5000/ada/app:v1", "gate.lan:5443/r.lan_5000/ada/app@"),
            ("ada/app", "gate.lan:5443/docker.io/ada/app@"),
            (long.as_str(), "gate.lan:5443/sha256/"),
        ] {
            let name = gate.name(&image.parse().unwrap(), &digest);
            assert!(name.starts_with(named), "{name}");
            let read: ImageRef = name.parse().unwrap();
            assert_eq!((read.to_string(), read.digest()), (name, Some(&digest)));
        }
        let image: ImageRef = "ada/app".parse().unwrap();
        assert_eq!(ImageSource::Registries.name(&image, &digest), format!("docker.io/ada/app@{digest}"));
    }
}
