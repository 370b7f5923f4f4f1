//! The one client, which is replaced when it cannot recover, and calls that are repeated until their
//! deadline.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::esdb::{Client, ClientSettings, Credentials, Error};
use tokio::time::{Instant, sleep, timeout_at};

use super::{call_error::CallError, connect::ConnectError, panic_guard::guard};

/// The time after which a call is given up, its repetitions included.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// The number of errors in a row after which another server of the cluster is tried.
const SERVER_ERRORS_MAX: u32 = 2;

/// Adds the client's credentials to the options of a call.
macro_rules! authenticated {
    ($client:expr, $options:expr) => {
        match &$client.credentials {
            Some(credentials) => $options.authenticated(credentials.clone()),
            None => $options,
        }
    };
}

pub(super) use authenticated;

/// The client of a server or a cluster, replaced when it cannot recover.
pub(super) struct ManagedClient {
    settings: ClientSettings,
    /// The credentials of each call, if the address has any.
    pub(super) credentials: Option<Credentials>,
    current: Mutex<CurrentClient>,
}

struct CurrentClient {
    client: Client,
    /// The number of clients before this one, so that a late report does not replace its successor.
    generation: u64,
    /// The number of errors since the last answer.
    errors: u32,
}

impl ManagedClient {
    pub(super) fn new(
        settings: ClientSettings,
        credentials: Option<Credentials>,
    ) -> Result<Self, ConnectError> {
        let client =
            Client::new(settings.clone()).map_err(|error| ConnectError::Client(error.to_string()))?;
        Ok(Self {
            settings,
            credentials,
            current: Mutex::new(CurrentClient { client, generation: 0, errors: 0 }),
        })
    }

    pub(super) fn hosts(&self) -> &Vec<::esdb::Endpoint> {
        self.settings.hosts()
    }

    /// Returns the client in use, and its generation for [`ManagedClient::report`].
    pub(super) fn current_client(&self) -> (Client, u64) {
        let current = self.current();
        (current.client.clone(), current.generation)
    }

    /// Repeats a call until it has an answer, its error is final, or [`CALL_DEADLINE`] is over.
    pub(super) async fn call<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, CallError>
    where
        F: Future<Output = ::esdb::Result<T>>,
    {
        let deadline = Instant::now() + CALL_DEADLINE;
        let mut pause = RetryPause::default();
        loop {
            let (client, generation) = self.current_client();
            let why = match timeout_at(deadline, guard(call(client))).await {
                Ok(Ok(Ok(answer))) => {
                    self.report(generation, None);
                    return Ok(answer);
                }
                Ok(Ok(Err(error))) => {
                    if let Some(error) = CallError::of_final(&error) {
                        return Err(error);
                    }
                    self.report(generation, Some(&error));
                    error.to_string()
                }
                Ok(Err(_)) => {
                    self.report(generation, Some(&Error::ConnectionClosed));
                    "the EventStoreDB client panicked".to_owned()
                }
                Err(_) => {
                    self.report(generation, Some(&Error::DeadlineExceeded));
                    return Err(CallError::Unavailable(format!(
                        "the event store gave no answer within {} s",
                        CALL_DEADLINE.as_secs()
                    )));
                }
            };
            if Instant::now() + pause.0 >= deadline {
                return Err(CallError::Unavailable(why));
            }
            pause.wait().await;
        }
    }

    /// Records the result of a call with the client `generation`. Replaces the client if it cannot recover,
    /// or if its server keeps failing.
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
        if !is_dead && current.errors < SERVER_ERRORS_MAX {
            return;
        }
        match Client::new(self.settings.clone()) {
            Ok(client) => {
                tracing::info!(%error, "replaced the EventStoreDB client after an error");
                *current = CurrentClient { client, generation: generation + 1, errors: 0 };
            }
            Err(error) => tracing::warn!(%error, "could not replace the EventStoreDB client"),
        }
    }

    fn current(&self) -> MutexGuard<'_, CurrentClient> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause before a repetition, which doubles each time.
pub(super) struct RetryPause(Duration);

impl Default for RetryPause {
    fn default() -> Self {
        Self(Duration::from_millis(50))
    }
}

impl RetryPause {
    const LONGEST: Duration = Duration::from_secs(2);

    pub(super) async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }
}
