//! Removes ended containers and unused participants' images from one node, through the node's own engine
//! alone, so that it works while no manager is alive.
//!
//! Only Muster's containers and participants' images are removed. A container is Muster's if it has Muster's
//! labels, which also hold its lifetime. An image is a participant's once Muster pulled it ahead or created a container
//! from it: the image then gets a tag in its own repository, `muster-` and the beginning of its id. So
//! the engine keeps this record over restarts of both programs. An image that has another tag too belongs to
//! the operator.
//!
//! No image is removed between its pull and the creation of its container. A pulled image has no such tag
//! yet, a recently used image is not idle, and the engine refuses to remove an image that a container uses.

mod mark;
mod plan;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, EventMessage, ImageSummary};
use bollard::query_parameters::{
    EventsOptions, ListContainersOptions, ListImagesOptions, RemoveContainerOptions, RemoveImageOptions,
    TagImageOptions,
};
use domain::ImageRef;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::plan::{ParticipantImage, to_remove};
use crate::SettingsError;
use crate::swarm::{ApiError, Engine, label};

/// The timeout of a call. An engine that removes many things at once is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time that the engine has to remove one container. An engine that is well needs less than a second.
const REMOVAL: Duration = Duration::from_secs(20);

/// The number of containers that are removed at once.
const REMOVALS_AT_ONCE: usize = 8;

/// The pause before the next try after the engine failed.
const PAUSE: Duration = Duration::from_secs(5);

/// The age in seconds from which a container of Muster without a lifetime is removed if it does not run.
const ABANDONED_S: i64 = 600;

/// The time after its end from which a container of Muster is removed. Such containers are left behind when a
/// Swarm lost its managers and was restored from an older state.
const ENDED: Duration = Duration::from_secs(60);

/// The rules for the removal of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Housekeeping {
    /// The time for which a participant's image is kept after its last use.
    pub keep: Duration,
    /// The limit for the size of all participants' images, MiB. Beyond it, the images that were idle for
    /// longest are removed first. Images that were used a few minutes ago are kept.
    pub space_mib: u64,
    /// The interval between two rounds.
    pub every: Duration,
}

/// The janitor of one node.
pub struct Janitor {
    engine: Arc<Engine>,
    rules: Housekeeping,
    /// The last use of each participant's image, by its id. For images that were used before the janitor's
    /// start, this is the moment of the first round.
    used: HashMap<String, Instant>,
    /// The moment at which each container of Muster was first found to have ended, by its id.
    ended: HashMap<String, Instant>,
}

impl Default for Housekeeping {
    fn default() -> Self {
        Self { keep: Duration::from_secs(3600), space_mib: 20 << 10, every: Duration::from_secs(30) }
    }
}

impl Janitor {
    /// Makes a janitor for the node whose engine is at `unix:///PATH` or `tcp://HOST:PORT`. TCP connections
    /// use the certificates in the directory, if one is given.
    ///
    /// # Errors
    /// If the address or the certificates cannot be used.
    pub fn new(
        engine: &str,
        certificates: Option<&Path>,
        rules: Housekeeping,
    ) -> Result<Self, SettingsError> {
        let engines = crate::swarm::engines(&[engine.to_owned()], certificates)?;
        let engine = engines.into_iter().next().ok_or(SettingsError::NoSwarm)?;
        Ok(Self::for_engine(engine, rules))
    }

    pub(crate) fn for_engine(engine: Arc<Engine>, rules: Housekeeping) -> Self {
        Self { engine, rules, used: HashMap::new(), ended: HashMap::new() }
    }

    /// Works until `stopping`. While the engine does not answer, tries again.
    pub async fn run(mut self, stopping: CancellationToken) {
        let work = async {
            loop {
                if let Err(error) = self.work().await {
                    let endpoint = self.engine.endpoint();
                    tracing::debug!(%error, "the janitor of {endpoint} failed; trying again");
                }
                sleep(PAUSE).await;
            }
        };
        stopping.run_until_cancelled(work).await;
    }

