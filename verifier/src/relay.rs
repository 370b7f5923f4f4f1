//! The verifier's side of the relay: one container in a slot's network, reached over the engine's attach
//! stream, and replaced at the first error.
//!
//! An error of a [`Relay`] proves nothing about the participant's app, so the caller opens another relay and
//! tries again. A relay that outlives its verifier ends by itself, because its stdin ends or stays silent. A
//! container that was created but never started is found by the labels of its [`RelaySpec`].

mod container;
pub(crate) mod image;
mod session;

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use relay::{
    AppRequest, AppResponse, AwaitedPart, HttpViolation, RequestError, RequestFailure, RequestLimits,
    RequestResult,
};
pub use session::SessionError;

use container::RelayContainer;
use session::RelaySession;

/// The interval between two pings of an idle relay.
const HEARTBEAT: Duration = Duration::from_secs(2);
const _: () = assert!(HEARTBEAT.as_secs() * 3 < relay::SILENCE.as_secs());

/// The network and the labels of a new relay.
#[derive(Clone, Debug)]
pub struct RelaySpec {
    /// The id or the name of the slot's network.
    pub network: String,
    /// The container's labels, by which a sweep finds it.
    pub labels: HashMap<String, String>,
}

/// The reason why a relay could not be started or failed. Never a participant's fault.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The engine returned an error.
    #[error("the engine could not {step}: {source}")]
    Engine {
        /// The step that failed, e.g. "start a relay".
        step: &'static str,
        source: bollard::errors::Error,
    },
    /// The engine did not answer in time. The step may or may not have been done.
    #[error("the engine took too long to {0}")]
    Late(&'static str),
    /// The session with the relay failed, and the relay was removed.
    #[error("the relay failed: {0}")]
    Session(#[from] SessionError),
    /// The relay was removed before, or during this call.
    #[error("the relay was removed")]
    Gone,
}

/// A running relay. Dropping it removes its container in the background.
#[derive(Debug)]
pub struct Relay {
    container: String,
    probes: mpsc::Sender<PendingProbe>,
    keeper: JoinHandle<Result<(), RelayError>>,
}

#[derive(Debug)]
struct PendingProbe {
    request: AppRequest,
    response: oneshot::Sender<Result<RequestResult, SessionError>>,
}

impl Relay {
    /// Starts a relay and waits for the answer to its first ping. Imports the image if the engine lacks it.
    /// Takes about a second, most of which the engine needs to join the network. Each step has its own
    /// deadline. If the caller stops waiting, nothing is left behind.
    ///
    /// # Errors
    /// [`RelayError`]. The container is removed, unless that fails too.
    pub async fn open(docker: &Docker, spec: &RelaySpec) -> Result<Self, RelayError> {
        // Runs in a task of its own, so that no half-made container is left if the caller stops waiting.
        let (docker, spec) = (docker.clone(), spec.clone());
        tokio::spawn(async move { open(&docker, &spec).await }).await.unwrap_or(Err(RelayError::Gone))
    }

    /// Returns the id of the relay's container.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.container
    }

    /// Returns true if the relay can still send requests.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.probes.is_closed()
    }

    /// Sends a request inside the slot. Returns shortly after the request's total deadline at the latest. If
    /// the app does not answer, the [`RequestResult`] says so.
    ///
    /// # Errors
    /// [`RelayError::Session`] or [`RelayError::Gone`]: the relay was removed, and the app's behaviour is
    /// unknown. Open another relay.
    pub async fn probe(&mut self, request: AppRequest) -> Result<RequestResult, RelayError> {
        let (response, answered) = oneshot::channel();
        let sent = self.probes.send(PendingProbe { request, response }).await;
        sent.map_err(|_| RelayError::Gone)?;
        Ok(answered.await.map_err(|_| RelayError::Gone)??)
    }

    /// Ends the relay and waits until its container is removed.
    ///
    /// # Errors
    /// The engine's error, if the container was not removed.
    pub async fn close(self) -> Result<(), RelayError> {
        drop(self.probes);
        self.keeper.await.unwrap_or(Err(RelayError::Gone))
    }
}

async fn open(docker: &Docker, spec: &RelaySpec) -> Result<Relay, RelayError> {
    let image = image::ensure(docker).await?;
    let (container, attached) = RelayContainer::start(docker, &image, spec).await?;
    let mut session = RelaySession::new(attached);
    if let Err(error) = session.ping().await {
        drop(session);
        container.remove().await?;
        return Err(error.into());
    }
    let (probes, pending) = mpsc::channel(1);
    Ok(Relay {
        container: container.id().to_owned(),
        probes,
        keeper: tokio::spawn(keep(container, session, pending)),
    })
}

/// Serves the relay until its owner drops it or the session fails, then removes the container.
async fn keep(
    container: RelayContainer,
    mut session: RelaySession,
    mut pending: mpsc::Receiver<PendingProbe>,
) -> Result<(), RelayError> {
    if let Err(error) = serve(&mut session, &mut pending).await {
        tracing::warn!(%error, "removing the relay in container {}, because its session failed", container.id());
    }
    // Both halves of the attach stream are closed before the container is removed: an output that is not read
    // can keep the container from ending.
    drop((pending, session));
    container.remove().await
}

async fn serve(
    session: &mut RelaySession,
    pending: &mut mpsc::Receiver<PendingProbe>,
) -> Result<(), SessionError> {
    loop {
        tokio::select! {
            probe = pending.recv() => {
                let Some(PendingProbe { request, response }) = probe else {
                    return Ok(());
                };
                match session.probe(request).await {
                    // The caller may have stopped waiting.
                    Ok(outcome) => drop(response.send(Ok(outcome))),
                    Err(error) => {
                        pending.close();
                        drop(response.send(Err(error.clone())));
                        return Err(error);
                    }
                }
            }
            error = session.unexpected() => return Err(error),
            () = tokio::time::sleep(HEARTBEAT) => session.ping().await?,
        }
    }
}

/// Awaits an engine's answer within `patience`, because the client's own timeout ends at the response's
/// headers.
async fn in_time<T>(
    step: &'static str,
    patience: Duration,
    answer: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, RelayError> {
    match timeout(patience, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(RelayError::Engine { step, source }),
        Err(_) => Err(RelayError::Late(step)),
    }
}
