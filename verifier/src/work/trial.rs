//! A trial: runs an image on one engine, without a Swarm and without a registry, in the sandbox of a slot, and judges it
//! as an attempt does. Participants try their image in this way before they push it.

use std::net::IpAddr;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerStateStatusEnum, NetworkCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptions, LogsOptions, RemoveContainerOptions, StartContainerOptions,
};
use domain::challenge::{Evidence, Observation};
use domain::sandbox::SandboxGrade;
use domain::submission::{FailureCode, ImageProbe, Submitted};
use domain::{Challenge, ImageRef};
use futures::StreamExt;
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::gate::{ArrivingBytes, MountPlan, SavedImageError, look_into_saved};
use crate::registry::{ImageSettings, LookupError, check_config};
use crate::relay::{Relay, RelayError, RelaySpec};
use crate::swarm::{
    ApiError, Deployment, EnginesError, LOG_BYTES, LOG_LINES, Labels, NetworkId, NodeId, TaskEnding,
    container, ending, engines, label,
};
use crate::work::explanation::FailedRun;
use crate::work::probe::{Backoff, ProbeConclusion, ProbeRequest};
use crate::work::slot_run::{AppFinding, is_right};

/// The timeout of one call to the engine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest pause in an image that the engine writes out. An older engine first writes all of it to its disk.
const WRITING: Duration = Duration::from_secs(120);
/// The time after which a janitor removes a trial whose program was killed, in seconds.
const TTL_S: u64 = 600;
/// The time for which the engine may still use an object that is to be removed.
const REMOVAL: Duration = Duration::from_secs(10);

/// The image of a trial, and its submission.
#[derive(Debug)]
pub struct TrialOrder {
    /// The engine's address: `unix:///PATH` or `tcp://HOST:PORT`.
    pub engine: String,
    /// The name or the id of an image that the engine has.
    pub name: String,
    /// The image of the submission that the trial is about.
    pub image: ImageRef,
    pub submitted: Submitted,
    /// The grade of the sandbox.
    pub grade: SandboxGrade,
}

/// The reason why there is no judgement.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error("{0}")]
    Address(String),
    #[error("the engine has no image {0}; build it or pull it first")]
    NoImage(String),
    #[error("the engine: {0}")]
    Engine(String),
    #[error("{0}")]
    Relay(#[from] RelayError),
    #[error("the app has no address in its network")]
    NoAddress,
    #[error("stopped")]
    Stopped,
}

/// Runs the image and judges it. All that was created is removed, also if `stopping` is cancelled.
///
/// # Errors
/// If the engine fails, also to remove something, or if the trial is stopped.
pub async fn try_image(
    challenge: &Challenge,
    order: &TrialOrder,
    stopping: &CancellationToken,
) -> Result<ImageProbe, TrialError> {
    let docker = docker(&order.engine)?;
    let evidence = match settings(&docker, &order.name).await? {
        Ok(settings) => {
            let look = look_into_layers(&docker, challenge, order, &settings);
            let looked = stopping.run_until_cancelled(look).await.ok_or(TrialError::Stopped)?;
            if let Some(failure) = looked? {
                failure
            } else {
                let mut trial = Trial::new(docker, challenge, order, settings);
                let evidence = trial.run(stopping).await;
                let left = trial.clean_up().await;
                let evidence = evidence?;
                left?;
                evidence
            }
        }
        Err((code, message)) => Evidence::Failure { code, message },
    };
    let observation = Observation { image: order.image.clone(), evidence };
    Ok(challenge.judge(&order.submitted, &[observation]).probes.remove(0))
}

/// A trial with all that it has created.
struct Trial<'a> {
    docker: Docker,
    challenge: &'a Challenge,
    order: &'a TrialOrder,
    settings: ImageSettings,
    /// The name of the container and of its network.
    name: String,
    relay: Option<Relay>,
}

impl<'a> Trial<'a> {
    fn new(docker: Docker, challenge: &'a Challenge, order: &'a TrialOrder, settings: ImageSettings) -> Self {
        let name = format!("muster-try-{}", Uuid::new_v4().simple());
        Self { docker, challenge, order, settings, name, relay: None }
    }

    /// Runs the trial. No call that creates something is given up, so that the clean-up knows of all.
    async fn run(&mut self, stopping: &CancellationToken) -> Result<Evidence, TrialError> {
        let go_on = || if stopping.is_cancelled() { Err(TrialError::Stopped) } else { Ok(()) };
        let labels = Labels::from([
            (label::VERIFIER.to_owned(), self.name.clone()),
            (label::SLOT.to_owned(), self.name.clone()),
            (label::TTL.to_owned(), TTL_S.to_string()),
        ]);
        let network = NetworkCreateRequest {
            name: self.name.clone(),
            internal: Some(true),
            labels: Some(labels.clone()),
            ..Default::default()
        };
        engine(self.docker.create_network(network)).await?;
        go_on()?;
        let spec = RelaySpec { network: self.name.clone(), labels: labels.clone() };
        self.relay = Some(Relay::open(&self.docker, &spec).await?);
        go_on()?;
        if let Some(failure) = self.start(labels).await? {
            return Ok(failure);
        }
        tokio::select! {
            evidence = self.probe() => evidence,
            () = stopping.cancelled() => Err(TrialError::Stopped),
        }
    }

