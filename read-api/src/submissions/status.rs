//! `GET /api/v1/submissions/{id}`: where a submission stands and why.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use event_store::Revision;
use http_edge::{ClientAddress, PathParameters, Problem, QueryParameters};
use projections::view::{QueuePlace, StatusView, SubmissionStatus, WaitReason};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::conditional::{self, ETag};
use crate::parameters::{self, nobodys};
use crate::problem::views_unavailable;
use domain::SubmissionId;

const WAIT_MAX: Duration = Duration::from_secs(60);

/// How often one waiting reader looks again at most, and at least: the log may
/// move while the views do not.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(25);
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(1);

/// The more read along the rarer each looks, so that together they do not ask
/// the log and the views more than two thousand times a second.
const LOOK_OF_ONE: Duration = Duration::from_micros(500);

/// What a participant is told.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct StatusAnswer {
    /// The submission.
    #[serde(flatten)]
    pub(crate) view: StatusView,
    /// Its place in the queue, while it waits.
    pub(crate) queue: Option<QueuePlace>,
    /// While it waits: why nothing is verified just now, if so.
    pub(crate) platform: Option<String>,
}

/// How to wait for news.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatusParameters {
    /// Answer only when the revision is another than the one the client has, or
    /// after this time: `30s`, at most `60s`.
    wait: Option<String>,
    /// The revision that the client has; else the one in `If-None-Match`, else
    /// the one at the time of the request.
    rev: Option<String>,
    /// As it was at this moment: `2026-03-21T12:00:00Z`. Now if absent.
    at: Option<String>,
}

/// Where a submission stands, and why.
///
/// Whoever submitted sees it at once. `status` is `submitted`, `verifying`,
/// `passed` or `failed`; `timeline` has everything that happened.
#[utoipa::path(
    get,
    path = "/api/v1/submissions/{id}",
    tag = "submissions",
    params(("id" = String, Path, description = "The submission's id"), StatusParameters),
    responses(
        (status = 200, body = StatusAnswer, headers(("ETag" = String, description = "For `If-None-Match`"))),
        (status = 304, description = "It is as the client has it"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn status(
    State(app): State<Arc<App>>,
    PathParameters(id): PathParameters<String>,
    client: ClientAddress,
    QueryParameters(parameters): QueryParameters<StatusParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = parameters::submission(&id)?;
    if let Some(time) = parameters::past(parameters.at.as_deref())? {
        let view = app.submissions.at(id, time).await?.ok_or_else(nobodys)?;
        return Ok(axum::Json(StatusAnswer { view, queue: None, platform: None }).into_response());
    }
    let said = parameters.rev.as_deref().map(|rev| parameters::number("rev", rev)).transpose()?;
    let wait = parameters.wait.as_deref().map(|wait| parameters::span("wait", wait, WAIT_MAX)).transpose()?;
    let view = match wait {
        None => app.submissions.get(id).await?.ok_or_else(nobodys)?,
        Some(wait) => {
            let _place = app.readers.admit(client)?;
            news(&app, id, said.or_else(|| conditional::known_revision(&headers)), wait).await?
        }
    };
    let answer = answer(&app, view).await?;
    let body = conditional::to_json(&answer);
    Ok(conditional::json(&headers, ETag::of_body(answer.view.revision, &body), || body))
}

/// What is said of a submission besides its view.
pub(crate) async fn answer(app: &App, mut view: StatusView) -> Result<StatusAnswer, Problem> {
    if view.status != SubmissionStatus::Submitted {
        return Ok(StatusAnswer { view, queue: None, platform: None });
    }
    let queue = app.queries.queue_place(view.id).await.map_err(views_unavailable)?;
    let platform = app.platform.borrow().clone();
    if let Some(why) = &platform {
        let waiting =
            view.waiting.get_or_insert(WaitReason { code: None, message: String::new(), retry_at: None });
        // What broke off the last attempt is said with its code; the platform
        // speaks for those that only wait.
        if waiting.code.is_none() {
            waiting.message.clone_from(why);
        }
    }
    Ok(StatusAnswer { view, queue, platform })
}

/// The view as soon as its revision is not `known`, or after `wait`.
async fn news(
    app: &App,
    id: SubmissionId,
    known: Option<Revision>,
    wait: Duration,
) -> Result<StatusView, Problem> {
    let deadline = Instant::now() + wait;
    let mut checkpoint = app.queries.watch();
    let mut known = known;
    loop {
        checkpoint.mark_unchanged();
        let view = app.submissions.get(id).await?.ok_or_else(nobodys)?;
        let known = *known.get_or_insert(view.revision);
        if view.revision != known || Instant::now() >= deadline || app.stopping.is_cancelled() {
            return Ok(view);
        }
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => {}
            () = app.stopping.cancelled() => {}
            () = next_look(&mut checkpoint, app.readers.count()) => {}
        }
    }
}

/// When it is worth looking again for one of so many readers: the views moved,
/// but not at once; or some time has passed.
pub(crate) async fn next_look(
    checkpoint: &mut tokio::sync::watch::Receiver<event_store::Position>,
    readers: usize,
) {
    let moved = async {
        if checkpoint.changed().await.is_err() {
            // No view will ever move again; only the log may.
            std::future::pending::<()>().await;
        }
        let all = LOOK_OF_ONE.saturating_mul(u32::try_from(readers).unwrap_or(u32::MAX));
        tokio::time::sleep(all.max(LOOK_AGAIN_MIN)).await;
    };
    // Elapsed or moved: either way it is time.
    let _ = tokio::time::timeout(LOOK_AGAIN_MAX, moved).await;
}
