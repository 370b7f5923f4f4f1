//! The routes for operators and their tools, in every process: is it alive, is it ready, and what does it count.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, middleware};
use event_store::{EventFilter, LogCondition, Position, Read, ReadError};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::metrics::Metrics;
use crate::token::admit_operator;
use crate::{OrganiserTokens, Problem, within_deadline};

/// The time for the views to reach the head that the log had when the operator asked.
const CATCH_UP: Duration = Duration::from_secs(1);

/// The time for a store to name its position.
const STORE_DEADLINE: Duration = Duration::from_secs(2);

/// The number of events up to which the lag is counted. Positions do not tell it, because some logs have gaps.
const LAG_EVENTS_MAX: usize = 10_000;

/// The parts of a process whose state decides whether it is ready.
#[derive(Clone)]
pub struct Operations {
    /// The event log. A process is never ready without it.
    pub log: Arc<dyn Read>,
    /// The condition of the log's file, if this process has it open.
    pub log_condition: Option<watch::Receiver<LogCondition>>,
    /// The views, if this process writes or reads them.
    pub views: Option<Arc<dyn MonitoredViews>>,
    /// The reason why this process does nothing at present, in a sentence for the operator; holds `None` while it works.
    pub pause_reason: Option<watch::Receiver<Option<String>>>,
    /// The reason why no submission can be verified at present, in a sentence for the operator; holds `None` while some can.
    /// `None` if this process does not know.
    pub verifying: Option<watch::Receiver<Option<String>>>,
    /// The metrics of this process; [`crate::server_routes`] takes the same.
    pub metrics: Metrics,
    /// The tokens that `/metrics` demands. `None` on a listener that only operators reach.
    pub tokens: Option<OrganiserTokens>,
    /// Cancelled when the process is asked to end. It is no longer ready then.
    pub leaving: CancellationToken,
}

/// The views, as far as operators watch them. The crate that has the views implements it.
#[async_trait]
pub trait MonitoredViews: Send + Sync {
    /// Asks the store of the views for its checkpoint.
    ///
    /// # Errors
    /// The reason why the views cannot be read.
    async fn checkpoint(&self) -> Result<Position, String>;

    /// Returns the newest checkpoint that this process has seen, and changes to it.
    fn watch(&self) -> watch::Receiver<Position>;

    /// Returns the reason why the views are not shown yet, or `None` if they are.
    fn unshown(&self) -> Option<String>;

    /// Reads the totals for `/metrics`, or returns `None` if the views cannot be read or are not shown yet.
    async fn totals(&self) -> Option<ViewTotals>;
}

/// The totals of the views that `/metrics` shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ViewTotals {
    /// The number of submissions in each status.
    pub submissions: BTreeMap<String, u64>,
    /// The number of pins on the map.
    pub pins: u64,
    /// The number of strangers' events in our streams.
    pub set_aside: u64,
    /// The number of submissions that stand still, because this version cannot read one of their events.
    pub standing_still: u64,
}

/// Returns the routes `/healthz`, `/readyz` and `/metrics` with their description.
pub fn operations(operations: Operations) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(verifying))
        .routes(routes!(metrics))
        .layer(middleware::from_fn(within_deadline))
        .with_state(Arc::new(operations))
}

/// The readiness of a process.
#[derive(Serialize, ToSchema)]
struct Readiness {
    /// True if this process can serve requests.
    ready: bool,
    /// The reasons why this process cannot serve requests; empty if `ready` is true.
    reasons: Vec<String>,
    /// Whether submissions are verified at present; absent if this process does not know. It does not change `ready`: a
    /// process serves its readers also while nothing is verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    verifying: Option<VerifyingReadiness>,
}

/// The readiness of the platform to verify submissions, wherever that is done.
#[derive(Serialize, ToSchema)]
struct VerifyingReadiness {
    /// True if a verifier works, and either nothing waits or verdicts come.
    ready: bool,
    /// The reason why nothing is verified; empty if `ready` is true.
    reasons: Vec<String>,
}

/// Answers as long as the process is alive.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operations",
    responses((status = 200, description = "The process is alive.", body = String)),
)]
async fn healthz() -> &'static str {
    "alive\n"
}

/// Says whether the process can serve requests, and if not, why.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses(
        (status = 200, description = "The process can serve requests.", body = Readiness),
        (status = 503, description = "The process cannot serve requests.", body = Readiness),
    ),
)]
async fn readyz(State(process): State<Arc<Operations>>) -> impl IntoResponse {
    let leaving = process.leaving.is_cancelled().then(|| "the process is stopping".to_owned());
    let paused = process.pause_reason.as_ref().and_then(|reason| reason.borrow().clone());
    let refusal = process.log_condition.as_ref().and_then(|condition| condition.borrow().refusal.clone());
    let refusal = refusal.map(|why| format!("the log takes no appends: {why}"));
    // A balancer has little time to learn that the process leaves.
    let problem = if leaving.is_some() { None } else { process.store_problem().await };
    let reasons: Vec<String> = leaving.into_iter().chain(paused).chain(refusal).chain(problem).collect();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready: reasons.is_empty(), reasons, verifying: process.verifying() }))
}

