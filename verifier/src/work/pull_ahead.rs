//! The pull of a submission's images to the node on which they will run, before a slot of that node is taken. So a large image keeps
//! no slot from others. A node whose engine is out of reach pulls when the Swarm tells it to, within the slot.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::sandbox::FetchTarget;
use domain::submission::{InterruptionCode, PlatformFault};
use domain::{Digest, ImageRef, SubmissionId};
use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::gate::RunnableImage;
use crate::metrics::AttemptStep;
use crate::registry::ImageLayer;
use crate::sandbox::slots::NodeHome;
use crate::swarm::{NodeId, PullOutcome, SwarmError};
use crate::work::attempt::AttemptRunner;
use crate::work::slot_run::RunContext;

/// The number of submissions whose images are pulled to one node at the same time.
const PULLS_BY_NODE: usize = 4;

/// The number of layers that are remembered for each node.
const LAYERS_MAX: usize = 1024;

/// The images of a submission on the node where they will run.
pub(crate) struct PulledAhead {
    pub(super) home: NodeHome,
    pub(super) pulls: AheadPulls,
}

/// How the pulls to a node ended.
#[derive(Default)]
pub(crate) struct AheadPulls {
    /// The time that each took.
    pub(super) took: BTreeMap<ImageRef, Duration>,
    /// The engine's words about each pull that failed. A task tells only that it has no image.
    pub(super) failed: BTreeMap<ImageRef, String>,
}

/// The pulls to nodes, and the layers that they brought.
#[derive(Default)]
pub(crate) struct NodePulls(Mutex<HashMap<NodeId, PullsOfNode>>);

struct PullsOfNode {
    turns: Arc<Semaphore>,
    /// The layers that were pulled last. The engine may have removed some since, which costs a preference and nothing else.
    layers: VecDeque<Digest>,
}

/// The result of a pull of one image.
type ImagePull = Result<PullOutcome, PullFault>;

enum PullFault {
    Late,
    Failed(SwarmError),
}

impl NodePulls {
    /// Returns the bytes of these images' layers that a node was given before.
    fn bytes_on(&self, node: &NodeId, images: &[(ImageRef, RunnableImage)]) -> u64 {
        let known = self.known();
        let Some(PullsOfNode { layers, .. }) = known.get(node) else { return 0 };
        let all = images.iter().flat_map(|(_, resolved)| &resolved.layers);
        all.filter(|layer| layers.contains(&layer.digest)).map(|layer| layer.size).sum()
    }

    fn note(&self, node: &NodeId, brought: &[ImageLayer]) {
        let mut known = self.known();
        let PullsOfNode { layers, .. } = known.entry(node.clone()).or_default();
        for layer in brought {
            if !layers.contains(&layer.digest) {
                layers.push_back(layer.digest.clone());
            }
        }
        layers.drain(..layers.len().saturating_sub(LAYERS_MAX));
    }

    fn turns_of(&self, node: &NodeId) -> Arc<Semaphore> {
        Arc::clone(&self.known().entry(node.clone()).or_default().turns)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<NodeId, PullsOfNode>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for PullsOfNode {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(PULLS_BY_NODE)), layers: VecDeque::new() }
    }
}

impl AttemptRunner {
    /// Chooses a node for these images, and pulls them there. Returns `None` if the Swarm should pull them, because no node can be
    /// chosen or its engine cannot be asked. The faults are those of images that did not arrive in time.
    pub(super) async fn pull_ahead(
        &self,
        context: &RunContext,
        id: SubmissionId,
        avoid: Option<&NodeId>,
        images: &[(ImageRef, RunnableImage)],
    ) -> (Option<PulledAhead>, BTreeMap<ImageRef, PlatformFault>) {
        let mut faults = BTreeMap::new();
        let weight = |node: &NodeId| self.pulls.bytes_on(node, images);
        let grade = context.challenge.sandbox.grade;
        let Some(home) = context.slots.choose_home(avoid, grade, weight) else { return (None, faults) };
        let node = home.node().clone();
        let turns = self.pulls.turns_of(&node);
        // The semaphore is never closed.
        let Ok(_turn) = turns.acquire().await else { return (None, faults) };
        let limit = Duration::from_secs(context.challenge.limits.pull_s);
        let pulls = images.iter().map(|(image, resolved)| {
            let node = &node;
            let way = self.fetches.begin(id, image, FetchTarget::Node, &resolved.layers);
            async move {
                let began = Instant::now();
                let pulled = timeout(limit, context.swarm.pull(node, &resolved.pull_name, &way)).await;
                let pulled: ImagePull = match pulled {
                    Ok(pulled) => pulled.map_err(PullFault::Failed),
                    Err(_) => Err(PullFault::Late),
                };
                (image, resolved, pulled, began.elapsed())
            }
        });
        let pulled = self.metrics.time(AttemptStep::PullAhead, join_all(pulls)).await;
        let mut pulls = AheadPulls::default();
        for (image, resolved, pulled, time) in pulled {
            match pulled {
                Ok(PullOutcome::OutOfReach) => return (None, faults),
                Ok(PullOutcome::Pulled | PullOutcome::WasThere) => {
                    self.pulls.note(&node, &resolved.layers);
                    pulls.took.insert(image.clone(), time);
                }
                // The slot's own pull fails in the same way, and is told from a fault of the node by the ledger.
                Err(PullFault::Failed(error)) => {
                    tracing::info!(%error, "could not pull {image} to node {node} ahead of its slot");
                    pulls.failed.insert(image.clone(), error.to_string());
                }
                Err(PullFault::Late) => {
                    let late = format!("the image did not arrive on the node within {} s", limit.as_secs());
                    faults.insert(image.clone(), PlatformFault::new(InterruptionCode::PullFailed, late));
                }
            }
        }
        (Some(PulledAhead { home, pulls }), faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::digest_of;

    #[test]
    fn a_node_is_known_by_the_layers_that_it_was_given_last() {
        let pulls = NodePulls::default();
        let (one, other) = (NodeId::new("n1"), NodeId::new("n2"));
        let layer = |n: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            ImageLayer { digest: digest_of(&bytes), size: 10 }
        };
        pulls.note(&one, &[layer(0), layer(1), layer(0)]);
        pulls.note(&other, &(2..2000).map(layer).collect::<Vec<_>>());
        let count = |node: &NodeId| pulls.known()[node].layers.len();
        assert_eq!((count(&one), count(&other)), (2, LAYERS_MAX));
        assert!(pulls.known()[&other].layers.contains(&layer(1999).digest));
    }
}