    /// Starts the app. Returns the failure of an app that cannot be started.
    async fn start(&self, labels: Labels) -> Result<Option<Evidence>, TrialError> {
        let body = container(&Deployment {
            name: self.name.clone(),
            image: self.order.name.clone(),
            labels,
            overridden: self.settings.labels.clone(),
            node: NodeId::new("local"),
            network: NetworkId::new(self.name.clone()),
            grade: self.order.grade,
            volumes: self.settings.volumes.clone(),
            writable: self.challenge.sandbox.writable.clone(),
            limits: self.challenge.limits.clone(),
        });
        let named = CreateContainerOptions { name: Some(self.name.clone()), ..Default::default() };
        engine(self.docker.create_container(Some(named), body)).await?;
        let started = self.docker.start_container(&self.name, None::<StartContainerOptions>);
        match timeout(PATIENCE, started).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(Error::DockerResponseServerError { message, .. })) => {
                let ending = ending(&format!("starting container failed: {message}"), 0);
                self.evidence_of(AppFinding::of_ending(&ending, self.challenge.limits.memory_mib))
                    .await
                    .map(Some)
            }
            Ok(Err(error)) => Err(TrialError::Engine(error.to_string())),
            Err(_) => Err(late()),
        }
    }

    async fn probe(&mut self) -> Result<Evidence, TrialError> {
        let probe = ProbeRequest::new(&self.challenge.probe, &self.challenge.limits);
        let since = Instant::now();
        let mut backoff = Backoff::new();
        let mut has_connected = false;
        loop {
            let address = match self.state().await? {
                TrialState::Runs(address) => address,
                TrialState::Ended(ending) => {
                    let finding = AppFinding::of_ending(&ending, self.challenge.limits.memory_mib);
                    return self.evidence_of(finding).await;
                }
            };
            let relay = self.relay.as_mut().expect("the relay is open until the clean-up");
            let mut result = probe.send(relay, address).await;
            let right =
                |evidence| is_right(self.challenge, &self.order.submitted, &self.order.image, evidence);
            if result.observed().is_some_and(right) {
                result = probe.send(relay, address).await;
            }
            has_connected |= result.has_connected();
            match probe.conclude(result, has_connected, since.elapsed()) {
                None => backoff.pause().await,
                Some(ProbeConclusion::RelayFailed(why)) => return Err(TrialError::Engine(why)),
                Some(ProbeConclusion::Answered(evidence)) => {
                    return self.evidence_of(AppFinding::Confirmed(evidence)).await;
                }
                Some(ProbeConclusion::Failed { code, message, .. }) => {
                    // An app that ended cannot be told from an app that hangs up.
                    let finding = match self.state().await? {
                        TrialState::Runs(_) => AppFinding::Confirmed(Evidence::Failure { code, message }),
                        TrialState::Ended(ending) => {
                            AppFinding::of_ending(&ending, self.challenge.limits.memory_mib)
                        }
                    };
                    return self.evidence_of(finding).await;
                }
            }
        }
    }

    async fn state(&self) -> Result<TrialState, TrialError> {
        let found = engine(self.docker.inspect_container(&self.name, None)).await?;
        let state = found.state.unwrap_or_default();
        if state.status != Some(ContainerStateStatusEnum::RUNNING) {
            return Ok(TrialState::Ended(TaskEnding::Exited(state.exit_code.unwrap_or_default())));
        }
        let networks = found.network_settings.unwrap_or_default().networks.unwrap_or_default();
        let address = networks.get(&self.name).and_then(|network| network.ip_address.as_deref());
        let address = address.and_then(|address| address.parse().ok());
        address.map(TrialState::Runs).ok_or(TrialError::NoAddress)
    }

    /// Returns the evidence of a finding, with its explanation.
    async fn evidence_of(&self, mut finding: AppFinding) -> Result<Evidence, TrialError> {
        if let Some((code, text)) = finding.failure_to_explain() {
            let output = self.output().await;
            let run = FailedRun {
                challenge: self.challenge,
                grade: self.order.grade,
                image: &self.order.name,
                exposed_ports: &self.settings.exposed_ports,
                code,
                output: output.as_deref(),
            };
            text.push_str(&run.explanation());
        }
        match finding {
            AppFinding::Confirmed(evidence) => Ok(evidence),
            AppFinding::Suspected { code, message, .. } => Ok(Evidence::Failure { code, message }),
            AppFinding::PlatformFault(fault) => Err(TrialError::Engine(fault.message)),
        }
    }

    async fn output(&self) -> Option<Vec<u8>> {
        let options =
            LogsOptions { stdout: true, stderr: true, tail: LOG_LINES.to_owned(), ..Default::default() };
        let mut lines = self.docker.logs(&self.name, Some(options));
        let read = async {
            let mut text = Vec::new();
            while let Some(line) = lines.next().await {
                text.extend_from_slice(&line.ok()?.into_bytes());
                if text.len() >= LOG_BYTES {
                    text.truncate(LOG_BYTES);
                    break;
                }
            }
            Some(text)
        };
        timeout(PATIENCE, read).await.ok().flatten()
    }

    /// Removes all that the trial created, except for the image of the relay, which the next trial uses.
    async fn clean_up(self) -> Result<(), TrialError> {
        let Self { docker, name, relay, .. } = self;
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        let container = removed(|| docker.remove_container(&name, Some(options.clone()))).await;
        let relay = match relay {
            Some(relay) => relay.close().await.map_err(TrialError::from),
            None => Ok(()),
        };
        let network = removed(|| docker.remove_network(&name)).await;
        container.and(relay).and(network)
    }
}

