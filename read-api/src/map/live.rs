//! `GET /api/v1/live`: the totals and the pins, as they change.
//!
//! One task asks the views and writes each frame once; every listener is
//! handed the same bytes. A listener that is slow loses frames, not changes:
//! when it reads again it is given all that changed since what it saw last.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use event_store::Position;
use futures::Stream;
use http_edge::{ClientAddress, Problem};
use tokio::sync::broadcast;

use crate::app::App;
use crate::map::feed::AFTER_FAILURE;
use crate::parameters;
use crate::sse;

/// The totals and the pins, live.
///
/// Server-sent events: `stats` (as `GET /api/v1/stats`), once at the beginning
/// and after each change; `pins` (a GeoJSON `FeatureCollection` of those that
/// changed; one whose `passes` are 0 is gone); and `reset` when too many
/// changed to be listed: ask for the map anew. A message's id is a position,
/// and `Last-Event-ID` continues after it. A change may be told twice, and none
/// is left out.
#[utoipa::path(
    get,
    path = "/api/v1/live",
    tag = "map",
    params(("Last-Event-ID" = Option<u64>, Header, description = "Continue after this position")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn live(
    State(app): State<Arc<App>>,
    client: ClientAddress,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = parameters::last_event_id(&headers)?;
    let place = app.readers.admit(client)?;
    let stopping = app.stopping.clone();
    Ok(sse::response(listen(app, after), place, stopping))
}

fn listen(app: Arc<App>, after: Option<Position>) -> impl Stream<Item = Bytes> {
    async_stream::stream! {
        let mut frames = app.live.frames.subscribe();
        let mut newest = app.live.newest.clone();
        let mut seen = match after {
            Some(after) => ListenerState { upto: after, all: false },
            None => {
                // The first frame is there unless the views cannot be read.
                let Ok(first) = newest.wait_for(Option::is_some).await.map(|first| first.clone()) else { return };
                let Some(first) = first else { return };
                yield first.stats;
                ListenerState { upto: first.upto, all: true }
            }
        };
        loop {
            if !seen.all {
                match app.live.since(&*app.queries, seen.upto).await {
                    Ok(frame) => {
                        seen = ListenerState { upto: frame.upto, all: true };
                        yield frame.all;
                    }
                    Err(_) => {
                        tokio::time::sleep(AFTER_FAILURE).await;
                        continue;
                    }
                }
            }
            match frames.recv().await {
                Ok(frame) if frame.upto > seen.upto => {
                    seen.upto = frame.upto;
                    yield frame.all;
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => seen.all = false,
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

/// What a listener has seen: everything up to a position, and whether the
/// frames go on from there.
struct ListenerState {
    upto: Position,
    all: bool,
}
