//! The gate in this process.

use async_trait::async_trait;
use domain::sandbox::{FetchTarget, SandboxRegistry};
use futures::future::join_all;
use tokio::sync::watch;

use super::image_gate::{AskedImage, ImageGate, Look, LookPass, LookRequest, LookedImage, RunnableImage};
use super::layer_gate::LayerGate;
use super::served_images::{ImageSource, ServedImages};
use crate::fetching::FetchBoard;
use crate::metrics::{AttemptStep, VerifierMetrics};
use crate::registry::{LookupError, RegistryClient, ResolvedImage};

/// A gate with its connections to registries, and with the images that it serves, if it does.
pub(crate) struct LocalGate {
    registry: RegistryClient,
    layers: LayerGate,
    source: ImageSource,
    trouble: watch::Sender<Option<String>>,
    metrics: VerifierMetrics,
}

impl LocalGate {
    /// Makes a gate. `served` are the images that nodes get from it; `None` if they pull from the registries.
    pub(crate) fn new(
        registry: RegistryClient,
        served: Option<ServedImages>,
        metrics: VerifierMetrics,
    ) -> Self {
        let source = served.as_ref().map_or(ImageSource::Registries, ServedImages::source);
        let layers = LayerGate::new(served, metrics.clone());
        Self { registry, layers, source, trouble: watch::Sender::new(None), metrics }
    }

    fn runnable(&self, asked: &AskedImage, resolved: ResolvedImage) -> RunnableImage {
        RunnableImage {
            pull_name: self.source.name(&asked.image, &resolved.digest),
            digest: resolved.digest,
            size_bytes: resolved.size_bytes,
            volumes: resolved.volumes,
            exposed_ports: resolved.exposed_ports,
            layers: resolved.layers,
            labels: resolved.labels,
        }
    }
}

#[async_trait]
impl ImageGate for LocalGate {
    async fn look(&self, request: &LookRequest, board: &FetchBoard) -> Look {
        let terms = &request.terms;
        self.registry.also_allow(&terms.registry_hosts);
        let lookups = request.images.iter().map(|asked| {
            let found = self.registry.look_up(&asked.image, asked.known.as_ref(), &terms.limits);
            self.metrics.time(AttemptStep::Lookup, found)
        });
        let found = join_all(lookups).await;
        let resolved: Vec<&ResolvedImage> = found.iter().flatten().collect();
        let mut rooms = match self.layers.room_for(&resolved).await {
            Ok(rooms) => Ok(rooms.into_iter()),
            Err(fault) => Err(fault),
        };
        let looks = request.images.iter().zip(found).map(|(asked, found)| {
            let room = match (&found, &mut rooms) {
                (Ok(_), Ok(rooms)) => Ok(rooms.next().flatten()),
                (Ok(_), Err(fault)) => Err(LookupError::Platform(fault.clone())),
                (Err(_), _) => Ok(None),
            };
            async move {
                let image = asked.image.clone();
                let resolved = match found {
                    Ok(resolved) => resolved,
                    Err(error) => {
                        let looked = LookedImage { image, digest: asked.known.clone(), outcome: Err(error) };
                        return (looked, None);
                    }
                };
                let digest = Some(resolved.digest.clone());
                let into = async {
                    let way = board.begin(
                        request.submission,
                        &asked.image,
                        FetchTarget::Verifier,
                        &resolved.layers,
                    );
                    let look =
                        self.layers.look_into(&self.registry, &way, &asked.image, &resolved, room?, terms);
                    self.metrics.time(AttemptStep::Gate, look).await
                };
                match into.await {
                    Ok(pass) => {
                        let outcome = Ok(self.runnable(asked, resolved));
                        (LookedImage { image, digest, outcome }, pass)
                    }
                    Err(error) => (LookedImage { image, digest, outcome: Err(error) }, None),
                }
            }
        });
        let (images, passes): (Vec<_>, Vec<_>) = join_all(looks).await.into_iter().unzip();
        Look { images, pass: LookPass { _served: passes.into_iter().flatten().collect(), open: None } }
    }

    fn limited(&self) -> watch::Receiver<Vec<SandboxRegistry>> {
        self.registry.limited()
    }

    fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }
}
