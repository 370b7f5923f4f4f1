//! The meaning of the client's errors: which calls are worth repeating.

use ::esdb::Error;
use tonic::Code;

use crate::{AppendError, ReadError};

/// The reason why a call failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// The server refused, and would refuse the same call again.
    Final(Error),
    /// The server's log is damaged.
    Corrupt(String),
    /// No server answered in time.
    Unavailable(String),
}

impl CallError {
    /// Returns the error of a call that would fail the same way again; `None` if the call is worth repeating.
    pub(super) fn of_final(error: &Error) -> Option<Self> {
        match error {
            Error::WrongExpectedVersion { .. }
            | Error::ResourceDeleted
            | Error::ResourceNotFound
            | Error::ResourceAlreadyExists
            | Error::AccessDenied
            | Error::UnsupportedFeature => Some(Self::Final(error.clone())),
            Error::Grpc { code, .. } => {
                matches!(code, Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange)
                    .then(|| Self::Final(error.clone()))
            }
            Error::ServerError(text) => data_loss(text).map(Self::Corrupt),
            _ => None,
        }
    }
}

impl From<CallError> for ReadError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Final(error) => Self::Refused(error.to_string()),
            CallError::Corrupt(why) => Self::Corrupt(why),
            CallError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl From<CallError> for AppendError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Final(error) => Self::Refused(error.to_string()),
            CallError::Corrupt(why) => Self::Corrupt(why),
            CallError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

/// Returns the server's message if its status was `DATA_LOSS`. The client keeps the status only as the text
/// that tonic makes of it.
fn data_loss(text: &str) -> Option<String> {
    let message = text.strip_prefix("status: DataLoss, message: \"")?;
    let end = message.find("\", details: ").unwrap_or(message.len());
    Some(message[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn only_data_loss_means_that_the_log_is_damaged() {
        let error = |status: Status| CallError::of_final(&Error::from_grpc(status));
        let corrupt = error(Status::data_loss("page 7 is damaged"));
        assert!(
            matches!(&corrupt, Some(CallError::Corrupt(why)) if why == "page 7 is damaged"),
            "{corrupt:?}"
        );
        assert!(error(Status::unavailable("DataLoss")).is_none());
        assert!(error(Status::internal("status: DataLoss, message: \"")).is_none());
    }
}
