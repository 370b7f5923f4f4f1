//! `GET /api/v1/organiser`: what waits and why, for those who look after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::submission::{FailureCode, InterruptionCode};
use http_edge::{Organiser, Problem};
use projections::view::{StatusView, SubmissionStatus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::problem::views_unavailable;

/// So many unfinished submissions are listed: the newest.
const LISTED_MAX: usize = 500;

/// How things stand.
#[derive(Serialize, ToSchema)]
pub(crate) struct OrganiserOverview {
    /// Why nothing is verified just now; `null` while all is well.
    platform: Option<String>,
    /// How many submissions wait.
    waiting: u64,
    /// How many are being verified.
    verifying: u64,
    /// Those that wait or are being verified, oldest first; the newest 500.
    unfinished: Vec<StatusView>,
    /// Failed verdicts by reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    failures: BTreeMap<FailureCode, u64>,
    /// Attempts that we broke off, by fault.
    #[schema(value_type = BTreeMap<String, u64>)]
    interruptions: BTreeMap<InterruptionCode, u64>,
    /// From acceptance to verdict over the last hundred verdicts, milliseconds: half took no longer.
    waited_ms_p50: Option<u64>,
    /// As before; 95 in a hundred took no longer.
    waited_ms_p95: Option<u64>,
}

/// What waits and why.
#[utoipa::path(
    get,
    path = "/api/v1/organiser",
    tag = "organisers",
    security(("token" = [])),
    responses(
        (status = 200, body = OrganiserOverview),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn organiser(
    State(app): State<Arc<App>>,
    _: Organiser,
) -> Result<Json<OrganiserOverview>, Problem> {
    let stats = app.queries.stats().await.map_err(views_unavailable)?;
    let count = |status| stats.submissions.get(&status).copied().unwrap_or_default();
    let unfinished = app.queries.unfinished(LISTED_MAX).await.map_err(views_unavailable)?;
    Ok(Json(OrganiserOverview {
        platform: app.platform.borrow().clone(),
        waiting: count(SubmissionStatus::Submitted),
        verifying: count(SubmissionStatus::Verifying),
        unfinished,
        failures: stats.failures,
        interruptions: stats.interruptions,
        waited_ms_p50: stats.waited_ms_p50,
        waited_ms_p95: stats.waited_ms_p95,
    }))
}
