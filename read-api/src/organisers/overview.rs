//! `GET /api/v1/organiser`: the submissions without a verdict, and the figures that show how verification goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::submission::{FailureCode, InterruptionCode};
use http_edge::{Problem, Reader};
use projections::view::{SetAsideView, StandstillView, StatusView, SubmissionStatus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::ReadState;
use crate::problem::views_unavailable;

/// The number of unfinished submissions that are listed.
const UNFINISHED_MAX: usize = 500;

/// The number of submissions that wait for an organiser's look and are listed.
const HELD_MAX: usize = 500;

/// The number of submissions that were given up and are listed.
const GIVEN_UP_MAX: usize = 100;

/// The state of the event, for organisers.
#[derive(Serialize, ToSchema)]
pub(crate) struct OrganiserOverview {
    /// The role of the token: `organiser`, `venue:NAME` or `analyst`. The rest is about that venue only.
    role: String,
    /// Why nothing is verified at present; `null` while a verifier works.
    #[serde(rename = "platform")]
    #[schema(required)]
    pause_reason: Option<String>,
    /// The cause of it, as the verifiers or the lack of verdicts tell it; `null` while a verifier works.
    #[serde(rename = "platform_cause")]
    #[schema(required)]
    pause_cause: Option<String>,
    /// The number of submissions that wait.
    waiting: u64,
    /// The number of submissions that are being verified.
    verifying: u64,
    /// The newest 500 submissions that wait or are being verified, oldest first.
    unfinished: Vec<StatusView>,
    /// The number of submissions that the platform could not run and gave up.
    given_up_count: u64,
    /// The newest 100 of these, oldest first. A rejudge gives one of them another attempt.
    given_up: Vec<StatusView>,
    /// The newest 500 submissions that have a refused word and wait for an organiser's look, oldest first.
    held: Vec<StatusView>,
    /// The submissions that stand still, at most 500, in the order of the events at which they do: this version of Muster
    /// cannot read these events.
    standing_still: Vec<StandstillView>,
    /// The events of strangers in streams with names of Muster's. They change nothing.
    set_aside: SetAsideView,
    /// The number of failed verdicts for each failure code.
    failures: BTreeMap<FailureCode, u64>,
    /// The number of interrupted attempts for each interruption code.
    interruptions: BTreeMap<InterruptionCode, u64>,
    /// The median time from acceptance to verdict, over the last hundred verdicts, in milliseconds.
    #[schema(required)]
    waited_ms_p50: Option<u64>,
    /// The 95th percentile of the same times, in milliseconds.
    #[schema(required)]
    waited_ms_p95: Option<u64>,
}

/// Returns the submissions without a verdict, and figures about verification.
#[utoipa::path(
    get,
    path = "/api/v1/organiser",
    operation_id = "get_organiser_overview",
    tag = "organisers",
    security(("token" = [])),
    responses(
        (status = 200, description = "The state of the event.", body = OrganiserOverview),
        (status = 401, description = "The organiser's token is missing or wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token's role does not permit it, or this server has no organiser's token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The views cannot be read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn overview(
    State(state): State<Arc<ReadState>>,
    reader: Reader,
) -> Result<Json<OrganiserOverview>, Problem> {
    let (views, venue) = (state.views.get().await?, reader.venue.as_deref());
    let stats = match venue {
        None => views.stats().await,
        Some(venue) => views.venue_stats(venue).await,
    };
    let stats = stats.map_err(views_unavailable)?;
    let count = |status| stats.submissions.get(&status).copied().unwrap_or_default();
    let unfinished = views.unfinished(venue, UNFINISHED_MAX).await.map_err(views_unavailable)?;
    let given_up = views.given_up(venue, GIVEN_UP_MAX).await.map_err(views_unavailable)?;
    let held = views.held(venue, HELD_MAX).await.map_err(views_unavailable)?;
    // A submission that cannot be read belongs to no known venue.
    let (standing_still, set_aside) = match venue {
        None => (
            views.standstills(UNFINISHED_MAX).await.map_err(views_unavailable)?,
            views.set_aside().await.map_err(views_unavailable)?,
        ),
        Some(_) => Default::default(),
    };
    Ok(Json(OrganiserOverview {
        role: reader.role.to_string(),
        pause_reason: state.pause_reason.borrow().clone(),
        pause_cause: state.pause_cause.borrow().clone(),
        waiting: count(SubmissionStatus::Submitted),
        verifying: count(SubmissionStatus::Verifying),
        unfinished,
        given_up_count: count(SubmissionStatus::GivenUp),
        given_up,
        held,
        standing_still,
        set_aside,
        failures: stats.failures,
        interruptions: stats.interruptions,
        waited_ms_p50: stats.waited_ms_p50,
        waited_ms_p95: stats.waited_ms_p95,
    }))
}
