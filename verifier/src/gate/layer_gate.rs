//! Fetches each layer of an image once, and looks into it while it arrives. If nodes get images from here, the layer is kept as
//! well.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use domain::challenge::ResourceLimits;
use domain::submission::{InterruptionCode, PlatformFault};
use domain::{Digest, ImageRef};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::{AcquireError, Mutex as AsyncMutex, Semaphore, mpsc};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

use super::arriving::ArrivingBytes;
use super::blob_store::{BlobDraft, BlobStore, BlobStoreError, KeptReader};
use super::budget::UnpackBudget;
use super::image_gate::LookTerms;
use super::image_room::ImageRoom;
use super::image_tree::{ImageTree, MountPlan};
use super::layer::{self, LayerReading};
use super::memory::{KnownContent, KnownLayer, LayerMemory};
use super::served_images::{ServedImages, ServedPass};
use super::{LayerFlaw, layer_tree::LayerTree};
use crate::fetching::ImageOnItsWay;
use crate::metrics::VerifierMetrics;
use crate::registry::{
    ImageLayer, LookupError, RegistryClient, ResolvedImage, digest_of, platform, unavailable,
};

/// The memory for what is known about layers. A large base image takes some 2 MiB.
const MEMORY_MAX: usize = 96 << 20;

/// The number of layers that are read at the same time. Each may take some 40 MiB.
const LOOKS_AT_ONCE: usize = 16;

/// The number of layers of one registry that are read at the same time, so that a slow one leaves room for the others.
const LOOKS_BY_REGISTRY: usize = LOOKS_AT_ONCE / 2;

/// The number of layers of one image that are read at the same time.
const LAYERS_AT_ONCE: usize = 4;

/// The seconds by which the connection's own deadline is later than that of the layer, so that a late layer has one reason.
const LATE_S: u64 = 5;

/// The look into layers, with what is known about them.
pub(crate) struct LayerGate {
    memory: LayerMemory,
    looks: Semaphore,
    /// The looks by registry, as long as there are some.
    looks_by_registry: Mutex<HashMap<String, Weak<Semaphore>>>,
    turns: LayerTurns,
    /// The images that nodes get from here; `None` if they pull from the registries.
    images: Option<ServedImages>,
    metrics: VerifierMetrics,
}

/// The layers that are being read, by registry and digest, so that nobody fetches a layer that another fetches now.
#[derive(Debug, Default)]
struct LayerTurns(Mutex<HashMap<(String, Digest), WeakTurn>>);

type WeakTurn = Weak<LayerTurn>;

/// A layer that somebody reads or will read.
#[derive(Debug, Default)]
struct LayerTurn {
    turn: AsyncMutex<()>,
    /// The bytes that arrived so far.
    arrived: Arc<AtomicU64>,
}

/// One look at an image.
struct ImageLook<'a> {
    gate: &'a LayerGate,
    registry: &'a RegistryClient,
    way: &'a ImageOnItsWay,
    image: &'a ImageRef,
    limits: &'a ResourceLimits,
    budget: Arc<UnpackBudget>,
}

impl LayerGate {
    pub(crate) fn new(images: Option<ServedImages>, metrics: VerifierMetrics) -> Self {
        Self {
            memory: LayerMemory::new(MEMORY_MAX),
            looks: Semaphore::new(LOOKS_AT_ONCE),
            looks_by_registry: Mutex::default(),
            turns: LayerTurns::default(),
            images,
            metrics,
        }
    }

    fn looks_of(&self, registry: &str) -> Arc<Semaphore> {
        let mut looks = self.looks_by_registry.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|_, looks| looks.strong_count() > 0);
        if let Some(known) = looks.get(registry).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::new(Semaphore::new(LOOKS_BY_REGISTRY));
        looks.insert(registry.to_owned(), Arc::downgrade(&new));
        new
    }

    fn blobs(&self) -> Option<&BlobStore> {
        self.images.as_ref().map(ServedImages::blobs)
    }

    /// Waits until all these images of one submission have room, if they are kept. They get it together, so that no two
    /// submissions wait for each other.
    ///
    /// # Errors
    /// The platform's fault, if there is no room in time.
    pub(crate) async fn room_for(
        &self,
        images: &[&ResolvedImage],
    ) -> Result<Vec<Option<ImageRoom>>, PlatformFault> {
        match &self.images {
            Some(served) => Ok(served.room().wait(images).await?.into_iter().map(Some).collect()),
            None => Ok(images.iter().map(|_| None).collect()),
        }
    }

    /// Looks into each layer of an image, and checks that an engine can bear it. Returns the permission to pull the image from
    /// here, if nodes do so.
    pub(crate) async fn look_into(
        &self,
        registry: &RegistryClient,
        way: &ImageOnItsWay,
        image: &ImageRef,
        resolved: &ResolvedImage,
        room: Option<ImageRoom>,
        terms: &LookTerms,
    ) -> Result<Option<ServedPass>, LookupError> {
        let limits = &terms.limits;
        let budget = Arc::new(UnpackBudget::of_image(limits.image_mib));
        let look = ImageLook { gate: self, registry, way, image, limits, budget };
        if resolved.layers.len() != resolved.diff_ids.len() {
            let (layers, named) = (resolved.layers.len(), resolved.diff_ids.len());
            return Err(participant(LayerFlaw::Broken(format!(
                "it has {layers} layers, and its configuration names {named}"
            ))));
        }
        let holds = self.images.as_ref().map(|images| images.hold(resolved));
        let layers = resolved.layers.iter().zip(&resolved.diff_ids);
        let looks: Vec<_> = layers.map(|(layer, diff_id)| look.layer(layer, diff_id)).collect();
        let trees: Vec<Arc<LayerTree>> = stream::iter(looks).buffered(LAYERS_AT_ONCE).try_collect().await?;
        let plan = MountPlan {
            volumes: &resolved.volumes,
            writable: &terms.writable,
            working_dir: &resolved.working_dir,
        };
        ImageTree::new(&trees).check(&plan).map_err(participant)?;
        let served = self.images.as_ref().zip(holds);
        Ok(served.map(|(images, holds)| images.admit(image, resolved, holds, room)))
    }
}

