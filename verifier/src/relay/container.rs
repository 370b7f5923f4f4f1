//! The relay's container. It has as few rights as a process can have, and is attached before it starts.

use std::time::Duration;

use bollard::Docker;
use bollard::container::AttachContainerResults;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, RemoveContainerOptions, StartContainerOptions,
};
use tokio::time::sleep;

use super::image::{self, ProgramImage};
use super::{RelayError, RelaySpec, in_time};
use crate::swarm::seccomp;

const MEMORY: i64 = 32 << 20;
const PIDS: i64 = 32;
/// The user `nobody`, by number, because the image has no `/etc/passwd`.
const USER: &str = "65534:65534";

/// The timeout of a start. To join an overlay network, an engine asks the managers, which takes up to 20 s.
const START: Duration = Duration::from_secs(25);
const PATIENCE: Duration = Duration::from_secs(10);
const STARTS: u32 = 4;

/// A container that exists until it is removed.
pub(super) struct RelayContainer {
    docker: Docker,
    id: String,
}

impl RelayContainer {
    /// Creates, attaches and starts a container. If this fails, the container is removed.
    ///
    /// Tries again after two temporary failures. An engine that has just taken an overlay network down may
    /// not find it while the managers restore it. An engine that joins several networks at once may miss the
    /// managers' permission.
    pub(super) async fn start(
        docker: &Docker,
        image: &ProgramImage,
        spec: &RelaySpec,
    ) -> Result<(Self, AttachContainerResults), RelayError> {
        let mut attempt = 1;
        loop {
            let container = Self::create(docker, image, spec).await?;
            let error = match container.run().await {
                Ok(attached) => return Ok((container, attached)),
                Err(error) => error,
            };
            container.remove().await?;
            if attempt == STARTS || !is_transient(&error) {
                return Err(error);
            }
            tracing::debug!(%error, "could not start a relay in network {} (try {attempt})", spec.network);
            sleep(Duration::from_millis(200) * attempt).await;
            attempt += 1;
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Kills and removes the container, and returns when the engine has no such container any more.
    pub(super) async fn remove(self) -> Result<(), RelayError> {
        let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
        in_time("remove a relay", START, async {
            loop {
                let removed = self.docker.remove_container(&self.id, Some(options.clone()));
                match removed.await.map_err(status) {
                    Ok(()) | Err((Some(404), _)) => return Ok(()),
                    // The container ended by itself, and the engine is removing it.
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
        // Attached before the start, so that no output is missed.
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
        // If the verifier disconnects, stdin ends, and with it the relay.
        stdin_once: Some(true),
        host_config: Some(HostConfig {
            network_mode: Some(spec.network.clone()),
            auto_remove: Some(true),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            // The relay reads answers of strangers, so it gets no more of the kernel than an app. Engines of all versions obey.
            security_opt: Some(vec!["no-new-privileges".to_owned(), seccomp::option()]),
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

fn is_transient(error: &RelayError) -> bool {
    let RelayError::Engine { source, .. } = error else {
        return false;
    };
    let text = source.to_string();
    text.contains("network") && text.contains("not found") || text.contains("attaching to network failed")
}