/// Says whether submissions are verified at present, by any process, and if not, why.
#[utoipa::path(
    get,
    path = "/readyz/verifying",
    tag = "operations",
    responses(
        (status = 200, description = "Submissions are verified.", body = VerifyingReadiness),
        (status = 503, description = "No submission can be verified, or some wait and none has been verified for a while.", body = VerifyingReadiness),
        (status = 404, description = "This process does not know.", content_type = "application/problem+json", body = Problem),
    ),
)]
async fn verifying(State(process): State<Arc<Operations>>) -> Response {
    let Some(verifying) = process.verifying() else {
        let why = "This process knows no verifier; ask one that verifies, or that has the views.";
        return Problem::not_found(why.to_owned()).into_response();
    };
    let status = if verifying.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(verifying)).into_response()
}

/// Returns counters and gauges in the text format of Prometheus.
///
/// On a listener that serves the public API, the token of an organiser or of an operator is needed.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    security(("token" = [])),
    responses(
        (status = 401, description = "The token is missing or wrong.", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "The token's role does not permit it, or this server has no token.", content_type = "application/problem+json", body = Problem),
        (status = 200, description = "The metrics of this process.", content_type = "application/openmetrics-text", body = String),
        (status = 503, description = "The response takes too long.", content_type = "application/problem+json", body = Problem),
    ),
)]
async fn metrics(State(process): State<Arc<Operations>>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(tokens) = &process.tokens {
        admit_operator(tokens, &headers).await?;
    }
    if let Some(condition) = &process.log_condition {
        process.metrics.set_log_damages(condition.borrow().damages.len());
    }
    // A gauge that cannot be read keeps its value: an operator needs the others most when a store is away.
    if let Ok(head) = process.head().await {
        process.metrics.set_head(head);
        if let Some(views) = &process.views {
            let checkpoint = *views.watch().borrow();
            process.metrics.set_checkpoint(checkpoint);
            if let Ok(Ok(lag)) = timeout(STORE_DEADLINE, views_lag(&*process.log, checkpoint, head)).await {
                process.metrics.set_lag(lag.events, lag.oldest.map(age_in_seconds).unwrap_or_default());
            }
        }
    }
    if let Some(views) = &process.views
        && let Some(totals) = views.totals().await
    {
        process.metrics.set_totals(&totals);
    }
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media_type)], process.metrics.to_text()).into_response())
}

impl Operations {
    fn verifying(&self) -> Option<VerifyingReadiness> {
        let reason = self.verifying.as_ref()?.borrow().clone();
        Some(VerifyingReadiness { ready: reason.is_none(), reasons: reason.into_iter().collect() })
    }

    async fn head(&self) -> Result<Position, String> {
        match timeout(STORE_DEADLINE, self.log.head()).await {
            Ok(head) => head.map_err(|error| format!("the log cannot be read: {error}")),
            Err(_) => Err(format!("the log did not answer within {} s", STORE_DEADLINE.as_secs())),
        }
    }

    /// Returns the reason why the log or the views cannot be read, or why the views are behind the log.
    async fn store_problem(&self) -> Option<String> {
        let head = match self.head().await {
            Ok(head) => head,
            Err(reason) => return Some(reason),
        };
        views_problem(&*self.log, &**self.views.as_ref()?, head).await
    }
}

/// Returns the reason why the views cannot be read, or why they have not reached `head`.
async fn views_problem(log: &dyn Read, views: &dyn MonitoredViews, head: Position) -> Option<String> {
    match timeout(STORE_DEADLINE, views.checkpoint()).await {
        Ok(Ok(_)) => {}
        Ok(Err(reason)) => return Some(format!("the views cannot be read: {reason}")),
        Err(_) => return Some(format!("the views did not answer within {} s", STORE_DEADLINE.as_secs())),
    }
    let mut checkpoint = views.watch();
    let applied = *checkpoint.borrow();
    if applied >= head || nothing_to_apply(log, applied).await {
        return views.unshown();
    }
    let reached = checkpoint.wait_for(|position| *position >= head);
    if matches!(timeout(CATCH_UP, reached).await, Ok(Ok(_))) {
        return views.unshown();
    }
    let applied = *views.watch().borrow();
    match nothing_to_apply(log, applied).await {
        true => views.unshown(),
        false => Some(format!("the views are at {applied} of {head}")),
    }
}

/// Returns true if all events after `applied` are of streams that the views do not apply.
async fn nothing_to_apply(log: &dyn Read, applied: Position) -> bool {
    let ours = EventFilter::stream_prefix("submission-");
    let read = async {
        let mut after = applied;
        loop {
            match log.read_all(after, &ours, 1).await {
                Ok(page) if !page.events.is_empty() => return false,
                Ok(page) if page.end => return true,
                Ok(page) => after = page.next,
                Err(_) => return false,
            }
        }
    };
    timeout(STORE_DEADLINE, read).await.unwrap_or(false)
}

/// How far the views are behind the log.
struct ViewsLag {
    /// The number of events that they have not applied, counted up to [`LAG_EVENTS_MAX`].
    events: usize,
    /// The moment at which the oldest of these was recorded.
    oldest: Option<Timestamp>,
}

async fn views_lag(log: &dyn Read, applied: Position, head: Position) -> Result<ViewsLag, ReadError> {
    let mut lag = ViewsLag { events: 0, oldest: None };
    let mut after = applied;
    while after < head && lag.events < LAG_EVENTS_MAX {
        let page = log.read_all(after, &EventFilter::default(), LAG_EVENTS_MAX - lag.events).await?;
        lag.oldest = lag.oldest.or_else(|| page.events.first().map(|event| event.recorded_at));
        lag.events += page.events.len();
        if page.end {
            break;
        }
        after = page.next;
    }
    Ok(lag)
}

fn age_in_seconds(at: Timestamp) -> u64 {
    Timestamp::now().duration_since(at).as_secs().try_into().unwrap_or(0)
}
