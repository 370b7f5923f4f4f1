//! What is answered when something is wrong: RFC 9457 problem documents.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{Rejection, challenge};
use serde::Serialize;
use utoipa::ToSchema;

use crate::CommandError;

/// When to come back after a failure of ours.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A problem document, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SubmissionProblem)]
pub(super) struct Problem {
    /// Always `about:blank`: the status says of what kind the problem is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status, in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, in a sentence.
    pub(super) detail: String,
    /// Each field that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<FieldProblem>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SubmissionFieldProblem)]
pub(super) struct FieldProblem {
    /// `name`, `images[1]`, `vote`, …
    pub(super) field: String,
    /// A sentence that says what to write instead.
    pub(super) message: String,
    /// What may have been meant; each would be accepted as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) suggestions: Vec<String>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    pub(super) fn fields(errors: Vec<FieldProblem>) -> Self {
        let detail = match &errors[..] {
            [one] => format!("{} is wrong.", one.field),
            several => format!("{} fields are wrong.", several.len()),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    pub(super) fn too_many(who: &str, wait: Duration) -> Self {
        let detail = format!("Too many requests {who}; try again in {} s.", seconds(wait));
        Self { retry_after: Some(wait), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// What is no fault of theirs and will be over soon.
    pub(super) fn later(detail: &str, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// Whether whoever asked can mend it by asking for something else.
    pub(super) fn is_wrong_input(&self) -> bool {
        matches!(self.status, 400 | 413 | 415 | 422)
    }
}

impl FieldProblem {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), suggestions: Vec::new() }
    }
}

impl From<challenge::FieldError> for FieldProblem {
    fn from(error: challenge::FieldError) -> Self {
        Self::new(error.field, error.message)
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Rejected(Rejection::Unknown) => {
                Self::new(StatusCode::NOT_FOUND, "There is no submission of this id.")
            }
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
                Self::later(detail, Duration::from_secs(1))
            }
            CommandError::Unavailable(why) => {
                tracing::error!(%why, "a command was not recorded");
                let detail = "The event log cannot be written at the moment, by no fault of yours. \
                    Send the same again later; with an Idempotency-Key it is never recorded twice.";
                Self::later(detail, RETRY_AFTER)
            }
            CommandError::Impossible(why) => {
                tracing::error!(%why, "a command cannot be carried out");
                let detail = "This cannot be recorded, by no fault of yours; the operator's log says why.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Whole seconds, so that whoever waits them does not come too early.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
