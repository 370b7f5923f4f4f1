//! What operators and their tools ask of any of our processes: whether it
//! lives, whether it can do its part, and how much it does.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, middleware};
use event_store::{EventFilter, Position, Read};
use projections::ViewQueries;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::within_deadline;
use crate::metrics::Metrics;
use crate::problem::Problem;

/// How long the views may take to reach what the log had when asked.
const CATCH_UP: Duration = Duration::from_secs(1);

/// How long a store may take to say where it is.
const STORE_DEADLINE: Duration = Duration::from_secs(2);

/// What a process needs to do its part.
#[derive(Clone)]
pub struct Operations {
    /// The log; nothing works without it.
    pub log: Arc<dyn Read>,
    /// The views, if this process writes or reads them.
    pub views: Option<Arc<dyn ViewQueries>>,
    /// What else keeps the process from its part, in a sentence for the
    /// operator; `None` while nothing does. Without it there is nothing else.
    pub hindrance: Option<watch::Receiver<Option<String>>>,
    /// Where everything is counted; [`crate::site`] takes the same.
    pub metrics: Metrics,
    /// Cancelled when the process is asked to stop: it is no longer ready.
    pub stopping: CancellationToken,
}

/// `/healthz`, `/readyz` and `/metrics`, with their description.
pub fn operations(operations: Operations) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .layer(middleware::from_fn(within_deadline))
        .with_state(Arc::new(operations))
}

/// Whether the process can do its part.
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

/// Whether the process can do its part, and why not.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)),
)]
pub(crate) async fn readyz(State(process): State<Arc<Operations>>) -> impl IntoResponse {
    let stopping = process.stopping.is_cancelled().then(|| "the process is stopping".to_owned());
    let hindered = process.hindrance.as_ref().and_then(|hindrance| hindrance.borrow().clone());
    let reasons: Vec<String> = stopping.into_iter().chain(hindered).chain(process.cut_off().await).collect();
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
pub(crate) async fn metrics(State(process): State<Arc<Operations>>) -> Response {
    // What cannot be read stays as it was: the other figures are needed most then.
    if let Ok(head) = process.head().await {
        process.metrics.set_head(head);
        if let Some(views) = &process.views {
            process.metrics.set_checkpoint(head, *views.watch().borrow());
        }
    }
    if let Some(views) = &process.views
        && let Ok(stats) = views.stats().await
    {
        process.metrics.set_views(&stats);
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], process.metrics.to_text()).into_response()
}

impl Operations {
    async fn head(&self) -> Result<Position, String> {
        match tokio::time::timeout(STORE_DEADLINE, self.log.head()).await {
            Ok(head) => head.map_err(|error| format!("the log cannot be read: {error}")),
            Err(_) => Err(format!("the log did not answer within {} s", STORE_DEADLINE.as_secs())),
        }
    }

    /// Why nothing can be done here, or what is read here may be old.
    async fn cut_off(&self) -> Option<String> {
        let head = match self.head().await {
            Ok(head) => head,
            Err(why) => return Some(why),
        };
        behind(&*self.log, &**self.views.as_ref()?, head).await
    }
}

/// Why what is read in the views may be old.
async fn behind(log: &dyn Read, views: &dyn ViewQueries, head: Position) -> Option<String> {
    match tokio::time::timeout(STORE_DEADLINE, views.checkpoint()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Some(format!("the views cannot be read: {error}")),
        Err(_) => return Some(format!("the views did not answer within {} s", STORE_DEADLINE.as_secs())),
    }
    let mut checkpoint = views.watch();
    let reached = checkpoint.wait_for(|seen| *seen >= head);
    if matches!(tokio::time::timeout(CATCH_UP, reached).await, Ok(Ok(_))) {
        return None;
    }
    // The log may have grown by what is not the views' to see.
    let seen = *views.watch().borrow();
    let unseen = log.read_all(seen, &EventFilter::stream_prefix("submission-"), 1).await;
    match unseen {
        Ok(page) if page.events.is_empty() && page.end => None,
        _ => Some(format!("the views are at {seen} of {head}")),
    }
}
