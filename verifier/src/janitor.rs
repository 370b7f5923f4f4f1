//! Keeps one node tidy, with nobody's help but its own engine's: containers that
//! nobody waits for any more end, and images that were not used for long leave.
//! It runs on the node itself, so that it goes on when no manager is alive.
//!
//! Only what is ours is touched. A container is ours by its labels, which also
//! say how long it may live. An image is ours once a container of ours was made
//! of it; it is then given a tag in its own repository, `muster-` and the
//! beginning of its id. So the engine keeps the record, over restarts of both.
//! An image that has another tag too is somebody else's.
//!
//! Nothing is removed between a pull and a create: an image that was only pulled
//! has no tag of ours, one that was used a moment ago is not idle, and the engine
//! itself refuses to remove what a container uses.

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
use futures::StreamExt;
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::plan::{ParticipantImage, to_remove};
use crate::SettingsError;
use crate::swarm::{ApiError, Engine, label};

/// An engine that removes much at once takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause before an engine that broke off is asked again.
const PAUSE: Duration = Duration::from_secs(5);

/// A container of ours that says nothing of how long it may live, and does not
/// run so long after it was made, was abandoned.
const ABANDONED_S: i64 = 600;

/// One of ours that has ended is of no use to anybody after this. A Swarm that
/// came back with less than it knew leaves such behind.
const ENDED: Duration = Duration::from_secs(60);

/// How tidy a node is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Housekeeping {
    /// How long an image of a participant is kept after it was last used.
    pub keep: Duration,
    /// What all of them may take, MiB. Beyond it, those go first that were not
    /// used for longest, but none that was used a few minutes ago.
    pub space_mib: u64,
    /// How often it is looked after.
    pub every: Duration,
}

/// What keeps one node tidy.
pub struct Janitor {
    engine: Arc<Engine>,
    rules: Housekeeping,
    /// When each image of ours was last used, by its id; since the start, for
    /// those that were used before.
    used: HashMap<String, Instant>,
    /// When each container of ours was first seen to have ended, by its id.
    ended: HashMap<String, Instant>,
}

impl Default for Housekeeping {
    fn default() -> Self {
        Self { keep: Duration::from_secs(3600), space_mib: 20 << 10, every: Duration::from_secs(30) }
    }
}

impl Janitor {
    /// A janitor of the node whose engine is at `unix:///PATH`, or at
    /// `tcp://HOST:PORT` with the certificates in a directory.
    ///
    /// # Errors
    /// When the address or the certificates cannot be used.
    pub fn new(
        engine: &str,
        certificates: Option<&Path>,
        rules: Housekeeping,
    ) -> Result<Self, SettingsError> {
        let engines = crate::swarm::engines(&[engine.to_owned()], certificates)?;
        let engine = engines.into_iter().next().ok_or(SettingsError::NoSwarm)?;
        Ok(Self::of(engine, rules))
    }

    pub(crate) fn of(engine: Arc<Engine>, rules: Housekeeping) -> Self {
        Self { engine, rules, used: HashMap::new(), ended: HashMap::new() }
    }

    /// Keeps the node tidy until `stopping`; waits for an engine that is away.
    pub async fn run(mut self, stopping: CancellationToken) {
        let tend = async {
            loop {
                if let Err(error) = self.tend().await {
                    tracing::debug!(engine = %self.engine.endpoint(), ?error, "the node is left untidy");
                }
                sleep(PAUSE).await;
            }
        };
        stopping.run_until_cancelled(tend).await;
    }

