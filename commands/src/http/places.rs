//! `GET /api/v1/places`: completes the name of a place while a participant types it.

use std::sync::Arc;

use axum::{Json, extract::State};
use http_edge::{Problem, QueryParameters};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};

use super::WriteApi;
use super::problem::stopping;

/// The largest number of completions.
const COMPLETIONS_MAX: usize = 8;

/// Places whose names begin with the given text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlaceCompletions {
    /// Full names, the largest place first. Each is accepted as a location.
    places: Vec<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PlaceQuery {
    /// The beginning of a city's name, in any script.
    #[serde(default)]
    q: String,
}

/// Completes the name of a place.
#[utoipa::path(
    get,
    path = "/api/v1/places",
    tag = "submissions",
    params(PlaceQuery),
    responses(
        (status = 200, description = "The completions; none if no name begins so.", body = PlaceCompletions),
        (status = 400, description = "The query string is malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests; see Retry-After.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Muster is stopping; see Retry-After.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn places(
    State(api): State<Arc<WriteApi>>,
    QueryParameters(query): QueryParameters<PlaceQuery>,
) -> Result<Json<PlaceCompletions>, Problem> {
    let gazetteer = api.gazetteer;
    // A text that begins no name is read in every way. Other requests do not wait for that.
    let found = spawn_blocking(move || gazetteer.suggest(&query.q, COMPLETIONS_MAX))
        .await
        .map_err(|_| stopping("Nothing was looked up"))?;
    Ok(Json(PlaceCompletions { places: found.iter().map(ToString::to_string).collect() }))
}
