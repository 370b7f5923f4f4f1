//! The reading half of the contract of 2016, for clients written then. They
//! are told what is public, which is less than they were told then.

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

use crate::app::App;
use crate::problem::views_unavailable;

/// So many pins are listed; the oldest first.
const PINS_MAX: usize = 20_000;

const PAGE: usize = 1_000;

/// What the original wraps its answers in.
#[derive(Serialize, ToSchema)]
pub(crate) struct OriginalAnswer {
    /// `null` when there is no such submission.
    response: Option<OriginalRecord>,
}

/// A submission in the original's words.
#[derive(Serialize, ToSchema)]
pub(crate) struct OriginalRecord {
    id: String,
    name: String,
    twitter: Option<String>,
    location: String,
    repo: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vote: Option<String>,
    /// `submitted`, `pending`, `successful` or `failed`.
    status: &'static str,
    /// Why.
    statusmsg: String,
    #[serde(rename = "submissionTime")]
    #[schema(value_type = String, format = DateTime)]
    submission_time: Timestamp,
    coordinates: OriginalCoordinates,
}

/// A place.
#[derive(Serialize, ToSchema)]
pub(crate) struct OriginalCoordinates {
    lat: f64,
    lng: f64,
}

/// The original's map and chart.
#[derive(Serialize, ToSchema)]
pub(crate) struct OriginalStats {
    /// The pins.
    submissions: Vec<OriginalPin>,
    /// Pins by vote.
    votes: BTreeMap<String, u64>,
}

/// A pin.
#[derive(Serialize, ToSchema)]
pub(crate) struct OriginalPin {
    /// The owner. A submission's own id opens its status and is nobody else's to know.
    id: String,
    name: String,
    twitter: Option<String>,
    coordinates: OriginalCoordinates,
}

/// A submission's record, as the original answered: 200 also for an unknown id.
#[utoipa::path(
    get,
    path = "/competition/{id}",
    tag = "as in 2016",
    params(("id" = String, Path, description = "The submission's id")),
    responses((status = 200, body = OriginalAnswer)),
)]
pub(crate) async fn competition(
    State(app): State<Arc<App>>,
    PathParameters(id): PathParameters<String>,
) -> Result<Json<OriginalAnswer>, Problem> {
    let view = match id.parse() {
        Ok(id) => app.submissions.get(id).await?,
        Err(_) => None,
    };
    Ok(Json(OriginalAnswer { response: view.map(OriginalRecord::from) }))
}

/// The pins and the votes, as the original answered.
#[utoipa::path(get, path = "/stats", tag = "as in 2016", responses((status = 200, body = OriginalStats)))]
pub(crate) async fn stats(State(app): State<Arc<App>>) -> Result<Json<OriginalStats>, Problem> {
    let mut submissions = Vec::new();
    let mut after = Position::START;
    loop {
        let page = app.queries.pins_changed(after, PAGE).await.map_err(views_unavailable)?;
        let Some(newest) = page.last() else { break };
        after = newest.position;
        submissions.extend(page.into_iter().filter(|pin| pin.passes > 0).map(|pin| OriginalPin {
            id: pin.owner,
            name: pin.name,
            twitter: pin.twitter,
            coordinates: OriginalCoordinates { lat: pin.lat, lng: pin.lon },
        }));
        if submissions.len() >= PINS_MAX {
            break;
        }
    }
    submissions.truncate(PINS_MAX);
    let votes =
        app.queries.stats().await.map_err(views_unavailable)?.answers.remove("vote").unwrap_or_default();
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
