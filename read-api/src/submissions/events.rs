//! `GET /api/v1/submissions/{id}/events`: the live stream of one submission.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use domain::SubmissionId;
use domain::submission::CATEGORY;
use event_store::{Position, ReadError, StreamName};
use futures::Stream;
use http_edge::{ClientAddress, PathParameters, Problem};
use projections::view::{QueuePlace, StatusView, TimelineEntry};

use crate::app::ReadState;
use crate::parameters::{self, not_found};
use crate::sse::{self, MessageId};
use crate::submissions::status::{FetchProgress, StatusAnswer, next_look, status_answer};

/// Streams the events of a submission as they are recorded.
///
/// Server-sent events. Each entry of the timeline is a message, named after its type (`Submitted`,
/// `VerificationStarted`, …). Its id begins with its position, and `Last-Event-ID` continues after it; a position alone
/// does too. If the id is of another log, or of this one before it was restored, `reset` comes and all entries again. While
/// the submission waits, `queue` gives its place when that changes, `fetch` says every ten
/// seconds how far a large image is on its way (`null` at the end), and `platform` (`{"message": …}`) says why nothing is verified, if
/// so. The stream stays open after a verdict, because an organiser may ask for a rejudge.
#[utoipa::path(
    get,
    path = "/api/v1/submissions/{id}/events",
    operation_id = "stream_submission",
    tag = "submissions",
    params(
        ("id" = String, Path, description = "The id of the submission"),
        ("Last-Event-ID" = Option<String>, Header, description = "Continue after the message with this id, or after this position"),
    ),
    responses(
        (status = 200, description = "The stream of messages.", content_type = "text/event-stream", body = String),
        (status = 400, description = "`Last-Event-ID` is not the id of a message.", body = Problem, content_type = "application/problem+json"),
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
    let after = parameters::last_event_id(&headers)?;
    let view = state.submissions.get(id).await?.ok_or_else(not_found)?;
    let permit = state.readers.admit_to_owner(client, &view.owner)?;
    let resumption = match after {
        None => Resumption::After(Position::START),
        Some(after) if is_known(&state, &view, after).await => Resumption::After(after.position),
        Some(_) => Resumption::Anew,
    };
    let stopping = state.stopping.clone();
    Ok(sse::response(messages(state, id, view, resumption), permit, stopping))
}

/// Where a stream begins.
#[derive(Clone, Copy)]
enum Resumption {
    After(Position),
    /// At the start, because what the client has is of another log.
    Anew,
}

/// Returns true unless the id is of another log: then the submission has no such entry.
async fn is_known(state: &ReadState, view: &StatusView, after: MessageId) -> bool {
    match view.timeline.iter().find(|entry| entry.position == after.position) {
        Some(entry) => after.mark.is_none_or(|mark| mark == entry_mark(entry)),
        None if after.mark.is_none() => true,
        // A long timeline leaves out its middle.
        None if after.position < view.position => view.timeline_omitted > 0,
        // The views may be behind what the client has seen.
        None => match state.submissions.event_at(after.position).await {
            Ok(event) => event.is_some_and(|event| event.stream == StreamName::of(CATEGORY, view.id.0)),
            Err(error) => !matches!(error, ReadError::BeyondEnd { .. } | ReadError::OtherLog { .. }),
        },
    }
}

/// Returns the mark of an entry: its moment, which another event at its position does not have.
fn entry_mark(entry: &TimelineEntry) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the lowest bits differ most"
    )]
    let mark = entry.at.as_microsecond() as u32;
    mark
}

fn messages(
    state: Arc<ReadState>,
    id: SubmissionId,
    first: StatusView,
    resumption: Resumption,
) -> impl Stream<Item = Bytes> {
    async_stream::stream! {
        let after = match resumption {
            Resumption::After(position) => position,
            Resumption::Anew => {
                yield Bytes::from(sse::message("reset", None, &serde_json::json!({})));
                Position::START
            }
        };
        let mut checkpoint = state.views.as_far_as_they_are().watch();
        let mut pause_reason = state.pause_reason.clone();
        let mut client = ClientState { position: after, queue: None, pause_reason: None, fetch: None };
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
    fetch: Option<FetchProgress>,
}

impl ClientState {
    /// Changes the state to `answer` and returns the messages that tell the client the difference.
    fn update(&mut self, answer: StatusAnswer) -> Vec<u8> {
        let mut messages = Vec::new();
        for entry in answer.view.timeline.iter().filter(|entry| entry.position > self.position) {
            let id = MessageId { position: entry.position, mark: Some(entry_mark(entry)) };
            messages.extend(sse::message(entry.event.kind(), Some(id), entry));
        }
        if let Some(newest) = answer.view.timeline.last() {
            self.position = self.position.max(newest.position);
        }
        if answer.pause_reason != self.pause_reason {
            let data = serde_json::json!({ "message": answer.pause_reason });
            messages.extend(sse::message("platform", None, &data));
            self.pause_reason = answer.pause_reason;
        }
        if answer.fetch != self.fetch {
            messages.extend(sse::message("fetch", None, &answer.fetch));
            self.fetch = answer.fetch;
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
