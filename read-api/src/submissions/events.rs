//! `GET /api/v1/submissions/{id}/events`: what happens to a submission, as it
//! happens.

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

use crate::app::App;
use crate::parameters::{self, nobodys};
use crate::sse;
use crate::submissions::status::{StatusAnswer, answer, next_look};

/// What happens to a submission, live.
///
/// Server-sent events. Each entry of the timeline is one, named after its type
/// (`Submitted`, `VerificationStarted`, …); its id is its position, and
/// `Last-Event-ID` continues after it. While the submission waits, `queue` says
/// its place whenever that changes, and `platform` (`{"message": …}`) why
/// nothing is verified, if so. The stream stays open after a verdict, for an
/// organiser may ask for another.
#[utoipa::path(
    get,
    path = "/api/v1/submissions/{id}/events",
    tag = "submissions",
    params(
        ("id" = String, Path, description = "The submission's id"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Continue after this position"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    PathParameters(id): PathParameters<String>,
    client: ClientAddress,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = parameters::submission(&id)?;
    let after = parameters::last_event_id(&headers)?.unwrap_or(Position::START);
    let place = app.readers.admit(client)?;
    let view = app.submissions.get(id).await?.ok_or_else(nobodys)?;
    let stopping = app.stopping.clone();
    Ok(sse::response(follow(app, id, view, after), place, stopping))
}

fn follow(app: Arc<App>, id: SubmissionId, first: StatusView, after: Position) -> impl Stream<Item = Bytes> {
    async_stream::stream! {
        let mut checkpoint = app.queries.watch();
        let mut platform = app.platform.clone();
        let mut client = ClientState { upto: after, queue: None, platform: None };
        let mut view = Some(first);
        loop {
            // While the views cannot be read nothing is said; the client keeps
            // what it has, and the next look may succeed.
            if let Some(view) = view.take()
                && let Ok(now) = answer(&app, view).await
            {
                let news = client.news(now);
                if !news.is_empty() {
                    yield Bytes::from(news);
                }
            }
            tokio::select! {
                () = next_look(&mut checkpoint, app.readers.count()) => {}
                Ok(()) = platform.changed() => {}
            }
            view = app.submissions.get(id).await.ok().flatten();
        }
    }
}

/// What a client has been client.
struct ClientState {
    upto: Position,
    queue: Option<QueuePlace>,
    platform: Option<String>,
}

impl ClientState {
    /// What is new to the client in `now`, as messages.
    fn news(&mut self, now: StatusAnswer) -> Vec<u8> {
        let mut messages = Vec::new();
        for entry in now.view.timeline.iter().filter(|entry| entry.position > self.upto) {
            messages.extend(sse::message(entry.event.kind(), Some(entry.position), entry));
        }
        if let Some(newest) = now.view.timeline.last() {
            self.upto = self.upto.max(newest.position);
        }
        if now.platform != self.platform {
            messages.extend(sse::message("platform", None, &serde_json::json!({ "message": now.platform })));
            self.platform = now.platform;
        }
        if now.queue != self.queue {
            if let Some(place) = now.queue {
                messages.extend(sse::message("queue", None, &place));
            }
            self.queue = now.queue;
        }
        messages
    }
}
