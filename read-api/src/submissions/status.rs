//! `GET /api/v1/submissions/{id}`: the status of a submission, and the reasons for it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use domain::SubmissionId;
use domain::sandbox::{FetchTarget, ImageFetch};
use event_store::{Position, Revision};
use http_edge::{ClientAddress, PathParameters, Problem, QueryParameters};
use projections::view::{QueuePlace, StatusView, SubmissionStatus, WaitReason};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use crate::app::ReadState;
use crate::conditional::{self, ETag};
use crate::parameters::{self, not_found};

/// The longest wait that a client can ask for.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The bounds of the pause before a waiting reader looks again. It looks even if the views do not move, because the
/// log may.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(25);
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The share of one reader in the pause. All readers together then ask the log and the views at most two thousand
/// times a second.
const LOOK_PAUSE_PER_READER: Duration = Duration::from_micros(500);

/// The status of a submission, for its participant.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct StatusAnswer {
    #[serde(flatten)]
    pub(crate) view: StatusView,
    /// The submission's place in the queue while it waits; `null` also while the views are away.
    #[schema(required)]
    pub(crate) queue: Option<QueuePlace>,
    /// Why nothing is verified at present; `null` while a verifier works, or if the submission does not wait.
    #[serde(rename = "platform")]
    #[schema(required)]
    pub(crate) pause_reason: Option<String>,
    /// How far an image is on its way while the submission waits; `null` if none has been for some seconds.
    #[schema(required)]
    pub(crate) fetch: Option<FetchProgress>,
}

impl StatusAnswer {
    /// Returns the answer about a submission that does not wait.
    fn without_queue(view: StatusView) -> Self {
        Self { view, queue: None, pause_reason: None, fetch: None }
    }
}

/// How far an image is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FetchProgress {
    /// The image, as the submission names it in full.
    image: String,
    /// The bytes that have arrived, of all compressed layers. Layers that were there before count.
    bytes: u64,
    /// The bytes of all compressed layers.
    of_bytes: u64,
    /// The same in a sentence.
    message: String,
}

impl FetchProgress {
    fn new(fetch: &ImageFetch) -> Self {
        let ImageFetch { image, to, bytes, of_bytes, .. } = fetch;
        let (name, size) = (image.familiar(), mib(*of_bytes));
        let message = match to {
            FetchTarget::Verifier if bytes < of_bytes => {
                format!("We fetch {name} to look into it: {} of {size} MiB.", mib(*bytes))
            }
            FetchTarget::Verifier => format!("We look into {name}: {size} MiB."),
            FetchTarget::Node if bytes < of_bytes => {
                format!(
                    "{name} is on its way to the machine that will run it: {} of {size} MiB.",
                    mib(*bytes)
                )
            }
            FetchTarget::Node => format!("The machine that will run {name} unpacks it: {size} MiB."),
        };
        Self { image: image.to_string(), bytes: *bytes, of_bytes: *of_bytes, message }
    }
}