impl ImageLook<'_> {
    async fn layer(&self, layer: &ImageLayer, diff_id: &Digest) -> Result<Arc<LayerTree>, LookupError> {
        let known = self.known(layer).await?;
        self.way.note_whole(&layer.digest);
        if known.size != layer.size {
            return Err(participant(LayerFlaw::Refused(format!(
                "its manifest says that layer {} has {} bytes, but it has {}",
                layer.digest, layer.size, known.size
            ))));
        }
        let content = known.content.map_err(participant)?;
        if content.diff_id != *diff_id {
            return Err(participant(LayerFlaw::Broken(format!(
                "layer {} is {} when it is decompressed, and the image's configuration names {diff_id}",
                layer.digest, content.diff_id
            ))));
        }
        Ok(content.tree)
    }

    /// Returns what is known about a layer, and reads the layer if nothing is.
    async fn known(&self, layer: &ImageLayer) -> Result<KnownLayer, LookupError> {
        if let Some(known) = self.recalled(layer)? {
            return Ok(known);
        }
        let turn = self.gate.turns.of(self.image.registry(), &layer.digest);
        self.way.follow(&layer.digest, &turn.arrived);
        let _turn = turn.turn.lock().await;
        match self.recalled(layer)? {
            Some(known) => Ok(known),
            None => self.read(layer, &turn.arrived).await,
        }
    }

    /// Returns what is known about a layer, unless its bytes are gone and nodes need them.
    fn recalled(&self, layer: &ImageLayer) -> Result<Option<KnownLayer>, LookupError> {
        let Some(known) = self.gate.memory.recall(&layer.digest) else { return Ok(None) };
        if let Ok(content) = &known.content {
            // If the manifest tells another size, the image is refused without its bytes.
            let is_gone = |blobs: &BlobStore| known.size == layer.size && !blobs.has(&layer.digest);
            if self.gate.blobs().is_some_and(is_gone) {
                return Ok(None);
            }
            self.budget.spend(content.unpacked, content.entries).map_err(participant)?;
        }
        Ok(Some(known))
    }

    async fn read(&self, layer: &ImageLayer, arrived: &AtomicU64) -> Result<KnownLayer, LookupError> {
        if let Some(known) = self.read_kept(layer).await? {
            return Ok(known);
        }
        let of_registry = self.gate.looks_of(self.image.registry());
        let _share = of_registry.acquire().await.map_err(stopping)?;
        let _look = self.gate.looks.acquire().await.map_err(stopping)?;
        let draft = self.begin_draft(layer.size).await?;
        let (sender, arriving) = ArrivingBytes::new();
        let mut arriving = KeptReader::new(arriving, draft);
        let budget = Arc::clone(&self.budget);
        let reading = spawn_blocking(move || (layer::read(&mut arriving, &budget), arriving.into_draft()));
        let limit = Duration::from_secs(self.limits.pull_s);
        let fetched = timeout(limit, self.fetch(layer, sender, arrived)).await.unwrap_or_else(|_| {
            Err(unavailable(&format!(
                "{} did not send layer {} within {} s",
                self.image.registry(),
                layer.digest,
                limit.as_secs()
            )))
        });
        let (reading, draft) = reading.await.map_err(a_bug)?;
        let (known, is_kept) = match fetched.and_then(|()| self.arrived(layer, reading)) {
            Ok(known) => {
                // An image whose manifest tells another size is refused.
                let is_kept = known.content.is_ok() && known.size == layer.size;
                (Ok(known), is_kept)
            }
            Err(error) => (Err(error), false),
        };
        finish_draft(draft, is_kept.then(|| layer.digest.clone())).await?;
        let known = known?;
        self.remember(layer, &known);
        Ok(known)
    }

    /// Returns the content of a layer that arrived, if it is the layer.
    fn arrived(&self, layer: &ImageLayer, reading: LayerReading) -> Result<KnownLayer, LookupError> {
        let digest = digest_of(&reading.digest);
        if digest != layer.digest {
            return Err(unavailable(&format!(
                "{} sent {digest} instead of layer {}",
                self.image.registry(),
                layer.digest
            )));
        }
        Ok(known_layer(reading))
    }

    /// Begins to keep a layer, if nodes get images from here.
    async fn begin_draft(&self, size: u64) -> Result<Option<BlobDraft>, LookupError> {
        let Some(blobs) = self.gate.blobs().cloned() else { return Ok(None) };
        let begun = spawn_blocking(move || blobs.begin(size)).await.map_err(a_bug)?;
        begun.map(Some).map_err(not_kept)
    }

    /// Reads a layer that an earlier process kept, or that memory forgot. Its bytes are checked again.
    async fn read_kept(&self, layer: &ImageLayer) -> Result<Option<KnownLayer>, LookupError> {
        let Some(blobs) = self.gate.blobs() else { return Ok(None) };
        let _look = self.gate.looks.acquire().await.map_err(stopping)?;
        // A damaged file must not use up the budget of the image.
        let budget = UnpackBudget::of_image(self.limits.image_mib);
        let (blobs, digest) = (blobs.clone(), layer.digest.clone());
        let read = move || {
            let reading = layer::read(blobs.read(&digest)?.0, &budget);
            if digest_of(&reading.digest) == digest {
                return Some(reading);
            }
            tracing::warn!("the gate's blob {digest} is damaged, and is fetched again");
            blobs.remove(&digest);
            None
        };
        let Some(reading) = spawn_blocking(read).await.map_err(a_bug)? else { return Ok(None) };
        let known = known_layer(reading);
        if let Ok(content) = &known.content {
            self.budget.spend(content.unpacked, content.entries).map_err(participant)?;
        }
        self.remember(layer, &known);
        Ok(Some(known))
    }

    fn remember(&self, layer: &ImageLayer, known: &KnownLayer) {
        // The budget may have been used up by the other layers.
        if !matches!(known.content, Err(LayerFlaw::TooLarge(_))) {
            self.gate.memory.remember(layer.digest.clone(), known.clone());
        }
    }

    /// Fetches a layer, and hands its pieces on. A stream that is longer than any allowed image is cut off.
    async fn fetch(
        &self,
        layer: &ImageLayer,
        sender: mpsc::Sender<Bytes>,
        arrived: &AtomicU64,
    ) -> Result<(), LookupError> {
        arrived.store(0, Ordering::Relaxed);
        let limit_s = self.limits.pull_s + LATE_S;
        let mut blob = self.registry.open_layer(self.image, layer, limit_s).await?;
        let mut left = self.limits.image_mib << 20;
        while let Some(piece) = blob.piece().await? {
            self.gate.metrics.count_layer_bytes(piece.len());
            arrived.fetch_add(piece.len() as u64, Ordering::Relaxed);
            left = left.checked_sub(piece.len() as u64).ok_or_else(|| {
                participant(LayerFlaw::TooLarge(format!(
                    "has a layer of more than {} MiB, and its manifest says {} bytes",
                    self.limits.image_mib, layer.size
                )))
            })?;
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

impl LayerTurns {
    fn of(&self, registry: &str, digest: &Digest) -> Arc<LayerTurn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let key = (registry.to_owned(), digest.clone());
        if let Some(turn) = turns.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn: Arc<LayerTurn> = Arc::default();
        turns.insert(key, Arc::downgrade(&turn));
        turn
    }
}

/// Puts a draft in its place, or removes it.
async fn finish_draft(draft: Option<BlobDraft>, digest: Option<Digest>) -> Result<(), LookupError> {
    let Some(draft) = draft else { return Ok(()) };
    let finish = move || digest.map_or(Ok(()), |digest| draft.keep(&digest));
    spawn_blocking(finish).await.map_err(a_bug)?.map_err(not_kept)
}

fn known_layer(reading: LayerReading) -> KnownLayer {
    let content = reading.content.map(|content| KnownContent {
        tree: Arc::new(content.tree),
        diff_id: digest_of(&content.digest),
        unpacked: content.size,
        entries: content.entries,
    });
    KnownLayer { size: reading.size, content }
}

fn stopping(_: AcquireError) -> LookupError {
    platform(InterruptionCode::VerifierStopped, "the verifier is stopping".to_owned())
}

fn a_bug(_: JoinError) -> LookupError {
    let why = "a layer could not be read by a bug; the log has the details";
    platform(InterruptionCode::LeaseExpired, why.to_owned())
}

fn not_kept(error: BlobStoreError) -> LookupError {
    platform(InterruptionCode::PullFailed, error.to_string())
}

fn participant(flaw: LayerFlaw) -> LookupError {
    let (code, message) = flaw.into_failure();
    LookupError::Participant(code, message)
}

#[cfg(test)]
mod tests;
