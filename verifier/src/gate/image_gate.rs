//! The gate as a verifier sees it: one trait for the gate in its own process and for one elsewhere. Both keep the contract in `contract.rs`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::challenge::ResourceLimits;
use domain::sandbox::SandboxRegistry;
use domain::submission::PlatformFault;
use domain::{Challenge, Digest, ImageRef, SubmissionId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::remote_gate::OpenLook;
use super::served_images::ServedPass;
use crate::fetching::FetchBoard;
use crate::registry::{ImageLayer, LookupError};

/// A gate: looks the images of a submission up in their registries, and looks into their layers.
#[async_trait]
pub(crate) trait ImageGate: Send + Sync {
    /// Looks at the images of a submission. The board has those that are on their way to the gate meanwhile. Each image gets an outcome,
    /// in the order of the request. A gate that is away is the platform's fault. If the future is dropped, the look ends.
    async fn look(&self, request: &LookRequest, board: &FetchBoard) -> Look;

    /// Returns the registries that limit requests. The receiver is told of pauses, and not of each pull that is left.
    fn limited(&self) -> watch::Receiver<Vec<SandboxRegistry>>;

    /// Returns the reason why no image can be looked at now, in a sentence for the operator; holds `None` while some can.
    fn trouble(&self) -> watch::Receiver<Option<String>>;
}

/// A request for a look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LookRequest {
    pub(crate) submission: SubmissionId,
    pub(crate) images: Vec<AskedImage>,
    pub(crate) terms: LookTerms,
}

/// An image to be looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AskedImage {
    pub(crate) image: ImageRef,
    /// The digest that an earlier attempt resolved the name to.
    pub(crate) known: Option<Digest>,
}

/// The part of a challenge that decides about an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LookTerms {
    pub(crate) limits: ResourceLimits,
    /// The challenge's further writable paths.
    pub(crate) writable: Vec<String>,
    /// The domains to which registries may send their clients, beside those that are known.
    pub(crate) registry_hosts: BTreeMap<String, Vec<String>>,
}

/// The outcome of a look.
pub(crate) struct Look {
    pub(crate) images: Vec<LookedImage>,
    /// The permission that nodes get those that can be run.
    pub(crate) pass: LookPass,
}

/// The outcome of a look at one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LookedImage {
    pub(crate) image: ImageRef,
    /// The image's digest, if it is known, also if the image cannot be run.
    pub(crate) digest: Option<Digest>,
    pub(crate) outcome: Result<RunnableImage, LookupError>,
}

/// An image that passed the look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunnableImage {
    pub(crate) digest: Digest,
    /// The name by which nodes pull it.
    pub(crate) pull_name: String,
    /// The compressed size, bytes.
    pub(crate) size_bytes: u64,
    /// The paths that the image declares as volumes.
    pub(crate) volumes: Vec<String>,
    /// The TCP ports that the image exposes.
    pub(crate) exposed_ports: Vec<u16>,
    /// The layers, the lowest first.
    pub(crate) layers: Vec<ImageLayer>,
    /// The names of the labels that the container must override.
    pub(crate) labels: Vec<String>,
}

/// The permission that nodes get the images of a look from the gate, until it is dropped. If the nodes pull from the registries, it
/// permits nothing more.
#[derive(Debug, Default)]
pub(crate) struct LookPass {
    pub(super) _served: Vec<ServedPass>,
    pub(super) open: Option<OpenLook>,
}

impl LookTerms {
    pub(crate) fn of(challenge: &Challenge) -> Self {
        Self {
            limits: challenge.limits.clone(),
            writable: challenge.sandbox.writable.clone(),
            registry_hosts: challenge.images.registry_hosts.clone(),
        }
    }
}

impl Look {
    /// Makes the outcome of a look that the platform could not make.
    pub(super) fn failed(request: &LookRequest, fault: &PlatformFault) -> Self {
        let images = request.images.iter().map(|asked| LookedImage {
            image: asked.image.clone(),
            digest: asked.known.clone(),
            outcome: Err(LookupError::Platform(fault.clone())),
        });
        Self { images: images.collect(), pass: LookPass::default() }
    }
}

impl LookPass {
    /// Returns true if the gate gave the permission up, because it ended or cannot be reached.
    pub(crate) fn is_void(&self) -> bool {
        self.open.as_ref().is_some_and(OpenLook::is_void)
    }
}
