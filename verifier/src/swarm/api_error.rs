//! The meaning of an engine's error for the caller's next step.
//!
//! An error of the Swarm passes through several layers of the engine, which keep little of it but its text.
//! So the text is searched for known phrases.

use bollard::errors::Error;

use super::SwarmError;

/// An engine's error, by the caller's next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// The object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// An object of this name exists already.
    #[error("{0}")]
    Conflict(String),
    /// Another object still uses it.
    #[error("{0}")]
    InUse(String),
    /// Ask another manager. The call may or may not have been carried out.
    #[error("{0}")]
    Unavailable(String),
    /// The engine refuses. Trying again does not help.
    #[error("{0}")]
    Refused(String),
}

impl ApiError {
    /// Classifies a response by its HTTP status and its message.
    pub(super) fn from_status(status: u16, message: String) -> Self {
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
        let says = |phrase: &str| message.contains(phrase);
        match status {
            400 if says("HTTP request to an HTTPS server") => {
                Self::Unavailable("it speaks TLS, and no certificates are configured for it".to_owned())
            }
            _ if ANOTHER_MANAGER.into_iter().any(says) => Self::Unavailable(message),
            _ if says("is in use by") => Self::InUse(message),
            _ if status == 409 || says("name conflicts with an existing object") => Self::Conflict(message),
            404 => Self::NotFound(message),
            // Errors of the managers' store and of the network driver have status 500.
            500.. => Self::Unavailable(message),
            _ => Self::Refused(message),
        }
    }

    /// Turns [`ApiError::NotFound`] into success, for removals.
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
                Self::from_status(status_code, message)
            }
            Error::SocketNotFoundError(_) => Self::Unavailable("the socket does not exist".to_owned()),
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } => Self::Refused(error.to_string()),
            other => Self::Unavailable(with_causes(&other)),
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

/// Returns an error together with its causes, on one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_an_error_decides_its_kind() {
        let from = |status, words: &str| ApiError::from_status(status, words.to_owned());
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
            assert!(matches!(from(status, words), ApiError::Unavailable(_)), "{words}");
        }
        let conflict = "rpc error: code = AlreadyExists desc = name conflicts with an existing object";
        assert!(matches!(from(409, conflict), ApiError::Conflict(_)));
        assert!(matches!(from(500, conflict), ApiError::Conflict(_)));
        let in_use = "rpc error: code = FailedPrecondition desc = network x is in use by task y";
        assert!(matches!(from(400, in_use), ApiError::InUse(_)));
        assert!(matches!(from(404, "service x not found"), ApiError::NotFound(_)));
        assert!(matches!(from(400, "invalid reference"), ApiError::Refused(_)));
    }
}
