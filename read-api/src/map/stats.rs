//! `GET /api/v1/stats`: the totals over all submissions, or over those of a venue.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use http_edge::{Problem, QueryParameters};
use projections::view::StatsView;
use projections::{QueryError, ViewQueries};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::ReadState;
use crate::conditional::{self, ETag, to_json};
use crate::map::venues::past_map;
use crate::problem::views_unavailable;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatsParameters {
    /// Show the totals as they were at this moment: `2026-03-21T12:00:00Z`. The default is now.
    at: Option<String>,
    /// Only what belongs to the venue with this short name: `berlin`.
    venue: Option<String>,
}

/// Returns the totals over all submissions, or over those of a venue.
#[utoipa::path(
    get,
    path = "/api/v1/stats",
    operation_id = "get_stats",
    tag = "map",
    params(StatsParameters),
    responses(
        (status = 200, description = "The totals.", body = StatsView),
        (status = 304, description = "Nothing changed since the client read the totals."),
        (status = 400, description = "A parameter is wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such venue.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The views cannot be read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn stats(
    State(state): State<Arc<ReadState>>,
    QueryParameters(parameters): QueryParameters<StatsParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let venue = state.venues.find(parameters.venue.as_deref())?;
    let queries = state.queries_at(parameters.at.as_deref()).await?;
    let place = queries.resume_point().await.map_err(views_unavailable)?;
    let stats = match (venue, &parameters.at) {
        (Some(venue), Some(_)) => past_stats(&*queries, venue).await,
        (venue, _) => state.venues.stats(&*queries, venue).await,
    };
    let stats = stats.map_err(views_unavailable)?;
    Ok(conditional::json(&headers, ETag::of_views(&*queries, &place, stats.position), || to_json(&stats)))
}

async fn past_stats(queries: &dyn ViewQueries, venue: &str) -> Result<StatsView, QueryError> {
    let stats = queries.venue_stats(venue).await?;
    Ok(StatsView { places: past_map(queries, venue).await?.places(), ..stats })
}