    /// Heeds the engine's events and makes rounds, until the engine breaks off.
    async fn tend(&mut self) -> Result<(), ApiError> {
        let docker = self.engine.docker()?;
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            // One that could not be created is only said to be destroyed.
            ("event".to_owned(), ["create", "die", "destroy"].map(str::to_owned).into()),
            ("label".to_owned(), vec![label::SUBMISSION.to_owned()]),
        ]);
        // What happens before the engine begins to tell is seen by the first round.
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
                    Some(event) => self.heed(&docker, event?).await?,
                    None => return Ok(()),
                },
                _ = rounds.tick() => self.make_round(&docker).await?,
            }
        }
    }

    /// A container of ours was made of an image, or ended, or could not be made.
    async fn heed(&mut self, docker: &Docker, event: EventMessage) -> Result<(), ApiError> {
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

    /// Notes that an image is used, and marks it as ours if that is new.
    async fn note_use(&mut self, docker: &Docker, id: &str, image: &ImageRef) -> Result<(), ApiError> {
        let Some(tag) = mark::tag(id) else { return Ok(()) };
        if self.used.insert(id.to_owned(), Instant::now()).is_some() {
            return Ok(());
        }
        let repository = format!("{}/{}", image.registry(), image.repository());
        let options = TagImageOptions { repo: Some(repository), tag: Some(tag) };
        unless_gone(in_time(docker.tag_image(id, Some(options))).await)
    }

    /// What the engine's own clock says, by which it dates containers.
    async fn now(&self) -> Result<Timestamp, ApiError> {
        let late = |_| ApiError::Unavailable(format!("no answer within {PATIENCE:?}"));
        timeout(PATIENCE, self.engine.clock()).await.map_err(late)?
    }

    async fn make_round(&mut self, docker: &Docker) -> Result<(), ApiError> {
        let now = self.now().await?.as_second();
        let options = ListContainersOptions { all: true, ..Default::default() };
        let containers = in_time(docker.list_containers(Some(options))).await?;
        self.note_ends(&containers);
        for container in &containers {
            let Some(id) = &container.id else { continue };
            if !is_over(container, now) && !self.is_forgotten(id) {
                continue;
            }
            tracing::warn!(container = id, "a container that nobody waits for is removed");
            let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
            unless_gone(in_time(docker.remove_container(id, Some(options))).await)?;
        }
        let mut in_use = HashSet::new();
        for container in &containers {
            let Some(id) = &container.image_id else { continue };
            in_use.insert(id.clone());
            let image = container.image.as_ref().and_then(|image| image.parse::<ImageRef>().ok());
            if let Some(image) = image.filter(|_| has(container, label::SUBMISSION)) {
                self.note_use(docker, id, &image).await?;
            }
        }
        self.discard_images(docker, &in_use).await
    }

    /// Notes which containers of ours have ended, and forgets those that are gone.
    fn note_ends(&mut self, containers: &[ContainerSummary]) {
        let ended = containers.iter().filter(|container| has_ended(container));
        let known = std::mem::take(&mut self.ended);
        let since = |id: &str| known.get(id).copied().unwrap_or_else(Instant::now);
        self.ended =
            ended.filter_map(|container| container.id.clone()).map(|id| (id.clone(), since(&id))).collect();
    }

    /// Whether a container ended and nobody has removed it since.
    fn is_forgotten(&self, id: &str) -> bool {
        self.ended.get(id).is_some_and(|since| since.elapsed() >= ENDED)
    }

    async fn discard_images(&mut self, docker: &Docker, in_use: &HashSet<String>) -> Result<(), ApiError> {
        let images = in_time(docker.list_images(None::<ListImagesOptions>)).await?;
        let ours: HashMap<&str, &ImageSummary> = images
            .iter()
            .filter(|image| mark::is_ours(&image.id, &image.repo_tags))
            .map(|image| (image.id.as_str(), image))
            .collect();
        let now = Instant::now();
        self.used.retain(|id, _| ours.contains_key(id.as_str()));
        let kept = ours.values().map(|image| {
            let used = self.used.entry(image.id.clone()).or_insert(now);
            if in_use.contains(&image.id) {
                *used = now;
            }
            let bytes = image.size.try_into().unwrap_or(0);
            ParticipantImage { id: image.id.clone(), bytes, idle: now.duration_since(*used) }
        });
        for ParticipantImage { id, idle, .. } in to_remove(kept.collect(), &self.rules) {
            let idle_s = idle.as_secs();
            tracing::info!(image = id, idle_s, "an image that was not used for long is removed");
            discard(docker, ours[id.as_str()]).await?;
        }
        Ok(())
    }
}

/// Removes an image, unless a container has come to use it.
async fn discard(docker: &Docker, image: &ImageSummary) -> Result<(), ApiError> {
    // An image of several repositories is removed from all but one of them first.
    for name in mark::of_other_repositories(&image.repo_tags) {
        unless_gone(in_time(docker.remove_image(&name, None::<RemoveImageOptions>, None)).await.map(drop))?;
    }
    unless_gone(in_time(docker.remove_image(&image.id, None::<RemoveImageOptions>, None)).await.map(drop))
}

/// Whether a container is ours and nobody's any more, by the engine's clock.
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

/// Whether a container of ours ran, and does so no more.
fn has_ended(container: &ContainerSummary) -> bool {
    use ContainerSummaryStateEnum::{DEAD, EXITED};
    has(container, label::VERIFIER) && matches!(container.state, Some(EXITED | DEAD))
}

fn has(container: &ContainerSummary, label: &str) -> bool {
    container.labels.as_ref().is_some_and(|labels| labels.contains_key(label))
}

/// What is gone, is going, or is in use again needs nothing more.
fn unless_gone(result: Result<(), ApiError>) -> Result<(), ApiError> {
    match result {
        Err(ApiError::NotFound(_) | ApiError::Conflict(_)) => Ok(()),
        other => other,
    }
}

/// The client's own limit ends at the head of an answer.
async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, ApiError> {
    let late = |_| ApiError::Unavailable(format!("no answer within {PATIENCE:?}"));
    Ok(timeout(PATIENCE, answer).await.map_err(late)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_over_when_its_time_is_and_it_is_ours() {
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
        // A clock that was set back ends nothing.
        assert!(!is_over(&app, 0));
        let relay = [("muster.verifier", "v")];
        assert!(!is_over(&container(&relay, RUNNING), 1_000_000));
        assert!(!is_over(&container(&relay, CREATED), 1600) && is_over(&container(&relay, CREATED), 1601));
        assert!(!is_over(&container(&[("muster.ttl", "60")], RUNNING), 1_000_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_of_ours_that_ended_is_forgotten_after_a_minute() {
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
        assert!(!janitor.is_forgotten("ended"));
        tokio::time::advance(Duration::from_secs(1)).await;
        janitor.note_ends(&seen);
        assert!(janitor.is_forgotten("ended"));
        assert!(!janitor.is_forgotten("runs") && !janitor.is_forgotten("foreign"));
        janitor.note_ends(&[]);
        assert!(janitor.ended.is_empty());
    }
}
