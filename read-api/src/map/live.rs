//! `GET /api/v1/live`: the totals and the pins as they change.
//!
//! A listener that is slow loses frames but no change: when it reads again, it gets a frame of everything that changed
//! since the last frame that it got.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use event_store::Position;
use futures::Stream;
use http_edge::{ClientAddress, Problem};
use tokio::sync::broadcast::error::RecvError;

use crate::app::ReadState;
use crate::map::feed::READ_PAUSE;
use crate::parameters;
use crate::sse;

/// Streams the totals and the pins as they change.
///
/// Server-sent events. `stats` (as in `GET /api/v1/stats`) comes once at the beginning and after each change. `pins` is
/// a GeoJSON `FeatureCollection` of the pins that changed; a pin whose `passes` is 0 is gone. `reset` comes when too
/// many pins changed to be listed; read the map again then. The id of a message is a position, and `Last-Event-ID`
/// continues after it. A change may be sent twice, but none is left out.
#[utoipa::path(
    get,
    path = "/api/v1/live",
    operation_id = "stream_map",
    tag = "map",
    params(("Last-Event-ID" = Option<u64>, Header, description = "Continue after this position")),
    responses(
        (status = 200, description = "The stream of messages.", content_type = "text/event-stream", body = String),
        (status = 400, description = "`Last-Event-ID` is not a position.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many clients listen.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn live(
    State(state): State<Arc<ReadState>>,
    client: ClientAddress,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = parameters::last_event_id(&headers)?;
    let permit = state.readers.admit(client)?;
    let stopping = state.stopping.clone();
    Ok(sse::response(messages(state, after), permit, stopping))
}

fn messages(state: Arc<ReadState>, after: Option<Position>) -> impl Stream<Item = Bytes> {
    async_stream::stream! {
        let mut frames = state.live.subscribe();
        let mut listener = match after {
            Some(after) => ListenerState { position: after, in_step: false },
            None => {
                let Some(first) = state.live.newest_frame().await else { return };
                yield first.stats;
                ListenerState { position: first.position, in_step: true }
            }
        };
        loop {
            if !listener.in_step {
                match state.live.changes_since(&*state.queries, listener.position).await {
                    Ok(frame) => {
                        listener = ListenerState { position: frame.position, in_step: true };
                        yield frame.changes;
                    }
                    Err(_) => {
                        tokio::time::sleep(READ_PAUSE).await;
                        continue;
                    }
                }
            }
            match frames.recv().await {
                Ok(frame) if frame.position > listener.position => {
                    listener.position = frame.position;
                    yield frame.changes;
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => listener.in_step = false,
                Err(RecvError::Closed) => return,
            }
        }
    }
}

/// The progress of one listener.
struct ListenerState {
    /// The position up to which the listener got every change.
    position: Position,
    /// True if the next broadcast frame continues at `position`.
    in_step: bool,
}
