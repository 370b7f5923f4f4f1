//! A verifier on a testbed, with a log of its own: tests submit, wait for the verdict, and look for
//! leftovers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions, ListVolumesOptions};
use commands::{Actor, Cause, Commands};
use domain::submission::{Participant, Reason, Submitted};
use domain::testing::ada;
use domain::{Challenge, Command, Event, SubmissionId};
use event_store::{EventFilter, EventStore, Position, Read, ReadDirection, SqliteStore, StreamName};
use serde_json::{Value, json};
use testbed::{Testbed, until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use verifier::{GateChoice, Health, RegistryLogins, Verifier, VerifierSettings};

/// The longest wait for a verdict. Every verdict of these tests takes less.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct Stage {
    log: Option<Log>,
    pub(crate) challenge: Arc<Challenge>,
    /// The settings for the next start of the verifier.
    pub(crate) settings: VerifierSettings,
    running: Option<Running>,
    place: PathBuf,
    /// Deletes the place when the stage is dropped. `None` if another process owns the place.
    _directory: Option<tempfile::TempDir>,
}

struct Log {
    store: SqliteStore,
    commands: Commands,
}

pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), event_store::ReadError>>,
    health: tokio::sync::watch::Receiver<Health>,
}

/// The end of a submission.
pub(crate) struct Outcome {
    pub(crate) events: Vec<Event>,
    pub(crate) reasons: Vec<Reason>,
}

impl Stage {
    /// Starts a verifier of this name on the testbed's Swarm.
    pub(crate) async fn start(bed: &Testbed, name: &str, slots: Option<usize>) -> Result<Self> {
        let mut stage = Self::prepared(bed, name, slots)?;
        stage.run()?;
        Ok(stage)
    }

    /// Prepares a verifier of this name on the testbed's Swarm, and does not start it.
    pub(crate) fn prepared(bed: &Testbed, name: &str, slots: Option<usize>) -> Result<Self> {
        Self::apart(name, bed.swarm.endpoints(), bed.registry.address().to_owned(), slots)
    }

    /// Prepares a verifier for a Swarm and a registry that need not belong to a testbed.
    pub(crate) fn apart(
        name: &str,
        swarm: Vec<String>,
        registry: String,
        slots: Option<usize>,
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut stage = Self::at(directory.path().to_owned(), name, swarm, registry, slots)?;
        stage._directory = Some(directory);
        Ok(stage)
    }

    /// Prepares a verifier whose log is in a directory that exists already.
    pub(crate) fn at(
        place: PathBuf,
        name: &str,
        swarm: Vec<String>,
        registry: String,
        slots: Option<usize>,
    ) -> Result<Self> {
        if std::env::var_os("VERIFIER_LOG").is_some() {
            // Every test of the binary calls this, and only the first call succeeds.
            let _ = tracing_subscriber::fmt().with_env_filter("verifier=debug").with_test_writer().try_init();
        }
        let mut challenge = Challenge::birthday();
        challenge.images.registries = vec![registry.clone()];
        challenge.limits.start_s = 4;
        challenge.limits.answer_s = 3;
        challenge.limits.memory_mib = 64;
        challenge.limits.image_mib = 16;
        challenge.limits.pull_s = 20;
        let settings = VerifierSettings {
            name: name.to_owned(),
            swarm,
            swarm_certificates: None,
            insecure_registries: vec![registry],
            logins: RegistryLogins::default(),
            gate: GateChoice::Registries,
            slots_per_node: slots,
            grace: Duration::from_secs(30),
        };
        let challenge = Arc::new(challenge);
        let mut stage = Self { log: None, challenge, settings, running: None, place, _directory: None };
        stage.take_back()?;
        Ok(stage)
    }

    /// Opens the log.
    pub(crate) fn take_back(&mut self) -> Result<()> {
        let store = SqliteStore::open(self.place.join("log.db"))?;
        let commands = Commands::new(Arc::new(store.clone()), Arc::clone(&self.challenge));
        self.log = Some(Log { store, commands });
        Ok(())
    }

    /// Closes the log, so that another process can open it. Returns the log's directory.
    pub(crate) async fn lend(&mut self) -> Result<String> {
        let Log { store, commands } = self.log.take().context("it has the log")?;
        drop(commands);
        store.close().await;
        Ok(self.place.display().to_string())
    }

    pub(crate) fn run(&mut self) -> Result<()> {
        self.running = Some(self.rival(&self.settings.name)?);
        Ok(())
    }

    /// Starts another verifier of the same log and Swarm.
    pub(crate) fn rival(&self, name: &str) -> Result<Running> {
        let Log { store, commands } = self.log.as_ref().context("it has the log")?;
        let store: Arc<dyn EventStore> = Arc::new(store.clone());
        let settings = VerifierSettings { name: name.to_owned(), ..self.settings.clone() };
        let verifier = Verifier::new(store, commands.clone(), settings)?;
        let shutdown = CancellationToken::new();
        let health = verifier.health();
        let task = tokio::spawn(verifier.run(shutdown.clone()));
        Ok(Running { shutdown, task, health })
    }

