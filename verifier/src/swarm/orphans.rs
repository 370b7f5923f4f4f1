//! The removal of containers that no slot needs any more from one engine. An engine that hangs, or a container that it cannot
//! remove, delays no other removal.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions};
use futures::{StreamExt, stream};
use tokio::time::timeout;

use super::api_error::ApiError;
use super::engine::Engine;
use super::{IsLive, NodeId, OrphanSweep, StuckContainer, label};

/// The time for all removals from one engine.
const SWEEP: Duration = Duration::from_secs(22);
/// The time for one removal. An engine that is well needs less than a second.
const REMOVAL: Duration = Duration::from_secs(10);
/// The number of containers that are removed at once.
const AT_ONCE: usize = 8;

/// Removes the verifier's containers of slots that are not live.
pub(super) async fn remove(engine: &Engine, verifier: &str, is_live: IsLive<'_>) -> OrphanSweep {
    let mut stuck = Vec::new();
    let endpoint = engine.endpoint();
    let answered = match timeout(SWEEP, sweep(engine, verifier, is_live, &mut stuck)).await {
        Ok(Ok(node)) => node.into_iter().collect(),
        Ok(Err(error)) => {
            tracing::debug!(%error, "could not remove all orphaned containers from the engine {endpoint}");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!("the engine {endpoint} took too long to remove orphaned containers");
            Vec::new()
        }
    };
    OrphanSweep { stuck, answered }
}

/// Returns the engine's node if the fate of each container is known.
async fn sweep(
    engine: &Engine,
    verifier: &str,
    is_live: IsLive<'_>,
    stuck: &mut Vec<StuckContainer>,
) -> Result<Option<NodeId>, ApiError> {
    let docker = engine.docker()?;
    let node = docker.info().await?.swarm.and_then(|swarm| swarm.node_id).map(NodeId::new);
    let orphans = list(&docker, verifier, is_live).await?;
    let remove = async |id: String| {
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        let removed = timeout(REMOVAL, docker.remove_container(&id, Some(options))).await;
        (id, removed.map(|removed| removed.map_err(ApiError::from)))
    };
    let mut removals = stream::iter(orphans).map(remove).buffer_unordered(AT_ONCE);
    while let Some((id, removed)) = removals.next().await {
        match removed {
            // The container may have been removed meanwhile.
            Ok(Ok(()) | Err(ApiError::NotFound(_))) => {}
            // It hangs, an earlier removal has not ended, or the engine fails at it.
            removed => {
                if let Ok(Err(error)) = removed {
                    tracing::debug!(%error, "could not remove the orphaned container {id}");
                }
                stuck.extend(node.clone().map(|node| StuckContainer { node, id }));
            }
        }
    }
    Ok(node)
}

async fn list(docker: &Docker, verifier: &str, is_live: IsLive<'_>) -> Result<Vec<String>, ApiError> {
    let ours = format!("{}={verifier}", label::VERIFIER);
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), vec![ours])])),
        ..Default::default()
    };
    let listed = docker.list_containers(Some(options)).await?;
    let orphans = listed.into_iter().filter_map(|container| {
        let labels = container.labels.unwrap_or_default();
        let slot = labels.get(label::SLOT).map_or("", String::as_str);
        container.id.filter(|_| !is_live(slot))
    });
    Ok(orphans.collect())
}
