//! `GET /api/v1/submissions/{id}/events`: the live stream of one submission.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use domain::SubmissionId;
use event_store::Position;
use futures::Stream;
use http_edge::{ClientAddress, PathParameters, Problem};
use projections::view::{QueuePlace, StatusView};

use crate::app::ReadState;
use crate::parameters::{self, not_found};
use crate::sse;
use crate::submissions::status::{StatusAnswer, next_look, status_answer};

/// Streams the events of a submission as they are recorded.
///
/// Server-sent events. Each entry of the timeline is a message, named after its type (`Submitted`,
/// `VerificationStarted`, …). Its id is its position, and `Last-Event-ID` continues after it. While the submission
/// waits, `queue` gives its place when that changes, and `platform` (`{"message": …}`) says why nothing is verified, if
/// so. The stream stays open after a verdict, because an organiser may ask for a rejudge.
#[utoipa::path(
    get,
    path = "/api/v1/submissions/{id}/events",
    operation_id = "stream_submission",
    tag = "submissions",
    params(
        ("id" = String, Path, description = "The id of the submission"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Continue after this position"),
    ),
    responses(
        (status = 200, description = "The stream of messages.", content_type = "text/event-stream", body = String),
        (status = 400, description = "`Last-Event-ID` is not a position.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such submission.", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The submission was deleted from the log.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The log or the views cannot be read, or too many clients listen.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn events(
    State(state): State<Arc<ReadState>>,
    PathParameters(id): PathParameters<String>,
    client: ClientAddress,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = parameters::submission(&id)?;
    let after = parameters::last_event_id(&headers)?.unwrap_or(Position::START);
    let permit = state.readers.admit(client)?;
    let view = state.submissions.get(id).await?.ok_or_else(not_found)?;
    let stopping = state.stopping.clone();
    Ok(sse::response(messages(state, id, view, after), permit, stopping))
}

fn messages(
    state: Arc<ReadState>,
    id: SubmissionId,
    first: StatusView,
    after: Position,
) -> impl Stream<Item = Bytes> {
    async_stream::stream! {
        let mut checkpoint = state.queries.watch();
        let mut pause_reason = state.pause_reason.clone();
        let mut client = ClientState { position: after, queue: None, pause_reason: None };
        let mut view = Some(first);
        loop {
            // If the views cannot be read, the client keeps its state, and the next look may succeed.
            if let Some(view) = view.take()
                && let Ok(answer) = status_answer(&state, view).await
            {
                let news = client.update(answer);
                if !news.is_empty() {
                    yield Bytes::from(news);
                }
            }
            tokio::select! {
                () = next_look(&mut checkpoint, state.readers.count()) => {}
                Ok(()) = pause_reason.changed() => {}
            }
            view = state.submissions.get(id).await.ok().flatten();
        }
    }
}

/// The state of a submission that a client has received so far.
struct ClientState {
    /// The position of the newest entry of the timeline.
    position: Position,
    queue: Option<QueuePlace>,
    pause_reason: Option<String>,
}

impl ClientState {
    /// Changes the state to `answer` and returns the messages that tell the client the difference.
    fn update(&mut self, answer: StatusAnswer) -> Vec<u8> {
        let mut messages = Vec::new();
        for entry in answer.view.timeline.iter().filter(|entry| entry.position > self.position) {
            messages.extend(sse::message(entry.event.kind(), Some(entry.position), entry));
        }
        if let Some(newest) = answer.view.timeline.last() {
            self.position = self.position.max(newest.position);
        }
        if answer.pause_reason != self.pause_reason {
            let data = serde_json::json!({ "message": answer.pause_reason });
            messages.extend(sse::message("platform", None, &data));
            self.pause_reason = answer.pause_reason;
        }
        if answer.queue != self.queue {
            if let Some(place) = answer.queue {
                messages.extend(sse::message("queue", None, &place));
            }
            self.queue = answer.queue;
        }
        messages
    }
}
