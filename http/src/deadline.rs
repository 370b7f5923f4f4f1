//! The deadline of an ordinary response.

use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Problem;

/// The time for an ordinary response.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(10);

/// Answers 503 if a handler takes longer than ten seconds. Routes that wait for news on purpose do without it.
pub async fn within_deadline(request: Request, next: Next) -> Response {
    tokio::time::timeout(RESPONSE_DEADLINE, next.run(request)).await.unwrap_or_else(|_| {
        Problem::unavailable("The response takes too long at present; try again in a moment.").into_response()
    })
}
