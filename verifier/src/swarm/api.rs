//! What an engine's error means for the next step, and which manager to ask.
//!
//! Engines speak of the Swarm through layers that keep little of an error but
//! its words, so words are what is looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bollard::errors::Error;
use tokio::time::timeout;

use super::SwarmError;
use super::engine::{Engine, causes};

/// What an engine answers, by what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// There is no such thing.
    NotFound(String),
    /// There is one of that name.
    Conflict(String),
    /// Something uses it still.
    InUse(String),
    /// Ask another manager; whether it was done is not known.
    Unavailable(String),
    /// It will not be done.
    Refused(String),
}

/// The managers, of which any will do. The one that last answered is asked first.
pub(super) struct SwarmManagers {
    engines: Vec<Arc<Engine>>,
    current: AtomicUsize,
}

impl SwarmManagers {
    pub(super) fn new(engines: Vec<Arc<Engine>>) -> Self {
        Self { engines, current: AtomicUsize::new(0) }
    }

    /// Every engine, the one that last answered first.
    pub(super) fn engines(&self) -> impl Iterator<Item = &Arc<Engine>> {
        let current = self.current.load(Ordering::Relaxed);
        (0..self.engines.len()).map(move |next| &self.engines[(current + next) % self.engines.len()])
    }

    /// Asks one manager after the other until one knows. Each has `patience` to
    /// answer, for the client's own limit ends at the headers.
    pub(super) async fn ask<T, F>(
        &self,
        patience: Duration,
        call: impl Fn(Arc<Engine>) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let first = self.current.load(Ordering::Relaxed);
        let mut said = Vec::new();
        for next in 0..self.engines.len() {
            let index = (first + next) % self.engines.len();
            let engine = &self.engines[index];
            let answer = timeout(patience, call(Arc::clone(engine))).await;
            let answer = answer
                .unwrap_or_else(|_| Err(ApiError::Unavailable(format!("no answer within {patience:?}"))));
            match answer {
                Err(ApiError::Unavailable(why)) => said.push(format!("{}: {why}", engine.endpoint())),
                known => {
                    self.current.store(index, Ordering::Relaxed);
                    return known;
                }
            }
        }
        Err(ApiError::Unavailable(format!("no Swarm manager answers at {}", said.join("; "))))
    }
}

impl ApiError {
    /// What an HTTP status with these words means.
    pub(super) fn of_status(status: u16, message: String) -> Self {
        const ANOTHER_MANAGER: [&str; 9] = [
            "does not have a leader",
            "no elected cluster leader",
            "lost leader status",
            "context deadline exceeded",
            "context canceled",
            "is closing",
            "connection error",
            "not a swarm manager",
            "not part of a swarm",
        ];
        let says = |words: &str| message.contains(words);
        match status {
            400 if says("HTTP request to an HTTPS server") => {
                Self::Unavailable("it wants TLS, and no certificates are named for it".to_owned())
            }
            _ if ANOTHER_MANAGER.into_iter().any(says) => Self::Unavailable(message),
            _ if says("is in use by") => Self::InUse(message),
            _ if status == 409 || says("name conflicts with an existing object") => Self::Conflict(message),
            404 => Self::NotFound(message),
            // What the store or the network driver says of itself comes as 500.
            500.. => Self::Unavailable(message),
            _ => Self::Refused(message),
        }
    }

    /// Not finding what is to be removed is as good as removing it.
    pub(super) fn unless_gone(result: Result<(), Self>) -> Result<(), Self> {
        match result {
            Err(Self::NotFound(_)) => Ok(()),
            other => other,
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self::of_status(status_code, message)
            }
            Error::SocketNotFoundError(_) => Self::Unavailable("there is no such socket".to_owned()),
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } => Self::Refused(error.to_string()),
            other => Self::Unavailable(causes(&other)),
        }
    }
}

impl From<ApiError> for SwarmError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Unavailable(why) => Self::Unavailable(why),
            ApiError::InUse(why) => Self::InUse(why),
            ApiError::NotFound(why) | ApiError::Conflict(why) | ApiError::Refused(why) => Self::Refused(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_its_words() {
        let of = |status, words: &str| ApiError::of_status(status, words.to_owned());
        for (status, words) in [
            (
                500,
                "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few",
            ),
            (500, "rpc error: code = Unavailable desc = node lost leader status"),
            (500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded"),
            (503, "This node is not a swarm manager. Use \"docker swarm init\""),
            (500, "something new"),
        ] {
            assert!(matches!(of(status, words), ApiError::Unavailable(_)), "{words}");
        }
        let conflict = "rpc error: code = AlreadyExists desc = name conflicts with an existing object";
        assert!(matches!(of(409, conflict), ApiError::Conflict(_)));
        assert!(matches!(of(500, conflict), ApiError::Conflict(_)));
        let in_use = "rpc error: code = FailedPrecondition desc = network x is in use by task y";
        assert!(matches!(of(400, in_use), ApiError::InUse(_)));
        assert!(matches!(of(404, "service x not found"), ApiError::NotFound(_)));
        assert!(matches!(of(400, "invalid reference"), ApiError::Refused(_)));
    }
}
