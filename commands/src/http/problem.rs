//! Problems that only the write API answers.

use std::time::Duration;

use axum::http::StatusCode;
use domain::Rejection;
use http_edge::Problem;

use crate::CommandError;

/// When a client may try again after a failure of ours.
const RETRY_AFTER: Duration = Duration::from_secs(5);

pub(super) fn no_such_submission() -> Problem {
    Problem::not_found("There is no submission of this id.")
}

/// Returns the answer to a request whose task was cancelled because the process stops.
pub(super) fn stopping(recorded: &str) -> Problem {
    let detail = format!("Muster is stopping. {recorded}; send the same request again soon.");
    Problem::unavailable(detail).retry_after(RETRY_AFTER)
}

impl From<CommandError> for Problem {
    /// Keeps the store's own message for the operator's log.
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Rejected(Rejection::Unknown) => no_such_submission(),
            CommandError::Rejected(Rejection::AlreadySubmitted) => Self::new(
                StatusCode::CONFLICT,
                "This Idempotency-Key was used for a different submission; send another key.",
            ),
            CommandError::Rejected(rejection) => {
                Self::new(StatusCode::CONFLICT, format!("This is not possible: {rejection}."))
            }
            CommandError::Contended(_) => {
                let detail =
                    "Others changed this submission at the same time. Nothing was recorded; try again.";
                Self::unavailable(detail).retry_after(Duration::from_secs(1))
            }
            CommandError::StandsStill(reason) => {
                tracing::warn!(%reason, "a command cannot be decided, because its submission stands still");
                let detail = "This submission stands still, because this version of Muster cannot read one of its \
                    events. Nothing was recorded; its status says more.";
                Self::unavailable(detail).retry_after(RETRY_AFTER)
            }
            CommandError::UnknownRules(reason) => {
                tracing::warn!(%reason, "a command cannot be decided, because its rules are not known");
                let detail = "This version of Muster does not know all rules of this submission. Nothing was recorded; \
                    try again later.";
                Self::unavailable(detail).retry_after(RETRY_AFTER)
            }
            CommandError::Deleted(_) => {
                Self::new(StatusCode::GONE, "This submission was deleted from the log by an operator.")
            }
            CommandError::Unavailable(reason) => {
                tracing::error!(%reason, "a command was not recorded, because the event log is unavailable");
                let detail = "The event log cannot be written at present, through no fault of yours. \
                    Send the same request again later; with an Idempotency-Key it is never recorded twice.";
                Self::unavailable(detail).retry_after(RETRY_AFTER)
            }
            CommandError::Impossible(reason) => {
                tracing::error!(%reason, "a command cannot be carried out, because the event log refuses it");
                let detail =
                    "This cannot be recorded, through no fault of yours; the operator's log says why.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
        }
    }
}