/// The state of the app's container.
enum TrialState {
    Runs(IpAddr),
    Ended(TaskEnding),
}

fn docker(address: &str) -> Result<Docker, TrialError> {
    let engines = engines(&[address.to_owned()], None);
    let engines = engines.map_err(|error: EnginesError| TrialError::Address(error.to_string()))?;
    engines[0].docker().map_err(|error: ApiError| TrialError::Engine(error.to_string()))
}

/// Returns the settings of an image that the engine has, or the failure of an image that is not run.
async fn settings(
    docker: &Docker,
    name: &str,
) -> Result<Result<ImageSettings, (FailureCode, String)>, TrialError> {
    let image = match timeout(PATIENCE, docker.inspect_image(name)).await {
        Ok(Ok(image)) => image,
        Ok(Err(Error::DockerResponseServerError { status_code: 404, .. })) => {
            return Err(TrialError::NoImage(name.to_owned()));
        }
        Ok(Err(error)) => return Err(TrialError::Engine(error.to_string())),
        Err(_) => return Err(late()),
    };
    let config = json!({ "os": image.os, "architecture": image.architecture, "config": image.config });
    match check_config(config.to_string().as_bytes()) {
        Ok(settings) => Ok(Ok(settings)),
        Err(LookupError::Participant(code, message)) => Ok(Err((code, message))),
        Err(LookupError::Platform(fault)) => Err(TrialError::Engine(fault.message)),
    }
}

/// Looks into the layers of an image that the engine has, as the gate does. Returns the failure of an image that must not be run.
async fn look_into_layers(
    docker: &Docker,
    challenge: &Challenge,
    order: &TrialOrder,
    settings: &ImageSettings,
) -> Result<Option<Evidence>, TrialError> {
    let (sender, arriving) = ArrivingBytes::new();
    let (volumes, working_dir) = (settings.volumes.clone(), settings.working_dir.clone());
    let (writable, image_mib) = (challenge.sandbox.writable.clone(), challenge.limits.image_mib);
    let looking = spawn_blocking(move || {
        let plan = MountPlan { volumes: &volumes, writable: &writable, working_dir: &working_dir };
        look_into_saved(arriving, image_mib, &plan)
    });
    let mut written = docker.export_image(&order.name);
    while let Some(piece) = timeout(WRITING, written.next()).await.map_err(|_| late_by(WRITING))? {
        let piece = piece.map_err(|error| TrialError::Engine(error.to_string()))?;
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    match looking.await {
        Ok(Ok(())) => Ok(None),
        Ok(Err(SavedImageError::Refused(flaw))) => {
            let (code, message) = flaw.into_failure();
            Ok(Some(Evidence::Failure { code, message }))
        }
        Ok(Err(SavedImageError::Unreadable(why))) => Err(TrialError::Engine(why)),
        Err(error) => Err(TrialError::Engine(error.to_string())),
    }
}

/// Removes an object, and tries again while the engine still uses it. An object that does not exist is removed.
async fn removed<F: Future<Output = Result<(), Error>>>(remove: impl Fn() -> F) -> Result<(), TrialError> {
    let deadline = Instant::now() + REMOVAL;
    loop {
        match timeout(PATIENCE, remove()).await {
            Ok(Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. })) => return Ok(()),
            Ok(Err(Error::DockerResponseServerError { status_code: 403 | 409, .. }))
                if Instant::now() < deadline =>
            {
                sleep(Duration::from_millis(200)).await;
            }
            Ok(Err(error)) => return Err(TrialError::Engine(error.to_string())),
            Err(_) => return Err(late()),
        }
    }
}

async fn engine<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, TrialError> {
    match timeout(PATIENCE, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(TrialError::Engine(error.to_string())),
        Err(_) => Err(late()),
    }
}

fn late() -> TrialError {
    late_by(PATIENCE)
}

fn late_by(limit: Duration) -> TrialError {
    TrialError::Engine(format!("it did not answer within {} s", limit.as_secs()))
}
