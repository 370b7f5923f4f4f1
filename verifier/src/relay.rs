//! The verifier's side of the relay: one container of ours in a slot's network,
//! spoken to over the engine's attach, replaced at the first doubt.
//!
//! A [`Relay`] is cattle. Whatever goes wrong with it says nothing about the
//! participant: open another and ask again. A container that outlives its
//! verifier ends by itself, because its stdin ends or stays silent; one that was
//! created and never started is found by the labels of its [`RelaySpec`].

mod container;
pub(crate) mod image;
mod session;

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use relay::{Answer, Failure, Limits, Part, Request, RequestError, Response, Violation};
pub use session::SessionError;

use container::RelayContainer;
use session::RelaySession;

/// How often an idle relay is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(2);
const _: () = assert!(HEARTBEAT.as_secs() * 3 < relay::SILENCE.as_secs());

/// Where a relay is to stand.
#[derive(Clone, Debug)]
pub struct RelaySpec {
    /// The slot's network, by an id or name that the verifier made.
    pub network: String,
    /// The container's labels, by which a sweep finds it.
    pub labels: HashMap<String, String>,
}

/// Why there is no relay, or no longer. Never a participant's fault.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The engine refused.
    #[error("the engine could not {step}: {source}")]
    Engine {
        /// What was asked of it.
        step: &'static str,
        /// What it said.
        source: bollard::errors::Error,
    },
    /// The engine did not answer in time; whether it did what was asked is not known.
    #[error("the engine took too long to {0}")]
    Late(&'static str),
    /// The relay was given up.
    #[error("the relay was given up: {0}")]
    Session(#[from] SessionError),
    /// The relay had been given up before, or while this was asked of it.
    #[error("the relay is gone")]
    Gone,
}

/// A running relay. Dropping it removes its container in the background.
#[derive(Debug)]
pub struct Relay {
    container: String,
    questions: mpsc::Sender<PendingProbe>,
    keeper: JoinHandle<Result<(), RelayError>>,
}

#[derive(Debug)]
struct PendingProbe {
    request: Request,
    response: oneshot::Sender<Result<Response, SessionError>>,
}

impl Relay {
    /// Starts a relay and hears its first heartbeat. Brings the image to the
    /// engine if it lacks it. Takes about a second, most of it the engine's for
    /// joining the network; each step has its own deadline, and a caller who
    /// waits less leaves nothing behind.
    ///
    /// # Errors
    /// [`RelayError`]; then no container is left, unless the engine does not
    /// remove it either.
    pub async fn open(docker: &Docker, spec: &RelaySpec) -> Result<Self, RelayError> {
        // A task of its own, so that a caller who stops waiting leaves no
        // half-made container behind.
        let (docker, spec) = (docker.clone(), spec.clone());
        tokio::spawn(async move { open(&docker, &spec).await }).await.unwrap_or(Err(RelayError::Gone))
    }

    /// The id of its container.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.container
    }

    /// Whether it can still be asked: it has not been given up.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.questions.is_closed()
    }

    /// Makes a request inside the slot. Returns soon after the request's total
    /// deadline at the latest; that the app gave no answer is a [`Response`] too.
    ///
    /// # Errors
    /// [`RelayError::Session`] or [`RelayError::Gone`]: this relay has been given
    /// up and what the app did is not known. Open another.
    pub async fn probe(&mut self, request: Request) -> Result<Response, RelayError> {
        let (response, answered) = oneshot::channel();
        let question = PendingProbe { request, response };
        let asked = self.questions.send(question).await;
        asked.map_err(|_| RelayError::Gone)?;
        Ok(answered.await.map_err(|_| RelayError::Gone)??)
    }

    /// Ends the relay and waits until its container is removed.
    ///
    /// # Errors
    /// The engine's, if it did not remove the container.
    pub async fn close(self) -> Result<(), RelayError> {
        drop(self.questions);
        self.keeper.await.unwrap_or(Err(RelayError::Gone))
    }
}

async fn open(docker: &Docker, spec: &RelaySpec) -> Result<Relay, RelayError> {
    let image = image::ensure(docker).await?;
    let (container, attached) = RelayContainer::start(docker, &image, spec).await?;
    let mut session = RelaySession::new(attached);
    if let Err(doubt) = session.ping().await {
        drop(session);
        container.remove().await?;
        return Err(doubt.into());
    }
    let (questions, asked) = mpsc::channel(1);
    Ok(Relay {
        container: container.id().to_owned(),
        questions,
        keeper: tokio::spawn(keep(container, session, asked)),
    })
}

/// Serves the relay until its owner lets go or a doubt arises, then removes it.
async fn keep(
    container: RelayContainer,
    mut session: RelaySession,
    mut asked: mpsc::Receiver<PendingProbe>,
) -> Result<(), RelayError> {
    if let Err(doubt) = serve(&mut session, &mut asked).await {
        tracing::warn!(container = container.id(), %doubt, "a relay was given up");
    }
    // Nobody may ask any more. And both halves of the attach go before the
    // container does: one that nobody reads from can keep it from dying.
    drop((asked, session));
    container.remove().await
}

async fn serve(
    session: &mut RelaySession,
    asked: &mut mpsc::Receiver<PendingProbe>,
) -> Result<(), SessionError> {
    loop {
        tokio::select! {
            question = asked.recv() => {
                let Some(PendingProbe { request, response }) = question else {
                    return Ok(());
                };
                match session.probe(request).await {
                    // The one who asked may have stopped waiting.
                    Ok(outcome) => drop(response.send(Ok(outcome))),
                    Err(doubt) => {
                        asked.close();
                        drop(response.send(Err(doubt.clone())));
                        return Err(doubt);
                    }
                }
            }
            doubt = session.unasked() => return Err(doubt),
            () = tokio::time::sleep(HEARTBEAT) => session.ping().await?,
        }
    }
}

/// Awaits an engine's answer. The client's own timeout ends at the headers.
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
