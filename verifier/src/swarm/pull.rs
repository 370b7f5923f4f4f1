//! The pull of an image to a node before the Swarm runs it there, through the node's own engine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use domain::ImageRef;
use futures::TryStreamExt;
use tokio::time::{Instant, timeout};

use super::api_error::ApiError;
use super::engine::Engine;
use super::{NodeId, PullOutcome};
use crate::fetching::ImageOnItsWay;
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
    way: &ImageOnItsWay,
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
    let noted = pulled.try_for_each(|news| {
        note(&news, way);
        std::future::ready(Ok(()))
    });
    noted.await?;
    let found = timeout(READ, docker.inspect_image(&name)).await.map_err(late)??;
    janitor::mark_image(&docker, &found.id.unwrap_or_default(), image).await?;
    Ok(PullOutcome::Pulled)
}

/// Notes how far a layer is. An engine names layers by the beginnings of their digests.
fn note(news: &CreateImageInfo, way: &ImageOnItsWay) {
    let (Some(layer), Some(status)) = (&news.id, &news.status) else { return };
    match status.as_str() {
        "Downloading" => {
            let arrived = news.progress_detail.as_ref().and_then(|detail| detail.current);
            way.note_layer(layer, arrived.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default());
        }
        "Already exists" | "Verifying Checksum" | "Download complete" | "Extracting" | "Pull complete" => {
            way.note_layer(layer, u64::MAX);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;
    use domain::SubmissionId;
    use domain::sandbox::FetchTarget;

    use super::*;
    use crate::fetching::FetchBoard;
    use crate::registry::{ImageLayer, digest_of};

    #[test]
    fn an_engines_words_say_how_far_an_image_is() {
        let layer = |byte| ImageLayer { digest: digest_of(&[byte; 32]), size: 1000 };
        let image = "ada/app".parse().unwrap();
        let id = SubmissionId(uuid::Uuid::nil());
        let way = FetchBoard::default().begin(id, &image, FetchTarget::Node, &[layer(1), layer(2), layer(3)]);
        for (layer, status, current, arrived) in [
            ("latest", "Pulling from ada/app", None, 0),
            ("010101010101", "Pulling fs layer", None, 0),
            ("020202020202", "Already exists", None, 1000),
            ("010101010101", "Downloading", Some(250), 1250),
            ("010101010101", "Download complete", None, 2000),
            ("010101010101", "Extracting", Some(70_000), 2000),
            ("030303030303", "Downloading", Some(1), 2001),
        ] {
            let progress_detail = Some(ProgressDetail { current, total: None });
            let (id, status) = (Some(layer.to_owned()), Some(status.to_owned()));
            note(&CreateImageInfo { id, status, progress_detail, ..Default::default() }, &way);
            assert_eq!(way.bytes(), arrived);
        }
    }
}
