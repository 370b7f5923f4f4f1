//! Problem documents (RFC 9457): every error that the HTTP API answers.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use event_store::ReadError;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// The `Retry-After` of a problem with status 503 that names no other.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// A problem document, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says which kind of problem this is.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status code.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16)]
    status: StatusCode,
    /// A sentence that says what is wrong and what to do.
    detail: String,
    /// The fields or parameters that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

/// An error in one field or parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// The name of the field or parameter, such as `name`, `images[1]` or `bbox`.
    pub field: String,
    /// A sentence that says what to write instead.
    pub message: String,
    /// Values that may have been meant; each of them would be accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suggestions: Vec<String>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER),
        }
    }

    /// Creates the problem of a body with wrong fields: 422.
    pub fn fields(errors: Vec<FieldProblem>) -> Self {
        let detail = match &errors[..] {
            [error] => format!("{} is wrong.", error.field),
            errors => format!("{} fields are wrong.", errors.len()),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// Creates the problem of a wrong parameter: 400.
    pub fn parameter(name: &str, message: impl Into<String>) -> Self {
        let error = FieldProblem::new(name, message);
        let detail = format!("{name}: {}", error.message);
        Self { errors: vec![error], ..Self::new(StatusCode::BAD_REQUEST, detail) }
    }

    /// Creates the problem of a thing that does not exist: 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// Creates the problem of a client or an owner that sent too many requests: 429.
    pub fn too_many_requests(sender: &str, retry_after: Duration) -> Self {
        let detail = format!("Too many requests {sender}; try again in {} s.", whole_seconds(retry_after));
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(retry_after)
    }

    /// Creates the problem of a server that cannot do its part at present: 503.
    /// The same request may succeed in two seconds.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Sets the header `Retry-After`, rounded up to whole seconds.
    pub fn retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn errors(&self) -> &[FieldProblem] {
        &self.errors
    }
}

impl FieldProblem {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), suggestions: Vec::new() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status, self.retry_after);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(retry_after) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<ReadError> for Problem {
    /// Keeps the store's own message for the operator's log, except for a refusal.
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::Unavailable(_) => {
                tracing::warn!(%error, "the event log cannot be read");
                Self::unavailable("The event log cannot be read at present; try again in a few seconds.")
            }
            ReadError::StreamDeleted(_) => {
                Self::new(StatusCode::GONE, "An operator deleted this from the log.")
            }
            ReadError::BeyondEnd { .. } | ReadError::OtherLog { .. } => {
                Self::parameter("after", error.to_string())
            }
            ReadError::Refused(reason) => {
                Self::new(StatusCode::BAD_REQUEST, format!("The event log refused the request: {reason}."))
            }
            ReadError::Corrupt(_) | ReadError::DamagedEvent { .. } => {
                tracing::error!(%error, "the event log cannot be read: restore it from a backup");
                let detail = "The event log is damaged, by no fault of yours; the operator's log says where.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
            ReadError::Undecodable { .. } => {
                tracing::error!(%error, "an event of the log cannot be decoded");
                let detail = "An event of this history cannot be decoded; the operator's log says which.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
        }
    }
}

fn as_number<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

/// Rounds up, so that a client that waits this long does not come too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
