//! The relay's container: as little as a process can be given, attached before
//! it starts.

use std::time::Duration;

use bollard::Docker;
use bollard::container::AttachContainerResults;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, RemoveContainerOptions, StartContainerOptions,
};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::image::{self, ProgramImage};
use super::{RelayError, RelaySpec, in_time};

const MEMORY: i64 = 32 << 20;
const PIDS: i64 = 32;
/// Nobody, by number: the image has no file of names.
const USER: &str = "65534:65534";

/// To join an overlay network an engine asks the managers, which takes up to 20 s.
const START: Duration = Duration::from_secs(25);
const PATIENCE: Duration = Duration::from_secs(10);
const STARTS: u32 = 4;

/// How many relays this process starts at a time: the managers lose track of
/// more.
static STARTING: Semaphore = Semaphore::const_new(3);

/// A container that exists until it is removed.
pub(super) struct RelayContainer {
    docker: Docker,
    id: String,
}

impl RelayContainer {
    /// Creates, attaches and starts a container. When it fails, none is left.
    ///
    /// Two failures are tried again, because they pass: an engine that has just
    /// taken an overlay network down may not find it while the managers bring it
    /// back, and one that joins several networks at once may miss the managers'
    /// word that it may.
    pub(super) async fn start(
        docker: &Docker,
        image: &ProgramImage,
        spec: &RelaySpec,
    ) -> Result<(Self, AttachContainerResults), RelayError> {
        let mut attempt = 1;
        loop {
            let _turn = STARTING.acquire().await;
            let container = Self::create(docker, image, spec).await?;
            let error = match container.run().await {
                Ok(attached) => return Ok((container, attached)),
                Err(error) => error,
            };
            container.remove().await?;
            if attempt == STARTS || !may_pass(&error) {
                return Err(error);
            }
            tracing::debug!(%error, attempt, "the relay will be started again");
            sleep(Duration::from_millis(200) * attempt).await;
            attempt += 1;
        }
    }

    /// The engine's id of it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Kills and removes it, and returns when the engine knows it no more.
    pub(super) async fn remove(self) -> Result<(), RelayError> {
        let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
        in_time("remove a relay", START, async {
            loop {
                let removed = self.docker.remove_container(&self.id, Some(options.clone()));
                match removed.await.map_err(status) {
                    Ok(()) | Err((Some(404), _)) => return Ok(()),
                    // It has ended by itself and is being removed for that.
                    Err((Some(409), _)) => sleep(Duration::from_millis(50)).await,
                    Err((_, error)) => return Err(error),
                }
            }
        })
        .await
    }

    async fn create(docker: &Docker, image: &ProgramImage, spec: &RelaySpec) -> Result<Self, RelayError> {
        let created = docker.create_container(None::<CreateContainerOptions>, body(image, spec));
        let created = in_time("create a relay", PATIENCE, created).await?;
        Ok(Self { docker: docker.clone(), id: created.id })
    }

    async fn run(&self) -> Result<AttachContainerResults, RelayError> {
        let streams = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            ..AttachContainerOptions::default()
        };
        // Before the start, so that nothing is said that nobody hears.
        let attached = self.docker.attach_container(&self.id, Some(streams));
        let attached = in_time("attach to a relay", PATIENCE, attached).await?;
        let started = self.docker.start_container(&self.id, None::<StartContainerOptions>);
        in_time("start a relay", START, started).await?;
        Ok(attached)
    }
}

fn body(image: &ProgramImage, spec: &RelaySpec) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.name.clone()),
        entrypoint: Some(vec![image::PROGRAM.to_owned()]),
        user: Some(USER.to_owned()),
        labels: Some(spec.labels.clone()),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        open_stdin: Some(true),
        // When the attached verifier goes, stdin ends, and with it the relay.
        stdin_once: Some(true),
        host_config: Some(HostConfig {
            network_mode: Some(spec.network.clone()),
            auto_remove: Some(true),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            pids_limit: Some(PIDS),
            memory: Some(MEMORY),
            memory_swap: Some(MEMORY),
            ipc_mode: Some("none".to_owned()),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn status(error: Error) -> (Option<u16>, Error) {
    let status = match &error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    };
    (status, error)
}

fn may_pass(error: &RelayError) -> bool {
    let RelayError::Engine { source, .. } = error else {
        return false;
    };
    let text = source.to_string();
    text.contains("network") && text.contains("not found") || text.contains("attaching to network failed")
}
