//! The pull of an image to a node before the Swarm runs it there, through the node's own engine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptions;
use domain::ImageRef;
use futures::TryStreamExt;
use tokio::time::{Instant, timeout};

use super::api_error::ApiError;
use super::engine::Engine;
use super::{NodeId, PullOutcome};
use crate::janitor;

/// The time that an engine has to say which image it has.
const READ: Duration = Duration::from_secs(10);

/// The time for which it holds which engine a node has. An engine that joins another Swarm gets a pull too many until then.
const HOLDS: Duration = Duration::from_secs(60);

/// The engines of nodes, as far as they were sought. The search asks all engines, and a pull is not worth that each time.
#[derive(Default)]
pub(super) struct EnginesOfNodes(Mutex<KnownEngines>);

/// The engine of each node, if it is one of ours, and when it was sought.
type KnownEngines = HashMap<NodeId, (Instant, Option<Arc<Engine>>)>;

impl EnginesOfNodes {
    /// Returns the engine of a node, or `None` if it is not known or was found to be none of ours.
    pub(super) fn recall(&self, node: &NodeId) -> Option<Option<Arc<Engine>>> {
        let known = self.known();
        let (at, engine) = known.get(node)?;
        (at.elapsed() < HOLDS).then(|| engine.clone())
    }

    pub(super) fn note(&self, node: &NodeId, engine: Option<Arc<Engine>>) {
        let mut known = self.known();
        known.retain(|_, (at, _)| at.elapsed() < HOLDS);
        known.insert(node.clone(), (Instant::now(), engine));
    }

    fn known(&self) -> MutexGuard<'_, KnownEngines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pulls an image to the node of this engine, unless it is there. Marks it as a participant's, because no container of it may ever
/// be made there.
pub(super) async fn pull(
    engine: &Engine,
    image: &ImageRef,
    credentials: Option<DockerCredentials>,
) -> Result<PullOutcome, ApiError> {
    let docker = engine.docker()?;
    let name = image.to_string();
    let late = |_| ApiError::Unavailable(format!("no answer within {READ:?}"));
    match timeout(READ, docker.inspect_image(&name)).await.map_err(late)?.map_err(ApiError::from) {
        Ok(_) => return Ok(PullOutcome::WasThere),
        Err(ApiError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    let options = CreateImageOptions { from_image: Some(name.clone()), ..Default::default() };
    let pulled = docker.create_image(Some(options), None, credentials);
    pulled.try_for_each(|_| std::future::ready(Ok(()))).await?;
    let found = timeout(READ, docker.inspect_image(&name)).await.map_err(late)??;
    janitor::mark_image(&docker, &found.id.unwrap_or_default(), image).await?;
    Ok(PullOutcome::Pulled)
}