    /// Handles the engine's events and makes rounds, until the engine ends the stream of events.
    async fn work(&mut self) -> Result<(), ApiError> {
        let docker = self.engine.docker()?;
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            // A container that could not be created has no other event than `destroy`.
            ("event".to_owned(), ["create", "die", "destroy"].map(str::to_owned).into()),
            ("label".to_owned(), vec![label::SUBMISSION.to_owned()]),
        ]);
        // The first round sees everything that happened before the first event.
        let since = Some(self.now().await?.as_second().to_string());
        let mut events = Box::pin(docker.events(Some(EventsOptions {
            since,
            filters: Some(filters),
            ..Default::default()
        })));
        let mut rounds = interval(self.rules.every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.handle_event(&docker, event?).await?,
                    None => return Ok(()),
                },
                _ = rounds.tick() => self.make_round(&docker).await?,
            }
        }
    }

    /// Notes the use of the image of a container that was created, ended, or could not be created.
    async fn handle_event(&mut self, docker: &Docker, event: EventMessage) -> Result<(), ApiError> {
        let attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
        let Some(image) = attributes.get("image").and_then(|image| image.parse::<ImageRef>().ok()) else {
            return Ok(());
        };
        match in_time(docker.inspect_image(&image.to_string())).await {
            Ok(found) => self.note_use(docker, &found.id.unwrap_or_default(), &image).await,
            Err(ApiError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Notes that an image is used. Tags the image at its first use.
    async fn note_use(&mut self, docker: &Docker, id: &str, image: &ImageRef) -> Result<(), ApiError> {
        if mark::tag(id).is_none() || self.used.insert(id.to_owned(), Instant::now()).is_some() {
            return Ok(());
        }
        mark_image(docker, id, image).await
    }

    /// Returns the time of the engine's own clock, by which the engine dates containers.
    async fn now(&self) -> Result<Timestamp, ApiError> {
        let late = |_| ApiError::Unavailable(format!("no answer within {PATIENCE:?}"));
        timeout(PATIENCE, self.engine.clock()).await.map_err(late)?
    }

    async fn make_round(&mut self, docker: &Docker) -> Result<(), ApiError> {
        let now = self.now().await?.as_second();
        let options = ListContainersOptions { all: true, ..Default::default() };
        let containers = in_time(docker.list_containers(Some(options))).await?;
        self.note_ends(&containers);
        let over =
            containers.iter().filter(|container| is_over(container, now) || self.is_forgotten(container));
        remove_containers(docker, over.filter_map(|container| container.id.as_deref())).await;
        let mut in_use = HashSet::new();
        for container in &containers {
            let Some(id) = &container.image_id else { continue };
            in_use.insert(id.clone());
            let image = container.image.as_ref().and_then(|image| image.parse::<ImageRef>().ok());
            if let Some(image) = image.filter(|_| has(container, label::SUBMISSION)) {
                self.note_use(docker, id, &image).await?;
            }
        }
        self.remove_idle_images(docker, &in_use).await
    }

    /// Notes which of Muster's containers have ended, and forgets those that were removed.
    fn note_ends(&mut self, containers: &[ContainerSummary]) {
        let ended = containers.iter().filter(|container| has_ended(container));
        let known = std::mem::take(&mut self.ended);
        let since = |id: &str| known.get(id).copied().unwrap_or_else(Instant::now);
        self.ended =
            ended.filter_map(|container| container.id.clone()).map(|id| (id.clone(), since(&id))).collect();
    }

    /// Returns true if a container ended long ago and was not removed since.
    fn is_forgotten(&self, container: &ContainerSummary) -> bool {
        let since = container.id.as_ref().and_then(|id| self.ended.get(id));
        since.is_some_and(|since| since.elapsed() >= ENDED)
    }

    async fn remove_idle_images(
        &mut self,
        docker: &Docker,
        in_use: &HashSet<String>,
    ) -> Result<(), ApiError> {
        let images = in_time(docker.list_images(None::<ListImagesOptions>)).await?;
        let of_participants: HashMap<&str, &ImageSummary> = images
            .iter()
            .filter(|image| mark::is_marked(&image.id, &image.repo_tags))
            .map(|image| (image.id.as_str(), image))
            .collect();
        let now = Instant::now();
        self.used.retain(|id, _| of_participants.contains_key(id.as_str()));
        let images = of_participants.values().map(|image| {
            let used = self.used.entry(image.id.clone()).or_insert(now);
            if in_use.contains(&image.id) {
                *used = now;
            }
            let bytes = image.size.try_into().unwrap_or(0);
            ParticipantImage { id: image.id.clone(), bytes, idle: now.duration_since(*used) }
        });
        let mut failed_before = false;
        for ParticipantImage { id, idle, .. } in to_remove(images.collect(), &self.rules) {
            tracing::info!("removing image {id}, which was idle for {} s", idle.as_secs());
            match remove_image(docker, of_participants[id.as_str()]).await {
                Ok(()) => failed_before = false,
                // An engine that does not answer would take its time for each image. One image that the engine cannot
                // remove keeps no others.
                Err(error @ ApiError::Unavailable(_)) if failed_before => return Err(error),
                Err(error) => {
                    failed_before = matches!(error, ApiError::Unavailable(_));
                    tracing::warn!(%error, "could not remove image {id}; a later round tries again");
                }
            }
        }
        Ok(())
    }
}

/// Tags an image as a participant's, so that it is removed when it is idle.
pub(crate) async fn mark_image(docker: &Docker, id: &str, image: &ImageRef) -> Result<(), ApiError> {
    let Some(tag) = mark::tag(id) else { return Ok(()) };
    let repository = format!("{}/{}", image.registry(), image.repository());
    let options = TagImageOptions { repo: Some(repository), tag: Some(tag) };
    unless_gone(in_time(docker.tag_image(id, Some(options))).await)
}

/// Removes containers side by side. One that the engine cannot remove delays neither the others nor the round for long.
async fn remove_containers(docker: &Docker, ids: impl Iterator<Item = &str>) {
    let remove = async |id: &str| {
        tracing::warn!("removing container {id}, which has ended or is past its lifetime");
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        let removed = timeout(REMOVAL, docker.remove_container(id, Some(options))).await;
        let late = |_| ApiError::Unavailable(format!("no answer within {REMOVAL:?}"));
        let removed = removed.map_err(late).and_then(|removed| Ok(removed?));
        if let Err(error) = unless_gone(removed) {
            tracing::warn!(%error, "could not remove container {id}; a later round tries again");
        }
    };
    let removals = stream::iter(ids).for_each_concurrent(REMOVALS_AT_ONCE, remove);
    if timeout(PATIENCE, removals).await.is_err() {
        tracing::warn!("not all containers could be removed within {PATIENCE:?}; a later round goes on");
    }
}

/// Removes an image, unless a container has started to use it.
async fn remove_image(docker: &Docker, image: &ImageSummary) -> Result<(), ApiError> {
    // An image in several repositories is removed from all but one of them first.
    for name in mark::of_other_repositories(&image.repo_tags) {
        unless_gone(in_time(docker.remove_image(&name, None::<RemoveImageOptions>, None)).await.map(drop))?;
    }
    unless_gone(in_time(docker.remove_image(&image.id, None::<RemoveImageOptions>, None)).await.map(drop))
}

/// Returns true if a container is Muster's and past its lifetime, by the engine's clock.
fn is_over(container: &ContainerSummary, now: i64) -> bool {
    let labels = container.labels.as_ref();
    let ttl = labels.and_then(|labels| labels.get(label::TTL)).and_then(|ttl| ttl.parse::<i64>().ok());
    let age = now.saturating_sub(container.created.unwrap_or(now));
    let runs = container.state == Some(ContainerSummaryStateEnum::RUNNING);
    has(container, label::VERIFIER)
        && match ttl {
            Some(ttl) => age > ttl,
            None => !runs && age > ABANDONED_S,
        }
}

/// Returns true if a container is Muster's and has ended.
fn has_ended(container: &ContainerSummary) -> bool {
    use ContainerSummaryStateEnum::{DEAD, EXITED};
    has(container, label::VERIFIER) && matches!(container.state, Some(EXITED | DEAD))
}

fn has(container: &ContainerSummary, label: &str) -> bool {
    container.labels.as_ref().is_some_and(|labels| labels.contains_key(label))
}

/// Turns the errors of a removal into success if the object is gone, is being removed, or is in use again.
fn unless_gone(result: Result<(), ApiError>) -> Result<(), ApiError> {
    match result {
        Err(ApiError::NotFound(_) | ApiError::Conflict(_)) => Ok(()),
        other => other,
    }
}

/// Awaits an engine's answer within [`PATIENCE`], because the client's own timeout ends at the response's
/// headers.
async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, ApiError> {
    let late = |_| ApiError::Unavailable(format!("no answer within {PATIENCE:?}"));
    Ok(timeout(PATIENCE, answer).await.map_err(late)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_of_muster_is_over_after_its_lifetime() {
        let container = |labels: &[(&str, &str)], state| ContainerSummary {
            labels: Some(
                labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ),
            state: Some(state),
            created: Some(1000),
            ..Default::default()
        };
        use ContainerSummaryStateEnum::{CREATED, RUNNING};
        let app = container(&[("muster.verifier", "v"), ("muster.ttl", "60")], RUNNING);
        assert!(!is_over(&app, 1060) && is_over(&app, 1061));
        // A clock that was set back ends no container.
        assert!(!is_over(&app, 0));
        let relay = [("muster.verifier", "v")];
        assert!(!is_over(&container(&relay, RUNNING), 1_000_000));
        assert!(!is_over(&container(&relay, CREATED), 1600) && is_over(&container(&relay, CREATED), 1601));
        assert!(!is_over(&container(&[("muster.ttl", "60")], RUNNING), 1_000_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_of_muster_that_ended_counts_as_forgotten_after_a_minute() {
        use ContainerSummaryStateEnum::{EXITED, RUNNING};
        let container = |id: &str, label: &str, state| ContainerSummary {
            id: Some(id.to_owned()),
            labels: Some([(label.to_owned(), "v".to_owned())].into()),
            state: Some(state),
            ..Default::default()
        };
        let seen = [
            container("ended", label::VERIFIER, EXITED),
            container("runs", label::VERIFIER, RUNNING),
            container("foreign", "v", EXITED),
        ];
        let mut janitor = Janitor::new("unix:///nobody", None, Housekeeping::default()).unwrap();
        janitor.note_ends(&seen);
        tokio::time::advance(ENDED - Duration::from_secs(1)).await;
        janitor.note_ends(&seen);
        assert!(!janitor.is_forgotten(&seen[0]));
        tokio::time::advance(Duration::from_secs(1)).await;
        janitor.note_ends(&seen);
        assert!(janitor.is_forgotten(&seen[0]));
        assert!(!janitor.is_forgotten(&seen[1]) && !janitor.is_forgotten(&seen[2]));
        janitor.note_ends(&[]);
        assert!(janitor.ended.is_empty());
    }
}
