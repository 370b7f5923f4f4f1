//! What operators and their tools ask: whether the process lives, whether it
//! can serve, and how much it does.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use event_store::Filter;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::problem::Problem;

/// How long the views may take to reach what the log had when asked.
const CATCH_UP: Duration = Duration::from_secs(1);

/// How long a store may take to say where it is.
const STORE_DEADLINE: Duration = Duration::from_secs(2);

/// Whether requests should be sent here.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Whether.
    ready: bool,
    /// Why not.
    reasons: Vec<String>,
}

/// Whether the process lives: it answers.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, body = String)))]
pub(crate) async fn healthz() -> &'static str {
    "alive\n"
}

/// Whether requests should be sent here, and why not.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)),
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> impl IntoResponse {
    let stopping = app.stopping.is_cancelled().then(|| "the process is stopping".to_owned());
    let reasons: Vec<String> = stopping.into_iter().chain(behind(&app).await).collect();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready: reasons.is_empty(), reasons }))
}

/// Counters and gauges in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    responses(
        (status = 200, content_type = "application/openmetrics-text", body = String),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    // What cannot be read stays as it was: the other figures are needed most then.
    if let Ok(stats) = app.queries.stats().await {
        app.metrics.set_views(&stats);
    }
    if let Ok(Ok(head)) = tokio::time::timeout(STORE_DEADLINE, app.log.head()).await {
        app.metrics.set_positions(head, *app.queries.watch().borrow());
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.to_text()).into_response()
}

/// Why what is read here may be old.
async fn behind(app: &App) -> Option<String> {
    let head = match tokio::time::timeout(STORE_DEADLINE, app.log.head()).await {
        Ok(Ok(head)) => head,
        Ok(Err(error)) => return Some(format!("the log cannot be read: {error}")),
        Err(_) => return Some(format!("the log did not answer within {} s", STORE_DEADLINE.as_secs())),
    };
    match tokio::time::timeout(STORE_DEADLINE, app.queries.checkpoint()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Some(format!("the views cannot be read: {error}")),
        Err(_) => return Some(format!("the views did not answer within {} s", STORE_DEADLINE.as_secs())),
    }
    let mut checkpoint = app.queries.watch();
    let reached = checkpoint.wait_for(|seen| *seen >= head);
    if matches!(tokio::time::timeout(CATCH_UP, reached).await, Ok(Ok(_))) {
        return None;
    }
    // The log may have grown by what is not the views' to see.
    let seen = *app.queries.watch().borrow();
    let unseen = app.log.read_all(seen, &Filter::stream_prefix("submission-"), 1).await;
    match unseen {
        Ok(page) if page.events.is_empty() && page.end => None,
        _ => Some(format!("the views are at {seen} of {head}")),
    }
}
