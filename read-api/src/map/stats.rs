//! `GET /api/v1/stats`: the totals over all submissions.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use http_edge::{Problem, QueryParameters};
use projections::view::StatsView;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::conditional::{self, ETag, to_json};
use crate::problem::views_unavailable;

/// When.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatsParameters {
    /// As they were at this moment: `2026-03-21T12:00:00Z`. Now if absent.
    at: Option<String>,
}

/// The totals over all submissions.
#[utoipa::path(
    get,
    path = "/api/v1/stats",
    tag = "map",
    params(StatsParameters),
    responses(
        (status = 200, body = StatsView),
        (status = 304, description = "They are as the client has them"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn stats(
    State(app): State<Arc<App>>,
    QueryParameters(parameters): QueryParameters<StatsParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let stats = app.queries_at(parameters.at.as_deref()).await?.stats().await.map_err(views_unavailable)?;
    Ok(conditional::json(&headers, ETag::of_number(stats.position.0), || to_json(&stats)))
}