/// Returns bytes in MiB, with one decimal below ten.
fn mib(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    if tenths < 100 { format!("{}.{}", tenths / 10, tenths % 10) } else { (tenths / 10).to_string() }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatusParameters {
    /// Answer only when the revision differs from the client's, or after this duration: `30s`, at most `60s`.
    wait: Option<String>,
    /// The revision that the client has. The default is the one in `If-None-Match`, or else the one at the time of the
    /// request.
    rev: Option<String>,
    /// Show the submission as it was at this moment: `2026-03-21T12:00:00Z`. The default is now.
    at: Option<String>,
}

/// Returns the status of a submission, and the reasons for it.
///
/// A submission can be read as soon as it was accepted. `status` is `submitted`, `verifying`, `passed`, `failed`,
/// `withdrawn` or `given_up`; `timeline` lists the events, of a long history the first and the last.
#[utoipa::path(
    get,
    path = "/api/v1/submissions/{id}",
    operation_id = "get_submission",
    tag = "submissions",
    params(("id" = String, Path, description = "The id of the submission"), StatusParameters),
    responses(
        (status = 200, description = "The submission's status.", body = StatusAnswer,
            headers(("ETag" = String, description = "The tag for `If-None-Match`"))),
        (status = 304, description = "Nothing changed since the client read the status."),
        (status = 400, description = "A parameter is wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such submission.", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The submission was deleted from the log.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The log or the views cannot be read, or too many clients wait.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn status(
    State(state): State<Arc<ReadState>>,
    PathParameters(id): PathParameters<String>,
    client: ClientAddress,
    QueryParameters(parameters): QueryParameters<StatusParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = parameters::submission(&id)?;
    if let Some(time) = parameters::past(parameters.at.as_deref())? {
        let view = state.submissions.at(id, time).await?.ok_or_else(not_found)?;
        return Ok(axum::Json(StatusAnswer::without_queue(view)).into_response());
    }
    let revision = parameters.rev.as_deref().map(|rev| parameters::number("rev", rev)).transpose()?;
    let wait =
        parameters.wait.as_deref().map(|wait| parameters::duration("wait", wait, WAIT_MAX)).transpose()?;
    let view = match wait {
        None => state.submissions.get(id).await?.ok_or_else(not_found)?,
        Some(wait) => {
            let view = state.submissions.get(id).await?.ok_or_else(not_found)?;
            let _permit = state.readers.admit_to_owner(client, &view.owner)?;
            let known = revision.or_else(|| conditional::known_revision(&headers));
            wait_for_change(&state, id, known, wait).await?
        }
    };
    let answer = status_answer(&state, view).await?;
    let body = conditional::to_json(&answer);
    Ok(conditional::json(&headers, ETag::from_body(answer.view.revision, &body), || body))
}

/// The reason why a submission waits whose rules no verifier can carry out.
const UNKNOWN_RULES: &str = "No verifier that runs at present can carry out the rules that this submission is judged by, by no \
    fault of yours. It keeps its place in the queue until one can.";

/// Adds the place in the queue, the pause reason and the fetch under way to the view of a submission that waits.
pub(crate) async fn status_answer(state: &ReadState, mut view: StatusView) -> Result<StatusAnswer, Problem> {
    if let (Some(standstill), Some(waiting)) = (&view.standstill, &mut view.waiting) {
        waiting.message.clone_from(&standstill.message);
        return Ok(StatusAnswer::without_queue(view));
    }
    if view.status != SubmissionStatus::Submitted {
        return Ok(StatusAnswer::without_queue(view));
    }
    // The queue of a moment of the past says nothing about the wait.
    let queue = match state.views.are_shown() {
        true => state.submissions.queue_place(view.id).await,
        false => None,
    };
    let is_left = view.named_rules().is_some_and(|rules| state.unknown_rules.borrow().contains(rules));
    let pause_reason =
        state.pause_reason.borrow().clone().or_else(|| is_left.then(|| UNKNOWN_RULES.to_owned()));
    if let Some(reason) = &pause_reason {
        let waiting =
            view.waiting.get_or_insert(WaitReason { code: None, message: String::new(), retry_at: None });
        // A code says why the last attempt was interrupted, and that reason is more exact.
        if waiting.code.is_none() {
            waiting.message.clone_from(reason);
        }
    }
    let fetch = state.fetches.borrow().get(&view.id).map(FetchProgress::new);
    Ok(StatusAnswer { view, queue, pause_reason, fetch })
}

/// Returns the view as soon as its revision is not `known`, or after `wait`. Without `known`, the first revision that
/// is read counts as known.
async fn wait_for_change(
    state: &ReadState,
    id: SubmissionId,
    mut known: Option<Revision>,
    wait: Duration,
) -> Result<StatusView, Problem> {
    let deadline = Instant::now() + wait;
    let mut checkpoint = state.views.as_far_as_they_are().watch();
    loop {
        checkpoint.mark_unchanged();
        let view = state.submissions.get(id).await?.ok_or_else(not_found)?;
        let known = *known.get_or_insert(view.revision);
        if view.revision != known || Instant::now() >= deadline || state.stopping.is_cancelled() {
            return Ok(view);
        }
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => {}
            () = state.stopping.cancelled() => {}
            () = next_look(&mut checkpoint, state.readers.count()) => {}
        }
    }
}

/// Waits until one of `readers` should look at its submission again: a while after the views moved, or after
/// [`LOOK_PAUSE_MAX`].
pub(crate) async fn next_look(checkpoint: &mut watch::Receiver<Position>, readers: usize) {
    let moved = async {
        if checkpoint.changed().await.is_err() {
            // The views have ended and will not move again, but the log may.
            std::future::pending::<()>().await;
        }
        let pause = LOOK_PAUSE_PER_READER.saturating_mul(u32::try_from(readers).unwrap_or(u32::MAX));
        tokio::time::sleep(pause.max(LOOK_PAUSE_MIN)).await;
    };
    // The reader looks in both cases, so the result does not matter.
    let _ = tokio::time::timeout(LOOK_PAUSE_MAX, moved).await;
}