    /// Shuts the verifier down and waits until it has ended.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.pause().await
    }

    /// Does the same as [`Stage::stop`], and keeps the log open for others.
    pub(crate) async fn pause(&mut self) -> Result<()> {
        self.running.take().context("it runs")?.stop().await
    }

    pub(crate) async fn health(&self, wanted: impl Fn(&Health) -> bool) -> Result<Health> {
        self.running.as_ref().context("it runs")?.health(wanted).await
    }

    /// Changes the rules before the start.
    pub(crate) async fn change_rules(&mut self, change: impl FnOnce(&mut Challenge)) -> Result<()> {
        self.lend().await?;
        change(Arc::make_mut(&mut self.challenge));
        self.take_back()
    }

    pub(crate) async fn submit(&self, name: &str, images: &[&str]) -> Result<SubmissionId> {
        let id = SubmissionId(Uuid::now_v7());
        let submitted = submitted(name, images)?;
        let cause = Cause { actor: Actor::Participant, id: Uuid::now_v7() };
        let Log { commands, .. } = self.log.as_ref().context("it has the log")?;
        commands.handle(id, Command::Submit(Box::new(submitted)), cause).await?;
        Ok(id)
    }

    pub(crate) async fn events(&self, id: SubmissionId) -> Result<Vec<Event>> {
        let stream = StreamName::of("submission", id.0);
        let Log { store, .. } = self.log.as_ref().context("it has the log")?;
        let recorded = store.read_stream(&stream, 0, ReadDirection::Forwards, 1000).await?;
        recorded.iter().map(|one| Ok(one.decode(Event::from_stored)?)).collect()
    }

    /// Returns all events of submissions, each with the id of its submission.
    pub(crate) async fn history(&self) -> Result<Vec<(SubmissionId, Event)>> {
        let Log { store, .. } = self.log.as_ref().context("it has the log")?;
        let (mut history, mut after) = (Vec::new(), Position::START);
        loop {
            let page = store.read_all(after, &EventFilter::stream_prefix("submission-"), 1000).await?;
            for one in &page.events {
                let id = SubmissionId::from_stream(one.stream.as_str()).context("a submission's stream")?;
                history.push((id, one.decode(Event::from_stored)?));
            }
            if page.end {
                return Ok(history);
            }
            after = page.next;
        }
    }

    /// Waits until `wanted` is true of an event. Returns all events of the submission.
    pub(crate) async fn event(
        &self,
        id: SubmissionId,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Vec<Event>> {
        let what = format!("an event of {id}");
        let found = until(&what, LIMIT, async || match self.events(id).await {
            Ok(events) if events.iter().any(&wanted) => Some(Ok(events)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        match found.await {
            Ok(found) => found,
            Err(error) => bail!("{error:#}; the events are {:#?}", self.events(id).await?),
        }
    }

    pub(crate) async fn verdict(&self, id: SubmissionId) -> Result<Outcome> {
        let events = self.event(id, |event| matches!(event, Event::Passed(_) | Event::Failed(_))).await?;
        let verdicts = events.iter().filter(|event| matches!(event, Event::Passed(_) | Event::Failed(_)));
        ensure!(verdicts.count() == 1, "one verdict: {events:#?}");
        let reasons = events.iter().find_map(|event| match event {
            Event::Failed(failed) => Some(failed.reasons.clone()),
            _ => None,
        });
        Ok(Outcome { reasons: reasons.unwrap_or_default(), events })
    }
}

impl Running {
    pub(crate) async fn health(&self, wanted: impl Fn(&Health) -> bool) -> Result<Health> {
        let mut health = self.health.clone();
        let health = tokio::time::timeout(LIMIT, health.wait_for(wanted)).await??;
        Ok(health.clone())
    }

    /// Shuts the verifier down and waits until it has ended.
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        tokio::time::timeout(LIMIT, self.task).await???;
        Ok(())
    }
}

/// Returns the response body of a participant's app.
pub(crate) fn answer(name: &str, images: &[&str]) -> Value {
    json!({ "name": name, "twitter": null, "location": "London, UK", "repo": images, "vote": "Python" })
}

fn submitted(name: &str, images: &[&str]) -> Result<Submitted> {
    let images = images.iter().map(|image| Ok(image.parse()?)).collect::<Result<Vec<domain::ImageRef>>>()?;
    Ok(Submitted {
        participant: Participant { name: name.into(), twitter: None },
        owner: images[0].owner().context("an owner")?,
        images,
        ..ada()
    })
}

/// Waits until no node has a service, a container, a slot's network or a volume of ours.
pub(crate) async fn assert_nothing_left(bed: &Testbed) -> Result<()> {
    assert_nothing_left_on(bed.swarm.nodes()).await
}

/// Does the same as [`assert_nothing_left`], for these nodes only.
pub(crate) async fn assert_nothing_left_on(nodes: &[testbed::Node]) -> Result<()> {
    for node in nodes {
        let left = until("every trace to go", Duration::from_secs(40), async || {
            left_on(node).await.map(|left| left.is_empty().then_some(())).transpose()
        });
        match left.await {
            Ok(found) => found?,
            Err(error) => bail!("{error:#}: {:?}", left_on(node).await?),
        }
    }
    Ok(())
}

async fn left_on(node: &testbed::Node) -> Result<Vec<String>> {
    let docker = node.docker();
    let mut left = Vec::new();
    for service in docker.list_services(None).await? {
        left.push(format!("service {:?}", service.spec.and_then(|spec| spec.name)));
    }
    let all = ListContainersOptions { all: true, ..Default::default() };
    for container in docker.list_containers(Some(all)).await? {
        left.push(format!("container {:?} {:?}", container.names, container.state));
    }
    let ours = HashMap::from([("label".to_owned(), vec!["muster.verifier".to_owned()])]);
    let options = ListNetworksOptions { filters: Some(ours) };
    for network in docker.list_networks(Some(options)).await? {
        left.push(format!("network {:?}", network.name));
    }
    for volume in docker.list_volumes(None::<ListVolumesOptions>).await?.volumes.unwrap_or_default() {
        left.push(format!("volume {}", volume.name));
    }
    Ok(left)
}
