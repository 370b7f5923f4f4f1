//! The routes of the system that ran the challenge in 2016, for clients written for it. They return the public fields
//! only, which are fewer than in 2016.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use event_store::Position;
use http_edge::{PathParameters, Problem};
use jiff::Timestamp;
use projections::view::{StatusView, SubmissionStatus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::ReadState;
use crate::problem::views_unavailable;

/// The number of pins that are listed; the oldest come first.
const PINS_MAX: usize = 20_000;

/// The number of pins that are read from the views at a time.
const PAGE_PINS: usize = 1_000;

/// The wrapper of a record, as in 2016.
#[derive(Serialize, ToSchema)]
pub(crate) struct OriginalAnswer {
    /// The record; `null` if there is no such submission.
    #[schema(required)]
    response: Option<OriginalRecord>,
}

/// A submission, in the fields of 2016.
#[derive(Serialize, ToSchema)]
pub(crate) struct OriginalRecord {
    /// The id of the submission.
    id: String,
    /// The name of the participant.
    name: String,
    /// The participant's Twitter account: `@account`.
    #[schema(required)]
    twitter: Option<String>,
    /// The location as the participant typed it.
    location: String,
    /// The names of the images.
    repo: Vec<String>,
    /// The answer to the question `vote`, if the challenge has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    vote: Option<String>,
    /// The status: `submitted`, `pending`, `successful` or `failed`.
    status: &'static str,
    /// A sentence that explains the status.
    statusmsg: String,
    /// The time when the submission was accepted.
    #[serde(rename = "submissionTime")]
    submission_time: Timestamp,
    /// The position of the location.
    coordinates: OriginalCoordinates,
}

/// A position in degrees.
#[derive(Serialize, ToSchema)]
pub(crate) struct OriginalCoordinates {
    /// The latitude in degrees north.
    lat: f64,
    /// The longitude in degrees east.
    lng: f64,
}

/// The map and the chart of 2016.
#[derive(Serialize, ToSchema)]
pub(crate) struct OriginalStats {
    /// The pins of the map.
    submissions: Vec<OriginalPin>,
    /// The number of pins for each answer to the question `vote`.
    votes: BTreeMap<String, u64>,
}

/// A pin of the map of 2016.
#[derive(Serialize, ToSchema)]
pub(crate) struct OriginalPin {
    /// The owner. The id of a submission is not shown, because it gives access to the submission's status.
    id: String,
    /// The name of the participant.
    name: String,
    /// The participant's Twitter account: `@account`.
    #[schema(required)]
    twitter: Option<String>,
    /// The position of the pin.
    coordinates: OriginalCoordinates,
}

/// Returns a submission's record as in 2016: with status 200 even if the id is unknown.
#[utoipa::path(
    get,
    path = "/competition/{id}",
    operation_id = "get_original_record",
    tag = "as in 2016",
    params(("id" = String, Path, description = "The id of the submission")),
    responses(
        (status = 200, description = "The record, or `null` if the id is unknown.", body = OriginalAnswer),
        (status = 400, description = "The id is not UTF-8 text.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The log or the views cannot be read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn original_record(
    State(state): State<Arc<ReadState>>,
    PathParameters(id): PathParameters<String>,
) -> Result<Json<OriginalAnswer>, Problem> {
    let view = match id.parse() {
        Ok(id) => state.submissions.get(id).await?,
        Err(_) => None,
    };
    Ok(Json(OriginalAnswer { response: view.map(OriginalRecord::from) }))
}

/// Returns the pins and the votes as in 2016.
#[utoipa::path(
    get,
    path = "/stats",
    operation_id = "get_original_stats",
    tag = "as in 2016",
    responses(
        (status = 200, description = "The pins and the votes.", body = OriginalStats),
        (status = 503, description = "The views cannot be read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn original_stats(
    State(state): State<Arc<ReadState>>,
) -> Result<Json<OriginalStats>, Problem> {
    let views = state.views.get().await?;
    let mut submissions = Vec::new();
    let mut after = Position::START;
    while submissions.len() < PINS_MAX {
        let page = views.pins_changed(after, PAGE_PINS).await.map_err(views_unavailable)?;
        let Some(newest) = page.last() else { break };
        after = newest.position;
        submissions.extend(page.into_iter().filter(|pin| pin.passes > 0).map(|pin| OriginalPin {
            id: pin.owner,
            name: pin.name,
            twitter: pin.twitter,
            coordinates: OriginalCoordinates { lat: pin.lat, lng: pin.lon },
        }));
    }
    submissions.truncate(PINS_MAX);
    let mut stats = views.stats().await.map_err(views_unavailable)?;
    let votes = stats.answers.remove("vote").unwrap_or_default();
    Ok(Json(OriginalStats { submissions, votes }))
}

impl From<StatusView> for OriginalRecord {
    fn from(mut view: StatusView) -> Self {
        let (status, statusmsg) = match view.status {
            SubmissionStatus::Submitted => {
                let waiting = view.waiting.map(|waiting| waiting.message);
                ("submitted", waiting.unwrap_or_else(|| "Waiting for images to be tested".to_owned()))
            }
            SubmissionStatus::Verifying => ("pending", "The images are being tested".to_owned()),
            SubmissionStatus::Passed => ("successful", "Validation passed".to_owned()),
            SubmissionStatus::Failed => {
                let reasons =
                    view.reasons.iter().map(|reason| format!("{} {}", reason.message, reason.advice));
                ("failed", reasons.collect::<Vec<_>>().join(" "))
            }
            // The contract of 2016 has no other word for an end without a pass.
            SubmissionStatus::Withdrawn => ("failed", "The submission was withdrawn".to_owned()),
            SubmissionStatus::GivenUp => {
                ("failed", view.waiting.map(|waiting| waiting.message).unwrap_or_default())
            }
        };
        Self {
            id: view.id.to_string(),
            name: view.name,
            twitter: view.twitter,
            location: view.location.typed,
            repo: view.images.iter().map(domain::ImageRef::familiar).collect(),
            vote: view.answers.remove("vote"),
            status,
            statusmsg,
            submission_time: view.submitted_at,
            coordinates: OriginalCoordinates { lat: view.location.lat, lng: view.location.lon },
        }
    }
}
