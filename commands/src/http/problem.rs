//! Problems that only the write API answers.

use std::time::Duration;

use axum::http::StatusCode;
use domain::Rejection;
use http_edge::Problem;

use crate::CommandError;

/// When a client may try again after a failure of ours.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

pub(super) fn no_such_submission() -> Problem {
    Problem::not_found("There is no submission of this id.")
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Rejected(Rejection::Unknown) => no_such_submission(),
            CommandError::Rejected(Rejection::AlreadySubmitted) => Self::new(
                StatusCode::CONFLICT,
                "Something else was submitted with this Idempotency-Key; choose another for another submission.",
            ),
            CommandError::Rejected(rejection) => {
                Self::new(StatusCode::CONFLICT, format!("That cannot be done: {rejection}."))
            }
            CommandError::Contended(_) | CommandError::Overtaken { .. } => {
                let detail =
                    "Others changed this submission at the same time. Nothing was recorded; try again.";
                Self::unavailable(detail).retry_after(Duration::from_secs(1))
            }
            CommandError::Unavailable(why) => {
                tracing::error!(%why, "a command was not recorded");
                let detail = "The event log cannot be written at the moment, by no fault of yours. \
                    Send the same again later; with an Idempotency-Key it is never recorded twice.";
                Self::unavailable(detail).retry_after(RETRY_AFTER)
            }
            CommandError::Impossible(why) => {
                tracing::error!(%why, "a command cannot be carried out");
                let detail = "This cannot be recorded, by no fault of yours; the operator's log says why.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
        }
    }
}
