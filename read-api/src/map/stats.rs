//! `GET /api/v1/stats`: the totals over all submissions.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use http_edge::{Problem, QueryParameters};
use projections::view::StatsView;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::ReadState;
use crate::conditional::{self, ETag, to_json};
use crate::problem::views_unavailable;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatsParameters {
    /// Show the totals as they were at this moment: `2026-03-21T12:00:00Z`. The default is now.
    at: Option<String>,
}

/// Returns the totals over all submissions.
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
        (status = 503, description = "The views cannot be read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn stats(
    State(state): State<Arc<ReadState>>,
    QueryParameters(parameters): QueryParameters<StatsParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let queries = state.queries_at(parameters.at.as_deref()).await?;
    let stats = queries.stats().await.map_err(views_unavailable)?;
    Ok(conditional::json(&headers, ETag::from_number(stats.position.0), || to_json(&stats)))
}
