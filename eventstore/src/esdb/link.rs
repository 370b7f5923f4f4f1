//! The one client, built anew when it is of no more use, and calls that are
//! tried again until their deadline.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::esdb::{Client, ClientSettings, Credentials, Error};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Code;

use super::{connect::ConnectError, contain::contained};

/// How long a call is tried, and how long one attempt may take.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// After so many errors of the server in a row another may be tried.
const PATIENCE: u32 = 2;

/// Options of a call, with who calls.
macro_rules! authenticated {
    ($link:expr, $options:expr) => {
        match &$link.credentials {
            Some(credentials) => $options.authenticated(credentials.clone()),
            None => $options,
        }
    };
}

pub(super) use authenticated;

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It would be the same the next time.
    Final(Error),
    /// Nobody answered in time.
    Unavailable(String),
}

/// The connection to a server or a cluster.
pub(super) struct Link {
    settings: ClientSettings,
    /// Who calls, if anybody in particular.
    pub(super) credentials: Option<Credentials>,
    current: Mutex<Current>,
}

struct Current {
    client: Client,
    /// Counts the clients, so that only the one in use is replaced.
    generation: u64,
    /// Errors of the server since it last answered.
    errors: u32,
}

impl Link {
    pub(super) fn new(
        settings: ClientSettings,
        credentials: Option<Credentials>,
    ) -> Result<Self, ConnectError> {
        let client =
            Client::new(settings.clone()).map_err(|error| ConnectError::Client(error.to_string()))?;
        Ok(Self { settings, credentials, current: Mutex::new(Current { client, generation: 0, errors: 0 }) })
    }

    pub(super) fn hosts(&self) -> &Vec<::esdb::Endpoint> {
        self.settings.hosts()
    }

    /// The client in use, and its number for [`Link::report`].
    pub(super) fn client(&self) -> (Client, u64) {
        let current = self.current();
        (current.client.clone(), current.generation)
    }

    /// Calls, again and again until there is an answer or no more time.
    pub(super) async fn call<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = ::esdb::Result<T>>,
    {
        let deadline = Instant::now() + CALL_DEADLINE;
        let mut pause = Pause::default();
        loop {
            let (client, generation) = self.client();
            let why = match timeout_at(deadline, contained(call(client))).await {
                Ok(Ok(Ok(answer))) => {
                    self.report(generation, None);
                    return Ok(answer);
                }
                Ok(Ok(Err(error))) if is_final(&error) => return Err(Failure::Final(error)),
                Ok(Ok(Err(error))) => {
                    self.report(generation, Some(&error));
                    error.to_string()
                }
                Ok(Err(_)) => {
                    self.report(generation, Some(&Error::ConnectionClosed));
                    "the client panicked".to_owned()
                }
                Err(_) => {
                    self.report(generation, Some(&Error::DeadlineExceeded));
                    return Err(Failure::Unavailable(format!(
                        "no answer within {} s",
                        CALL_DEADLINE.as_secs()
                    )));
                }
            };
            if Instant::now() + pause.0 >= deadline {
                return Err(Failure::Unavailable(why));
            }
            pause.wait().await;
        }
    }

    /// How a call of the client `generation` went. A client that cannot
    /// recover is replaced, and so is one whose server does not.
    pub(super) fn report(&self, generation: u64, error: Option<&Error>) {
        let mut current = self.current();
        if current.generation != generation {
            return;
        }
        let Some(error) = error else {
            current.errors = 0;
            return;
        };
        current.errors += 1;
        let is_dead = matches!(error, Error::ConnectionClosed | Error::GrpcConnectionError(_));
        if !is_dead && current.errors < PATIENCE {
            return;
        }
        match Client::new(self.settings.clone()) {
            Ok(client) => {
                tracing::info!(%error, "the EventStoreDB client is built anew");
                *current = Current { client, generation: generation + 1, errors: 0 };
            }
            Err(error) => tracing::warn!(%error, "the EventStoreDB client cannot be built anew"),
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the same call would fail the same way again.
pub(super) fn is_final(error: &Error) -> bool {
    match error {
        Error::WrongExpectedVersion { .. }
        | Error::ResourceDeleted
        | Error::ResourceNotFound
        | Error::ResourceAlreadyExists
        | Error::AccessDenied
        | Error::UnsupportedFeature => true,
        Error::Grpc { code, .. } => {
            matches!(code, Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange)
        }
        _ => false,
    }
}

/// The pause before the next attempt, twice as long each time.
pub(super) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_millis(50))
    }
}

impl Pause {
    const LONGEST: Duration = Duration::from_secs(2);

    pub(super) async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }
}
